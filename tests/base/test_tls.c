/* TLS as a filter under syslogtcp: what goes in as lines comes out as events, however the ciphertext is cut; the durable edge ends with records; protocols,
 * ciphers, client certificates and stores as Flume names them; mistakes named; no session tickets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <errno.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/ssl.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/stream_rig.h"

#define NOW 1795245136u

static char dir[] = "/tmp/penstock-tls-XXXXXX";
static EVP_PKEY *key;
static X509 *cert;

static const char *
at(const char *name)
{
	static char paths[4][256];
	static int turn;
	char *path = paths[turn++ % 4];
	snprintf(path, sizeof paths[0], "%s/%s", dir, name);
	return path;
}

static int
make_stores(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(dir));
	key = EVP_EC_gen("P-256");
	cert = X509_new();
	ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
	X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
	X509_gmtime_adj(X509_getm_notAfter(cert), 86400);
	X509_set_version(cert, 2);
	X509_set_pubkey(cert, key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC, (const uint8_t *)"localhost", -1, -1, 0);
	X509_set_issuer_name(cert, X509_get_subject_name(cert));
	assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
	FILE *f = fopen(at("store.pem"), "w");
	PEM_write_X509(f, cert);
	PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
	fclose(f);
	PKCS12 *p12 = PKCS12_create("secret", "me", key, cert, NULL, 0, 0, 0, 0, 0);
	f = fopen(at("store.p12"), "w");
	i2d_PKCS12_fp(f, p12);
	fclose(f);
	PKCS12_free(p12);
	f = fopen(at("old.jks"), "w");
	fwrite("\xfe\xed\xfe\xed\0\0\0\2", 1, 8, f);
	fclose(f);
	return 0;
}

static int
remove_stores(void **state)
{
	(void)state;
	static const char *const names[] = { "store.pem", "store.p12", "old.jks" };
	for (int i = 0; i < 3; i++)
		unlink(at(names[i]));
	rmdir(dir);
	X509_free(cert);
	EVP_PKEY_free(key);
	return 0;
}

struct client {
	SSL_CTX *ctx;
	SSL *ssl;
	BIO *in, *out;
	int tickets;
};

static int
count_ticket(SSL *ssl, SSL_SESSION *session)
{
	struct client *c = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
	(void)session;
	c->tickets++;
	return 0;
}

static void
client_open(struct client *c, int version, bool with_cert)
{
	c->ctx = SSL_CTX_new(TLS_client_method());
	c->tickets = 0;
	SSL_CTX_set_app_data(c->ctx, c);
	SSL_CTX_set_session_cache_mode(c->ctx, SSL_SESS_CACHE_CLIENT);
	SSL_CTX_sess_set_new_cb(c->ctx, count_ticket);
	SSL_CTX_set_max_proto_version(c->ctx, version);
	if (with_cert) {
		SSL_CTX_use_certificate(c->ctx, cert);
		SSL_CTX_use_PrivateKey(c->ctx, key);
	}
	c->ssl = SSL_new(c->ctx);
	c->in = BIO_new(BIO_s_mem());
	c->out = BIO_new(BIO_s_mem());
	SSL_set_bio(c->ssl, c->in, c->out);
	SSL_set_connect_state(c->ssl);
}

static void
client_close(struct client *c)
{
	SSL_free(c->ssl);
	SSL_CTX_free(c->ctx);
}

/* Moves bytes both ways until nothing moves, `step` at a time to the server. */
static void
pump(struct client *c, struct rig_stream *r, uint32_t step)
{
	static uint8_t bytes[1 << 16];
	for (int moved = 1; moved;) {
		moved = 0;
		SSL_do_handshake(c->ssl);
		int n = BIO_read(c->out, bytes, sizeof bytes);
		for (int i = 0; i < n; i += (int)step, moved = 1) {
			uint32_t len = (uint32_t)(n - i) < step ? (uint32_t)(n - i) : step;
			assert_int_equal(stream_feed(&r->stream, bytes + i, len), len);
		}
		if (r->out_len) {
			BIO_write(c->in, r->out, (int)r->out_len);
			r->out_len = 0;
			moved = 1;
		}
		char plain[256];
		SSL_read(c->ssl, plain, sizeof plain);
	}
}

static void
properties(char *text, size_t size, const char *store, const char *more)
{
	snprintf(text, size, "port=5140 ssl=true keystore=%s %s", at(store), more);
}

static void
test_lines(void **state)
{
	(void)state;
	static const struct { const char *store, *more; int version; } kinds[] = {
		{ "store.p12", "keystore-type=PKCS12 keystore-password=secret", TLS1_3_VERSION },
		{ "store.p12", "keystore-password=secret", TLS1_2_VERSION },	/* JKS that holds PKCS#12 */
		{ "store.pem", "keystore-type=PEM", TLS1_3_VERSION },
		{ "store.pem", "keystore-type=PEM exclude-protocols=SSLv3~TLSv1.3", TLS1_3_VERSION },
		{ "store.pem", "keystore-type=PEM include-cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", TLS1_3_VERSION },
	};
	for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
		for (uint32_t step = 1; step < 100000; step *= 19) {
			char text[1024];
			struct stream_rig rig;
			struct client c;
			properties(text, sizeof text, kinds[k].store, kinds[k].more);
			stream_rig_open(&rig, &source_syslogtcp, text, NOW, 16);
			struct rig_stream *r = rig_connect(&rig, true, 5140);
			client_open(&c, kinds[k].version, false);
			pump(&c, r, step);
			assert_true(SSL_is_init_finished(c.ssl));
			if (k == 3)
				assert_int_equal(SSL_version(c.ssl), TLS1_2_VERSION);
			if (k == 4)
				assert_string_equal(SSL_CIPHER_standard_name(SSL_get_current_cipher(c.ssl)), "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256");
			assert_int_equal(r->durable_told, r->stream.received);	/* the handshake makes no event */
			/* Three records; the second holds the end of one line and the beginning of the next. */
			uint64_t before = r->stream.received, ends[3];
			static const char *const records[] = { "<13>one\n<13>tw", "o\n<13>thr", "ee\n" };
			for (int i = 0; i < 3; i++) {
				SSL_write(c.ssl, records[i], (int)strlen(records[i]));
				pump(&c, r, step);
				ends[i] = r->stream.received;
				assert_int_equal(r->durable_told, before);
			}
			stream_rig_turn(&rig, true);
			assert_int_equal(r->durable_told, ends[2]);
			SSL_write(c.ssl, "<13>four\n<13>fi", 15);
			pump(&c, r, step);
			stream_rig_turn(&rig, true);
			assert_int_equal(r->durable_told, ends[2]);	/* the record holds the beginning of a line */
			SSL_write(c.ssl, "ve\n", 3);
			SSL_shutdown(c.ssl);
			pump(&c, r, step);
			stream_rig_turn(&rig, true);
			stream_rig_turn(&rig, true);
			assert_int_equal(r->durable_told, r->stream.received);
			assert_true(r->closed);
			assert_int_equal(c.tickets, 0);
			assert_true(SSL_get_shutdown(c.ssl) & SSL_RECEIVED_SHUTDOWN || (pump(&c, r, step), SSL_get_shutdown(c.ssl) & SSL_RECEIVED_SHUTDOWN));
			assert_string_equal(rig_stored(&rig), "<13>one\n<13>two\n<13>three\n<13>four\n<13>five\n");
			assert_int_equal(counter_read(&rig.listener.counters.reset_tls), 0);
			rig_end(r);
			client_close(&c);
			stream_rig_close(&rig);
		}
	}
}

static void
test_client_certificate(void **state)
{
	(void)state;
	for (int with = 0; with < 2; with++) {
		char text[1024], more[512];
		struct stream_rig rig;
		struct client c;
		snprintf(more, sizeof more, "keystore-type=PEM penstock.client.certificate=needed truststore=%s truststore-type=PEM", at("store.pem"));
		properties(text, sizeof text, "store.pem", more);
		stream_rig_open(&rig, &source_syslogtcp, text, NOW, 16);
		struct rig_stream *r = rig_connect(&rig, false, 5140);
		client_open(&c, TLS1_2_VERSION, with);
		pump(&c, r, 1000);
		assert_int_equal(SSL_is_init_finished(c.ssl), with);
		assert_int_equal(r->closed, !with);
		assert_int_equal(counter_read(&rig.listener.counters.reset_tls), !with);
		rig_end(r);
		client_close(&c);
		stream_rig_close(&rig);
	}
}

static void
test_garbage(void **state)
{
	(void)state;
	char text[1024];
	struct stream_rig rig;
	properties(text, sizeof text, "store.pem", "keystore-type=PEM penstock.frame.timeout=10s");
	stream_rig_open(&rig, &source_syslogtcp, text, NOW, 16);
	uint64_t seed = 7;
	for (int i = 0; i < 300; i++) {
		uint8_t bytes[200];
		for (size_t k = 0; k < sizeof bytes; k++)
			bytes[k] = (uint8_t)((seed = seed * UINT64_C(6364136223846793005) + 1) >> 56);
		if (i % 3 == 0)
			memcpy(bytes, "\x16\x03\x01\x00\xc0\x01\x00\x00\xbc\x03\x03", 11);
		if (i % 3 == 1)
			memcpy(bytes, "GET / HTTP/1.1\r\n\r\n", 18);
		struct rig_stream *r = rig_connect(&rig, true, 5140);
		assert_int_equal(stream_feed(&r->stream, bytes, sizeof bytes), sizeof bytes);
		if (i % 3 == 1)
			assert_true(r->closed);
		rig_end(r);
	}
	/* A handshake that never comes. */
	struct rig_stream *r = rig_connect(&rig, true, 5140);
	for (int i = 0; i < 300 && !r->reset; i++) {
		clock_manual_advance(&rig.clock, NS_PER_S / 10);
		streams_run(&rig.streams, rig.clock.now);
	}
	assert_true(r->reset);
	rig_end(r);
	assert_string_equal(rig_stored(&rig), "");
	stream_rig_close(&rig);
}

static void
test_mistakes(void **state)
{
	(void)state;
	static const struct { const char *store, *password; uint32_t type; const char *protocol, *cipher, *says; } cases[] = {
		{ "none.p12", "secret", TLS_STORE_PKCS12, NULL, NULL, "cannot be opened" },
		{ "store.p12", "wrong", TLS_STORE_PKCS12, NULL, NULL, "keystore-password" },
		{ "store.p12", NULL, TLS_STORE_JKS, NULL, NULL, "keystore-password" },
		{ "old.jks", "secret", TLS_STORE_JKS, NULL, NULL, "keytool -importkeystore" },
		{ "store.pem", "secret", TLS_STORE_PKCS12, NULL, NULL, "is no PKCS#12 store" },
		{ "store.p12", "secret", TLS_STORE_PEM, NULL, NULL, "no certificate in PEM form" },
		{ NULL, "secret", TLS_STORE_PEM, NULL, NULL, "keystore: must be set" },
		{ "store.pem", NULL, TLS_STORE_PEM, "TLSv1", NULL, "neither TLSv1.2 nor TLSv1.3" },
		{ "store.pem", NULL, TLS_STORE_PEM, NULL, "NOSUCH", "no cipher suite is left" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct tls_server *server = NULL;
		struct err err = { "" };
		struct tls_options o = { .on = true, .keystore = cases[i].store ? at(cases[i].store) : NULL, .keystore_password = cases[i].password,
					 .keystore_type = cases[i].type };
		const char *protocol = cases[i].protocol, *cipher = cases[i].cipher;
		if (protocol)
			o.include_protocols = (struct option_list){ 1, &protocol };
		if (cipher)
			o.include_ciphers = (struct option_list){ 1, &cipher };
		assert_true(tls_server_open(&server, &o, false, &err) < 0);
		if (!strstr(err.text, cases[i].says))
			fail_msg("case %zu: \"%s\" does not say \"%s\"", i, err.text, cases[i].says);
	}
}

static void
test_globals(void **state)
{
	(void)state;
	static const char *const names[] = { "KEYSTORE_PATH", "KEYSTORE_PASSWORD", "KEYSTORE_TYPE", "INCLUDE_PROTOCOLS", "EXCLUDE_PROTOCOLS", "EXCLUDE_CIPHERSUITES" };
	struct err err = { "" };
	struct tls_server *server = NULL;
	struct tls_options o = { .on = true };
	setenv("FLUME_SSL_KEYSTORE_PATH", "/nowhere", 1);
	assert_int_equal(tls_server_open(&server, &o, false, &err), -ENOENT);
	assert_true(tls_system_property("javax.net.ssl.keyStore", at("store.pem")));	/* stronger than the environment */
	assert_true(tls_system_property("javax.net.ssl.keyStoreType", "pem"));
	assert_false(tls_system_property("javax.net.debug", "all"));
	assert_int_equal(tls_server_open(&server, &o, false, &err), 0);
	tls_server_close(server);
	o.keystore = at("store.p12");		/* the component's own wins */
	o.keystore_password = "secret";
	o.keystore_type = TLS_STORE_PKCS12;
	assert_true(tls_system_property("javax.net.ssl.keyStorePassword", "wrong"));
	assert_int_equal(tls_server_open(&server, &o, false, &err), 0);
	tls_server_close(server);
	assert_true(tls_system_property("flume.ssl.include.protocols", "TLSv1.3, TLSv1.2"));
	assert_true(tls_system_property("flume.ssl.exclude.protocols", "TLSv1.2,TLSv1.3"));
	assert_int_equal(tls_server_open(&server, &o, false, &err), -EINVAL);
	assert_non_null(strstr(err.text, "exclude-protocols"));
	const char *none[] = { "SSLv3" };
	o.exclude_protocols = (struct option_list){ 1, none };
	assert_int_equal(tls_server_open(&server, &o, false, &err), 0);
	tls_server_close(server);
	setenv("FLUME_SSL_KEYSTORE_TYPE", "nonsense", 1);
	o.keystore_type = TLS_STORE_JKS;
	assert_int_equal(tls_server_open(&server, &o, false, &err), -EINVAL);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		char variable[64];
		snprintf(variable, sizeof variable, "FLUME_SSL_%s", names[i]);
		unsetenv(variable);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines), cmocka_unit_test(test_client_certificate), cmocka_unit_test(test_garbage), cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_globals),
	};
	unsetenv("FLUME_SSL_KEYSTORE_PATH");
	return cmocka_run_group_tests_name("tls", tests, make_stores, remove_stores);
}
