/* config_print: the configuration as understood, in its own language: defaults filled in, each value with its origin above it. Parses to itself. */
#ifndef PENSTOCK_CTRLPLANE_CONFIG_PRINT_H
#define PENSTOCK_CTRLPLANE_CONFIG_PRINT_H

#include "ctrlplane/config.h"

/* Secrets are shown as "****", unless what stands in the file is a reference such as ${env:PASSWORD}: then that. Control thread. */
void config_print(struct text *text, const struct config *config);

#endif
