/* fuzz_stream: any bytes to syslogtcp, multiport_syslogtcp, netcat, http or under TLS (FUZZ_SOURCE, or the first argument). Proves: no crash; the same bytes cut in
 * another way make the same events and the same answers; every ticket ends; the durable edge reaches what was eaten.
 * The first byte of the input chooses how it is cut. With clang -fsanitize=fuzzer it is a libFuzzer target; else main below runs damaged good
 * input (arguments: source, seed, rounds). */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/stream_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct source_ops *ops;
static const char *options;
static bool tls;

struct seen {
	uint64_t events, answers;	/* hashes */
	uint32_t count;
	bool closed, reset;
};

static uint64_t
mix(uint64_t hash, const void *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		hash = (hash ^ ((const uint8_t *)bytes)[i]) * UINT64_C(0x100000001b3);
	return (hash ^ len) * UINT64_C(0x100000001b3);
}

static void
see(void *context, const struct event *event)
{
	struct seen *seen = context;
	seen->count++;
	seen->events = mix(seen->events, event->body, event->body_len);
	for (uint32_t i = 0; i < event->header_count; i++) {
		char digits[24];
		const uint8_t *text;
		uint32_t len = event_header_text(event, &event->headers[i], digits, &text);
		seen->events = mix(seen->events, text, len);
	}
}

static void
choose(const char *name)
{
	tls = strcmp(name, "tls") == 0;
	options = "port=80 eventSize=100";
	if (tls || strcmp(name, "syslogtcp") == 0) {
		ops = &source_syslogtcp;
	} else if (strcmp(name, "multiport") == 0) {
		ops = &source_multiport_syslogtcp;
		options = "ports=80 eventSize=100 keepFields=hostname~timestamp";
	} else if (strcmp(name, "netcat") == 0) {
		ops = &source_netcat;
		options = "bind=127.0.0.1 port=80 max-line-length=60";
	} else {
		ops = &source_http;
		options = "port=80 penstock.body.max=2000";
	}
	if (tls)
		options = getenv("FUZZ_TLS_OPTIONS");
}

static struct seen
run(const uint8_t *data, size_t size, uint64_t cut)
{
	struct stream_rig rig;
	struct seen seen = { 0 };
	stream_rig_open(&rig, ops, options, 1795245136u, 8);
	rig.seen = see;
	rig.seen_context = &seen;
	struct rig_stream *r = rig_connect(&rig, true, 80);
	for (size_t at = 0; at < size;) {
		size_t step = cut ? cut % 61 + 1 : size;
		cut = cut * UINT64_C(6364136223846793005) + (cut != 0);
		step = step < size - at ? step : size - at;
		uint32_t n = stream_feed(&r->stream, data + at, (uint32_t)step);
		at += n;
		assert(r->durable_told <= r->stream.received);
		if (n < step || cut % 7 == 0)
			stream_rig_turn(&rig, true);
	}
	stream_eof(&r->stream);
	for (int i = 0; i < 4; i++)
		stream_rig_turn(&rig, true);
	if (!r->reset && !tls)
		assert(r->closed && r->stream.durable == r->stream.received);
	/* 100 Continue is sent only when a body is not there yet. */
	static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
	uint8_t *found;
	while ((found = memmem(r->out, r->out_len, go_on, sizeof go_on - 1))) {
		memmove(found, found + sizeof go_on - 1, (size_t)(r->out + r->out_len - found) - (sizeof go_on - 1));
		r->out_len -= sizeof go_on - 1;
	}
	seen.answers = tls ? 0 : mix(0, r->out, r->out_len);
	if (getenv("FUZZ_SHOW"))
		fprintf(stderr, "%u events, closed %d, answers:\n%.*s\n----\n", seen.count, r->closed, (int)r->out_len, (char *)r->out);
	seen.closed = r->closed;
	seen.reset = r->reset;
	rig_end(r);
	stream_rig_close(&rig);	/* asserts that no ticket is open */
	return seen;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!ops)
		choose(getenv("FUZZ_SOURCE") ? getenv("FUZZ_SOURCE") : "http");
	if (size < 2)
		return 0;
	struct seen whole = run(data + 1, size - 1, 0), cut = run(data + 1, size - 1, data[0] + 1u);
	assert(whole.count == cut.count && whole.events == cut.events && whole.answers == cut.answers);
	return 0;
}

#ifndef LIBFUZZER
static uint64_t seed;

static uint32_t
any(uint32_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 11) % below;
}

static const char *const syslog_pieces[] = {
	"<13>1 2026-11-21T10:00:00Z h app - - - hello\n", "<34>Oct 11 22:14:15 h su: text\n", "5 <13>a", "\n", "30 <13>1 2026-11-21T10:00:00Z h b\n",
	"<13>", "99 <1>", "<999>x\n", "no syslog\n", "12345", "<13>1 - h \xff\xfe body\r\n", "120 <13>xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
};
static const char *const http_pieces[] = {
	"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 14\r\n\r\n[{\"body\":\"x\"}]", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
	"E\r\n[{\"body\":\"x\"}]\r\n", "0\r\n\r\n", "GET /?a=b HTTP/1.1\r\nHost: h\r\n\r\n", "[{'headers':{a:b,c:null},body:'\\u00e4'}]", "Connection: close\r\n",
	"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n[]", "POST / HTTP/1.1\r\nHost: h\r\nContent-Encoding: gzip\r\nContent-Length: 20\r\n\r\n",
	"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "POST / HTTP/1.0\r\nContent-Length: 4\r\n\r\n[{}]",
	"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 30\r\n\r\n[{\"headers\":{\"a\":1.5}},{},[1]]",
};
static const char *const tls_pieces[] = {
	"\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x03", "\x16\x03\x03\x00\x05", "\x15\x03\x03\x00\x02\x01", "\x17\x03\x03\x00\x10", "\x14\x03\x03\x00\x01\x01",
	"\x80\x2e\x01\x03\x01", "GET / HTTP/1.1\r\n", "\x16\x03\x01\x40\x00",
};

int
main(int argc, char **argv)
{
	static uint8_t input[8192];
	const char *name = argc > 1 ? argv[1] : "http";
	seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
	uint64_t rounds = argc > 3 ? strtoull(argv[3], NULL, 0) : 200, events = 0;
	printf("%s: seed %llu, %llu rounds\n", name, (unsigned long long)seed, (unsigned long long)rounds);
	choose(name);
	bool http = ops == &source_http;
	const char *const *pieces = tls ? tls_pieces : http ? http_pieces : syslog_pieces;
	uint32_t count = tls ? sizeof tls_pieces / sizeof *tls_pieces : http ? sizeof http_pieces / sizeof *http_pieces :
							    sizeof syslog_pieces / sizeof *syslog_pieces;
	for (uint64_t round = 0; round < rounds; round++) {
		uint32_t used = 1;
		input[0] = (uint8_t)any(256);
		for (uint32_t i = 1 + any(12); i; i--) {
			static const uint8_t tls_lens[] = { 11, 5, 6, 5, 6, 5, 16, 5 };
			uint32_t which = any(count);
			const char *piece = pieces[which];
			size_t len = tls ? tls_lens[which] : strlen(piece);
			memcpy(input + used, piece, len);
			used += (uint32_t)len;
		}
		for (uint32_t i = any(4); i; i--)
			input[1 + any(used - 1)] ^= (uint8_t)(1 << any(8));
		LLVMFuzzerTestOneInput(input, used);
		events += run(input + 1, used - 1, 0).count;
	}
	printf("%llu events\n", (unsigned long long)events);
	return events || tls ? 0 : 1;
}
#endif
