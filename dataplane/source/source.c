#include "dataplane/source/source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

/* The next word of a text separated by blanks; returns the text behind it. */
static const char *
word_next(const char *text, char *word, size_t word_bytes)
{
	text += strspn(text, " \t,");
	size_t n = strcspn(text, " \t,"), fits = n < word_bytes ? n : word_bytes - 1;
	memcpy(word, text, fits);
	word[fits] = 0;
	return text + n;
}

static int
allow_of_list(const struct option_list *list, struct address_prefix **allow, uint32_t *count, struct err *err)
{
	if (!list->count)
		return 0;
	*allow = calloc(list->count, sizeof **allow);
	if (!*allow)
		return err_set(err, ENOMEM, "no memory");
	for (size_t i = 0; i < list->count; i++)
		*count += !address_parse_prefix(&(*allow)[*count], list->items[i]);	/* source_allow_check has seen them */
	return 0;
}

int
source_listen_allow(const struct source_listen *where, const char *source, struct address_prefix **allow, uint32_t *count, struct err *err)
{
	struct address_prefix prefix;
	char word[ADDRESS_TEXT_BYTES];
	*allow = NULL;
	*count = 0;
	if (!where->port_allow)
		return allow_of_list(&where->allow, allow, count, err);
	uint32_t words = 0;
	for (const char *text = word_next(where->port_allow, word, sizeof word); *word; text = word_next(text, word, sizeof word), words++)
		if (address_parse_prefix(&prefix, word))
			return err_set(err, EINVAL, "sources.%s: penstock.allow.port.%u: \"%s\" is no prefix (want 192.0.2.0/24 or 2001:db8::/32)", source, where->port,
				       word);
	if (!words)
		return err_set(err, EINVAL, "sources.%s: penstock.allow.port.%u names no prefix: leave it out, or give 192.0.2.0/24 or 2001:db8::/32", source,
			       where->port);
	*allow = calloc(words, sizeof **allow);
	if (!*allow)
		return err_set(err, ENOMEM, "no memory");
	for (const char *text = word_next(where->port_allow, word, sizeof word); *word; text = word_next(text, word, sizeof word))
		address_parse_prefix(&(*allow)[(*count)++], word);
	return 0;
}
