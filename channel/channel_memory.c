/* channel_memory: the engine with no disk under it: everything is lost when the process ends. */
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "channel/engine.h"

struct config {
	uint32_t capacity, transaction_capacity, keep_alive, byte_percentage;
	uint64_t byte_capacity;
};

#define O(field) offsetof(struct config, field)
static const struct option options[] = {
	{ .name = "capacity", .type = OPT_U32, .offset = O(capacity), .value = "100", .min = 1, .max = INT32_MAX, .unit = "events",
	  .help = "Unsettled events at which intake stops.", .flags = OPTION_LENIENT, .effect = EFFECT_LIVE },
	{ .name = "transactionCapacity", .type = OPT_U32, .offset = O(transaction_capacity), .value = "100", .min = 1, .max = INT32_MAX,
	  .unit = "events", .help = "Most events of one take.", .flags = OPTION_LENIENT, .effect = EFFECT_LIVE },
	{ .name = "keep-alive", .type = OPT_U32, .offset = O(keep_alive), .value = "3", .max = 86400, .unit = "s", .effect = EFFECT_LIVE,
	  .help = "Time a request (http) waits for room before its client is told that there is none (503). Lines of TCP wait in the client's "
		  "window, polled sources where they are, both without a limit; datagrams are counted as channel_full at once." },
	{ .name = "byteCapacityBufferPercentage", .type = OPT_U32, .offset = O(byte_percentage), .value = "20", .min = 0, .max = 100,
	  .unit = "%", .help = "Share of byteCapacity kept free for headers.", .effect = EFFECT_REOPEN },
	{ .name = "byteCapacity", .type = OPT_U64, .offset = O(byte_capacity), .unit = "bytes",
	  .help = "Bytes of bodies at which intake stops, in slots of 100; 0: no limit but that of block memory.", .effect = EFFECT_REOPEN },
	{ 0 },
};

static int
check(const void *config, const char *name, struct err *err)
{
	const struct config *c = config;
	if (c->transaction_capacity > c->capacity)
		return err_set(err, EINVAL, "%s.transactionCapacity = %u: is more than capacity = %u", name, c->transaction_capacity, c->capacity);
	return 0;
}

static int
open_channel(struct channel **channel, const void *config, const struct channel_env *env, struct err *err)
{
	const struct config *c = config;
	int wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (wake_fd < 0)
		return err_set(err, errno, "eventfd: %s", strerror(errno));
	return engine_open(channel, &(struct engine_config){ .ops = &channel_memory, .env = env, .capacity = c->capacity,
		.transaction_capacity = c->transaction_capacity, .keep_alive_s = c->keep_alive,
		.capacity_bytes = c->byte_capacity / 100 * (100 - c->byte_percentage) / 100,
		.wake_fd = wake_fd }, err);
}

static int
reconfigure(struct channel *channel, const void *config, struct err *err)
{
	(void)err;
	const struct config *c = config;
	atomic_store(&((struct engine *)channel)->capacity, c->capacity);
	channel->transaction_capacity = c->transaction_capacity;
	atomic_store(&channel->keep_alive_s, c->keep_alive);
	engine_writer_wake(channel);
	return 0;
}

static struct channel_promise
promise(const struct channel *channel)
{
	(void)channel;
	return (struct channel_promise){ .ordered = true, .settles_sets = true, .live_resize = true };
}

const struct channel_ops channel_memory = {
	.name = "memory", .class_names = "org.apache.flume.channel.MemoryChannel", .help = "Events wait in memory and are lost with the process.",
	.options = options, .config_size = sizeof(struct config), .check = check, .open = open_channel, .link = engine_link,
	.writer_step = engine_writer_step, .writer_wake = engine_writer_wake, .ledger = engine_ledger, .taker_open = engine_taker_open,
	.take = engine_take, .settle = engine_settle, .span_release = engine_span_release, .taker_idle = engine_taker_idle, .taker_close = engine_taker_close,
	.span_next = engine_span_next, .reconfigure = reconfigure, .promise = promise, .idle = engine_idle, .unsettled = engine_unsettled,
	.close = engine_close,
};
