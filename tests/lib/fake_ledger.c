/* The ledger's functions for tests that link the sinks without the channel's library. A fake channel with `notes` set has a ledger that
 * is durable at once and forgets everything: enough for what a sink does while it lives. */
#include <errno.h>
#include <stdlib.h>

#include "channel/ledger.h"

int
ledger_link_open(struct ledger *l, const char *who, uint32_t room, int fd, struct ledger_link **link, struct err *err)
{
	(void)who;
	(void)room;
	(void)fd;
	(void)err;
	*link = (struct ledger_link *)l;
	return 0;
}

void
ledger_link_close(struct ledger_link *link)
{
	(void)link;
}

int
ledger_note(struct ledger_link *link, const struct state_record *record, uint64_t *number)
{
	(void)link;
	(void)record;
	*number = 1;
	return 0;
}

int
ledger_remove(struct ledger_link *link, uint8_t class, const void *key, uint16_t key_len, uint64_t *number)
{
	(void)link;
	(void)class;
	(void)key;
	(void)key_len;
	*number = 1;
	return 0;
}

uint64_t
ledger_durable(const struct ledger_link *link)
{
	(void)link;
	return UINT64_MAX;
}

int
ledger_status(const struct ledger_link *link)
{
	(void)link;
	return 0;
}

void
ledger_each(struct ledger *l, uint8_t class, const void *prefix, uint16_t len, bool (*visit)(const struct state_record *, void *), void *context)
{
	(void)l;
	(void)class;
	(void)prefix;
	(void)len;
	(void)visit;
	(void)context;
}

int64_t
ledger_get(struct ledger *l, uint8_t class, const void *key, uint16_t key_len, void *value, size_t room, uint64_t *order)
{
	(void)l;
	(void)class;
	(void)key;
	(void)key_len;
	(void)value;
	(void)room;
	(void)order;
	return -ENOENT;
}

uint32_t
ledger_value_max(const struct ledger *l)
{
	(void)l;
	return LEDGER_VALUE_MAX;
}

int
ledger_note_consumer(struct ledger_link *link, const void *key, uint16_t key_len, uint64_t order, const struct consumer_record *record,
		     uint64_t *number)
{
	(void)link;
	(void)key;
	(void)key_len;
	(void)order;
	(void)record;
	*number = 1;
	return 0;
}

int
ledger_resolve(struct ledger_link *link, const void *key, uint16_t key_len, enum consumer_state state, const void *more, uint32_t more_len,
	       uint64_t *number)
{
	(void)link;
	(void)key;
	(void)key_len;
	(void)state;
	(void)more;
	(void)more_len;
	*number = 1;
	return 0;
}

bool
consumer_decode(const void *value, uint32_t len, struct consumer_record *record)
{
	(void)value;
	(void)len;
	(void)record;
	return false;
}

void
set_begin(struct set_writer *set, void *bytes, uint32_t room)
{
	(void)bytes;
	(void)room;
	*set = (struct set_writer){ 0 };
}

void
set_add(struct set_writer *set, uint64_t first, uint64_t count)
{
	(void)first;
	set->events += count;
}

uint32_t
set_end(struct set_writer *set)
{
	return set->events ? 1 : 0;
}
