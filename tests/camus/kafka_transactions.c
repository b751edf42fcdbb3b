/* kafka_transactions BROKERS TOPIC PARTITION: standard input's lines as transactions: `commit N WORD` sends N records {"timestamp":...,"n":"WORD i"} and
 * commits them, `abort N WORD` sends them and takes them back, `open N WORD` leaves them undecided. */
#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAIT_MS 120000

static int
check(rd_kafka_error_t *error, const char *what)
{
	if (!error)
		return 0;
	fprintf(stderr, "kafka_transactions: %s: %s\n", what, rd_kafka_error_string(error));
	rd_kafka_error_destroy(error);
	return 1;
}

int
main(int argc, char **argv)
{
	char text[256], verb[16], name[64], id[64];
	int count;
	if (argc != 4) {
		fprintf(stderr, "usage: kafka_transactions BROKERS TOPIC PARTITION\n");
		return 2;
	}
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	snprintf(id, sizeof id, "test-%.40s-%.8s", argv[2], argv[3]);
	if (rd_kafka_conf_set(conf, "bootstrap.servers", argv[1], text, sizeof text) != RD_KAFKA_CONF_OK ||
	    rd_kafka_conf_set(conf, "transactional.id", id, text, sizeof text) != RD_KAFKA_CONF_OK ||
	    /* what is left open is to be open until the test says otherwise */
	    rd_kafka_conf_set(conf, "transaction.timeout.ms", "600000", text, sizeof text) != RD_KAFKA_CONF_OK)
		return 1;
	rd_kafka_t *client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
	int rc = !client || check(rd_kafka_init_transactions(client, WAIT_MS), "init");
	bool open = false;
	while (!rc && scanf("%15s %d %63s", verb, &count, name) == 3) {
		rc = check(rd_kafka_begin_transaction(client), "begin");
		for (int i = 0; i < count && !rc; i++) {
			int len = snprintf(text, sizeof text, "{\"timestamp\":%lld,\"n\":\"%s %d\"}", 1396130000000LL + i, name, i);
			rc = rd_kafka_producev(client, RD_KAFKA_V_TOPIC(argv[2]), RD_KAFKA_V_PARTITION(atoi(argv[3])), RD_KAFKA_V_VALUE(text, (size_t)len),
				RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END) != RD_KAFKA_RESP_ERR_NO_ERROR;
		}
		rc = rc || rd_kafka_flush(client, WAIT_MS) != RD_KAFKA_RESP_ERR_NO_ERROR;
		if (!rc && strcmp(verb, "commit") == 0)
			rc = check(rd_kafka_commit_transaction(client, WAIT_MS), "commit");
		else if (!rc && strcmp(verb, "abort") == 0)
			rc = check(rd_kafka_abort_transaction(client, WAIT_MS), "abort");
		else
			open = true;
	}
	/* A client that goes with a transaction open leaves it to the broker. */
	if (client && !open)
		rd_kafka_destroy(client);
	return rc;
}
