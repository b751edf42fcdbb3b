/* Sink groups: whom each processor offers spans to, with the test's clock; and a group of fake sinks on one channel. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "sinks/sink_group.h"
#include "tests/lib/config_of.h"
#include "tests/lib/sink_fixture.h"

struct wanted {
	struct option_values values;
	void *config;
	const struct processor_ops *ops;
	char told[4096];
};

static void
judge_tell(void *context, bool fatal, const char *key, const char *text)
{
	struct wanted *w = context;
	size_t len = strlen(w->told);
	snprintf(w->told + len, sizeof w->told - len, "%c %s %.30s\n", fatal ? 'E' : 'W', key, text);
}

/* "key=value" texts, ended by NULL. */
static struct wanted *
wanted_new(const struct processor_ops *ops, const char *const *texts)
{
	struct wanted *w = calloc(1, sizeof *w);
	w->ops = ops;
	w->config = config_must(ops->options, ops->config_size, texts, &w->values);
	return w;
}

static void
wanted_free(struct wanted *w)
{
	option_values_free(&w->values);
	free(w->config);
	free(w);
}

#define TEXTS(...) (const char *const[]){ __VA_ARGS__ __VA_OPT__(,) NULL }
#define S NS_PER_S

/* Members in order as a text: "0 2". */
static const char *
ordered(struct processor *p, uint64_t now_ns)
{
	static char text[64];
	uint32_t order[GROUP_MEMBERS_MAX], count = processor_order(p, now_ns, order);
	text[0] = '\0';
	for (uint32_t i = 0; i < count; i++)
		snprintf(text + strlen(text), sizeof text - strlen(text), "%s%u", i ? " " : "", order[i]);
	return text;
}

static const char *const three[] = { "k1", "k2", "k3" };

static void
test_failover(void **state)
{
	(void)state;
	struct wanted *w = wanted_new(&processor_failover, TEXTS("priority.k1=5", "priority.k2=10", "maxpenalty=10000"));
	struct processor p;
	processor_begin(&p, w->ops, w->config, three, 3, 1);
	assert_string_equal(ordered(&p, 1 * S), "1");		/* the largest; k3 has none and comes last */
	processor_failed(&p, 1, 1 * S);
	processor_failed(&p, 1, 1 * S);				/* of the same moment */
	assert_string_equal(ordered(&p, 1 * S), "0");
	assert_int_equal(processor_due_ns(&p, 1 * S), 2 * S);	/* 1000 ms x 2^1 */
	processor_worked(&p, 1, 2 * S);				/* from before: says nothing */
	assert_string_equal(ordered(&p, 2 * S), "0");
	assert_string_equal(ordered(&p, 3 * S), "1 0");		/* due: tried first */
	assert_true(processor_on_trial(&p, 1, 3 * S));
	processor_failed(&p, 1, 3 * S);
	assert_int_equal(processor_due_ns(&p, 3 * S), 4 * S);
	processor_failed(&p, 0, 3 * S);
	assert_string_equal(ordered(&p, 3 * S), "2");
	processor_worked(&p, 2, 3 * S);
	for (uint64_t t = 7; t < 7 + 40 * 10; t += 10)		/* far beyond where Flume's becomes negative */
		processor_failed(&p, 1, t * S);
	assert_int_equal(processor_due_ns(&p, 397 * S), 10 * S);	/* maxpenalty */
	processor_worked(&p, 1, 407 * S);
	assert_string_equal(ordered(&p, 407 * S), "0 1");	/* k1 is still on trial, k2 live again */
	processor_worked(&p, 0, 407 * S);
	assert_string_equal(ordered(&p, 407 * S), "1");
	/* All fail: nobody is tried before the first is due. */
	for (uint32_t i = 0; i < 3; i++)
		processor_failed(&p, i, 500 * S);
	assert_string_equal(ordered(&p, 501 * S), "");
	assert_int_equal(processor_due_ns(&p, 501 * S), 1 * S);
	assert_string_equal(ordered(&p, 502 * S), "0 1 2");
	wanted_free(w);
}

static void
test_failover_judge(void **state)
{
	(void)state;
	struct wanted *w = wanted_new(&processor_failover, TEXTS("priority.k1=5", "priority.k2=5", "priority.k9=1", "maxpenalty=soon"));
	w->ops->judge(w->config, three, 3, judge_tell, w);
	assert_string_equal(w->told, "E priority.k2 5 is the priority of sink 'k1'\nW priority.k9 is ignored: sink 'k9' is not i\nW priority.k3 is not set: the sink comes beh\n");
	wanted_free(w);
	w = wanted_new(&processor_failover, TEXTS("priority.k1=-5", "priority.k2=1.5", "priority.k3=+7"));
	w->ops->judge(w->config, three, 3, judge_tell, w);
	assert_string_equal(w->told, "E priority.k2 '1.5' is not a whole number (F\n");
	wanted_free(w);
	/* Without priorities: as listed, below those that have one. */
	w = wanted_new(&processor_failover, TEXTS("priority.k3=-4"));
	struct processor p;
	processor_begin(&p, w->ops, w->config, three, 3, 1);
	assert_string_equal(ordered(&p, S), "2");
	processor_failed(&p, 2, S);
	assert_string_equal(ordered(&p, S), "0");
	wanted_free(w);
}

static void
test_round_robin(void **state)
{
	(void)state;
	struct wanted *w = wanted_new(&processor_load_balance, TEXTS());
	struct processor p;
	processor_begin(&p, w->ops, w->config, three, 3, 1);
	assert_string_equal(ordered(&p, S), "0 1 2");
	processor_took(&p, 0);
	assert_string_equal(ordered(&p, S), "1 2 0");
	processor_took(&p, 1);
	processor_took(&p, 2);
	processor_failed(&p, 0, S);
	assert_string_equal(ordered(&p, S), "0 1 2");		/* no backoff */
	processor_failed(&p, 1, S);
	processor_failed(&p, 2, S);
	assert_string_equal(ordered(&p, S), "");		/* a pass in vain: 1 s, then 2 ... 5 */
	assert_int_equal(processor_due_ns(&p, S), S);
	for (uint64_t pass = 2; pass < 9; pass++) {
		uint64_t now_ns = pass * 10 * S;
		for (uint32_t i = 0; i < 3; i++)
			processor_failed(&p, i, now_ns);
		assert_int_equal(processor_due_ns(&p, now_ns), pass < 5 ? pass * S : 5 * S);
	}
	wanted_free(w);
}

static void
test_backoff(void **state)
{
	(void)state;
	struct wanted *w = wanted_new(&processor_load_balance, TEXTS("backoff=true", "selector=ROUND_ROBIN", "selector.maxTimeOut=7000"));
	struct processor p;
	processor_begin(&p, w->ops, w->config, three, 3, 1);
	processor_failed(&p, 1, S);
	assert_string_equal(ordered(&p, S), "0 2");
	assert_string_equal(ordered(&p, 3 * S), "0 1 2");
	processor_failed(&p, 1, 3 * S);
	assert_int_equal(processor_due_ns(&p, 3 * S), 4 * S);
	processor_failed(&p, 1, 7 * S);
	assert_int_equal(processor_due_ns(&p, 7 * S), 7 * S);	/* maxTimeOut */
	processor_failed(&p, 1, 7 * S + 3600 * S + 8 * S);	/* more than an hour after: another row */
	assert_int_equal(processor_due_ns(&p, 3615 * S), 2 * S);
	wanted_free(w);
}

static void
test_random(void **state)
{
	(void)state;
	struct wanted *w = wanted_new(&processor_load_balance, TEXTS("selector=random"));
	struct processor p;
	uint32_t first[3] = { 0 }, order[GROUP_MEMBERS_MAX];
	processor_begin(&p, w->ops, w->config, three, 3, 12345);
	for (int i = 0; i < 3000; i++) {
		assert_int_equal(processor_order(&p, S, order), 3);
		assert_int_equal((1 << order[0]) + (1 << order[1]) + (1 << order[2]), 7);
		first[order[0]]++;
	}
	for (int i = 0; i < 3; i++)
		assert_in_range(first[i], 900, 1100);
	wanted_free(w);
}

/* ---- a group ---- */

/* A sink of the test's: says at once what `next` says, or keeps spans until fake_end. */
struct fake_sink {
	struct sink_env *env;
	enum sink_result next;
	bool full;
	int fd;				/* speaks when it is set */
	uint32_t taken, drained;
	struct span *kept[16];
	uint32_t kept_count;
};
static struct fake_sink fakes[3];

static int
fake_open(void **sink, const void *config, struct sink_env *env, struct err *err)
{
	struct fake_sink *fake = &fakes[env->name[1] - '1'];
	(void)config;
	(void)err;
	*fake = (struct fake_sink){ .env = env };
	*sink = fake;
	assert_true(env->grouped);
	return 0;
}

static enum sink_result
fake_deliver(void *self, struct span *span)
{
	struct fake_sink *fake = self;
	fake->taken++;
	if (fake->next == SINK_PENDING)
		fake->kept[fake->kept_count++] = span;
	return fake->next;
}

static void
fake_end(struct fake_sink *fake, enum sink_result result)
{
	while (fake->kept_count)
		fake->env->done(fake->env, fake->kept[--fake->kept_count], result);
}

static int
fake_fds(void *self, struct pollfd *fds, int max)
{
	struct fake_sink *fake = self;
	assert_true(max >= 1);
	fds[0] = (struct pollfd){ .fd = fake->fd, .events = POLLIN };
	return fake->fd ? 1 : 0;
}

static void fake_drain(void *self) { ((struct fake_sink *)self)->drained++; }
static bool fake_ready(void *self) { return !((struct fake_sink *)self)->full; }
static void fake_finish(void *self, uint64_t deadline_ns) { (void)deadline_ns; fake_end(self, SINK_FAILED); }
static void fake_close(void *self) { (void)self; }

static const struct sink_ops fake_ops = {
	.name = "fake", .open = fake_open, .deliver = fake_deliver, .finish = fake_finish, .close = fake_close, .drain = fake_drain, .ready = fake_ready,
	.wait_fds = fake_fds,
};

struct grouped {
	struct sink_fixture f;
	struct wanted *w;
	struct sink_group *group;
};

static void
grouped_open(struct grouped *g, const struct processor_ops *ops, const char *const *texts)
{
	struct sink_runner *runner;
	fixture_init(&g->f, 1000);
	g->w = wanted_new(ops, texts);
	assert_int_equal(sink_group_open(&g->group, ops, g->w->config, "g1", three, 3, true, &g->f.clock.clock, &g->f.err), 0);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(sink_group_member(g->group, i, &fake_ops, NULL, "a1", &g->f.channel.channel, &runner, &g->f.err), 0);
}

static void
grouped_close(struct grouped *g)
{
	sink_group_finish(g->group, 0);
	fixture_free(&g->f);
	wanted_free(g->w);
}

static void
step_at(struct grouped *g, uint64_t now_ns)
{
	clock_manual_advance(&g->f.clock, now_ns - clock_now_ns(&g->f.clock.clock));
	sink_group_step(g->group, 0);
}

static void
test_group_at_once(void **state)
{
	(void)state;
	struct grouped g;
	grouped_open(&g, &processor_failover, TEXTS("priority.k1=3", "priority.k2=2", "priority.k3=1"));
	fakes[0].next = SINK_FAILED;
	fake_put_many(&g.f.channel, 5, "x");	/* a batch is one event */
	step_at(&g, S);
	/* The one that k1 failed with went to k2, as all. */
	assert_int_equal(g.f.channel.settled, 5);
	assert_int_equal(fakes[0].taken, 1);
	assert_int_equal(fakes[1].taken, 5);
	assert_int_equal(metrics_sum("SINKGROUP", "g1", "turns"), 1);
	assert_int_equal(metrics_sum("SINKGROUP", "g1", "member_failures"), 1);
	assert_int_equal(metrics_sum("SINK", "k1", "backing_off"), 0);	/* shown at the next step */
	fakes[0].next = SINK_DONE;
	fake_put_many(&g.f.channel, 2, "x");
	step_at(&g, 2 * S);
	assert_int_equal(metrics_sum("SINK", "k1", "backing_off"), 1);
	assert_int_equal(fakes[1].taken, 7);	/* the penalty runs */
	fake_put_many(&g.f.channel, 2, "x");
	step_at(&g, 3 * S);
	assert_int_equal(fakes[0].taken, 3);	/* tried, worked, and is the largest again */
	assert_int_equal(g.f.channel.settled, 9);
	/* All fail. */
	for (int i = 0; i < 3; i++)
		fakes[i].next = SINK_FAILED;
	fake_put_many(&g.f.channel, 1, "x");
	step_at(&g, 4 * S);
	step_at(&g, 5 * S);
	sink_group_step(g.group, 1);
	assert_int_equal(metrics_sum("SINKGROUP", "g1", "waiting"), 1);
	assert_int_equal(fakes[2].taken, 1);
	fakes[2].next = SINK_DONE;
	step_at(&g, 6 * S);	/* k1, k2 fail again, k3 has it */
	assert_int_equal(g.f.channel.settled, 10);
	assert_int_equal(metrics_sum("SINKGROUP", "g1", "waiting"), 0);	/* also of a group that always has something to do */
	grouped_close(&g);
}

/* All are full: the first of them that has room again is heard of, whoever it is. */
static void
test_group_wakes(void **state)
{
	(void)state;
	struct grouped g;
	struct timespec before, after;
	grouped_open(&g, &processor_failover, TEXTS("priority.k1=3", "priority.k2=2", "priority.k3=1"));
	for (int i = 0; i < 3; i++)
		fakes[i].full = true;
	fakes[2].fd = eventfd(1, 0);
	clock_gettime(CLOCK_MONOTONIC, &before);
	sink_group_step(g.group, 30 * S);
	clock_gettime(CLOCK_MONOTONIC, &after);
	assert_true(after.tv_sec - before.tv_sec < 20);
	close(fakes[2].fd);
	fakes[2].fd = 0;
	grouped_close(&g);
}

static void
test_group_late(void **state)
{
	(void)state;
	struct grouped g;
	grouped_open(&g, &processor_failover, TEXTS("priority.k1=3", "priority.k2=2", "priority.k3=1"));
	fakes[0].next = SINK_PENDING;
	fake_put_many(&g.f.channel, 4, "x");
	step_at(&g, S);
	assert_int_equal(fakes[0].kept_count, 4);
	assert_int_equal(fakes[0].drained, 0);
	/* Two of the four come back; what k1 still has stays with it and is to end. */
	struct span *left[2] = { fakes[0].kept[0], fakes[0].kept[1] };
	fakes[0].env->done(fakes[0].env, fakes[0].kept[2], SINK_FAILED);
	fakes[0].env->done(fakes[0].env, fakes[0].kept[3], SINK_FAILED);
	memcpy(fakes[0].kept, left, sizeof left);
	fakes[0].kept_count = 2;
	step_at(&g, 2 * S);
	assert_int_equal(fakes[1].taken, 2);
	assert_int_equal(fakes[0].drained, 1);
	assert_int_equal(g.f.channel.settled, 2);
	fakes[0].env->done(fakes[0].env, left[0], SINK_DONE);	/* in its penalty: settled, but no sign of life */
	fakes[0].kept[0] = left[1];
	fakes[0].kept_count = 1;
	/* Due, but it still has something: nothing more for it. */
	fake_put_many(&g.f.channel, 3, "x");
	step_at(&g, 4 * S);
	assert_int_equal(fakes[0].taken, 4);
	assert_int_equal(fakes[1].taken, 5);
	/* That one ends late: k1 works again. */
	fake_end(&fakes[0], SINK_DONE);
	fakes[0].full = true;
	fake_put_many(&g.f.channel, 1, "x");
	step_at(&g, 5 * S);
	assert_int_equal(g.f.channel.settled, 7);	/* live but full: the group waits for it, it has not failed */
	fakes[0].full = false;
	step_at(&g, 6 * S);
	assert_int_equal(fakes[0].kept_count, 1);
	/* On trial it gets one span, the others go on. */
	fake_end(&fakes[0], SINK_FAILED);
	fake_put_many(&g.f.channel, 5, "x");
	step_at(&g, 9 * S);
	assert_int_equal(fakes[0].kept_count, 1);
	assert_int_equal(fakes[1].taken, 10);
	fake_end(&fakes[0], SINK_DONE);
	assert_int_equal(g.f.channel.settled, 13);
	for (uint32_t i = 0; i < g.f.channel.count; i++)
		assert_int_equal(g.f.channel.events[i].state, FAKE_SETTLED);
	/* Kept at the stop: given back. */
	fake_put_many(&g.f.channel, 1, "x");
	step_at(&g, 10 * S);
	assert_int_equal(fakes[0].kept_count, 1);
	grouped_close(&g);
}

static void
test_group_balance(void **state)
{
	(void)state;
	struct grouped g;
	grouped_open(&g, &processor_load_balance, TEXTS("backoff=true"));
	fake_put_many(&g.f.channel, 9, "x");
	step_at(&g, S);
	for (int i = 0; i < 3; i++)
		assert_int_equal(fakes[i].taken, 3);
	fakes[1].full = true;
	fake_put_many(&g.f.channel, 4, "x");
	step_at(&g, 2 * S);
	assert_int_equal(fakes[1].taken, 3);
	assert_int_equal(g.f.channel.settled, 13);
	fakes[1].full = false;
	fakes[0].next = SINK_FAILED;
	fake_put_many(&g.f.channel, 6, "x");
	step_at(&g, 3 * S);
	assert_int_equal(fakes[0].taken, 6);	/* once in vain */
	assert_int_equal(g.f.channel.settled, 19);
	assert_int_equal(metrics_sum("SINKGROUP", "g1", "turns"), 0);
	/* The channel cannot be read: as a failure. */
	g.f.channel.take_error = -5;
	step_at(&g, 3 * S + 1);
	assert_int_equal(metrics_sum("SINKGROUP", "g1", "member_failures"), 2);
	grouped_close(&g);
}

/* Nobody is left out, yet it shows who failed when it was last tried. */
static void
test_group_no_backoff(void **state)
{
	(void)state;
	struct grouped g;
	grouped_open(&g, &processor_load_balance, TEXTS());
	fakes[1].next = SINK_FAILED;
	fake_put_many(&g.f.channel, 6, "x");
	step_at(&g, S);
	assert_int_equal(g.f.channel.settled, 6);
	step_at(&g, 2 * S);
	assert_int_equal(metrics_sum("SINK", "k1", "backing_off"), 0);
	assert_int_equal(metrics_sum("SINK", "k2", "backing_off"), 1);
	assert_int_equal(metrics_sum("SINKGROUP", "g1", "members_out"), 0);
	fakes[1].next = SINK_DONE;
	fake_put_many(&g.f.channel, 6, "x");
	step_at(&g, 3 * S);
	step_at(&g, 4 * S);
	assert_int_equal(metrics_sum("SINK", "k2", "backing_off"), 0);
	grouped_close(&g);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_failover), cmocka_unit_test(test_failover_judge), cmocka_unit_test(test_round_robin), cmocka_unit_test(test_backoff),
		cmocka_unit_test(test_random), cmocka_unit_test(test_group_at_once), cmocka_unit_test(test_group_wakes), cmocka_unit_test(test_group_late), cmocka_unit_test(test_group_balance),
		cmocka_unit_test(test_group_no_backoff),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
