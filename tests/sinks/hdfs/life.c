#include "tests/sinks/hdfs/life.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/lib/config_of.h"

static int
open_file(struct channel_case *c, const struct channel_env *env, uint64_t capacity, struct channel **channel, struct err *err)
{
	struct place *place = c->context;
	char checkpoint[128], data[128];
	(void)capacity;
	snprintf(checkpoint, sizeof checkpoint, "checkpointDir=%s/checkpoint", place->dir);
	snprintf(data, sizeof data, "dataDirs=%s/data", place->dir);
	const char *const texts[] = { checkpoint, data, "maxFileSize=4194304", "minimumRequiredSpace=1048576", NULL };
	place->config = config_must(channel_file.options, channel_file.config_size, texts, &place->values);
	struct channel_env usual = *env;
	usual.block_bytes = 0;
	return channel_file.open(channel, place->config, &usual, err);
}

void
life_begin(struct life *life, const char *dir, const char *sink, const char *const *options)
{
	struct err err;
	memset(life, 0, sizeof *life);
	snprintf(life->place.dir, sizeof life->place.dir, "%s", dir);
	life->c = (struct channel_case){ .open = open_file, .durable = true, .context = &life->place };
	rig_open(&life->rig, &life->c, 0);
	block_scratch_free(life->rig.scratch);	/* a ledger's notes with paths need blocks of the usual size */
	assert_int_equal(block_scratch_init(&life->rig.scratch, 256 << 10), 0);
	clock_manual_init(&life->clock, NS_PER_S, NS_PER_S);
	life->config = config_must(sink_hdfs.options, sink_hdfs.config_size, options, &life->values);
	if (sink_runner_open(&life->runner, &sink_hdfs, life->config, "a1", sink, life->rig.channel, &life->clock.clock, &err))
		fail_msg("%s", err.text);
}

void
life_put(struct life *life, uint32_t events)
{
	for (uint32_t put = 0; put < events;) {
		put += rig_put(&life->rig, events - put > 50 ? 50 : events - put, 100);
		(void)life->rig.channel->ops->writer_step(life->rig.channel, 0);
		rig_reap(&life->rig);
	}
	rig_settle_down(&life->rig);
}

void
life_step(struct life *life)
{
	clock_manual_advance(&life->clock, 6 * NS_PER_MS);
	sink_runner_step(life->runner, 0);
	(void)life->rig.channel->ops->writer_step(life->rig.channel, 0);
	rig_reap(&life->rig);
	usleep(1000);	/* the disk's syncs are of this world */
}

void
life_end(struct life *life)
{
	sink_runner_finish(life->runner, 0);
	for (int i = 0; i < 20; i++)
		(void)life->rig.channel->ops->writer_step(life->rig.channel, 0);
	rig_close(&life->rig);
	free(life->config);
	free(life->place.config);
	option_values_free(&life->values);
	option_values_free(&life->place.values);
}
