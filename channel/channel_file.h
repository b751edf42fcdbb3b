/* channel_file's config, open to tests and to tools that make one by hand. */
#ifndef PENSTOCK_CHANNEL_CHANNEL_FILE_H
#define PENSTOCK_CHANNEL_CHANNEL_FILE_H

#include "base/option.h"
#include "channel/channel.h"
#include "channel/logio.h"

struct channel_file_config {
	const char *checkpoint_dir, *backup_dir;
	bool dual, checkpoint_on_close, sync, adopt;
	struct option_list data_dirs;
	uint64_t capacity, required_space, max_file_size;
	uint32_t transaction_capacity, keep_alive_s, checkpoint_interval_ms, sync_interval_s;
	uint32_t io;		/* enum channel_file_io */
	const char *active_key, *cipher_provider, *key_provider, *key_store, *key_store_password;
	struct option_list key_aliases;
	struct option_family key_passwords;
	uint64_t segment_size, spare_bytes, ledger_bytes;
};

enum channel_file_io { FILE_IO_AUTO, FILE_IO_URING, FILE_IO_PWRITE };

/* The same on a given I/O (nothing is locked, no helper thread: writer_step tends the log). For tests. */
int channel_file_open_on(struct channel **channel, const struct channel_file_config *config, const struct channel_env *env, struct logio *io,
			 struct err *err);

/* channel_spillable's config and its opening on a given I/O, likewise. */
struct channel_spillable_config {
	struct channel_file_config file;	/* first: the file channel's options keep their offsets; capacity is not looked at */
	uint64_t memory_capacity, overflow_capacity, byte_capacity;
	uint32_t overflow_timeout_s, threshold, byte_percentage, average;
};
int channel_spillable_open_on(struct channel **channel, const struct channel_spillable_config *config, const struct channel_env *env,
			      struct logio *io, struct err *err);

#endif
