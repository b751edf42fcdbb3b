/* load: the messages of a run, made ahead from a seed; per event only the sequence digits change.
 *
 * Event i (from 0) of a run comes from source i % sources with sequence i / sources + 1 and uses message i % message_count, so
 * the same seed and settings give the same bytes (but for the time stamp of the syslog header, which is the run's start).
 * One owner, one thread. */
#ifndef PENSTOCK_TOOLS_TRAFFICGEN_LOAD_H
#define PENSTOCK_TOOLS_TRAFFICGEN_LOAD_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/err.h"

#define LOAD_TAG "tgen"			/* every made text begins with it: verify finds the text behind a header by it */
#define LOAD_MATCHES_MAX 8
#define LOAD_SOURCES_MAX (1u << 20)
#define LOAD_SIZE_MAX 65507u		/* largest UDP payload over IPv4 */

struct load_match {
	double share;			/* (0, 1] */
	const char *word;
};

struct load_config {
	const char *format;		/* rfc3164, rfc5424, raw, or a file whose lines are messages */
	uint32_t size;			/* bytes of a message (of a file's lines: as long as they are, plus the stamp) */
	uint32_t sources;
	uint64_t seed;
	uint32_t match_count;
	struct load_match matches[LOAD_MATCHES_MAX];
	time_t time;			/* for the syslog header */
};

struct load_message {
	uint8_t *bytes;
	uint32_t len;
	uint32_t digits_at;		/* where the 16 digits of the sequence stand */
};

struct load {
	uint32_t sources;
	uint32_t message_count;		/* a multiple of sources, at least LOAD_MESSAGES_MIN: no message comes twice in a burst */
	struct load_message *messages;
	uint8_t *memory;
	uint64_t next_event;
	uint32_t next_message;		/* next_event % message_count */
	uint32_t next_source;		/* next_event % sources */
	uint64_t next_sequence;
};

#define LOAD_MESSAGES_MIN 1024u

int load_open(struct load *load, const struct load_config *config, struct err *err);
void load_close(struct load *load);

/* The next event, its sequence patched in. Its bytes stay so for LOAD_MESSAGES_MIN further events. */
const struct load_message *load_next(struct load *load);
/* Takes back the last n events (not sent). */
void load_back(struct load *load, uint64_t n);
/* Events of a source among the first `events`. */
uint64_t load_last_sequence(const struct load *load, uint64_t events, uint32_t source);

/* Where the text behind a syslog header begins (behind the host name and a blank); 0 when there is no header. */
uint32_t load_text_at(const uint8_t *message, uint32_t len);

#endif
