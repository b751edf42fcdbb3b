/* look: info, dump, verify: one walk over the log as a recovery does it. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "tools/ringlog/tool.h"

#define STRETCHES_MAX 1000u	/* listed with --json; all are counted, and told on standard error */

struct stretch {
	uint64_t from, to;
	const char *what;		/* a constant text */
};

struct look {
	const struct tool_args *args;
	bool dump;
	struct stretch stretches[STRETCHES_MAX];
	uint64_t groups, blocks, events, records, others, sealed, payload, bytes, damage, damage_bytes;
	uint64_t first_number, end_number, lost, first_time, last_time;
	uint32_t epochs, epoch;
	uint64_t total, start_ns, told_ns;	/* progress: bytes of all segments; 0: not told */
};

/* At most one line a second, so that somebody who waits sees it move. */
static void
progress(struct look *look, bool last)
{
	uint64_t now = clock_now_ns(&clock_system);
	if (!look->total || (!last && now - look->told_ns < NS_PER_S))
		return;
	double seconds = (double)(now - look->start_ns) / 1e9, percent = 100.0 * (double)look->bytes / (double)look->total;
	fprintf(stderr, "verify: %.0f%%, %.2f of %.2f GB, %.2f GB/s%s\n", last ? 100.0 : percent < 100 ? percent : 100, (double)look->bytes / 1e9,
		(double)look->total / 1e9, seconds > 0 ? (double)look->bytes / 1e9 / seconds : 0, last ? ", done" : "");
	look->told_ns = now;
}

static void
visit(const struct block_header *h, const uint8_t *bytes, void *context)
{
	struct look *look = context;
	if (look->blocks++ == 0) {
		look->first_number = look->end_number = h->first_event;
		look->first_time = h->first_time_ns;
	}
	if (h->first_event > look->end_number)
		look->lost += h->first_event - look->end_number;
	look->end_number = h->first_event + h->events;
	look->groups += h->group_index == 0;
	look->events += h->events;
	look->records += h->records;
	look->sealed += h->cipher != CIPHER_NONE;
	look->others += h->records - h->events;
	look->bytes += h->bytes;
	look->payload += h->raw_bytes - h->events;
	look->last_time = h->last_time_ns;
	if (h->epoch != look->epoch || !look->epochs) {
		look->epochs++;
		look->epoch = h->epoch;
	}
	if (look->dump)
		print_block(stdout, bytes, 0, look->args->all, look->args->json);
	else if (!(look->blocks & 255))
		progress(look, false);
}

static void
damage(uint64_t from, uint64_t to, const char *what, void *context)
{
	struct look *look = context;
	if (look->damage < STRETCHES_MAX)
		look->stretches[look->damage] = (struct stretch){ from, to, what };
	look->damage++;
	look->damage_bytes += to - from;
	fprintf(stderr, "damaged: position %" PRIu64 " to %" PRIu64 ": %s\n", from, to, what);
}

static void
report(const struct ringlog *log, const struct look *look)
{
	char id[2 * LOG_ID_BYTES + 1];
	for (uint32_t i = 0; i < LOG_ID_BYTES; i++)
		snprintf(id + 2 * i, sizeof id - 2 * i, "%02x", log->log_id[i]);
	const char *format = look->args->json ?
		"{\"log_id\":\"%s\",\"segments\":%u,\"segment_bytes\":%" PRIu64 ",\"first_position\":%" PRIu64 ",\"end_position\":%" PRIu64
		",\"groups\":%" PRIu64 ",\"blocks\":%" PRIu64 ",\"events\":%" PRIu64 ",\"first_number\":%" PRIu64 ",\"end_number\":%" PRIu64
		",\"other_records\":%" PRIu64 ",\"sealed_blocks\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"body_bytes\":%" PRIu64 ",\"epoch\":%u,\"first_time_ns\":%" PRIu64
		",\"last_time_ns\":%" PRIu64 ",\"damaged\":%" PRIu64 ",\"damaged_bytes\":%" PRIu64 ",\"events_lost\":%" PRIu64 :
		"log id          %s\nsegments        %u of %" PRIu64 " bytes\npositions       %" PRIu64 " to %" PRIu64 "\ngroups          %" PRIu64
		"\nblocks          %" PRIu64 "\nevents          %" PRIu64 "\nnumbers         %" PRIu64 " to below %" PRIu64 "\nother records   %" PRIu64 "\nkey missing for %" PRIu64 " blocks"
		"\nbytes           %" PRIu64 "\nbody bytes      %" PRIu64 "\nepoch           %u\nreceived        %" PRIu64 " to %" PRIu64
		" ns\ndamaged         %" PRIu64 " stretches, %" PRIu64 " bytes\nevents lost     %" PRIu64 "\n";
	printf(format, id, log->segment_count, log->segment_bytes, log->first_position, log->position, look->groups, look->blocks, look->events,
	       look->first_number, look->end_number, look->others, look->sealed, look->bytes, look->payload, look->epoch, look->first_time, look->last_time,
	       look->damage, look->damage_bytes, look->lost);
	if (!look->args->json)
		return;
	fputs(",\"stretches\":[", stdout);
	for (uint64_t i = 0; i < look->damage && i < STRETCHES_MAX; i++) {
		const struct stretch *s = &look->stretches[i];
		printf("%s{\"position\":%" PRIu64 ",\"end\":%" PRIu64 ",", i ? "," : "", s->from, s->to);
		print_json(stdout, "what", 4, (const uint8_t *)s->what, (uint32_t)strlen(s->what));
		putchar('}');
	}
	puts("]}");
}

static enum tool_end
walk(const struct tool_args *args, bool dump, bool verify, struct err *err)
{
	struct ringlog log = { .segment_bytes = BLOCK_ALIGN_BYTES, .dir_count = args->dir_count };
	struct look look = { .args = args, .dump = dump };
	memcpy(log.dirs, args->dirs, sizeof log.dirs);
	int rc = ahead_open(&log.io, err);
	if (rc)
		return TOOL_TROUBLE;
	log.sealed_ok = !dump;
	rc = tool_keys(args, &log.keys, err);
	if (!rc)
		rc = ringlog_open(&log, false, err);
	if (!rc && verify && (args->progress || isatty(STDERR_FILENO))) {
		look.total = log.segment_count * log.segment_bytes;
		look.start_ns = look.told_ns = clock_now_ns(&clock_system);
	}
	if (!rc)
		rc = ringlog_recover(&log, false, visit, damage, &look, err);
	if (!rc)
		progress(&look, true);
	if (!rc && !dump)
		report(&log, &look);
	if (log.checkpoint)		/* else it was not opened */
		ringlog_close(&log);
	log.io->ops->close(log.io);
	return rc ? TOOL_TROUBLE : look.damage && verify ? TOOL_DAMAGE : TOOL_DONE;
}

static enum tool_end
run_info(const struct tool_args *args, struct err *err)
{
	return walk(args, false, false, err);
}

static enum tool_end
run_dump(const struct tool_args *args, struct err *err)
{
	return walk(args, true, false, err);
}

static enum tool_end
run_verify(const struct tool_args *args, struct err *err)
{
	return walk(args, false, true, err);
}

const struct tool_command tool_info = { .name = "info", .help = "what the log holds, in a few lines", .run = run_info };
const struct tool_command tool_dump = { .name = "dump",
	.help = "one line an event: its number, headers, body; --all: fragments, control, state and marks too", .flags = TOOL_ALL, .run = run_dump };
const struct tool_command tool_verify = { .name = "verify",
	.help = "walks the whole log; exit 1 when a stretch of it is damaged; --progress: a line a second on standard error", .flags = TOOL_PROGRESS,
	.run = run_verify };
