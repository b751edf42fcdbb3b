#include "channel/kafka_conf.h"

#include <ctype.h>
#include <errno.h>
#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"

enum how {
	RENAMED,	/* the same value under `to` */
	KILOBYTES,	/* bytes in Java, KiB in librdkafka */
	IGNORED,	/* `to` says why it does nothing here */
	REFUSED,	/* `to` says what to use */
};

/* What librdkafka calls the same way is not listed. */
static const struct {
	const char *key;
	enum how how;
	const char *to;
} table[] = {
	{ "acks", RENAMED, "request.required.acks" },
	{ "compression.type", RENAMED, "compression.codec" },
	{ "batch.size", RENAMED, "batch.size" },
	{ "buffer.memory", KILOBYTES, "queue.buffering.max.kbytes" },
	{ "retries", RENAMED, "message.send.max.retries" },
	{ "delivery.timeout.ms", RENAMED, "message.timeout.ms" },
	{ "request.timeout.ms", RENAMED, "request.timeout.ms" },
	{ "max.request.size", RENAMED, "message.max.bytes" },
	{ "send.buffer.bytes", RENAMED, "socket.send.buffer.bytes" },
	{ "receive.buffer.bytes", RENAMED, "socket.receive.buffer.bytes" },
	{ "metadata.max.age.ms", RENAMED, "topic.metadata.refresh.interval.ms" },
	{ "ssl.key.password", RENAMED, "ssl.key.password" },
	{ "ssl.cipher.suites", RENAMED, "ssl.cipher.suites" },
	{ "max.block.ms", IGNORED, "the log holds the events while Kafka is away" },
	{ "linger.ms", RENAMED, "linger.ms" },
	{ "key.serializer", IGNORED, "keys are sent as they are" },
	{ "value.serializer", IGNORED, "bodies are sent as they are; see useFlumeEventFormat" },
	{ "key.serializer.class", IGNORED, "keys are sent as they are" },
	{ "serializer.class", IGNORED, "bodies are sent as they are; see useFlumeEventFormat" },
	{ "client.dns.lookup", RENAMED, "client.dns.lookup" },
	{ "metrics.num.samples", IGNORED, "metrics of the Java client" },
	{ "metrics.recording.level", IGNORED, "metrics of the Java client" },
	{ "metrics.sample.window.ms", IGNORED, "metrics of the Java client" },
	{ "auto.include.jmx.reporter", IGNORED, "metrics of the Java client" },
	{ "metadata.max.idle.ms", IGNORED, "tunes the Java client only" },
	{ "partitioner.adaptive.partitioning.enable", IGNORED, "tunes the Java client only" },
	{ "partitioner.availability.timeout.ms", IGNORED, "tunes the Java client only" },
	{ "ssl.protocol", IGNORED, "the newest version of TLS both sides know is used" },
	{ "ssl.enabled.protocols", IGNORED, "the newest version of TLS both sides know is used" },
	{ "ssl.secure.random.implementation", IGNORED, "OpenSSL's own is used" },
	{ "sasl.kerberos.ticket.renew.jitter", IGNORED, "tunes the Java client only" },
	{ "sasl.kerberos.ticket.renew.window.factor", IGNORED, "tunes the Java client only" },
	{ "metric.reporters", REFUSED, "Java classes cannot be loaded; penstock serves its metrics over HTTP" },
	{ "interceptor.classes", REFUSED, "Java classes cannot be loaded; use penstock's interceptors" },
	{ "partitioner.ignore.keys", REFUSED, "use partitioner = random" },
	{ "security.providers", REFUSED, "Java classes cannot be loaded" },
	{ "ssl.provider", REFUSED, "OpenSSL is used" },
	{ "ssl.trustmanager.algorithm", REFUSED, "OpenSSL is used; give ssl.ca.location" },
	{ "ssl.keymanager.algorithm", REFUSED, "OpenSSL is used; give ssl.keystore.location" },
	{ "ssl.engine.factory.class", REFUSED, "Java classes cannot be loaded; OpenSSL is used" },
	{ "ssl.truststore.password", IGNORED, "only JKS stores need it; certificates of authorities are read from a PEM file" },
	{ "ssl.truststore.certificates", RENAMED, "ssl.ca.pem" },
	{ "ssl.keystore.certificate.chain", RENAMED, "ssl.certificate.pem" },
	{ "ssl.keystore.key", RENAMED, "ssl.key.pem" },
	{ "sasl.login.class", REFUSED, "Java classes cannot be loaded; use sasl.mechanism with sasl.username and sasl.password" },
	{ "sasl.login.callback.handler.class", REFUSED, "Java classes cannot be loaded; use sasl.mechanism with sasl.username and sasl.password" },
	{ "sasl.client.callback.handler.class", REFUSED, "Java classes cannot be loaded; use sasl.mechanism with sasl.username and sasl.password" },
	{ "transactional.id", REFUSED, "Kafka transactions are not supported by this sink yet; leave it out (delivery is at least once)" },
	{ "transaction.timeout.ms", REFUSED, "Kafka transactions are not supported by this sink yet; leave it out" },
};

static int
set(rd_kafka_conf_t *conf, const char *key, const char *to, const char *value, struct err *err)
{
	char text[512] = "";
	switch (rd_kafka_conf_set(conf, to, value, text, sizeof text)) {
	case RD_KAFKA_CONF_OK:
		return 0;
	case RD_KAFKA_CONF_UNKNOWN:
		return err_set(err, EINVAL, "%s is not supported: it is no property of a Kafka client that penstock knows; leave it out or use "
			"librdkafka's name", key);
	default:
		return err_set(err, EINVAL, "%s: the value cannot be used: %s", key, text);
	}
}

/* value of word="..." in a JAAS line. */
static bool
jaas_word(const char *jaas, const char *word, char *text, size_t room)
{
	size_t len = strlen(word);
	for (const char *p = jaas; (p = strstr(p, word)); p += len) {
		const char *q = p + len;
		while (isspace((unsigned char)*q))
			q++;
		if ((p > jaas && !isspace((unsigned char)p[-1])) || *q != '=')
			continue;
		q++;
		while (isspace((unsigned char)*q))
			q++;
		char quote = *q == '"' || *q == '\'' ? *q++ : '\0';
		size_t n = 0;
		while (*q && (quote ? *q != quote : !isspace((unsigned char)*q) && *q != ';')) {
			if (quote && *q == '\\' && q[1])
				q++;
			if (n + 1 >= room)
				return false;
			text[n++] = *q++;
		}
		text[n] = '\0';
		return true;
	}
	return false;
}

static int
jaas_set(rd_kafka_conf_t *conf, const char *key, const char *value, struct err *err)
{
	char text[512];
	if (!strstr(value, "PlainLoginModule") && !strstr(value, "ScramLoginModule"))
		return err_set(err, EINVAL, "%s: only PlainLoginModule and ScramLoginModule are understood; for Kerberos use sasl.kerberos.keytab "
			"and sasl.kerberos.principal", key);
	if (!jaas_word(value, "username", text, sizeof text))
		return err_set(err, EINVAL, "%s: no username=\"...\" in it", key);
	int rc = set(conf, key, "sasl.username", text, err);
	if (rc)
		return rc;
	if (!jaas_word(value, "password", text, sizeof text))
		return err_set(err, EINVAL, "%s: no password=\"...\" in it", key);
	return set(conf, key, "sasl.password", text, err);
}

static bool
ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);
	return n >= m && strcasecmp(text + n - m, end) == 0;
}

/* Those that need more than another name. 1: not one of them. */
static int
special_set(rd_kafka_conf_t *conf, enum kafka_role role, const char *key, const char *value, struct err *err)
{
	if (strcmp(key, "sasl.jaas.config") == 0)
		return jaas_set(conf, key, value, err);
	if (strcmp(key, "ssl.endpoint.identification.algorithm") == 0) {
		bool none = value[0] == '\0' || strcasecmp(value, "none") == 0;
		return set(conf, key, key, none ? "none" : value, err);
	}
	if (strcmp(key, "ssl.disableTLSHostnameVerification") == 0)
		return strcasecmp(value, "true") == 0 ? set(conf, key, "ssl.endpoint.identification.algorithm", "none", err) : 0;
	if (strcmp(key, "ssl.truststore.type") == 0) {
		if (strcasecmp(value, "PEM") == 0)
			return 0;
		return err_set(err, EINVAL, "%s \"%s\" is not supported: write the certificates into a PEM file (keytool -exportcert -rfc) and use "
			"ssl.truststore.type = PEM", key, value);
	}
	if (strcmp(key, "ssl.truststore.location") == 0) {
		if (ends_with(value, ".jks") || ends_with(value, ".p12") || ends_with(value, ".pfx"))
			return err_set(err, EINVAL, "%s \"%s\": this kind of store is not supported: write the certificates into a PEM file (keytool "
				"-exportcert -rfc) and name that", key, value);
		return set(conf, key, "ssl.ca.location", value, err);
	}
	if (strcmp(key, "ssl.keystore.type") == 0) {
		if (strcasecmp(value, "PKCS12") == 0)
			return 0;
		return err_set(err, EINVAL, "%s \"%s\" is not supported: use PKCS12 (keytool -importkeystore -deststoretype PKCS12), or "
			"ssl.certificate.location and ssl.key.location with PEM files", key, value);
	}
	if (strcmp(key, "ssl.keystore.location") == 0 && ends_with(value, ".jks"))
		return err_set(err, EINVAL, "%s \"%s\": JKS is not supported: convert it (keytool -importkeystore -deststoretype PKCS12)", key, value);
	if (role == KAFKA_PRODUCER && strcmp(key, "partitioner.class") == 0) {
		if (ends_with(value, ".DefaultPartitioner") || ends_with(value, ".UniformStickyPartitioner"))
			return set(conf, key, "partitioner", ends_with(value, ".DefaultPartitioner") ? "murmur2_random" : "random", err);
		if (ends_with(value, ".RoundRobinPartitioner"))
			return set(conf, key, "partitioner", "random", err);
		return err_set(err, EINVAL, "%s \"%s\" is not supported: Java classes cannot be loaded; use partitioner = murmur2_random, random or "
			"consistent_random", key, value);
	}
	return 1;
}

int
kafka_conf_defaults(struct rd_kafka_conf_s *conf, enum kafka_role role, struct err *err)
{
	if (role != KAFKA_PRODUCER)
		return 0;
	int rc = set(conf, "partitioner", "partitioner", "murmur2_random", err);	/* keys go where Java sends them */
	return rc ? rc : set(conf, "delivery.timeout.ms", "message.timeout.ms", "120000", err);
}

int
kafka_conf_set(struct rd_kafka_conf_s *conf, enum kafka_role role, const char *key, const char *value, struct err *err)
{
	int rc = special_set(conf, role, key, value, err);
	if (rc <= 0)
		return rc;
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		if (strcmp(table[i].key, key) != 0)
			continue;
		switch (table[i].how) {
		case RENAMED:
			if (strcmp(key, "retries") == 0 && strtoll(value, NULL, 10) > INT32_MAX - 1)
				value = "2147483646";
			return set(conf, key, table[i].to, value, err);
		case KILOBYTES: {
			char *end, text[32];
			long long bytes = strtoll(value, &end, 10);
			if (*end || end == value || bytes < 1024)
				return err_set(err, EINVAL, "%s \"%s\": want a number of bytes, at least 1024", key, value);
			snprintf(text, sizeof text, "%lld", bytes / 1024);
			return set(conf, key, table[i].to, text, err);
		}
		case IGNORED:
			log_warn("Kafka property %s does nothing here: %s", key, table[i].to);
			return 0;
		case REFUSED:
			return err_set(err, EINVAL, "%s is not supported: %s", key, table[i].to);
		}
	}
	return set(conf, key, key, value, err);
}
