#include "dataplane/interceptor/interceptor.h"

const struct interceptor_ops *const interceptor_kinds[] = {
	&interceptor_timestamp, &interceptor_host, &interceptor_static, &interceptor_regex_filter, &interceptor_regex_extractor, NULL,
};
