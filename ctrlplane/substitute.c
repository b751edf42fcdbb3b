#include "ctrlplane/substitute.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define DEPTH_MAX 32			/* of ${...} inside ${...} */
#define RESOLVED_BYTES_MAX (1u << 20)	/* of one value: references that double each other end here */
#define EXTERNAL_MS 30000		/* an external filter's time to answer */

enum state { STATE_NEW, STATE_BUSY, STATE_DONE };

extern char **environ;

static bool line_resolve(struct substitute *s, struct property_line *line);

/* Java's String.trim: everything up to the blank. */
static char *
trimmed(struct pool *pool, const char *text, size_t len)
{
	while (len > 0 && (uint8_t)*text <= ' ')
		text++, len--;
	while (len > 0 && (uint8_t)text[len - 1] <= ' ')
		len--;
	return pool_text(pool, text, len);
}

/* SimpleDateFormat in English and the local zone. False for a letter it does not have. */
static bool
date_format(const char *pattern, uint64_t wall_ns, struct text *out)
{
	time_t seconds = (time_t)(wall_ns / NS_PER_S);
	struct tm tm;
	char word[64];
	localtime_r(&seconds, &tm);
	while (*pattern) {
		char c = *pattern;
		if (c == '\'') {
			pattern++;
			if (*pattern == '\'') {
				text_add(out, pattern++, 1);
				continue;
			}
			for (; *pattern && (*pattern != '\'' || pattern[1] == '\''); pattern++) {
				if (*pattern == '\'')
					pattern++;
				text_add(out, pattern, 1);
			}
			if (!*pattern)
				return false;
			pattern++;
			continue;
		}
		if (!isalpha((unsigned char)c)) {
			text_add(out, pattern++, 1);
			continue;
		}
		int n = (int)strspn(pattern, (char[]){ c, '\0' });
		int number = -1;
		const char *format = NULL;
		pattern += n;
		if (n > 20)
			return false;
		switch (c) {
		case 'y':
			text_print(out, "%0*d", n == 2 ? 2 : n, n == 2 ? (tm.tm_year + 1900) % 100 : tm.tm_year + 1900);
			continue;
		case 'M':
			if (n >= 3)
				format = n == 3 ? "%b" : "%B";
			else
				number = tm.tm_mon + 1;
			break;
		case 'E': format = n <= 3 ? "%a" : "%A"; break;
		case 'a': format = "%p"; break;
		case 'z': format = "%Z"; break;
		case 'Z': format = "%z"; break;
		case 'd': number = tm.tm_mday; break;
		case 'D': number = tm.tm_yday + 1; break;
		case 'H': number = tm.tm_hour; break;
		case 'k': number = tm.tm_hour ? tm.tm_hour : 24; break;
		case 'K': number = tm.tm_hour % 12; break;
		case 'h': number = tm.tm_hour % 12 ? tm.tm_hour % 12 : 12; break;
		case 'm': number = tm.tm_min; break;
		case 's': number = tm.tm_sec; break;
		case 'S': number = (int)(wall_ns / NS_PER_MS % 1000); break;
		case 'u': number = tm.tm_wday ? tm.tm_wday : 7; break;
		default: return false;
		}
		if (format) {
			strftime(word, sizeof word, format, &tm);
			text_print(out, "%s", word);
		} else {
			text_print(out, "%0*d", n, number);
		}
	}
	return true;
}

static const char *
define_find(const struct substitute *s, const char *key)
{
	const char *value = NULL;
	for (size_t i = 0; i < s->define_count; i++) {
		if (strcmp(s->defines[i].key, key) == 0)
			value = s->defines[i].value;
	}
	return value;
}

/* Of Java's own system properties the few that configurations use. */
static bool
system_lookup(struct substitute *s, const char *name, struct text *out)
{
	const char *value = define_find(s, name);
	char path[4096];
	if (!value && strcmp(name, "user.home") == 0) {
		struct passwd *entry = getpwuid(getuid());
		value = entry ? entry->pw_dir : getenv("HOME");
	} else if (!value && strcmp(name, "user.name") == 0) {
		struct passwd *entry = getpwuid(getuid());
		value = entry ? entry->pw_name : getenv("USER");
	} else if (!value && strcmp(name, "user.dir") == 0) {
		value = getcwd(path, sizeof path);
	} else if (!value && strcmp(name, "java.io.tmpdir") == 0) {
		value = "/tmp";
	}
	if (value)
		text_print(out, "%s", value);
	return value != NULL;
}

/* The value of one variable, without its default. The bool says whether there is one; *circle whether it came back to itself. */
static bool
variable_lookup(struct substitute *s, const char *name, struct text *out, bool *circle)
{
	const char *value;
	if (strncmp(name, "env:", 4) == 0) {
		value = getenv(name + 4);
		if (value)
			text_print(out, "%s", value);
		return value != NULL;
	}
	if (strncmp(name, "sys:", 4) == 0)
		return system_lookup(s, name + 4, out);
	if (strncmp(name, "date:", 5) == 0) {
		size_t len = out->len;
		if (date_format(name + 5, s->wall_ns, out))
			return true;
		out->len = len;
		return false;
	}
	struct property_line *line = properties_find(s->properties, name);
	if (line) {
		if (!line_resolve(s, line)) {
			*circle = true;
			return false;
		}
		text_print(out, "%s", line->resolved);
		return true;
	}
	const char *implementation = define_find(s, "propertiesImplementation");
	value = implementation && strstr(implementation, "EnvVarResolverProperties") ? getenv(name) : NULL;
	if (value)
		text_print(out, "%s", value);
	return value != NULL;
}

/* The } that ends the ${ whose name begins at `at`; NULL when there is none. */
static const char *
variable_end(const char *at)
{
	int open = 1;
	for (; *at; at++) {
		if (at[0] == '$' && at[1] == '{') {
			open++;
			at++;
		} else if (*at == '}' && --open == 0) {
			return at;
		}
	}
	return NULL;
}

static void text_resolve(struct substitute *s, struct property_line *line, const char *in, size_t len, struct text *out, int depth, bool *circle);

/* One ${...}: `in` is what stands between the braces. */
static void
variable_resolve(struct substitute *s, struct property_line *line, const char *in, size_t len, struct text *out, int depth, bool *circle)
{
	struct text name = { 0 }, value = { 0 };
	text_add(&name, "", 0);
	text_resolve(s, line, in, len, &name, depth + 1, circle);
	char *fallback = strstr(name.text, ":-");
	if (fallback) {
		*fallback = '\0';
		fallback += 2;
	}
	if (variable_lookup(s, name.text, &value, circle)) {
		text_add(out, value.text ? value.text : "", value.len);
	} else if (fallback) {
		text_print(out, "%s", fallback);
	} else {
		if (!*circle && !substitute_has_filter(line->raw)) {
			char message[512];
			snprintf(message, sizeof message, "${%s} has no value and stays as it stands: set it, or give a default as ${%s:-text}", name.text, name.text);
			s->tell(s, false, line, message);
		}
		text_print(out, "${%.*s}", (int)len, in);
	}
	text_free(&name);
	text_free(&value);
}

static void
text_resolve(struct substitute *s, struct property_line *line, const char *in, size_t len, struct text *out, int depth, bool *circle)
{
	const char *end = in + len;
	while (in < end) {
		if (out->len > RESOLVED_BYTES_MAX || depth > DEPTH_MAX) {
			*circle = true;
			return;
		}
		if (end - in >= 3 && in[0] == '$' && in[1] == '$' && in[2] == '{') {	/* $${X} is the literal ${X} */
			text_add(out, "${", 2);
			in += 3;
			continue;
		}
		const char *close = end - in >= 3 && in[0] == '$' && in[1] == '{' ? variable_end(in + 2) : NULL;
		if (close && close < end) {
			variable_resolve(s, line, in + 2, (size_t)(close - in - 2), out, depth, circle);
			in = close + 1;
			continue;
		}
		text_add(out, in++, 1);
	}
}

/* False when it is being resolved already: a circle. */
static bool
line_resolve(struct substitute *s, struct property_line *line)
{
	if (line->state == STATE_BUSY)
		return false;
	if (line->state == STATE_DONE)
		return true;
	bool circle = false;
	struct text out = { 0 };
	line->state = STATE_BUSY;
	text_add(&out, "", 0);
	text_resolve(s, line, line->raw, strlen(line->raw), &out, 0, &circle);
	line->resolved = trimmed(&s->properties->pool, out.text, out.len);
	line->state = STATE_DONE;
	text_free(&out);
	if (circle)
		s->tell(s, true, line, "the ${...} in it lead back to itself, or grow without end: break the circle");
	return true;
}

void
substitute_all(struct substitute *s)
{
	for (size_t i = 0; i < s->properties->count; i++)
		line_resolve(s, s->properties->lines[i]);
}

static bool
is_key_char(char c)
{
	return isalnum((unsigned char)c) || c == '-' || c == '_';
}

struct filter_reference {
	const char *name, *key, *end;	/* end: behind the } */
	size_t name_len, key_len;
};

/* ${name['key']}, ${name["key"]} or ${name[key]} at `at`. */
static bool
reference_parse(const char *at, struct filter_reference *ref)
{
	if (at[0] != '$' || at[1] != '{')
		return false;
	ref->name = at += 2;
	while (*at && *at != '[' && *at != '}' && *at != '$')
		at++;
	ref->name_len = (size_t)(at - ref->name);
	if (*at != '[' || ref->name_len == 0)
		return false;
	char quote = at[1] == '\'' || at[1] == '"' ? at[1] : '\0';
	ref->key = at += quote ? 2 : 1;
	while (is_key_char(*at))
		at++;
	ref->key_len = (size_t)(at - ref->key);
	if (ref->key_len == 0 || (quote && *at++ != quote) || *at++ != ']' || *at++ != '}')
		return false;
	ref->end = at;
	return true;
}

bool
substitute_has_filter(const char *text)
{
	struct filter_reference ref;
	for (; (text = strstr(text, "${")) != NULL; text += 2) {
		if (reference_parse(text, &ref))
			return true;
	}
	return false;
}

/* First line of the command's standard output into out. 0, or -1 with a reason. */
static int
external_run(const char *command, const char *key, struct text *out, const char **reason)
{
	char *copy = strdup(command), *argv[66];
	int argc = 0, pipe_fds[2], status = 0;
	if (!copy)
		abort();
	for (char *rest = copy, *word; argc < 64 && (word = strsep(&rest, " \t")) != NULL;) {
		if (*word)
			argv[argc++] = word;
	}
	argv[argc] = (char *)key;
	argv[argc + 1] = NULL;
	*reason = "its command cannot be started";
	if (argc == 0 || pipe2(pipe_fds, O_CLOEXEC) < 0) {
		free(copy);
		return -1;
	}
	posix_spawn_file_actions_t actions;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, pipe_fds[1], STDOUT_FILENO);
	pid_t pid;
	int rc = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(pipe_fds[1]);
	free(copy);
	if (rc != 0) {
		close(pipe_fds[0]);
		return -1;
	}
	uint64_t deadline_ns = clock_now_ns(&clock_system) + EXTERNAL_MS * NS_PER_MS;
	bool late = false;
	for (;;) {
		uint64_t now_ns = clock_now_ns(&clock_system);
		struct pollfd poll_fd = { .fd = pipe_fds[0], .events = POLLIN };
		char chunk[4096];
		late = now_ns >= deadline_ns || poll(&poll_fd, 1, (int)((deadline_ns - now_ns) / NS_PER_MS) + 1) == 0;
		ssize_t n = late ? 0 : read(pipe_fds[0], chunk, sizeof chunk);
		if (n <= 0)
			break;
		if (out->len < 65536)
			text_add(out, chunk, (size_t)n);
	}
	close(pipe_fds[0]);
	if (late)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	*reason = late ? "its command gave no answer within 30 s" : "its command failed";
	if (late || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return -1;
	*reason = "its command printed nothing";
	if (out->len == 0)
		return -1;
	out->text[strcspn(out->text, "\r\n")] = '\0';
	out->len = strlen(out->text);
	return 0;
}

static bool
filter_lookup(const struct config_filter *filter, const char *key, struct text *out, const char **reason)
{
	if (filter->type == FILTER_EXTERNAL)
		return external_run(filter->command, key, out, reason) == 0;
	const char *value = getenv(key);
	*reason = "there is no such environment variable";
	if (value)
		text_print(out, "%s", value);
	return value != NULL;
}

static void
line_filter(struct substitute *s, struct property_line *line)
{
	struct text out = { 0 };
	struct filter_reference ref;
	text_add(&out, "", 0);
	for (const char *at = line->resolved; *at;) {
		if (!reference_parse(at, &ref)) {
			text_add(&out, at++, 1);
			continue;
		}
		const struct config_filter *filter = NULL;
		for (size_t i = 0; i < s->filter_count; i++) {
			if (strlen(s->filters[i].name) == ref.name_len && strncmp(s->filters[i].name, ref.name, ref.name_len) == 0)
				filter = &s->filters[i];
		}
		char key[256], message[512];
		const char *reason = "no config filter has that name";
		struct text value = { 0 };
		snprintf(key, sizeof key, "%.*s", (int)ref.key_len, ref.key);
		if (filter && filter_lookup(filter, key, &value, &reason)) {
			text_add(&out, value.text ? value.text : "", value.len);
			line->filtered = true;
		} else {
			snprintf(message, sizeof message, "config filter '%.*s' has no value for '%s', the text stays as it stands: %s", (int)ref.name_len, ref.name,
				 key, reason);
			s->tell(s, false, line, message);
			text_add(&out, at, (size_t)(ref.end - at));
		}
		text_free(&value);
		at = ref.end;
	}
	line->resolved = trimmed(&s->properties->pool, out.text, out.len);
	text_free(&out);
}

void
substitute_filters(struct substitute *s)
{
	static const char *const parts[] = { "sources.", "channels.", "sinks.", "sinkgroups." };
	size_t agent_len = strlen(s->agent);
	for (size_t i = 0; i < s->properties->count; i++) {
		struct property_line *line = s->properties->lines[i];
		if (strncmp(line->key, s->agent, agent_len) != 0 || line->key[agent_len] != '.' || !substitute_has_filter(line->resolved))
			continue;
		for (size_t p = 0; p < sizeof parts / sizeof *parts; p++) {
			if (strncmp(line->key + agent_len + 1, parts[p], strlen(parts[p])) == 0)
				line_filter(s, line);
		}
	}
}
