/* registry: where writer schemas of Avro records come from. Instances are cached per task; not shared between threads. */
#ifndef PENSTOCK_CAMUS_REGISTRY_H
#define PENSTOCK_CAMUS_REGISTRY_H

#include <avro.h>
#include <stdint.h>

#include "base/err.h"
#include "camus/conf.h"

struct schema {
	struct schema *next;
	char *topic;			/* or subject */
	int64_t id;
	char *json;
	avro_schema_t avro;
	bool latest;
};

struct registry;

/* Kind by the properties: schema.registry.url (Confluent's), or kafka.message.coder.schema.registry.class (AvroRestSchemaRegistry with
 * etl.schema.registry.url; FileSchemaRegistry or MemorySchemaRegistry with penstock.camus.schemas, a folder). */
int registry_open(struct registry **registry, const struct camus_conf *conf, bool confluent, struct err *err);
void registry_close(struct registry *registry);

enum registry_result { REGISTRY_OK, REGISTRY_UNKNOWN, REGISTRY_DOWN };
/* The schema stays as long as the registry. Failed look-ups are repeated get.schema.by.id.max.retries times, not more often than
 * every get.schema.by.id.min.interval.seconds. */
enum registry_result registry_by_id(struct registry *registry, const char *topic, int64_t id, const struct schema **schema, struct err *err);
/* The newest of the topic; asked once, and again by registry_refresh. */
enum registry_result registry_latest(struct registry *registry, const char *topic, const struct schema **schema, struct err *err);
void registry_refresh(struct registry *registry, const char *topic);

#endif
