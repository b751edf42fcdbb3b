/* Proves: the conformance body of streams holds with TLS over both carriers (stream_carriers.h), OpenSSL's client over the clients of the carrier; the end of a
 * record is acknowledged when all of it is durable; what can never be durable holds no connection; handshakes and keys that are asked for anew lose nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <openssl/ssl.h>

#include "tests/dataplane/stream_carriers.h"

#define TLS_CLIENTS 16
#define TLS_PENDING 16384u		/* bytes of records that wait for the carrier before no more is taken */

static struct tls {
	struct stream_case *carrier;
	SSL_CTX *ctx;
	struct { SSL *ssl; int inner; bool finish, finished; ssize_t end; } clients[TLS_CLIENTS];
	uint8_t out[TLS_CLIENTS][TLS_PENDING * 2];
	uint32_t out_len[TLS_CLIENTS];
} T;

static void
tls_open(struct stream_case *c, const struct source_ops *ops, const char *properties)
{
	char text[512];
	snprintf(text, sizeof text, "ssl=true keystore-type=PEM keystore=%s/lib/fuzz_tls.pem %s", getenv("PENSTOCK_TESTS"), properties);
	T.carrier->durable = c->durable;
	T.carrier->open(c, ops, text);
	T.ctx = SSL_CTX_new(TLS_client_method());
	assert_non_null(T.ctx);
}

/* What OpenSSL has for the wire. */
static void
tls_push(struct stream_case *c, int i)
{
	if (!T.clients[i].ssl)
		return;
	uint32_t room = sizeof T.out[i] - T.out_len[i];
	int n = room ? BIO_read(SSL_get_wbio(T.clients[i].ssl), T.out[i] + T.out_len[i], (int)room) : 0;
	T.out_len[i] += n > 0 ? (uint32_t)n : 0;
	ssize_t sent = T.out_len[i] ? T.carrier->send(c, T.clients[i].inner, T.out[i], T.out_len[i]) : 0;
	if (sent < 0) {
		T.clients[i].end = sent;
		T.out_len[i] = 0;
	} else {
		memmove(T.out[i], T.out[i] + sent, T.out_len[i] -= (uint32_t)sent);
	}
	if (T.clients[i].finish && !T.clients[i].finished && !T.out_len[i] && SSL_is_init_finished(T.clients[i].ssl)) {
		T.clients[i].finished = true;
		T.carrier->finish(c, T.clients[i].inner);
	}
}

/* Ciphertext that has come; false: none. */
static bool
tls_pull(struct stream_case *c, int i)
{
	uint8_t bytes[8192];
	ssize_t n = T.carrier->recv(c, T.clients[i].inner, bytes, sizeof bytes);
	if (n > 0)
		assert_int_equal(BIO_write(SSL_get_rbio(T.clients[i].ssl), bytes, (int)n), n);
	else if (n != -EAGAIN)
		T.clients[i].end = n == 0 ? 1 : n;
	return n > 0;
}

static void
tls_turn(struct stream_case *c, bool write, uint64_t ns)
{
	T.carrier->turn(c, write, ns);
	for (int i = 0; i < TLS_CLIENTS; i++) {
		if (!T.clients[i].ssl)
			continue;
		if (!SSL_is_init_finished(T.clients[i].ssl) && !T.clients[i].end) {
			tls_pull(c, i);
			SSL_do_handshake(T.clients[i].ssl);
		}
		tls_push(c, i);
	}
}

static void
tls_forget(int i)
{
	SSL_free(T.clients[i].ssl);
	T.clients[i].ssl = NULL;
}

static void
tls_close(struct stream_case *c)
{
	for (int i = 0; i < TLS_CLIENTS; i++)
		tls_forget(i);
	SSL_CTX_free(T.ctx);
	T.carrier->close(c);
}

static int
tls_dial(struct stream_case *c)
{
	int i = 0;
	while (T.clients[i].ssl)
		assert_true(++i < TLS_CLIENTS);
	memset(&T.clients[i], 0, sizeof T.clients[i]);
	T.out_len[i] = 0;
	T.clients[i].inner = T.carrier->dial(c);
	T.clients[i].ssl = SSL_new(T.ctx);
	SSL_set_bio(T.clients[i].ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	SSL_set_connect_state(T.clients[i].ssl);
	SSL_do_handshake(T.clients[i].ssl);
	return i;
}

static ssize_t
tls_send(struct stream_case *c, int i, const void *bytes, size_t len)
{
	if (T.clients[i].end < 0)
		return T.clients[i].end;
	tls_push(c, i);
	if (!SSL_is_init_finished(T.clients[i].ssl) || T.out_len[i] > TLS_PENDING / 2 || !len)
		return 0;
	int n = SSL_write(T.clients[i].ssl, bytes, (int)(len < TLS_PENDING ? len : TLS_PENDING));
	tls_push(c, i);
	return n > 0 ? n : 0;
}

static ssize_t
tls_recv(struct stream_case *c, int i, void *bytes, size_t room)
{
	SSL *ssl = T.clients[i].ssl;
	for (;;) {
		int n = SSL_read(ssl, bytes, (int)(room < 1u << 20 ? room : 1u << 20));
		if (n > 0)
			return n;
		if (SSL_get_shutdown(ssl) & SSL_RECEIVED_SHUTDOWN)
			return 0;
		if (SSL_get_error(ssl, n) != SSL_ERROR_WANT_READ)
			return -EPROTO;
		if (T.clients[i].end || !tls_pull(c, i))
			return T.clients[i].end > 0 ? 0 : T.clients[i].end ? T.clients[i].end : -EAGAIN;
	}
}

static void
tls_finish(struct stream_case *c, int i)
{
	SSL_shutdown(T.clients[i].ssl);
	T.clients[i].finish = true;
	tls_push(c, i);
}

static void
tls_cut(struct stream_case *c, int i)
{
	T.carrier->cut(c, T.clients[i].inner);
	tls_forget(i);
}

static void
tls_drop(struct stream_case *c, int i)
{
	T.carrier->drop(c, T.clients[i].inner);
	tls_forget(i);
}

static const struct stream_counters *
tls_counters(struct stream_case *c)
{
	return T.carrier->counters(c);
}

static struct stream_case tls = {
	.name = "TLS", .open = tls_open, .close = tls_close, .turn = tls_turn, .dial = tls_dial, .send = tls_send, .recv = tls_recv,
	.finish = tls_finish, .cut = tls_cut, .drop = tls_drop, .counters = tls_counters,
};

static void
test_tls_kernel(void **state)
{
	(void)state;
	T.carrier = &kernel_case;
	tls.durable = false;
	stream_conformance(&tls);
}

static void
test_tls_lcore_received(void **state)
{
	(void)state;
	T.carrier = &lcore_case;
	tls.durable = false;
	stream_conformance(&tls);
}

static void
test_tls_lcore_durable(void **state)
{
	(void)state;
	T.carrier = &lcore_case;
	tls.durable = true;
	stream_conformance(&tls);
}

/* A record that is larger than what its sender may have under way: its beginning is acknowledged after a while, its end with its events and not before. */
static void
test_tls_record(void **state)
{
	(void)state;
	enum { RECORD = 16000 };
	static char bytes[RECORD + 1];
	T.carrier = &lcore_case;
	tls.durable = true;
	lcore_side.flight_max = 10 * CLIENT_MSS;
	tls.open(&tls, &source_syslogtcp, "keepFields=all");
	int i = tls.dial(&tls), lines = 0;
	for (int n = 0; n < 20; n++)
		tls.turn(&tls, true, NS_PER_MS);
	struct client *k = &lcore_side.clients[T.clients[i].inner];
	for (int at = 0; at < RECORD; at += 100)
		snprintf(bytes + at, 101, "<13>%095d\n", at);
	uint32_t begin = k->una;
	assert_int_equal(tls.send(&tls, i, bytes, RECORD), RECORD);
	for (int n = 0; n < 30; n++)
		tls.turn(&tls, true, NS_PER_MS);
	assert_int_equal(k->una - begin, 0);
	assert_true(k->nxt - k->una <= lcore_side.flight_max && k->tx_len > lcore_side.flight_max);
	for (int n = 0; n < 200; n++)
		tls.turn(&tls, false, NS_PER_MS);	/* nobody writes */
	assert_true(k->nxt - begin > RECORD && k->tx_len > 0);	/* all of it is under way, its end is not acknowledged */
	assert_string_equal(rig_stored(&tls.rig), "");
	for (int n = 0; n < 200; n++)
		tls.turn(&tls, true, NS_PER_MS);
	assert_int_equal(k->tx_len, 0);
	for (const char *p = rig_stored(&tls.rig); *p; p = strchr(p, '\n') + 1)
		lines++;
	assert_int_equal(lines, RECORD / 100);
	tls.drop(&tls, i);
	tls.close(&tls);
	lcore_side.flight_max = 0;
}

/* Bytes that can never be durable (no TLS, a record without its end) do not hold a connection that both sides have closed: its place is free soon. */
static void
test_tls_never_durable(void **state)
{
	(void)state;
	char bytes[64] = "";
	T.carrier = &lcore_case;
	tls.durable = true;
	tls.open(&tls, &source_syslogtcp, "");
	/* One that speaks no TLS at all: it is closed, and closes. */
	int raw = lcore_case.dial(&tls);
	for (int n = 0; n < 5; n++)
		tls.turn(&tls, true, NS_PER_MS);
	lcore_case.send(&tls, raw, "<13>this is not TLS\n", 20);
	for (int n = 0; n < 5; n++)
		tls.turn(&tls, true, NS_PER_MS);
	assert_int_equal(lcore_case.recv(&tls, raw, bytes, sizeof bytes), 0);
	lcore_case.finish(&tls, raw);
	/* One that ends in the middle of a record. */
	int i = tls.dial(&tls);
	for (int n = 0; n < 20; n++)
		tls.turn(&tls, true, NS_PER_MS);
	assert_true(SSL_is_init_finished(T.clients[i].ssl));
	lcore_case.send(&tls, T.clients[i].inner, "\x17\x03\x03\x01\x00half", 9);
	lcore_case.finish(&tls, T.clients[i].inner);
	for (int n = 0; n < 1000; n++)
		tls.turn(&tls, true, NS_PER_MS);
	assert_int_equal(counter_read(&tls.counters(&tls)->open), 0);
	struct tcp_counters *tcp = tcp_counters(lcore_side.carrier.tcp);
	assert_int_equal(counter_read(&tcp->connections), counter_read(&tcp->time_wait));
	assert_int_equal(counter_read(&tls.counters(&tls)->reset_tls), 1);
	lcore_side.clients[raw].used = lcore_side.clients[T.clients[i].inner].used = false;
	tls.close(&tls);
}

static int alert_read;

static void
on_info(const SSL *ssl, int where, int what)
{
	(void)ssl;
	if (where & SSL_CB_READ && where & SSL_CB_ALERT)
		alert_read = what & 0xff;
}

/* A client of TLS 1.2 that asks for another handshake is told no and loses nothing; one of TLS 1.3 may have its keys renewed as often as it likes. Both carriers. */
static void
test_tls_anew(void **state)
{
	(void)state;
	struct stream_case *const carriers[] = { &kernel_case, &lcore_case };
	for (int which = 0; which < 2; which++) {
		char line[64], want[64 * 41] = "", got[64 * 41] = "";
		T.carrier = carriers[which];
		tls.durable = which == 1;
		tls.open(&tls, &source_syslogtcp, "keepFields=all");
		SSL_CTX_set_max_proto_version(T.ctx, TLS1_2_VERSION);
		int i = tls.dial(&tls);
		for (int n = 0; n < 50; n++)
			tls.turn(&tls, true, NS_PER_MS);
		assert_true(tls.send(&tls, i, "<13>before\n", 11) == 11);
		alert_read = 0;
		SSL_set_info_callback(T.clients[i].ssl, on_info);
		assert_int_equal(SSL_renegotiate(T.clients[i].ssl), 1);
		SSL_do_handshake(T.clients[i].ssl);	/* asks */
		for (int n = 0; n < 50; n++)
			tls.turn(&tls, true, NS_PER_MS);
		assert_int_equal(alert_read, SSL_AD_NO_RENEGOTIATION);
		assert_string_equal(rig_stored(&tls.rig), "<13>before\n");
		/* OpenSSL's client ends what it is told no on, with an alert. */
		assert_int_equal(counter_read(&tls.counters(&tls)->reset_tls), 1);
		tls.drop(&tls, i);
		for (int n = 0; n < 50; n++)
			tls.turn(&tls, true, NS_PER_MS);
		SSL_CTX_set_max_proto_version(T.ctx, TLS1_3_VERSION);
		i = tls.dial(&tls);
		for (int n = 0; n < 50; n++)
			tls.turn(&tls, true, NS_PER_MS);
		for (int k = 0; k < 40; k++) {
			assert_int_equal(SSL_key_update(T.clients[i].ssl, k & 1 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED), 1);
			assert_int_equal(SSL_do_handshake(T.clients[i].ssl), 1);
			size_t len = (size_t)snprintf(line, sizeof line, "<13>line %d\n", k);
			assert_int_equal(tls.send(&tls, i, line, len), len);
			strcat(want, line);
			tls.turn(&tls, true, NS_PER_MS);
			strcat(got, rig_stored(&tls.rig));
		}
		for (int n = 0; n < 50; n++)
			tls.turn(&tls, true, NS_PER_MS);
		strcat(got, rig_stored(&tls.rig));
		assert_string_equal(got, want);
		tls.drop(&tls, i);
		for (int n = 0; n < 50; n++)
			tls.turn(&tls, true, NS_PER_MS);
		assert_int_equal(counter_read(&tls.counters(&tls)->open), 0);
		tls.close(&tls);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tls_kernel), cmocka_unit_test(test_tls_lcore_received), cmocka_unit_test(test_tls_lcore_durable),
		cmocka_unit_test(test_tls_record), cmocka_unit_test(test_tls_never_durable), cmocka_unit_test(test_tls_anew),
	};
	return cmocka_run_group_tests_name("stream_tls", tests, NULL, NULL);
}
