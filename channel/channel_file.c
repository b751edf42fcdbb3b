/* channel_file: the ring log behind Flume's options. */
#include "channel/channel_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "channel/engine.h"

#define SEGMENT_BYTES_DEFAULT (UINT64_C(64) << 20)

static const char *const io_choices[] = { "auto", "uring", "pwrite", NULL };

#define O(field) offsetof(struct channel_file_config, field)
static const struct option options[] = {
	{ .name = "checkpointDir", .type = OPT_STRING, .offset = O(checkpoint_dir), .help = "Directory of checkpoints; ~/.flume/file-channel/checkpoint." },
	{ .name = "useDualCheckpoints", .type = OPT_BOOL, .offset = O(dual), .value = "false", .help = "Each checkpoint is written to backupCheckpointDir too." },
	{ .name = "backupCheckpointDir", .type = OPT_STRING, .offset = O(backup_dir), .help = "Directory of the second copies." },
	{ .name = "compressBackupCheckpoint", .type = OPT_BOOL, .value = "false", .help = "Compress the second copies.",
	  .flags = OPTION_NO_MEANING, .note = "a checkpoint has 4096 bytes" },
	{ .name = "dataDirs", .type = OPT_LIST, .offset = O(data_dirs), .separator = ",",
	  .help = "Directories of log segments, used in turn; ~/.flume/file-channel/data." },
	{ .name = "capacity", .type = OPT_U64, .offset = O(capacity), .value = "1000000", .min = 1, .max = INT64_MAX / 2, .unit = "events",
	  .help = "Unsettled events at which intake stops.", .effect = EFFECT_LIVE },
	{ .name = "transactionCapacity", .type = OPT_U32, .offset = O(transaction_capacity), .value = "10000", .min = 1, .max = INT32_MAX,
	  .unit = "events", .help = "Most events of one take.", .effect = EFFECT_LIVE },
	{ .name = "checkpointInterval", .type = OPT_U32, .offset = O(checkpoint_interval_ms), .value = "30000", .min = 1, .max = INT32_MAX,
	  .unit = "ms", .help = "Time between synced checkpoints." },
	{ .name = "checkpointOnClose", .type = OPT_BOOL, .offset = O(checkpoint_on_close), .value = "true", .help = "Checkpoint at an orderly stop." },
	{ .name = "maxFileSize", .type = OPT_U64, .offset = O(max_file_size), .value = "1623195647", .min = 1, .max = 1623195647, .unit = "bytes",
	  .help = "Most bytes of a log file; segments are 64 MiB or this, whichever is less." },
	{ .name = "minimumRequiredSpace", .type = OPT_U64, .offset = O(required_space), .value = "524288000", .unit = "bytes",
	  .help = "Free space below which nothing is taken in (at least 1048576); what is stored still drains. Each of dataDirs has its turn, so one that is "
		  "short stops intake when the log comes to it." },
	{ .name = "keep-alive", .type = OPT_U32, .offset = O(keep_alive_s), .value = "3", .max = 86400, .unit = "s", .effect = EFFECT_LIVE,
	  .help = "Time a request (http) waits for room before its client is told that there is none (503). Lines of TCP wait in the client's "
		  "window, polled sources where they are, both without a limit; datagrams are counted as channel_full at once." },
	{ .name = "use-log-replay-v1", .type = OPT_BOOL, .value = "false", .help = "Old replay code.", .flags = OPTION_NO_MEANING,
	  .note = "a ring log is recovered by a forward scan" },
	{ .name = "use-fast-replay", .type = OPT_BOOL, .value = "false", .help = "Replay without the queue.", .flags = OPTION_NO_MEANING,
	  .note = "a ring log is recovered by a forward scan" },
	{ .name = "fsyncPerTransaction", .type = OPT_BOOL, .offset = O(sync), .value = "true",
	  .help = "Sync before anything is acknowledged; false: every fsyncInterval, and a power cut may lose what was acknowledged." },
	{ .name = "fsyncInterval", .type = OPT_U32, .offset = O(sync_interval_s), .value = "5", .min = 1, .max = 86400, .unit = "s",
	  .help = "Time between syncs with fsyncPerTransaction = false." },
	{ .name = "encryption.activeKey", .type = OPT_STRING, .offset = O(active_key), .help = "Alias of the key that new blocks are encrypted with." },
	{ .name = "encryption.cipherProvider", .type = OPT_STRING, .offset = O(cipher_provider),
	  .help = "AESCTRNOPADDING (Flume's name); what is written is AES-GCM with a key stream that is never used twice." },
	{ .name = "encryption.keyProvider", .type = OPT_STRING, .offset = O(key_provider), .help = "JCEKSFILE (Flume's name): a key store file." },
	{ .name = "encryption.keyProvider.keyStoreFile", .type = OPT_STRING, .offset = O(key_store),
	  .help = "The key store, a PKCS#12 file; a JCEKS one is refused with the command that converts it." },
	{ .name = "encryption.keyProvider.keyStorePasswordFile", .type = OPT_STRING, .offset = O(key_store_password),
	  .help = "File with the store's password; white space around it does not count." },
	{ .name = "encryption.keyProvider.keys", .type = OPT_LIST, .offset = O(key_aliases), .help = "All aliases that blocks of the log may need, white-space separated." },
	{ .name = "encryption.keyProvider.keys.", .type = OPT_FAMILY, .offset = O(key_passwords),
	  .help = "<alias>.passwordFile: file with the key's own password, when it is not the store's." },
	{ .name = "penstock.io", .type = OPT_CHOICE, .offset = O(io), .value = "auto", .choices = io_choices,
	  .help = "How the log is written: io_uring, plain calls, or io_uring where the kernel allows it." },
	{ .name = "penstock.adoptLog", .type = OPT_BOOL, .offset = O(adopt), .value = "false",
	  .help = "Take over a log that another host wrote (its disk was moved here); else it is refused." },
	{ .name = "penstock.segmentSize", .type = OPT_U64, .offset = O(segment_size), .value = "64m", .unit = "bytes", .flags = OPTION_SIZE,
	  .help = "Bytes of a segment of a new log." },
	{ .name = "penstock.spareBytes", .type = OPT_U64, .offset = O(spare_bytes), .value = "1g", .unit = "bytes", .flags = OPTION_SIZE,
	  .help = "Bytes of segments without unsettled events that are kept, to be used again; more of them are removed." },
	{ .name = "penstock.ledger.bytes", .type = OPT_U64, .offset = O(ledger_bytes), .value = "256m", .unit = "bytes", .flags = OPTION_SIZE,
	  .help = "Most bytes of live state records (files under way, source positions); new ones are refused beyond." },
	{ 0 },
};

/* But for slashes at the end; links are found when the directories are locked. */
static bool
same_directory(const char *a, const char *b)
{
	size_t m = strlen(a), n = strlen(b);
	while (m > 1 && a[m - 1] == '/')
		m--;
	while (n > 1 && b[n - 1] == '/')
		n--;
	return m == n && memcmp(a, b, n) == 0;
}

static int
check(const void *config, const char *name, struct err *err)
{
	const struct channel_file_config *c = config;
	if (c->transaction_capacity > c->capacity)
		return err_set(err, EINVAL, "%s.transactionCapacity = %u: is more than capacity = %llu", name, c->transaction_capacity,
			       (unsigned long long)c->capacity);
	if (c->dual && !c->backup_dir)
		return err_set(err, EINVAL, "%s.useDualCheckpoints = true: needs backupCheckpointDir", name);
	if (c->dual && c->checkpoint_dir && !strcmp(c->backup_dir, c->checkpoint_dir))
		return err_set(err, EINVAL, "%s.backupCheckpointDir = %s: must differ from checkpointDir", name, c->backup_dir);
	if (!c->active_key != !c->cipher_provider || !c->active_key != !c->key_provider)
		return err_set(err, EINVAL, "%s.encryption: activeKey, cipherProvider and keyProvider must be given together or not at all", name);
	if (c->cipher_provider && strcasecmp(c->cipher_provider, "AESCTRNOPADDING"))
		return err_set(err, EINVAL, "%s.encryption.cipherProvider = %s: is not known; use AESCTRNOPADDING", name, c->cipher_provider);
	if (c->key_provider && strcasecmp(c->key_provider, "JCEKSFILE"))
		return err_set(err, EINVAL, "%s.encryption.keyProvider = %s: is not known; use JCEKSFILE", name, c->key_provider);
	if (c->key_provider && (!c->key_store || !c->key_store_password || !c->key_aliases.count))
		return err_set(err, EINVAL, "%s.encryption.keyProvider: needs keyStoreFile, keyStorePasswordFile and keys", name);
	for (size_t i = 0; i < c->data_dirs.count; i++) {
		for (size_t k = 0; k < i; k++)
			if (same_directory(c->data_dirs.items[i], c->data_dirs.items[k]))
				return err_set(err, EINVAL, "%s.dataDirs: %s stands twice: name each directory once", name, c->data_dirs.items[i]);
		if (c->checkpoint_dir && same_directory(c->data_dirs.items[i], c->checkpoint_dir))
			return err_set(err, EINVAL, "%s.checkpointDir = %s: is among dataDirs: give it a directory of its own", name, c->checkpoint_dir);
	}
	if (c->data_dirs.count > RINGLOG_DIRS_MAX)
		return err_set(err, EINVAL, "%s.dataDirs: %zu directories; at most %u", name, c->data_dirs.count, RINGLOG_DIRS_MAX);
	return 0;
}

/* What lives as long as the channel beside the engine: paths, which the log points to, and locks. */
struct file_log {
	struct ringlog log;		/* first: freed by the engine as the log */
	char paths[RINGLOG_DIRS_MAX + 2][PATH_MAX];
	int locks[RINGLOG_DIRS_MAX + 2];
	uint32_t path_count;
	char active_key[NAME_MAX];
};

static void
locks_free(int *locks, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (locks[i] >= 0)
			close(locks[i]);
}

static int
dir_make(char *path, struct err *err)
{
	for (char *slash = path + 1;; slash++) {
		if (*slash && *slash != '/')
			continue;
		char was = *slash;
		*slash = 0;
		int rc = mkdir(path, 0750) && errno != EEXIST ? errno : 0;
		if (rc)
			return err_set(err, rc, "%s: cannot be made: %s", path, strerror(rc));
		*slash = was;
		if (!was)
			return 0;
	}
}

static int
dir_lock(const char *path, int *lock, struct err *err)
{
	char name[PATH_MAX + 16];
	snprintf(name, sizeof name, "%s/in_use.lock", path);
	int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	if (fd < 0)
		return err_set(err, errno, "%s: %s", name, strerror(errno));
	struct flock java = { .l_type = F_WRLCK, .l_whence = SEEK_SET };	/* the kind that Flume takes */
	if (flock(fd, LOCK_EX | LOCK_NB) || fcntl(fd, F_OFD_SETLK, &java)) {
		int rc = errno;
		close(fd);
		return err_set(err, rc, "%s: is locked by another channel or process; give each channel directories of its own", path);
	}
	*lock = fd;
	return 0;
}

/* A queue of Flume's that nobody has taken over would be passed by in silence. */
static int
flume_look(const char *path, struct err *err)
{
	DIR *d = opendir(path);
	bool flume = false, ours = false;
	for (struct dirent *e; d && (e = readdir(d));) {
		uint32_t id;
		int end = 0;
		flume |= sscanf(e->d_name, "log-%" SCNu32 ".meta%n", &id, &end) == 1 && end && !e->d_name[end];
		ours |= !strcmp(e->d_name, "ringlog.meta");
	}
	if (d)
		closedir(d);
	if (flume && !ours)
		return err_set(err, EEXIST, "%s: holds a queue of Flume's file channel; take it over: penstock-ringlog import --to NEWDIR --checkpoint "
			       "CHECKPOINTDIR DATADIR..., then set dataDirs = NEWDIR/data and checkpointDir = NEWDIR/checkpoint (if the queue is "
			       "empty, take its log-* files away instead)", path);
	return 0;
}

static const char *
path_add(struct file_log *f, const char *path, const char *fallback)
{
	char *out = f->paths[f->path_count++];
	if (path) {
		snprintf(out, PATH_MAX, "%s", path);
	} else {
		const char *home = getenv("HOME");
		struct passwd *user = home && *home ? NULL : getpwuid(getuid());
		snprintf(out, PATH_MAX, "%s/.flume/file-channel/%s", user ? user->pw_dir : home ? home : "", fallback);
	}
	for (size_t len = strlen(out); len > 1 && out[len - 1] == '/';)
		out[--len] = 0;
	return out;
}

/* Of /etc/machine-id; zeros when there is none. */
static void
host_id(uint8_t *id)
{
	char text[2 * HOST_ID_BYTES + 1] = "";
	int fd = open("/etc/machine-id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	if (fd >= 0)
		close(fd);
	memset(id, 0, HOST_ID_BYTES);
	if (n != 2 * (ssize_t)HOST_ID_BYTES || strspn(text, "0123456789abcdef") != (size_t)n)
		return;
	for (unsigned i = 0; i < HOST_ID_BYTES; i++) {
		char byte[3] = { text[2 * i], text[2 * i + 1], 0 };
		id[i] = (uint8_t)strtoul(byte, NULL, 16);
	}
}

static struct file_log *
file_log_make(const struct channel_file_config *c, uint64_t block_bytes, struct err *err)
{
	struct file_log *f = calloc(1, sizeof *f);
	if (!f) {
		err_set(err, ENOMEM, "no memory");
		return NULL;
	}
	if (c->active_key) {
		if (keyring_open(&f->log.keys, c->key_store, c->key_store_password, &c->key_aliases, &c->key_passwords, err)) {
			free(f);
			return NULL;
		}
		snprintf(f->active_key, sizeof f->active_key, "%s", c->active_key);
		f->log.active_key = f->active_key;
	}
	for (uint32_t i = 0; i < RINGLOG_DIRS_MAX + 2; i++)
		f->locks[i] = -1;
	f->log.checkpoint_dir = path_add(f, c->checkpoint_dir, "checkpoint");
	if (c->dual)
		f->log.backup_dir = path_add(f, c->backup_dir, NULL);
	f->log.dir_count = c->data_dirs.count ? (uint32_t)c->data_dirs.count : 1;
	for (uint32_t i = 0; i < f->log.dir_count; i++)
		f->log.dirs[i] = path_add(f, c->data_dirs.count ? c->data_dirs.items[i] : NULL, "data");
	uint64_t segment = c->segment_size ? c->segment_size : SEGMENT_BYTES_DEFAULT;
	if (c->max_file_size && segment > c->max_file_size)
		segment = c->max_file_size;
	f->log.segment_bytes = segment / BLOCK_ALIGN_BYTES * BLOCK_ALIGN_BYTES;
	if (f->log.segment_bytes < 8 * block_bytes)
		f->log.segment_bytes = 8 * block_bytes;
	f->log.adopt = c->adopt;
	f->log.spare_bytes = c->spare_bytes;
	f->log.required_space = c->required_space < 1048576 ? 1048576 : c->required_space;
	return f;
}

static int
open_engine(struct channel **channel, const struct channel_file_config *c, const struct channel_env *env, struct file_log *f, struct logio *io,
	    int wake_fd, bool helper, struct err *err)
{
	f->log.io = io;
	return engine_open(channel, &(struct engine_config){ .ops = &channel_file, .env = env, .capacity = c->capacity,
		.transaction_capacity = c->transaction_capacity, .keep_alive_s = c->keep_alive_s, .log = &f->log, .io = io, .wake_fd = wake_fd, .sync_groups = c->sync,
		.checkpoint_on_close = c->checkpoint_on_close, .ledger_bytes = c->ledger_bytes, .helper = helper, .sync_interval_ns = c->sync_interval_s * NS_PER_S,
		.checkpoint_interval_ns = c->checkpoint_interval_ms * NS_PER_MS }, err);
}

int
channel_file_open_on(struct channel **channel, const struct channel_file_config *c, const struct channel_env *env, struct logio *io, struct err *err)
{
	struct file_log *f = file_log_make(c, env->block_bytes ? env->block_bytes : ENGINE_BLOCK_BYTES, err);
	if (!f)
		return -EINVAL;
	return open_engine(channel, c, env, f, io, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), false, err);
}

static int
open_channel(struct channel **channel, const void *config, const struct channel_env *env, struct err *err)
{
	const struct channel_file_config *c = config;
	struct file_log *f = file_log_make(c, env->block_bytes ? env->block_bytes : ENGINE_BLOCK_BYTES, err);
	struct logio *io = NULL;
	if (!f)
		return -EINVAL;
	struct err uring_err = { "" };
	int rc = 0, wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), locks[RINGLOG_DIRS_MAX + 2];
	uint32_t count = 0;
	if (wake_fd < 0) {
		keyring_close(f->log.keys);
		free(f);
		return err_set(err, EMFILE, "no descriptors");
	}
	for (uint32_t i = 0; i < f->path_count && !rc; i++) {
		rc = dir_make(f->paths[i], err);
		if (!rc)
			rc = dir_lock(f->paths[i], &f->locks[i], err);
		if (!rc)
			rc = flume_look(f->paths[i], err);
	}
	if (!rc && c->io != FILE_IO_PWRITE) {
		rc = logio_uring_open(&io, wake_fd, &uring_err);
		if (rc && c->io == FILE_IO_AUTO) {
			log_info("channel %s: %s; the log is written with plain calls", env->name, uring_err.text);
			rc = 0;
		} else if (rc)
			err_set(err, -rc, "%s", uring_err.text);
	}
	if (!rc && !io)
		rc = logio_pwrite_open(&io, wake_fd, err);
	if (rc) {
		locks_free(f->locks, f->path_count);
		keyring_close(f->log.keys);
		free(f);
		close(wake_fd);
		return rc;
	}
	memcpy(locks, f->locks, sizeof locks);
	count = f->path_count;
	host_id(f->log.host_id);
	rc = open_engine(channel, c, env, f, io, wake_fd, true, err);
	if (rc)
		locks_free(locks, count);
	return rc;
}

static void
close_channel(struct channel *channel)
{
	struct file_log *f = (struct file_log *)((struct engine *)channel)->log;
	int locks[RINGLOG_DIRS_MAX + 2];
	uint32_t count = f->path_count;
	memcpy(locks, f->locks, sizeof locks);
	engine_close(channel);
	locks_free(locks, count);
}

static int
reconfigure(struct channel *channel, const void *config, struct err *err)
{
	(void)err;
	const struct channel_file_config *c = config;
	atomic_store(&((struct engine *)channel)->capacity, c->capacity);
	channel->transaction_capacity = c->transaction_capacity;
	atomic_store(&channel->keep_alive_s, c->keep_alive_s);
	engine_writer_wake(channel);
	return 0;
}

static struct channel_promise
promise(const struct channel *channel)
{
	return (struct channel_promise){ .durable = ((const struct engine *)channel)->sync_groups, .ordered = true, .settles_sets = true,
		.notes = true, .marks = true, .live_resize = true };
}

const struct channel_ops channel_file = {
	.name = "file", .class_names = "org.apache.flume.channel.file.FileChannel", .help = "Events wait in a ring log on disk, synced before they are acknowledged.",
	.options = options, .config_size = sizeof(struct channel_file_config), .check = check, .open = open_channel, .link = engine_link,
	.writer_step = engine_writer_step, .writer_wake = engine_writer_wake, .ledger = engine_ledger, .taker_open = engine_taker_open,
	.take = engine_take, .settle = engine_settle, .span_release = engine_span_release, .taker_idle = engine_taker_idle, .taker_close = engine_taker_close,
	.span_next = engine_span_next, .reconfigure = reconfigure, .promise = promise, .idle = engine_idle, .unsettled = engine_unsettled,
	.close = close_channel,
};
