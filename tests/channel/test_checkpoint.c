/* When a synced checkpoint is written while the log goes on: at checkpointInterval, or when so many bytes were written since, whichever is first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "channel/engine.h"
#include "channel/format.h"
#include "tests/channel/file_case.h"

static const char *dirs[] = { "/d" };
static struct channel_file_config config = { .checkpoint_dir = "/c", .data_dirs = { 1, dirs }, .capacity = 1000000, .sync = true,
	.required_space = 1, .max_file_size = 1u << 30, .transaction_capacity = 100, .sync_interval_s = 5, .segment_size = 2u << 20 };
static struct clock_manual manual;
static struct file_place place = { .config = &config, .clock = &manual.clock };
static struct logio_mem *mem;
static struct rig rig;

static struct engine *
begin(uint32_t interval_ms)
{
	struct channel_case c = file_case(&place);
	place.mem = mem = logio_mem_new();
	config.checkpoint_interval_ms = interval_ms;
	clock_manual_init(&manual, NS_PER_S, NS_PER_S);
	rig_open(&rig, &c, 0);
	return (struct engine *)rig.channel;
}

static void
end(void)
{
	rig_close(&rig);
	logio_mem_free(mem);
}

/* Bytes of the log at its end, all durable. */
static uint64_t
put(uint32_t events, uint32_t body)
{
	(void)rig.channel->ops->writer_step(rig.channel, 0);
	assert_int_equal(rig_put(&rig, events, body), events);
	rig_settle_down(&rig);
	(void)rig.channel->ops->writer_step(rig.channel, 0);
	return ((struct engine *)rig.channel)->durable_synced;
}

/* The newest of the two that are synced. */
static struct checkpoint
newest(void)
{
	struct checkpoint found = { 0 }, one;
	static const char *const names[] = { "/c/checkpoint-0", "/c/checkpoint-1" };
	for (int i = 0; i < 2; i++) {
		uint64_t len;
		uint8_t *bytes = logio_mem_bytes(mem, names[i], &len);
		if (!bytes || len < sizeof one)
			continue;
		memcpy(&one, bytes, sizeof one);
		if (one.serial > found.serial)
			found = one;
	}
	return found;
}

/* The log is never quiet and hardly grows: only the time counts. */
static void
test_interval(void **state)
{
	(void)state;
	(void)begin(30000);
	uint64_t serial = newest().serial;	/* those that are not synced count too */
	for (int second = 1; second <= 95; second++) {
		clock_manual_advance(&manual, NS_PER_S);
		uint64_t written = put(10, 100);
		struct checkpoint c = newest();
		assert_int_equal(c.serial != serial, second % 30 == 0);
		serial = c.serial;
		if (second % 30 == 0)
			assert_true(c.durable + (64u << 10) >= written);
	}
	end();
}

/* The clock stands: only what was written counts. Its default is 1 GiB; here it is a little more than three segments. */
static void
test_bytes(void **state)
{
	(void)state;
	struct engine *e = begin(3600000);
	assert_int_equal(e->checkpoint_bytes, UINT64_C(1) << 30);
	e->checkpoint_bytes = 7u << 20;
	struct checkpoint before = newest();
	uint32_t count = 0;
	for (int i = 0; i < 3000; i++) {
		uint64_t written = put(10, 1000);
		struct checkpoint c = newest();
		assert_true(written - c.durable < (7u << 20) + (64u << 10));	/* what recovery reads is bounded */
		if (c.serial == before.serial)
			continue;
		assert_true(c.durable - before.durable >= 7u << 20);
		before = c;
		count++;
	}
	assert_in_range(count, 4, 8);
	end();
}

/* Both: the interval begins anew with a checkpoint that bytes made. */
static void
test_first_of_both(void **state)
{
	(void)state;
	struct engine *e = begin(30000);
	e->checkpoint_bytes = 1u << 20;
	clock_manual_advance(&manual, 20 * NS_PER_S);
	put(10, 100);			/* one for the quiet time */
	uint64_t serial = newest().serial;
	while (newest().serial == serial)
		put(10, 1000);
	serial = newest().serial;
	for (int second = 1; second < 30; second++) {
		clock_manual_advance(&manual, NS_PER_S);
		put(10, 100);
		assert_int_equal(newest().serial, serial);
	}
	clock_manual_advance(&manual, NS_PER_S);
	put(10, 100);
	assert_int_not_equal(newest().serial, serial);
	end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_interval), cmocka_unit_test(test_bytes), cmocka_unit_test(test_first_of_both) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
