#include "dataplane/listeners.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int
listeners_add(struct listeners *listeners, const struct address *at, const struct option_list *allow, struct ingress_source *in, struct err *err)
{
	char ip[ADDRESS_TEXT_BYTES];
	address_ip_text(at, ip, sizeof ip);
	if (listeners->count == LISTENERS_MAX)
		return err_set(err, ENOSPC, "more than %d listeners", LISTENERS_MAX);
	for (uint32_t i = listeners->by_port[at->port]; i; i = listeners->list[i - 1].next)
		if (memcmp(listeners->list[i - 1].at.ip, at->ip, 16) == 0)
			return err_set(err, EADDRINUSE, "sources.%s: %s port %u is taken by source %s already: choose another port", in->spec->name, ip,
				       at->port, listeners->list[i - 1].in->spec->name);
	struct listener *l = &listeners->list[listeners->count];
	*l = (struct listener){ .at = *at, .any = address_is_any(at), .in = in };
	if (allow->count) {
		l->allow = calloc(allow->count, sizeof *l->allow);
		if (!l->allow)
			return err_set(err, ENOMEM, "no memory");
		for (size_t i = 0; i < allow->count; i++)
			if (address_parse_prefix(&l->allow[l->allow_count++], allow->items[i]))
				return err_set(err, EINVAL, "sources.%s: \"%s\" is no prefix", in->spec->name, allow->items[i]);
	}
	l->next = listeners->by_port[at->port];
	listeners->by_port[at->port] = (uint8_t)++listeners->count;
	return 0;
}

void
listeners_free(struct listeners *listeners)
{
	for (uint32_t i = 0; i < listeners->count; i++)
		free(listeners->list[i].allow);
	memset(listeners, 0, sizeof *listeners);
}

bool
listener_allows(const struct listener *listener, const struct address *from)
{
	if (!listener->allow_count)
		return true;
	for (uint32_t i = 0; i < listener->allow_count; i++)
		if (address_in_prefix(from, &listener->allow[i]))
			return true;
	return false;
}

enum drop
listeners_deliver(struct listeners *listeners, const struct datagram *dg)
{
	struct listener *found = NULL;
	for (uint32_t i = listeners->by_port[dg->to.port]; i; i = listeners->list[i - 1].next) {
		struct listener *l = &listeners->list[i - 1];
		if (memcmp(l->at.ip, dg->to.ip, 16) == 0) {
			found = l;
			break;
		}
		if (l->any)
			found = l;
	}
	if (!found)
		return DROP_NO_LISTENER;
	if (!listener_allows(found, &dg->from))
		return DROP_SENDER_NOT_ALLOWED;
	found->in->spec->ops->on_datagram(found->in->self, dg);
	return DROP_NONE;
}
