#include "dataplane/source/stream_options.h"

#include "dataplane/source/source.h"

const char *const stream_ack_choices[] = { "auto", "received", "durable", NULL };

int
stream_options_check(const struct stream_options *options, const char *source, struct err *err)
{
	struct tls_server *server = NULL;
	int rc = options->tls.on ? tls_server_open(&server, &options->tls, false, err) : 0;
	tls_server_close(server);
	return rc ? err_prefix(err, rc, "sources.%s", source) : source_allow_check(&options->allow, source, err);
}
