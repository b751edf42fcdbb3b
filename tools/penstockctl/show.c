#include "tools/penstockctl/show.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- a table: cells are collected, widths follow ---- */

#define COLUMNS 8

struct table {
	char *(*rows)[COLUMNS];
	size_t count, room;
	bool right[COLUMNS];	/* numbers stand at the right */
};

static void
table_row(struct table *table, const char *format, ...)	/* cells with tabs between them */
{
	char line[2048];
	va_list args;
	va_start(args, format);
	vsnprintf(line, sizeof line, format, args);
	va_end(args);
	if (table->count == table->room) {
		table->room = table->room ? table->room * 2 : 64;
		table->rows = realloc(table->rows, table->room * sizeof *table->rows);
		if (!table->rows)
			abort();
	}
	char *rest = line;
	for (int i = 0; i < COLUMNS; i++) {
		char *cell = strsep(&rest, "\t");
		table->rows[table->count][i] = strdup(cell ? cell : "");
	}
	table->count++;
}

static void
table_print(struct table *table)
{
	size_t width[COLUMNS] = { 0 };
	for (size_t r = 0; r < table->count; r++)
		for (int i = 0; i < COLUMNS; i++)
			if (strlen(table->rows[r][i]) > width[i])
				width[i] = strlen(table->rows[r][i]);
	for (size_t r = 0; r < table->count; r++) {
		char line[4096];
		size_t n = 0;
		for (int i = 0; i < COLUMNS && n < sizeof line; i++) {
			if (width[i])
				n += snprintf(line + n, sizeof line - n, table->right[i] ? "%s%*s" : "%s%-*s", n ? "  " : "", (int)width[i],
					      table->rows[r][i]);
			free(table->rows[r][i]);
		}
		while (n > 0 && n < sizeof line && line[n - 1] == ' ')
			line[--n] = 0;
		puts(line);
	}
	free(table->rows);
	*table = (struct table){ 0 };
}

static const char *
text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text ? text : "";
}

static long long
number_of(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

/* Text of strangers: control bytes would reach the terminal, so they are shown as \xNN. */
static void
put_text(const char *text)
{
	for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
		if (c[0] == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0)	/* U+0080..U+009F */
			printf("\\x%02x", *++c);
		else if (*c < 0x20 || *c == 0x7f)
			printf("\\x%02x", *c);
		else
			putchar(*c);
	}
}

/* ---- commands ---- */

static void
show_value(const char *key, const json_t *value, int depth)
{
	if (json_is_object(value) || json_is_array(value)) {
		size_t i;
		const char *name;
		json_t *member;
		if (*key)
			printf("%*s%s:%s\n", depth * 2, "", key, json_object_size(value) || json_array_size(value) ? "" : " none");
		if (json_is_object(value)) {
			json_object_foreach((json_t *)value, name, member)
				show_value(name, member, depth + (*key != 0));
		} else {
			json_array_foreach(value, i, member) {
				show_value("", member, depth + 1);
				if (json_is_object(member) && i + 1 < json_array_size(value))
					putchar('\n');
			}
		}
		return;
	}
	char *other = json_is_string(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
	printf("%*s%s%s", depth * 2, "", key, *key ? ": " : "");
	put_text(other ? other : json_string_value(value));
	putchar('\n');
	free(other);
}

void
show_any(const json_t *answer)
{
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)answer, key, value) {
		if (strcmp(key, "ok") == 0)
			continue;
		if (strcmp(key, "text") == 0 && json_is_string(value))
			fputs(json_string_value(value), stdout);
		else
			show_value(key, value, 0);
	}
}

void
show_status(const json_t *answer)
{
	static const char *const kinds[] = { "SOURCE", "CHANNEL", "SINK" };
	struct table table = { .right = { [4] = true, [5] = true } };
	long long seconds = (long long)json_number_value(json_object_get(answer, "uptime_seconds"));
	size_t i;
	json_t *c;
	printf("penstock %s  pid %lld  up %lldd %02lld:%02lld:%02lld\n\n", text_of(answer, "version"), number_of(answer, "pid"),
	       seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
	table_row(&table, "KIND\tNAME\tTYPE\tSTATE\tIN\tOUT");
	for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {	/* the way an event goes */
		json_array_foreach(json_object_get(answer, "components"), i, c) {
			char fill[64] = "";
			if (strcmp(text_of(c, "kind"), kinds[k]) != 0)
				continue;
			if (json_object_get(c, "capacity"))
				snprintf(fill, sizeof fill, ", %lld of %lld", number_of(c, "size"), number_of(c, "capacity"));
			table_row(&table, "%s\t%s\t%s\t%s%s\t%lld\t%lld", text_of(c, "kind"), text_of(c, "name"), text_of(c, "type"),
				  text_of(c, "state"), fill, number_of(c, "events_in"), number_of(c, "events_out"));
		}
	}
	table_print(&table);
	if (json_object_get(answer, "open_files")) {
		struct table files = { .right = { [3] = true, [4] = true, [5] = true } };
		puts("");
		table_row(&files, "SINK\tOPEN FILE\tSTATE\tAGE s\tBYTES\tEVENTS");
		json_array_foreach(json_object_get(answer, "open_files"), i, c)
			table_row(&files, "%s\t%s\t%s\t%lld\t%lld\t%lld", text_of(c, "sink"), text_of(c, "name"), text_of(c, "state"),
				  number_of(c, "age_seconds"), number_of(c, "bytes"), number_of(c, "events"));
		table_print(&files);
	}
	if (json_object_get(answer, "loads")) {
		struct table loads = { .right = { [2] = true, [3] = true, [4] = true, [5] = true, [6] = true } };
		puts("");
		table_row(&loads, "BATCH LOAD\tSTATE\tNEXT IN s\tRUNS\tFAILED\tRECORDS\tLAG\tLAST FAILURE");
		json_array_foreach(json_object_get(answer, "loads"), i, c)
			table_row(&loads, "%s\t%s\t%.0f\t%lld\t%lld\t%lld\t%lld\t%s", text_of(c, "name"), text_of(c, "state"),
				  json_number_value(json_object_get(c, "next_in_seconds")), number_of(c, "runs"), number_of(c, "runs_failed"),
				  number_of(c, "records"), number_of(c, "record_lag"), text_of(c, "last_failure"));
		table_print(&loads);
	}
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)answer, key, value) {
		static const char *const shown[] = { "ok", "version", "pid", "uptime_seconds", "components", "open_files", "loads" };
		bool done = false;
		for (size_t k = 0; k < sizeof shown / sizeof *shown; k++)
			done = done || strcmp(key, shown[k]) == 0;
		if (!done)
			show_value(key, value, 0);
	}
}

void
show_metrics(const json_t *answer)
{
	struct table table = { .right = { [3] = true } };
	size_t i;
	json_t *m;
	table_row(&table, "KIND\tNAME\tMETRIC\tVALUE\tUNIT");
	json_array_foreach(json_object_get(answer, "metrics"), i, m)
		table_row(&table, "%s\t%s\t%s\t%lld\t%s", text_of(m, "kind"), text_of(m, "component"), text_of(m, "name"),
			  number_of(m, "value"), text_of(m, "unit"));
	table_print(&table);
}

bool
show_drops(const json_t *answer)
{
	size_t i, k;
	json_t *a, *part;
	bool even = true;
	json_array_foreach(json_object_get(answer, "accounts"), i, a) {
		struct table table = { .right = { [2] = true } };
		const json_t *in = json_object_get(a, "in");
		const char *state = text_of(a, "state");
		printf("%s%s %s: ", i ? "\n" : "", text_of(a, "account"), text_of(a, "component"));
		if (strcmp(state, "even") == 0)
			puts("even");
		else if (strcmp(state, "moving") == 0)
			printf("moving, %lld on the way\n", number_of(a, "difference"));
		else
			printf("NOT EVEN: %lld unexplained\n", number_of(a, "difference"));
		even = even && strcmp(state, "uneven") != 0;
		table_row(&table, "\t%s\t%lld", text_of(in, "name"), number_of(in, "value"));
		json_array_foreach(json_object_get(a, "out"), k, part)
			if (number_of(part, "value") != 0 || strncmp(text_of(part, "name"), "drop_", 5) != 0)
				table_row(&table, "=\t%s\t%lld\t%s", text_of(part, "name"), number_of(part, "value"), text_of(part, "help"));
		for (size_t r = 2; r < table.count; r++)
			*table.rows[r][0] = '+';
		table_print(&table);
	}
	if (json_array_size(json_object_get(answer, "accounts")) == 0)
		puts("no accounts: nothing is configured that takes frames or events");
	return even;
}

void
show_trace(const json_t *line)
{
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)line, key, value) {
		char *other = json_is_string(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
		printf("%s=", key);
		put_text(other ? other : json_string_value(value));
		fputs("  ", stdout);
		free(other);
	}
	putchar('\n');
	fflush(stdout);
}

void
show_flow(const json_t *line)
{
	static const char head[] = "%-24s %-22s %-12s %-12s %-8s %12s %12s %9s %8s %8s\n";
	if (!line) {
		printf(head, "PEER", "LOCAL", "SOURCE", "STATE", "ACK", "RECEIVED", "DURABLE", "WINDOW", "IDLE s", "AGE s");
		return;
	}
	printf("%-24s %-22s %-12s %-12s %-8s %12lld %12lld %9lld %8.1f %8.1f%s\n", text_of(line, "peer"), text_of(line, "local"), text_of(line, "source"),
	       text_of(line, "state"), text_of(line, "ack"), number_of(line, "received"), number_of(line, "durable"), number_of(line, "window"),
	       json_number_value(json_object_get(line, "idle_seconds")), json_number_value(json_object_get(line, "age_seconds")),
	       json_is_true(json_object_get(line, "stalled")) ? "  stalled" : "");
}

void
show_top(const json_t *before, const json_t *line, bool clear)
{
	struct table table = { .right = { [3] = true, [4] = true } };
	const json_t *now = json_object_get(line, "metrics"), *old = json_object_get(before, "metrics");
	double seconds = json_number_value(json_object_get(line, "uptime_seconds")) -
			 json_number_value(json_object_get(before, "uptime_seconds"));
	size_t i, k = 0;
	json_t *m;
	if (clear)
		fputs("\033[H\033[2J", stdout);
	printf("up %.0f s\n", json_number_value(json_object_get(line, "uptime_seconds")));
	table_row(&table, "KIND\tNAME\tMETRIC\tRATE/S\tTOTAL\tUNIT");
	json_array_foreach(now, i, m) {
		/* Both lists have the same order; a metric may be new or gone. */
		long long was = 0, value = number_of(m, "value");
		for (size_t tries = 0; tries < json_array_size(old); tries++, k++) {
			const json_t *o = json_array_get(old, k % json_array_size(old));
			if (strcmp(text_of(o, "kind"), text_of(m, "kind")) == 0 && strcmp(text_of(o, "name"), text_of(m, "name")) == 0 &&
			    strcmp(text_of(o, "component"), text_of(m, "component")) == 0) {
				was = number_of(o, "value");
				break;
			}
		}
		bool gauge = strcmp(text_of(m, "type"), "gauge") == 0;
		char rate[32] = "";
		if (value == 0 || (before && !gauge && value == was) || strcmp(text_of(m, "unit"), "boolean") == 0 ||
		    strcmp(text_of(m, "name"), "StartTime") == 0)
			continue;
		if (before && !gauge && seconds > 0)
			snprintf(rate, sizeof rate, "%.0f", (double)(value - was) / seconds);
		table_row(&table, "%s\t%s\t%s\t%s\t%lld\t%s", text_of(m, "kind"), text_of(m, "component"), text_of(m, "name"), rate, value,
			  text_of(m, "unit"));
	}
	table_print(&table);
	fflush(stdout);
}
