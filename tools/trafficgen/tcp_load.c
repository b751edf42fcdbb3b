#include "tools/trafficgen/tcp_load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/trafficgen/stamp.h"

int
tcp_load_open(struct tcp_load *tcp, struct load *load, enum tcp_kind kind, const char *to, struct err *err)
{
	*tcp = (struct tcp_load){ .load = load, .kind = kind, .tail = "\n", .tail_bytes = 1 };
	uint32_t len = load->messages[0].len;
	for (uint32_t i = 0; i < load->message_count; i++) {
		const struct load_message *m = &load->messages[i];
		if (m->len != len)
			return err_set(err, EINVAL, "--format: messages of one length only over TCP: use --size");
		for (uint32_t k = 0; k < len; k++)
			if (m->bytes[k] == '\n' || (kind == TCP_KIND_HTTP && (m->bytes[k] < 32 || m->bytes[k] > 126 || m->bytes[k] == '"' || m->bytes[k] == '\\')))
				return err_set(err, EINVAL, "--as: a message holds the byte %u, which cannot stand there as it is", m->bytes[k]);
	}
	if (kind == TCP_KIND_HTTP) {
		tcp->tail = "\"}]";
		tcp->tail_bytes = 3;
		int n = snprintf(tcp->head, sizeof tcp->head, "POST / HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %u\r\n\r\n[{\"body\":\"",
				 to, len + 13);
		if (n < 0 || (size_t)n >= sizeof tcp->head)
			return err_set(err, EINVAL, "--to: %s: too long", to);
		tcp->head_bytes = (uint32_t)n;
	}
	tcp->unit_bytes = tcp->head_bytes + len + tcp->tail_bytes;
	return 0;
}

void
tcp_load_fill(const struct tcp_load *tcp, uint32_t source, uint64_t offset, uint8_t *out, uint32_t len)
{
	const struct load *load = tcp->load;
	uint64_t event = offset / tcp->unit_bytes;
	uint32_t at = (uint32_t)(offset % tcp->unit_bytes), message = (uint32_t)((event * load->sources + source) % load->message_count);
	while (len) {
		const struct load_message *m = &load->messages[message];
		uint32_t body = tcp->head_bytes + m->len, n;
		const uint8_t *from;
		if (at < tcp->head_bytes) {
			from = (const uint8_t *)tcp->head + at;
			n = tcp->head_bytes - at;
		} else if (at < body) {
			stamp_write_sequence(m->bytes + m->digits_at, event + 1);
			from = m->bytes + (at - tcp->head_bytes);
			n = body - at;
		} else {
			from = (const uint8_t *)tcp->tail + (at - body);
			n = tcp->unit_bytes - at;
		}
		n = n < len ? n : len;
		memcpy(out, from, n);
		out += n;
		len -= n;
		at += n;
		if (at == tcp->unit_bytes) {
			at = 0;
			event++;
			message += load->sources;	/* message_count is a multiple of it */
			if (message >= load->message_count)
				message -= load->message_count;
		}
	}
}

static void
line_done(const struct tcp_load *tcp, struct tcp_replies *r)
{
	r->line[r->line_len < sizeof r->line ? r->line_len : sizeof r->line - 1] = 0;
	if (tcp->kind == TCP_KIND_NETCAT) {
		if (strcmp(r->line, "OK") == 0)
			r->good++;
		else
			r->bad++;
	} else if (strncmp(r->line, "HTTP/1.1 ", 9) == 0) {
		r->status = (int)strtol(r->line + 9, NULL, 10);
		r->length = 0;
	} else if (strncasecmp(r->line, "content-length:", 15) == 0) {
		r->length = (uint32_t)strtoul(r->line + 15, NULL, 10);
	} else if (r->line_len == 0) {
		if (r->status == 200)
			r->good++;
		else if (r->status != 100)
			r->bad++;
		r->skip = r->length;
		r->within = r->skip;
	}
	r->line_len = 0;
}

void
tcp_replies_take(struct tcp_load *tcp, struct tcp_replies *r, const uint8_t *bytes, uint32_t len)
{
	uint32_t begin = UINT32_MAX;	/* of an answer that began in these bytes */
	uint64_t good = 0;
	for (uint32_t i = 0; i < len; i++) {
		if (tcp->kind == TCP_KIND_HTTP && !r->within) {
			uint32_t n = tcp->good_reply_bytes;
			while (n && len - i >= n && memcmp(bytes + i, tcp->good_reply, n) == 0) {
				r->good++;
				i += n;
			}
			if (i == len)
				break;
			r->within = true;
			begin = i;
			good = r->good;
		}
		if (r->skip) {
			uint32_t n = r->skip < len - i ? r->skip : len - i;
			r->skip -= n;
			i += n - 1;
			r->within = r->skip;
		} else if (bytes[i] == '\n') {
			if (r->line_len && r->line_len <= sizeof r->line && r->line[r->line_len - 1] == '\r')
				r->line_len--;
			line_done(tcp, r);
		} else {
			if (r->line_len < sizeof r->line)
				r->line[r->line_len] = (char)bytes[i];
			r->line_len++;
		}
		if (!r->within && begin != UINT32_MAX && r->good > good && i + 1 - begin <= sizeof tcp->good_reply) {
			tcp->good_reply_bytes = i + 1 - begin;
			memcpy(tcp->good_reply, bytes + begin, tcp->good_reply_bytes);
		}
	}
}
