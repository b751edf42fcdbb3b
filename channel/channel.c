#include "channel/channel.h"

#include <assert.h>

#include "base/slice.h"

const struct channel_ops *const channel_kinds[] = { &channel_file, &channel_memory, &channel_spillable, NULL };

void
channel_writer_begin(void)
{
	(void)slice_set(SLICE_LEAST_NS);
}

void
channel_submit(struct channel_link *link, struct block **block)
{
	struct block *b = *block;
	*block = NULL;
	bool pushed = spsc_push(&link->submit, b);
	assert(pushed);
	link->channel->ops->writer_wake(link->channel);
}
