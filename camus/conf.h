/* conf: the settings of one batch-loader job, under Camus's own property names. Filled once at start by conf_load; read only afterwards,
 * by any thread. */
#ifndef PENSTOCK_CAMUS_CONF_H
#define PENSTOCK_CAMUS_CONF_H

#include "base/option.h"
#include "base/properties.h"

enum conf_partitioner { PARTITION_DEFAULT, PARTITION_HOURLY, PARTITION_DAILY, PARTITION_TIME, PARTITION_TOPIC_GROUP };
enum conf_writer { WRITER_AVRO, WRITER_TEXT, WRITER_SEQUENCE };
enum conf_time_missing { MISSING_RECORD, MISSING_NOW };	/* a record without a time gets its Kafka timestamp, the clock's */
enum conf_commit { COMMIT_PARTIAL, COMMIT_FULL };
enum conf_schema_change { SCHEMA_SPLIT, SCHEMA_PROJECT, SCHEMA_FAIL };
enum conf_late { LATE_FOLDER, LATE_ASIDE };
enum conf_execution { EXECUTION_LOCAL, EXECUTION_YARN };
enum conf_tombstone { TOMBSTONE_SKIP, TOMBSTONE_WRITE, TOMBSTONE_ERROR };

struct camus_conf {
	struct properties properties;	/* every property of the job, in order of first appearance */
	struct option_values values;

	/* job, history, thresholds */
	const char *job_name, *base_path, *history_path, *counts_path;
	uint32_t count_minutes;
	struct option_list count_plain;	/* topics whose counts bear no server and service */
	bool keep_counts, fail_on_errors, fail_out_of_range, run_tracking, move_data;
	const char *history_share_text;
	double history_share;		/* of the name quota */
	uint64_t history_entries;	/* instead of it; 0: not */
	const char *skip_schema_text, *skip_other_text;
	double skip_schema, skip_other;	/* percent */
	uint32_t errors_printed, map_tasks;
	const char *allocator;
	bool subject_record;		/* a subject of Confluent's registry is named by the record, not by the topic */
	bool group_topics;
	uint32_t group_factor;

	/* kafka */
	const char *brokers, *host_url, *client_name;
	uint32_t host_port, timeout_ms, fetch_bytes, fetch_wait_ms, fetch_min_bytes;
	struct option_family kafka;	/* penstock.camus.kafka.*: properties of a Kafka consumer */
	struct option_list whitelist, blacklist, to_last;
	bool to_earliest;
	int64_t pull_hours, historical_days, pull_minutes;	/* -1: no limit */

	/* records */
	const char *decoder;
	struct option_family decoders;	/* by topic */
	uint32_t decode_errors_written;
	const char *time_field, *time_format, *schema_id_field;
	uint32_t time_missing;		/* enum conf_time_missing */
	uint32_t tombstones;
	uint32_t schema_change;

	/* output */
	const char *destination, *sub_dir, *path_format, *locale, *zone, *codec, *delimiter;
	const char *partitioner;
	struct option_family partitioners;	/* by topic */
	uint32_t partition_minutes, deflate_level, avro_sync_bytes;
	const char *writer;
	enum conf_writer kind;
	uint32_t codec_kind;		/* enum hadoop_codec_kind; CODEC_NONE */
	uint32_t avro_codec;		/* enum avro_codec */
	bool seq_blocks;
	const char *extension;
	bool compress;

	/* our own */
	uint32_t tasks;			/* threads; 0: one per CPU */
	uint64_t memory;		/* bytes of fetch queues and open files, in all */
	uint32_t commit;
	uint64_t stall_timeout_ns;
	/* tasks on a cluster */
	uint32_t execution;		/* enum conf_execution */
	const char *yarn_command, *yarn_bundle, *yarn_web, *yarn_files;
	uint32_t yarn_slots;		/* tasks at a time; 0: as the cluster has room */
	uint64_t yarn_wait_ns;		/* for the job of a run that died */
	/* the tree that is cleaned */
	const char *sweep_source, *sweep_dest, *sweep_source_sub, *sweep_dest_sub, *sweep_zone;
	struct option_list sweep_white, sweep_black;
	const char *sweep_planner, *sweep_key_schema, *sweep_schema, *sweep_levels_text;
	bool sweep_single, sweep_timebased, sweep_all_attributes, sweep_skip_names, sweep_concat;
	uint32_t sweep_levels;		/* of dates: 3 days, 4 hours */
	int64_t sweep_min_days, sweep_max_days, sweep_min_hours, sweep_max_hours;
	uint64_t sweep_file_bytes;
	uint32_t sweep_max_files;
	uint32_t sweep_codec;		/* enum avro_codec */
	int64_t clean_days;		/* -1: for ever */
	struct option_family clean_topics;
	bool clean_force, clean_fail, clean_unqualified, clean_simulate;

	uint64_t complete_delay_ns;	/* 0: folders get no mark */
	uint32_t late;			/* enum conf_late */
	const char *hook;
	uint64_t hook_timeout_ns;
};

extern const struct option camus_options[];

/* Puts a properties file's lines over those that are there; later wins. 0 or -errno with the line in err. */
int conf_file(struct camus_conf *conf, const char *path, struct err *err);
/* key=value of -D. */
int conf_define(struct camus_conf *conf, const char *pair, struct err *err);
/* Reads every property through the table and checks what belongs together; each trouble is a line on stderr. 0 or -EINVAL. */
int conf_load(struct camus_conf *conf);
void conf_free(struct camus_conf *conf);

/* Any property's text, trimmed; NULL when it is not there. */
const char *conf_text(const struct camus_conf *conf, const char *key);
/* What stands for a topic in a family of per-topic settings, or `fallback`. */
const char *conf_topic(const struct option_family *family, const char *topic, const char *fallback);

/* Properties that go to a job on YARN as they are. */
bool conf_yarn_takes(const char *key);

/* True when the last part of a class name, or the whole text, is `name`. */
bool conf_class_is(const char *text, const char *name);

#endif
