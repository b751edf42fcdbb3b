#include "dataplane/source/stream_options.h"

#include "dataplane/source/source.h"

const char *const stream_ack_choices[] = { "auto", "received", "durable", NULL };

int
stream_options_check(const struct stream_options *options, const char *source, struct err *err)
{
	return source_allow_check(&options->allow, source, err);
}
