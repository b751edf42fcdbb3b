/* avro_plan: a schema, compiled, that turns records in Avro's JSON encoding into Avro's binary one without building values of them.
 *
 * Takes what is plain and refuses the rest (a field that is not there, a number that may not fit, the same key twice, a 0 in a string): that is
 * for avro_json.h, which knows what is wrong with it, or that nothing is. What both take comes out the same.
 * Owner and thread: whoever made it. */
#ifndef PENSTOCK_CAMUS_AVRO_PLAN_H
#define PENSTOCK_CAMUS_AVRO_PLAN_H

#include <avro.h>
#include <stdbool.h>
#include <stdint.h>

struct avro_plan;
struct avro_text;

struct avro_plan *avro_plan_new(avro_schema_t schema);	/* NULL: no memory. The schema must outlive it */
void avro_plan_free(struct avro_plan *plan);
const char *avro_plan_trouble(struct avro_plan *plan);	/* why libavro is not to make values of the schema, or NULL */
/* How long the record at the beginning of the bytes is, as every reader would take it. SIZE_MAX: none is there, or one that nests deeper or has
 * more items without bytes than libavro should be given. */
size_t avro_plan_record(const struct avro_plan *plan, const uint8_t *bytes, size_t len);

/* One JSON object at a time, taken apart. */
struct avro_text *avro_text_new(void);		/* NULL: no memory */
void avro_text_free(struct avro_text *text);
bool avro_text_read(struct avro_text *text, const uint8_t *json, size_t len);	/* false: refused */
/* A whole number in a top field, or digits in a string there. */
bool avro_text_number(const struct avro_text *text, const char *field, int64_t *number);

struct avro_binary {
	const uint8_t *bytes;		/* the text's, until its next avro_text_read */
	size_t len;
	bool timed;
	int64_t time_ms;		/* of header.time, else timestamp */
	const char *server, *service;	/* of the header; NULL: none; not terminated */
	size_t server_len, service_len;
};
bool avro_plan_encode(const struct avro_plan *plan, struct avro_text *text, struct avro_binary *out);	/* false: refused */

#endif
