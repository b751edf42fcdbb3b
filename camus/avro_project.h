/* avro_project: a value of one schema as a value of another, by the rules of schema resolution (Avro 1.x specification, "Schema Resolution"),
 * defaults included, which libavro leaves out. Any thread. */
#ifndef PENSTOCK_CAMUS_AVRO_PROJECT_H
#define PENSTOCK_CAMUS_AVRO_PROJECT_H

#include <avro.h>
#include <jansson.h>

#include "base/err.h"

/* `to` is reset before; json: its schema's text, parsed. 0 or -EINVAL with the field in err. */
int avro_project(const avro_value_t *from, avro_value_t *to, const json_t *json, struct err *err);

#endif
