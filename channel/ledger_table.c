/* ledger_table: records by (class, key), chained hash; and by position, so that the oldest are found for carrying forward. */
#include <errno.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "channel/ledger_impl.h"

#define BUCKETS_FIRST 256u

int
table_init(struct ledger_table *t)
{
	*t = (struct ledger_table){ .buckets = calloc(BUCKETS_FIRST, sizeof *t->buckets), .mask = BUCKETS_FIRST - 1 };
	return t->buckets ? 0 : -ENOMEM;
}

void
table_clear(struct ledger_table *t)
{
	while (t->oldest)
		table_remove(t, t->oldest);
}

void
table_free(struct ledger_table *t)
{
	table_clear(t);
	free(t->buckets);
	t->buckets = NULL;
}

static uint32_t
key_hash(uint8_t class, const void *key, uint16_t key_len)
{
	return crc32c(class, key, key_len) * UINT32_C(0x9e3779b1);
}

struct ledger_item *
table_find(const struct ledger_table *t, uint8_t class, const void *key, uint16_t key_len)
{
	uint32_t hash = key_hash(class, key, key_len);
	for (struct ledger_item *i = t->buckets[hash & t->mask]; i; i = i->hash_next)
		if (i->hash == hash && i->class == class && i->key_len == key_len && !memcmp(i->bytes, key, key_len))
			return i;
	return NULL;
}

/* What the limit counts: bytes in memory, about. */
static uint64_t
item_bytes(const struct ledger_item *i)
{
	return sizeof *i + i->key_len + i->value_len;
}

static void
item_unlink(struct ledger_table *t, struct ledger_item *i)
{
	for (int c = 0; c < 2; c++)
		if (t->cursors[c] == i)
			t->cursors[c] = i->newer;
	if (i->older)
		i->older->newer = i->newer;
	else
		t->oldest = i->newer;
	if (i->newer)
		i->newer->older = i->older;
	else
		t->newest = i->older;
	t->bytes -= item_bytes(i);
}

/* At its place by position: nearly always the end (a snapshot's records come in order, too). */
static void
item_link(struct ledger_table *t, struct ledger_item *i)
{
	struct ledger_item *before = t->newest;
	while (before && before->position > i->position)
		before = before->older;
	i->older = before;
	i->newer = before ? before->newer : t->oldest;
	if (before)
		before->newer = i;
	else
		t->oldest = i;
	if (i->newer)
		i->newer->older = i;
	else
		t->newest = i;
	t->bytes += item_bytes(i);
}

static void
table_grow(struct ledger_table *t)
{
	uint32_t mask = t->mask * 2 + 1;
	struct ledger_item **buckets = calloc(mask + 1ull, sizeof *buckets);
	if (!buckets)
		return;		/* longer chains, still right */
	for (struct ledger_item *i = t->oldest; i; i = i->newer) {
		i->hash_next = buckets[i->hash & mask];
		buckets[i->hash & mask] = i;
	}
	free(t->buckets);
	t->buckets = buckets;
	t->mask = mask;
}

static void
item_drop(struct ledger_table *t, struct ledger_item *i)
{
	struct ledger_item **at = &t->buckets[i->hash & t->mask];
	while (*at != i)
		at = &(*at)->hash_next;
	*at = i->hash_next;
	item_unlink(t, i);
	t->count--;
	free(i);
}

struct ledger_item *
table_put(struct ledger_table *t, const struct state_record *r, uint64_t position)
{
	struct ledger_item *i = table_find(t, r->class, r->key, r->key_len), *old = NULL;
	if (i && i->room < r->value_len) {
		old = i;
		i = NULL;
	}
	if (i)
		item_unlink(t, i);
	else {
		uint32_t room = (r->value_len + 31) & ~31u;
		if (!(i = malloc(sizeof *i + r->key_len + room)))
			return NULL;
		*i = (struct ledger_item){ .hash = key_hash(r->class, r->key, r->key_len), .room = room, .key_len = r->key_len,
			.class = r->class };
		memcpy(i->bytes, r->key, r->key_len);
		if (old) {
			i->held = old->held;
			i->last_out = old->last_out;
			item_drop(t, old);
		}
		if (t->count > t->mask)
			table_grow(t);
		i->hash_next = t->buckets[i->hash & t->mask];
		t->buckets[i->hash & t->mask] = i;
		t->count++;
	}
	if (r->value_len)
		memmove(i->bytes + i->key_len, r->value, r->value_len);
	i->value_len = r->value_len;
	i->order = r->order;
	i->position = position;
	item_link(t, i);
	return i;
}

void
table_remove(struct ledger_table *t, struct ledger_item *i)
{
	item_drop(t, i);
}
