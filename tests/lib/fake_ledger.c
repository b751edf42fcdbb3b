/* The ledger's functions for tests that link the sinks without the channel's library: a fake channel has no ledger, so none is called. */
#include <stdlib.h>

#include "channel/ledger.h"

int
ledger_link_open(struct ledger *l, const char *who, uint32_t room, int fd, struct ledger_link **link, struct err *err)
{
	(void)l;
	(void)who;
	(void)room;
	(void)fd;
	(void)link;
	(void)err;
	abort();
}

void
ledger_link_close(struct ledger_link *link)
{
	(void)link;
	abort();
}

int
ledger_note(struct ledger_link *link, const struct state_record *r, uint64_t *n)
{
	(void)link;
	(void)r;
	(void)n;
	abort();
}

int
ledger_remove(struct ledger_link *link, uint8_t c, const void *k, uint16_t kl, uint64_t *n)
{
	(void)link;
	(void)c;
	(void)k;
	(void)kl;
	(void)n;
	abort();
}

uint64_t
ledger_durable(const struct ledger_link *link)
{
	(void)link;
	abort();
}

int
ledger_status(const struct ledger_link *link)
{
	(void)link;
	abort();
}

void
ledger_each(struct ledger *l, uint8_t c, const void *p, uint16_t pl, bool (*v)(const struct state_record *, void *), void *x)
{
	(void)l;
	(void)c;
	(void)p;
	(void)pl;
	(void)v;
	(void)x;
	abort();
}

int64_t
ledger_get(struct ledger *l, uint8_t c, const void *k, uint16_t kl, void *v, size_t room, uint64_t *o)
{
	(void)l;
	(void)c;
	(void)k;
	(void)kl;
	(void)v;
	(void)room;
	(void)o;
	abort();
}

uint32_t
ledger_value_max(const struct ledger *l)
{
	(void)l;
	abort();
}

int
ledger_note_consumer(struct ledger_link *link, const void *k, uint16_t kl, uint64_t o, const struct consumer_record *r, uint64_t *n)
{
	(void)link;
	(void)k;
	(void)kl;
	(void)o;
	(void)r;
	(void)n;
	abort();
}

int
ledger_resolve(struct ledger_link *link, const void *k, uint16_t kl, enum consumer_state s, const void *m, uint32_t ml, uint64_t *n)
{
	(void)link;
	(void)k;
	(void)kl;
	(void)s;
	(void)m;
	(void)ml;
	(void)n;
	abort();
}

bool
consumer_decode(const void *v, uint32_t l, struct consumer_record *r)
{
	(void)v;
	(void)l;
	(void)r;
	abort();
}

void
set_begin(struct set_writer *s, void *b, uint32_t room)
{
	(void)s;
	(void)b;
	(void)room;
	abort();
}

void
set_add(struct set_writer *s, uint64_t f, uint64_t c)
{
	(void)s;
	(void)f;
	(void)c;
	abort();
}

uint32_t
set_end(struct set_writer *s)
{
	(void)s;
	abort();
}
