/* Shared by the Kafka files of the batch loader. */
#ifndef PENSTOCK_CAMUS_KAFKA_CLIENT_H
#define PENSTOCK_CAMUS_KAFKA_CLIENT_H

#include <librdkafka/rdkafka.h>

#include "camus/job.h"

/* How much a consumer holds: records that wait (more are asked for while less than both waits), and one answer of a broker. */
struct kafka_room {
	uint64_t bytes, messages, response;
};
struct kafka_room kafka_room(uint64_t fetch_memory);

/* A consumer that assigns by hand and stays within fetch_memory bytes (plus one answer for each further broker). NULL with err. */
rd_kafka_t *kafka_consumer_new(const struct camus_conf *conf, uint64_t fetch_memory, struct err *err);
void kafka_consumer_free(rd_kafka_t *consumer);
/* To be called when a full queue was emptied: librdkafka 2.0 looks only once a second whether there is room again, unless something wakes it. The one
 * call that does and costs nothing sets the credentials (to what they are). Any thread. */
void kafka_consumer_wake(rd_kafka_t *consumer);

int64_t kafka_time_ms(const rd_kafka_message_t *message);	/* -1: none */
uint32_t kafka_checksum(const void *key, size_t key_len, const void *value, size_t value_len);
struct fingerprint kafka_fingerprint(const rd_kafka_message_t *message);

#endif
