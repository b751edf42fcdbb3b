/* kafka_conf: properties of Java's Kafka clients, as Flume files have them, set on a configuration of librdkafka.
 *
 * Shared by everything that speaks Kafka. A property that librdkafka has under another name or unit is translated; one that only
 * tunes the Java client is told of and ignored; one that would change what the operator gets is refused by name, with what to use.
 * librdkafka's own names are taken too. Control thread. */
#ifndef PENSTOCK_CHANNEL_KAFKA_CONF_H
#define PENSTOCK_CHANNEL_KAFKA_CONF_H

#include "base/err.h"

struct rd_kafka_conf_s;

enum kafka_role { KAFKA_PRODUCER, KAFKA_CONSUMER };

/* Java's defaults where they differ from librdkafka's and matter: partitioner, delivery.timeout.ms. 0 or -EINVAL. */
int kafka_conf_defaults(struct rd_kafka_conf_s *conf, enum kafka_role role, struct err *err);
/* One property, without "kafka.producer." in front. 0 or -EINVAL. */
int kafka_conf_set(struct rd_kafka_conf_s *conf, enum kafka_role role, const char *key, const char *value, struct err *err);

#endif
