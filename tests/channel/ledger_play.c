#include "tests/channel/ledger_play.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "tests/channel/keys.h"

bool play_at_close, play_sealed;
uint64_t play_limited, play_segment_bytes;

static const char *dirs[] = { "/d" };

static const struct channel_file_config config = { .checkpoint_dir = "/c", .data_dirs = { 1, dirs }, .capacity = 100000, .sync = true,
	.required_space = 1, .max_file_size = 1u << 30, .transaction_capacity = 100, .checkpoint_interval_ms = 1, .sync_interval_s = 5,
	.segment_size = 1, .ledger_bytes = 1u << 30 };

static int
open_mem(struct channel_case *c, const struct channel_env *env, uint64_t capacity, struct channel **channel, struct err *err)
{
	struct channel_file_config mine = config;
	(void)capacity;
	mine.checkpoint_on_close = play_at_close;
	if (play_limited)
		mine.ledger_bytes = play_limited;
	if (play_segment_bytes)
		mine.segment_size = play_segment_bytes;
	if (play_sealed)
		keys_config(&mine, "key-2");
	return channel_file_open_on(channel, &mine, env, logio_mem_io(c->context), err);
}

void
play_open(struct play *p)
{
	struct err err = { "" };
	rig_open(&p->r, &p->c, 0);
	p->ledger = p->r.channel->ops->ledger(p->r.channel);
	assert_true(p->r.channel->ops->promise(p->r.channel).notes);
	assert_int_equal(ledger_link_open(p->ledger, "plain", 0, -1, &p->plain, &err), 0);
	assert_int_equal(ledger_link_open(p->ledger, "sink", 2 * (ledger_value_max(p->ledger) + LEDGER_KEY_MAX) + (1u << 20), -1, &p->sink, &err), 0);
	assert_int_equal(p->r.channel->ops->taker_open(p->r.channel, "k1", &p->taker, &err), 0);
}

void
play_begin(struct play *p)
{
	memset(p, 0, sizeof *p);
	p->mem = logio_mem_new();
	p->c = (struct channel_case){ .open = open_mem, .context = p->mem };
	play_open(p);
}

void
play_close(struct play *p)
{
	p->r.channel->ops->taker_close(p->taker);
	rig_close(&p->r);
}

void
play_end(struct play *p)
{
	play_close(p);
	logio_mem_free(p->mem);
}

uint64_t
next_random(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return *seed >> 20;
}

void
settle_down(struct play *p)
{
	for (int i = 0; i < 6; i++)
		(void)p->r.channel->ops->writer_step(p->r.channel, 0);
}

void
note_key(struct play *p, uint64_t key, uint64_t value)
{
	uint64_t number;
	struct state_record r = { .class = STATE_FLOW, .key = &key, .key_len = 8, .value = &value, .value_len = 8, .order = value };
	int rc;
	while ((rc = ledger_note(p->plain, &r, &number)) == -EAGAIN)
		(void)p->r.channel->ops->writer_step(p->r.channel, 0);
	assert_int_equal(rc, 0);
}

void
check_key(struct play *p, uint64_t key, uint64_t value)
{
	uint64_t now = 0, order;
	assert_int_equal(ledger_get(p->ledger, STATE_FLOW, &key, 8, &now, 8, &order), 8);
	assert_int_equal(now, value);
	assert_int_equal(order, value);
}

void
settle_all(struct play *p)
{
	const struct channel_ops *ops = p->r.channel->ops;
	struct span *s;
	while (ops->take(p->taker, 1000, UINT64_MAX, 0, &s) == 0 && s)
		ops->settle(p->taker, s, SETTLE_COMMIT, NULL, 0);
}

uint64_t
metric(const char *name)
{
	return metrics_sum("LEDGER", "c1", name);
}
