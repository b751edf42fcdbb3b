/* commands: what the control socket offers that needs the running machine: status, trace, capture; and health. Control thread. */
#ifndef PENSTOCK_CTRLPLANE_COMMANDS_H
#define PENSTOCK_CTRLPLANE_COMMANDS_H

#include <stdio.h>

#include "ctrlplane/control.h"
#include "ctrlplane/topology.h"

void commands_add(struct control *control, struct topology *topology);
/* For control_add_basics: ports, channels and paths of sources. */
void commands_status(json_t *answer, void *topology);
/* For metrics_http: a line for each reason to be ill. */
void commands_health(FILE *reasons, void *topology);

#endif
