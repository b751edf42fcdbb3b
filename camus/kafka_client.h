/* Shared by the Kafka files of the batch loader. */
#ifndef PENSTOCK_CAMUS_KAFKA_CLIENT_H
#define PENSTOCK_CAMUS_KAFKA_CLIENT_H

#include <librdkafka/rdkafka.h>

#include "camus/job.h"

/* A consumer that assigns by hand. fetch_memory: bytes of its queue. NULL with err. */
rd_kafka_t *kafka_consumer_new(const struct camus_conf *conf, uint64_t fetch_memory, struct err *err);
void kafka_consumer_free(rd_kafka_t *consumer);
struct fingerprint kafka_fingerprint(const rd_kafka_message_t *message);

#endif
