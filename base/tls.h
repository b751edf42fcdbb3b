/* tls: the server's side of TLS as a filter between bytes and bytes (OpenSSL over memory BIOs): no socket, no thread. The same above kernel sockets and the
 * lcore's TCP. OpenSSL is included by tls.c alone.
 *
 * tls_server: control opens and closes it; its sessions belong to one thread (a server is opened once a thread). */
#ifndef PENSTOCK_BASE_TLS_H
#define PENSTOCK_BASE_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/option.h"

enum tls_store { TLS_STORE_JKS, TLS_STORE_PKCS12, TLS_STORE_PEM };	/* JKS: a store of that name that holds PKCS#12, as keytool has written since Java 9 */
enum tls_client { TLS_CLIENT_NONE, TLS_CLIENT_WANTED, TLS_CLIENT_NEEDED };
extern const char *const tls_store_choices[], *const tls_client_choices[];

struct tls_options {
	bool on;
	const char *keystore, *keystore_password;
	uint32_t keystore_type;		/* enum tls_store */
	struct option_list include_protocols, exclude_protocols, include_ciphers, exclude_ciphers;
	const char *truststore, *truststore_password;
	uint32_t truststore_type;
	uint32_t client;		/* enum tls_client */
};

struct tls_server;
struct tls_session;

/* A system property of Java's that says something for every component (-Djavax.net.ssl.keyStore=...): remembered, stronger than the environment's
 * FLUME_SSL_*, weaker than a component's own option. False: it is none of them. Control, before any component is made. */
bool tls_system_property(const char *name, const char *value);

/* What no option says is the system properties' or the environment's to say. Errors name option, value and remedy. tickets: sessions may be resumed
 * (not for sources whose senders write and close at once: a ticket that meets a closed
 * socket makes the kernel there throw away what it had not sent). */
int tls_server_open(struct tls_server **server, const struct tls_options *options, bool tickets, struct err *err);
void tls_server_close(struct tls_server *server);

struct tls_session *tls_session_new(struct tls_server *server);	/* NULL: no memory */
void tls_session_free(struct tls_session *session);

#define TLS_PLAIN_MAX 16384u		/* of one record */

/* Takes ciphertext up to the end of the record under way, so that what tls_read gives then ends where that record ends. Returns the bytes taken, at least 1;
 * *record: a record is complete now. */
uint32_t tls_input(struct tls_session *session, const uint8_t *bytes, uint32_t len, bool *record);
/* Plaintext of what was taken. > 0: bytes; 0: no more now; -ECONNRESET: the peer has closed in order; -EPROTO: a failure, the alert lies in the output. */
int tls_read(struct tls_session *session, uint8_t *plain, uint32_t room);
/* 0, or -EPROTO (not yet established, or broken). The ciphertext lies in the output. */
int tls_write(struct tls_session *session, const void *bytes, uint32_t len);
/* close_notify into the output. */
void tls_end(struct tls_session *session);
/* Ciphertext to be sent; tls_sent takes it away. */
uint32_t tls_output(struct tls_session *session, const uint8_t **bytes);
void tls_sent(struct tls_session *session, uint32_t len);
/* The handshake is done. */
bool tls_established(const struct tls_session *session);
/* Why it failed, for humans. */
const char *tls_error(const struct tls_session *session);

#endif
