#include "dataplane/source/syslog_make.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/resolve.h"
#include "dataplane/source/keep_fields.h"

#define SETS 2048		/* cached header sets, a power of two */
#define SET_PLACES 4u		/* of them for each key, next to each other */
#define SET_KEY_BYTES 96	/* all zero at first; whole words are compared */
#define SET_VALUE_BYTES 512
#define HEADS 4096		/* cached heads of messages, a power of two; two places a head, next to each other */
#define HEAD_LEAST 24u		/* bytes of a head that is kept */
#define HEAD_MOST 64u

struct cached_set {				/* what a hit reads stands in front */
	uint32_t key_words;			/* 0: not in use */
	uint32_t values_used;
	uint32_t turn;				/* how often the place was taken over */
	bool hostname_known;
	uint64_t key[SET_KEY_BYTES / 8];	/* what the headers were made of, the rest of the last word 0 */
	struct header_set set;
	struct header headers[8];		/* room of set.headers */
	uint8_t values[SET_VALUE_BYTES];
} __attribute__((aligned(64)));

/* All of a message before its body, read before: the next one of that sender mostly begins with the same bytes, and then means the same. */
struct cached_head {
	uint8_t text[HEAD_MOST];
	uint32_t len;				/* 0: not in use */
	uint32_t turn;				/* of the set, when it was kept */
	uint32_t kept;				/* as the how manieth head */
	struct cached_set *set;
	int64_t ms;
	uint64_t until_ns;			/* of the stamp, as in struct cached_stamp */
	bool has_time;
} __attribute__((aligned(64)));

static inline uint64_t
word_at(const uint8_t *p)
{
	uint64_t word;
	memcpy(&word, p, sizeof word);
	return word;
}

/* The first of the two places where the head of such a message would be kept. At least HEAD_LEAST bytes. */
static inline struct cached_head *
head_of(struct syslog_maker *s, const uint8_t *bytes, const struct address *from)
{
	uint64_t h = (word_at(bytes) ^ from->port) * 0x9e3779b97f4a7c15u;
	h = (h ^ h >> 29 ^ word_at(bytes + 8) ^ word_at(from->ip + 8)) * 0xff51afd7ed558ccdu;
	h = (h ^ h >> 29 ^ word_at(bytes + 16)) * 0x9e3779b97f4a7c15u;
	return &s->heads[h >> 32 & (HEADS - 2)];
}

static inline bool
head_same(const struct cached_head *h, const uint8_t *bytes, uint32_t len, uint64_t now_ns)
{
	/* One without a body is an event of the whole message: it is made the long way. */
	if (!h->len || len <= h->len || now_ns >= h->until_ns || h->set->turn != h->turn)
		return false;
	uint64_t differs = word_at(bytes + h->len - 8) ^ word_at(h->text + h->len - 8);
	for (uint32_t i = 0; i + 8 <= h->len; i += 8)
		differs |= word_at(bytes + i) ^ word_at(h->text + i);
	return !differs && syslog_dot(bytes + h->len, len - h->len);
}

/* Keeps what was made of a message, where the first try of the first pattern that can match it has matched it: the same bytes then do so again, whatever
 * the body is, as long as a dot matches it. */
static void
head_keep(struct syslog_maker *s, struct cached_head *places, const struct syslog_message *m, const uint8_t *bytes, struct header_set *set, bool has_time, int64_t ms)
{
	uint32_t at = m->priority_text.offset + m->priority_text.len + 1;
	bool first = m->matched && m->stamp.len && (m->rfc5424 ? m->version.len && m->stamp.offset == at + 2 : !m->version.len && m->stamp.offset == at);
	if (!first || !set || m->body.offset < HEAD_LEAST || m->body.offset > HEAD_MOST)
		return;
	struct cached_set *c = (struct cached_set *)((uint8_t *)set - offsetof(struct cached_set, set));
	const struct cached_stamp *stamp = &s->stamps[bytes[m->stamp.offset + m->stamp.len - 1] & (STAMPS - 1)];
	struct cached_head *h = &places[(int32_t)(places[1].kept - places[0].kept) < 0];	/* what was kept longer gives way */
	h->kept = ++s->kept;
	h->len = m->body.offset;
	memcpy(h->text, bytes, h->len);
	h->set = c;
	h->turn = c->turn;
	h->has_time = has_time;
	h->ms = ms;
	h->until_ns = m->rfc5424 ? UINT64_MAX : stamp->until_ns;
}

static bool
stamp_ms(struct syslog_maker *s, const uint8_t *stamp, uint32_t len, bool rfc5424, uint64_t now_ns, int64_t *ms)
{
	/* The last digit but for a zone or a fraction: the second's. */
	struct cached_stamp *c = &s->stamps[stamp[len - 1] & (STAMPS - 1)];
	if (len == c->len && (rfc5424 || now_ns < c->until_ns)) {
		/* At least 14 bytes: two words from either end and the bytes between. */
		uint64_t a[2], b[2];
		memcpy(&a[0], stamp, 8);
		memcpy(&a[1], stamp + len - 8, 8);
		memcpy(&b[0], c->text, 8);
		memcpy(&b[1], c->text + len - 8, 8);
		if (a[0] == b[0] && a[1] == b[1] && (len <= 16 || memcmp(stamp + 8, c->text + 8, len - 16) == 0)) {
			*ms = c->ms;
			return c->good;
		}
	}
	bool good = syslog_time(stamp, len, rfc5424, now_ns, ms);
	if (len >= 8 && len <= sizeof c->text) {
		memcpy(c->text, stamp, len);
		c->len = len;
		c->good = good;
		c->ms = good ? *ms : 0;
		c->until_ns = now_ns + NS_PER_S;
	}
	return good;
}

static void
add_value(struct cached_set *c, const struct name *name, const void *value, uint32_t len)
{
	uint8_t *copy = c->values + c->values_used;
	memcpy(copy, value, len);
	c->values_used += len;
	c->set.headers[c->set.count++] = (struct header){ .name = name, .kind = HEADER_BYTES, .len = len, .value.bytes = copy };
}

static void
add_number(struct cached_set *c, const struct name *name, int64_t number)
{
	c->set.headers[c->set.count++] = (struct header){ .name = name, .kind = HEADER_NUMBER, .value.number = number };
}

static inline uint64_t
key_differs(const struct cached_set *c, const uint64_t *key, uint32_t words)
{
	uint64_t differs = c->key_words ^ words;
	for (uint32_t i = 0; i < words; i++)
		differs |= c->key[i] ^ key[i];
	return differs;
}

/* Everything but the timestamp is the same for all messages of one sender and priority: one set for them all. */
static struct header_set *
header_set(struct syslog_maker *s, const struct syslog_message *m, const uint8_t *bytes, const struct address *from, bool cut)
{
	uint64_t key[SET_KEY_BYTES / 8];
	uint32_t host_len = m->matched ? m->host.len : 0, words = 1 + (host_len + 7) / 8;
	bool client = s->client_ip || s->client_hostname;
	if (host_len > 64)
		return NULL;
	key[0] = (uint64_t)(m->matched | m->bad_priority << 1 | cut << 6 | (m->matched ? m->priority_text.len << 2 : 0)) | (uint64_t)m->priority << 8 |
		 (uint64_t)(m->matched && m->version.len ? bytes[m->version.offset] : 0) << 24 | (uint64_t)host_len << 32;
	if (host_len) {
		const uint8_t *host = bytes + m->host.offset;
		uint32_t i = 1;
		for (; host_len >= 8; host_len -= 8, host += 8)
			memcpy(&key[i++], host, 8);
		if (host_len) {
			key[i] = 0;
			for (uint32_t k = 0; k < host_len; k++)
				key[i] |= (uint64_t)host[k] << 8 * k;
		}
	}
	if (client) {
		memcpy(&key[words], from->ip, 16);
		words += 2;
	}
	uint64_t h = 0x9e3779b97f4a7c15u;
	for (uint32_t i = 0; i < words; i++) {
		h = (h ^ key[i]) * 0xff51afd7ed558ccdu;
		h ^= h >> 29;
	}
	/* A collision costs a batch for each message of a burst's senders, and the heads that are known of them. */
	struct cached_set *places = &s->sets[h >> 20 & (SETS - SET_PLACES)], *c = NULL;
	uint64_t differs = 1;
	for (uint32_t i = 0; i < SET_PLACES && differs; i++) {
		differs = key_differs(&places[i], key, words);
		if (!differs || (!c && !places[i].key_words))
			c = &places[i];
	}
	if (!c)
		c = &places[s->victim++ & (SET_PLACES - 1)];
	if (!differs && (!s->client_hostname || c->hostname_known))
		return &c->set;
	const struct resolved *resolved = s->client_hostname ? resolve_name(from) : NULL;
	if (!differs && !resolved)
		return &c->set;
	/* The place is taken over: events of the batch may still point at what stood here. */
	if (c->key_words && s->in->ingress->batch.count)
		ingress_put(s->in->ingress);
	c->turn++;
	memcpy(c->key, key, words * sizeof *key);
	c->key_words = words;
	host_len = m->matched ? m->host.len : 0;
	c->values_used = 0;
	c->set.count = 0;
	memset(c->set.in_block, 0, sizeof c->set.in_block);
	c->hostname_known = resolved != NULL;
	add_number(c, s->facility, m->priority / 8);
	add_number(c, s->severity, m->priority % 8);
	if (m->bad_priority)
		add_value(c, s->status, "Invalid", 7);
	else if (cut)
		add_value(c, s->status, "Incomplete", 10);
	if (m->matched) {
		add_value(c, s->priority, bytes + m->priority_text.offset, m->priority_text.len);
		if (m->version.len)
			add_value(c, s->version, bytes + m->version.offset, 1);
		if (host_len)
			add_value(c, s->host, bytes + m->host.offset, host_len);
	}
	char ip[ADDRESS_TEXT_BYTES];
	uint32_t ip_len = client ? (uint32_t)address_ip_text(from, ip, sizeof ip) : 0;
	if (s->client_ip)
		add_value(c, s->client_ip, ip, ip_len);
	if (s->client_hostname && resolved && resolved->len <= 255)
		add_value(c, s->client_hostname, resolved->name, resolved->len);
	else if (s->client_hostname)
		add_value(c, s->client_hostname, ip, ip_len);
	return &c->set;
}

/* Too long or too odd for the cache: the event's own headers. */
static void
own_headers(struct syslog_maker *s, struct event *event, const struct syslog_message *m, const uint8_t *bytes, bool cut)
{
	struct batch *batch = &s->in->ingress->batch;
	event_set_number(batch, event, s->facility, m->priority / 8);
	event_set_number(batch, event, s->severity, m->priority % 8);
	if (cut)
		event_set_bytes(batch, event, s->status, "Incomplete", 10);
	const struct {
		const struct name *name;
		struct syslog_slice slice;
	} text[] = { { s->priority, m->priority_text }, { s->version, m->version }, { s->host, m->host } };
	for (size_t i = 0; i < sizeof text / sizeof *text; i++) {
		if (!text[i].slice.len)
			continue;
		uint8_t *copy = batch_copy(batch, bytes + text[i].slice.offset, text[i].slice.len);
		if (!copy) {
			event->dropped = 1;
			return;
		}
		event_set_bytes(batch, event, text[i].name, copy, text[i].slice.len);
	}
}

static void
client_headers(struct syslog_maker *s, struct event *event, const struct address *from)
{
	struct batch *batch = &s->in->ingress->batch;
	char ip[ADDRESS_TEXT_BYTES];
	uint32_t len = (uint32_t)address_ip_text(from, ip, sizeof ip);
	uint8_t *copy = batch_copy(batch, ip, len);
	const struct resolved *resolved = s->client_hostname ? resolve_name(from) : NULL;
	if (!copy) {
		event->dropped = 1;
		return;
	}
	if (s->client_ip)
		event_set_bytes(batch, event, s->client_ip, copy, len);
	if (s->client_hostname)
		event_set_bytes(batch, event, s->client_hostname, resolved ? (const void *)resolved->name : copy, resolved ? resolved->len : len);
}

int
syslog_maker_open(struct syslog_maker *s, const struct syslog_make_config *c, struct ingress_source *in, uint32_t len_max, struct err *err)
{
	memset(s, 0, sizeof *s);
	s->in = in;
	s->keep = keep_fields_parse(c->keep_fields);
	s->facility = name_intern("Facility", 8);
	s->severity = name_intern("Severity", 8);
	s->priority = name_intern("priority", 8);
	s->version = name_intern("version", 7);
	s->timestamp = name_intern("timestamp", 9);
	s->host = name_intern("host", 4);
	s->status = name_intern("flume.syslog.status", 19);
	if (c->client_ip_header)
		s->client_ip = name_intern(c->client_ip_header, strlen(c->client_ip_header));
	if (c->client_hostname_header)
		s->client_hostname = name_intern(c->client_hostname_header, strlen(c->client_hostname_header));
	s->sets = aligned_alloc(64, SETS * sizeof *s->sets);
	int rc = syslog_format_open(&s->format, &c->format, (int64_t)(clock_wall_ns(in->ingress->clock) / NS_PER_S), err);
	if (rc)
		return rc;
	s->scratch = malloc(s->format ? SYSLOG_FORMAT_BYTES + 64 : len_max + 64);
	bool heads = !s->format && s->keep == KEEP_NONE && !s->client_ip && !s->client_hostname;
	if (heads)
		s->heads = aligned_alloc(64, HEADS * sizeof *s->heads);
	if (!s->sets || !s->scratch || (heads && !s->heads))
		return err_set(err, ENOMEM, "no memory");
	memset(s->sets, 0, SETS * sizeof *s->sets);
	if (heads)
		memset(s->heads, 0, HEADS * sizeof *s->heads);
	return 0;
}

void
syslog_maker_close(struct syslog_maker *s)
{
	syslog_format_close(s->format);
	free(s->sets);
	free(s->heads);
	free(s->scratch);
}

struct event *
syslog_make(struct syslog_maker *s, const uint8_t *bytes, uint32_t len, const struct address *from, uint64_t time_ns, bool cut)
{
	struct syslog_message m;
	int64_t ms = 0;
	bool has_time = false, formatted = false;
	const uint8_t *text = bytes;		/* what the slices of m lie in */
	struct cached_head *heads = s->heads && len >= HEAD_MOST && !cut ? head_of(s, bytes, from) : NULL, *head = heads;
	if (head && (head_same(head, bytes, len, time_ns) || head_same(++head, bytes, len, time_ns))) {
		struct event *event = ingress_append(s->in, bytes + head->len, len - head->len, time_ns);
		if (!event)
			return NULL;
		event->shared = &head->set->set;
		if (head->has_time)
			event_set_number(&s->in->ingress->batch, event, s->timestamp, head->ms);
		return event;
	}
	syslog_parse(&m, bytes, len);
	if (s->format && !m.bad_priority)
		formatted = syslog_format_parse(s->format, &m, bytes, len, &text, &has_time, &ms);
	if (!formatted && m.matched && m.stamp.len)
		has_time = stamp_ms(s, bytes + m.stamp.offset, m.stamp.len, m.rfc5424, time_ns, &ms);
	const uint8_t *body = bytes;
	uint32_t body_len = len;
	if (m.has_body && s->keep != KEEP_ALL) {
		bool lists = s->keep != KEEP_NONE;
		uint32_t kept = lists ? keep_fields_body(s->keep, &m, text, s->scratch) : m.body.len;
		if (kept) {		/* else the whole message, as in Flume */
			body = lists ? s->scratch : text + m.body.offset;
			body_len = kept;
		}
	}
	/* The set first: making room for it may end the batch. A pattern of the user's brings values of any length: no set for those. */
	struct header_set *set = formatted ? NULL : header_set(s, &m, bytes, from, cut);
	if (heads)
		head_keep(s, heads, &m, bytes, set, has_time, ms);
	struct event *event = ingress_append(s->in, body, body_len, time_ns);
	if (!event)
		return NULL;
	event->shared = set;
	if (!set) {
		own_headers(s, event, &m, text, cut);
		if (s->client_ip || s->client_hostname)
			client_headers(s, event, from);
	}
	if (has_time)
		event_set_number(&s->in->ingress->batch, event, s->timestamp, ms);
	return event;
}
