/* topic_filter: lists of regular expressions, one of which a whole topic name must match (Java's by PCRE2). Any thread, once compiled. */
#ifndef PENSTOCK_CAMUS_TOPIC_FILTER_H
#define PENSTOCK_CAMUS_TOPIC_FILTER_H

#include "base/err.h"
#include "base/option.h"

struct topic_filter;

/* NULL comes out of an empty list. -EINVAL: err names the key and what is wrong with the expression. */
int topic_filter_compile(const struct option_list *list, const char *key, struct topic_filter **filter, struct err *err);
void topic_filter_free(struct topic_filter *filter);
bool topic_filter_matches(const struct topic_filter *filter, const char *topic);
/* White list (NULL: all) and black list (NULL: none), which wins. */
bool topic_filter_admits(const struct topic_filter *white, const struct topic_filter *black, const char *topic);

#endif
