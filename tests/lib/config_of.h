/* config_of: a component's configuration from "key=value" texts, as the agent's file would give it. */
#ifndef PENSTOCK_TESTS_LIB_CONFIG_OF_H
#define PENSTOCK_TESTS_LIB_CONFIG_OF_H

#include "base/option.h"

/* texts: NULL terminated, at most 32 of at most 1,023 bytes. What is wrong or noted goes to stderr. *config is the caller's to free(), and values'
 * strings by option_values_free(), after an error too. 0 or what option_parse says. */
int config_of(const struct option *options, size_t size, const char *const *texts, void **config, struct option_values *values);

/* The same, and the end of the program when it is refused. */
void *config_must(const struct option *options, size_t size, const char *const *texts, struct option_values *values);

#endif
