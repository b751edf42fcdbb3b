/* show: an answer of the control socket as a person reads it. */
#ifndef PENSTOCK_TOOLS_PENSTOCKCTL_SHOW_H
#define PENSTOCK_TOOLS_PENSTOCKCTL_SHOW_H

#include <jansson.h>
#include <stdbool.h>

void show_status(const json_t *answer);
void show_metrics(const json_t *answer);
/* false: an account is not even. */
bool show_drops(const json_t *answer);
void show_trace(const json_t *line);
/* NULL: the head of the table. */
void show_flow(const json_t *line);
/* Rates since `before` (NULL: the first line, totals only). */
void show_top(const json_t *before, const json_t *line, bool clear);
/* Any other answer: its members, one a line; a member "text" as it is. */
void show_any(const json_t *answer);

#endif
