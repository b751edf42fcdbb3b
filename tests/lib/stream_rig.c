#include "tests/lib/stream_rig.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t
rig_send(struct stream *stream, const void *bytes, uint32_t len)
{
	struct rig_stream *r = (struct rig_stream *)stream;
	uint32_t room = r->out_max - r->out_len;
	len = len < room ? len : room;
	memcpy(r->out + r->out_len, bytes, len);
	r->out_len += len;
	return len;
}

static uint32_t
rig_send_room(const struct stream *stream)
{
	const struct rig_stream *r = (const struct rig_stream *)stream;
	return r->out_max - r->out_len;
}

static void
rig_carrier_close(struct stream *stream)
{
	struct rig_stream *r = (struct rig_stream *)stream;
	assert(!r->closed && !r->reset);
	r->closed = true;
}

static void
rig_carrier_reset(struct stream *stream)
{
	struct rig_stream *r = (struct rig_stream *)stream;
	assert(!r->closed && !r->reset);
	r->reset = true;
}

static void
rig_reading(struct stream *stream, bool on)
{
	((struct rig_stream *)stream)->reading = on;
}

static void
rig_durable(struct stream *stream)
{
	struct rig_stream *r = (struct rig_stream *)stream;
	assert(stream->durable > r->durable_told && stream->durable <= stream->received);
	r->durable_told = stream->durable;
	r->durable_calls++;
}

static const struct stream_carrier rig_plain = {
	.name = "rig", .send = rig_send, .send_room = rig_send_room, .close = rig_carrier_close, .reset = rig_carrier_reset, .reading = rig_reading,
};
static const struct stream_carrier rig_withholds = {
	.name = "rig", .withholds = true, .send = rig_send, .send_room = rig_send_room, .close = rig_carrier_close, .reset = rig_carrier_reset,
	.reading = rig_reading, .durable = rig_durable,
};

static void
tell(struct option_report *report, bool fatal, const char *origin, const char *key, const char *text)
{
	(void)report;
	fprintf(stderr, "%s %s: %s: %s\n", fatal ? "error" : "warning", origin, key, text);
}

/* An interceptor that shows every event to the test. */
static void
show(const void *compiled, void *scratch, struct batch *batch)
{
	const struct stream_rig *rig = compiled;
	(void)scratch;
	for (uint32_t i = 0; i < batch->count && rig->seen; i++)
		rig->seen(rig->seen_context, &batch->events[i]);
}

static const struct interceptor_ops show_ops = { .name = "show", .run = show };

void
stream_rig_open_on(struct stream_rig *rig, const struct source_ops *ops, const char *properties, uint64_t wall_s, struct channel *channel)
{
	static struct property props[32];
	static char text[4096];
	size_t count = 0;
	memset(rig, 0, sizeof *rig);
	snprintf(text, sizeof text, "%s", properties);
	char *save = NULL;
	for (char *word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		char *equal = strchr(word, '=');
		assert(equal);
		*equal = 0;
		for (char *p = equal + 1; *p; p++)
			if (*p == '~')
				*p = ' ';
		props[count++] = (struct property){ word, equal + 1, "t:1", false };
	}
	clock_manual_init(&rig->clock, NS_PER_S, wall_s * NS_PER_S);
	rig->config = calloc(1, ops->config_size);
	struct option_report report = { .tell = tell };
	int rc = option_parse(ops->options, props, count, rig->config, &rig->values, &report);
	assert(rc == 0);
	for (size_t i = 0; i < count; i++)
		assert(props[i].used);
	struct err err = { "" };
	if (ops->check && ops->check(rig->config, "r1", &err)) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
	rig->spec = (struct pipeline_source){ .name = "r1", .ops = ops, .config = rig->config };
	rig->spec.interceptors[0] = (struct pipeline_interceptor){ .name = "show", .ops = &show_ops, .compiled = rig };
	rig->spec.interceptor_count = 1;
	rig->pipeline = (struct pipeline){ .generation = 1, .sources = &rig->spec, .source_count = 1 };
	rig->channel = channel;
	if (channel) {
		rig->pipeline.channels[0] = channel;
		rig->pipeline.channel_count = 1;
		rig->spec.required = rig->spec.selector.otherwise = 1;
	}
	rc = ingress_open(&rig->ingress, "test", &rig->pipeline, &rig->clock.clock, -1, &err);
	if (rc) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
	streams_init(&rig->streams, &rig->ingress, 0);
	streams_run(&rig->streams, rig->clock.now);
	struct source_listen listen = { 0 };
	ops->listens(rig->config, &listen, 1);
	rig->listener = (struct stream_listener){ .in = &rig->ingress.sources[0], .limits = { .connections = listen.stream->connections,
		.idle_ns = listen.stream->idle_ns, .frame_ns = listen.stream->frame_ns } };
	rc = stream_listener_tls(&rig->listener, listen.stream, listen.tickets, &err);
	assert(rc == 0);
}

void
stream_rig_open(struct stream_rig *rig, const struct source_ops *ops, const char *properties, uint64_t wall_s, uint32_t blocks)
{
	stream_rig_open_small(rig, ops, properties, wall_s, blocks, 1000000);
}

void
stream_rig_open_small(struct stream_rig *rig, const struct source_ops *ops, const char *properties, uint64_t wall_s, uint32_t blocks, uint32_t capacity)
{
	struct channel *channel = NULL;
	if (blocks) {
		static uint64_t config[64];	/* no kind's config is larger */
		static struct option_values values;
		struct option_report report = { .tell = tell };
		char text[16];
		snprintf(text, sizeof text, "%u", capacity);
		struct property props[] = { { "capacity", text, "t:1" }, { "transactionCapacity", capacity < 10000 ? text : "10000", "t:1" } };
		assert(channel_memory.config_size <= sizeof config);
		int rc = option_parse(channel_memory.options, props, 2, config, &values, &report);
		assert(rc == 0);
		struct channel_env env = { .name = "c1", .clock = &clock_system, .blocks = blocks, .links_max = 1 };
		struct err err = { "" };
		rc = channel_memory.open(&channel, config, &env, &err);
		assert(rc == 0);
		option_values_free(&values);
	}
	stream_rig_open_on(rig, ops, properties, wall_s, channel);
	rig->own_channel = channel != NULL;
	if (channel)
		stream_rig_turn(rig, true);	/* the first credit */
}

void
stream_rig_turn(struct stream_rig *rig, bool write)
{
	ingress_reap(&rig->ingress);
	streams_run(&rig->streams, rig->clock.now);
	ingress_put(&rig->ingress);
	ingress_seal_due(&rig->ingress, true);
	while (write && rig->channel && rig->channel->ops->writer_step(rig->channel, 0) > 0)
		;
	if (write)
		ingress_reap(&rig->ingress);
}

void
stream_rig_close(struct stream_rig *rig)
{
	stream_rig_turn(rig, true);
	stream_rig_turn(rig, true);
	assert(!rig->ingress.tickets.open);
	streams_free(&rig->streams);
	stream_listener_close(&rig->listener);
	ingress_close(&rig->ingress);
	if (rig->own_channel)
		rig->channel->ops->close(rig->channel);
	option_values_free(&rig->values);
	free(rig->config);
}

struct rig_stream *
rig_connect(struct stream_rig *rig, bool withholds, uint16_t local_port)
{
	struct rig_stream *r = calloc(1, sizeof *r);
	struct address peer, local;
	address_parse_ip(&peer, "127.0.0.1");
	address_parse_ip(&local, "127.0.0.1");
	peer.port = 40000;
	local.port = local_port;
	r->reading = true;
	r->out_max = sizeof r->out;
	rig->listener.edge = withholds ? STREAM_DURABLE : STREAM_RECEIVED;
	if (stream_open(&r->stream, withholds ? &rig_withholds : &rig_plain, &rig->streams, &rig->listener, &peer, &local)) {
		free(r);
		return NULL;
	}
	return r;
}

void
rig_end(struct rig_stream *r)
{
	stream_end(&r->stream);
	free(r);
}

const char *
rig_stored(struct stream_rig *rig)
{
	static char text[8 << 20];
	size_t used = 0;
	struct taker *taker;
	struct span *span;
	struct err err;
	int rc = rig->channel->ops->taker_open(rig->channel, "k1", &taker, &err);
	assert(rc == 0);
	while (rig->channel->ops->take(taker, 10000, 1 << 20, 0, &span) == 0 && span) {
		struct span_cursor cursor = { { 0 } };
		struct event_view event;
		while (rig->channel->ops->span_next(span, &cursor, &event)) {
			assert(used + event.body_len + 2 < sizeof text);
			memcpy(text + used, event.body, event.body_len);
			used += event.body_len;
			text[used++] = '\n';
		}
		rig->channel->ops->settle(taker, span, SETTLE_COMMIT, NULL, 0);
	}
	rig->channel->ops->taker_close(taker);
	text[used] = 0;
	return text;
}
