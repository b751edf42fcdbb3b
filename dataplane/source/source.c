#include "dataplane/source/source.h"

#include <errno.h>

const struct source_ops *const source_kinds[] = { &source_http, &source_multiport_syslogtcp, &source_netcat, &source_netcatudp, &source_syslogtcp, &source_syslogudp, NULL };

int
source_allow_check(const struct option_list *allow, const char *source, struct err *err)
{
	for (size_t i = 0; i < allow->count; i++) {
		struct address_prefix prefix;
		if (address_parse_prefix(&prefix, allow->items[i]))
			return err_set(err, EINVAL, "sources.%s: penstock.allow: \"%s\" is no prefix (want 192.0.2.0/24 or 2001:db8::/32)", source,
				       allow->items[i]);
	}
	return 0;
}
