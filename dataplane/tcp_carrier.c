#include "dataplane/tcp_carrier.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "dataplane/net/net.h"
#include "dataplane/source/stream_options.h"

struct tcp_stream {
	struct stream stream;		/* first */
	struct conn *conn;		/* NULL: the connection is no more */
	struct tcp_carrier *carrier;
	struct tcp_stream *next;	/* free, or due */
	struct half_line half;
	bool reading, due;
	bool leave;			/* the next process goes on with it */
};
_Static_assert(sizeof(struct tcp_stream) <= 488, "with its connection's 528 bytes a stream stays within 1 KiB");

/* ---- listeners ---- */

int
tcp_stream_edge(const struct pipeline *pipeline, const struct pipeline_source *source, const struct source_listen *where,
		enum stream_edge *edge, struct err *err)
{
	const struct channel *weak = NULL;
	for (uint64_t left = source->required; left; left &= left - 1) {
		const struct channel *channel = pipeline->channels[__builtin_ctzll(left)];
		if (!channel->ops->promise(channel).durable)
			weak = channel;
	}
	if (where->stream->ack != ACK_DURABLE) {
		*edge = where->stream->ack == ACK_RECEIVED || where->replies || weak || !source->required ? STREAM_RECEIVED : STREAM_DURABLE;
		return 0;
	}
	if (weak)
		return err_set(err, EINVAL, "sources.%s: ack = durable: its channel %s keeps events in memory: leave ack out, or take a file channel",
			       source->name, weak->name);
	if (!source->required)
		return err_set(err, EINVAL, "sources.%s: ack = durable: none of its channels is a required one: leave ack out", source->name);
	if (where->replies)
		return err_set(err, EINVAL, "sources.%s: ack = durable: its reply is the promise, and a request larger than the window could never be "
			       "acknowledged: leave ack out", source->name);
	*edge = STREAM_DURABLE;
	return 0;
}

/* The pool of a source's connections. With more than TCP_POOLS the last ones share one, which has what the fullest of all its channels leaves. */
static uint32_t
pool_of(struct tcp_listeners *listeners, const struct pipeline_source *source, bool chunks)
{
	uint32_t i = 0;
	while (i < listeners->pool_count && (listeners->pools[i].channels != source->required || listeners->pools[i].chunks != chunks))
		i++;
	if (i == TCP_POOLS) {
		listeners->pools[--i].channels |= source->required;
		listeners->pools[i].chunks &= chunks;
	} else if (i == listeners->pool_count) {
		listeners->pools[listeners->pool_count++] = (struct tcp_credit_pool){ .channels = source->required, .chunks = chunks };
	}
	return i;
}

int
tcp_listeners_add(struct tcp_listeners *listeners, const struct address *at, const struct source_listen *where, const struct stream_limits *limits,
		  enum stream_edge edge, struct ingress_source *in, struct err *err)
{
	const char *name = in->spec->name;
	char ip[ADDRESS_TEXT_BYTES];
	address_ip_text(at, ip, sizeof ip);
	for (uint32_t i = listeners->by_port[at->port]; i; i = listeners->list[i - 1]->next)
		if (memcmp(listeners->list[i - 1]->at.ip, at->ip, 16) == 0)
			return err_set(err, EADDRINUSE, "sources.%s: %s port %u is taken by source %s already: choose another port", name, ip, at->port,
				       listeners->list[i - 1]->listener.in->spec->name);
	if (listeners->count == UINT16_MAX)
		return err_set(err, ENOSPC, "more than %u TCP listeners", UINT16_MAX);
	struct tcp_listener **list = realloc(listeners->list, (listeners->count + 1) * sizeof *list);
	if (list)
		listeners->list = list;
	struct tcp_listener *l = list ? calloc(1, sizeof *l) : NULL;
	if (!l)
		return err_set(err, ENOMEM, "no memory");
	l->listener = (struct stream_listener){ .in = in, .limits = *limits, .edge = edge };
	l->at = *at;
	l->any = address_is_any(at);
	l->pool = pool_of(listeners, in->spec, where->answers_full || !in->spec->required);
	int rc = source_listen_allow(where, name, &l->allow, &l->listener.allow_count, err);
	if (rc) {
		free(l);
		return rc;
	}
	l->listener.allow = l->allow;
	l->next = listeners->by_port[at->port];
	list[listeners->count++] = l;
	listeners->by_port[at->port] = (uint16_t)listeners->count;
	l->listener.metrics = (struct metric_set){ .kind = "STREAMS", .component = name, .metrics = stream_metrics, .count = stream_metric_count,
						   .counters = &l->listener.counters };
	metrics_add(&l->listener.metrics);
	return 0;
}

void
tcp_listeners_free(struct tcp_listeners *listeners)
{
	for (uint32_t i = 0; i < listeners->count; i++) {
		metrics_remove(&listeners->list[i]->listener.metrics);
		stream_listener_close(&listeners->list[i]->listener);
		free(listeners->list[i]->allow);
		free(listeners->list[i]);
	}
	free(listeners->list);
	memset(listeners, 0, sizeof *listeners);
}

static struct tcp_listener *
find(const struct tcp_listeners *listeners, const struct address *to)
{
	struct tcp_listener *any = NULL;
	for (uint32_t i = listeners->by_port[to->port]; i; i = listeners->list[i - 1]->next) {
		struct tcp_listener *l = listeners->list[i - 1];
		if (memcmp(l->at.ip, to->ip, 16) == 0)
			return l;
		if (l->any)
			any = l;
	}
	return any;
}

/* ---- what a stream asks for; none of these may call back into it ---- */

static void
due(struct tcp_stream *s)
{
	if (s->due)
		return;
	s->due = true;
	s->next = s->carrier->due_first;
	s->carrier->due_first = s;
}

static uint32_t
carrier_send(struct stream *stream, const void *bytes, uint32_t len)
{
	struct tcp_stream *s = (struct tcp_stream *)stream;
	return s->conn ? conn_send(s->conn, bytes, len) : 0;
}

static uint32_t
carrier_send_room(const struct stream *stream)
{
	const struct tcp_stream *s = (const struct tcp_stream *)stream;
	return s->conn ? conn_send_room(s->conn) : 0;
}

static void
carrier_shut(struct stream *stream)
{
	struct tcp_stream *s = (struct tcp_stream *)stream;
	s->reading = true;	/* what still comes is thrown away */
	if (!s->conn)
		return;
	conn_finish(s->conn);
	due(s);
}

static void
carrier_reset(struct stream *stream)
{
	struct tcp_stream *s = (struct tcp_stream *)stream;
	if (!s->conn)
		return;
	conn_reset(s->conn);
	s->conn = NULL;
	due(s);
}

static void
carrier_reading(struct stream *stream, bool on)
{
	struct tcp_stream *s = (struct tcp_stream *)stream;
	s->reading = on;
	if (on && s->conn)
		due(s);
}

static void
carrier_durable(struct stream *stream)
{
	struct tcp_stream *s = (struct tcp_stream *)stream;
	if (s->conn)
		conn_durable(s->conn, stream->durable);
}

static void
carrier_lagging(struct stream *stream)
{
	struct tcp_stream *s = (struct tcp_stream *)stream;
	half_line_lag(&s->carrier->half_lines, &s->half);
}

static const struct stream_carrier tcp_stream_carrier = {
	.name = "tcp", .withholds = true, .send = carrier_send, .send_room = carrier_send_room, .close = carrier_shut, .reset = carrier_reset,
	.reading = carrier_reading, .durable = carrier_durable, .lagging = carrier_lagging,
};

/* ---- what TCP says ---- */

static enum drop
on_listen(void *context, const struct address *from, const struct address *to, void **listener)
{
	struct tcp_carrier *carrier = context;
	struct tcp_listener *l = find(carrier->listeners, to);
	if (!l)
		return DROP_NO_LISTENER;
	if (carrier->allow_count && !address_in_prefixes(from, carrier->allow, carrier->allow_count))
		return DROP_SENDER_NOT_ALLOWED;
	*listener = l;
	switch (stream_admit(&l->listener, from)) {
	case 0:
		return DROP_NONE;
	case -EACCES:
		return DROP_SENDER_NOT_ALLOWED;
	}
	return DROP_TCP_NO_ROOM;
}

static void
slot_give(struct tcp_stream *s)
{
	struct tcp_carrier *carrier = s->carrier;
	s->next = carrier->free_first;
	carrier->free_first = s;
}

static struct tcp_stream *
slot_take(struct tcp_carrier *carrier)
{
	struct tcp_stream *s = carrier->free_first;
	if (s)
		carrier->free_first = s->next;
	else if (carrier->slots_fresh < carrier->slots_max)
		s = &carrier->slots[carrier->slots_fresh++];
	if (!s)
		return NULL;
	s->carrier = carrier;
	s->reading = true;
	s->due = s->leave = false;
	return s;
}

static void *
on_accept(void *context, struct conn *conn, void *listener)
{
	struct tcp_carrier *carrier = context;
	struct tcp_listener *l = listener;
	struct tcp_stream *s = slot_take(carrier);
	if (!s)
		return NULL;
	struct address from, to;
	conn_addresses(conn, &from, &to);
	conn_ack_durable(conn, l->listener.edge == STREAM_DURABLE);
	s->conn = conn;
	if (stream_open(&s->stream, &tcp_stream_carrier, carrier->streams, &l->listener, &from, &to)) {
		s->conn = NULL;
		slot_give(s);
		return NULL;
	}
	half_line_begin(&s->half, &s->stream);
	flow_record_begin(&carrier->half_lines, &s->half, conn, net_queue(carrier->net));
	return s;
}

static uint32_t
on_bytes(void *stream, const uint8_t *bytes, uint32_t len)
{
	struct tcp_stream *s = stream;
	if (!s->reading)	/* the stream said so; what was promised to the peer waits in chunks */
		return 0;
	uint32_t n = stream_feed(&s->stream, bytes, len);
	half_line_fed(&s->carrier->half_lines, &s->half, s->carrier->streams->now_ns);
	return n;
}

static void
on_finished(void *stream)
{
	stream_eof(&((struct tcp_stream *)stream)->stream);
}

static void
on_sent(void *stream, bool taken)
{
	stream_writable(&((struct tcp_stream *)stream)->stream, taken);
}

static void
on_hurry(void *stream)
{
	struct tcp_stream *s = stream;
	s->carrier->hurry = true;
	half_line_hurry(&s->carrier->half_lines, &s->half, s->carrier->streams->now_ns);
}

static void
on_gone(void *stream, int why)
{
	(void)why;	/* stream_end counts it */
	struct tcp_stream *s = stream;
	s->conn = NULL;
	due(s);		/* not here: it may be in the middle of a call of ours */
}

static bool
on_settled(void *stream)
{
	const struct tcp_stream *s = stream;
	return !s->stream.ticket_first && !s->stream.wait;
}

static uint32_t
on_room(void *stream)
{
	return ((struct tcp_stream *)stream)->reading ? UINT32_MAX : 0;
}

static uint32_t
on_pool(void *context, const struct address *to)
{
	const struct tcp_listener *l = find(((struct tcp_carrier *)context)->listeners, to);
	return l ? l->pool : 0;
}

static const struct tcp_user tcp_carrier_user = {
	.listen = on_listen, .accept = on_accept, .bytes = on_bytes, .finished = on_finished, .sent = on_sent, .hurry = on_hurry, .gone = on_gone,
	.settled = on_settled, .room = on_room, .pool = on_pool,
};

/* ---- the lcore ---- */

static uint64_t
free_bytes(const struct ingress_channel *channel)
{
	uint64_t blocks = spsc_count(&channel->link->credit) + channel->spare_count;
	uint64_t bytes = blocks * (channel->open ? channel->open->capacity : 1u << 16);
	return bytes + (channel->open ? channel->open->capacity - channel->open->raw_bytes : 0);
}

void
tcp_listeners_credit(struct tcp_listeners *listeners, const struct ingress *ingress, uint32_t ports)
{
	uint64_t known = 0, bytes[PIPELINE_CHANNELS_MAX];
	for (uint32_t i = 0; i < listeners->pool_count; i++) {
		struct tcp_credit_pool *pool = &listeners->pools[i];
		uint64_t least = UINT64_MAX;
		for (uint64_t left = pool->channels; left; left &= left - 1) {
			uint32_t slot = (uint32_t)__builtin_ctzll(left), sharers = 0;
			if (!(known >> slot & 1)) {
				known |= UINT64_C(1) << slot;
				for (uint32_t k = 0; k < listeners->pool_count; k++)
					sharers += listeners->pools[k].channels >> slot & 1;
				bytes[slot] = ingress->channels[slot].link ? free_bytes(&ingress->channels[slot]) / sharers / (ports ? ports : 1) : 0;
			}
			least = bytes[slot] < least ? bytes[slot] : least;
		}
		pool->bytes = least == UINT64_MAX ? 0 : least;
	}
}

bool
tcp_carrier_hurry(struct tcp_carrier *carrier)
{
	bool hurry = carrier->hurry;
	carrier->hurry = false;
	return hurry;
}

static void
run_due(struct tcp_carrier *carrier)
{
	struct tcp_stream *s = carrier->due_first;
	carrier->due_first = NULL;
	while (s) {
		struct tcp_stream *next = s->next;
		s->due = false;
		if (!s->conn) {
			half_line_end(&carrier->half_lines, &s->half, s->leave);
			stream_end(&s->stream);
			slot_give(s);
		} else if (s->reading) {
			conn_resume(s->conn);	/* may put it on the list again, or end it */
		}
		s = next;
	}
}

void
tcp_carrier_turn(struct tcp_carrier *carrier, uint64_t now_ns)
{
	const struct tcp_listeners *listeners = carrier->listeners;
	for (uint32_t i = 0; i < listeners->pool_count; i++)
		tcp_credit(carrier->tcp, i, listeners->pools[i].bytes, listeners->pools[i].chunks);
	if (carrier->due_first)
		run_due(carrier);
	half_lines_run(&carrier->half_lines, now_ns);
	tcp_turn(carrier->tcp, now_ns);
}

/* Connections with a record are left as they are: the next process goes on with them. The others are reset. */
static void
leave_all(struct tcp_carrier *carrier)
{
	for (uint32_t i = 0; i < carrier->slots_fresh; i++) {
		struct tcp_stream *s = &carrier->slots[i];
		if (!s->conn || !s->stream.flow || s->stream.ending || s->stream.cut)
			continue;
		conn_leave_open(s->conn);
		s->conn = NULL;
		s->leave = true;
		due(s);
	}
	if (carrier->tcp)
		tcp_reset_all(carrier->tcp, 0);
	run_due(carrier);
}

/* ---- what an earlier process left ---- */

static bool
flow_is_ours(void *context, const struct flow_left *left)
{
	const struct tcp_carrier *carrier = context;
	return left->record.queue % net_queues(carrier->net) == net_queue(carrier->net) && net_has_address(carrier->net, &left->to);
}

static bool
flow_resume(void *context, const struct flow_left *left)
{
	struct tcp_carrier *carrier = context;
	struct tcp_listener *l = find(carrier->listeners, &left->to);
	struct clock *clock = carrier->streams->ingress->clock;
	if (!l || l->listener.edge != STREAM_DURABLE || l->listener.tls || strcmp(l->listener.in->spec->name, left->source) ||
	    !l->listener.in->spec->ops->stream_state)
		return false;
	struct tcp_stream *s = slot_take(carrier);
	if (!s)
		return false;
	struct stream *stream = &s->stream;
	s->conn = NULL;
	if (stream_open(stream, &tcp_stream_carrier, carrier->streams, &l->listener, &left->from, &left->to)) {
		slot_give(s);
		return false;
	}
	half_line_begin(&s->half, stream);
	if (stream_restore(stream, left->offset, left->half, left->half_len) == 0)
		s->conn = tcp_resume(carrier->tcp, &left->from, &left->to, &left->record.tcp, left->offset, s, clock_now_ns(clock), clock_wall_ns(clock));
	if (!s->conn) {
		stream_end(stream);
		slot_give(s);
		return false;
	}
	stream->in->spec->ops->stream_state_set(stream, left->record.state);
	stream->flow = left->record.flow;
	s->half.tcp = left->record.tcp;
	s->half.queue = left->record.queue;
	stream->put_state = left->record.state;
	stream->in->ingress->has_flows = true;
	half_line_resume(&carrier->half_lines, &s->half, left->half_len, left->half_served);
	return true;
}

/* Half lines of connections that do not go on. Nobody knows any more which core had them: the first one takes them. */
static bool
half_is_ours(void *context, const struct address *peer, const struct address *address)
{
	const struct tcp_carrier *carrier = context;
	return net_queue(carrier->net) == 0 && net_has_address(carrier->net, address) && !tcp_knows(carrier->tcp, peer, address);
}

int
tcp_carrier_open(struct tcp_carrier *carrier, const struct tcp_config *config, struct net *net, struct streams *streams,
		 struct tcp_listeners *listeners, const char *component, struct err *err)
{
	memset(carrier, 0, sizeof *carrier);
	carrier->net = net;
	carrier->streams = streams;
	carrier->listeners = listeners;
	carrier->slots_max = config->connections_max ? config->connections_max : TCP_CONNECTIONS_DEFAULT;
	carrier->slots = mmap(NULL, (size_t)carrier->slots_max * sizeof *carrier->slots, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (carrier->slots == MAP_FAILED) {
		carrier->slots = NULL;
		return err_set(err, ENOMEM, "no address space for %u connections", carrier->slots_max);
	}
	if (half_lines_open(&carrier->half_lines, streams->ingress, err) == 0)
		carrier->tcp = tcp_open(config, net, &tcp_carrier_user, carrier, err);
	if (!carrier->tcp || flow_records_take(&carrier->half_lines, flow_is_ours, flow_resume, carrier, err) ||
	    half_lines_take(&carrier->half_lines, half_is_ours, carrier, err)) {
		leave_all(carrier);
		tcp_close(carrier->tcp);
		carrier->tcp = NULL;
		half_lines_close(&carrier->half_lines);
		munmap(carrier->slots, (size_t)carrier->slots_max * sizeof *carrier->slots);
		carrier->slots = NULL;
		return -ENOMEM;
	}
	carrier->metrics = (struct metric_set){ .kind = "TCP", .component = component, .metrics = tcp_metrics, .count = tcp_metric_count,
						.counters = tcp_counters(carrier->tcp) };
	metrics_add(&carrier->metrics);
	return 0;
}

void
tcp_carrier_close(struct tcp_carrier *carrier)
{
	if (!carrier->tcp)
		return;
	metrics_remove(&carrier->metrics);
	leave_all(carrier);
	half_lines_close(&carrier->half_lines);
	tcp_close(carrier->tcp);
	munmap(carrier->slots, (size_t)carrier->slots_max * sizeof *carrier->slots);
	memset(carrier, 0, sizeof *carrier);
}

/* ---- what control asks ---- */

bool
tcp_carrier_flows(struct tcp_carrier *carrier, struct flow_query *query)
{
	struct tcp_flow flow;
	for (uint32_t begin = query->cursor; query->count < FLOW_ROWS && query->cursor - begin < FLOW_LOOKS;) {
		if (!tcp_flow_next(carrier->tcp, &query->cursor, &flow))
			return false;
		const struct tcp_stream *s = flow.stream;
		query->rows[query->count++] = (struct flow_row){ .from = flow.from, .to = flow.to, .source = s ? s->stream.in->spec->name : NULL,
			.carrier = "lcore", .state = tcp_state_name[flow.state], .ack_durable = flow.durable_mode, .stalled = flow.stalled,
			.tls = s && s->stream.tls, .received = flow.received, .durable = flow.durable_mode || !s ? flow.durable : s->stream.durable,
			.acked = flow.acked, .window = flow.window, .queued_chunks = flow.queued_chunks, .unsent = flow.unsent,
			.idle_ns = flow.idle_ns, .age_ns = s ? carrier->streams->now_ns - s->stream.opened_ns : 0 };
	}
	return true;
}
