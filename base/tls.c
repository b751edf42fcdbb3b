#include "base/tls.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

const char *const tls_store_choices[] = { "JKS", "PKCS12", "PEM", NULL };
const char *const tls_client_choices[] = { "none", "wanted", "needed", NULL };

#define RECORD_HEADER 5u

struct tls_server {
	SSL_CTX *ctx;
};

struct tls_session {
	SSL *ssl;
	BIO *in, *out;			/* the SSL's */
	uint8_t header[RECORD_HEADER];	/* of the record under way */
	uint32_t header_len;
	uint32_t left;			/* of its body */
	char error[120];
};

/* ---- what holds for every component ---- */

static const struct global {
	const char *property, *variable;
} globals[] = {
	{ "javax.net.ssl.keyStore", "FLUME_SSL_KEYSTORE_PATH" },
	{ "javax.net.ssl.keyStorePassword", "FLUME_SSL_KEYSTORE_PASSWORD" },
	{ "javax.net.ssl.keyStoreType", "FLUME_SSL_KEYSTORE_TYPE" },
	{ "javax.net.ssl.trustStore", "FLUME_SSL_TRUSTSTORE_PATH" },
	{ "javax.net.ssl.trustStorePassword", "FLUME_SSL_TRUSTSTORE_PASSWORD" },
	{ "javax.net.ssl.trustStoreType", "FLUME_SSL_TRUSTSTORE_TYPE" },
	{ "flume.ssl.include.protocols", "FLUME_SSL_INCLUDE_PROTOCOLS" },
	{ "flume.ssl.exclude.protocols", "FLUME_SSL_EXCLUDE_PROTOCOLS" },
	{ "flume.ssl.include.cipherSuites", "FLUME_SSL_INCLUDE_CIPHERSUITES" },
	{ "flume.ssl.exclude.cipherSuites", "FLUME_SSL_EXCLUDE_CIPHERSUITES" },
};

bool
tls_system_property(const char *name, const char *value)
{
	for (size_t i = 0; i < sizeof globals / sizeof *globals; i++)
		if (strcmp(globals[i].property, name) == 0) {
			setenv(globals[i].variable, value, 1);
			return true;
		}
	return false;
}

#define GLOBAL_WORDS_MAX 64

/* Options of a component with the holes filled; lists may point into it. */
struct effective {
	struct tls_options o;
	char text[4][4096];
	const char *words[4][GLOBAL_WORDS_MAX];
};

static const char *
global_text(const char *own, const char *variable)
{
	const char *text = own ? own : getenv(variable);
	return text && *text ? text : NULL;
}

static int
global_type(uint32_t *type, const char *variable, struct err *err)
{
	const char *text = getenv(variable);
	if (*type != TLS_STORE_JKS || !text || !*text)	/* JKS is what an option says that is not set */
		return 0;
	for (uint32_t i = 0; tls_store_choices[i]; i++)
		if (strcasecmp(tls_store_choices[i], text) == 0) {
			*type = i;
			return 0;
		}
	return err_set(err, EINVAL, "%s: \"%s\" is no type of store: want JKS, PKCS12 or PEM", variable, text);
}

static int
global_list(struct effective *e, uint32_t n, struct option_list *list, const char *variable, struct err *err)
{
	const char *text = getenv(variable);
	if (list->count || !text || !*text)
		return 0;
	if (strlen(text) >= sizeof e->text[n])
		return err_set(err, E2BIG, "%s: longer than %zu bytes", variable, sizeof e->text[n] - 1);
	memcpy(e->text[n], text, strlen(text) + 1);
	list->items = e->words[n];
	char *rest = e->text[n], *word;
	while ((word = strsep(&rest, ", \t"))) {
		if (!*word)
			continue;
		if (list->count == GLOBAL_WORDS_MAX)
			return err_set(err, E2BIG, "%s: more than %d words", variable, GLOBAL_WORDS_MAX);
		e->words[n][list->count++] = word;
	}
	return 0;
}

static int
effective_of(struct effective *e, const struct tls_options *o, struct err *err)
{
	e->o = *o;
	e->o.keystore = global_text(o->keystore, "FLUME_SSL_KEYSTORE_PATH");
	e->o.keystore_password = global_text(o->keystore_password, "FLUME_SSL_KEYSTORE_PASSWORD");
	e->o.truststore = global_text(o->truststore, "FLUME_SSL_TRUSTSTORE_PATH");
	e->o.truststore_password = global_text(o->truststore_password, "FLUME_SSL_TRUSTSTORE_PASSWORD");
	int rc = global_type(&e->o.keystore_type, "FLUME_SSL_KEYSTORE_TYPE", err);
	rc = rc ? rc : global_type(&e->o.truststore_type, "FLUME_SSL_TRUSTSTORE_TYPE", err);
	rc = rc ? rc : global_list(e, 0, &e->o.include_protocols, "FLUME_SSL_INCLUDE_PROTOCOLS", err);
	rc = rc ? rc : global_list(e, 1, &e->o.exclude_protocols, "FLUME_SSL_EXCLUDE_PROTOCOLS", err);
	rc = rc ? rc : global_list(e, 2, &e->o.include_ciphers, "FLUME_SSL_INCLUDE_CIPHERSUITES", err);
	return rc ? rc : global_list(e, 3, &e->o.exclude_ciphers, "FLUME_SSL_EXCLUDE_CIPHERSUITES", err);
}

/* ---- stores ---- */

static const char *
openssl_text(char *text, size_t size)
{
	unsigned long code = ERR_peek_last_error();
	if (code)
		ERR_error_string_n(code, text, size);
	else
		snprintf(text, size, "unknown error");
	ERR_clear_error();
	return text;
}

struct store {
	EVP_PKEY *key;
	X509 *cert;
	STACK_OF(X509) *others;
};

static void
store_free(struct store *s)
{
	EVP_PKEY_free(s->key);
	X509_free(s->cert);
	sk_X509_pop_free(s->others, X509_free);
}

static int
store_pem(struct store *s, BIO *file, const char *password)
{
	X509 *cert;
	s->others = sk_X509_new_null();
	while ((cert = PEM_read_bio_X509(file, NULL, NULL, NULL)))
		if (!s->cert)
			s->cert = cert;
		else if (!sk_X509_push(s->others, cert))
			X509_free(cert);
	ERR_clear_error();
	if (BIO_seek(file, 0) < 0)
		return -1;
	s->key = PEM_read_bio_PrivateKey(file, NULL, NULL, (void *)password);
	return s->cert ? 0 : -1;
}

/* what: "keystore" or "truststore". */
static int
store_open(struct store *s, const char *what, const char *path, const char *password, uint32_t type, struct err *err)
{
	char text[200];
	memset(s, 0, sizeof *s);
	BIO *file = BIO_new_file(path, "rb");
	if (!file) {
		ERR_clear_error();
		return err_set(err, ENOENT, "%s: \"%s\" cannot be opened: %s", what, path, strerror(errno));
	}
	uint8_t magic[4] = { 0 };
	int n = BIO_read(file, magic, sizeof magic);
	(void)!BIO_seek(file, 0);
	int rc = 0;
	if (n == 4 && (memcmp(magic, "\xfe\xed\xfe\xed", 4) == 0 || memcmp(magic, "\xce\xce\xce\xce", 4) == 0)) {
		rc = err_set(err, ENOTSUP, "%s: \"%s\" is a store of the old %s form: convert it with keytool -importkeystore -srckeystore %s -destkeystore "
			     "NEW -deststoretype PKCS12", what, path, magic[0] == 0xfe ? "JKS" : "JCEKS", path);
	} else if (type == TLS_STORE_PEM) {
		if (store_pem(s, file, password))
			rc = err_set(err, EINVAL, "%s: \"%s\" holds no certificate in PEM form: %s", what, path, openssl_text(text, sizeof text));
	} else {
		PKCS12 *p12 = d2i_PKCS12_bio(file, NULL);
		if (!p12)
			rc = err_set(err, EINVAL, "%s: \"%s\" is no PKCS#12 store: set %s-type = PEM, or convert it with keytool -importkeystore", what, path, what);
		else if (!password || !PKCS12_parse(p12, password, &s->key, &s->cert, &s->others))
			rc = err_set(err, EACCES, "%s: \"%s\" cannot be opened with %s-password: %s", what, path, what,
				     password ? openssl_text(text, sizeof text) : "it is not set");
		PKCS12_free(p12);
	}
	BIO_free(file);
	if (rc)
		store_free(s);
	return rc;
}

static int
use_keystore(SSL_CTX *ctx, const struct tls_options *o, struct err *err)
{
	char text[200];
	struct store s;
	const char *keystore = o->keystore, *password = o->keystore_password;
	if (!keystore)
		return err_set(err, EINVAL, "keystore: must be set with ssl = true (or javax.net.ssl.keyStore, or FLUME_SSL_KEYSTORE_PATH)");
	int rc = store_open(&s, "keystore", keystore, password, o->keystore_type, err);
	if (rc)
		return rc;
	if (!s.key || !s.cert)
		rc = err_set(err, EINVAL, "keystore: \"%s\" holds no private key with its certificate", keystore);
	else if (SSL_CTX_use_certificate(ctx, s.cert) != 1 || SSL_CTX_use_PrivateKey(ctx, s.key) != 1 || SSL_CTX_check_private_key(ctx) != 1)
		rc = err_set(err, EINVAL, "keystore: \"%s\": key and certificate cannot be used: %s", keystore, openssl_text(text, sizeof text));
	for (int i = 0; !rc && s.others && i < sk_X509_num(s.others); i++)
		if (SSL_CTX_add1_chain_cert(ctx, sk_X509_value(s.others, i)) != 1)
			rc = err_set(err, EINVAL, "keystore: \"%s\": its chain cannot be used", keystore);
	store_free(&s);
	return rc;
}

static int
use_truststore(SSL_CTX *ctx, const struct tls_options *o, struct err *err)
{
	struct store s;
	if (!o->truststore)
		return err_set(err, EINVAL, "truststore: must be set to ask for client certificates");
	int rc = store_open(&s, "truststore", o->truststore, o->truststore_password, o->truststore_type, err);
	if (rc)
		return rc;
	X509_STORE *store = SSL_CTX_get_cert_store(ctx);
	int count = 0;
	if (s.cert && X509_STORE_add_cert(store, s.cert) == 1 && SSL_CTX_add_client_CA(ctx, s.cert) == 1)
		count++;
	for (int i = 0; s.others && i < sk_X509_num(s.others); i++)
		if (X509_STORE_add_cert(store, sk_X509_value(s.others, i)) == 1 && SSL_CTX_add_client_CA(ctx, sk_X509_value(s.others, i)) == 1)
			count++;
	if (!count)
		rc = err_set(err, EINVAL, "truststore: \"%s\" holds no certificate", o->truststore);
	store_free(&s);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | (o->client == TLS_CLIENT_NEEDED ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), NULL);
	return rc;
}

/* ---- protocols and ciphers: what Java would enable, then include, then exclude ---- */

static bool
listed(const struct option_list *list, const char *name)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcasecmp(list->items[i], name) == 0)
			return true;
	return false;
}

static bool
enabled(const struct option_list *include, const struct option_list *exclude, const char *name)
{
	return (!include->count || listed(include, name)) && !listed(exclude, name);
}

static int
use_protocols(SSL_CTX *ctx, const struct tls_options *o, struct err *err)
{
	bool v12 = enabled(&o->include_protocols, &o->exclude_protocols, "TLSv1.2"), v13 = enabled(&o->include_protocols, &o->exclude_protocols, "TLSv1.3");
	if (!v12 && !v13)
		return err_set(err, EINVAL, "include-protocols, exclude-protocols: neither TLSv1.2 nor TLSv1.3 is left, older ones are not offered: allow one");
	SSL_CTX_set_min_proto_version(ctx, v12 ? TLS1_2_VERSION : TLS1_3_VERSION);
	SSL_CTX_set_max_proto_version(ctx, v13 ? TLS1_3_VERSION : TLS1_2_VERSION);
	return 0;
}

static int
use_ciphers(SSL_CTX *ctx, const struct tls_options *o, struct err *err)
{
	char older[8192] = "", newer[1024] = "";
	size_t older_len = 0, newer_len = 0;
	if (!o->include_ciphers.count && !o->exclude_ciphers.count)
		return 0;
	STACK_OF(SSL_CIPHER) *all = SSL_CTX_get_ciphers(ctx);
	for (int i = 0; i < sk_SSL_CIPHER_num(all); i++) {
		const SSL_CIPHER *cipher = sk_SSL_CIPHER_value(all, i);
		const char *standard = SSL_CIPHER_standard_name(cipher), *name = SSL_CIPHER_get_name(cipher);
		if (!standard || !enabled(&o->include_ciphers, &o->exclude_ciphers, standard))
			continue;
		bool is_new = strcmp(SSL_CIPHER_get_version(cipher), "TLSv1.3") == 0;
		char *list = is_new ? newer : older;
		size_t *len = is_new ? &newer_len : &older_len, size = is_new ? sizeof newer : sizeof older;
		int n = snprintf(list + *len, size - *len, "%s%s", *len ? ":" : "", name);
		if (n > 0 && (size_t)n < size - *len)
			*len += (size_t)n;
	}
	if (!older_len && !newer_len)
		return err_set(err, EINVAL, "include-cipher-suites, exclude-cipher-suites: no cipher suite is left (names are like TLS_AES_128_GCM_SHA256)");
	if (SSL_CTX_set_ciphersuites(ctx, newer) != 1 || (older_len && SSL_CTX_set_cipher_list(ctx, older) != 1))
		return err_set(err, EINVAL, "include-cipher-suites: OpenSSL refuses them");
	if (!older_len)
		SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
	if (!newer_len)
		SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION);
	return 0;
}

int
tls_server_open(struct tls_server **out, const struct tls_options *options, bool tickets, struct err *err)
{
	struct effective effective = { 0 };
	const struct tls_options *o = &effective.o;
	int rc = effective_of(&effective, options, err);
	if (rc)
		return rc;
	struct tls_server *server = calloc(1, sizeof *server);
	if (!server || !(server->ctx = SSL_CTX_new(TLS_server_method()))) {
		free(server);
		return err_set(err, ENOMEM, "no memory for TLS");
	}
	SSL_CTX *ctx = server->ctx;
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE | (tickets ? 0 : SSL_OP_NO_TICKET));
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_AUTO_RETRY);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_session_id_context(ctx, (const uint8_t *)"penstock", 8);
	if (!tickets)
		SSL_CTX_set_num_tickets(ctx, 0);
	rc = use_keystore(ctx, o, err);
	if (!rc && o->client != TLS_CLIENT_NONE)
		rc = use_truststore(ctx, o, err);
	if (!rc)
		rc = use_protocols(ctx, o, err);
	if (!rc)
		rc = use_ciphers(ctx, o, err);
	if (rc) {
		tls_server_close(server);
		return rc;
	}
	*out = server;
	return 0;
}

void
tls_server_close(struct tls_server *server)
{
	if (!server)
		return;
	SSL_CTX_free(server->ctx);
	free(server);
}

/* ---- sessions ---- */

struct tls_session *
tls_session_new(struct tls_server *server)
{
	struct tls_session *s = calloc(1, sizeof *s);
	if (!s)
		return NULL;
	s->ssl = SSL_new(server->ctx);
	s->in = BIO_new(BIO_s_mem());
	s->out = BIO_new(BIO_s_mem());
	if (!s->ssl || !s->in || !s->out) {
		SSL_free(s->ssl);
		BIO_free(s->in);
		BIO_free(s->out);
		free(s);
		return NULL;
	}
	SSL_set_bio(s->ssl, s->in, s->out);
	SSL_set_accept_state(s->ssl);
	return s;
}

void
tls_session_free(struct tls_session *s)
{
	if (!s)
		return;
	SSL_free(s->ssl);	/* and its BIOs */
	free(s);
}

uint32_t
tls_input(struct tls_session *s, const uint8_t *bytes, uint32_t len, bool *record)
{
	uint32_t n = 0;
	*record = false;
	while (n < len && s->header_len < RECORD_HEADER) {
		s->header[s->header_len++] = bytes[n++];
		if (s->header_len == RECORD_HEADER)
			s->left = (uint32_t)s->header[3] << 8 | s->header[4];
	}
	if (s->header_len == RECORD_HEADER) {
		uint32_t body = len - n < s->left ? len - n : s->left;
		n += body;
		s->left -= body;
		if (!s->left) {
			*record = true;
			s->header_len = 0;
		}
	}
	if (BIO_write(s->in, bytes, (int)n) != (int)n)
		snprintf(s->error, sizeof s->error, "no memory");
	return n;
}

int
tls_read(struct tls_session *s, uint8_t *plain, uint32_t room)
{
	if (*s->error)
		return -EPROTO;
	ERR_clear_error();
	int n = SSL_read(s->ssl, plain, (int)room);
	if (n > 0)
		return n;
	switch (SSL_get_error(s->ssl, n)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return 0;
	case SSL_ERROR_ZERO_RETURN:
		return -ECONNRESET;
	default:
		openssl_text(s->error, sizeof s->error);
		return -EPROTO;
	}
}

int
tls_write(struct tls_session *s, const void *bytes, uint32_t len)
{
	if (*s->error || !len)
		return *s->error ? -EPROTO : 0;
	ERR_clear_error();
	return SSL_write(s->ssl, bytes, (int)len) == (int)len ? 0 : -EPROTO;
}

void
tls_end(struct tls_session *s)
{
	ERR_clear_error();
	if (!*s->error && SSL_is_init_finished(s->ssl))
		SSL_shutdown(s->ssl);
	ERR_clear_error();
}

uint32_t
tls_output(struct tls_session *s, const uint8_t **bytes)
{
	char *data;
	long len = BIO_get_mem_data(s->out, &data);
	*bytes = (const uint8_t *)data;
	return len > 0 ? (uint32_t)len : 0;
}

void
tls_sent(struct tls_session *s, uint32_t len)
{
	uint8_t sink[4096];
	while (len) {
		int n = BIO_read(s->out, sink, (int)(len < sizeof sink ? len : sizeof sink));
		if (n <= 0)
			return;
		len -= (uint32_t)n;
	}
}

bool
tls_established(const struct tls_session *s)
{
	return SSL_is_init_finished(s->ssl);
}

const char *
tls_error(const struct tls_session *s)
{
	return s->error;
}
