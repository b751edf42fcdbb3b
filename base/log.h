/* log: lines for humans on stderr. Never called per event; use log_limited where a peer's behaviour decides how often.
 * Any thread. One line per call, written with a single write(2). */
#ifndef PENSTOCK_BASE_LOG_H
#define PENSTOCK_BASE_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_set_level(enum log_level level);
/* "error", "warn", "info" or "debug"; false when it is none of these. */
bool log_level_parse(const char *text, enum log_level *level);

#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)

/* At most one line a second for each limit; the next one says how many were left out. A limit is static and zeroed. */
struct log_limit {
	_Atomic uint64_t next_ns;	/* monotonic */
	_Atomic uint64_t suppressed;
};
void log_limited(struct log_limit *limit, enum log_level level, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
