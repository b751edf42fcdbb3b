#include "tools/trafficgen/read.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LINE_BYTES_MAX (1u << 24)
#define READ_BYTES (1u << 20)

extern char **environ;

static void
note_lines(struct ledger *ledger, const uint8_t *bytes, size_t len)
{
	const uint8_t *end = bytes + len;
	while (bytes < end) {
		const uint8_t *feed = memchr(bytes, '\n', (size_t)(end - bytes)), *stop = feed ? feed : end;
		uint32_t line = (uint32_t)(stop - bytes);
		if (line && bytes[line - 1] == '\r')
			line--;
		if (line)
			ledger_note(ledger, bytes, line);
		bytes = stop + 1;
	}
}

static unsigned
hex4(const char *at)
{
	char digits[5] = { at[0], at[1], at[2], at[3], 0 };
	return (unsigned)strtoul(digits, NULL, 16);
}

/* The string behind "body": in a JSON line, unescaped in place. Lines without one (another record) are passed over. */
static void
note_json(struct ledger *ledger, uint8_t *line, size_t len)
{
	static const char key[] = "\"body\":";
	uint8_t *at = memmem(line, len, key, sizeof key - 1), *end = line + len, *to;
	if (!at)
		return;
	at += sizeof key - 1;
	while (at < end && *at == ' ')
		at++;
	if (at == end || *at != '"')
		return;
	uint8_t *text = to = ++at;
	while (at < end && *at != '"') {
		if (*at != '\\' || at + 1 == end) {
			*to++ = *at++;
			continue;
		}
		static const char from[] = "nrtbf", into[] = "\n\r\t\b\f";
		const char *escape = at[1] ? strchr(from, at[1]) : NULL;
		if (at[1] == 'u' && end - at >= 6) {
			unsigned code = hex4((const char *)at + 2);
			if (code < 0x80) {
				*to++ = (uint8_t)code;
			} else {	/* no text of ours holds one: any byte keeps it from being ours */
				*to++ = '?';
			}
			at += 6;
			continue;
		}
		*to++ = escape ? (uint8_t)into[escape - from] : at[1];
		at += 2;
	}
	ledger_note(ledger, text, (uint32_t)(to - text));
}

int
read_lines(struct ledger *ledger, int fd, bool json, const char *path, struct err *err)
{
	size_t room = READ_BYTES * 2, have = 0;
	uint8_t *bytes = malloc(room);
	int rc = bytes ? 0 : -ENOMEM;
	while (!rc) {
		if (room - have < READ_BYTES) {
			room *= 2;
			uint8_t *more = room > 2 * LINE_BYTES_MAX ? NULL : realloc(bytes, room);
			if (!more) {
				rc = err_set(err, EMSGSIZE, "%s: a line longer than %u bytes", path, LINE_BYTES_MAX);
				break;
			}
			bytes = more;
		}
		ssize_t n = read(fd, bytes + have, room - have);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			rc = err_set(err, errno, "%s: %s", path, strerror(errno));
		if (n <= 0)
			break;
		have += (size_t)n;
		uint8_t *last = memrchr(bytes, '\n', have);
		if (!last)
			continue;
		size_t whole = (size_t)(last + 1 - bytes);
		if (json) {
			for (uint8_t *line = bytes, *feed; line <= last; line = feed + 1) {
				feed = memchr(line, '\n', (size_t)(last + 1 - line));
				note_json(ledger, line, (size_t)(feed - line));
			}
		} else {
			note_lines(ledger, bytes, whole);
		}
		memmove(bytes, bytes + whole, have - whole);
		have -= whole;
	}
	if (!rc && have && json)
		note_json(ledger, bytes, have);
	else if (!rc && have)
		note_lines(ledger, bytes, have);
	free(bytes);
	return rc;
}

static int
read_file(struct ledger *ledger, const char *path, struct err *err)
{
	struct stat stat;
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc = 0;
	if (fd < 0 || fstat(fd, &stat) != 0) {
		rc = err_set(err, errno, "%s: %s", path, strerror(errno));
	} else if (!S_ISREG(stat.st_mode)) {
		rc = read_lines(ledger, fd, false, path, err);
	} else if (stat.st_size) {
		size_t len = (size_t)stat.st_size;
		const uint8_t *bytes = mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);
		if (bytes == MAP_FAILED) {
			rc = err_set(err, errno, "%s: %s", path, strerror(errno));
		} else {
			(void)madvise((void *)(uintptr_t)bytes, len, MADV_SEQUENTIAL);
			if (len >= 4 && memcmp(bytes, "Obj\1", 4) == 0)
				rc = read_avro(ledger, path, bytes, len, err);
			else
				note_lines(ledger, bytes, len);
			munmap((void *)(uintptr_t)bytes, len);
		}
	}
	if (fd >= 0)
		close(fd);
	return rc;
}

static int
not_hidden(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static int
by_version(const struct dirent **a, const struct dirent **b)
{
	return strverscmp((*a)->d_name, (*b)->d_name);
}

static int
read_dir(struct ledger *ledger, const char *dir, struct err *err)
{
	struct dirent **entries;
	int count = scandir(dir, &entries, not_hidden, by_version), rc = 0;
	if (count < 0)
		return err_set(err, errno, "%s: %s", dir, strerror(errno));
	for (int i = 0; i < count; i++) {
		char path[4096];
		struct stat entry;
		snprintf(path, sizeof path, "%s/%s", dir, entries[i]->d_name);
		if (!rc && stat(path, &entry) == 0 && S_ISREG(entry.st_mode))
			rc = read_file(ledger, path, err);
		free(entries[i]);
	}
	free(entries);
	return rc;
}

/* penstock-ringlog beside this program, or where the build puts it, or on the PATH. */
static void
find_ringlog(const char *program, char *path, size_t room)
{
	static const char *const places[] = { "penstock-ringlog", "../ringlog/penstock-ringlog", "../penstock-ringlog", "../../penstock-ringlog" };
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	if (n < 0)
		n = snprintf(self, sizeof self, "%s", program);
	self[n] = 0;
	char *dir = dirname(self);
	for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
		snprintf(path, room, "%s/%s", dir, places[i]);
		if (access(path, X_OK) == 0)
			return;
	}
	snprintf(path, room, "penstock-ringlog");
}

static int
read_ringlog(struct ledger *ledger, const char *dir, const char *program, struct err *err)
{
	char path[4200];
	int pipe_fds[2], status, rc;
	pid_t pid;
	posix_spawn_file_actions_t actions;
	find_ringlog(program, path, sizeof path);
	if (pipe2(pipe_fds, O_CLOEXEC) != 0)
		return err_set(err, errno, "pipe: %s", strerror(errno));
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, pipe_fds[1], STDOUT_FILENO);
	char *argv[] = { path, (char *)(uintptr_t)"dump", (char *)(uintptr_t)"--json", (char *)(uintptr_t)dir, NULL };
	rc = posix_spawnp(&pid, path, &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(pipe_fds[1]);
	if (rc) {
		close(pipe_fds[0]);
		return err_set(err, rc, "%s: %s", path, strerror(rc));
	}
	rc = read_lines(ledger, pipe_fds[0], true, dir, err);
	close(pipe_fds[0]);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!rc && (!WIFEXITED(status) || WEXITSTATUS(status)))
		rc = err_set(err, EIO, "%s dump --json %s failed (status %d)", path, dir, WIFEXITED(status) ? WEXITSTATUS(status) : -1);
	return rc;
}

int
read_place(struct ledger *ledger, const char *place, const char *program, struct err *err)
{
	const char *rest = strchr(place, ':');
	if (strcmp(place, "-") == 0)
		return read_lines(ledger, STDIN_FILENO, false, "standard input", err);
	if (rest && strncmp(place, "file_roll:", 10) == 0)
		return read_dir(ledger, rest + 1, err);
	if (rest && strncmp(place, "file:", 5) == 0)
		return read_file(ledger, rest + 1, err);
	if (rest && strncmp(place, "ringlog:", 8) == 0)
		return read_ringlog(ledger, rest + 1, program, err);
	const char *slash = strrchr(place, '/');
	if (slash && strncmp(place, "kafka:", 6) == 0 && slash > place + 6 && slash[1]) {
		char brokers[1024];
		snprintf(brokers, sizeof brokers, "%.*s", (int)(slash - place - 6), place + 6);
		return read_kafka(ledger, brokers, slash + 1, err);
	}
	return err_set(err, EINVAL, "%s: want file_roll:DIR, ringlog:DIR, kafka:BROKERS/TOPIC, file:PATH or -", place);
}
