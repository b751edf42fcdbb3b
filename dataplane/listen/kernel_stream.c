#include "dataplane/listen/kernel_stream.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "dataplane/source/stream_options.h"

#define READ_BYTES (128u << 10)
#define EVENTS_MAX 128
#define ACCEPTS_MAX 64
#define UNREAD_NS (120 * NS_PER_S)	/* of a connection that we close, for the answers it has not taken */
#define LINGER_NS (5 * NS_PER_S)	/* after our FIN, for the peer's */
#define SEND_FIRST 4096u
#define BUFFERS_IDLE_NS NS_PER_S	/* of one that is quiet again: it gives back what a full channel, or a peer that read slowly, made it hold */

struct kernel_stream {
	struct stream stream;		/* first */
	struct kernel_streams *owner;
	struct kernel_stream *next, *prev, *dirty_next;
	int fd;
	uint32_t armed;			/* epoll events asked for */
	bool is_dirty, reading, closing, shut, dead, gone;
	uint8_t *out;
	uint32_t out_len, out_sent, out_room;
	uint8_t *left;			/* read, but not taken by the stream yet */
	uint32_t left_len;
	uint64_t shut_ns;
	uint64_t close_ns;		/* closing: when it was asked for, or the peer last took something */
};

/* ---- carrier ---- */

static void
make_dirty(struct kernel_stream *k)
{
	if (k->is_dirty)
		return;
	k->is_dirty = true;
	k->dirty_next = k->owner->dirty;
	k->owner->dirty = k;
}

static uint32_t
carrier_send_room(const struct stream *stream)
{
	const struct kernel_stream *k = (const struct kernel_stream *)stream;
	return KERNEL_STREAM_SEND_BYTES - (k->out_len - k->out_sent);
}

static uint32_t
carrier_send(struct stream *stream, const void *bytes, uint32_t len)
{
	struct kernel_stream *k = (struct kernel_stream *)stream;
	uint32_t room = carrier_send_room(stream);
	if (len > room)
		len = room;
	if (k->out_sent && k->out_len + len > k->out_room) {
		memmove(k->out, k->out + k->out_sent, k->out_len - k->out_sent);
		k->out_len -= k->out_sent;
		k->out_sent = 0;
	}
	if (k->out_len + len > k->out_room) {
		uint32_t want = k->out_room ? k->out_room : SEND_FIRST;
		while (want < k->out_len + len)
			want *= 2;
		uint8_t *out = realloc(k->out, want);
		if (!out)
			return 0;
		k->out = out;
		k->out_room = want;
	}
	memcpy(k->out + k->out_len, bytes, len);
	k->out_len += len;
	make_dirty(k);
	return len;
}

static void
carrier_close(struct stream *stream)
{
	struct kernel_stream *k = (struct kernel_stream *)stream;
	k->closing = true;
	k->close_ns = stream->streams->now_ns;
	make_dirty(k);
}

static void
carrier_reset(struct stream *stream)
{
	struct kernel_stream *k = (struct kernel_stream *)stream;
	struct linger off = { .l_onoff = 1, .l_linger = 0 };
	setsockopt(k->fd, SOL_SOCKET, SO_LINGER, &off, sizeof off);
	k->dead = true;
	make_dirty(k);
}

static void
arm(struct kernel_stream *k)
{
	bool read = !k->dead && !k->gone && (k->closing || (k->reading && !k->left_len)) && !k->stream.eof;
	uint32_t events = (read ? EPOLLIN : 0) | (k->out_len > k->out_sent && !k->dead ? EPOLLOUT : 0);
	if (events == k->armed)
		return;
	struct epoll_event event = { .events = events, .data.ptr = k };
	epoll_ctl(k->owner->epoll_fd, EPOLL_CTL_MOD, k->fd, &event);
	k->armed = events;
}

static void
carrier_reading(struct stream *stream, bool on)
{
	struct kernel_stream *k = (struct kernel_stream *)stream;
	k->reading = on;
	make_dirty(k);
}

static const struct stream_carrier kernel_carrier = {
	.name = "kernel",
	.send = carrier_send,
	.send_room = carrier_send_room,
	.close = carrier_close,
	.reset = carrier_reset,
	.reading = carrier_reading,
};

/* ---- listening ---- */

int
kernel_streams_open(struct kernel_streams *ks, struct ingress *ingress, struct err *err)
{
	*ks = (struct kernel_streams){ .epoll_fd = -1 };
	int rc = streams_init(&ks->streams, ingress, 0);
	return rc ? err_set(err, -rc, "no memory for connections") : 0;
}

static int
bind_one(const struct addrinfo *ai, const struct source_listen *where, struct err *err)
{
	const char *host = where->host ? where->host : "all addresses";
	int off = 0, on = 1;
	int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_set(err, errno, "cannot make a TCP socket: %s", strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (ai->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) || listen(fd, 4096)) {
		int rc = errno;
		close(fd);
		return err_set(err, rc, "cannot listen on TCP %s port %u: %s%s", host, where->port, strerror(rc),
			       rc == EACCES ? ": a port below 1024 needs CAP_NET_BIND_SERVICE" :
			       rc == EADDRINUSE ? ": another program has it: choose another port" : "");
	}
	return fd;
}

int
kernel_streams_listen(struct kernel_streams *ks, const struct source_listen *where, struct ingress_source *in, struct err *err)
{
	const struct stream_options *options = where->stream;
	if (options->ack == ACK_DURABLE)
		return err_set(err, EINVAL, "sources.%s: ack = durable: a kernel socket acknowledges what it has received: leave ack out, or let a data port "
			       "(penstock.ports) own the address", in->spec->name);
	if (ks->epoll_fd < 0) {
		ks->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
		ks->buffer = malloc(READ_BYTES);
		if (ks->epoll_fd < 0 || !ks->buffer)
			return err_set(err, ENOMEM, "no memory for connections");
	}
	struct kernel_stream_listen **listens = realloc(ks->listens, (ks->listen_count + 1) * sizeof *listens), *l = NULL;
	if (listens) {
		ks->listens = listens;
		l = calloc(1, sizeof *l);
	}
	if (!l)
		return err_set(err, ENOMEM, "no memory");
	char port[8];
	snprintf(port, sizeof port, "%u", where->port);
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE, .ai_family = where->host ? AF_UNSPEC : AF_INET6 }, *list;
	int rc = getaddrinfo(where->host, port, &hints, &list);
	if (rc) {
		free(l);
		return err_set(err, EINVAL, "sources.%s: cannot resolve \"%s\": %s", in->spec->name, where->host ? where->host : "::", gai_strerror(rc));
	}
	int fd = bind_one(list, where, err);
	freeaddrinfo(list);
	if (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL) {
		hints.ai_family = AF_INET;
		if (getaddrinfo(where->host, port, &hints, &list) == 0) {
			fd = bind_one(list, where, err);
			freeaddrinfo(list);
		}
	}
	if (fd < 0) {
		free(l);
		return err_prefix(err, fd, "sources.%s", in->spec->name);
	}
	*l = (struct kernel_stream_listen){ .fd = fd, .listener = { .in = in, .edge = STREAM_RECEIVED,
		.limits = { .connections = options->connections, .idle_ns = where->idle_ns ? where->idle_ns : options->idle_ns, .frame_ns = options->frame_ns } } };
	rc = stream_listener_tls(&l->listener, options, where->tickets, err);
	if (rc) {
		close(fd);
		free(l);
		return err_prefix(err, rc, "sources.%s", in->spec->name);
	}
	struct sockaddr_storage bound;
	socklen_t len = sizeof bound;
	if (getsockname(fd, (struct sockaddr *)&bound, &len) == 0)
		address_from_sockaddr(&l->at, (const struct sockaddr *)&bound);
	rc = source_listen_allow(where, in->spec->name, &l->allow, &l->listener.allow_count, err);
	if (rc) {
		stream_listener_close(&l->listener);
		close(fd);
		free(l);
		return rc;
	}
	l->listener.allow = l->allow;
	l->listener.metrics = (struct metric_set){ .kind = "STREAMS", .component = in->spec->name, .metrics = stream_metrics, .count = stream_metric_count,
						   .counters = &l->listener.counters };
	metrics_add(&l->listener.metrics);
	ks->listens[ks->listen_count++] = l;
	return 0;
}

/* ---- turns ---- */

static void
end(struct kernel_stream *k)
{
	struct kernel_streams *ks = k->owner;
	close(k->fd);
	stream_end(&k->stream);
	*(k->prev ? &k->prev->next : &ks->all) = k->next;
	if (k->next)
		k->next->prev = k->prev;
	free(k->out);
	free(k->left);
	free(k);
}

static void
accept_one(struct kernel_streams *ks, struct kernel_stream_listen *l, int fd, const struct sockaddr_storage *from)
{
	struct address peer, local = l->at;
	struct sockaddr_storage name;
	socklen_t len = sizeof name;
	int on = 1;
	address_from_sockaddr(&peer, (const struct sockaddr *)from);
	if (getsockname(fd, (struct sockaddr *)&name, &len) == 0)
		address_from_sockaddr(&local, (const struct sockaddr *)&name);
	struct kernel_stream *k = malloc(sizeof *k);
	if (!k) {
		close(fd);
		return;
	}
	*k = (struct kernel_stream){ .owner = ks, .fd = fd, .reading = true, .armed = EPOLLIN };
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = k };
	if (stream_open(&k->stream, &kernel_carrier, &ks->streams, &l->listener, &peer, &local)) {
		/* At once and without a FIN: the sender shall not think that what it wrote arrived. */
		struct linger off = { .l_onoff = 1, .l_linger = 0 };
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &off, sizeof off);
		close(fd);
		free(k);
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	k->next = ks->all;
	if (k->next)
		k->next->prev = k;
	ks->all = k;
	if (epoll_ctl(ks->epoll_fd, EPOLL_CTL_ADD, fd, &event))
		carrier_reset(&k->stream);
}

static void
accept_some(struct kernel_streams *ks, struct kernel_stream_listen *l, uint64_t now_ns)
{
	static struct log_limit limit;
	for (int i = 0; i < ACCEPTS_MAX; i++) {
		struct sockaddr_storage from;
		socklen_t len = sizeof from;
		int fd = accept4(l->fd, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			accept_one(ks, l, fd, &from);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
			log_limited(&limit, LOG_WARN, "sources.%s: no connection can be accepted: %s (raise the limit of open files)",
				    l->listener.in->spec->name, strerror(errno));
			ks->refused_until_ns = now_ns + 100 * NS_PER_MS;
		}
		if (errno != EINTR && errno != ECONNABORTED)
			return;
	}
}

static void
feed(struct kernel_stream *k, const uint8_t *bytes, uint32_t len)
{
	uint32_t n = stream_feed(&k->stream, bytes, len);
	if (n == len)
		return;
	/* The stream has no room for the rest now. */
	uint8_t *left = malloc(len - n);
	if (!left) {
		carrier_reset(&k->stream);
		return;
	}
	memcpy(left, bytes + n, len - n);
	free(k->left);		/* the last one's, eaten to its end */
	k->left = left;
	k->left_len = len - n;
	make_dirty(k);
}

static void
receive(struct kernel_stream *k)
{
	ssize_t n = read(k->fd, k->owner->buffer, READ_BYTES);
	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR) {
			k->gone = true;
			make_dirty(k);
		}
		return;
	}
	if (n == 0) {
		if (k->shut)
			k->gone = true;		/* both have said goodbye */
		stream_eof(&k->stream);
		make_dirty(k);
		return;
	}
	if (!k->closing)
		feed(k, k->owner->buffer, (uint32_t)n);
}

static void
send_some(struct kernel_stream *k)
{
	uint32_t before = k->out_sent;
	while (k->out_sent < k->out_len) {
		ssize_t n = send(k->fd, k->out + k->out_sent, k->out_len - k->out_sent, MSG_NOSIGNAL);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			if (errno != EAGAIN)
				k->gone = true;
			break;
		}
		k->out_sent += (uint32_t)n;
		k->close_ns = k->owner->streams.now_ns;
	}
	bool taken = k->out_sent != before || k->out_sent == k->out_len;
	if (k->out_sent == k->out_len)
		k->out_sent = k->out_len = 0;
	if (!k->gone && !k->dead && k->out_len - k->out_sent <= KERNEL_STREAM_SEND_BYTES / 2)
		stream_writable(&k->stream, taken);
}

void
kernel_streams_flush(struct kernel_streams *ks, uint64_t now_ns)
{
	/* Writing may make room, and a stream then eats and answers more: it comes to stand in the list again. */
	for (int rounds = 0; rounds < 4 && ks->dirty; rounds++) {
		struct kernel_stream *list = ks->dirty;
		ks->dirty = NULL;
		while (list) {
			struct kernel_stream *k = list;
			list = k->dirty_next;
			k->is_dirty = false;
			if (k->left_len && k->reading && !k->closing && !k->dead) {
				uint32_t n = stream_feed(&k->stream, k->left, k->left_len);
				memmove(k->left, k->left + n, k->left_len - n);
				k->left_len -= n;
				if (k->left_len)
					make_dirty(k);
			}
			if (!k->dead && k->out_len)
				send_some(k);
			if (k->closing && !k->out_len && !k->shut && !k->gone) {
				shutdown(k->fd, SHUT_WR);
				k->shut = true;
				k->shut_ns = now_ns;
				if (k->stream.eof)
					k->gone = true;
			}
			if ((k->dead || k->gone) && k->is_dirty)
				continue;	/* it stands in the list again: ended there */
			if (k->dead || k->gone)
				end(k);
			else
				arm(k);
		}
	}
}

static void
buffers_free(struct kernel_stream *k)
{
	if (k->left && !k->left_len) {
		free(k->left);
		k->left = NULL;
	}
	if (k->out && !k->out_len) {
		free(k->out);
		k->out = NULL;
		k->out_room = 0;
	}
}

uint32_t
kernel_streams_step(struct kernel_streams *ks, uint64_t now_ns)
{
	if (ks->epoll_fd < 0)
		return 0;
	if (now_ns >= ks->refused_until_ns)
		ks->refused_until_ns = 0;
	for (uint32_t i = 0; i < ks->listen_count; i++) {
		struct kernel_stream_listen *l = ks->listens[i];
		bool want = !ks->stopping && !ks->refused_until_ns;
		struct epoll_event event = { .events = EPOLLIN, .data.u64 = (uint64_t)i << 1 | 1 };
		if (want != l->armed && epoll_ctl(ks->epoll_fd, want ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, l->fd, &event) == 0)
			l->armed = want;
	}
	streams_run(&ks->streams, now_ns);
	struct epoll_event events[EVENTS_MAX];
	int n = epoll_wait(ks->epoll_fd, events, EVENTS_MAX, 0);
	for (int i = 0; i < n; i++) {
		if (events[i].data.u64 & 1) {
			accept_some(ks, ks->listens[events[i].data.u64 >> 1], now_ns);
			continue;
		}
		struct kernel_stream *k = events[i].data.ptr;
		if (events[i].events & (EPOLLOUT | EPOLLERR))
			make_dirty(k);
		if (k->dead)
			continue;
		if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR) &&
		    (k->closing || (!k->left_len && (k->reading || events[i].events & EPOLLERR)))) {
			if (k->stream.eof)
				k->gone = true, make_dirty(k);
			else
				receive(k);
		}
		if (!k->reading && events[i].events & EPOLLHUP)
			k->gone = true, make_dirty(k);
	}
	/* Peers that never say goodbye, and buffers of those that are quiet. */
	for (struct kernel_stream *k = ks->all; ks->streams.swept_ns == now_ns && k; k = k->next) {
		if (now_ns - k->stream.active_ns > BUFFERS_IDLE_NS)
			buffers_free(k);
		if (k->shut && now_ns - k->shut_ns > LINGER_NS)
			k->gone = true, make_dirty(k);
		else if (k->closing && !k->shut && now_ns - k->close_ns > UNREAD_NS)
			carrier_reset(&k->stream);
	}
	return n > 0 ? (uint32_t)n : 0;
}

int
kernel_streams_wait_ms(const struct kernel_streams *ks, int wait_ms)
{
	if (ks->epoll_fd < 0)
		return wait_ms;
	if (ks->dirty || ks->streams.ingress->tickets.due_first)
		return 0;
	int most = streams_waiting(&ks->streams) ? 1 : ks->streams.open || ks->refused_until_ns ? 50 : wait_ms;
	return most < wait_ms ? most : wait_ms;
}

void
kernel_streams_stop(struct kernel_streams *ks)
{
	ks->stopping = true;
	for (struct kernel_stream *k = ks->all; k; k = k->next)
		carrier_reading(&k->stream, false);
}

bool
kernel_streams_idle(const struct kernel_streams *ks)
{
	if (ks->streams.ingress && ks->streams.ingress->tickets.open)
		return false;
	for (const struct kernel_stream *k = ks->all; k; k = k->next)
		if (k->out_len)
			return false;
	return true;
}

void
kernel_streams_close(struct kernel_streams *ks)
{
	while (ks->all)
		end(ks->all);
	ks->dirty = NULL;
	for (uint32_t i = 0; i < ks->listen_count; i++) {
		metrics_remove(&ks->listens[i]->listener.metrics);
		stream_listener_close(&ks->listens[i]->listener);
		close(ks->listens[i]->fd);
		free(ks->listens[i]->allow);
		free(ks->listens[i]);
	}
	free(ks->listens);
	free(ks->buffer);
	if (ks->epoll_fd >= 0)
		close(ks->epoll_fd);
	streams_free(&ks->streams);
	*ks = (struct kernel_streams){ .epoll_fd = -1 };
}

void
kernel_streams_flows(struct kernel_streams *ks, struct flow_query *query)
{
	const struct streams *streams = &ks->streams;
	uint32_t begin = query->cursor;
	query->count = 0;
	for (; query->cursor < streams->room && query->count < FLOW_ROWS && query->cursor - begin < FLOW_LOOKS; query->cursor++) {
		const struct stream *s = streams_at(streams, query->cursor);
		if (!s)
			continue;
		const struct kernel_stream *k = (const struct kernel_stream *)s;
		query->rows[query->count++] = (struct flow_row){ .from = s->peer, .to = s->local, .source = s->in->spec->name, .carrier = "kernel",
			.state = k->shut ? s->eof ? "last-ack" : "fin-wait-1" : s->eof ? "close-wait" : "established",
			.tls = s->tls, .received = s->received, .durable = s->durable, .acked = s->received, .unsent = k->out_len - k->out_sent,
			.idle_ns = streams->now_ns - s->active_ns, .age_ns = streams->now_ns - s->opened_ns };
	}
	query->more = query->cursor < streams->room;
	flow_answered(query);
}
