#include "ctrlplane/registry.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/pool.h"

const char *const kind_word[KIND_COUNT] = { "source", "channel", "sink", "interceptor", "processor" };
const char *const kind_words[KIND_COUNT] = { "sources", "channels", "sinks", "interceptors", "processors" };

static struct {
	const struct kind *kinds;
	size_t count;
} registry[KIND_COUNT];

/* Flume's own names (1.9 to trunk), alias first, with the classes behind it; "-" where Flume has no alias. */
static const char *const flume_types[KIND_COUNT][24] = {
	[KIND_SOURCE] = {
		"seq org.apache.flume.source.SequenceGeneratorSource", "netcat org.apache.flume.source.NetcatSource",
		"netcatudp org.apache.flume.source.NetcatUdpSource", "exec org.apache.flume.source.ExecSource",
		"avro org.apache.flume.source.AvroSource org.apache.flume.rpc.avro.source.AvroSource",
		"thrift org.apache.flume.source.ThriftSource org.apache.flume.rpc.thrift.source.ThriftSource",
		"syslogtcp org.apache.flume.source.SyslogTcpSource", "multiport_syslogtcp org.apache.flume.source.MultiportSyslogTCPSource",
		"syslogudp org.apache.flume.source.SyslogUDPSource", "spooldir org.apache.flume.source.SpoolDirectorySource",
		"http org.apache.flume.source.http.HTTPSource", "jms org.apache.flume.source.jms.JMSSource",
		"taildir org.apache.flume.source.taildir.TaildirSource", "- org.apache.flume.source.kafka.KafkaSource",
		"- org.apache.flume.source.StressSource", "- org.apache.flume.source.twitter.TwitterSource",
		"- org.apache.flume.source.scribe.ScribeSource", "- org.apache.flume.source.avroLegacy.AvroLegacySource",
		"- org.apache.flume.source.thriftLegacy.ThriftLegacySource", "- org.apache.flume.agent.embedded.EmbeddedSource", NULL,
	},
	[KIND_CHANNEL] = {
		"file org.apache.flume.channel.file.FileChannel", "memory org.apache.flume.channel.MemoryChannel",
		"jdbc org.apache.flume.channel.jdbc.JdbcChannel", "spillablememory org.apache.flume.channel.SpillableMemoryChannel",
		"- org.apache.flume.channel.kafka.KafkaChannel", "- org.apache.flume.channel.PseudoTxnMemoryChannel", NULL,
	},
	[KIND_SINK] = {
		"null org.apache.flume.sink.NullSink", "logger org.apache.flume.sink.LoggerSink", "file_roll org.apache.flume.sink.RollingFileSink",
		"hdfs org.apache.flume.sink.hdfs.HDFSEventSink", "hive org.apache.flume.sink.hive.HiveSink", "irc org.apache.flume.sink.irc.IRCSink",
		"avro org.apache.flume.sink.AvroSink org.apache.flume.rpc.avro.sink.AvroSink",
		"thrift org.apache.flume.sink.ThriftSink org.apache.flume.rpc.thrift.sink.ThriftSink",
		"elasticsearch org.apache.flume.sink.elasticsearch.ElasticSearchSink", "hbase org.apache.flume.sink.hbase.HBaseSink",
		"asynchbase org.apache.flume.sink.hbase.AsyncHBaseSink", "hbase2 org.apache.flume.sink.hbase2.HBase2Sink",
		"morphline_solr org.apache.flume.sink.solr.morphline.MorphlineSolrSink", "http org.apache.flume.sink.http.HttpSink",
		"- org.apache.flume.sink.solr.morphline.MorphlineSink", "- org.apache.flume.sink.kafka.KafkaSink", "- org.apache.flume.sink.kudu.KuduSink",
		"- org.apache.flume.sink.kite.DatasetSink", NULL,
	},
	[KIND_INTERCEPTOR] = {
		"timestamp org.apache.flume.interceptor.TimestampInterceptor$Builder", "host org.apache.flume.interceptor.HostInterceptor$Builder",
		"static org.apache.flume.interceptor.StaticInterceptor$Builder", "regex_filter org.apache.flume.interceptor.RegexFilteringInterceptor$Builder",
		"regex_extractor org.apache.flume.interceptor.RegexExtractorInterceptor$Builder",
		"remove_header org.apache.flume.interceptor.RemoveHeaderInterceptor$Builder",
		"search_replace org.apache.flume.interceptor.SearchAndReplaceInterceptor$Builder",
		"- org.apache.flume.sink.solr.morphline.UUIDInterceptor$Builder",
		"- org.apache.flume.sink.solr.morphline.MorphlineInterceptor$Builder", NULL,
	},
	[KIND_PROCESSOR] = {
		"default org.apache.flume.sink.DefaultSinkProcessor", "failover org.apache.flume.sink.FailoverSinkProcessor",
		"load_balance org.apache.flume.sink.LoadBalancingSinkProcessor", NULL,
	},
};

/* The blank separated word that equals `text` in any letter case; its place among the words, or -1. */
static int
words_find(const char *words, const char *text)
{
	size_t len = strlen(text);
	for (int i = 0; words && *words; i++) {
		size_t n = strcspn(words, " ");
		if (n == len && n > 0 && strncasecmp(words, text, n) == 0)
			return i;
		words += n;
		words += strspn(words, " ");
	}
	return -1;
}

void
registry_set(enum kind_of of, const struct kind *kinds, size_t count)
{
	registry[of].kinds = kinds;
	registry[of].count = count;
}

const struct kind *
registry_kinds(enum kind_of of, size_t *count)
{
	*count = registry[of].count;
	return registry[of].kinds;
}

const struct kind *
registry_find(enum kind_of of, const char *type)
{
	for (size_t i = 0; i < registry[of].count; i++) {
		const struct kind *kind = &registry[of].kinds[i];
		if (strcasecmp(kind->name, type) == 0 || words_find(kind->class_names, type) >= 0)
			return kind;
	}
	return NULL;
}

const char *
registry_flume_type(enum kind_of of, const char *type)
{
	for (const char *const *words = flume_types[of]; *words; words++) {
		int at = words_find(*words, type);
		if (at < 0 || strcmp(type, "-") == 0)
			continue;
		return strncmp(*words, "- ", 2) == 0 ? *words + 2 : *words;
	}
	return NULL;
}

static const char *
type_word(const struct option *option)
{
	switch (option->type) {
	case OPT_STRING: return "text";
	case OPT_BOOL: return "true or false";
	case OPT_U32:
	case OPT_U64:
	case OPT_I64: return option->flags & OPTION_DURATION ? "time" : option->flags & OPTION_SIZE ? "size" : "number";
	case OPT_CHOICE: return "choice";
	case OPT_LIST: return "list";
	case OPT_FAMILY: return "names and values";
	}
	return "";
}

static void
option_print(struct text *text, const struct option *option)
{
	text_print(text, "    %s%s\n        %s", option->name, option->type == OPT_FAMILY ? "*" : "", type_word(option));
	if (option->type == OPT_CHOICE) {
		for (uint32_t i = 0; option->choices[i]; i++)
			text_print(text, "%s %s", i ? "," : ":", option->choices[i]);
	}
	if (option->unit)
		text_print(text, ", %s", option->unit);
	if ((option->min != 0 || option->max != 0) && !(option->flags & (OPTION_DURATION | OPTION_SIZE))) {
		if (option->max == INT64_MAX)
			text_print(text, ", at least %lld", (long long)option->min);
		else
			text_print(text, ", %lld to %lld", (long long)option->min, (long long)option->max);
	}
	if (option->separator)
		text_print(text, ", separated by '%s'", option->separator);
	if (option->flags & OPTION_REQUIRED)
		text_print(text, "; required");
	else if (option->value)
		text_print(text, "; default %s", option->value);
	if (option->flags & OPTION_SECRET)
		text_print(text, "; secret");
	if (option->flags & OPTION_NO_MEANING)
		text_print(text, "; accepted, without effect");
	if (option->flags & OPTION_REFUSED)
		text_print(text, "; not supported");
	if (!(option->flags & (OPTION_NO_MEANING | OPTION_REFUSED)))
		text_print(text, "; a change %s", option->effect == EFFECT_LIVE ? "takes effect at reload" :
						  option->effect == EFFECT_RESTART ? "needs a restart" : "reopens the component at reload");
	text_add(text, "\n", 1);
	if (option->help)
		text_print(text, "        %s\n", option->help);
	if (option->note)
		text_print(text, "        %s%s\n", option->flags & OPTION_REFUSED ? "Instead: " : "", option->note);
	if (option->old_names)
		text_print(text, "        Also read as: %s\n", option->old_names);
}

static void
kind_print(struct text *text, enum kind_of of, const struct kind *kind)
{
	text_print(text, "%s %s\n", kind_word[of], kind->name);
	if (kind->help)
		text_print(text, "    %s\n", kind->help);
	if (kind->class_names)
		text_print(text, "    also: %s\n", kind->class_names);
	for (const struct option *option = kind->options; option && option->name; option++)
		option_print(text, option);
}

int
registry_print(struct text *text, const char *kind, const char *type, struct err *err)
{
	int of = 0, end = KIND_COUNT;
	if (kind) {
		for (of = 0; of < KIND_COUNT; of++) {
			if (strcasecmp(kind, kind_word[of]) == 0 || strcasecmp(kind, kind_words[of]) == 0)
				break;
		}
		if (of == KIND_COUNT)
			return err_set(err, EINVAL, "kind '%s' is not known: write sources, channels, sinks, interceptors or processors", kind);
		end = of + 1;
	}
	if (kind && type) {
		const struct kind *found = registry_find((enum kind_of)of, type);
		if (!found)
			return err_set(err, EINVAL, "there is no %s of type '%s': `penstock kinds %s` lists them", kind_word[of], type, kind_words[of]);
		kind_print(text, (enum kind_of)of, found);
		return 0;
	}
	for (; of < end; of++) {
		text_print(text, "%s\n", kind_words[of]);
		for (size_t i = 0; i < registry[of].count; i++) {
			const struct kind *one = &registry[of].kinds[i];
			text_print(text, "    %-18s %s\n", one->name, one->help ? one->help : "");
			if (one->class_names)
				text_print(text, "    %-18s %s\n", "", one->class_names);
		}
	}
	return 0;
}
