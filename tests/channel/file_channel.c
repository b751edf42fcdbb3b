/* file_channel put N | drain [N] | hold [N] KEY=VALUE...: one file channel with Flume's options, on one thread. put: N events "event I" go in (I counts
 * from what `first=` says, `size=` pads it) and their number is printed once they are durable; drain: bodies come out, a line each, and are settled; with N at
 * most N; hold: opens it, puts
 * N, prints "open", waits for the end of its standard input. Exit 1 with the error when it cannot be opened, 3 when
 * nothing more was taken in. For tests of options, keys, tools. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "channel/channel_file.h"

static const struct channel_ops *const ops = &channel_file;
static uint32_t size;		/* of bodies, at least */

static void
tell(struct option_report *report, bool fatal, const char *origin, const char *key, const char *text)
{
	(void)report, (void)origin;
	fprintf(stderr, "%s%s: %s\n", fatal ? "" : "note: ", key, text);
}

static int
put(struct channel *channel, uint64_t first, uint64_t count)
{
	struct channel_link *link;
	struct block_scratch *scratch;
	struct block *b = NULL;
	struct err err = { "" };
	uint64_t sent = 0, done = 0, failed = 0, idle = 0, given = 0;	/* given: in blocks that were submitted */
	if (block_scratch_init(&scratch, 256u << 10) || ops->link(channel, "i", -1, &link, &err))
		return 1;
	const struct name *host = name_intern("host", 4);
	while (done + failed < count && idle < 300) {		/* 300 ms without anything in flight, and no credit */
		idle += given == done + failed;
		if (ops->writer_step(channel, 1000000) > 0)
			idle = 0;
		for (struct completion *c; (c = channel_completion(link));) {
			if (c->status)
				failed += c->events;
			else
				done += c->events;
			channel_completion_done(link, c);
			idle = 0;
		}
		while (sent < count && (b = channel_credit(link))) {
			block_open(b, scratch);
			for (; sent < count; sent++) {
				static char body[65536];
				int len = snprintf(body, sizeof body, "event %" PRIu64, first + sent);
				if ((uint32_t)len < size) {
					memset(body + len, ' ', size - (uint32_t)len);
					len = (int)size;
				}
				struct header own = { .name = host, .kind = HEADER_BYTES, .len = 5, .value.bytes = (const uint8_t *)"web-1" };
				struct event e = { .body = (uint8_t *)body, .body_len = (uint32_t)len, .headers = &own, .header_count = 1,
					.time_ns = clock_wall_ns(&clock_system) };
				if (block_put(b, 0, &e))
					break;
			}
			block_seal(b);
			channel_submit(link, &b);
			given = sent;
			idle = 0;
		}
	}
	printf("%" PRIu64 "\n", done);
	block_scratch_free(scratch);
	return failed ? 1 : done < count ? 3 : 0;
}

static int
drain(struct channel *channel, uint64_t most)
{
	struct taker *taker;
	struct span *span;
	struct err err = { "" };
	uint64_t seen = 0;
	if (ops->taker_open(channel, "k", &taker, &err))
		return 1;
	int rc = 0, tries = 20;
	while (seen < most && tries) {
		if ((rc = ops->take(taker, most - seen < 1000 ? (uint32_t)(most - seen) : 1000, 4u << 20, 0, &span)) || !span) {
			tries--;
			continue;
		}
		struct span_cursor cursor = { { 0 } };
		struct event_view e;
		while (ops->span_next(span, &cursor, &e)) {
			printf("%.*s\n", (int)e.body_len, (const char *)e.body);
			seen++;
		}
		if (ops->settle(taker, span, SETTLE_COMMIT, NULL, 0))
			return 1;
	}
	ops->taker_close(taker);
	return rc ? 1 : 0;
}

int
main(int argc, char **argv)
{
	struct property props[64];
	size_t count = 0;
	uint64_t first = 0, most = UINT64_MAX;
	int at = 2;
	if (argc < 2)
		return 2;
	if (at < argc && !strchr(argv[at], '='))
		most = strtoull(argv[at++], NULL, 10);
	for (; at < argc && count < 64; at++) {
		char *value = strchr(argv[at], '=');
		if (!value)
			return 2;
		*value++ = 0;
		if (!strcmp(argv[at], "first"))
			first = strtoull(value, NULL, 10);
		else if (!strcmp(argv[at], "size"))
			size = strtoul(value, NULL, 10) < 65536 ? (uint32_t)strtoul(value, NULL, 10) : 65535;
		else
			props[count++] = (struct property){ argv[at], value, "t", false };
	}
	struct channel_file_config config;
	memset(&config, 0, sizeof config);
	struct option_values values = { 0 };
	struct option_report report = { tell };
	struct err err = { "" };
	struct channel *channel;
	if (option_parse(ops->options, props, count, &config, &values, &report) || (ops->check(&config, "c1", &err) && fprintf(stderr, "%s\n", err.text)))
		return 1;
	for (size_t i = 0; i < count; i++)
		if (!props[i].used) {
			fprintf(stderr, "%s: is not known\n", props[i].key);
			return 1;
		}
	struct channel_env env = { .name = "c1", .clock = &clock_system, .links_max = 1 };
	if (ops->open(&channel, &config, &env, &err)) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	int rc = 2;
	if (!strcmp(argv[1], "put"))
		rc = put(channel, first, most);
	else if (!strcmp(argv[1], "drain"))
		rc = drain(channel, most);
	else if (!strcmp(argv[1], "hold")) {
		if (most != UINT64_MAX && (rc = put(channel, first, most)))
			return rc;
		char c;
		puts("open");
		fflush(stdout);
		rc = read(0, &c, 1) < 0;
	}
	ops->close(channel);
	option_values_free(&values);
	return rc;
}
