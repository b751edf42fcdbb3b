/* interceptor_host: this machine's address or name, found once at start, as a header. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "dataplane/interceptor/interceptor.h"

struct host_config {
	const char *header;
	bool use_ip, preserve;
};

struct host {
	const struct name *header;
	bool preserve;
	uint32_t len;
	char value[NI_MAXHOST];		/* empty: nothing is set, as Flume does */
};

static const struct option host_options[] = {
	{"hostHeader", OPT_STRING, offsetof(struct host_config, header), "host", .help = "Name of the header.", .effect = EFFECT_LIVE},
	{"useIP", OPT_BOOL, offsetof(struct host_config, use_ip), "true", .help = "The address; else the name.", .effect = EFFECT_LIVE},
	{"preserveExisting", OPT_BOOL, offsetof(struct host_config, preserve), "false", .help = "Keep a header that is there already.",
	 .effect = EFFECT_LIVE},
	{0},
};

/* As Java's InetAddress.getLocalHost(): the host's name is looked up, IPv4 first; the canonical name is asked back from the address. */
static int
local_host(bool use_ip, char *value, size_t size)
{
	char name[256] = "";
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *list, *best;
	gethostname(name, sizeof name - 1);
	int rc = getaddrinfo(name, NULL, &hints, &list);
	if (rc)
		return rc;
	best = list;
	for (struct addrinfo *one = list; one; one = one->ai_next)
		if (one->ai_family == AF_INET) {
			best = one;
			break;
		}
	rc = getnameinfo(best->ai_addr, best->ai_addrlen, value, (socklen_t)size, NULL, 0, use_ip ? NI_NUMERICHOST : NI_NAMEREQD);
	if (rc && !use_ip)
		rc = getnameinfo(best->ai_addr, best->ai_addrlen, value, (socklen_t)size, NULL, 0, NI_NUMERICHOST);
	freeaddrinfo(list);
	return rc;
}

static int
host_compile(const void *config, void **compiled, struct err *err)
{
	const struct host_config *wanted = config;
	struct host *self = calloc(1, sizeof *self);
	if (!self)
		return err_set(err, ENOMEM, "out of memory");
	self->header = name_intern(wanted->header, strlen(wanted->header));
	self->preserve = wanted->preserve;
	int rc = local_host(wanted->use_ip, self->value, sizeof self->value);
	if (rc) {
		self->value[0] = '\0';
		log_warn("interceptor host: this host's name cannot be looked up (%s): header %s will not be set", gai_strerror(rc), wanted->header);
	}
	self->len = (uint32_t)strlen(self->value);
	*compiled = self;
	return 0;
}

static void
host_run(const void *compiled, void *scratch, struct batch *batch)
{
	const struct host *self = compiled;
	(void)scratch;
	for (uint32_t i = 0; self->len && i < batch->count; i++) {
		struct event *event = &batch->events[i];
		if (!event->dropped && !(self->preserve && event_header(event, self->header)))
			event_set_bytes(batch, event, self->header, self->value, self->len);
	}
}

const struct interceptor_ops interceptor_host = {
	.name = "host",
	.class_names = "org.apache.flume.interceptor.HostInterceptor$Builder",
	.help = "Sets a header to this machine's address or name.",
	.options = host_options,
	.config_size = sizeof(struct host_config),
	.compile = host_compile,
	.run = host_run,
	.free = free,
};
