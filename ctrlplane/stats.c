#include "ctrlplane/stats.h"

#include <ctype.h>
#include <math.h>
#include <float.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ACCOUNT_TRIES 16	/* readings of an account before it is called uneven or moving */

const struct stats_account stats_accounts[] = {
	{ "frames", STATS_PORT, STATS_FRAMES_IN, {
		{ STATS_PORT, STATS_ARP }, { STATS_PORT, STATS_ICMP }, { STATS_PORT, STATS_IGMP },
		{ STATS_PORT, STATS_FRAGMENT_JOINED }, { STATS_PORT, STATS_FRAGMENT_HELD }, { STATS_PORT, STATS_HANDED_HELD },
		{ STATS_PORT, STATS_TCP_CONTROL }, { STATS_PORT, STATS_TO_SOURCE }, { STATS_PORT, STATS_DROP } } },
	{ "datagrams", STATS_LISTEN, STATS_DATAGRAMS_IN, {
		{ STATS_LISTEN, STATS_TO_SOURCE }, { STATS_LISTEN, STATS_DROP } } },
	{ "events", STATS_SOURCE, STATS_EVENTS_PARSED, {
		{ STATS_SOURCE, STATS_FILTERED }, { STATS_SOURCE, STATS_UNROUTED }, { STATS_SOURCE, STATS_ROUTED },
		{ STATS_SOURCE, STATS_HELD }, { STATS_SOURCE, STATS_DROP } } },
	{ "channel", STATS_INTAKE, STATS_OFFERED, {
		{ STATS_INTAKE, STATS_CHANNEL_FULL }, { STATS_INTAKE, STATS_TOO_LARGE }, { STATS_INTAKE, STATS_IN_FLIGHT },
		{ STATS_INTAKE, STATS_ACKNOWLEDGED, "stored" }, { STATS_INTAKE, STATS_STORE_FAILED, "failed" } } },
	{ 0 },
};

/* Flume's attributes by kind and type; what is not kept is there as "0". */
#define SOURCE_COUNTS "EventReceivedCount", "EventAcceptedCount", "AppendReceivedCount", "AppendAcceptedCount", \
	"AppendBatchReceivedCount", "AppendBatchAcceptedCount", "OpenConnectionCount"
#define CHANNEL_COUNTS "ChannelSize", "ChannelCapacity", "ChannelFillPercentage", "EventPutAttemptCount", \
	"EventPutSuccessCount", "EventTakeAttemptCount", "EventTakeSuccessCount"
#define SINK_COUNTS "ConnectionCreatedCount", "ConnectionClosedCount", "ConnectionFailedCount", "BatchEmptyCount", \
	"BatchUnderflowCount", "BatchCompleteCount", "EventDrainAttemptCount", "EventDrainSuccessCount"

static const char *const source_attributes[] = { SOURCE_COUNTS, "EventReadFail", "ChannelWriteFail", "GenericProcessingFail", NULL };
static const char *const source_kafka_attributes[] = { SOURCE_COUNTS, "KafkaEventGetTimer", "KafkaCommitTimer", "KafkaEmptyCount", NULL };
static const char *const channel_attributes[] = { CHANNEL_COUNTS, NULL };
static const char *const channel_file_attributes[] = { CHANNEL_COUNTS, "Open", "Closed", "Unhealthy", "EventPutErrorCount",
	"EventTakeErrorCount", "CheckpointWriteErrorCount", "CheckpointBackupWriteErrorCount", NULL };
static const char *const channel_kafka_attributes[] = { CHANNEL_COUNTS, "KafkaEventGetTimer", "KafkaEventSendTimer",
	"KafkaCommitTimer", "RollbackCount", NULL };
static const char *const sink_attributes[] = { SINK_COUNTS, "EventWriteFail", "ChannelReadFail", NULL };
static const char *const sink_kafka_attributes[] = { SINK_COUNTS, "KafkaEventSendTimer", "RollbackCount", NULL };

/* First match counts; `type` is looked for in the lower-case alias or class name, "" matches all. NULL attributes: Flume has no
 * monitored group for it and shows nothing. */
static const struct {
	const char *kind, *type;
	bool whole;
	const char *const *attributes;
} shown[] = {
	{ STATS_SOURCE, "netcat", true, NULL },
	{ STATS_SOURCE, "netcatudp", true, NULL },
	{ STATS_SOURCE, "netcatsource", false, NULL },
	{ STATS_SOURCE, "netcatudpsource", false, NULL },
	{ STATS_SOURCE, "stress", false, NULL },
	{ STATS_SOURCE, "legacy", false, NULL },
	{ STATS_SOURCE, "kafka", false, source_kafka_attributes },
	{ STATS_SOURCE, "", false, source_attributes },
	{ STATS_CHANNEL, "jdbc", false, NULL },
	{ STATS_CHANNEL, "kafka", false, channel_kafka_attributes },
	{ STATS_CHANNEL, "file", true, channel_file_attributes },
	{ STATS_CHANNEL, "filechannel", false, channel_file_attributes },
	{ STATS_CHANNEL, "", false, channel_attributes },
	{ STATS_SINK, "logger", false, NULL },
	{ STATS_SINK, "null", false, NULL },
	{ STATS_SINK, "irc", false, NULL },
	{ STATS_SINK, "kafka", false, sink_kafka_attributes },
	{ STATS_SINK, "", false, sink_attributes },
};

/* component: a configured source, channel or sink. Owned by stats, under its lock. */
struct component {
	struct component *next;
	char *kind, *name, *type;
	uint64_t start_ms, stop_ms;	/* wall; stop 0 while running */
};

struct stats {
	struct clock *clock;
	uint64_t start_ns;		/* monotonic */
	pthread_mutex_t lock;
	struct component *components;
	void (*pause)(void *context);
	void *pause_context;
};

/* sample: one metric of one component, summed over the sets. The strings but component are those of const tables. */
struct sample {
	const char *kind, *name, *unit, *help;
	char *component;
	enum metric_type type;
	uint64_t value;
};

struct samples {
	struct sample *list;
	size_t count, room;
	bool failed;
};

static void
pause_system(void *context)
{
	(void)context;
	nanosleep(&(struct timespec){ .tv_nsec = 1000 * 1000 }, NULL);
}

struct stats *
stats_open(struct clock *clock)
{
	struct stats *stats = calloc(1, sizeof *stats);
	if (!stats)
		return NULL;
	stats->clock = clock;
	stats->start_ns = clock_now_ns(clock);
	pthread_mutex_init(&stats->lock, NULL);
	stats->pause = pause_system;
	return stats;
}

static void
component_free(struct component *component)
{
	free(component->kind);
	free(component->name);
	free(component->type);
	free(component);
}

void
stats_close(struct stats *stats)
{
	if (!stats)
		return;
	while (stats->components) {
		struct component *next = stats->components->next;
		component_free(stats->components);
		stats->components = next;
	}
	pthread_mutex_destroy(&stats->lock);
	free(stats);
}

void
stats_set_pause(struct stats *stats, void (*pause)(void *context), void *context)
{
	stats->pause = pause;
	stats->pause_context = context;
}

static struct component **
component_find(struct stats *stats, const char *kind, const char *name)
{
	struct component **link = &stats->components;
	while (*link && (strcmp((*link)->kind, kind) != 0 || strcmp((*link)->name, name) != 0))
		link = &(*link)->next;
	return link;
}

void
stats_component_add(struct stats *stats, const char *kind, const char *name, const char *type)
{
	pthread_mutex_lock(&stats->lock);
	struct component **link = component_find(stats, kind, name);
	struct component *component = *link;
	if (!component) {
		component = calloc(1, sizeof *component);
		if (component) {
			component->kind = strdup(kind);
			component->name = strdup(name);
		}
		if (!component || !component->kind || !component->name) {
			if (component)
				component_free(component);
			pthread_mutex_unlock(&stats->lock);
			return;
		}
		*link = component;
	}
	free(component->type);
	component->type = strdup(type);
	for (char *c = component->type; c && *c; c++)
		*c = tolower((unsigned char)*c);
	component->start_ms = clock_wall_ns(stats->clock) / NS_PER_MS;
	component->stop_ms = 0;
	pthread_mutex_unlock(&stats->lock);
}

void
stats_component_stopped(struct stats *stats, const char *kind, const char *name)
{
	pthread_mutex_lock(&stats->lock);
	struct component *component = *component_find(stats, kind, name);
	if (component)
		component->stop_ms = clock_wall_ns(stats->clock) / NS_PER_MS;
	pthread_mutex_unlock(&stats->lock);
}

void
stats_component_remove(struct stats *stats, const char *kind, const char *name)
{
	pthread_mutex_lock(&stats->lock);
	struct component **link = component_find(stats, kind, name);
	struct component *component = *link;
	if (component) {
		*link = component->next;
		component_free(component);
	}
	pthread_mutex_unlock(&stats->lock);
}

/* ---- reading the registry ---- */

static void
sample_take(struct metric_set *set, void *context)
{
	struct samples *samples = context;
	for (uint32_t i = 0; i < set->count && !samples->failed; i++) {
		if (samples->count == samples->room) {
			size_t room = samples->room ? samples->room * 2 : 256;
			struct sample *list = realloc(samples->list, room * sizeof *list);
			if (!list) {
				samples->failed = true;
				return;
			}
			samples->list = list;
			samples->room = room;
		}
		const struct metric *metric = &set->metrics[i];
		struct sample *sample = &samples->list[samples->count];
		*sample = (struct sample){ set->kind, metric->name, metric->unit ? metric->unit : "", metric->help ? metric->help : "",
					   strdup(set->component), metric->type, metric_value(set, i) };
		if (!sample->component) {
			samples->failed = true;
			return;
		}
		samples->count++;
	}
}

static int
sample_compare(const void *a, const void *b)
{
	const struct sample *x = a, *y = b;
	int order = strcmp(x->kind, y->kind);
	if (!order)
		order = strcmp(x->name, y->name);
	if (!order)
		order = strcmp(x->component, y->component);
	return order;
}

static void
samples_free(struct samples *samples)
{
	for (size_t i = 0; i < samples->count; i++)
		free(samples->list[i].component);
	free(samples->list);
	*samples = (struct samples){ 0 };
}

/* Sorted by kind, name, component; one each. false: out of memory. */
static bool
samples_read(struct samples *samples)
{
	*samples = (struct samples){ 0 };
	metrics_visit(sample_take, samples);
	if (samples->failed) {
		samples_free(samples);
		return false;
	}
	if (samples->count == 0)
		return true;
	qsort(samples->list, samples->count, sizeof *samples->list, sample_compare);
	size_t kept = 0;
	for (size_t i = 1; i < samples->count; i++) {
		if (sample_compare(&samples->list[kept], &samples->list[i]) == 0) {
			samples->list[kept].value += samples->list[i].value;
			free(samples->list[i].component);
		} else {
			samples->list[++kept] = samples->list[i];
		}
	}
	samples->count = kept + 1;
	return true;
}

static const struct sample *
samples_find(const struct samples *samples, const char *kind, const char *component, const char *name)
{
	struct sample key = { .kind = kind, .name = name, .component = (char *)component };
	return samples->count ? bsearch(&key, samples->list, samples->count, sizeof key, sample_compare) : NULL;
}

static uint64_t
samples_value(const struct samples *samples, const char *kind, const char *component, const char *name)
{
	const struct sample *sample = samples_find(samples, kind, component, name);
	return sample ? sample->value : 0;
}

/* ---- Flume's JSON ---- */

void
stats_java_double(double value, char text[STATS_NUMBER_BYTES])
{
	char digits[32];
	int precision = 0;
	do {	/* the fewest digits that read back as the same number */
		snprintf(digits, sizeof digits, "%.*e", precision, value);
	} while (strtod(digits, NULL) != value && ++precision < 17);
	double size = fabs(value);
	if (size != 0 && (size < 1e-3 || size >= 1e7)) {
		char *e = strchr(digits, 'e');
		*e = 0;
		snprintf(text, STATS_NUMBER_BYTES, "%s%sE%d", digits, strchr(digits, '.') ? "" : ".0", (int)strtol(e + 1, NULL, 10));
		return;
	}
	int exponent = size == 0 ? 0 : (int)strtol(strchr(digits, 'e') + 1, NULL, 10);
	int decimals = precision - exponent;
	snprintf(text, STATS_NUMBER_BYTES, "%.*f", decimals < 1 ? 1 : decimals, value);
}

static const char *const *
component_attributes(const struct component *component)
{
	for (size_t i = 0; i < sizeof shown / sizeof *shown; i++) {
		if (strcmp(shown[i].kind, component->kind) != 0 || !component->type)
			continue;
		if (shown[i].whole ? strcmp(component->type, shown[i].type) == 0 : strstr(component->type, shown[i].type) != NULL)
			return shown[i].attributes;
	}
	return NULL;
}

static double
fill_percentage(const struct samples *samples, const char *component)
{
	uint64_t size = samples_value(samples, STATS_CHANNEL, component, "ChannelSize");
	uint64_t capacity = samples_value(samples, STATS_CHANNEL, component, "ChannelCapacity");
	return capacity ? (double)size / (double)capacity * 100.0 : DBL_MAX;
}

static void
attribute_text(const struct samples *samples, const struct component *component, const char *name, char text[STATS_NUMBER_BYTES])
{
	const struct sample *sample = samples_find(samples, component->kind, component->name, name);
	if (strcmp(name, "ChannelFillPercentage") == 0)
		stats_java_double(fill_percentage(samples, component->name), text);
	else if (strcmp(name, "Open") == 0)
		snprintf(text, STATS_NUMBER_BYTES, "%s", (sample ? sample->value != 0 : component->stop_ms == 0) ? "true" : "false");
	else
		snprintf(text, STATS_NUMBER_BYTES, "%llu", (unsigned long long)(sample ? sample->value : 0));
}

static void
set_number_text(json_t *object, const char *key, uint64_t value)
{
	char text[STATS_NUMBER_BYTES];
	snprintf(text, sizeof text, "%llu", (unsigned long long)value);
	json_object_set_new(object, key, json_string(text));
}

char *
stats_flume_json(struct stats *stats)
{
	struct samples samples;
	if (!samples_read(&samples))
		return NULL;
	json_t *all = json_object();
	pthread_mutex_lock(&stats->lock);
	for (struct component *c = stats->components; c; c = c->next) {
		const char *const *attributes = component_attributes(c);
		if (!attributes)
			continue;
		json_t *object = json_object();
		for (; *attributes; attributes++) {
			char text[STATS_NUMBER_BYTES];
			attribute_text(&samples, c, *attributes, text);
			json_object_set_new(object, *attributes, json_string(text));
		}
		set_number_text(object, "StartTime", c->start_ms);
		set_number_text(object, "StopTime", c->stop_ms);
		json_object_set_new(object, "Type", json_string(c->kind));
		char key[256];
		snprintf(key, sizeof key, "%s.%s", c->kind, c->name);
		json_object_set_new(all, key, object);
	}
	pthread_mutex_unlock(&stats->lock);
	char *text = json_dumps(all, JSON_COMPACT);
	json_decref(all);
	samples_free(&samples);
	return text;
}

/* ---- Prometheus text ---- */

static bool
ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);
	return n >= m && strcmp(text + n - m, end) == 0;
}

static void
cut_end(char *text, const char *end)
{
	if (ends_with(text, end))
		text[strlen(text) - strlen(end)] = 0;
}

/* CamelCase or snake_case to the base-unit name promtool wants: no _count at the end, seconds, bytes and ratios, _total. *scale:
 * what to divide the value by. */
static void
prometheus_name(const struct sample *sample, char *name, size_t room, double *scale)
{
	char snake[128], kind[32];
	size_t n = 0;
	for (const char *c = sample->name; *c && n + 2 < sizeof snake; c++) {
		bool upper = isupper((unsigned char)*c);
		if (upper && n > 0 && snake[n - 1] != '_' && !isupper((unsigned char)c[-1]))
			snake[n++] = '_';
		snake[n++] = isalnum((unsigned char)*c) ? tolower((unsigned char)*c) : '_';
	}
	snake[n] = 0;
	for (n = 0; sample->kind[n] && n + 1 < sizeof kind; n++)
		kind[n] = isalnum((unsigned char)sample->kind[n]) ? tolower((unsigned char)sample->kind[n]) : '_';
	kind[n] = 0;

	static const struct {
		const char *unit, *suffix, *base;
		double scale;
	} units[] = {
		{ "ns", "_ns", "_seconds", 1e9 }, { "us", "_us", "_seconds", 1e6 }, { "ms", "_ms", "_seconds", 1e3 },
		{ "s", "_s", "_seconds", 1 }, { "bytes", "_bytes", "_bytes", 1 }, { "percent", "_percent", "_ratio", 100 },
	};
	const char *base = "";
	*scale = 1;
	cut_end(snake, "_total");
	cut_end(snake, "_count");
	cut_end(snake, "_timer");
	for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
		if (strcmp(sample->unit, units[i].unit) == 0) {
			cut_end(snake, units[i].suffix);
			base = units[i].base;
			*scale = units[i].scale;
		}
	}
	cut_end(snake, "_percentage");
	const char *rest = snake;
	size_t kind_bytes = strlen(kind);
	if (strncmp(rest, kind, kind_bytes) == 0 && rest[kind_bytes] == '_')
		rest += kind_bytes + 1;
	snprintf(name, room, "penstock_%s_%s%s%s", kind, rest, base, sample->type == METRIC_COUNTER ? "_total" : "");
}

static void
put_escaped(FILE *out, const char *text, bool quote)
{
	for (; *text; text++) {
		if (*text == '\n')
			fputs("\\n", out);
		else if (*text == '\\' || (quote && *text == '"'))
			fprintf(out, "\\%c", *text);
		else
			fputc(*text, out);
	}
}

static void
put_head(FILE *out, const char *name, const char *help, const char *unit, enum metric_type type)
{
	fprintf(out, "# HELP %s ", name);
	put_escaped(out, *help ? help : name, false);
	if (*unit && !strstr(name, "_seconds") && !strstr(name, "_bytes") && !strstr(name, "_ratio"))
		fprintf(out, " [%s]", unit);
	fprintf(out, "\n# TYPE %s %s\n", name, type == METRIC_COUNTER ? "counter" : "gauge");
}

static void
put_series(FILE *out, const char *name, const char *component)
{
	fprintf(out, "%s{component=\"", name);
	put_escaped(out, component, true);
	fputs("\"} ", out);
}

static void
put_fill(FILE *out, const struct samples *samples)
{
	bool first = true;
	for (size_t i = 0; i < samples->count; i++) {
		const struct sample *sample = &samples->list[i];
		if (strcmp(sample->kind, STATS_CHANNEL) != 0 || strcmp(sample->name, "ChannelCapacity") != 0 || !sample->value)
			continue;
		if (first)
			put_head(out, "penstock_channel_fill_ratio", "Part of the channel's capacity in use.", "", METRIC_GAUGE);
		first = false;
		put_series(out, "penstock_channel_fill_ratio", sample->component);
		fprintf(out, "%.9g\n", fill_percentage(samples, sample->component) / 100);
	}
}

static void
put_starts(FILE *out, struct stats *stats)
{
	static const char *const kinds[] = { STATS_SOURCE, STATS_CHANNEL, STATS_SINK };
	static const char *const names[] = { "penstock_source_start_time_seconds", "penstock_channel_start_time_seconds",
					     "penstock_sink_start_time_seconds" };
	for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
		bool first = true;
		for (struct component *c = stats->components; c; c = c->next) {
			if (strcmp(c->kind, kinds[k]) != 0)
				continue;
			if (first)
				put_head(out, names[k], "Wall time of the component's start, since 1970.", "", METRIC_GAUGE);
			first = false;
			put_series(out, names[k], c->name);
			fprintf(out, "%.3f\n", (double)c->start_ms / 1000);
		}
	}
}

char *
stats_prometheus(struct stats *stats)
{
	struct samples samples;
	char *text = NULL;
	size_t bytes = 0;
	if (!samples_read(&samples))
		return NULL;
	FILE *out = open_memstream(&text, &bytes);
	if (!out) {
		samples_free(&samples);
		return NULL;
	}
	put_head(out, "penstock_build_info", "The running version.", "", METRIC_GAUGE);
	fprintf(out, "penstock_build_info{version=\"%s\"} 1\n", PENSTOCK_VERSION);
	put_head(out, "penstock_uptime_seconds", "Time since start.", "", METRIC_GAUGE);
	fprintf(out, "penstock_uptime_seconds %.3f\n", (double)(clock_now_ns(stats->clock) - stats->start_ns) / NS_PER_S);
	char last[256] = "";
	for (size_t i = 0; i < samples.count; i++) {
		const struct sample *sample = &samples.list[i];
		char name[256];
		double scale;
		if (strcmp(sample->name, "ChannelFillPercentage") == 0 || strcmp(sample->name, "StartTime") == 0 ||
		    strcmp(sample->name, "StopTime") == 0)
			continue;	/* below, as a ratio and from the components */
		prometheus_name(sample, name, sizeof name, &scale);
		if (strcmp(name, last) != 0)
			put_head(out, name, sample->help, sample->unit, sample->type);
		memcpy(last, name, sizeof last);
		put_series(out, name, sample->component);
		if (scale == 1)
			fprintf(out, "%llu\n", (unsigned long long)sample->value);
		else
			fprintf(out, "%.15g\n", (double)sample->value / scale);
	}
	put_fill(out, &samples);
	pthread_mutex_lock(&stats->lock);
	put_starts(out, stats);
	pthread_mutex_unlock(&stats->lock);
	samples_free(&samples);
	if (fclose(out) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

/* ---- penstockctl's JSON ---- */

void
stats_metrics(struct stats *stats, json_t *answer)
{
	struct samples samples;
	json_t *list = json_array();
	json_object_set_new(answer, "uptime_seconds", json_real((double)(clock_now_ns(stats->clock) - stats->start_ns) / NS_PER_S));
	if (samples_read(&samples)) {
		for (size_t i = 0; i < samples.count; i++) {
			const struct sample *s = &samples.list[i];
			json_array_append_new(list, json_pack("{ss ss ss ss ss ss sI}", "kind", s->kind, "component", s->component,
				"name", s->name, "type", s->type == METRIC_COUNTER ? "counter" : "gauge", "unit", s->unit,
				"help", s->help, "value", (json_int_t)s->value));
		}
		samples_free(&samples);
	}
	json_object_set_new(answer, "metrics", list);
}

enum account_state { ACCOUNT_EVEN, ACCOUNT_MOVING, ACCOUNT_UNEVEN };

static uint64_t
account_out(const struct samples *samples, const struct stats_account *account, const char *component, json_t *parts)
{
	uint64_t total = 0;
	for (size_t i = 0; i < STATS_ACCOUNT_OUTS && account->out[i].kind; i++) {
		const char *kind = account->out[i].kind, *name = account->out[i].name;
		bool prefix = ends_with(name, "_");
		for (size_t k = 0; k < samples->count; k++) {
			const struct sample *s = &samples->list[k];
			if (strcmp(s->kind, kind) != 0 || strcmp(s->component, component) != 0 ||
			    (prefix ? strncmp(s->name, name, strlen(name)) != 0 : strcmp(s->name, name) != 0))
				continue;
			total += s->value;
			if (parts)
				json_array_append_new(parts, json_pack("{ss sI ss}", "name",
					account->out[i].label ? account->out[i].label : s->name, "value", (json_int_t)s->value,
								       "help", s->help));
		}
	}
	return total;
}

static bool
accounts_all_even(const struct samples *samples)
{
	for (const struct stats_account *account = stats_accounts; account->name; account++)
		for (size_t k = 0; k < samples->count; k++) {
			const struct sample *s = &samples->list[k];
			if (strcmp(s->kind, account->in_kind) == 0 && strcmp(s->name, account->in) == 0 &&
			    s->value != account_out(samples, account, s->component, NULL))
				return false;
		}
	return true;
}

static enum account_state
account_state(const struct samples *first, const struct samples *last, const struct stats_account *account, const struct sample *in)
{
	if (account_out(last, account, in->component, NULL) == in->value)
		return ACCOUNT_EVEN;
	uint64_t before = samples_value(first, in->kind, in->component, in->name);
	return before != in->value || account_out(first, account, in->component, NULL) == before ? ACCOUNT_MOVING : ACCOUNT_UNEVEN;
}

void
stats_drops(struct stats *stats, json_t *answer)
{
	static const char *const state_name[] = { [ACCOUNT_EVEN] = "even", [ACCOUNT_MOVING] = "moving", [ACCOUNT_UNEVEN] = "uneven" };
	struct samples first, last = { 0 };
	json_t *list = json_array();
	bool even = true;

	if (!samples_read(&first)) {
		json_decref(list);
		return;
	}
	/* The writers go on between two counters, so a first reading may be off by a burst. */
	for (int i = 0; samples_read(&last) && !accounts_all_even(&last) && i < ACCOUNT_TRIES; i++) {
		samples_free(&last);
		stats->pause(stats->pause_context);
	}
	for (const struct stats_account *account = stats_accounts; account->name; account++) {
		for (size_t k = 0; k < last.count; k++) {
			const struct sample *in = &last.list[k];
			if (strcmp(in->kind, account->in_kind) != 0 || strcmp(in->name, account->in) != 0)
				continue;
			json_t *parts = json_array();
			uint64_t out = account_out(&last, account, in->component, parts);
			enum account_state state = account_state(&first, &last, account, in);
			even = even && state != ACCOUNT_UNEVEN;
			json_array_append_new(list, json_pack("{ss ss s{ss sI} so sI ss}", "account", account->name,
				"component", in->component, "in", "name", in->name, "value", (json_int_t)in->value, "out", parts,
				"difference", (json_int_t)(in->value - out), "state", state_name[state]));
		}
	}
	json_object_set_new(answer, "even", json_boolean(even));
	json_object_set_new(answer, "accounts", list);
	samples_free(&first);
	samples_free(&last);
}

void
stats_status(struct stats *stats, json_t *answer)
{
	struct samples samples;
	json_t *list = json_array();

	json_object_set_new(answer, "version", json_string(PENSTOCK_VERSION));
	json_object_set_new(answer, "pid", json_integer(getpid()));
	json_object_set_new(answer, "uptime_seconds", json_real((double)(clock_now_ns(stats->clock) - stats->start_ns) / NS_PER_S));
	if (!samples_read(&samples)) {
		json_decref(list);
		return;
	}
	pthread_mutex_lock(&stats->lock);
	for (struct component *c = stats->components; c; c = c->next) {
		json_t *object = json_pack("{ss ss ss ss}", "kind", c->kind, "name", c->name, "type", c->type ? c->type : "",
					   "state", c->stop_ms ? "stopped" : "running");
		const char *in = "EventReceivedCount", *out = "EventAcceptedCount";
		if (strcmp(c->kind, STATS_CHANNEL) == 0) {
			in = "EventPutSuccessCount";
			out = "EventTakeSuccessCount";
			json_object_set_new(object, "size", json_integer(samples_value(&samples, c->kind, c->name, "ChannelSize")));
			json_object_set_new(object, "capacity", json_integer(samples_value(&samples, c->kind, c->name, "ChannelCapacity")));
		} else if (strcmp(c->kind, STATS_SINK) == 0) {
			in = "EventDrainAttemptCount";
			out = "EventDrainSuccessCount";
		}
		json_object_set_new(object, "events_in", json_integer(samples_value(&samples, c->kind, c->name, in)));
		json_object_set_new(object, "events_out", json_integer(samples_value(&samples, c->kind, c->name, out)));
		json_array_append_new(list, object);
	}
	pthread_mutex_unlock(&stats->lock);
	json_object_set_new(answer, "components", list);
	samples_free(&samples);
}
