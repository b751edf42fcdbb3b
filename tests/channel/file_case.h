/* file_case: a file channel as the channel_case of a test: over a disk in memory, or over the real one; the same each time it is opened. */
#ifndef PENSTOCK_TESTS_FILE_CASE_H
#define PENSTOCK_TESTS_FILE_CASE_H

#include "channel/channel_file.h"
#include "tests/conformance/channel_conformance.h"

struct file_place {
	const struct channel_file_config *config;	/* read at each opening, as are the others */
	struct logio_mem *mem;				/* NULL: the real disk, config->io */
	struct clock *clock;				/* NULL: the system's */
};

static inline int
file_case_open(struct channel_case *c, const struct channel_env *env, uint64_t capacity, struct channel **channel, struct err *err)
{
	const struct file_place *place = c->context;
	struct channel_env mine = *env;
	(void)capacity;
	if (place->clock)
		mine.clock = place->clock;
	if (place->mem)
		return channel_file_open_on(channel, place->config, &mine, logio_mem_io(place->mem), err);
	return channel_file.open(channel, place->config, &mine, err);
}

/* The machine dies. seed: of what was not synced, what arrives. */
static inline void
file_case_die(struct rig *r, struct logio_mem *mem, uint64_t seed)
{
	logio_mem_abort(mem);
	logio_mem_cut_after(mem, 0);		/* dead for good: closing writes nothing */
	rig_close(r);
	logio_mem_power_off(mem, seed);
}

/* The place must last as long as the case. */
static inline struct channel_case
file_case(struct file_place *place)
{
	return (struct channel_case){ .open = file_case_open, .context = place };
}

#endif
