/* ledger: the live state records of a log: files under way and what became of them, where sources stand. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "channel/file_note.h"
#include "channel/ledger_impl.h"
#include "tools/ringlog/tool.h"

struct view {
	const struct tool_args *args;
	struct ledger_table table;
	struct snapshots snapshots;
	uint64_t damage, by_state[CONSUMER_ASIDE + 1], marks, others;
	bool no_memory;
};

static const char *const state_names[] = { "unknown", "BOUND", "INTENT", "DONE", "ABANDON", "ASIDE" };

static void
apply(struct view *v, struct state_record *r, uint64_t position)
{
	struct consumer_record c = { 0 };
	bool removed = r->class & STATE_REMOVED;
	r->class &= STATE_CLASS_MASK;
	struct ledger_item *i = table_find(&v->table, r->class, r->key, r->key_len);
	if (r->class == STATE_CONSUMER && !removed && consumer_decode(r->value, r->value_len, &c))
		removed = c.state == CONSUMER_ABANDON;
	if (removed && i)
		table_remove(&v->table, i);
	else if (!removed && !(i && r->class == STATE_MARK && r->order < i->order))
		v->no_memory |= !table_put(&v->table, r, position);
}

static void
visit(const struct block_header *h, const uint8_t *bytes, void *context)
{
	struct view *v = context;
	struct block_view view;
	struct record_view record;
	struct walk walk = { 0 };
	struct state_record r;
	uint8_t key[LEDGER_KEY_MAX];
	if (h->records == h->events || (v->snapshots.valid && h->position < v->snapshots.position) || !block_view_open(&view, bytes, h->bytes))
		return;
	while (block_walk(&view, &walk, &record) > 0) {
		if (record.type == RECORD_STATE && state_decode(record.payload, record.payload_len, &r))
			apply(v, &r, h->position);
		else if (record.type == RECORD_MARK && mark_decode(record.payload, record.payload_len, key, &r))
			apply(v, &r, h->position);
	}
}

static void
damage(uint64_t from, uint64_t to, const char *what, void *context)
{
	struct view *v = context;
	v->damage++;
	fprintf(stderr, "damaged: position %" PRIu64 " to %" PRIu64 ": %s\n", from, to, what);
}

static void
print_named(const char *name, const uint8_t *bytes, uint32_t len, bool json)
{
	if (json) {
		putchar(',');
		print_json(stdout, name, (uint32_t)strlen(name), bytes, len);
	} else {
		printf(" %s \"", name);
		print_text(stdout, bytes, len, false);
		putchar('"');
	}
}

static void
print_value(const char *name, uint64_t value, bool json)
{
	printf(json ? ",\"%s\":%" PRIu64 : " %s %" PRIu64, name, value);
}

/* False: every event of a DONE record lies below `settled`: it is only waiting to be forgotten. */
static bool
print_consumer(struct view *v, const struct ledger_item *i, uint64_t settled, bool json)
{
	struct consumer_record c;
	struct set_reader set;
	struct event_range run;
	uint64_t events = 0, runs = 0, first = 0, last = 0;
	if (!consumer_decode(i->bytes + i->key_len, i->value_len, &c))
		return false;
	set_open(&set, c.set, c.set_len);
	for (; set_next(&set, &run); runs++, events += run.count, last = run.first + run.count - 1)
		if (!runs)
			first = run.first;
	bool ended = c.state == CONSUMER_DONE || c.state == CONSUMER_ASIDE;
	if (ended && (!runs || last < settled) && !v->args->all)
		return false;
	v->by_state[c.state]++;
	printf(json ? "{\"class\":\"consumer\",\"state\":\"%s\"" : "consumer %s", state_names[c.state]);
	const char *sink;
	uint32_t sink_len;
	uint64_t number;
	struct file_note note;
	bool file = file_note_key(i->bytes, i->key_len, &sink, &sink_len, &number);
	if (file) {
		print_named("sink", (const uint8_t *)sink, sink_len, json);
		print_value("file", number, json);
	} else {
		print_named("key", i->bytes, i->key_len, json);
	}
	print_value("order", i->order, json);
	print_value("position", i->position, json);
	print_value("events", events, json);
	if (runs) {
		print_value("runs", runs, json);
		print_value("first", first, json);
		print_value("last", last, json);
	}
	if (set.bad)
		print_value("bad_set", 1, json);
	if (file && file_note_read(c.more, c.more_len, &note)) {
		print_named("service", (const uint8_t *)note.service, (uint32_t)strlen(note.service), json);
		print_named("in_use", (const uint8_t *)note.in_use, (uint32_t)strlen(note.in_use), json);
		print_named("final", (const uint8_t *)note.final, (uint32_t)strlen(note.final), json);
		print_value("file_id", note.file_id, json);
		print_value("length", note.length, json);
	} else {
		print_named("more", c.more, c.more_len, json);
	}
	return true;
}

static void
print_item(struct view *v, const struct ledger_item *i, uint64_t settled)
{
	bool json = v->args->json;
	if (i->class == STATE_CONSUMER) {
		if (!print_consumer(v, i, settled, json))
			return;
	} else {
		const uint8_t *zero = i->class == STATE_MARK ? memchr(i->bytes, 0, i->key_len) : NULL;
		uint32_t source = zero ? (uint32_t)(zero - i->bytes) : 0;
		v->marks += zero != NULL;
		v->others += zero == NULL;
		if (zero)
			printf(json ? "{\"class\":\"mark\"" : "mark");
		else if (i->class == STATE_FLOW || i->class == STATE_HALF_LINE)
			printf(json ? "{\"class\":\"%s\"" : "%s", i->class == STATE_FLOW ? "flow" : "half_line");
		else
			printf(json ? "{\"class\":\"%u\"" : "class %u", i->class);
		if (zero)
			print_named("source", i->bytes, source, json);
		print_named("key", zero ? zero + 1 : i->bytes, zero ? i->key_len - source - 1 : i->key_len, json);
		print_value("order", i->order, json);
		print_value("position", i->position, json);
		print_named(zero ? "resume" : "value", i->bytes + i->key_len, i->value_len, json);
	}
	puts(json ? "}" : "");
}

static enum tool_end
run_ledger(const struct tool_args *args, struct err *err)
{
	struct ringlog log = { .segment_bytes = BLOCK_ALIGN_BYTES, .dir_count = args->dir_count, .checkpoint_dir = args->checkpoint };
	struct view v = { .args = args };
	memcpy(log.dirs, args->dirs, sizeof log.dirs);
	if (table_init(&v.table)) {
		err_set(err, ENOMEM, "no memory");
		return TOOL_TROUBLE;
	}
	int rc = ahead_open(&log.io, err);
	if (rc) {
		table_free(&v.table);
		return TOOL_TROUBLE;
	}
	rc = tool_keys(args, &log.keys, err);
	if (!rc)
		rc = ringlog_open(&log, false, err);
	if (!rc && args->checkpoint) {
		rc = snapshots_open(&v.snapshots, &log, false, &v.table, err);
		if (!rc && !ringlog_begin(&log, v.snapshots.position, v.snapshots.previous_crc, v.snapshots.valid)) {
			fprintf(stderr, "the snapshot is older than the log: the whole log is read\n");
			table_clear(&v.table);
			v.snapshots.valid = false;
			(void)ringlog_begin(&log, 0, 0, false);
		}
	}
	if (!rc)
		rc = ringlog_recover(&log, false, visit, damage, &v, err);
	if (!rc && v.no_memory)
		rc = err_set(err, ENOMEM, "no memory");
	uint64_t settled = !rc && args->checkpoint && log.checkpoint_serial ? log.checkpoint->number : 0;
	for (struct ledger_item *i = v.table.oldest; i && !rc; i = i->newer)
		print_item(&v, i, settled);
	if (!rc && !args->json)
		printf("%" PRIu64 " INTENT, %" PRIu64 " DONE, %" PRIu64 " set aside, %" PRIu64 " BOUND; %" PRIu64 " marks; %" PRIu64 " others\n",
		       v.by_state[CONSUMER_INTENT], v.by_state[CONSUMER_DONE], v.by_state[CONSUMER_ASIDE], v.by_state[CONSUMER_BOUND], v.marks,
		       v.others);
	if (v.snapshots.log)
		snapshots_close(&v.snapshots);
	if (log.checkpoint)
		ringlog_close(&log);
	log.io->ops->close(log.io);
	table_free(&v.table);
	return rc ? TOOL_TROUBLE : v.damage ? TOOL_DAMAGE : TOOL_DONE;
}

const struct tool_command tool_ledger = { .name = "ledger", .flags = TOOL_ALL | TOOL_CHECKPOINT, .run = run_ledger,
	.help = "state records: files under way (INTENT), delivered (DONE), where sources stand; --checkpoint DIR: from the snapshot there,\n"
		"           else the whole log is read; --all: DONE records that only wait to be forgotten, too" };
