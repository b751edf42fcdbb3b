/* The identity (and length) of a file that got all its bytes, which its INTENT has. A file by itself is asked for by name; of several that end in one
 * folder at the same time one listing tells, from the first of their names on: fewer calls for the NameNode, and hardly more work while there
 * is little behind those names. A folder where there is much is left alone for a while. */
#include <string.h>

#include "sinks/sink_hdfs.h"
#include "sinks/sink_hdfs_ledger.h"

#define GATHER_NS (50 * NS_PER_MS)	/* a file waits so long for others that are just ending */
#define LOOK_NS (5 * NS_PER_MS)
#define LIST_WAIT_NS (2 * NS_PER_S)	/* for a listing under way, before it is asked for by name */
#define FILES_MAX 64u			/* one listing is for; who has so many waits no longer */
#define ENTRIES_MAX 200u		/* more than that behind the first name: too full */
#define PAUSE_NS (60 * NS_PER_S)

void
identity_folder(struct hdfs_file *file)
{
	const char *slash = strrchr(file->in_use, '/');
	file->folder_len = slash ? (uint32_t)(slash - file->in_use) : 0;
	file->folder_hash = 2166136261u;
	for (uint32_t i = 0; i < file->folder_len; i++)
		file->folder_hash = (file->folder_hash ^ (uint8_t)file->in_use[i]) * 16777619u;
}

static bool
same_folder(const struct hdfs_file *a, const struct hdfs_file *b)
{
	return a->folder_hash == b->folder_hash && a->folder_len == b->folder_len && memcmp(a->in_use, b->in_use, a->folder_len) == 0;
}

static bool
waits(const struct hdfs_file *file)
{
	return file->state == FILE_STAT && !file->call && !file->listed && !file->alone && !file->tries;
}

static void
list_ended(void *context, const struct fs_answer *answer)
{
	struct hdfs_sink *sink = context;
	uint64_t now_ns = clock_now_ns(sink->env->clock);
	sink->identities.list = NULL;
	if (answer->class == FS_INVALID || answer->class == FS_FAILED)
		sink->identities.from_ns = UINT64_MAX;	/* a NameNode older than that */
	else if (answer->class != FS_OK || answer->list_count + answer->list_left + answer->list_before > ENTRIES_MAX)
		sink->identities.from_ns = now_ns + PAUSE_NS;
	for (struct hdfs_file *file = sink->files, *next; file; file = next) {
		next = file->next;
		bool asked = file->listed;
		file->listed = false;
		if (!asked || file->state != FILE_STAT)
			continue;
		size_t low = 0, high = answer->class == FS_OK ? answer->list_count : 0;
		const char *name = file->in_use + file->folder_len + 1;
		int order = -1;
		while (low < high && order) {
			size_t at = (low + high) / 2;
			order = strcmp(name, answer->list[at].name);
			if (order == 0) {
				struct fs_answer one = *answer;
				one.status = answer->list[at];
				ledger_file_seen(file, &one);
			} else if (order < 0) {
				high = at;
			} else {
				low = at + 1;
			}
		}
		file->alone = order != 0;
	}
}

static void
alone_ended(void *context, const struct fs_answer *answer)
{
	struct hdfs_file *file = context;
	file->call = NULL;
	file->alone = false;
	ledger_file_seen(file, answer);
}

/* Begins a listing for all that wait in the file's folder. */
static void
list_begin(struct hdfs_file *file)
{
	struct hdfs_sink *sink = file->sink;
	char folder[FS_PATH_BYTES], behind[FS_PATH_BYTES];
	const struct hdfs_file *first = file;
	for (struct hdfs_file *other = sink->files; other; other = other->next) {
		if (waits(other) && same_folder(other, file)) {
			other->listed = true;
			if (strcmp(other->in_use, first->in_use) < 0)
				first = other;
		}
	}
	memcpy(folder, file->in_use, file->folder_len);
	memcpy(folder + file->folder_len, file->folder_len ? "" : "/", file->folder_len ? 1 : 2);
	/* Behind the name without its last byte: from the name on. */
	size_t len = strlen(first->in_use) - first->folder_len - 2;
	memcpy(behind, first->in_use + first->folder_len + 1, len);
	behind[len] = '\0';
	sink->identities.list = fs_begin(sink->fs, &(struct fs_request){ .op = FS_LIST, .path = folder, .to = behind, .once = true, .done = list_ended, .context = sink });
	if (!sink->identities.list) {
		for (struct hdfs_file *other = sink->files; other; other = other->next)
			other->listed = false;
	}
}

uint64_t
identity_step(struct hdfs_file *file, uint64_t now_ns)
{
	struct hdfs_sink *sink = file->sink;
	if (file->listed)
		return UINT64_MAX;
	if (!file->stat_ns)
		file->stat_ns = now_ns;
	if (waits(file) && sink->fs->service[0] && now_ns >= sink->identities.from_ns) {
		uint32_t ready = 0, ending = 0;
		for (const struct hdfs_file *other = sink->files; other; other = other->next) {
			if (!same_folder(other, file))
				continue;
			ready += waits(other);
			ending += other->state == FILE_OPEN && other->request_ending && other->ended;
		}
		if (ending && ready < FILES_MAX && now_ns - file->stat_ns < GATHER_NS)
			return LOOK_NS;
		if (ready > 1 && sink->identities.list && now_ns - file->stat_ns < LIST_WAIT_NS)
			return LOOK_NS;
		if (ready > 1 && !sink->identities.list) {
			list_begin(file);
			if (file->listed)
				return UINT64_MAX;
		}
	}
	file->call = fs_begin(sink->fs, &(struct fs_request){ .op = FS_STAT, .path = file->in_use, .done = alone_ended, .context = file });
	return file->call ? 0 : LOOK_NS;
}

void
identities_end(struct hdfs_sink *sink)
{
	if (sink->identities.list)
		fs_cancel(sink->fs, sink->identities.list);
	sink->identities.list = NULL;
}
