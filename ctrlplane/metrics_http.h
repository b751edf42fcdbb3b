/* metrics_http: /metrics, /health and / on penstock.metrics.bind. libmicrohttpd stays inside.
 *
 * No thread of its own: the control thread waits for metrics_http_fd and calls metrics_http_run (see control_watch). Connections
 * are bounded in number, memory and time. */
#ifndef PENSTOCK_CTRLPLANE_METRICS_HTTP_H
#define PENSTOCK_CTRLPLANE_METRICS_HTTP_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

struct stats;
struct metrics_http;

/* Writes a line for each reason to be ill; none: healthy. */
typedef void (*health_fn)(FILE *reasons, void *context);

/* bind: "127.0.0.1:41414", "[::1]:41414", "0.0.0.0:0" (any free port). health may be NULL. */
int metrics_http_open(struct metrics_http **http, const char *bind, struct stats *stats, health_fn health, void *context, struct err *err);
uint16_t metrics_http_port(const struct metrics_http *http);
int metrics_http_fd(const struct metrics_http *http);
/* Does what is to be done, never waits. The argument is a struct metrics_http *, so that it fits control_watch (with always). */
void metrics_http_run(void *http);
void metrics_http_close(struct metrics_http *http);

#endif
