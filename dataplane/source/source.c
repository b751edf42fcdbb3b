#include "dataplane/source/source.h"

const struct source_ops *const source_kinds[] = { &source_netcatudp, &source_syslogudp, NULL };
