#include "dataplane/stream_impl.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "dataplane/source/stream_options.h"
#include "dataplane/stream_tls.h"

#define TAIL_FIRST 512u
#define TAIL_KEPT 65536u		/* a waiting stream holds no more than this: its carrier has the rest */
#define TAIL_MAX (64u << 20)		/* no source's frame is larger; a larger one is collected by the source */
#define FRAME_PIECE 16384u		/* of a frame that its source collects: so much is to come within limits.frame_ns */
#define TAIL_STEP 4096u			/* bytes put behind a tail at a time: what is whole behind it is then eaten where it lies */

const struct metric stream_metrics[] = {
	{ "connections_accepted", METRIC_COUNTER, offsetof(struct stream_counters, accepted), "connections", "Connections that came." },
	{ "connections_open", METRIC_GAUGE, offsetof(struct stream_counters, open), "connections", "Connections open now." },
	{ "refused_sender", METRIC_COUNTER, offsetof(struct stream_counters, refused_sender), "connections", "Connections from outside penstock.allow." },
	{ "refused_connections", METRIC_COUNTER, offsetof(struct stream_counters, refused_connections), "connections",
	  "Connections above penstock.connections.max." },
	{ "refused_memory", METRIC_COUNTER, offsetof(struct stream_counters, refused_memory), "connections", "Connections there was no memory for." },
	{ "closed", METRIC_COUNTER, offsetof(struct stream_counters, closed), "connections", "Connections that ended in order." },
	{ "closed_idle", METRIC_COUNTER, offsetof(struct stream_counters, closed_idle), "connections", "Closed after penstock.idle.timeout." },
	{ "closed_frame", METRIC_COUNTER, offsetof(struct stream_counters, closed_frame), "connections",
	  "Reset because a frame, request or handshake took longer than penstock.frame.timeout." },
	{ "reset_source", METRIC_COUNTER, offsetof(struct stream_counters, reset_source), "connections", "Reset because of what they sent." },
	{ "reset_store", METRIC_COUNTER, offsetof(struct stream_counters, reset_store), "connections", "Reset because a channel could not store." },
	{ "reset_send", METRIC_COUNTER, offsetof(struct stream_counters, reset_send), "connections", "Reset because the peer did not read replies." },
	{ "reset_tls", METRIC_COUNTER, offsetof(struct stream_counters, reset_tls), "connections", "Reset because of a TLS failure." },
	{ "lost", METRIC_COUNTER, offsetof(struct stream_counters, lost), "connections", "Connections the peer reset, or that vanished." },
	{ "bytes_in", METRIC_COUNTER, offsetof(struct stream_counters, bytes_in), "bytes", "Bytes received." },
	{ "bytes_out", METRIC_COUNTER, offsetof(struct stream_counters, bytes_out), "bytes", "Bytes of replies." },
	{ "waits_credit", METRIC_COUNTER, offsetof(struct stream_counters, waits_credit), "waits", "Times a connection was left unread because a channel was full." },
};
const uint32_t stream_metric_count = sizeof stream_metrics / sizeof *stream_metrics;

/* ---- the tail ---- */

static bool
tail_reserve(struct stream *stream, uint32_t more)
{
	struct streams *streams = stream->streams;
	uint64_t need = (uint64_t)stream->tail_len + more;
	if (need <= stream->tail_room)
		return true;
	uint64_t room = stream->tail_room ? stream->tail_room : TAIL_FIRST;
	while (room < need)
		room *= 2;
	if (room > TAIL_MAX || streams->tail_bytes + room - stream->tail_room > streams->tail_bytes_max)
		return false;
	uint8_t *tail = realloc(stream->tail, room);
	if (!tail)
		return false;
	streams->tail_bytes += room - stream->tail_room;
	stream->tail = tail;
	stream->tail_room = (uint32_t)room;
	return true;
}

void
stream_tail_free(struct stream *stream)
{
	stream->streams->tail_bytes -= stream->tail_room;
	free(stream->tail);
	stream->tail = NULL;
	stream->tail_len = stream->tail_room = 0;
}

/* Returns the bytes kept. */
static uint32_t
tail_keep(struct stream *stream, const uint8_t *bytes, uint32_t len)
{
	if (!len || !tail_reserve(stream, len))
		return 0;
	memcpy(stream->tail + stream->tail_len, bytes, len);
	stream->tail_len += len;
	stream->plain += len;
	return len;
}

static void
tail_drop(struct stream *stream, uint32_t n)
{
	stream->tail_len -= n;
	if (stream->tail_len)
		memmove(stream->tail, stream->tail + n, stream->tail_len);
}

/* ---- eating ---- */

/* Hands ciphertext to the carrier. False: its buffer is full. */
static bool
tls_flush(struct stream *stream)
{
	const uint8_t *bytes;
	uint32_t len = tls_output(stream->tls->session, &bytes);
	if (!len)
		return true;
	uint32_t n = stream->carrier->send(stream, bytes, len);
	tls_sent(stream->tls->session, n);
	return n == len;
}

void
stream_shut(struct stream *stream, struct counter *why, bool reset)
{
	if (stream->ending)
		return;
	if (stream->tls && !reset) {
		tls_end(stream->tls->session);
		tls_flush(stream);
	}
	stream->ending = true;
	counter_add(why, 1);
	if (reset)
		stream->carrier->reset(stream);
	else
		stream->carrier->close(stream);
}

/* Offers bytes that begin at plaintext offset `at`. Returns how many were eaten. */
static uint32_t
eat(struct stream *stream, const uint8_t *bytes, uint32_t len, uint64_t at, bool last)
{
	uint8_t frame = stream->in_frame;
	stream->eaten = at;
	int64_t n = stream->in->spec->ops->on_bytes(stream->in->self, stream, bytes, len, last);
	if (n < 0) {
		stream_shut(stream, &stream->listener->counters.reset_source, true);
		return len;
	}
	assert(n <= len);
	if (n && stream->frame_known) {
		/* Bytes of a frame that began before must be FRAME_PIECE to count: else one a minute holds its memory for ever. */
		stream->frame_bytes = frame && stream->in_frame == frame ? stream->frame_bytes + (uint32_t)n : FRAME_PIECE;
		if (stream->frame_bytes >= FRAME_PIECE) {
			stream->frame_ns = stream->streams->now_ns;
			stream->frame_bytes = 0;
		}
	}
	return stream->ending ? len : (uint32_t)n;
}

static uint32_t
feed_plain(struct stream *stream, const uint8_t *bytes, uint32_t len)
{
	uint32_t done = 0;
	while (done < len) {
		uint32_t left = len - done;
		if (stream->ending) {
			stream->plain += left;
			return len;
		}
		if (stream->wait) {
			uint32_t room = stream->tls ? left : stream->tail_len < TAIL_KEPT ? TAIL_KEPT - stream->tail_len : 0;
			return done + tail_keep(stream, bytes + done, left < room ? left : room);
		}
		if (!stream->tail_len) {
			uint32_t n = eat(stream, bytes + done, left, stream->plain, false);
			stream->plain += n;
			done += n;
			if (n < left && !stream->wait)
				return done + tail_keep(stream, bytes + done, left - n);
			continue;
		}
		uint32_t old = stream->tail_len, step = tail_keep(stream, bytes + done, left < TAIL_STEP ? left : TAIL_STEP);
		if (!step)
			return done;
		uint32_t n = eat(stream, stream->tail, stream->tail_len, stream->plain - stream->tail_len, false);
		if (n < old) {
			tail_drop(stream, n);
			done += step;
			continue;
		}
		/* What is left of the step is eaten from where it came. */
		stream->plain -= step - (n - old);
		stream->tail_len = 0;
		done += n - old;
		if (n == old && !stream->wait && !stream->ending) {
			/* A source that eats nothing of a full tail's successor would loop: it wants more than the step. */
			uint32_t more = len - done;
			n = eat(stream, bytes + done, more, stream->plain, false);
			stream->plain += n;
			done += n;
			if (n < more && !stream->wait)
				return done + tail_keep(stream, bytes + done, more - n);
		}
	}
	return done;
}

static void
after_feed(struct stream *stream)
{
	stream_ticket_close(stream);
	bool frame = stream->tail_len || stream->in_frame || (stream->tls && (!stream->tls->established || stream->received > stream->tls->wire));
	if (frame && !stream->frame_known) {
		stream->frame_ns = stream->streams->now_ns;
		stream->frame_bytes = 0;
	}
	stream->frame_known = frame;
	if (stream->eof && !stream->wait && !stream->eof_told && !stream->ending) {
		stream->eof_told = stream->feeding = true;
		eat(stream, stream->tail, stream->tail_len, stream->plain - stream->tail_len, true);
		stream->feeding = false;
		if (!stream->wait)
			stream->tail_len = 0;	/* an unfinished frame makes no event */
		else
			stream->eof_told = false;
		stream_ticket_close(stream);
	}
	stream_progress(stream);	/* first: of one that ends nothing is told any more */
	if (stream->eof_told && !stream->ticket_first)
		stream_shut(stream, &stream->listener->counters.closed, false);
}

/* Nothing is waited for any more. */
void
stream_resume(struct stream *stream)
{
	if (stream->wait || stream->ending || stream->feeding)
		return;
	stream->feeding = true;
	/* Once even without bytes: the source may have eaten all of what it waited with. */
	uint32_t n;
	do {
		n = eat(stream, stream->tail, stream->tail_len, stream->plain - stream->tail_len, false);
		tail_drop(stream, n);
	} while (n && stream->tail_len && !stream->wait && !stream->ending);
	stream->feeding = false;
	after_feed(stream);
	if (!stream->wait && !stream->ending)
		stream->carrier->reading(stream, true);
}

/* What one piece of ciphertext brought. False: the connection ends. */
static bool
tls_take(struct stream *stream, bool record)
{
	static _Thread_local uint8_t plain[TLS_PLAIN_MAX];
	struct stream_tls *tls = stream->tls;
	struct stream_counters *counters = &stream->listener->counters;
	int n;
	while ((n = tls_read(tls->session, plain, sizeof plain)) > 0) {
		if (feed_plain(stream, plain, (uint32_t)n) != (uint32_t)n) {
			stream_shut(stream, &counters->reset_tls, true);	/* no memory for the tail */
			return false;
		}
	}
	tls->established = tls->established || (record && tls_established(tls->session));
	if (record && !stream_tls_note(tls, stream->plain, stream->received, stream->edge == STREAM_DURABLE)) {
		stream_shut(stream, &counters->reset_tls, true);
		return false;
	}
	if (!stream->ending && !tls_flush(stream)) {
		stream_shut(stream, &counters->reset_send, true);
		return false;
	}
	if (n == -EPROTO) {
		static struct log_limit limit;
		char peer[ADDRESS_TEXT_BYTES];
		address_ip_text(&stream->peer, peer, sizeof peer);
		log_limited(&limit, LOG_WARN, "sources.%s: TLS with %s failed: %s", stream->in->spec->name, peer, tls_error(tls->session));
		stream_shut(stream, &counters->reset_tls, false);	/* the alert shall arrive */
		return false;
	}
	if (n == -ECONNRESET)
		stream->eof = true;
	return n == 0;
}

static uint32_t
feed_tls(struct stream *stream, const uint8_t *bytes, uint32_t len)
{
	uint32_t done = 0;
	while (done < len && !stream->wait) {
		bool record;
		uint32_t n = tls_input(stream->tls->session, bytes + done, len - done, &record);
		done += n;
		stream->received += n;
		if (!tls_take(stream, record) || stream->ending) {
			stream->received += len - done;
			return len;
		}
	}
	return done;
}

uint32_t
stream_feed(struct stream *stream, const uint8_t *bytes, uint32_t len)
{
	assert(!stream->feeding);
	if (stream->eof)
		return len;	/* behind the close_notify of TLS */
	stream->feeding = true;
	stream->active_ns = stream->streams->now_ns;
	uint32_t n = stream->tls ? feed_tls(stream, bytes, len) : feed_plain(stream, bytes, len);
	if (!stream->tls)
		stream->received += n;
	if (n < len && !stream->wait && !stream->ending) {	/* no memory for the tail: others may give theirs back */
		stream->wait |= STREAM_WAIT_CREDIT;
		streams_wait(stream);
		stream->carrier->reading(stream, false);
	}
	counter_add(&stream->listener->counters.bytes_in, n);
	stream->feeding = false;
	after_feed(stream);
	return n;
}

void
stream_eof(struct stream *stream)
{
	if (stream->eof)
		return;
	stream->eof = true;
	after_feed(stream);
}

void
stream_writable(struct stream *stream, bool taken)
{
	if (taken)
		stream->send_ns = 0;
	if (!(stream->wait & STREAM_WAIT_SEND))
		return;
	stream->wait &= (uint8_t)~STREAM_WAIT_SEND;
	stream_resume(stream);
}

/* ---- sources ---- */

uint32_t
stream_send_room(const struct stream *stream)
{
	uint32_t room = stream->ending ? 0 : stream->carrier->send_room(stream);
	return !stream->tls ? room : room > 2048 ? room - room / 16 - 1024 : 0;
}

bool
stream_send(struct stream *stream, const void *bytes, uint32_t len)
{
	if (stream->ending)
		return false;
	counter_add(&stream->listener->counters.bytes_out, len);
	if (stream->tls ? tls_write(stream->tls->session, bytes, len) == 0 && tls_flush(stream) : stream->carrier->send(stream, bytes, len) == len)
		return true;
	stream_shut(stream, &stream->listener->counters.reset_send, true);
	return false;
}

void
stream_close(struct stream *stream)
{
	stream_shut(stream, &stream->listener->counters.closed, false);
}

void
stream_reset(struct stream *stream)
{
	stream_shut(stream, &stream->listener->counters.reset_source, true);
}

void
stream_frame(struct stream *stream, uint8_t frame)
{
	stream->in_frame = frame;
}

void
stream_wait(struct stream *stream, enum stream_wait why)
{
	bool was = stream->wait != 0;
	if (why == STREAM_WAIT_SEND && !stream->send_ns)
		stream->send_ns = stream->streams->now_ns;
	stream->wait |= (uint8_t)why;
	if (why == STREAM_WAIT_CREDIT) {
		counter_add(&stream->listener->counters.waits_credit, 1);
		streams_wait(stream);
	}
	if (!was && !stream->ending)
		stream->carrier->reading(stream, false);
}

void
stream_wait_until(struct stream *stream, uint64_t until_ns, uint32_t blocks)
{
	stream_wait(stream, STREAM_WAIT_CREDIT);
	stream->wait_blocks = blocks;
	stream->wait_until_ns = until_ns;
}

const uint8_t *
stream_unfinished(const struct stream *stream, uint32_t *len)
{
	*len = stream->tail_len;
	return stream->tail;
}

int
stream_restore(struct stream *stream, uint64_t offset, const uint8_t *unfinished, uint32_t len)
{
	assert(!stream->received && len <= offset);
	stream->plain = offset - len;
	if (len && !tail_keep(stream, unfinished, len))
		return -ENOMEM;
	stream->received = stream->plain = stream->stored = stream->durable = offset;
	stream->recorded = stream->put = offset - len;
	return 0;
}

/* ---- carriers ---- */

int
stream_admit(struct stream_listener *listener, const struct address *peer)
{
	bool allowed = !listener->allow_count;
	for (uint32_t i = 0; i < listener->allow_count && !allowed; i++)
		allowed = address_in_prefix(peer, &listener->allow[i]);
	if (allowed && (!listener->limits.connections || listener->open < listener->limits.connections))
		return 0;
	counter_add(&listener->counters.accepted, 1);
	counter_add(allowed ? &listener->counters.refused_connections : &listener->counters.refused_sender, 1);
	return allowed ? -EUSERS : -EACCES;
}

int
stream_listener_tls(struct stream_listener *listener, const struct stream_options *options, bool tickets, struct err *err)
{
	return options->tls.on ? tls_server_open(&listener->tls, &options->tls, tickets, err) : 0;
}

void
stream_listener_close(struct stream_listener *listener)
{
	tls_server_close(listener->tls);
	listener->tls = NULL;
}

int
stream_open(struct stream *stream, const struct stream_carrier *carrier, struct streams *streams, struct stream_listener *listener,
	    const struct address *peer, const struct address *local)
{
	assert(carrier->withholds || listener->edge == STREAM_RECEIVED);
	int rc = stream_admit(listener, peer);
	if (rc)
		return rc;
	const struct source_ops *ops = listener->in->spec->ops;
	*stream = (struct stream){ .carrier = carrier, .streams = streams, .listener = listener, .in = listener->in, .peer = *peer, .local = *local,
				   .edge = listener->edge, .opened_ns = streams->now_ns, .active_ns = streams->now_ns };
	counter_add(&listener->counters.accepted, 1);
	if (ops->stream_bytes && !(stream->state = calloc(1, ops->stream_bytes))) {
		counter_add(&listener->counters.refused_memory, 1);
		return -ENOMEM;
	}
	if (listener->tls) {
		stream->tls = stream_tls_new(listener->tls);
		if (!stream->tls) {
			free(stream->state);
			counter_add(&listener->counters.refused_memory, 1);
			return -ENOMEM;
		}
		stream->frame_known = true;	/* the handshake */
		stream->frame_ns = streams->now_ns;
	}
	if (!streams_slot_take(streams, stream)) {
		stream_tls_free(stream->tls);
		stream->tls = NULL;
		free(stream->state);
		counter_add(&listener->counters.refused_memory, 1);
		return -ENOMEM;
	}
	counter_set(&listener->counters.open, ++listener->open);
	if (ops->on_open)
		ops->on_open(listener->in->self, stream);
	return 0;
}

void
stream_end(struct stream *stream)
{
	struct streams *streams = stream->streams;
	struct tickets *tickets = &streams->ingress->tickets;
	assert(!stream->feeding);
	if (!stream->ending)
		counter_add(&stream->listener->counters.lost, 1);
	stream->ending = true;
	stream_ticket_close(stream);
	for (uint32_t ticket = stream->ticket_first, next; ticket; ticket = next) {
		struct ticket *t = ticket_at(tickets, ticket);
		next = t->next;
		t->stream = NULL;
		t->next = 0;
		/* It had ended and waited only for its turn. */
		if (t->settled)
			stream_ticket_settled(streams->ingress, ticket);
	}
	stream->ticket_first = stream->ticket_last = 0;
	if (stream->in->spec->ops->on_close)
		stream->in->spec->ops->on_close(stream->in->self, stream);
	if (stream->waiting)
		streams_wait_not(stream);
	stream_tail_free(stream);
	stream_tls_free(stream->tls);
	stream->tls = NULL;
	free(stream->state);
	stream->state = NULL;
	streams_slot_give(streams, stream);
	counter_set(&stream->listener->counters.open, --stream->listener->open);
}
