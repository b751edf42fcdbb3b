/* Every kind of channel over every logio keeps the same promises (tests/conformance); and what the file channel alone must do:
 * locks, options, a failing disk. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "channel/channel_file.h"
#include "tests/channel/keys.h"
#include "tests/conformance/channel_conformance.h"

struct place {
	char dir[64], checkpoint[96], data[2][96];
	const char *items[2];
	struct channel_file_config config;
	struct logio_mem *mem;
};

static void
place_init(struct place *p, uint32_t io, uint32_t dirs)
{
	memset(p, 0, sizeof *p);
	strcpy(p->dir, "/tmp/penstock-test-XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	snprintf(p->checkpoint, sizeof p->checkpoint, "%s/a/b/checkpoint", p->dir);
	for (int i = 0; i < 2; i++) {
		snprintf(p->data[i], sizeof p->data[i], "%s/data%d/", p->dir, i);
		p->items[i] = p->data[i];
	}
	p->config = (struct channel_file_config){ .checkpoint_dir = p->checkpoint, .data_dirs = { dirs, p->items }, .checkpoint_on_close = true,
		.sync = true, .required_space = 1, .max_file_size = 1u << 30, .transaction_capacity = 100, .checkpoint_interval_ms = 30000,
		.sync_interval_s = 5, .io = io, .segment_size = 1 };
}

static int
open_file(struct channel_case *c, const struct channel_env *env, uint64_t capacity, struct channel **channel, struct err *err)
{
	struct place *p = c->context;
	p->config.capacity = capacity;
	return channel_file.open(channel, &p->config, env, err);
}

static void
clean_file(struct channel_case *c)
{
	struct place *p = c->context;
	char command[128];
	snprintf(command, sizeof command, "rm -rf '%s'", p->dir);
	assert_int_equal(system(command), 0);
}

static void
conform(uint32_t io, uint32_t dirs)
{
	struct place p;
	place_init(&p, io, dirs);
	struct channel_case c = { .open = open_file, .clean = clean_file, .durable = true, .context = &p };
	channel_conformance(&c);
}

static void
test_file_pwrite(void **state)
{
	(void)state;
	conform(FILE_IO_PWRITE, 1);
}

static void
test_file_uring(void **state)
{
	(void)state;
	struct logio *io;
	if (logio_uring_open(&io, -1, NULL))
		skip();
	io->ops->close(io);
	conform(FILE_IO_URING, 2);
}

static int
open_mem(struct channel_case *c, const struct channel_env *env, uint64_t capacity, struct channel **channel, struct err *err)
{
	struct place *p = c->context;
	p->config.capacity = capacity;
	if (!p->mem)
		p->mem = logio_mem_new();
	return channel_file_open_on(channel, &p->config, env, logio_mem_io(p->mem), err);
}

static void
clean_mem(struct channel_case *c)
{
	struct place *p = c->context;
	logio_mem_free(p->mem);
	p->mem = NULL;
}

static void
test_file_mem(void **state)
{
	(void)state;
	struct place p;
	place_init(&p, 0, 1);
	rmdir(p.dir);
	struct channel_case c = { .open = open_mem, .clean = clean_mem, .durable = true, .context = &p };
	channel_conformance(&c);
}

static void
test_file_sealed(void **state)
{
	(void)state;
	struct place p;
	place_init(&p, 0, 1);
	rmdir(p.dir);
	keys_config(&p.config, "key-2");
	struct channel_case c = { .open = open_mem, .clean = clean_mem, .durable = true, .context = &p };
	channel_conformance(&c);
	place_init(&p, FILE_IO_PWRITE, 2);
	keys_config(&p.config, "key-1");
	c = (struct channel_case){ .open = open_file, .clean = clean_file, .durable = true, .context = &p };
	channel_conformance(&c);
}

struct print_report {
	struct option_report report;
	int fatal;
};

static void
tell(struct option_report *report, bool fatal, const char *origin, const char *key, const char *text)
{
	(void)origin, (void)key, (void)text;
	((struct print_report *)report)->fatal += fatal;
}

static int
parse(const struct channel_ops *ops, struct property *props, size_t count, void *config, struct option_values *values)
{
	struct print_report report = { { tell }, 0 };
	memset(config, 0, ops->config_size);
	(void)option_parse(ops->options, props, count, config, values, &report.report);
	return report.fatal;
}

static int
open_memory(struct channel_case *c, const struct channel_env *env, uint64_t capacity, struct channel **channel, struct err *err)
{
	(void)c;
	char text[24], config[256];
	struct option_values values = { 0 };
	snprintf(text, sizeof text, "%llu", (unsigned long long)capacity);
	struct property props[] = { { "capacity", text, "test:1", false } };
	assert_int_equal(parse(&channel_memory, props, 1, config, &values), 0);
	int rc = channel_memory.check(config, "c1", err);
	if (!rc)
		rc = channel_memory.open(channel, config, env, err);
	option_values_free(&values);
	return rc;
}

static void
clean_memory(struct channel_case *c)
{
	(void)c;
}

static void
test_memory(void **state)
{
	(void)state;
	struct channel_case c = { .open = open_memory, .clean = clean_memory };
	channel_conformance(&c);
}

static void
test_options(void **state)
{
	(void)state;
	struct channel_file_config config;
	struct option_values values = { 0 };
	struct property plain[] = { { "dataDirs", "/a,/b", "t:1", false }, { "keep-alive", "5", "t:2", false }, { "capacity", "7000", "t:3", false },
				    { "use-fast-replay", "true", "t:4", false } };
	assert_int_equal(parse(&channel_file, plain, 4, &config, &values), 0);
	assert_int_equal(config.data_dirs.count, 2);
	assert_int_equal(config.capacity, 7000);
	assert_true(config.sync && config.checkpoint_on_close);
	assert_int_equal(config.required_space, 524288000);
	struct err err = { "" };
	assert_int_equal(channel_file.check(&config, "c1", &err), -EINVAL);	/* transactionCapacity 10000 > 7000 */
	assert_non_null(strstr(err.text, "transactionCapacity"));
	option_values_free(&values);
	struct property secret[] = { { "encryption.activeKey", "k", "t:1", false }, { "encryption.keyProvider.keys", "k l", "t:1", false },
				     { "encryption.keyProvider.keys.k.passwordFile", "/p", "t:1", false } };
	assert_int_equal(parse(&channel_file, secret, 3, &config, &values), 0);
	assert_int_equal(config.key_aliases.count, 2);
	assert_string_equal(config.key_passwords.items[0].key, "k.passwordFile");
	config.transaction_capacity = 1;
	assert_int_equal(channel_file.check(&config, "c1", &err), -EINVAL);
	assert_non_null(strstr(err.text, "must be given together"));
	option_values_free(&values);
}

static void
test_lock(void **state)
{
	(void)state;
	struct place p;
	place_init(&p, FILE_IO_PWRITE, 1);
	struct channel_case c = { .open = open_file, .clean = clean_file, .context = &p };
	struct rig r;
	rig_open(&r, &c, 1000);
	struct channel *second;
	struct err err = { "" };
	struct channel_env env = { .name = "c2" };
	assert_int_not_equal(channel_file.open(&second, &p.config, &env, &err), 0);
	assert_non_null(strstr(err.text, "locked"));
	rig_close(&r);
	rig_open(&r, &c, 1000);
	rig_close(&r);
	clean_file(&c);
}

/* A write that fails: its events and all later ones are answered with an error, what was durable still drains and is there after. */
static void
test_failing_disk(void **state)
{
	(void)state;
	struct place p;
	place_init(&p, 0, 1);
	rmdir(p.dir);
	struct channel_case c = { .open = open_mem, .clean = clean_mem, .context = &p };
	struct rig r;
	rig_open(&r, &c, 10000);
	(void)r.channel->ops->writer_step(r.channel, 0);
	assert_int_equal(rig_put(&r, 10, 50), 10);
	rig_settle_down(&r);
	assert_int_equal(r.done, 10);
	logio_mem_fail_after(p.mem, 0);
	rig_put(&r, 10, 50);
	rig_put(&r, 10, 50);
	rig_settle_down(&r);
	rig_put(&r, 10, 50);
	rig_settle_down(&r);
	assert_int_equal(r.done, 10);
	assert_int_equal(r.failed, 30);
	assert_int_equal(r.channel->ops->unsettled(r.channel), 10);
	rig_close(&r);
	logio_mem_power_off(p.mem, 1);
	rig_open(&r, &c, 10000);
	assert_int_equal(r.channel->ops->unsettled(r.channel), 10);
	rig_close(&r);
	clean_mem(&c);
}

/* A link whose blocks lie idle does not shut the others out of a small channel. */
static void
test_small_and_many(void **state)
{
	(void)state;
	for (uint32_t capacity = 1; capacity <= 40; capacity++) {
		static uint64_t config[64];
		static struct option_values values;
		struct option_report report = { 0 };
		struct channel_link *links[8];
		struct channel *channel;
		struct err err = { "" };
		char text[8];
		snprintf(text, sizeof text, "%u", capacity);
		struct property props[] = { { "capacity", text, "t:1" }, { "transactionCapacity", "1", "t:1" } };
		assert_int_equal(option_parse(channel_memory.options, props, 2, config, &values, &report), 0);
		struct channel_env env = { .name = "c1", .clock = &clock_system, .block_bytes = 16384, .blocks = 64, .links_max = 8 };
		assert_int_equal(channel_memory.open(&channel, config, &env, &err), 0);
		option_values_free(&values);
		for (uint32_t i = 0; i < 8; i++)
			assert_int_equal(channel->ops->link(channel, "i", -1, &links[i], &err), 0);
		for (int i = 0; i < 3; i++)
			(void)channel->ops->writer_step(channel, 0);
		uint64_t held = 0;
		for (uint32_t i = 0; i < 8; i++) {
			struct block *block = channel_credit(links[i]);
			assert_non_null(block);
			for (; block; block = channel_credit(links[i]))
				held += block->events_max;
		}
		assert_in_range(held, 1, capacity < 8 ? 8 : capacity);
		channel->ops->close(channel);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_memory), cmocka_unit_test(test_file_mem), cmocka_unit_test(test_file_sealed), cmocka_unit_test(test_file_pwrite),
		cmocka_unit_test(test_file_uring), cmocka_unit_test(test_options), cmocka_unit_test(test_lock), cmocka_unit_test(test_failing_disk),
		cmocka_unit_test(test_small_and_many),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
