/* penstock-ringlog: looks into a log on disk (docs/ringlog-format.md). Reads only; may run beside the penstock that writes the log. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "channel/ringlog.h"

#define HEADERS_MAX 256u

static const char usage[] =
	"penstock-ringlog info|dump|verify DIR... [--json]\n"
	"  info    what the log holds, in a few lines\n"
	"  dump    one line an event: its number, its headers, its body\n"
	"  verify  walks the whole log; exit 1 when a stretch of it is damaged\n"
	"DIR is a data directory of a file channel; of several (dataDirs = a,b) name all, in the same order.\n";

struct look {
	bool dump, json, first;
	uint64_t groups, blocks, events, records, payload, bytes, damage;
	uint64_t first_number, end_number, lost, first_time, last_time;
	uint32_t epochs, epoch;
};

/* Length of the UTF-8 character at `at`, 0 when it is none. */
static uint32_t
utf8_len(const uint8_t *at, const uint8_t *end)
{
	uint32_t len = *at < 0x80 ? 1 : *at >= 0xc2 && *at < 0xe0 ? 2 : (*at & 0xf0) == 0xe0 ? 3 : *at >= 0xf0 && *at < 0xf5 ? 4 : 0;
	if (!len || len > (size_t)(end - at))
		return 0;
	for (uint32_t i = 1; i < len; i++)
		if ((at[i] & 0xc0) != 0x80)
			return 0;
	if ((*at == 0xe0 && at[1] < 0xa0) || (*at == 0xed && at[1] > 0x9f) || (*at == 0xf0 && at[1] < 0x90) || (*at == 0xf4 && at[1] > 0x8f))
		return 0;
	return len;
}

static bool
is_utf8(const uint8_t *bytes, uint32_t len)
{
	const uint8_t *end = bytes + len;
	for (uint32_t n; bytes < end; bytes += n)
		if (!(n = utf8_len(bytes, end)))
			return false;
	return true;
}

/* Text as JSON wants it between quotes, or (json false) for eyes: what is not printable as \xHH. */
static void
print_text(const uint8_t *bytes, uint32_t len, bool json)
{
	const uint8_t *end = bytes + len;
	while (bytes < end) {
		uint32_t n = utf8_len(bytes, end);
		if (*bytes == '\\' || (*bytes == '"' && json))
			putchar('\\');
		if (*bytes == '\n')
			fputs("\\n", stdout);
		else if (n == 0 || *bytes < 0x20 || *bytes == 0x7f)
			printf(json ? "\\u%04x" : "\\x%02x", *bytes);
		else
			fwrite(bytes, 1, n, stdout);
		bytes += n ? n : 1;
	}
}

/* "name": text; bytes that are not UTF-8 go as hex under "name_hex". */
static void
print_json(const char *name, uint32_t name_len, const uint8_t *bytes, uint32_t len)
{
	bool text = is_utf8(bytes, len);
	putchar('"');
	print_text((const uint8_t *)name, name_len, true);
	fputs(text ? "\":\"" : "_hex\":\"", stdout);
	if (text)
		print_text(bytes, len, true);
	else
		for (uint32_t i = 0; i < len; i++)
			printf("%02x", bytes[i]);
	putchar('"');
}

static void
print_event(const struct event_view *event, bool json)
{
	struct header_view headers[HEADERS_MAX];
	char digits[24];
	const uint8_t *text;
	uint32_t n = event_view_headers(event, headers, HEADERS_MAX);
	n = n < HEADERS_MAX ? n : HEADERS_MAX;
	printf(json ? "{\"number\":%" PRIu64 ",\"headers\":{" : "%" PRIu64 " {", event->number);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t len = header_view_text(&headers[i], digits, &text);
		if (i)
			fputs(json ? "," : ", ", stdout);
		if (json)
			print_json(headers[i].name, headers[i].name_len, text, len);
		else {
			print_text((const uint8_t *)headers[i].name, headers[i].name_len, false);
			putchar('=');
			print_text(text, len, false);
		}
	}
	fputs(json ? "}," : "} ", stdout);
	if (json)
		print_json("body", 4, event->body, event->body_len);
	else
		print_text(event->body, event->body_len, false);
	puts(json ? "}" : "");
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
	look->bytes += h->bytes;
	look->payload += h->raw_bytes - h->events;
	look->last_time = h->last_time_ns;
	if (h->epoch != look->epoch) {
		look->epochs++;
		look->epoch = h->epoch;
	}
	if (!look->dump)
		return;
	struct block_view view;
	struct walk walk = { 0 };
	struct record_view record;
	if (!block_view_open(&view, bytes, h->bytes))
		return;
	while (block_walk(&view, &walk, &record) > 0)
		if (record.type == RECORD_EVENT)
			print_event(&record.event, look->json);
}

static void
damage(uint64_t from, uint64_t to, const char *what, void *context)
{
	struct look *look = context;
	look->damage++;
	fprintf(stderr, "damaged: position %" PRIu64 " to %" PRIu64 ": %s\n", from, to, what);
}

static void
report(const struct ringlog *log, const struct look *look)
{
	char id[2 * LOG_ID_BYTES + 1];
	for (uint32_t i = 0; i < LOG_ID_BYTES; i++)
		snprintf(id + 2 * i, sizeof id - 2 * i, "%02x", log->log_id[i]);
	const char *format = look->json ?
		"{\"log_id\":\"%s\",\"segments\":%u,\"segment_bytes\":%" PRIu64 ",\"first_position\":%" PRIu64 ",\"end_position\":%" PRIu64
		",\"groups\":%" PRIu64 ",\"blocks\":%" PRIu64 ",\"events\":%" PRIu64 ",\"first_number\":%" PRIu64 ",\"end_number\":%" PRIu64
		",\"bytes\":%" PRIu64 ",\"body_bytes\":%" PRIu64 ",\"epoch\":%u,\"first_time_ns\":%" PRIu64 ",\"last_time_ns\":%" PRIu64
		",\"damaged\":%" PRIu64 ",\"events_lost\":%" PRIu64 "}\n" :
		"log id          %s\nsegments        %u of %" PRIu64 " bytes\npositions       %" PRIu64 " to %" PRIu64 "\ngroups          %" PRIu64
		"\nblocks          %" PRIu64 "\nevents          %" PRIu64 "\nnumbers         %" PRIu64 " to below %" PRIu64 "\nbytes           %" PRIu64
		"\nbody bytes      %" PRIu64 "\nepoch           %u\nreceived        %" PRIu64 " to %" PRIu64 " ns\ndamaged         %" PRIu64
		" stretches\nevents lost     %" PRIu64 "\n";
	printf(format, id, log->segment_count, log->segment_bytes, log->first_position, log->position, look->groups, look->blocks, look->events,
	       look->first_number, look->end_number, look->bytes, look->payload, look->epoch, look->first_time, look->last_time, look->damage,
	       look->lost);
}

int
main(int argc, char **argv)
{
	struct ringlog log = { .segment_bytes = BLOCK_ALIGN_BYTES };
	struct look look = { 0 };
	struct err err = { "" };
	const char *command = NULL;
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--json"))
			look.json = true;
		else if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			fputs(usage, stdout);
			return 0;
		} else if (!command)
			command = argv[i];
		else if (argv[i][0] == '-' || log.dir_count == RINGLOG_DIRS_MAX) {
			fprintf(stderr, "penstock-ringlog: %s: not understood\n%s", argv[i], usage);
			return 2;
		} else
			log.dirs[log.dir_count++] = argv[i];
	}
	bool verify = command && !strcmp(command, "verify");
	look.dump = command && !strcmp(command, "dump");
	if (!log.dir_count || (!verify && !look.dump && strcmp(command, "info"))) {
		fputs(usage, stderr);
		return 2;
	}
	int rc = logio_pwrite_open(&log.io, -1, &err);
	if (!rc) {
		rc = ringlog_open(&log, false, &err);
		if (!rc)
			rc = ringlog_recover(&log, false, visit, damage, &look, &err);
		if (!rc && !look.dump)
			report(&log, &look);
		ringlog_close(&log);
		log.io->ops->close(log.io);
	}
	if (rc) {
		fprintf(stderr, "penstock-ringlog: %s\n", err.text);
		return 2;
	}
	if (fflush(stdout)) {
		fprintf(stderr, "penstock-ringlog: standard output: %s\n", strerror(errno));
		return 2;
	}
	return look.damage && verify ? 1 : 0;
}
