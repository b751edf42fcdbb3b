#include "dataplane/source/syslog_format.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/interceptor/regex_replace.h"
#include "dataplane/source/simpledate.h"

#define STAMP_BYTES 4096	/* a timestamp after its replacements; a longer one is not read */
#define CACHE_BYTES 64

struct syslog_format {
	struct regex *regex, *search;
	struct regex_scratch *regex_scratch, *search_scratch;
	struct regex_replacement *replace;
	struct simpledate *date;
	uint8_t stamp[STAMP_BYTES];
	/* The timestamp read last: most messages of a second share it. */
	uint8_t cached[CACHE_BYTES];
	uint32_t cached_len;
	bool cached_good;
	int64_t cached_ms;
};

static int
open_search(struct syslog_format *f, const struct syslog_format_config *config, struct err *err)
{
	if (!config->replace)
		return err_set(err, EINVAL, "format.search: format.replace is missing: say what stands there instead (may be empty)");
	int rc = regex_compile(config->search, &f->search, err);
	if (!rc)
		rc = regex_attach(f->search, &f->search_scratch, err);
	if (rc)
		return err_prefix(err, rc, "format.search");
	rc = regex_replacement_compile(f->search, config->replace, &f->replace, err);
	return rc ? err_prefix(err, rc, "format.replace") : 0;
}

int
syslog_format_open(struct syslog_format **made, const struct syslog_format_config *config, int64_t now_s, struct err *err)
{
	*made = NULL;
	if (!config->regex)
		return 0;
	struct syslog_format *f = calloc(1, sizeof *f);
	if (!f)
		return err_set(err, ENOMEM, "out of memory");
	int rc = regex_compile_whole(config->regex, &f->regex, err);
	if (!rc)
		rc = regex_attach(f->regex, &f->regex_scratch, err);
	if (rc)
		err_prefix(err, rc, "format.regex");
	if (!rc && config->search)
		rc = open_search(f, config, err);
	if (!rc && config->date_format) {
		rc = simpledate_compile(config->date_format, now_s, &f->date, err);
		if (rc)
			err_prefix(err, rc, "format.dateFormat");
	}
	if (rc) {
		syslog_format_close(f);
		return rc;
	}
	*made = f;
	return 0;
}

void
syslog_format_close(struct syslog_format *f)
{
	if (!f)
		return;
	simpledate_free(f->date);
	regex_replacement_free(f->replace);
	regex_detach(f->search_scratch);
	regex_free(f->search);
	regex_detach(f->regex_scratch);
	regex_free(f->regex);
	free(f);
}

static bool
read_stamp(struct syslog_format *f, const uint8_t *stamp, uint32_t len, int64_t *ms)
{
	if (len == f->cached_len && memcmp(stamp, f->cached, len) == 0) {
		*ms = f->cached_ms;
		return f->cached_good;
	}
	size_t n = len;
	const uint8_t *text = stamp;
	bool good = true;
	if (f->search) {
		good = regex_replace_all(f->search, f->search_scratch, f->replace, stamp, len, f->stamp, sizeof f->stamp, &n);
		text = f->stamp;
	}
	good = good && simpledate_parse(f->date, text, (uint32_t)n, ms);
	if (len <= CACHE_BYTES) {
		memcpy(f->cached, stamp, len);
		f->cached_len = len;
		f->cached_good = good;
		f->cached_ms = good ? *ms : 0;
	}
	return good;
}

static bool
took_part(const struct regex_match *match, uint32_t group)
{
	return group < match->count && match->spans[2 * group] != SIZE_MAX;
}

static struct syslog_slice
slice(const struct regex_match *match, uint32_t group)
{
	if (!took_part(match, group))
		return (struct syslog_slice){ 0, 0 };
	size_t start = match->spans[2 * group], end = match->spans[2 * group + 1];
	return (struct syslog_slice){ (uint32_t)start, (uint32_t)(end - start) };
}

bool
syslog_format_parse(struct syslog_format *f, struct syslog_message *m, const uint8_t *bytes, uint32_t len, const uint8_t **text, bool *has_time,
		    int64_t *ms)
{
	struct regex_match match;
	if (!regex_find(f->regex, f->regex_scratch, bytes, len, &match))
		return false;
	m->matched = true;
	m->priority_text = slice(&match, 1);
	m->version = slice(&match, 2);
	m->stamp = slice(&match, 3);
	m->host = slice(&match, 4);
	m->body = slice(&match, 5);
	m->has_body = took_part(&match, 5);
	m->stamp_empty = took_part(&match, 3) && !m->stamp.len;
	m->host_empty = took_part(&match, 4) && !m->host.len;
	m->stamp_nil = m->host_nil = false;
	*text = match.text;
	*has_time = f->date && m->stamp.len && read_stamp(f, match.text + m->stamp.offset, m->stamp.len, ms);
	return true;
}
