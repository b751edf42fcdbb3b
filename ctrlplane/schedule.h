/* schedule: batch loads that the agent runs by the clock (penstock.camus.NAME.schedule, .conf), each a penstock-camus of its own.
 *
 * A run begins `schedule` after the last one began, the first at once. One that is still at work is not joined by another: that turn is skipped and
 * counted. What a run says of itself (--json) becomes the load's figures in status and metrics (kind LOAD). All of it is the control thread's; no
 * call blocks but schedule_close. */
#ifndef PENSTOCK_CTRLPLANE_SCHEDULE_H
#define PENSTOCK_CTRLPLANE_SCHEDULE_H

#include <jansson.h>
#include <stdbool.h>

#include "base/clock.h"
#include "base/err.h"
#include "ctrlplane/appliance.h"

struct schedule;

/* The appliance must stay. Without loads *schedule becomes NULL, which all calls below take. -ENOENT: there is no penstock-camus beside this
 * program or on the PATH. */
int schedule_open(struct schedule **schedule, const struct appliance *appliance, struct clock *clock, struct err *err);
/* Begins what is due and takes in what has ended. For control_watch. */
void schedule_step(void *schedule);
/* No run begins any more; those at work are asked (SIGTERM) to commit what they have and end. */
void schedule_stop(struct schedule *schedule);
bool schedule_busy(const struct schedule *schedule);
/* "loads": [{name, conf, schedule_seconds, state, ...}] */
void schedule_status(const struct schedule *schedule, json_t *answer);
/* Ends by force what still runs: the next run finishes it. */
void schedule_close(struct schedule *schedule);

#endif
