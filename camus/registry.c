#include "camus/registry.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "camus/avro_plan.h"
#include "sinks/http_client.h"

enum kind { CONFLUENT, REST, FOLDER };

struct miss {			/* an id that was not found */
	struct miss *next;
	char *topic;
	int64_t id;
	uint32_t tries;
	uint64_t tried_ns;
	enum registry_result result;
	char words[160];
};

struct registry {
	enum kind kind;
	char url[1024];		/* without a slash at its end; or the folder */
	const char *subject_tail;	/* "-value" */
	struct http_client *http;
	struct schema *schemas;
	struct miss *misses;
	uint64_t retries, interval_ns;
	char *wanted;		/* answer of the call that was made */
	size_t wanted_len;
	int status;
	bool ended;
	char words[256];
};

static uint64_t
number(const struct camus_conf *conf, const char *key, uint64_t missing)
{
	const char *text = conf_text(conf, key);
	char *end;
	unsigned long long value = text ? strtoull(text, &end, 10) : 0;
	return text && *text && !*end ? value : missing;
}

int
registry_open(struct registry **out, const struct camus_conf *conf, bool confluent, struct err *err)
{
	struct registry *registry = calloc(1, sizeof *registry);
	if (!registry)
		return err_set(err, ENOMEM, "no memory");
	*out = registry;
	registry->retries = number(conf, "get.schema.by.id.max.retries", 3);
	registry->interval_ns = number(conf, "get.schema.by.id.min.interval.seconds", 1) * NS_PER_S;
	const char *class = conf_text(conf, "kafka.message.coder.schema.registry.class"), *url;
	if (confluent) {
		registry->kind = CONFLUENT;
		registry->subject_tail = "-value";
		url = conf_text(conf, "schema.registry.url");
		if (!url)
			return err_set(err, EINVAL, "schema.registry.url: required by this decoder");
	} else if (!class) {
		return err_set(err, EINVAL, "kafka.message.coder.schema.registry.class: required by this decoder (AvroRestSchemaRegistry, FileSchemaRegistry or "
			"MemorySchemaRegistry)");
	} else if (conf_class_is(class, "AvroRestSchemaRegistry")) {
		registry->kind = REST;
		url = conf_text(conf, "etl.schema.registry.url");
		if (!url)
			return err_set(err, EINVAL, "etl.schema.registry.url: required by AvroRestSchemaRegistry");
	} else if (conf_class_is(class, "FileSchemaRegistry") || conf_class_is(class, "MemorySchemaRegistry")) {
		registry->kind = FOLDER;
		url = conf_text(conf, "penstock.camus.schemas");
		if (!url)
			return err_set(err, EINVAL, "penstock.camus.schemas: required with %s: a folder with <topic>/<id>.avsc (its constructor's arguments "
				"cannot be known here)", class);
	} else {
		return err_set(err, EINVAL, "kafka.message.coder.schema.registry.class \"%s\": Java classes cannot be loaded; want AvroRestSchemaRegistry, "
			"FileSchemaRegistry or MemorySchemaRegistry", class);
	}
	snprintf(registry->url, sizeof registry->url, "%s", url);
	size_t len = strlen(registry->url);
	while (len && registry->url[len - 1] == '/')
		registry->url[--len] = '\0';
	return registry->kind == FOLDER ? 0 : http_client_open(&registry->http, &clock_system, NULL, err);
}

void
registry_close(struct registry *registry)
{
	if (!registry)
		return;
	while (registry->schemas) {
		struct schema *schema = registry->schemas;
		registry->schemas = schema->next;
		avro_schema_decref(schema->avro);
		free(schema->json);
		free(schema->topic);
		free(schema);
	}
	while (registry->misses) {
		struct miss *miss = registry->misses;
		registry->misses = miss->next;
		free(miss->topic);
		free(miss);
	}
	if (registry->http)
		http_client_close(registry->http);
	free(registry->wanted);
	free(registry);
}

static void
get_done(void *context, const struct http_answer *answer)
{
	struct registry *registry = context;
	registry->ended = true;
	registry->status = answer->status;
	free(registry->wanted);
	registry->wanted = answer->status && answer->body ? strndup(answer->body, answer->body_len) : NULL;
	snprintf(registry->words, sizeof registry->words, "%s", answer->status ? "" : answer->error ? answer->error : "no answer");
}

/* GET url; waits. The status, 0 without an answer. */
static int
get(struct registry *registry, const char *url)
{
	static const char *const accept[] = { "Accept: application/vnd.schemaregistry.v1+json, application/json, text/plain", NULL };
	struct http_request request = { .method = "GET", .url = url, .headers = accept, .connect_ns = 5 * NS_PER_S, .stall_ns = 20 * NS_PER_S,
		.done = get_done, .context = registry };
	registry->ended = false;
	registry->status = 0;
	if (!http_begin(registry->http, &request)) {
		snprintf(registry->words, sizeof registry->words, "not a URL");
		return 0;
	}
	while (!registry->ended) {
		uint64_t wait = http_client_step(registry->http);
		if (registry->ended)
			break;
		struct pollfd fd = { http_client_fd(registry->http), POLLIN, 0 };
		poll(&fd, 1, wait > 100 * NS_PER_MS ? 100 : (int)(wait / NS_PER_MS));
	}
	return registry->status;
}

static const struct schema *
schema_add(struct registry *registry, const char *topic, int64_t id, const char *json, struct err *err)
{
	avro_schema_t avro;
	if (avro_schema_from_json_length(json, strlen(json), &avro)) {
		err_set(err, EINVAL, "schema %lld: not an Avro schema: %s", (long long)id, avro_strerror());
		return NULL;
	}
	struct avro_plan *plan = avro_plan_new(avro);
	const char *trouble = plan ? avro_plan_trouble(plan) : "no memory";
	avro_plan_free(plan);
	if (trouble) {
		err_set(err, EINVAL, "schema %lld: %s", (long long)id, trouble);
		avro_schema_decref(avro);
		return NULL;
	}
	struct schema *schema = calloc(1, sizeof *schema);
	if (!schema)
		abort();
	schema->topic = strdup(topic);
	schema->id = id;
	schema->json = strdup(json);
	schema->avro = avro;
	schema->next = registry->schemas;
	registry->schemas = schema;
	return schema;
}

static char *
file_read(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat stat;
	if (fd < 0)
		return NULL;
	char *text = fstat(fd, &stat) == 0 && stat.st_size < (16 << 20) ? malloc((size_t)stat.st_size + 1) : NULL;
	ssize_t got = text ? read(fd, text, (size_t)stat.st_size) : -1;
	close(fd);
	if (got < 0) {
		free(text);
		return NULL;
	}
	text[got] = '\0';
	return text;
}

/* Highest number of <folder>/<topic>/<id>.avsc; -1 none. */
static int64_t
folder_newest(const char *folder)
{
	DIR *dir = opendir(folder);
	int64_t newest = -1;
	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		long long id;
		int end = 0;
		if (sscanf(entry->d_name, "%lld.avsc%n", &id, &end) == 1 && end && !entry->d_name[end] && id > newest)
			newest = id;
	}
	if (dir)
		closedir(dir);
	return newest;
}

/* id -1: the newest. */
static enum registry_result
fetch(struct registry *registry, const char *topic, int64_t id, const struct schema **schema, struct err *err)
{
	char url[4096], name[512];
	if (registry->kind == FOLDER) {
		snprintf(url, sizeof url, "%s/%s", registry->url, topic);
		if (id < 0 && (id = folder_newest(url)) < 0) {
			err_set(err, ENOENT, "%s: no <id>.avsc in it", url);
			return REGISTRY_UNKNOWN;
		}
		snprintf(url, sizeof url, "%s/%s/%lld.avsc", registry->url, topic, (long long)id);
		char *text = file_read(url);
		if (!text) {
			err_set(err, ENOENT, "%s: %s", url, strerror(errno));
			return REGISTRY_UNKNOWN;
		}
		*schema = schema_add(registry, topic, id, text, err);
		free(text);
		return *schema ? REGISTRY_OK : REGISTRY_UNKNOWN;
	}
	snprintf(name, sizeof name, "%s%s", topic, registry->kind == CONFLUENT ? registry->subject_tail : "");
	char escaped[1024];
	if (http_escape(name, false, escaped, sizeof escaped))
		return REGISTRY_UNKNOWN;
	if (registry->kind == CONFLUENT && id >= 0)
		snprintf(url, sizeof url, "%s/schemas/ids/%lld", registry->url, (long long)id);
	else if (registry->kind == CONFLUENT)
		snprintf(url, sizeof url, "%s/subjects/%s/versions/latest", registry->url, escaped);
	else if (id >= 0)
		snprintf(url, sizeof url, "%s/%s/id/%lld", registry->url, escaped, (long long)id);
	else
		snprintf(url, sizeof url, "%s/%s/latest", registry->url, escaped);
	int status = get(registry, url);
	if (status == 404) {
		err_set(err, ENOENT, "%s: unknown there", url);
		return REGISTRY_UNKNOWN;
	}
	if (status != 200 || !registry->wanted) {
		err_set(err, EIO, "%s: %s (status %d)", url, registry->words[0] ? registry->words : "no schema", status);
		return REGISTRY_DOWN;
	}
	*schema = NULL;
	if (registry->kind == CONFLUENT) {
		json_t *root = json_loads(registry->wanted, 0, NULL);
		const char *text = json_string_value(json_object_get(root, "schema"));
		const json_t *newest = json_object_get(root, "id");
		if (id < 0)
			id = json_is_integer(newest) ? json_integer_value(newest) : -1;
		if (text && id >= 0)
			*schema = schema_add(registry, topic, id, text, err);
		else
			err_set(err, EINVAL, "%s: no schema with its id in the answer", url);
		json_decref(root);
	} else {
		/* An answer of the schema repository is id, tab, schema when the newest is asked for, else the schema. */
		char *text = registry->wanted;
		if (id < 0) {
			char *end;
			id = strtoll(text, &end, 10);
			text = *end == '\t' ? end + 1 : text;
		}
		*schema = schema_add(registry, topic, id, text, err);
	}
	return *schema ? REGISTRY_OK : REGISTRY_UNKNOWN;
}

/* fetch, but what was not found is not asked for again and again, as each record would. id -1: the newest. */
static enum registry_result
fetch_paced(struct registry *registry, const char *topic, int64_t id, const struct schema **schema, struct err *err)
{
	struct miss *miss = registry->misses;
	while (miss && (miss->id != id || strcmp(miss->topic, topic) != 0))
		miss = miss->next;
	uint64_t now = clock_now_ns(&clock_system);
	if (miss && (miss->tries > registry->retries || now < miss->tried_ns + registry->interval_ns)) {
		char which[32] = "the newest schema";
		if (id >= 0)
			snprintf(which, sizeof which, "schema %lld", (long long)id);
		err_set(err, ENOENT, "%s of topic %s: the registry does not have it (asked %u times; the last time: %s)", which, topic, miss->tries, miss->words);
		return miss->result;
	}
	struct err own = { "" };
	enum registry_result result = fetch(registry, topic, id, schema, &own);
	if (result == REGISTRY_OK)
		return result;
	err_set(err, ENOENT, "%s", own.text);
	if (!miss) {
		miss = calloc(1, sizeof *miss);
		if (!miss)
			abort();
		miss->topic = strdup(topic);
		miss->id = id;
		miss->next = registry->misses;
		registry->misses = miss;
	}
	miss->tries++;
	miss->tried_ns = clock_now_ns(&clock_system);	/* asking may have taken long */
	miss->result = result;
	snprintf(miss->words, sizeof miss->words, "%.*s", (int)sizeof miss->words - 1, own.text);
	return result;
}

enum registry_result
registry_by_id(struct registry *registry, const char *topic, int64_t id, const struct schema **schema, struct err *err)
{
	for (struct schema *s = registry->schemas; s; s = s->next)
		if (s->id == id && (registry->kind == CONFLUENT || strcmp(s->topic, topic) == 0)) {
			*schema = s;
			return REGISTRY_OK;
		}
	return fetch_paced(registry, topic, id, schema, err);
}

enum registry_result
registry_latest(struct registry *registry, const char *topic, const struct schema **schema, struct err *err)
{
	for (struct schema *s = registry->schemas; s; s = s->next)
		if (s->latest && strcmp(s->topic, topic) == 0) {
			*schema = s;
			return REGISTRY_OK;
		}
	const struct schema *got = NULL;
	enum registry_result result = fetch_paced(registry, topic, -1, &got, err);
	if (result == REGISTRY_OK) {
		((struct schema *)got)->latest = true;
		*schema = got;
	}
	return result;
}

void
registry_refresh(struct registry *registry, const char *topic)
{
	for (struct schema *s = registry->schemas; s; s = s->next)
		if (strcmp(s->topic, topic) == 0)
			s->latest = false;
}
