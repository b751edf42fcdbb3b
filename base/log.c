#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static _Atomic int level_max = LOG_INFO;
static const char *const level_name[] = { "error", "warn", "info", "debug" };

static void
write_line(enum log_level level, const char *format, va_list args, uint64_t suppressed)
{
	char line[2048];
	struct timespec now;
	struct tm tm;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	size_t n = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &tm);
	n += (size_t)snprintf(line + n, sizeof line - n, ".%03ldZ %s ", now.tv_nsec / 1000000, level_name[level]);
	int m = vsnprintf(line + n, sizeof line - n - 1, format, args);
	if (m < 0)
		return;
	n += (size_t)m < sizeof line - n - 1 ? (size_t)m : sizeof line - n - 2;
	if (suppressed) {
		int k = snprintf(line + n, sizeof line - n - 1, " (%llu like it left out)", (unsigned long long)suppressed);
		n += (size_t)k < sizeof line - n - 1 ? (size_t)k : sizeof line - n - 2;
	}
	line[n++] = '\n';
	ssize_t written = write(STDERR_FILENO, line, n);
	(void)written;	/* stderr gone: nobody is left to tell */
}

void
log_line(enum log_level level, const char *format, ...)
{
	if ((int)level > atomic_load_explicit(&level_max, memory_order_relaxed))
		return;
	va_list args;
	va_start(args, format);
	write_line(level, format, args, 0);
	va_end(args);
}

void
log_set_level(enum log_level level)
{
	atomic_store_explicit(&level_max, (int)level, memory_order_relaxed);
}

bool
log_level_parse(const char *text, enum log_level *level)
{
	for (int i = 0; i < (int)(sizeof level_name / sizeof *level_name); i++) {
		if (strcmp(text, level_name[i]) == 0) {
			*level = (enum log_level)i;
			return true;
		}
	}
	return false;
}

void
log_limited(struct log_limit *limit, enum log_level level, const char *format, ...)
{
	if ((int)level > atomic_load_explicit(&level_max, memory_order_relaxed))
		return;
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	uint64_t now_ns = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
	uint64_t next_ns = atomic_load_explicit(&limit->next_ns, memory_order_relaxed);
	if (now_ns < next_ns || !atomic_compare_exchange_strong(&limit->next_ns, &next_ns, now_ns + 1000000000u)) {
		atomic_fetch_add_explicit(&limit->suppressed, 1, memory_order_relaxed);
		return;
	}
	va_list args;
	va_start(args, format);
	write_line(level, format, args, atomic_exchange(&limit->suppressed, 0));
	va_end(args);
}
