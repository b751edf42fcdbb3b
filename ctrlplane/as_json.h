/* as_json: what check, print and kinds say, as JSON for programs. One value each; texts to free. Control thread, nothing else runs. */
#ifndef PENSTOCK_CTRLPLANE_AS_JSON_H
#define PENSTOCK_CTRLPLANE_AS_JSON_H

#include <jansson.h>

#include "ctrlplane/config.h"

/* A message of the configuration, at the end of the array. */
void as_json_message(json_t *messages, const char *agent, const struct config_message *message);
/* What config_print printed: {"KEY": {"value": "...", "comments": ["origin", ...]}}. NULL: it does not read back. New reference. */
json_t *as_json_properties(const char *printed);
/* As registry_print. NULL with err. New reference. */
json_t *as_json_kinds(const char *kind, const char *type, struct err *err);

#endif
