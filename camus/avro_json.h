/* avro_json: Avro's JSON encoding (specification, "JSON Encoding") into a value: unions as {"type": value} or null, bytes as one character a
 * byte. libavro writes it, but does not read it. Any thread. */
#ifndef PENSTOCK_CAMUS_AVRO_JSON_H
#define PENSTOCK_CAMUS_AVRO_JSON_H

#include <avro.h>
#include <jansson.h>

#include "base/err.h"

/* `to` is reset before. Fields that the schema does not have are passed over. 0 or -EINVAL with the field in err. */
int avro_json_read(const json_t *json, avro_value_t *to, struct err *err);

#endif
