/* What the hdfs sink keeps in the channel's ledger: of each file its name before it is made (BOUND), its events and identity before it is
 * renamed (INTENT), and that it was (DONE); so a restart finds every file of an earlier life by name, and lists nothing.
 *
 * Keys: of a file: channel/file_note.h;  "hdfs" 0 "n" 0 sink: file numbers up to here may be in use;
 * "hdfs" 0 "r" 0 sink 0 number: rejects on their way into a local file (u64 offset, u64 bytes, path);
 * "hdfs" 0 "id": the log's id in names. */
#include "sinks/sink_hdfs_ledger.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/log.h"
#include "channel/file_note.h"
#include "channel/ledger.h"

#define RESERVE 1000u			/* file numbers noted at a time */
#define ORPHAN_NS (3 * NS_PER_S)	/* by then every sink of this process has opened */
#define RETRY_NS (5 * NS_PER_MS)
#define MORE_BYTES (3 * FS_PATH_BYTES)
#define REJECT_AT 5u			/* in a key: 'f' a file, 'r' rejects */

/* A file of an earlier life. */
struct leftover {
	struct leftover *next;
	struct hdfs_sink *sink;
	uint8_t *key;
	uint16_t key_len;
	bool intent, exactly_once;
	bool reject;		/* in_use: the local file; file_id: the offset in it */
	uint64_t file_id, length;
	char *in_use, *final;
	struct fs_call *call;
	struct publish *publish;
	uint64_t retry_ns;
	uint32_t tries, looks;
	enum { LEFT_LOOK, LEFT_DONE, LEFT_ABANDON, LEFT_REMOVE } step;
};

struct hdfs_ledger {
	struct ledger *ledger;
	struct ledger_link *link;
	struct hdfs_ledger *next;	/* of this process's */
	const char *sink;
	char stem[20];
	uint64_t next_number, reserved;
	struct leftover *leftovers;
	uint64_t orphans_ns;		/* when those of sinks that are no more are looked for; UINT64_MAX: were */
	uint8_t *set;			/* room for an encoded set */
	uint32_t set_room;
	uint8_t more[MORE_BYTES];
};

static pthread_mutex_t live_lock = PTHREAD_MUTEX_INITIALIZER;
static struct hdfs_ledger *live;	/* under live_lock */

static bool
name_live(const struct hdfs_ledger *like, const char *sink, size_t len)
{
	bool found = false;
	pthread_mutex_lock(&live_lock);
	for (struct hdfs_ledger *l = live; l && !found; l = l->next)
		found = l->ledger == like->ledger && strlen(l->sink) == len && memcmp(l->sink, sink, len) == 0;
	pthread_mutex_unlock(&live_lock);
	return found;
}

/* ---- records ---- */

static uint16_t
file_key(uint8_t *key, const char *sink, uint64_t number)
{
	size_t len = strlen(sink) + 1;
	uint64_t big = htobe64(number);
	assert(FILE_NOTE_KEY_LEN + len + 8 <= LEDGER_KEY_MAX);
	memcpy(key, FILE_NOTE_KEY, FILE_NOTE_KEY_LEN);
	memcpy(key + FILE_NOTE_KEY_LEN, sink, len);
	memcpy(key + FILE_NOTE_KEY_LEN + len, &big, 8);
	return (uint16_t)(FILE_NOTE_KEY_LEN + len + 8);
}

/* channel/file_note.h */
static uint32_t
more_write(uint8_t *more, const struct hdfs_file *file)
{
	uint64_t id = htole64(file->file_id), length = htole64(file->encoded);
	more[0] = 1;
	more[1] = file->sink->exactly_once;
	memcpy(more + 2, &id, 8);
	memcpy(more + 10, &length, 8);
	int n = snprintf((char *)more + FILE_NOTE_HEAD, MORE_BYTES - FILE_NOTE_HEAD, "%s%c%s%c%s", file->sink->fs->service, 0, file->in_use, 0, file->final);
	assert(n > 0 && (size_t)n + FILE_NOTE_HEAD + 1 <= MORE_BYTES);
	return (uint32_t)n + FILE_NOTE_HEAD + 1;
}

static int
file_bound(struct hdfs_file *file, bool intent)
{
	struct hdfs_ledger *l = file->sink->ledger;
	uint8_t key[LEDGER_KEY_MAX];
	uint16_t key_len = file_key(key, l->sink, file->number);
	struct consumer_record record = { .state = intent ? CONSUMER_INTENT : CONSUMER_BOUND, .more = l->more, .more_len = more_write(l->more, file) };
	if (intent) {
		struct set_writer set;
		set_begin(&set, l->set, l->set_room);
		for (uint32_t i = 0; i < file->set.count; i++)
			set_add(&set, file->set.runs[i].first, file->set.runs[i].count);
		record.set = l->set;
		record.set_len = set_end(&set);
		if (set.full || !record.set_len)
			return -EMSGSIZE;
	}
	return ledger_note_consumer(l->link, key, key_len, file->number, &record, &file->note);
}

/* A note did not go in: later, or this link is dead and another one is opened. True: try again. */
static bool
note_again(struct hdfs_sink *sink, int rc)
{
	static struct log_limit limit;
	struct hdfs_ledger *l = sink->ledger;
	if (rc == -EAGAIN)
		return true;
	log_limited(&limit, LOG_ERROR, "sink %s: the channel's ledger takes no note: %s; files wait", sink->env->name, strerror(-rc));
	if (rc == -ENOSPC)
		return true;
	if (rc == -EIO && ledger_status(l->link)) {
		struct ledger_link *link;
		if (ledger_link_open(l->ledger, sink->env->name, 2 * (l->set_room + MORE_BYTES + LEDGER_KEY_MAX) + 65536, -1, &link, NULL) == 0) {
			ledger_link_close(l->link);
			l->link = link;
		}
		return true;
	}
	return rc == -EIO;
}

/* ---- steps of a file ---- */

uint64_t
ledger_file_number(struct hdfs_ledger *l)
{
	if (l->next_number >= l->reserved) {
		uint8_t key[LEDGER_KEY_MAX];
		int n = snprintf((char *)key, sizeof key, "hdfs%cn%c%s", 0, 0, l->sink);
		uint64_t value = htole64(l->reserved + RESERVE), number;
		struct consumer_record record = { .state = CONSUMER_BOUND, .more = (const uint8_t *)&value, .more_len = 8 };
		/* It need not be waited for: the file's own note comes behind it, and the file behind that. If the ring is full, so will that be. */
		if (ledger_note_consumer(l->link, key, (uint16_t)n, 0, &record, &number) == 0)
			l->reserved += RESERVE;
	}
	return l->next_number++;
}

const char *
ledger_file_stem(const struct hdfs_ledger *l)
{
	return l->stem;
}

uint32_t
ledger_runs_max(const struct hdfs_sink *sink)
{
	return sink->exactly_once ? sink->ledger->set_room / 12 : UINT32_MAX;
}

void
ledger_file_note(struct hdfs_file *file)
{
	file->state = FILE_NOTE;
	file->note_running = false;
}

static int
run_order(const void *a_, const void *b_)
{
	const struct event_range *a = a_, *b = b_;
	return a->first < b->first ? -1 : a->first > b->first;
}

/* The final name has the first and last event in it, so no two files ever have the same. */
static bool
final_make(struct hdfs_file *file)
{
	struct hdfs_sink *sink = file->sink;
	qsort(file->set.runs, file->set.count, sizeof *file->set.runs, run_order);
	if (file->final[0])
		return true;	/* the first one was taken: another was chosen */
	const struct event_range *last = &file->set.runs[file->set.count - 1];
	const char *slash = file->path[0] && file->path[strlen(file->path) - 1] == '/' ? "" : "/";
	char *final = malloc(FS_PATH_BYTES);
	int n = final ? snprintf(final, FS_PATH_BYTES, "%s%s%s.%s.%s-%llu-%llu-%llu%s", file->path, slash, file->prefix, sink->env->name, sink->ledger->stem,
		(unsigned long long)file->number, (unsigned long long)file->set.runs[0].first, (unsigned long long)(last->first + last->count - 1), sink->suffix) : 0;
	if (n <= 0 || n >= (int)FS_PATH_BYTES) {
		free(final);
		return false;
	}
	free(file->final);
	file->final = final;
	return true;
}

void
ledger_file_seen(struct hdfs_file *file, const struct fs_answer *answer)
{
	struct hdfs_sink *sink = file->sink;
	file->stat_ns = 0;
	if (answer->class == FS_BUSY || answer->class == FS_UNKNOWN || answer->class == FS_LOGIN) {
		file->retry_ns = clock_now_ns(sink->env->clock) + file_pace_ns(file);
		file->tries++;
	} else if (answer->class == FS_MISSING && file->intended) {
		file->tries = 1;	/* an earlier rename was executed late, perhaps: its identity tells, or that it is in doubt */
		file->state = FILE_PUBLISH;
	} else if (answer->class != FS_OK) {
		file_fail(file, answer->class, answer->text);
	} else if (answer->status.length != file->encoded) {
		char text[128];
		snprintf(text, sizeof text, "it has %llu bytes, %llu were written", (unsigned long long)answer->status.length, (unsigned long long)file->encoded);
		file_fail(file, FS_FAILED, text);
	} else if (!final_make(file)) {
		file_fail(file, FS_INVALID, "its final name is too long");
	} else {
		file->file_id = answer->status.file_id;
		file->tries = 0;
		file->state = FILE_INTENT;
		file->note_running = false;
	}
}

uint64_t
ledger_file_step(struct hdfs_file *file, uint64_t now_ns)
{
	struct hdfs_sink *sink = file->sink;
	struct hdfs_ledger *l = sink->ledger;
	int rc;
	if (file->state == FILE_STAT)
		return identity_step(file, now_ns);
	assert(file->state == FILE_NOTE || file->state == FILE_INTENT);
	if (file->note_running && ledger_status(l->link)) {
		note_again(sink, -EIO);
		file->note_running = false;
	}
	if (!file->note_running) {
		rc = file_bound(file, file->state == FILE_INTENT);
		if (rc == 0) {
			file->note_running = true;
			file->intended = file->intended || file->state == FILE_INTENT;
		} else if (!note_again(sink, rc)) {
			file_fail(file, FS_FAILED, "the channel's ledger does not take it");
			return 0;
		}
		return RETRY_NS / 5;
	}
	if (ledger_durable(l->link) < file->note)
		return RETRY_NS / 5;
	file->note_running = false;
	if (file->state == FILE_NOTE) {
		file->noted = true;
		file->state = FILE_OPEN;
	} else {
		file->state = FILE_PUBLISH;
	}
	return 0;
}

uint64_t
ledger_file_resolve(struct hdfs_file *file)
{
	struct hdfs_sink *sink = file->sink;
	struct hdfs_ledger *l = sink->ledger;
	uint8_t key[LEDGER_KEY_MAX];
	uint16_t key_len = file_key(key, l->sink, file->number);
	int rc = 0;
	if (file->note_running) {
		/* ABANDON must be on the disk before the events are offered again. */
		if (!ledger_status(l->link) && ledger_durable(l->link) < file->note)
			return RETRY_NS / 5;
		spans_end(sink, &file->set, false);
		file_free(file);
		return 0;
	}
	if (file->intended)
		rc = ledger_resolve(l->link, key, key_len, file->failed ? CONSUMER_ABANDON : CONSUMER_DONE, NULL, 0, &file->note);
	else if (file->noted)
		rc = ledger_remove(l->link, STATE_CONSUMER, key, key_len, &file->note);
	if (rc == -ENOENT)
		rc = 0;
	if (rc && note_again(sink, rc))
		return RETRY_NS;
	if (file->intended && file->failed) {
		file->note_running = true;
		return RETRY_NS / 5;
	}
	spans_end(sink, &file->set, !file->failed);
	file_free(file);
	return 0;
}

void
ledger_file_removed(struct hdfs_file *file)
{
	file->note_running = false;
	file->state = FILE_RESOLVE;
}

void
ledger_in_doubt(struct hdfs_file *file)
{
	struct hdfs_sink *sink = file->sink;
	bool assume = sink->config->in_doubt == IN_DOUBT_ASSUME;
	counter_add(&sink->counters.in_doubt, 1);
	log_warn("sink %s: %s is gone before its rename to %s was seen: its %llu events are %s (penstock.hdfs.in_doubt)", sink->env->name, file->in_use, file->final,
		 (unsigned long long)file->set.events, assume ? "taken as delivered" : "delivered again");
	file->failed = !assume;
	file->note_running = false;
	file->state = FILE_RESOLVE;
}

/* ---- rejects ---- */

static uint16_t
reject_key(uint8_t *key, const char *sink, uint64_t number)
{
	uint16_t len = file_key(key, sink, number);
	key[REJECT_AT] = 'r';
	return len;
}

int
ledger_reject_note(struct hdfs_sink *sink, uint64_t number, struct run_set *set, const char *path, uint64_t offset, uint64_t bytes, uint64_t *note)
{
	struct hdfs_ledger *l = sink->ledger;
	uint8_t key[LEDGER_KEY_MAX];
	uint64_t place[2] = { htole64(offset), htole64(bytes) };
	struct set_writer writer;
	size_t path_len = strlen(path) + 1;
	qsort(set->runs, set->count, sizeof *set->runs, run_order);
	set_begin(&writer, l->set, l->set_room);
	for (uint32_t i = 0; i < set->count; i++)
		set_add(&writer, set->runs[i].first, set->runs[i].count);
	memcpy(l->more, place, sizeof place);
	memcpy(l->more + sizeof place, path, path_len);
	struct consumer_record record = { .state = CONSUMER_INTENT, .set = l->set, .set_len = set_end(&writer), .more = l->more,
		.more_len = (uint32_t)(sizeof place + path_len) };
	int rc = writer.full ? -EMSGSIZE : ledger_note_consumer(l->link, key, reject_key(key, l->sink, number), number, &record, note);
	if (rc) {
		*note = 0;
		(void)note_again(sink, rc);
	}
	return rc;
}

bool
ledger_reject_durable(struct hdfs_sink *sink, uint64_t *note)
{
	if (*note && ledger_status(sink->ledger->link)) {
		(void)note_again(sink, -EIO);
		*note = 0;
	}
	return *note && ledger_durable(sink->ledger->link) >= *note;
}

int
ledger_reject_resolve(struct hdfs_sink *sink, uint64_t number, bool written)
{
	uint8_t key[LEDGER_KEY_MAX];
	uint64_t note;
	int rc = ledger_resolve(sink->ledger->link, key, reject_key(key, sink->ledger->sink, number), written ? CONSUMER_ASIDE : CONSUMER_ABANDON, NULL, 0, &note);
	if (rc && rc != -ENOENT)
		(void)note_again(sink, rc);
	return rc == -ENOENT ? 0 : rc;
}

/* ---- what an earlier run left ---- */

static void
leftover_free(struct leftover *left)
{
	if (left->call)
		fs_cancel(left->sink->fs, left->call);
	if (left->publish)
		publish_cancel(left->publish);
	free(left->key);
	free(left->in_use);
	free(left->final);
	free(left);
}

struct look {
	struct hdfs_sink *sink;
	bool orphans;
};

static bool
reject_read(const uint8_t *more, uint32_t len, struct file_note *note)
{
	uint64_t place[2];
	if (len < 18 || more[len - 1])
		return false;
	memcpy(place, more, sizeof place);
	note->file_id = le64toh(place[0]);
	note->length = le64toh(place[1]);
	note->in_use = note->final = (const char *)more + 16;
	return true;
}

static bool
leftover_found(const struct state_record *record, void *context)
{
	struct look *look = context;
	struct hdfs_sink *sink = look->sink;
	struct hdfs_ledger *l = sink->ledger;
	struct consumer_record consumer;
	struct file_note note = { .service = "" };
	const char *owner;
	uint32_t owner_len;
	uint64_t number;
	uint8_t key[LEDGER_KEY_MAX];
	if (record->key_len <= REJECT_AT || !consumer_decode(record->value, record->value_len, &consumer))
		return true;
	memcpy(key, record->key, record->key_len);
	bool reject = key[REJECT_AT] == 'r';
	key[REJECT_AT] = 'f';
	if (!file_note_key(key, record->key_len, &owner, &owner_len, &number) ||
	    !(reject ? reject_read(consumer.more, consumer.more_len, &note) : file_note_read(consumer.more, consumer.more_len, &note)))
		return true;
	bool mine = strlen(l->sink) == owner_len && memcmp(owner, l->sink, owner_len) == 0;
	if (look->orphans ? name_live(l, owner, owner_len) : !mine)
		return true;
	if (consumer.state != CONSUMER_INTENT && consumer.state != CONSUMER_BOUND)
		return true;
	if (!reject && strcmp(note.service, sink->fs->service) != 0)
		return true;	/* of another cluster: its own sink, or one that is to come, sees to it */
	struct leftover *left = calloc(1, sizeof *left);
	if (!left)
		return false;
	*left = (struct leftover){
		.sink = sink, .reject = reject, .key_len = record->key_len, .intent = consumer.state == CONSUMER_INTENT, .exactly_once = note.exactly_once,
		.file_id = note.file_id, .length = note.length, .in_use = strdup(note.in_use), .final = strdup(note.final), .key = malloc(record->key_len),
	};
	if (!left->in_use || !left->final || !left->key) {
		leftover_free(left);
		return false;
	}
	memcpy(left->key, record->key, record->key_len);
	left->next = l->leftovers;
	l->leftovers = left;
	return true;
}

static void
leftovers_find(struct hdfs_sink *sink, bool orphans)
{
	static const char keys[2][FILE_NOTE_KEY_LEN + 1] = { FILE_NOTE_KEY, "hdfs\0r\0" };
	for (int i = 0; i < 2; i++)
		ledger_each(sink->ledger->ledger, STATE_CONSUMER, keys[i], FILE_NOTE_KEY_LEN, leftover_found, &(struct look){ sink, orphans });
}

static void
left_later(struct leftover *left, const char *text)
{
	static struct log_limit limit;
	uint64_t pause_ns = NS_PER_S << (left->tries < 4 ? left->tries : 4);
	left->tries++;
	left->retry_ns = clock_now_ns(left->sink->env->clock) + pause_ns;
	log_limited(&limit, LOG_WARN, "sink %s: %s of an earlier run cannot be seen to now (%s); it is tried again", left->sink->env->name, left->in_use, text);
}

static void
left_removed(void *context, const struct fs_answer *answer)
{
	struct leftover *left = context;
	left->call = NULL;
	if (answer->class != FS_OK && answer->class != FS_MISSING && answer->class != FS_INVALID) {
		left_later(left, answer->text);
		return;
	}
	/* Not there: what should make it may be under way still. */
	uint64_t pause_ns = answer->class == FS_OK && answer->yes ? 0 : file_late_ns(left->looks);
	left->looks++;
	left->retry_ns = clock_now_ns(left->sink->env->clock) + pause_ns;
	if (!pause_ns)
		left->step = LEFT_REMOVE;
}

static void
left_published(void *context, enum publish_result result, enum fs_class class, const char *text)
{
	struct leftover *left = context;
	struct hdfs_sink *sink = left->sink;
	(void)class;
	left->publish = NULL;
	if (result == PUBLISH_LATER) {
		left_later(left, text);
	} else if (result == PUBLISH_TAKEN) {
		char *other = malloc(strlen(left->final) + 32);
		if (other) {
			snprintf(other, strlen(left->final) + 32, "%s-%llu", left->final, (unsigned long long)(clock_wall_ns(sink->env->clock) / NS_PER_MS));
			free(left->final);
			left->final = other;
		}
		left_later(left, text);
	} else if (result == PUBLISH_DONE) {
		log_info("sink %s: %s of an earlier run has its final name", sink->env->name, left->final);
		left->step = left->intent ? LEFT_DONE : LEFT_REMOVE;
	} else if (!left->intent) {
		left->step = LEFT_REMOVE;	/* never made, or renamed before the end of that run */
	} else {
		bool assume = sink->config->in_doubt == IN_DOUBT_ASSUME;
		counter_add(&sink->counters.in_doubt, 1);
		log_warn("sink %s: %s (in use as %s) of an earlier run is gone and its rename was not recorded: its events are %s (penstock.hdfs.in_doubt)",
			 sink->env->name, left->final, left->in_use, assume ? "taken as delivered" : "delivered again");
		left->step = assume ? LEFT_DONE : LEFT_ABANDON;
	}
}

/* True: it is seen to. */
static bool
left_step(struct leftover *left, uint64_t now_ns)
{
	struct hdfs_sink *sink = left->sink;
	struct hdfs_ledger *l = sink->ledger;
	uint64_t number;
	int rc;
	if (left->call || left->publish || now_ns < left->retry_ns)
		return false;
	switch (left->step) {
	case LEFT_LOOK:
		if (left->reject) {
			left->step = rejects_left(left->in_use, left->file_id, left->length) ? LEFT_DONE : LEFT_ABANDON;
			return false;
		}
		if (left->intent || !left->exactly_once)
			left->publish = publish_begin(sink->fs, left->in_use, left->final, left->intent ? left->file_id : 0, left->intent ? left->length :
						      PUBLISH_ANY_LENGTH, true, left_published, left);
		else	/* nothing of it was ever visible: its events are written again under a new name */
			left->call = fs_begin(sink->fs, &(struct fs_request){ .op = FS_DELETE, .path = left->in_use, .done = left_removed, .context = left });
		return false;
	case LEFT_DONE: case LEFT_ABANDON:
		rc = ledger_resolve(l->link, left->key, left->key_len, left->step == LEFT_ABANDON ? CONSUMER_ABANDON : left->reject ? CONSUMER_ASIDE : CONSUMER_DONE, NULL, 0, &number);
		break;
	default:
		rc = ledger_remove(l->link, STATE_CONSUMER, left->key, left->key_len, &number);
		break;
	}
	if (rc == 0 || rc == -ENOENT)
		return true;
	note_again(sink, rc);
	left->retry_ns = now_ns + RETRY_NS;
	return false;
}

uint64_t
ledger_step(struct hdfs_sink *sink, uint64_t now_ns)
{
	struct hdfs_ledger *l = sink->ledger;
	uint32_t count = 0;
	if (now_ns >= l->orphans_ns) {
		l->orphans_ns = UINT64_MAX;
		leftovers_find(sink, true);
	}
	for (struct leftover **at = &l->leftovers; *at;) {
		struct leftover *left = *at;
		count += left->intent;
		if (left_step(left, now_ns)) {
			*at = left->next;
			leftover_free(left);
		} else {
			at = &left->next;
		}
	}
	for (struct hdfs_file *file = sink->files; file; file = file->next)
		count += file->intended;
	counter_set(&sink->counters.intents, count);
	return l->leftovers ? 20 * NS_PER_MS : l->orphans_ns == UINT64_MAX ? UINT64_MAX : l->orphans_ns - now_ns;
}

/* ---- begin and end ---- */

int
ledger_begin(struct hdfs_sink *sink, struct err *err)
{
	struct channel *channel = sink->env->on;
	uint32_t asked = sink->config->delivery;
	bool notes = channel && channel->ops->ledger && channel->ops->promise && channel->ops->promise(channel).notes;
	struct ledger *ledger = notes ? channel->ops->ledger(channel) : NULL;
	if (!ledger && asked == DELIVERY_EXACTLY_ONCE)
		return err_set(err, EINVAL, "penstock.delivery exactly_once needs a channel that keeps a ledger: use type file, or at_least_once");
	if (!ledger)
		return 0;
	struct hdfs_ledger *l = calloc(1, sizeof *l);
	if (!l)
		return err_set(err, ENOMEM, "no memory for the sink");
	if (ledger_value_max(ledger) < 2 * MORE_BYTES) {
		free(l);
		return err_set(err, EINVAL, "channel %s takes no ledger notes of %u bytes: give it larger blocks", channel->name, 2 * MORE_BYTES);
	}
	l->ledger = ledger;
	l->sink = sink->env->name;
	l->set_room = ledger_value_max(ledger) - MORE_BYTES - 64;
	l->set = malloc(l->set_room);
	int rc = l->set ? ledger_link_open(ledger, sink->env->name, 2 * (l->set_room + MORE_BYTES + LEDGER_KEY_MAX) + 65536, -1, &l->link, err) :
		err_set(err, ENOMEM, "no memory for the sink");
	if (rc) {
		free(l->set);
		free(l);
		return rc;
	}
	uint8_t key[LEDGER_KEY_MAX], value[256];
	uint64_t id = 0, number;
	static const char id_key[] = "hdfs\0id";
	struct consumer_record record;
	int64_t n = ledger_get(ledger, STATE_CONSUMER, id_key, 7, value, sizeof value, &number);
	if (n > 0 && consumer_decode(value, (uint32_t)n, &record) && record.more_len == 8) {
		memcpy(&id, record.more, 8);
	} else {
		if (getrandom(&id, sizeof id, 0) != sizeof id)
			id = clock_wall_ns(sink->env->clock);
		record = (struct consumer_record){ .state = CONSUMER_BOUND, .more = (const uint8_t *)&id, .more_len = 8 };
		(void)ledger_note_consumer(l->link, id_key, 7, 0, &record, &number);
	}
	snprintf(l->stem, sizeof l->stem, "%08llx", (unsigned long long)(id & 0xffffffffu));
	int key_len = snprintf((char *)key, sizeof key, "hdfs%cn%c%s", 0, 0, l->sink);
	n = ledger_get(ledger, STATE_CONSUMER, key, (uint16_t)key_len, value, sizeof value, &number);
	l->next_number = l->reserved = 1;
	if (n > 0 && consumer_decode(value, (uint32_t)n, &record) && record.more_len == 8) {
		memcpy(&id, record.more, 8);
		l->next_number = l->reserved = le64toh(id);
	}
	bool named = (sink->config->in_use_prefix && sink->config->in_use_prefix[0]) || sink->in_use_suffix[0];
	sink->exactly_once = asked == DELIVERY_EXACTLY_ONCE || (asked == DELIVERY_AUTO && named);
	sink->ledger = l;
	leftovers_find(sink, false);
	l->orphans_ns = clock_now_ns(sink->env->clock) + ORPHAN_NS;
	pthread_mutex_lock(&live_lock);
	l->next = live;
	live = l;
	pthread_mutex_unlock(&live_lock);
	return 0;
}

void
ledger_end(struct hdfs_sink *sink)
{
	struct hdfs_ledger *l = sink->ledger;
	pthread_mutex_lock(&live_lock);
	struct hdfs_ledger **at = &live;
	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	pthread_mutex_unlock(&live_lock);
	while (l->leftovers) {
		struct leftover *left = l->leftovers;
		l->leftovers = left->next;
		leftover_free(left);
	}
	ledger_link_close(l->link);
	free(l->set);
	free(l);
	sink->ledger = NULL;
}
