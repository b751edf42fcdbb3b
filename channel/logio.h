/* logio: physical I/O of the ring log behind a table: io_uring, plain calls, or a disk in memory for the tests.
 *
 * Threads: submit and reap belong to the writer thread; all else may be called by any thread (files are opened and closed by one). */
#ifndef PENSTOCK_CHANNEL_LOGIO_H
#define PENSTOCK_CHANNEL_LOGIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define LOGIO_WRITES_MAX 32u	/* of one group */
#define LOGIO_GROUPS_MAX 8u	/* in flight */

struct logio_write {
	const void *bytes;	/* aligned to 4096 */
	uint32_t len;		/* multiple of 4096 */
};

struct logio_done {
	void *context;
	int status;		/* 0: all is on stable storage; -errno */
};

struct logio;
struct logio_file;
struct logio_reader;

#define LOGIO_READS_MAX 4u
#define LOGIO_READING 1

enum { LOGIO_CREATE = 1, LOGIO_ZERO = 2 };	/* ZERO: `bytes` zeros are written and synced before the call returns */

struct logio_ops {
	const char *name;
	/* Memory from which groups will be written, so that it can be registered. */
	void (*memory)(struct logio *io, void *bytes, size_t len);
	int (*file_open)(struct logio *io, const char *path, uint64_t bytes, unsigned flags, struct logio_file **file);
	void (*file_close)(struct logio *io, struct logio_file *file);
	/* Queues the writes, one behind the other from `offset`, and a sync behind them; sync false: without it. 0 or -errno. */
	int (*submit)(struct logio *io, struct logio_file *file, uint64_t offset, const struct logio_write *writes, uint32_t count,
		      bool sync, void *context);
	/* What has ended, in any order; never waits (the wake descriptor given at open tells of it). */
	int (*reap)(struct logio *io, struct logio_done *done, int max);
	int (*read)(struct logio *io, struct logio_file *file, uint64_t offset, void *bytes, uint32_t len);	/* whole or -errno, any of them */
	/* Reads that go on meanwhile, of one thread. *status is LOGIO_READING until `wait` for it, then 0 or -errno (a short one: -EIO). At most
	 * LOGIO_READS_MAX at a time; the bytes stay until then. NULL ops: a disk without. */
	int (*reader_open)(struct logio *io, struct logio_reader **reader);
	int (*reader_begin)(struct logio_reader *reader, struct logio_file *file, uint64_t offset, void *bytes, uint32_t len, int *status);
	void (*reader_wait)(struct logio_reader *reader, const int *status);
	void (*reader_close)(struct logio_reader *reader);
	int (*write)(struct logio *io, struct logio_file *file, uint64_t offset, const void *bytes, uint32_t len, bool sync);
	int (*sync)(struct logio *io, struct logio_file *file);
	int (*list)(struct logio *io, const char *dir, void (*visit)(const char *name, void *context), void *context);
	/* sync false: another file may still be found under these names after a power cut, until dir_sync of the directory. */
	int (*rename)(struct logio *io, const char *from, const char *to, bool sync);
	int (*dir_sync)(struct logio *io, const char *path);	/* of the directory in which `path` stands */
	int (*remove)(struct logio *io, const char *path);
	int (*free_bytes)(struct logio *io, const char *dir, uint64_t *bytes);
	/* 0: the open file still stands under this name; file NULL: some file does. -ENOENT: none, -ESTALE: another one; else it cannot be told. */
	int (*there)(struct logio *io, const char *path, struct logio_file *file);
	void (*close)(struct logio *io);
};

struct logio {
	const struct logio_ops *ops;
};

/* wake_fd (an eventfd, or -1) is signalled when something can be reaped. uring: -EPERM, -ENOSYS ... when the kernel does not let us. */
int logio_uring_open(struct logio **io, int wake_fd, struct err *err);
int logio_pwrite_open(struct logio **io, int wake_fd, struct err *err);

/* ---- the disk in memory ---- */
struct logio_mem;
struct logio_mem *logio_mem_new(void);
struct logio *logio_mem_io(struct logio_mem *mem);	/* its close() does not free the disk */
void logio_mem_free(struct logio_mem *mem);
/* With hold, groups end only when told: the oldest not yet ended when which is 0, and so on. */
void logio_mem_hold(struct logio_mem *mem, bool hold);
bool logio_mem_complete(struct logio_mem *mem, uint32_t which);
/* The disk dies in the middle of operation number `n` from now on (0: the next one; writes, syncs, creations, renames, removals and ends of
 * groups count): that one is torn, later ones are lost, nothing ends, everything answers -EIO. */
void logio_mem_cut_after(struct logio_mem *mem, uint64_t n);
bool logio_mem_dead(const struct logio_mem *mem);
void logio_mem_fail_after(struct logio_mem *mem, uint64_t n);	/* writes from operation n from now on answer -EIO; UINT64_MAX: none */
uint64_t logio_mem_writes(const struct logio_mem *mem);		/* operations so far */
/* Chances of an error of each operation in 65536. A write that fails may have arrived, in part or whole; what a failed sync was to make
 * durable may be lost though later syncs succeed. misdirect: at a power cut writes may arrive in the place of others not synced yet. */
struct logio_mem_faults {
	uint64_t seed;
	uint16_t write, sync, read, open, rename;
	bool misdirect;
};
void logio_mem_faults(struct logio_mem *mem, const struct logio_mem_faults *faults);
/* Operation n from now (0: the next) of those kinds answers -EIO, once. */
enum { LOGIO_MEM_WRITE = 1, LOGIO_MEM_READ = 2, LOGIO_MEM_SYNC = 4, LOGIO_MEM_OPEN = 8, LOGIO_MEM_RENAME = 16 };
void logio_mem_fail_nth(struct logio_mem *mem, unsigned kinds, uint64_t n);
bool logio_mem_fired(const struct logio_mem *mem);
void logio_mem_space(struct logio_mem *mem, uint64_t bytes);	/* of the whole disk; at first plenty */
/* Groups that have not ended answer -EIO from now on (so that their channel can be closed), though they may still reach the disk. */
void logio_mem_abort(struct logio_mem *mem);
/* What is not synced is lost, but for what a seed chooses. The disk works again, without faults. */
void logio_mem_power_off(struct logio_mem *mem, uint64_t seed);
/* Bit rot and latent errors in what was synced: flips bits of a byte; makes 4096 bytes unreadable (-ENODATA) until they are written. */
void logio_mem_rot(struct logio_mem *mem, const char *path, uint64_t offset, uint8_t bits);
void logio_mem_bad(struct logio_mem *mem, const char *path, uint64_t offset);
/* What was done to what was written so far: each of the faults is proven to happen. Of a power cut: writes that were not synced and arrived not
 * at all, in part, before an older one, in the place of another; stale: sectors where one of them was to come and an earlier lap's bytes stay. */
struct logio_mem_counts {
	uint64_t lost, torn, reordered, misdirected, stale;
	uint64_t write_errors, sync_errors, read_errors, open_errors, rename_errors;
	uint64_t rotted, made_bad, bad_reads, full, overlapped_reads;
};
const struct logio_mem_counts *logio_mem_counts(const struct logio_mem *mem);
/* The bytes of a file as they are now, for tests that damage them; NULL when there is none. */
uint8_t *logio_mem_bytes(struct logio_mem *mem, const char *path, uint64_t *len);

#endif
