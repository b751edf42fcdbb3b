/* javaregex: reads a java.util.regex pattern (Java 17) and says the same to PCRE2, and roughly the same to Hyperscan.
 *
 * The whole grammar is read by our own parser; letter case, character classes and line ends are worked out here, so that neither
 * engine's own opinion about them matters. What cannot be had as Java has it is refused, with its place in the pattern.
 *
 * The pattern for PCRE2 (option PCRE2_UTF) has Java's meaning and the same group numbers. The prefilter for Hyperscan works on bytes (flags MULTILINE
 * only) and accepts at least every text that holds a match, also when the text has other texts and line feeds around it, and also when it
 * is not UTF-8: no hit means no match, a hit means nothing yet.
 *
 * Known differences to Java: a group inside a repeated part that failed later on stays as it was (Java leaves what it saw there on the way), or
 * is empty where Java leaves it unset after an empty turn; Unicode is that of ICU and PCRE2, not of the JVM; \b sees at most three combining
 * marks after a letter; no match begins in the middle of a character beyond U+FFFF (in Java it may). Control thread. */
#ifndef PENSTOCK_DATAPLANE_INTERCEPTOR_JAVAREGEX_H
#define PENSTOCK_DATAPLANE_INTERCEPTOR_JAVAREGEX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct javaregex {
	char *pcre;		/* for pcre2_compile */
	char *prefilter;	/* for Hyperscan; NULL: there is none worth having */
	uint32_t groups;	/* capturing groups */
	bool always;		/* finds something in every text */
	char **group_names;	/* [groups + 1]; NULL where a group has no name */
};

/* -EINVAL: not a pattern in Java either. -ENOTSUP: we cannot do it as Java does. */
int javaregex_parse(const char *pattern, struct javaregex **regex, struct err *err);
void javaregex_free(struct javaregex *regex);

#endif
