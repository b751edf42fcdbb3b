#include "camus/conf.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/near.h"
#include "sinks/format/avro_file.h"
#include "sinks/format/hadoop_codec.h"

#define AT(field) offsetof(struct camus_conf, field)
#define HADOOP_JOB "belongs to the job that Hadoop ran; penstock-camus is one process"
#define JAVA_CLASS "Java classes cannot be loaded"
#define DEAD "Camus reads it nowhere"
#define AS_JSON "Java classes cannot be loaded: audit counts are sent as JSON"
#define NO_STATSD "use the numbers of --json instead"

static const char *const late_words[] = { "folder", "_late", NULL };
static const char *const execution_words[] = { "local", "yarn", NULL };
static const char *const commit_words[] = { "partial", "full", NULL };
static const char *const missing_words[] = { "record", "now", NULL };
static const char *const change_words[] = { "split", "project", "fail", NULL };
static const char *const tombstone_words[] = { "skip", "write", "error", NULL };

const struct option camus_options[] = {
	{ "camus.job.name", OPT_STRING, AT(job_name), "Camus Job", .help = "Name of the job in reports." },
	{ "etl.execution.base.path", OPT_STRING, AT(base_path), .flags = OPTION_REQUIRED,
	  .help = "Folder of the job's state: manifests, running executions." },
	{ "etl.execution.history.path", OPT_STRING, AT(history_path), .flags = OPTION_REQUIRED, .help = "Folder of finished executions." },
	{ "etl.execution.history.max.of.quota", OPT_STRING, AT(history_share_text), "0.5", .unit = "share",
	  .help = "Share of the base path's name quota (none: 50000 entries) above which old executions are removed." },
	{ "etl.basedir.quota.overide", OPT_U64, AT(history_entries), "0", 0, UINT64_C(1) << 40, .unit = "entries",
	  .help = "Files and folders below the base path above which old executions are removed, instead of the share; 0: the share." },
	{ "etl.counts.path", OPT_STRING, AT(counts_path), .help = "Where count files go when they are kept." },
	{ "etl.keep.count.files", OPT_BOOL, AT(keep_counts), "false", .help = "Keep the files of audit counts." },
	{ "etl.fail.on.errors", OPT_BOOL, AT(fail_on_errors), "false", .help = "Any error record fails the run." },
	{ "etl.fail.on.offset.outofrange", OPT_BOOL, AT(fail_out_of_range), "true",
	  .help = "A saved offset outside Kafka's range fails the run at its end." },
	{ "etl.max.percent.skipped.schemanotfound", OPT_STRING, AT(skip_schema_text), "0.1", .unit = "percent",
	  .help = "Share of records without a schema above which nothing is committed." },
	{ "etl.max.percent.skipped.other", OPT_STRING, AT(skip_other_text), "0.1", .unit = "percent",
	  .help = "Share of records skipped for other reasons above which nothing is committed." },
	{ "etl.max.errors.to.print.from.file", OPT_U32, AT(errors_printed), "10", .unit = "records",
	  .help = "Errors shown in the report." },
	{ "etl.run.move.data", OPT_BOOL, AT(move_data), "true",
	  .help = "false: leave the data in the execution's folder and commit nothing." },
	{ "etl.run.tracking.post", OPT_BOOL, AT(run_tracking), "false", .help = "Write audit counts." },
	{ "kafka.monitor.time.granularity", OPT_U32, AT(count_minutes), "10", 1, 10080, .unit = "minutes", .help = "Window of audit counts." },
	{ "etl.audit.ignore.service.topic.list", OPT_LIST, AT(count_plain), .separator = ",",
	  .help = "Topics (or all) whose audit counts are not told apart by server and service." },
	{ "mapred.map.tasks", OPT_U32, AT(map_tasks), "30", 1, 100000, .unit = "tasks", .help = "Most tasks of a run.",
	  .old_names = "mapreduce.job.maps" },
	{ "camus.work.allocator.class", OPT_STRING, AT(allocator), "BaseAllocator",
	  .help = "BaseAllocator, or TopicGroupingAllocator: small partitions of a topic go to one task." },
	{ "camus.max.group.size.reduction.factor", OPT_U32, AT(group_factor), "3", 1, 1000000,
	  .help = "TopicGroupingAllocator: a group is at most the average partition's bytes divided by this." },
	{ "mapred.output.compress", OPT_BOOL, AT(compress), "false", .help = "Compress what is written.",
	  .old_names = "mapreduce.output.fileoutputformat.compress" },

	{ "kafka.brokers", OPT_STRING, AT(brokers), .help = "host:port of brokers to begin with, comma separated." },
	{ "kafka.host.url", OPT_STRING, AT(host_url), .help = "A single broker, when kafka.brokers is not given." },
	{ "kafka.host.port", OPT_U32, AT(host_port), "10251", 1, 65535, .help = "Port of kafka.host.url." },
	{ "kafka.client.name", OPT_STRING, AT(client_name), "camus", .help = "Client id." },
	{ "kafka.timeout.value", OPT_U32, AT(timeout_ms), "30000", 10, 300000, .unit = "ms", .help = "Socket timeout." },
	{ "kafka.fetch.buffer.size", OPT_U32, AT(fetch_bytes), "1048576", 1, 1000000000, .unit = "bytes",
	  .help = "Most bytes of one partition in one fetch (a larger record is still fetched)." },
	{ "kafka.fetch.request.max.wait", OPT_U32, AT(fetch_wait_ms), "1000", 0, 300000, .unit = "ms", .help = "How long a broker may wait." },
	{ "kafka.fetch.request.min.bytes", OPT_U32, AT(fetch_min_bytes), "1024", 1, 100000000, .unit = "bytes",
	  .help = "What a broker waits for." },
	{ "kafka.whitelist.topics", OPT_LIST, AT(whitelist), .separator = ",", .help = "Regexes; a topic matches one as a whole. None: all." },
	{ "kafka.blacklist.topics", OPT_LIST, AT(blacklist), .separator = ",", .help = "Regexes; wins over the white list." },
	{ "kafka.move.to.last.offset.list", OPT_LIST, AT(to_last), .separator = ",",
	  .help = "Topics (or all) that start at the newest offset; acts on every run while it is set." },
	{ "kafka.move.to.earliest.offset", OPT_BOOL, AT(to_earliest), "false",
	  .help = "Start at the oldest offset when the saved one is out of range." },
	{ "kafka.max.pull.hrs", OPT_I64, AT(pull_hours), "-1", -1, 1000000, .unit = "hours",
	  .help = "Hours of event time per partition and run." },
	{ "kafka.max.historical.days", OPT_I64, AT(historical_days), "-1", -1, 100000, .unit = "days",
	  .help = "Older records are dropped and counted." },
	{ "kafka.max.pull.minutes.per.task", OPT_I64, AT(pull_minutes), "-1", -1, 1000000, .unit = "minutes",
	  .help = "Wall-clock minutes per task." },

	{ "camus.message.decoder.class", OPT_STRING, AT(decoder), "KafkaAvroMessageDecoder", .help = "Decoder of all topics." },
	{ "camus.message.decoder.class.", OPT_FAMILY, AT(decoders), .help = "Decoder of one topic." },
	{ "max.decoder.exceptions.to.print", OPT_U32, AT(decode_errors_written), "10", .unit = "records",
	  .help = "Failing records kept whole in the error file, per task; up to 50000 of a task are listed with their offset." },
	{ "camus.message.timestamp.field", OPT_STRING, AT(time_field), "timestamp", .help = "Top-level field of a JSON record." },
	{ "camus.message.timestamp.format", OPT_STRING, AT(time_format), "[dd/MMM/yyyy:HH:mm:ss Z]",
	  .help = "unix_seconds, unix_milliseconds, ISO-8601 or a pattern of SimpleDateFormat." },
	{ "camus.message.schema.id.field", OPT_STRING, AT(schema_id_field), "schemaID", .help = "Field with the schema's number, of JSONToAvroMessageDecoder." },
	{ "penstock.camus.timestamp.missing", OPT_CHOICE, AT(time_missing), "record", .choices = missing_words,
	  .help = "record: a record without a time gets its Kafka timestamp; now: the clock's." },
	{ "penstock.camus.schema_change", OPT_CHOICE, AT(schema_change), "split", .choices = change_words,
	  .help = "When a newer schema appears within a run: the next file begins; records are written in the one of the run's begin; the partition fails." },
	{ "penstock.camus.tombstones", OPT_CHOICE, AT(tombstones), "skip", .choices = tombstone_words,
	  .help = "What a record without a payload becomes: nothing (counted), an empty record, an error record." },

	{ "etl.destination.path", OPT_STRING, AT(destination), .flags = OPTION_REQUIRED, .help = "Root of the data tree." },
	{ "etl.partitioner.class", OPT_STRING, AT(partitioner), "DefaultPartitioner", .help = "Partitioner of all topics." },
	{ "etl.partitioner.class.", OPT_FAMILY, AT(partitioners), .help = "Partitioner of one topic." },
	{ "etl.destination.path.topic.sub.dir", OPT_STRING, AT(sub_dir), .help = "Folder between topic and date: hourly, or daily for days." },
	{ "etl.destination.path.topic.sub.dirformat", OPT_STRING, AT(path_format), "'hourly'/YYYY/MM/dd/HH",
	  .help = "Joda pattern of TimeBasedPartitioner." },
	{ "etl.destination.path.topic.sub.dirformat.locale", OPT_STRING, AT(locale), "en_US", .help = "Locale of that pattern." },
	{ "etl.output.file.time.partition.mins", OPT_U32, AT(partition_minutes), "60", 1, 527040, .unit = "minutes", .help = "Length of a bucket." },
	{ "etl.default.timezone", OPT_STRING, AT(zone), "America/Los_Angeles", .help = "Zone of buckets and folders." },
	{ "etl.record.writer.provider.class", OPT_STRING, AT(writer), "AvroRecordWriterProvider", .help = "What is written." },
	{ "etl.output.codec", OPT_STRING, AT(codec), "deflate", .help = "Codec when output is compressed." },
	{ "etl.deflate.level", OPT_U32, AT(deflate_level), "6", 1, 9, .help = "Avro deflate level." },
	{ "etl.avro.writer.sync.interval", OPT_U32, AT(avro_sync_bytes), "16000", 32, 1 << 30, .unit = "bytes", .help = "Avro block size." },
	{ "etl.output.record.delimiter", OPT_STRING, AT(delimiter), .help = "Put behind each record; a line feed for text, nothing for SequenceFiles." },

	{ "penstock.camus.complete_delay", OPT_U64, AT(complete_delay_ns), NULL, .flags = OPTION_DURATION,
	  .help = "A folder gets _SUCCESS when all partitions of its topic have committed event times this far behind its end; not set: no folder does." },
	{ "penstock.camus.late", OPT_CHOICE, AT(late), "folder", .choices = late_words,
	  .help = "Where records go whose folder has its _SUCCESS: into it all the same, or into _late in it; counted." },
	{ "penstock.camus.hook", OPT_STRING, AT(hook), .help = "Program that is run after each commit: manifest and folders as JSON on its standard input." },
	{ "penstock.camus.hook_timeout", OPT_U64, AT(hook_timeout_ns), "60s", .flags = OPTION_DURATION, .help = "How long it may take; three tries." },
	{ "camus.sweeper.source.dir", OPT_STRING, AT(sweep_source), .help = "Root of the tree that clean looks at; etl.destination.path when not set." },
	{ "camus.sweeper.dest.dir", OPT_STRING, AT(sweep_dest), .help = "Root of the rolled-up tree; the source's when not set." },
	{ "camus.sweeper.source.subdir", OPT_STRING, AT(sweep_source_sub), .help = "Folder between topic and date, such as hourly." },
	{ "camus.sweeper.dest.subdir", OPT_STRING, AT(sweep_dest_sub), .help = "The same of the rolled-up tree: a day goes only when it is there, and newer." },
	{ "camus.sweeper.whitelist", OPT_LIST, AT(sweep_white), .separator = ",", .help = "Regexes; a topic matches one as a whole. None: all." },
	{ "camus.sweeper.blacklist", OPT_LIST, AT(sweep_black), .separator = ",", .help = "Regexes; wins over the white list." },
	{ "camus.sweeper.planner.class", OPT_STRING, AT(sweep_planner), "CamusSweeperDatePartitionPlanner",
	  .help = "Days of the source to days of the destination, or CamusSingleFolderSweeperPlanner: each dated folder to one." },
	{ "camus.sweeper.min.days.ago", OPT_I64, AT(sweep_min_days), "1", 0, 100000, .unit = "days", .help = "Youngest day that is swept." },
	{ "camus.sweeper.max.days.ago", OPT_I64, AT(sweep_max_days), "2", 0, 100000, .unit = "days", .help = "Oldest day that is swept." },
	{ "camus.single.folder.sweeper.timebased", OPT_BOOL, AT(sweep_timebased), "true", .help = "false: every dated folder, whatever its time." },
	{ "camus.single.folder.sweeper.folder.structure", OPT_STRING, AT(sweep_levels_text), "*/*/*/*", .help = "*/*/*/* for hours, */*/* for days." },
	{ "camus.single.folder.sweeper.min.hours.ago", OPT_I64, AT(sweep_min_hours), "1", 0, 1000000, .unit = "hours", .help = "Youngest folder." },
	{ "camus.single.folder.sweeper.max.hours.ago", OPT_I64, AT(sweep_max_hours), "1", 0, 1000000, .unit = "hours", .help = "Oldest folder." },
	{ "camus.sweeper.target.file.size", OPT_U64, AT(sweep_file_bytes), "1610612736", 1, INT64_C(1) << 50, .unit = "bytes",
	  .help = "Size of files that come out, about." },
	{ "max.files", OPT_U32, AT(sweep_max_files), "24", 1, 100000, .unit = "files", .help = "Most files of a swept folder." },
	{ "camus.sweeper.avro.key.schema", OPT_STRING, AT(sweep_key_schema),
	  .help = "Avro record of the fields that tell records apart; one record of each key stays, the oldest file's." },
	{ "camus.sweeper.use.all.attributes", OPT_BOOL, AT(sweep_all_attributes), "false", .help = "The key is all fields but maps." },
	{ "camus.output.schema", OPT_STRING, AT(sweep_schema), .help = "Schema of swept Avro files; the newest file's when not set." },
	{ "camus.sweeper.skip.name.validation", OPT_BOOL, AT(sweep_skip_names), "false", .help = "Files are called part-r-<records>.<ms>.avro." },
	{ "penstock.camus.sweep_concat", OPT_BOOL, AT(sweep_concat), "true",
	  .help = "Plain text in HDFS that is swept in place is put together by CONCAT, without reading it; false: it is read and written anew." },
	{ "camus.sweeper.tmp.dir", OPT_STRING, .flags = OPTION_NO_MEANING, .note = "a folder is made below _penstock, from where it can be renamed" },
	{ "camus.sweeper.io.configurer.class", OPT_STRING, .flags = OPTION_NO_MEANING, .note = "Avro files and text are told by their names" },
	{ "camus.sweeper.priority.list", OPT_STRING, .flags = OPTION_NO_MEANING, .note = "one folder is swept after the other, by name" },
	{ "num.threads", OPT_STRING, .flags = OPTION_NO_MEANING, .note = "one folder is swept after the other" },
	{ "second.stage", OPT_STRING, .flags = OPTION_NO_MEANING, .note = "leave the key schema out when nothing is there twice" },
	{ "reducer.count", OPT_STRING, .flags = OPTION_NO_MEANING, .note = "the number of files follows from camus.sweeper.target.file.size and max.files" },
	{ "camus.sweeper.always.reprocess", OPT_BOOL, .flags = OPTION_NO_MEANING, .note = "what is new is added, whenever there is something new" },
	{ "camus.single.folder.sweeper.time.format", OPT_STRING, .flags = OPTION_NO_MEANING, .note = "folders are YYYY/MM/dd/HH or YYYY/MM/dd" },
	{ "camus.default.timezone", OPT_STRING, AT(sweep_zone), "America/Los_Angeles", .help = "Zone in which today is." },
	{ "camus.sweeper.clean.retention.days.global", OPT_I64, AT(clean_days), "-1", -1, 1000000, .unit = "days",
	  .help = "Days that are kept; -1: all." },
	{ "camus.sweeper.clean.retention.days.topic.", OPT_FAMILY, AT(clean_topics), .help = "The same of one topic." },
	{ "camus.sweeper.clean.force", OPT_BOOL, AT(clean_force), "false", .help = "Whether the day is rolled up is not looked at." },
	{ "camus.sweeper.clean.simulate", OPT_BOOL, AT(clean_simulate), "false", .help = "As --dry-run." },
	{ "fail_job.if.folder.not.qualify.for.deletion", OPT_BOOL, AT(clean_fail), "false",
	  .help = "A day that is old and not rolled up makes clean fail at its end." },
	{ "delete.folders.not.qualify.for.deletion", OPT_BOOL, AT(clean_unqualified), "false",
	  .help = "Such a day is removed all the same (Camus's default; here nothing goes that was not rolled up)." },
	{ "penstock.camus.tasks", OPT_U32, AT(tasks), "0", 0, 256, .help = "Threads; 0: one per CPU (at most mapred.map.tasks)." },
	{ "penstock.camus.memory", OPT_U64, AT(memory), "256m", .flags = OPTION_SIZE, .help = "Fetch queues and open files, in all." },
	{ "penstock.camus.commit", OPT_CHOICE, AT(commit), "partial", .choices = commit_words,
	  .help = "partial: what went well is committed though a partition failed; full: all or nothing." },
	{ "penstock.camus.execution", OPT_CHOICE, AT(execution), "local", .choices = execution_words,
	  .help = "Where tasks run: threads of this process, or mappers of a Hadoop Streaming job on YARN." },
	{ "penstock.camus.yarn.command", OPT_STRING, AT(yarn_command), "mapred streaming",
	  .help = "yarn: program and first words that submit a Hadoop Streaming job and wait for it; its other arguments are put behind." },
	{ "penstock.camus.yarn.bundle", OPT_STRING, AT(yarn_bundle),
	  .help = "yarn: the archive that penstock-camus bundle made; here, or in HDFS (hdfs://...), where nodes keep it from job to job." },
	{ "penstock.camus.yarn.web", OPT_STRING, AT(yarn_web),
	  .help = "yarn: host:port of each ResourceManager's web service, comma separated; else what yarn-site.xml beside core-site.xml says." },
	{ "penstock.camus.yarn.slots", OPT_U32, AT(yarn_slots), "0", 0, 100000, .unit = "tasks",
	  .help = "yarn: tasks at work at a time (mapreduce.job.running.map.limit); 0: as many as there is room for." },
	{ "penstock.camus.yarn.files", OPT_STRING, AT(yarn_files),
	  .help = "yarn: files that tasks need beside them, comma separated: certificates, schemas." },
	{ "penstock.camus.yarn.wait", OPT_U64, AT(yarn_wait_ns), "60s", .flags = OPTION_DURATION,
	  .help = "yarn: how long to wait for the job of a run that died before this run is refused." },
	{ "penstock.camus.stall_timeout", OPT_U64, AT(stall_timeout_ns), "60s", .flags = OPTION_DURATION,
	  .help = "A partition from which nothing comes for so long has failed." },
	{ "penstock.camus.kafka.", OPT_FAMILY, AT(kafka), .help = "Properties of a Kafka consumer: security.protocol, isolation.level, ..." },

	{ "etl.counts.class", OPT_STRING, .flags = OPTION_REFUSED, .note = JAVA_CLASS "; counts are written as Camus's EtlCounts does" },
	{ "max.schemas.per.subject", OPT_STRING, .flags = OPTION_NO_MEANING, .note = "every schema of a run is kept" },
	{ "monitoring.event.class", OPT_STRING, .flags = OPTION_NO_MEANING, .note = AS_JSON },
	{ "camus.message.encoder.class", OPT_STRING, .flags = OPTION_NO_MEANING, .note = AS_JSON },
	{ "etl.reporter.class", OPT_STRING, .flags = OPTION_NO_MEANING, .note = "the report is TimeReporter's; the same numbers come with --json" },
	{ "statsd.enabled", OPT_STRING, .flags = OPTION_NO_MEANING, .note = NO_STATSD },
	{ "statsd.host", OPT_STRING, .flags = OPTION_NO_MEANING, .note = NO_STATSD },
	{ "statsd.port", OPT_STRING, .flags = OPTION_NO_MEANING, .note = NO_STATSD },
	{ "log4j.configuration", OPT_STRING, .flags = OPTION_NO_MEANING, .note = "there is no log4j; lines go to standard error" },
	{ "hdfs.default.classpath.dir", OPT_STRING, .flags = OPTION_NO_MEANING, .note = "there is no class path" },
	{ "hadoop.external.jarFiles", OPT_STRING, .flags = OPTION_NO_MEANING, .note = "there is no class path" },
	{ "cache.jar.filter.list", OPT_STRING, .flags = OPTION_NO_MEANING, .note = "there is no class path" },
	{ "mapred.map.max.attempts", OPT_STRING, .flags = OPTION_NO_MEANING, .note = HADOOP_JOB },
	{ "kafka.fetch.request.correlationid", OPT_STRING, .flags = OPTION_NO_MEANING, .note = "the client numbers its requests itself" },
	{ "kafka.client.buffer.size", OPT_STRING, .flags = OPTION_NO_MEANING, .note = DEAD },
	{ "kafka.client.so.timeout", OPT_STRING, .flags = OPTION_NO_MEANING, .note = DEAD },
	{ "zookeeper.audit.hosts", OPT_STRING, .flags = OPTION_NO_MEANING, .note = DEAD },
	{ "zookeeper.session.timeout", OPT_STRING, .flags = OPTION_NO_MEANING, .note = DEAD },
	{ "zookeeper.connection.timeout", OPT_STRING, .flags = OPTION_NO_MEANING, .note = DEAD },
	{ "brokers.uri", OPT_STRING, .flags = OPTION_NO_MEANING, .note = DEAD },
	{ "etl.hourly", OPT_STRING, .flags = OPTION_NO_MEANING, .note = DEAD },
	{ "etl.daily", OPT_STRING, .flags = OPTION_NO_MEANING, .note = DEAD },
	{ "post.tracking.counts.to.kafka", OPT_STRING, .flags = OPTION_NO_MEANING, .note = DEAD },
	{ "etl.ignore.schema.errors", OPT_STRING, .flags = OPTION_NO_MEANING,
	  .note = "both values end in the same place in Camus: the record is skipped and counted, thresholds decide" },
	{ NULL },
};

bool
conf_class_is(const char *text, const char *name)
{
	const char *dot = strrchr(text, '.');
	return strcmp(text, name) == 0 || (dot && strcmp(dot + 1, name) == 0);
}

bool
conf_yarn_takes(const char *key)
{
	static const char *const heads[] = { "mapreduce.", "mapred.", "yarn." };
	for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
		if (strncmp(key, heads[i], strlen(heads[i])) == 0)
			return true;
	return false;
}

int
conf_file(struct camus_conf *conf, const char *path, struct err *err)
{
	return properties_load(&conf->properties, path, err);
}

int
conf_define(struct camus_conf *conf, const char *pair, struct err *err)
{
	const char *equals = strchr(pair, '=');
	if (!equals || equals == pair)
		return err_set(err, EINVAL, "-D \"%s\": want name=value", pair);
	char key[512];
	if ((size_t)(equals - pair) >= sizeof key)
		return err_set(err, EINVAL, "-D: a name of more than %zu bytes", sizeof key - 1);
	memcpy(key, pair, (size_t)(equals - pair));
	key[equals - pair] = '\0';
	properties_set(&conf->properties, key, equals + 1, "-D");
	return 0;
}

const char *
conf_text(const struct camus_conf *conf, const char *key)
{
	const struct property_line *line = properties_find(&conf->properties, key);
	return line ? (line->resolved ? line->resolved : line->raw) : NULL;
}

const char *
conf_topic(const struct option_family *family, const char *topic, const char *fallback)
{
	for (size_t i = 0; i < family->count; i++)
		if (strcmp(family->items[i].key, topic) == 0)
			return family->items[i].value;
	return fallback;
}

struct tell {
	struct option_report report;
	int fatal;
};

static void
conf_tell(struct option_report *report, bool fatal, const char *origin, const char *key, const char *text)
{
	struct tell *tell = (struct tell *)report;
	tell->fatal += fatal;
	fprintf(stderr, "%s: %s: %s%s\n", origin ? origin : "(not set)", key, fatal ? "" : "warning: ", text);
}

static void
double_read(struct tell *tell, const char *key, const char *text, double max, double *value)
{
	char *end;
	*value = strtod(text, &end);
	if (end == text || *end || !(*value >= 0 && *value <= max)) {
		char words[256];
		snprintf(words, sizeof words, "\"%s\": want a number from 0 to %g", text, max);
		conf_tell(&tell->report, true, NULL, key, words);
	}
}

/* What is written, by the provider's name, and how it is compressed. */
static void
writer_choose(struct camus_conf *conf, struct tell *tell)
{
	bool snappy = strcmp(conf->codec, "snappy") == 0, gzip = strcmp(conf->codec, "gzip") == 0;
	conf->codec_kind = CODEC_NONE;
	conf->avro_codec = AVRO_NULL;
	conf->extension = "";
	if (conf_class_is(conf->writer, "AvroRecordWriterProvider") || strcmp(conf->writer, "avro") == 0) {
		conf->kind = WRITER_AVRO;
		conf->extension = ".avro";
		if (conf->compress)
			conf->avro_codec = snappy ? AVRO_SNAPPY : strcmp(conf->codec, "zstandard") == 0 ? AVRO_ZSTD : AVRO_DEFLATE;
		if (conf->compress && !snappy && conf->avro_codec != AVRO_ZSTD && conf->deflate_level != 6)
			conf_tell(&tell->report, true, NULL, "etl.deflate.level", "only 6 is there: leave it out");
	} else if (conf_class_is(conf->writer, "StringRecordWriterProvider") || strcmp(conf->writer, "text") == 0) {
		conf->kind = WRITER_TEXT;
		if (conf->compress)
			conf->codec_kind = snappy ? CODEC_SNAPPY : gzip ? CODEC_GZIP : strcmp(conf->codec, "bzip2") == 0 ? CODEC_BZIP2 : CODEC_DEFLATE;
		if (conf->codec_kind != CODEC_NONE)
			conf->extension = hadoop_codec_suffix((enum hadoop_codec_kind)conf->codec_kind);
	} else if (conf_class_is(conf->writer, "SequenceFileRecordWriterProvider") || strcmp(conf->writer, "sequence") == 0) {
		conf->kind = WRITER_SEQUENCE;
		const char *codec = conf_text(conf, "mapreduce.output.fileoutputformat.compress.codec");
		const char *type = conf_text(conf, "mapreduce.output.fileoutputformat.compress.type");
		codec = codec ? codec : conf_text(conf, "mapred.output.compression.codec");
		type = type ? type : conf_text(conf, "mapred.output.compression.type");
		enum hadoop_codec_kind kind = CODEC_DEFLATE;
		struct err err = { "" };
		if (conf->compress && codec && hadoop_codec_find(codec, &kind, &err))
			conf_tell(&tell->report, true, NULL, "mapreduce.output.fileoutputformat.compress.codec", err.text);
		conf->codec_kind = conf->compress ? kind : CODEC_NONE;
		conf->seq_blocks = type && strcasecmp(type, "BLOCK") == 0;
		if (type && strcasecmp(type, "NONE") == 0)
			conf->codec_kind = CODEC_NONE;
	} else {
		conf_tell(&tell->report, true, NULL, "etl.record.writer.provider.class",
			"want AvroRecordWriterProvider, StringRecordWriterProvider or SequenceFileRecordWriterProvider: Java classes cannot be loaded");
	}
	if (!conf->delimiter)
		conf->delimiter = conf->kind == WRITER_TEXT ? "\n" : "";
}

/* Properties beside the table: what is read by its name elsewhere (no words), and what has no effect, with the reason. First match counts. */
static const struct {
	const char *head, *words;
	bool fatal;
} beside[] = {
	{ "kafka.message.coder.schema.registry.class", NULL, false },
	{ "etl.schema.registry.url", NULL, false },
	{ "schema.registry.url", NULL, false },
	{ "get.schema.by.id.", NULL, false },
	{ "kafka.monitor.tier", NULL, false },
	{ "penstock.camus.schemas", NULL, false },
	{ "penstock.hdfs.conf_dir", NULL, false },
	{ "penstock.hdfs.http_address", NULL, false },
	{ "penstock.hdfs.principal", NULL, false },
	{ "penstock.hdfs.keytab", NULL, false },
	{ "user.name", NULL, false },
	{ "is.new.producer", NULL, false },
	{ "mapred.output.compression.", NULL, false },
	{ "mapreduce.output.fileoutputformat.compress.", NULL, false },
	{ "penstock.", "penstock-camus has no such option", true },
	{ "camus.single.folder.sweeper.", "no such property of the sweeper: no effect", false },
	{ "alert.", "no mail is sent: partitions that fall behind are named in the report", false },
	{ "fs.", "no effect here: put it into core-site.xml (penstock.hdfs.conf_dir)", false },
	{ "dfs.", "no effect here: put it into hdfs-site.xml (penstock.hdfs.conf_dir)", false },
	{ "hadoop.", HADOOP_JOB ": no effect", false },
	{ "mapred.", HADOOP_JOB ": no effect", false },
	{ "mapreduce.", HADOOP_JOB ": no effect", false },
	{ "yarn.", HADOOP_JOB ": no effect", false },
	{ "io.", HADOOP_JOB ": no effect", false },
	{ "ipc.", HADOOP_JOB ": no effect", false },
	{ "", "no property of Camus, Hadoop or penstock: ignored", false },
};

static void
beside_tell(struct tell *tell, const struct camus_conf *conf, const struct property *property)
{
	if (conf->execution == EXECUTION_YARN && conf_yarn_takes(property->key))
		return;
	for (size_t i = 0; i < sizeof beside / sizeof *beside; i++) {
		if (strncmp(property->key, beside[i].head, strlen(beside[i].head)) != 0)
			continue;
		if (!beside[i].words)
			return;
		/* A white list under another name would be none: all topics. */
		const char *near = NULL;
		uint32_t best = UINT32_MAX;
		char words[256];
		for (const struct option *option = camus_options; option->name; option++)
			near_word(property->key, option->name, &near, &best);
		for (size_t k = 0; k < i; k++)
			if (!beside[k].words)
				near_word(property->key, beside[k].head, &near, &best);
		snprintf(words, sizeof words, near ? "%s: did you mean %s?" : "%s", beside[i].words, near);
		conf_tell(&tell->report, beside[i].fatal, property->origin, property->key, words);
		return;
	}
}

/* Hadoop takes its command line apart at commas and goes out to look for what *, ?, [ or { may mean: a folder of such a name is another one there. */
static void
yarn_paths_check(struct tell *tell, const struct camus_conf *conf)
{
	const struct {
		const char *key, *value, *bad;
	} paths[] = {
		{ "etl.destination.path", conf->destination, ",*?[]{}\\" },
		{ "etl.execution.base.path", conf->base_path, ",*?[]{}\\" },
		{ "penstock.camus.yarn.bundle", conf->yarn_bundle, ",*?[]{}\\#% \t" },
		{ "penstock.camus.yarn.files", conf->yarn_files, "*?[]{}\\% \t" },
	};
	for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
		size_t at = paths[i].value ? strcspn(paths[i].value, paths[i].bad) : 0;
		if (!paths[i].value || !paths[i].value[at])
			continue;
		const struct property_line *line = properties_find(&conf->properties, paths[i].key);
		char words[512];
		snprintf(words, sizeof words, "\"%.300s\": the character '%c' means something else on the command line of a Hadoop job "
			"(penstock.camus.execution = yarn): want a path without any of %s", paths[i].value, paths[i].value[at],
			strchr(paths[i].bad, '#') ? ",*?[]{}\\#% and blanks" : strchr(paths[i].bad, '%') ? "*?[]{}\\% and blanks" : paths[i].bad);
		conf_tell(&tell->report, true, line ? line->origin : NULL, paths[i].key, words);
	}
}

int
conf_load(struct camus_conf *conf)
{
	struct tell tell = { .report.tell = conf_tell };
	struct properties *all = &conf->properties;
	struct property *props = calloc(all->count + 1, sizeof *props);
	if (!props)
		return -ENOMEM;
	for (size_t i = 0; i < all->count; i++) {
		const char *text = all->lines[i]->raw;
		size_t len = strlen(text);
		while (len && isspace((unsigned char)*text))
			text++, len--;
		while (len && isspace((unsigned char)text[len - 1]))
			len--;
		all->lines[i]->resolved = pool_text(&all->pool, text, len);
	}
	size_t count = 0;
	for (size_t i = 0; i < all->count; i++)
		if (all->lines[i]->resolved[0])
			props[count++] = (struct property){ all->lines[i]->key, all->lines[i]->resolved, all->lines[i]->origin, false };
	if (option_parse(camus_options, props, count, conf, &conf->values, &tell.report))
		tell.fatal++;
	/* A delimiter may be white space, which trimming took away. */
	const struct property_line *delimiter = properties_find(all, "etl.output.record.delimiter");
	if (delimiter)
		conf->delimiter = delimiter->raw;
	for (size_t i = 0; i < count; i++) {
		const struct option *option = option_find(camus_options, props[i].key);
		if (option && option->flags & OPTION_NO_MEANING && !(conf->execution == EXECUTION_YARN && conf_yarn_takes(props[i].key)))
			conf_tell(&tell.report, false, props[i].origin, props[i].key, option->note);
		else if (!option)
			beside_tell(&tell, conf, &props[i]);
	}
	free(props);
	if (tell.fatal)
		return -EINVAL;
	double_read(&tell, "etl.max.percent.skipped.schemanotfound", conf->skip_schema_text, 100, &conf->skip_schema);
	double_read(&tell, "etl.max.percent.skipped.other", conf->skip_other_text, 100, &conf->skip_other);
	double_read(&tell, "etl.execution.history.max.of.quota", conf->history_share_text, 1, &conf->history_share);
	if (!conf->brokers && !conf->host_url)
		conf_tell(&tell.report, true, NULL, "kafka.brokers", "required: host:port of at least one broker");
	writer_choose(conf, &tell);
	if (conf->tombstones == TOMBSTONE_WRITE && conf->kind == WRITER_AVRO)
		conf_tell(&tell.report, true, NULL, "penstock.camus.tombstones", "write: an Avro file has no empty record; want skip or error");
	conf->sweep_single = conf_class_is(conf->sweep_planner, "CamusSingleFolderSweeperPlanner");
	if (!conf->sweep_single && !conf_class_is(conf->sweep_planner, "CamusSweeperDatePartitionPlanner"))
		conf_tell(&tell.report, true, NULL, "camus.sweeper.planner.class",
			"want CamusSweeperDatePartitionPlanner or CamusSingleFolderSweeperPlanner: Java classes cannot be loaded");
	conf->sweep_levels = strcmp(conf->sweep_levels_text, "*/*/*") == 0 ? 3 : 4;
	if (conf->sweep_levels == 4 && strcmp(conf->sweep_levels_text, "*/*/*/*") != 0)
		conf_tell(&tell.report, true, NULL, "camus.single.folder.sweeper.folder.structure", "want */*/*/* (hours) or */*/* (days)");
	conf->sweep_codec = conf->kind == WRITER_AVRO && conf->compress ? conf->avro_codec : AVRO_DEFLATE;
	const char *producer = conf_text(conf, "is.new.producer");
	conf->group_topics = conf_class_is(conf->allocator, "TopicGroupingAllocator");
	if (!conf->group_topics && !conf_class_is(conf->allocator, "BaseAllocator"))
		conf_tell(&tell.report, true, NULL, "camus.work.allocator.class",
			"want BaseAllocator or TopicGroupingAllocator: Java classes cannot be loaded");
	conf->subject_record = producer && strcasecmp(producer, "true") != 0;	/* as Java reads a boolean */
	if (!conf->brokers && conf->host_url)
		conf->brokers = pool_print(&all->pool, "%s:%u", conf->host_url, conf->host_port);
	if (conf->execution == EXECUTION_YARN)
		yarn_paths_check(&tell, conf);
	return tell.fatal ? -EINVAL : 0;
}

void
conf_free(struct camus_conf *conf)
{
	option_values_free(&conf->values);
	properties_free(&conf->properties);
}
