/* kafka_mock TOPIC...: brokers that need no server, with topics of one partition, also of names that Kafka itself would not let stand beside each other.
 * Prints their addresses, and ends with its input. */
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>

int
main(int argc, char **argv)
{
	char text[256];
	rd_kafka_t *client = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), text, sizeof text);
	rd_kafka_mock_cluster_t *cluster = client ? rd_kafka_mock_cluster_new(client, 1) : NULL;
	for (int i = 1; cluster && i < argc; i++)
		if (rd_kafka_mock_topic_create(cluster, argv[i], 1, 1) != RD_KAFKA_RESP_ERR_NO_ERROR)
			return 1;
	if (!cluster)
		return 1;
	printf("%s\n", rd_kafka_mock_cluster_bootstraps(cluster));
	fflush(stdout);
	while (getchar() != EOF)
		;
	rd_kafka_mock_cluster_destroy(cluster);
	rd_kafka_destroy(client);
	return 0;
}
