/* fake_channel: a channel of a test's own, an array of events. It brings its own event_view functions, so a test that uses it
 * links sinks without the channel's library. One taker at a time; a rolled-back span is offered again before anything newer. */
#ifndef PENSTOCK_TESTS_LIB_FAKE_CHANNEL_H
#define PENSTOCK_TESTS_LIB_FAKE_CHANNEL_H

#include "channel/channel.h"

struct fake_event {
	uint8_t *body;			/* body_len bytes, in memory of exactly that size unless adjacent */
	uint32_t body_len;
	struct header_view *headers;
	uint32_t header_count;
	enum { FAKE_WAITING, FAKE_TAKEN, FAKE_SETTLED } state;
	uint32_t offered;		/* times */
};

struct fake_channel {
	struct channel channel;
	struct fake_event *events;
	uint32_t count, room, settled, open_spans, rollbacks, idle_calls;
	uint8_t *run;			/* fake_put_adjacent's bodies, each with its line feed */
	uint32_t next;			/* no event in front of it waits */
	bool notes;			/* it has a ledger (fake_ledger.c) */
	struct counter capacity;	/* shown as ChannelCapacity after fake_capacity */
	struct metric_set metrics;
	int take_error;			/* the next take answers so */
};

void fake_channel_init(struct fake_channel *fake);
void fake_channel_free(struct fake_channel *fake);
/* headers: "k=v k2=v2" (a value that begins with # is a number), or NULL. */
void fake_put(struct fake_channel *fake, const void *body, uint32_t len, const char *headers);
/* pairs: name, value, name, value ...; any texts. */
void fake_put_pairs(struct fake_channel *fake, const void *body, uint32_t len, const char *const *pairs, uint32_t count);
/* It has that many events of room, as its metric says; nothing is refused here. */
void fake_capacity(struct fake_channel *fake, uint64_t events);
/* `count` events without headers, all with the same body. */
void fake_put_many(struct fake_channel *fake, uint32_t count, const char *body);
/* Bodies that lie one behind the other, as in a block. Once. */
void fake_put_adjacent(struct fake_channel *fake, const char *const *bodies, uint32_t count);

#endif
