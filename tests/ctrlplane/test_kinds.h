/* Kinds for the configuration tests: modelled on real ones, but apart from them, so that *.ok files change only with the reader. */
#ifndef PENSTOCK_TEST_KINDS_H
#define PENSTOCK_TEST_KINDS_H

#include <errno.h>

#include "ctrlplane/registry.h"
#include "sinks/processor.h"

struct udp_config {
	const char *host, *keep_fields;
	uint32_t port;
	struct option_list allow;
};

static const struct option udp_options[] = {
	{ "port", OPT_U32, offsetof(struct udp_config, port), NULL, 1, 65535, NULL, "UDP port.", OPTION_REQUIRED },
	{ "host", OPT_STRING, offsetof(struct udp_config, host), NULL, .help = "Address to listen on.", .old_names = "bindAddress" },
	{ "keepFields", OPT_STRING, offsetof(struct udp_config, keep_fields), "none" },
	{ "penstock.allow", OPT_LIST, offsetof(struct udp_config, allow), NULL },
	{ "format.regex", OPT_STRING, 0, NULL, .flags = OPTION_REFUSED, .note = "use a regex_extractor interceptor" },
	{ NULL },
};

struct store_config {
	const char *dir;
	uint32_t capacity, transaction_capacity;
};

static const struct option store_options[] = {
	{ "dataDirs", OPT_STRING, offsetof(struct store_config, dir), "/tmp/data" },
	{ "checkpointDir", OPT_STRING, 0, NULL, .flags = OPTION_NO_MEANING, .note = "the log keeps its checkpoint with its data" },
	{ "capacity", OPT_U32, offsetof(struct store_config, capacity), "1000000", 1, INT32_MAX, "events" },
	{ "transactionCapacity", OPT_U32, offsetof(struct store_config, transaction_capacity), "10000", 1, INT32_MAX, "events" },
	{ NULL },
};

static int
store_check(const void *config, const char *name, struct err *err)
{
	const struct store_config *store = config;
	if (store->transaction_capacity > store->capacity)
		return err_set(err, EINVAL, "transactionCapacity %u of %s is larger than its capacity %u: make it smaller", store->transaction_capacity, name, store->capacity);
	return 0;
}

struct out_config {
	const char *dir, *password;
	uint32_t batch, interval;
	uint64_t linger_ns;
	bool append;
	struct option_family producer;
};

static const struct option out_options[] = {
	{ "sink.directory", OPT_STRING, offsetof(struct out_config, dir), NULL, .help = "Where files go.", .flags = OPTION_REQUIRED },
	{ "sink.rollInterval", OPT_U32, offsetof(struct out_config, interval), "30", .unit = "s" },
	{ "batchSize", OPT_U32, offsetof(struct out_config, batch), "100", 1, 1000000, "events", .old_names = "sink.batchSize" },
	{ "password", OPT_STRING, offsetof(struct out_config, password), NULL, .flags = OPTION_SECRET },
	{ "append", OPT_BOOL, offsetof(struct out_config, append), "false" },
	{ "penstock.linger", OPT_U64, offsetof(struct out_config, linger_ns), "5ms", .flags = OPTION_DURATION },
	{ "kafka.producer.", OPT_FAMILY, offsetof(struct out_config, producer) },
	{ NULL },
};

static uint32_t
out_batch(const void *config)
{
	return ((const struct out_config *)config)->batch;
}

struct filter_config {
	const char *regex, *header;
	bool exclude;
	struct option_family serializers;
};

static const struct option filter_options[] = {
	{ "regex", OPT_STRING, offsetof(struct filter_config, regex), ".*" },
	{ "excludeEvents", OPT_BOOL, offsetof(struct filter_config, exclude), "false" },
	{ "serializers.", OPT_FAMILY, offsetof(struct filter_config, serializers) },
	{ NULL },
};
static const struct option stamp_options[] = {
	{ "headerName", OPT_STRING, offsetof(struct filter_config, header), "timestamp", .old_names = "header" },
	{ NULL },
};

static const struct kind test_sources[] = {
	{ "syslogudp", "org.apache.flume.source.SyslogUDPSource", "Syslog datagrams.", udp_options, sizeof(struct udp_config) },
};
static const struct kind test_channels[] = {
	{ "file", "org.apache.flume.channel.file.FileChannel", "Durable.", store_options, sizeof(struct store_config), store_check },
	{ "memory", "org.apache.flume.channel.MemoryChannel", "Not durable.", store_options, sizeof(struct store_config), store_check },
};
static const struct kind test_sinks[] = {
	{ "file_roll", "org.apache.flume.sink.RollingFileSink", "Files.", out_options, sizeof(struct out_config), NULL, out_batch },
	{ "null", "org.apache.flume.sink.NullSink", "Nothing.", out_options + 6, sizeof(struct out_config) },
};
static const struct kind test_interceptors[] = {
	{ "regex_filter", "org.apache.flume.interceptor.RegexFilteringInterceptor$Builder", "Keeps or drops.", filter_options, sizeof(struct filter_config) },
	{ "timestamp", "org.apache.flume.interceptor.TimestampInterceptor$Builder", "Time.", stamp_options, sizeof(struct filter_config) },
};

/* As the room's own, without its judgement of members. */
static const struct processor_ops test_one_sink = { .name = "default", .members_min = 1, .members_max = 1 };
static const struct processor_ops test_two_sinks = { .name = "failover", .members_min = 2, .members_max = 2 };
static const struct option failover_test_options[] = {
	{ "priority.", OPT_FAMILY, offsetof(struct filter_config, serializers) },
	{ NULL },
};
static const struct kind test_processors[] = {
	{ "default", "org.apache.flume.sink.DefaultSinkProcessor", "One.", NULL, sizeof(struct filter_config), .ops = &test_one_sink },
	{ "failover", "org.apache.flume.sink.FailoverSinkProcessor", "The first that lives.", failover_test_options, sizeof(struct filter_config), .ops = &test_two_sinks },
};

static inline void
test_kinds_fill(void)
{
	registry_set(KIND_SOURCE, test_sources, sizeof test_sources / sizeof *test_sources);
	registry_set(KIND_CHANNEL, test_channels, sizeof test_channels / sizeof *test_channels);
	registry_set(KIND_SINK, test_sinks, sizeof test_sinks / sizeof *test_sinks);
	registry_set(KIND_PROCESSOR, test_processors, sizeof test_processors / sizeof *test_processors);
	registry_set(KIND_INTERCEPTOR, test_interceptors, sizeof test_interceptors / sizeof *test_interceptors);
}

#endif
