/* import: what a Flume file channel still holds, in the order in which Flume would deliver it, into a new ring log. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "tools/ringlog/flume_log.h"
#include "tools/ringlog/tool.h"

#define SEGMENT_BYTES (UINT64_C(64) << 20)
#define BLOCK_LEAST (256u << 10)

struct import {
	struct out out;
	bool open;
	struct block block;
	struct block_scratch *scratch;
	struct header *headers;
	uint32_t header_room;
	uint64_t number, time_ns;
	uint64_t events, bytes, bad;
};

static int
block_end(struct import *m, struct err *err)
{
	if (!m->open)
		return 0;
	(void)block_seal(&m->block);
	((struct block_header *)m->block.bytes)->first_event = m->number - m->block.events;
	m->open = false;
	return out_block(&m->out, m->block.bytes, err);
}

static int
event_put(struct import *m, const struct flume_event *e, struct err *err)
{
	if (e->header_count > m->header_room) {
		free(m->headers);
		m->header_room = 2 * e->header_count;
		m->headers = calloc(m->header_room, sizeof *m->headers);
		if (!m->headers)
			return err_set(err, ENOMEM, "no memory");
	}
	for (uint32_t i = 0; i < e->header_count; i++)
		m->headers[i] = (struct header){ .name = name_intern((const char *)e->headers[i].name, e->headers[i].name_len),
			.kind = HEADER_BYTES, .len = e->headers[i].value_len, .value.bytes = e->headers[i].value };
	struct event event = { .body = (uint8_t *)e->body, .body_len = e->body_len, .headers = m->headers,
		.header_count = (uint16_t)e->header_count, .time_ns = m->time_ns };
	for (int turn = 0;; turn++) {
		if (!m->open) {
			block_open(&m->block, m->scratch);
			m->open = true;
		}
		int rc = block_put(&m->block, 0, &event);
		if (rc == 0)
			break;
		if (rc != -ENOSPC || turn)
			return err_set(err, EMSGSIZE, "an event of %u bytes does not fit in a block", e->body_len);
		if ((rc = block_end(m, err)))
			return rc;
	}
	m->number++;
	return 0;
}

static void
print_flume(FILE *out, uint64_t number, const struct flume_event *e, bool json)
{
	fprintf(out, json ? "{\"number\":%" PRIu64 ",\"headers\":{" : "%" PRIu64 " {", number);
	for (uint32_t i = 0; i < e->header_count; i++) {
		const struct flume_header *h = &e->headers[i];
		if (i)
			fputs(json ? "," : ", ", out);
		if (json)
			print_json(out, (const char *)h->name, h->name_len, h->value, h->value_len);
		else {
			print_text(out, h->name, h->name_len, false);
			putc('=', out);
			print_text(out, h->value, h->value_len, false);
		}
	}
	fputs(json ? "}," : "} ", out);
	if (json)
		print_json(out, "body", 4, e->body, e->body_len);
	else
		print_text(out, e->body, e->body_len, false);
	fputs(json ? "}\n" : "\n", out);
}

static int
prepare(struct import *m, const struct tool_args *args, struct flume_log *log, struct err *err)
{
	/* The largest event decides over the size of blocks. */
	struct flume_event e = { 0 };
	uint64_t most = 0;
	for (uint64_t i = 0; i < log->queue_count; i++) {
		if (flume_log_event(log, log->queue[i], &e, NULL))
			continue;
		uint64_t need = e.body_len;
		for (uint32_t j = 0; j < e.header_count; j++)
			need += 64 + e.headers[j].name_len + (uint64_t)e.headers[j].value_len;
		most = need > most ? need : most;
	}
	flume_event_free(&e);
	uint64_t block = (most + most / 8 + 2 * BLOCK_ALIGN_BYTES) / BLOCK_ALIGN_BYTES * BLOCK_ALIGN_BYTES;
	block = block < BLOCK_LEAST ? BLOCK_LEAST : block;
	uint64_t segment = SEGMENT_BYTES > 8 * block ? SEGMENT_BYTES : 8 * block;
	m->block.capacity = (uint32_t)block;
	m->block.bytes = block < UINT32_MAX / 8 ? aligned_alloc(BLOCK_ALIGN_BYTES, block) : NULL;
	if (!m->block.bytes || block_scratch_init(&m->scratch, (uint32_t)block))
		return err_set(err, ENOMEM, "no memory for an event of %" PRIu64 " bytes", most);
	m->time_ns = clock_wall_ns(&clock_system);
	int rc = out_open(&m->out, args, segment, NULL, log->keys, err);
	m->out.log.epoch = 1;
	return rc;
}

static enum tool_end
run(const struct tool_args *args, struct err *err)
{
	struct flume_log log = { 0 };
	struct flume_event event = { 0 };
	struct import m = { .out = { .blocks = 0 } };
	bool made = false;
	int rc = tool_keys(args, &log.keys, err);
	if (!rc)
		rc = flume_log_open(&log, args->dirs, args->dir_count, args->checkpoint, stderr, err);
	if (!rc && args->to) {
		rc = prepare(&m, args, &log, err);
		made = rc == 0;
	}
	for (uint64_t i = 0; i < log.queue_count && !rc; i++) {
		struct err one = { "" };
		if (flume_log_event(&log, log.queue[i], &event, &one)) {
			m.bad++;
			fprintf(stderr, "not taken over: %s\n", one.text);
			continue;
		}
		if (made)
			rc = event_put(&m, &event, err);
		else
			print_flume(stdout, m.events, &event, args->json);
		m.events++;
		m.bytes += event.body_len;
	}
	if (made) {
		if (!rc)
			rc = block_end(&m, err);
		rc = out_close(&m.out, rc, NULL, err);
	}
	if (!rc)
		fprintf(args->to ? stdout : stderr, args->json ?
			"{\"files\":%u,\"puts\":%" PRIu64 ",\"takes\":%" PRIu64 ",\"commits\":%" PRIu64 ",\"rollbacks\":%" PRIu64
			",\"void\":%" PRIu64 ",\"puts_not_committed\":%" PRIu64 ",\"takes_not_committed\":%" PRIu64 ",\"from_checkpoint\":%s"
			",\"events\":%" PRIu64 ",\"body_bytes\":%" PRIu64 ",\"not_taken_over\":%" PRIu64 ",\"unreadable\":%" PRIu64 "}\n" :
			"files                %u\nputs                 %" PRIu64 "\ntakes                %" PRIu64 "\ncommits              %" PRIu64
			"\nrollbacks            %" PRIu64 "\nmade void            %" PRIu64 "\nputs not committed   %" PRIu64
			"\ntakes not committed  %" PRIu64 "\nfrom a checkpoint    %s\nevents               %" PRIu64 "\nbody bytes           %" PRIu64
			"\nnot taken over       %" PRIu64 "\nunreadable           %" PRIu64 " stretches\n",
			log.file_count, log.puts, log.takes, log.commits, log.rollbacks, log.noops, log.open_puts, log.open_takes,
			log.checkpoint_order ? "true" : "false", m.events, m.bytes, m.bad, log.bad_stretches);
	bool lost = m.bad || log.bad_stretches;
	flume_event_free(&event);
	flume_log_close(&log);
	keyring_close(log.keys);
	block_scratch_free(m.scratch);
	free(m.block.bytes);
	free(m.headers);
	return rc ? TOOL_TROUBLE : lost ? TOOL_DAMAGE : TOOL_DONE;
}

const struct tool_command tool_import = { .name = "import",
	.help = "takes over the data directories (all of them) of a Flume file channel: --to DIR makes a log there (dataDirs = DIR/data,\n"
		"           checkpointDir = DIR/checkpoint), without it the events are printed; --checkpoint DIR: Flume's checkpointDir, which spares\n"
		"           events that Flume had delivered before it deleted log files; the Flume must be stopped; exit 1 when something was unreadable",
	.flags = TOOL_TO | TOOL_CHECKPOINT, .run = run };
