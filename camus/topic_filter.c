#include "camus/topic_filter.h"

#include <errno.h>
#include <string.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/pool.h"

/* struct topic_filter is a pcre2_code. */

int
topic_filter_compile(const struct option_list *list, const char *key, struct topic_filter **filter, struct err *err)
{
	struct text text = { NULL };
	*filter = NULL;
	if (list->count == 0)
		return 0;
	text_print(&text, "(?:");
	for (size_t i = 0; i < list->count; i++)
		text_print(&text, "%s%s", i ? "|" : "", list->items[i]);
	text_print(&text, ")");
	int number;
	PCRE2_SIZE at;
	*filter = (struct topic_filter *)pcre2_compile((PCRE2_SPTR)text.text, text.len, PCRE2_ANCHORED | PCRE2_ENDANCHORED, &number, &at, NULL);
	text_free(&text);
	if (*filter)
		return 0;
	PCRE2_UCHAR words[128];
	pcre2_get_error_message(number, words, sizeof words);
	return err_set(err, EINVAL, "%s: not a regular expression: %s", key, (const char *)words);
}

void
topic_filter_free(struct topic_filter *filter)
{
	pcre2_code_free((pcre2_code *)filter);
}

bool
topic_filter_matches(const struct topic_filter *filter, const char *topic)
{
	const pcre2_code *code = (const pcre2_code *)filter;
	pcre2_match_data *data = pcre2_match_data_create_from_pattern(code, NULL);
	int rc = data ? pcre2_match(code, (PCRE2_SPTR)topic, strlen(topic), 0, 0, data, NULL) : -1;
	pcre2_match_data_free(data);
	return rc >= 0;
}

bool
topic_filter_admits(const struct topic_filter *white, const struct topic_filter *black, const char *topic)
{
	return (!white || topic_filter_matches(white, topic)) && (!black || !topic_filter_matches(black, topic));
}
