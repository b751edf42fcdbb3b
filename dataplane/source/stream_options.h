/* stream_options: what every source over TCP can be told about its connections. */
#ifndef PENSTOCK_DATAPLANE_SOURCE_STREAM_OPTIONS_H
#define PENSTOCK_DATAPLANE_SOURCE_STREAM_OPTIONS_H

#include "base/err.h"
#include "base/option.h"
#include "base/tls.h"

enum stream_ack { ACK_AUTO, ACK_RECEIVED, ACK_DURABLE };
extern const char *const stream_ack_choices[];

struct stream_options {
	struct option_list allow;
	uint32_t ack;			/* enum stream_ack */
	uint32_t connections;
	uint64_t idle_ns, frame_ns;
	struct tls_options tls;
};

/* Lines of an option table; `member` is the struct stream_options in the config struct, `idle` the default idle timeout as text. */
#define STREAM_OPTIONS(config, member, idle) \
	{ "penstock.allow", OPT_LIST, offsetof(config, member.allow), NULL, 0, 0, NULL, \
	  "Senders taken, as prefixes (10.0.0.0/8); all when not set." }, \
	{ "ack", OPT_CHOICE, offsetof(config, member.ack), "auto", 0, 0, NULL, \
	  "What the TCP acknowledgement promises: received, or durable (data ports only); auto: durable where the source sends no replies, its " \
	  "channels are durable and it listens on a data port.", .choices = stream_ack_choices, .old_names = "penstock.ack" }, \
	{ "penstock.connections.max", OPT_U32, offsetof(config, member.connections), "65536", 1, 16777216, "connections", \
	  "Most connections at once, per address and thread." }, \
	{ "penstock.idle.timeout", OPT_U64, offsetof(config, member.idle_ns), idle, 0, 0, NULL, \
	  "A connection without a byte for so long is closed; 0: never.", OPTION_DURATION }, \
	{ "penstock.frame.timeout", OPT_U64, offsetof(config, member.frame_ns), "60s", 0, 0, NULL, \
	  "A message or handshake not complete after so long resets its connection, and so does a request of which not another 16 KiB came, and a peer that "\
	  "takes no replies for so long; 0: never.", OPTION_DURATION }, \
	{ "ssl", OPT_BOOL, offsetof(config, member.tls.on), "false", 0, 0, NULL, "Speak TLS.", .old_names = "enableSSL" }, \
	{ "keystore", OPT_STRING, offsetof(config, member.tls.keystore), NULL, 0, 0, NULL, \
	  "File with private key and certificate; javax.net.ssl.keyStore or FLUME_SSL_KEYSTORE_PATH when not set." }, \
	{ "keystore-password", OPT_STRING, offsetof(config, member.tls.keystore_password), NULL, 0, 0, NULL, \
	  "Its password; javax.net.ssl.keyStorePassword or FLUME_SSL_KEYSTORE_PASSWORD when not set.", OPTION_SECRET, .old_names = "keystorePassword" }, \
	{ "keystore-type", OPT_CHOICE, offsetof(config, member.tls.keystore_type), "JKS", 0, 0, NULL, \
	  "JKS (as today's keytool writes it), PKCS12, or PEM.", .choices = tls_store_choices }, \
	{ "include-protocols", OPT_LIST, offsetof(config, member.tls.include_protocols), NULL, 0, 0, NULL, \
	  "Only these of TLSv1.2, TLSv1.3; both when not set." }, \
	{ "exclude-protocols", OPT_LIST, offsetof(config, member.tls.exclude_protocols), NULL, 0, 0, NULL, "Not these.", \
	  .old_names = "excludeProtocols" }, \
	{ "include-cipher-suites", OPT_LIST, offsetof(config, member.tls.include_ciphers), NULL, 0, 0, NULL, \
	  "Only these, by names such as TLS_AES_128_GCM_SHA256." }, \
	{ "exclude-cipher-suites", OPT_LIST, offsetof(config, member.tls.exclude_ciphers), NULL, 0, 0, NULL, "Not these." }, \
	{ "truststore", OPT_STRING, offsetof(config, member.tls.truststore), NULL, 0, 0, NULL, \
	  "File with the certificates that client certificates must come from; javax.net.ssl.trustStore or FLUME_SSL_TRUSTSTORE_PATH when not set." }, \
	{ "truststore-password", OPT_STRING, offsetof(config, member.tls.truststore_password), NULL, 0, 0, NULL, "Its password.", OPTION_SECRET }, \
	{ "truststore-type", OPT_CHOICE, offsetof(config, member.tls.truststore_type), "JKS", 0, 0, NULL, "JKS, PKCS12, or PEM.", \
	  .choices = tls_store_choices }, \
	{ "penstock.client.certificate", OPT_CHOICE, offsetof(config, member.tls.client), "none", 0, 0, NULL, \
	  "Ask clients for a certificate: none, wanted or needed.", .choices = tls_client_choices }

/* 0 or -EINVAL. Control. */
int stream_options_check(const struct stream_options *options, const char *source, struct err *err);

#endif
