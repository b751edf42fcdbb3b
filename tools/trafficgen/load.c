#include "tools/trafficgen/load.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "tools/trafficgen/stamp.h"

/* Lower-case words without the tag in them, so that a word given with --match stands alone. */
static const char *const words[] = {
	"accepted", "answer", "bridge", "buffer", "cache", "client", "closed", "commit", "daemon", "delivery", "disk", "engine", "failed",
	"filter", "frame", "gateway", "handle", "index", "input", "journal", "kernel", "ledger", "link", "memory", "minute", "network",
	"notice", "object", "opened", "packet", "policy", "queue", "reading", "record", "request", "route", "sector", "server", "session",
	"signal", "socket", "spool", "status", "stream", "switch", "table", "thread", "timer", "update", "value", "volume", "worker",
};

/* splitmix64 */
static uint64_t
random_next(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

uint32_t
load_text_at(const uint8_t *message, uint32_t len)
{
	uint32_t at = 1, blanks;
	if (len < 4 || message[0] != '<')
		return 0;
	while (at < len && isdigit(message[at]))
		at++;
	if (at >= len || message[at] != '>')
		return 0;
	at++;
	if (len - at > 2 && message[at] == '1' && message[at + 1] == ' ') {
		blanks = 3;	/* version, time, host */
	} else if (len - at > 16 && isalpha(message[at]) && message[at + 15] == ' ') {
		at += 16;	/* "Nov  1 12:00:00 " */
		blanks = 1;
	} else {
		return at;
	}
	for (; at < len && blanks; at++)
		blanks -= message[at] == ' ';
	return at;
}

static uint32_t
write_head(char *head, size_t room, const struct load_config *config, uint32_t source, uint64_t pick)
{
	struct tm tm;
	char when[40];
	unsigned priority = 8 * (16 + (unsigned)(pick % 8)) + (unsigned)(pick >> 8) % 8;
	if (strcmp(config->format, "rfc3164") == 0) {
		localtime_r(&config->time, &tm);
		static const char month[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
		return (uint32_t)snprintf(head, room, "<%u>%.3s %2d %02d:%02d:%02d host%04u %s[%u]: ", priority, month + 3 * tm.tm_mon, tm.tm_mday,
					  tm.tm_hour, tm.tm_min, tm.tm_sec, source, LOAD_TAG, source);
	}
	if (strcmp(config->format, "rfc5424") == 0) {
		gmtime_r(&config->time, &tm);
		strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S.000Z", &tm);
		return (uint32_t)snprintf(head, room, "<%u>1 %s host%04u %s %u - - ", priority, when, source, LOAD_TAG, source);
	}
	return (uint32_t)snprintf(head, room, "%s %u ", LOAD_TAG, source);
}

/* Words up to exactly `len` bytes; `word` (or NULL) stands among them. False when it does not fit. */
static bool
write_words(uint8_t *at, uint32_t len, const char *word, uint64_t *random)
{
	uint32_t used = 0;
	if (word) {
		uint32_t word_len = (uint32_t)strlen(word);
		if (word_len > len)
			return false;
		memcpy(at, word, word_len);
		used = word_len;
		if (used < len)
			at[used++] = ' ';
	}
	while (used < len) {
		const char *next = words[random_next(random) % (sizeof words / sizeof *words)];
		uint32_t next_len = (uint32_t)strlen(next);
		if (next_len > len - used)
			next_len = len - used;
		memcpy(at + used, next, next_len);
		used += next_len;
		if (used < len)
			at[used++] = ' ';
	}
	if (len && at[len - 1] == ' ')
		at[len - 1] = '.';	/* a text that ends with a blank would be trimmed here and there */
	return true;
}

/* Which word message i carries: shares are kept over the whole pool, spread evenly. NULL: none. */
static const char *
pick_word(const struct load_config *config, uint32_t i, uint32_t count)
{
	uint64_t place = ((uint64_t)i * UINT64_C(2654435761) + config->seed) % count;	/* odd factor: a permutation for powers of two */
	double from = 0;
	for (uint32_t m = 0; m < config->match_count; m++) {
		double to = from + config->matches[m].share * count;
		if ((double)place >= from && (double)place < to)
			return config->matches[m].word;
		from = to;
	}
	return NULL;
}

static void
finish(struct load_message *message, uint32_t source)
{
	uint32_t text_at = load_text_at(message->bytes, message->len), stamp_at = message->len - STAMP_BYTES;
	struct stamp stamp = { source, crc32c(0, message->bytes + text_at, stamp_at - text_at), 0 };
	stamp_write(message->bytes + stamp_at, &stamp);
	message->digits_at = stamp_at + STAMP_SEQUENCE_AT;
}

static int
make_messages(struct load *load, const struct load_config *config, struct err *err)
{
	load->memory = malloc((size_t)load->message_count * config->size);
	if (!load->memory)
		return err_set(err, ENOMEM, "--sources, --size: %u messages of %u bytes do not fit into memory", load->message_count, config->size);
	uint64_t random = config->seed;
	for (uint32_t i = 0; i < load->message_count; i++) {
		struct load_message *message = &load->messages[i];
		char head[160];
		uint32_t source = i % load->sources, head_len = write_head(head, sizeof head, config, source, random_next(&random));
		message->bytes = load->memory + (size_t)i * config->size;
		message->len = config->size;
		uint32_t around = head_len + STAMP_BYTES;
		if (around + 8 > config->size)
			return err_set(err, EINVAL, "--size: %u: too small for format %s: at least %u", config->size, config->format, around + 8);
		memcpy(message->bytes, head, head_len);
		const char *word = pick_word(config, i, load->message_count);
		if (!write_words(message->bytes + head_len, config->size - around, word, &random))
			return err_set(err, EINVAL, "--match: %s: does not fit into --size %u", word, config->size);
		finish(message, source);
	}
	return 0;
}

static int
read_messages(struct load *load, const struct load_config *config, struct err *err)
{
	FILE *file = fopen(config->format, "r");
	if (!file)
		return err_set(err, EINVAL, "--format: %s: neither rfc3164, rfc5424 or raw nor a file that can be read", config->format);
	struct line {
		char *text;
		size_t len;
	} *lines = NULL;
	size_t count = 0, room = 0, longest = 0;
	char *text = NULL;
	size_t text_room = 0;
	ssize_t n;
	int rc = 0;
	while ((n = getline(&text, &text_room, file)) >= 0) {
		while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
			n--;
		if (n == 0)
			continue;
		if (n + STAMP_BYTES > LOAD_SIZE_MAX) {
			rc = err_set(err, EINVAL, "%s: a line of %zd bytes does not fit into a datagram", config->format, n);
			break;
		}
		if (count == room) {
			room = room ? 2 * room : 64;
			lines = realloc(lines, room * sizeof *lines);
			if (!lines)
				abort();
		}
		lines[count].len = (size_t)n;
		lines[count++].text = strndup(text, (size_t)n);
		if ((size_t)n > longest)
			longest = (size_t)n;
	}
	if (!rc && !count)
		rc = err_set(err, EINVAL, "%s: no line in it", config->format);
	if (!rc) {
		/* All lines, whatever their number: whole rounds of the sources. */
		uint32_t rounds = (uint32_t)((count + load->sources - 1) / load->sources);
		if (load->message_count < rounds * load->sources) {
			load->message_count = rounds * load->sources;
			free(load->messages);
			load->messages = calloc(load->message_count, sizeof *load->messages);
		}
		load->memory = malloc((size_t)load->message_count * (longest + STAMP_BYTES));
		if (!load->messages || !load->memory)
			rc = err_set(err, ENOMEM, "%s: too large", config->format);
	}
	for (uint32_t i = 0; !rc && i < load->message_count; i++) {
		struct load_message *message = &load->messages[i];
		const struct line *line = &lines[i % count];
		message->bytes = load->memory + (size_t)i * (longest + STAMP_BYTES);
		message->len = (uint32_t)line->len + STAMP_BYTES;
		memcpy(message->bytes, line->text, line->len);
		finish(message, i % load->sources);
	}
	for (size_t i = 0; i < count; i++)
		free(lines[i].text);
	free(lines);
	free(text);
	fclose(file);
	return rc;
}

int
load_open(struct load *load, const struct load_config *config, struct err *err)
{
	*load = (struct load){ .sources = config->sources, .next_sequence = 1 };
	if (config->sources < 1 || config->sources > LOAD_SOURCES_MAX)
		return err_set(err, EINVAL, "--sources: %u: 1 to %u", config->sources, LOAD_SOURCES_MAX);
	if (config->size < 64 || config->size > LOAD_SIZE_MAX)
		return err_set(err, EINVAL, "--size: %u: 64 to %u", config->size, LOAD_SIZE_MAX);
	load->message_count = config->sources * ((LOAD_MESSAGES_MIN + config->sources - 1) / config->sources);
	load->messages = calloc(load->message_count, sizeof *load->messages);
	if (!load->messages)
		return err_set(err, ENOMEM, "--sources: %u: no memory", config->sources);
	bool made = strcmp(config->format, "rfc3164") == 0 || strcmp(config->format, "rfc5424") == 0 || strcmp(config->format, "raw") == 0;
	int rc = made ? make_messages(load, config, err) : read_messages(load, config, err);
	if (rc)
		load_close(load);
	return rc;
}

void
load_close(struct load *load)
{
	free(load->messages);
	free(load->memory);
	*load = (struct load){ 0 };
}

const struct load_message *
load_next(struct load *load)
{
	const struct load_message *message = &load->messages[load->next_message];
	stamp_write_sequence(message->bytes + message->digits_at, load->next_sequence);
	load->next_event++;
	if (++load->next_message == load->message_count)
		load->next_message = 0;
	if (++load->next_source == load->sources) {
		load->next_source = 0;
		load->next_sequence++;
	}
	return message;
}

void
load_back(struct load *load, uint64_t n)
{
	load->next_event -= n;
	load->next_message = (uint32_t)(load->next_event % load->message_count);
	load->next_source = (uint32_t)(load->next_event % load->sources);
	load->next_sequence = load->next_event / load->sources + 1;
}

uint64_t
load_last_sequence(const struct load *load, uint64_t events, uint32_t source)
{
	return events / load->sources + (source < events % load->sources);
}
