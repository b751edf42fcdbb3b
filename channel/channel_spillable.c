/* channel_spillable: a memory channel before a file channel. Blocks go into memory; when that is full for overflowTimeout they go to the log,
 * until memory has room again. Order is kept over both; what is in memory is lost when the process ends.
 *
 * Two engines, each with one link. The writer hands their credit on to the ingresses, and passes sealed blocks to the engine they belong
 * to, in one order: the list of runs. Takers follow that list. Numbers are the list's: dense, and new with each start.
 * Threads: rings as in any channel; `lock` guards runs, redo and takes; lock order: ours, then an engine's. */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "channel/spillable.h"

#define CREDIT_MAX 64u

#define O(field) offsetof(struct channel_spillable_config, field)
static const struct option own_options[] = {
	{ .name = "memoryCapacity", .type = OPT_U64, .offset = O(memory_capacity), .value = "10000", .max = INT32_MAX, .unit = "events",
	  .help = "Events that wait in memory, lost when the process ends; 0: all goes to disk." },
	{ .name = "overflowCapacity", .type = OPT_U64, .offset = O(overflow_capacity), .value = "100000000", .max = INT32_MAX, .unit = "events",
	  .help = "Events that wait on disk; 0: none, it is a memory channel." },
	{ .name = "overflowTimeout", .type = OPT_U32, .offset = O(overflow_timeout_s), .value = "3", .max = INT32_MAX, .unit = "s",
	  .help = "Time that memory must be full before events go to disk." },
	{ .name = "overflowDeactivationThreshold", .type = OPT_U32, .offset = O(threshold), .value = "5", .max = 100, .unit = "%",
	  .help = "Free part of memoryCapacity at which events go to memory again." },
	{ .name = "byteCapacityBufferPercentage", .type = OPT_U32, .offset = O(byte_percentage), .value = "20", .max = 100, .unit = "%",
	  .help = "Share of byteCapacity kept free for headers." },
	{ .name = "byteCapacity", .type = OPT_U64, .offset = O(byte_capacity), .unit = "bytes",
	  .help = "Bytes of bodies at which memory is full, in slots of avgEventSize; 0: no limit but that of block memory." },
	{ .name = "avgEventSize", .type = OPT_U32, .offset = O(average), .value = "500", .min = 1, .max = INT32_MAX, .unit = "bytes",
	  .help = "Bytes of a slot of byteCapacity." },
	{ .name = "capacity", .type = OPT_U64, .value = "0", .unit = "events", .help = "Set by overflowCapacity.", .flags = OPTION_NO_MEANING,
	  .note = "Flume overwrites it; memoryCapacity and overflowCapacity count" },
	{ .name = "keep-alive", .type = OPT_U32, .value = "0", .unit = "s", .help = "Wait for room on disk.", .flags = OPTION_NO_MEANING,
	  .note = "Flume overwrites it with 0; a request waits overflowTimeout" },
};
#define OWN_COUNT (sizeof own_options / sizeof *own_options)
static struct option options[OWN_COUNT + 64];

/* The table: our own options and all of the file channel's but those Flume overwrites. */
__attribute__((constructor)) static void
options_join(void)
{
	size_t n = 0;
	for (; n < OWN_COUNT; n++)
		options[n] = own_options[n];
	for (const struct option *o = channel_file.options; o->name; o++) {
		if (!strcmp(o->name, "capacity") || !strcmp(o->name, "keep-alive"))
			continue;
		assert(n < sizeof options / sizeof *options - 1);
		options[n] = *o;
		options[n++].effect = EFFECT_REOPEN;
	}
}

#define M(name, type, field, unit, help) { name, type, offsetof(struct spillable_counters, field), unit, help }
static const struct metric metrics[] = {
	M("ChannelSize", METRIC_GAUGE, size, "events", "Events stored and not yet settled, in memory and on disk."),
	M("ChannelCapacity", METRIC_GAUGE, capacity, "events", "memoryCapacity and overflowCapacity."),
	M("ChannelFillPercentage", METRIC_GAUGE, fill, "hundredths of a percent", "ChannelSize of ChannelCapacity."),
	M("EventPutAttemptCount", METRIC_COUNTER, put_attempt, "events", "Events submitted."),
	M("EventPutSuccessCount", METRIC_COUNTER, put_success, "events", "Events stored."),
	M("EventTakeAttemptCount", METRIC_COUNTER, take_attempt, "calls", "Takes tried."),
	M("EventTakeSuccessCount", METRIC_COUNTER, take_success, "events", "Events taken and committed."),
	M("memory_events", METRIC_GAUGE, memory, "events", "Unsettled events in memory."),
	M("overflow_events", METRIC_GAUGE, overflow, "events", "Unsettled events on disk."),
	M("spilled", METRIC_COUNTER, spilled, "events", "Events that went to disk."),
	M("spilling", METRIC_GAUGE, spilling, "boolean", "Events go to disk at the moment."),
	M("stored", METRIC_COUNTER, stored, "events", "Events stored as the channel promises."),
	M("failed", METRIC_COUNTER, failed, "events", "Events lost because a write or sync failed."),
};
#undef M

static void
refresh(struct metric_set *set)
{
	struct spillable *s = set->context;
	struct spillable_counters *c = &s->counters;
	uint64_t memory = part_unsettled(&s->parts[MEMORY]), overflow = part_unsettled(&s->parts[OVERFLOW]);
	uint64_t capacity = s->parts[MEMORY].capacity + s->parts[OVERFLOW].capacity, put = 0, failed = 0;
	for (int i = 0; i < 2; i++)
		if (s->parts[i].channel) {
			put += counter_read(&s->parts[i].engine->counters.stored);
			failed += counter_read(&s->parts[i].engine->counters.failed);
		}
	counter_set(&c->memory, memory);
	counter_set(&c->overflow, overflow);
	counter_set(&c->size, memory + overflow);
	counter_set(&c->capacity, capacity);
	counter_set(&c->fill, capacity ? (memory + overflow) * 10000 / capacity : 0);
	counter_set(&c->put_success, put);
	counter_set(&c->stored, put);
	counter_set(&c->failed, failed);
	counter_set(&c->take_attempt, atomic_load(&s->took));
	counter_set(&c->take_success, atomic_load(&s->taken));
	if (s->parts[OVERFLOW].channel)
		counter_set(&c->spilled, counter_read(&s->parts[OVERFLOW].engine->counters.stored));
}

static int
check(const void *config, const char *name, struct err *err)
{
	const struct channel_spillable_config *c = config;
	struct channel_file_config file = c->file;
	file.capacity = c->overflow_capacity ? c->overflow_capacity : c->memory_capacity ? UINT64_MAX : 100000000;
	if (c->memory_capacity && c->file.transaction_capacity > c->memory_capacity && !c->overflow_capacity)
		return err_set(err, EINVAL, "%s.transactionCapacity = %u: is more than memoryCapacity = %llu", name, c->file.transaction_capacity,
			       (unsigned long long)c->memory_capacity);
	return channel_file.check(&file, name, err);
}

/* Under lock. */
static void
run_add(struct runs *r, const struct run *run)
{
	if (r->tail - r->head > r->mask) {
		uint32_t room = (r->mask + 1) * 2;
		struct run *more = malloc(room * sizeof *more);
		if (!more)
			abort();	/* no memory, as everywhere in the window */
		for (uint64_t q = r->head; q < r->tail; q++)
			more[q & (room - 1)] = *run_at(r, q);
		free(r->items);
		r->items = more;
		r->mask = room - 1;
	}
	*run_at(r, r->tail++) = *run;
}

/* Under lock: blocks whose turn has come can be taken; settled runs go from the front. */
void
spillable_runs_move(struct spillable *s)
{
	for (struct run *run; s->pending.head < s->pending.tail && (run = run_at(&s->pending, s->pending.head))->ended; s->pending.head++) {
		struct run *last = s->runs.head < s->runs.tail ? run_at(&s->runs, s->runs.tail - 1) : NULL;
		if (run->failed || !run->events)
			continue;
		if (last && last->part == run->part && last->inner + last->events == run->inner) {
			last->events += run->events;
			last->left += run->events;
		} else {
			run->first = s->next_number;
			run_add(&s->runs, run);
		}
		s->next_number += run->events;
	}
	while (s->runs.head < s->runs.tail && !run_at(&s->runs, s->runs.head)->left)
		s->runs.head++;
}

/* ---- open and close ---- */

static void
spillable_free(struct spillable *s)
{
	for (int i = 0; i < 2; i++) {
		if (s->parts[i].channel) {
			if (i == OVERFLOW)
				channel_file.close(s->parts[i].channel);
			else
				engine_close(s->parts[i].channel);
		}
		free(s->parts[i].flights);
	}
	for (uint32_t i = 0; s->links && i < atomic_load(&s->link_count); i++) {
		struct outer_link *l = s->links[i];
		spsc_free(&l->link.submit);
		spsc_free(&l->link.completions);
		spsc_free(&l->link.completions_free);
		spsc_free(&l->link.credit);
		free(l->completions);
		free(l);
	}
	free(s->links);
	free(s->runs.items);
	free(s->pending.items);
	free(s->redo.items);
	free(s->name);
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->wake);
	free(s);
}

static int
part_open(struct spillable *s, enum part part, const struct channel_spillable_config *c, const struct channel_env *env, struct logio *io, struct err *err)
{
	struct part_state *p = &s->parts[part];
	int rc;
	if (part == OVERFLOW) {
		struct channel_file_config file = c->file;
		file.capacity = p->capacity;
		rc = io ? channel_file_open_on(&p->channel, &file, env, io, err) : channel_file.open(&p->channel, &file, env, err);
	} else {
		int wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (wake_fd < 0)
			return err_set(err, errno, "eventfd: %s", strerror(errno));
		rc = engine_open(&p->channel, &(struct engine_config){ .ops = &channel_memory, .env = env, .capacity = p->capacity,
			.transaction_capacity = c->file.transaction_capacity, .slot_bytes = c->average,
			.capacity_bytes = c->byte_capacity * (100 - c->byte_percentage) / 100 / c->average, .wake_fd = wake_fd }, err);
	}
	if (rc)
		return rc;
	p->engine = (struct engine *)p->channel;
	metrics_remove(&p->channel->metrics);		/* ours count both */
	p->next = atomic_load(&p->engine->durable);
	p->flights = calloc(p->engine->block_count, sizeof *p->flights);
	if (!p->flights)
		return err_set(err, ENOMEM, "no memory");
	return engine_link(p->channel, "spillable", -1, &p->link, err);
}

static int
open_on(struct channel **channel, const void *config, const struct channel_env *env, struct logio *io, struct err *err)
{
	const struct channel_spillable_config *c = config;
	struct spillable *s = calloc(1, sizeof *s);
	pthread_condattr_t attr;
	if (!s)
		return err_set(err, ENOMEM, "no memory");
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->wake, &attr);
	pthread_condattr_destroy(&attr);
	s->clock = env->clock ? env->clock : &clock_system;
	s->name = strdup(env->name ? env->name : "channel");
	s->links_max = env->links_max ? env->links_max : 1;
	s->timeout_ns = c->overflow_timeout_s * NS_PER_S;
	atomic_store(&s->channel.keep_alive_s, c->overflow_timeout_s);
	s->threshold = c->threshold;
	s->parts[MEMORY].capacity = c->memory_capacity;
	s->parts[OVERFLOW].capacity = c->overflow_capacity;
	if (!c->memory_capacity && !c->overflow_capacity)
		s->parts[OVERFLOW].capacity = 100000000;
	s->channel.ops = &channel_spillable;
	s->channel.name = s->name;
	s->channel.transaction_capacity = c->file.transaction_capacity;
	s->links = calloc(s->links_max, sizeof *s->links);
	s->runs.mask = s->pending.mask = 255;
	s->runs.items = calloc(256, sizeof *s->runs.items);
	s->pending.items = calloc(256, sizeof *s->pending.items);
	int rc = s->name && s->links && s->runs.items && s->pending.items ? 0 : err_set(err, ENOMEM, "no memory");
	/* Each part has one link, whose blocks are shared out: half of the memory each, where there are two. */
	struct channel_env inner = *env;
	inner.name = s->name;
	inner.links_max = 1;
	inner.blocks = env->blocks ? env->blocks : ENGINE_BLOCKS;
	if (s->parts[MEMORY].capacity && s->parts[OVERFLOW].capacity)
		inner.blocks /= 2;
	if (inner.blocks < 8 * s->links_max)
		inner.blocks = 8 * s->links_max;
	for (int i = 0; i < 2 && !rc; i++)
		if (s->parts[i].capacity)
			rc = part_open(s, (enum part)i, c, &inner, io, err);
	if (rc) {
		spillable_free(s);
		return rc;
	}
	struct part_state *disk = &s->parts[OVERFLOW];
	s->spilling = !s->parts[MEMORY].channel;
	s->channel.joined_max = disk->channel ? disk->channel->joined_max : 0;
	s->wake_fd = disk->channel ? disk->engine->wake_fd : s->parts[MEMORY].engine->wake_fd;
	if (disk->channel) {	/* what an earlier run left on disk comes first */
		uint64_t left = atomic_load(&disk->engine->durable) - disk->engine->acked;
		run_add(&s->pending, &(struct run){ .inner = disk->engine->acked, .events = left, .left = left, .part = OVERFLOW, .ended = true });
	}
	spillable_runs_move(s);
	s->channel.metrics = (struct metric_set){ .kind = "CHANNEL", .component = s->name, .metrics = metrics,
		.count = sizeof metrics / sizeof *metrics, .counters = &s->counters, .refresh = refresh, .context = s };
	metrics_add(&s->channel.metrics);
	*channel = &s->channel;
	return 0;
}

static int
open_channel(struct channel **channel, const void *config, const struct channel_env *env, struct err *err)
{
	return open_on(channel, config, env, NULL, err);
}

int
channel_spillable_open_on(struct channel **channel, const struct channel_spillable_config *config, const struct channel_env *env, struct logio *io, struct err *err)
{
	return open_on(channel, config, env, io, err);
}

static int
link_open(struct channel *channel, const char *ingress, int wake_fd, struct channel_link **link, struct err *err)
{
	struct spillable *s = (struct spillable *)channel;
	uint32_t n = atomic_load(&s->link_count), blocks = 0;
	if (n == s->links_max)
		return err_set(err, ENOSPC, "channel %s was opened for %u ingresses, %s is one more", s->name, s->links_max, ingress);
	for (int i = 0; i < 2; i++)
		blocks += s->parts[i].channel ? s->parts[i].engine->block_count : 0;
	struct outer_link *l = aligned_alloc(CACHE_LINE_BYTES, (sizeof *l + CACHE_LINE_BYTES - 1) / CACHE_LINE_BYTES * CACHE_LINE_BYTES);
	if (!l)
		return err_set(err, ENOMEM, "no memory");
	memset(l, 0, sizeof *l);
	l->link.channel = channel;
	l->link.wake_fd = wake_fd;
	l->link.impl = l;
	l->completions = calloc(blocks, sizeof *l->completions);
	if (!l->completions || spsc_init(&l->link.submit, blocks) || spsc_init(&l->link.completions, blocks) ||
	    spsc_init(&l->link.completions_free, blocks) || spsc_init(&l->link.credit, blocks))
		return err_set(err, ENOMEM, "no memory");
	for (uint32_t i = 0; i < blocks; i++)
		(void)spsc_push(&l->link.completions_free, &l->completions[i]);
	s->links[n] = l;
	atomic_store(&s->link_count, n + 1);
	*link = &l->link;
	channel->ops->writer_wake(channel);
	return 0;
}

/* ---- the writer ---- */

void
spillable_writer_wake(struct channel *channel)
{
	struct spillable *s = (struct spillable *)channel;
	if (atomic_exchange(&s->writer_sleeps, false)) {
		uint64_t one = 1;
		(void)!write(s->wake_fd, &one, sizeof one);
	}
}

static void
link_wake(struct outer_link *l)
{
	if (l->link.wake_fd >= 0 && atomic_exchange(&l->link.sleeping, false)) {
		uint64_t one = 1;
		(void)!write(l->link.wake_fd, &one, sizeof one);
	}
}

static enum part
part_of(const struct spillable *s, const struct block *block)
{
	const struct memory *m = block->impl;
	const struct part_state *p = &s->parts[MEMORY];
	return p->channel && m >= p->engine->blocks && m < p->engine->blocks + p->engine->block_count ? MEMORY : OVERFLOW;
}

/* One block to its part. */
static void
block_pass(struct spillable *s, struct outer_link *l, struct completion *completion)
{
	struct block *block = spsc_pop(&l->link.submit);
	enum part part = part_of(s, block);
	struct part_state *p = &s->parts[part];
	struct flight *f = &p->flights[(p->flight_first + p->flight_count++) % p->engine->block_count];
	counter_add(&s->counters.put_attempt, block->events);
	l->out--;
	pthread_mutex_lock(&s->lock);
	*f = (struct flight){ .link = l, .completion = completion, .run = s->pending.tail, .generation = block->generation };
	run_add(&s->pending, &(struct run){ .events = block->events, .left = block->events, .part = (uint8_t)part });
	pthread_mutex_unlock(&s->lock);
	/* What was filled before its ingress saw a failure fails too: the part takes a block of another generation for that. */
	block->generation = p->link->generation - (block->generation != l->generation);
	bool pushed = spsc_push(&p->link->submit, block);
	assert(pushed);
}

/* Sealed blocks go on to their parts, link by link; blocks that belong together stay together. */
static int
pass_on(struct spillable *s)
{
	uint32_t links = atomic_load_explicit(&s->link_count, memory_order_acquire);
	int did = 0;
	for (uint32_t i = 0; i < links; i++) {
		struct outer_link *l = s->links[(s->link_turn + i) % links];
		struct block *first;
		while ((first = spsc_peek(&l->link.submit, 0))) {
			uint32_t run = first->joined + 1;
			bool split = false;
			if (!spsc_peek(&l->link.submit, run - 1) || spsc_count(&l->link.completions_free) < run)
				break;
			atomic_fetch_add(&s->under_way, run);
			for (uint32_t k = 1; k < run; k++)	/* of both parts: they cannot lie in one group */
				split |= part_of(s, spsc_peek(&l->link.submit, k)) != part_of(s, first);
			for (uint32_t k = 0; k < run; k++) {
				if (split)
					((struct block *)spsc_peek(&l->link.submit, 0))->joined = 0;
				block_pass(s, l, spsc_pop(&l->link.completions_free));
			}
			did++;
		}
	}
	if (links)
		s->link_turn = (s->link_turn + 1) % links;
	return did;
}

static int
completions_pass(struct spillable *s, enum part part)
{
	struct part_state *p = &s->parts[part];
	struct completion *c;
	int did = 0;
	while (p->channel && (c = channel_completion(p->link))) {
		struct flight *f = &p->flights[p->flight_first];
		struct outer_link *l = f->link;
		assert(p->flight_count);
		pthread_mutex_lock(&s->lock);
		struct run *run = run_at(&s->pending, f->run);
		run->ended = true;
		run->failed = c->status != 0;
		run->inner = p->next;
		if (!c->status)
			p->next += c->events;
		spillable_runs_move(s);
		bool sleepers = s->takers_waiting != 0;
		pthread_mutex_unlock(&s->lock);
		if (c->status && f->generation == l->generation)
			l->generation++;
		*f->completion = *c;
		f->completion->generation = l->generation;
		bool pushed = spsc_push(&l->link.completions, f->completion);
		assert(pushed);
		p->flight_first = (p->flight_first + 1) % p->engine->block_count;
		p->flight_count--;
		channel_completion_done(p->link, c);
		atomic_fetch_sub(&s->under_way, 1);
		link_wake(l);
		if (sleepers)
			pthread_cond_broadcast(&s->wake);
		did++;
	}
	return did;
}

/* Shares a part's credit out; when memory has given none for overflowTimeout to one that needs it, the disk's is used. */
static int
credit(struct spillable *s)
{
	uint32_t links = atomic_load_explicit(&s->link_count, memory_order_acquire);
	struct part_state *memory = &s->parts[MEMORY], *disk = &s->parts[OVERFLOW];
	int given = 0;
	bool hungry = false;
	if (s->spilling && memory->channel && spsc_count(&memory->link->credit)) {
		uint64_t used = part_unsettled(memory), room = used < memory->capacity ? memory->capacity - used : 0;
		if (room * 100 >= memory->capacity * s->threshold && room)
			s->spilling = false;
	}
	struct part_state *p = &s->parts[s->spilling ? OVERFLOW : MEMORY];
	uint32_t target = links ? p->engine->block_count / (4 * links) : 0;
	target = target > CREDIT_MAX ? CREDIT_MAX : target < 2 ? 2 : target;
	for (uint32_t i = 0; i < links; i++) {
		struct outer_link *l = s->links[(s->link_turn + i) % links];
		bool gave = false;
		while (l->out < target) {
			struct block *block = channel_credit(p->link);
			if (!block)
				break;
			l->out++;
			bool pushed = spsc_push(&l->link.credit, block);
			assert(pushed);
			gave = true;
			given++;
		}
		hungry |= !l->out;
		if (gave)
			link_wake(l);
	}
	uint64_t now = clock_now_ns(s->clock);
	if (!hungry || s->spilling || !disk->channel)
		s->full_since = 0;
	else if (!s->full_since)
		s->full_since = now | 1;
	if (s->full_since && now + 1 - s->full_since >= s->timeout_ns) {
		s->spilling = true;
		s->full_since = 0;
		static struct log_limit limit;
		log_limited(&limit, LOG_INFO, "channel %s: memory is full: events go to disk until it has room", s->name);
		given++;		/* another turn: to hand out the disk's credit */
	}
	counter_set(&s->counters.spilling, s->spilling);
	return given;
}

static int
parts_step(struct spillable *s)
{
	int did = pass_on(s);
	for (int i = 0; i < 2; i++)
		if (s->parts[i].channel)
			did += engine_writer_step(s->parts[i].channel, 0) + completions_pass(s, (enum part)i);
	did += credit(s);
	uint32_t hungry = atomic_load_explicit(&s->parts[s->spilling ? OVERFLOW : MEMORY].channel->hungry, memory_order_relaxed);
	if (atomic_load_explicit(&s->channel.hungry, memory_order_relaxed) != hungry)
		atomic_store_explicit(&s->channel.hungry, hungry, memory_order_relaxed);
	return did;
}

static bool
submitted(struct spillable *s)
{
	for (uint32_t i = 0; i < atomic_load(&s->link_count); i++)
		if (spsc_count(&s->links[i]->link.submit))
			return true;
	return false;
}

static int
writer_step(struct channel *channel, uint64_t wait_ns)
{
	struct spillable *s = (struct spillable *)channel;
	int did = parts_step(s);
	if (did || !wait_ns)
		return did;
	if (s->full_since && wait_ns > s->timeout_ns)
		wait_ns = s->timeout_ns + 1;
	struct pollfd fds[2];
	nfds_t count = 0;
	bool ready = false;
	(void)atomic_exchange(&s->writer_sleeps, true);
	for (int i = 0; i < 2; i++) {		/* what wakes a part's writer wakes us */
		struct engine *e = s->parts[i].engine;
		if (!e)
			continue;
		(void)atomic_exchange(&e->writer_sleeps, true);
		ready |= atomic_load(&e->starved) && atomic_load(&e->settled_total) != e->settled_seen;
		fds[count++] = (struct pollfd){ .fd = e->wake_fd, .events = POLLIN };
	}
	if (!ready && !submitted(s)) {
		struct timespec wait = { .tv_sec = (time_t)(wait_ns / NS_PER_S), .tv_nsec = (long)(wait_ns % NS_PER_S) };
		if (ppoll(fds, count, &wait, NULL) > 0)
			for (nfds_t i = 0; i < count; i++) {
				uint64_t signals;
				if (fds[i].revents & POLLIN)
					(void)!read(fds[i].fd, &signals, sizeof signals);
			}
	}
	for (int i = 0; i < 2; i++)
		if (s->parts[i].engine)
			atomic_store(&s->parts[i].engine->writer_sleeps, false);
	atomic_store(&s->writer_sleeps, false);
	return 0;
}

static int
reconfigure(struct channel *channel, const void *config, struct err *err)
{
	(void)channel, (void)config;
	return err_set(err, ENOTSUP, "a spillablememory channel is not changed while it runs");
}

static struct channel_promise
promise(const struct channel *channel)
{
	const struct spillable *s = (const struct spillable *)channel;
	return (struct channel_promise){ .durable = !s->parts[MEMORY].channel && s->parts[OVERFLOW].engine->sync_groups, .ordered = true,
		.settles_sets = true };
}

static struct ledger *
no_ledger(struct channel *channel)
{
	(void)channel;
	return NULL;		/* what it holds does not outlive the process, so nothing noted of it would */
}

static bool
idle(struct channel *channel)
{
	struct spillable *s = (struct spillable *)channel;
	return !submitted(s) && atomic_load(&s->under_way) == 0;
}

static uint64_t
unsettled(struct channel *channel)
{
	struct spillable *s = (struct spillable *)channel;
	return part_unsettled(&s->parts[MEMORY]) + part_unsettled(&s->parts[OVERFLOW]);
}

static void
close_channel(struct channel *channel)
{
	struct spillable *s = (struct spillable *)channel;
	metrics_remove(&channel->metrics);
	spillable_free(s);
}

const struct channel_ops channel_spillable = {
	.name = "spillablememory", .class_names = "org.apache.flume.channel.SpillableMemoryChannel",
	.help = "Events wait in memory, and in a ring log when that is full.", .options = options, .config_size = sizeof(struct channel_spillable_config), .check = check,
	.open = open_channel, .link = link_open, .writer_step = writer_step, .writer_wake = spillable_writer_wake, .ledger = no_ledger,
	.taker_open = spillable_taker_open, .take = spillable_take, .settle = spillable_settle, .span_release = spillable_span_release, .taker_idle = spillable_taker_idle,
	.taker_close = spillable_taker_close, .span_next = spillable_span_next, .reconfigure = reconfigure, .promise = promise, .idle = idle, .unsettled = unsettled,
	.close = close_channel,
};
