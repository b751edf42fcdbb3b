#include "dataplane/source/keep_fields.h"

#include <string.h>
#include <strings.h>

uint32_t
keep_fields_parse(const char *text)
{
	if (strcasecmp(text, "all") == 0 || strcasecmp(text, "true") == 0)
		return KEEP_ALL;
	if (strcasecmp(text, "none") == 0 || strcasecmp(text, "false") == 0)
		return KEEP_NONE;
	uint32_t keep = KEEP_NONE;
	if (strcasestr(text, "priority"))
		keep |= KEEP_PRIORITY;
	if (strcasestr(text, "version"))
		keep |= KEEP_VERSION;
	if (strcasestr(text, "timestamp"))
		keep |= KEEP_TIMESTAMP;
	if (strcasestr(text, "hostname"))
		keep |= KEEP_HOSTNAME;
	return keep;
}

static uint32_t
add(uint8_t *out, uint32_t n, const uint8_t *bytes, struct syslog_slice slice)
{
	memcpy(out + n, bytes + slice.offset, slice.len);
	out[n + slice.len] = ' ';
	return n + slice.len + 1;
}

uint32_t
keep_fields_body(uint32_t keep, const struct syslog_message *m, const uint8_t *bytes, uint8_t *out)
{
	uint32_t n = 0;
	if ((keep & KEEP_PRIORITY) && m->priority_text.len) {
		out[n++] = '<';
		memcpy(out + n, bytes + m->priority_text.offset, m->priority_text.len);
		n += m->priority_text.len;
		out[n++] = '>';
	}
	if ((keep & KEEP_VERSION) && m->version.len)
		n = add(out, n, bytes, m->version);
	if ((keep & KEEP_TIMESTAMP) && (m->stamp.len || m->stamp_empty))
		n = add(out, n, bytes, m->stamp);
	if ((keep & KEEP_HOSTNAME) && (m->host.len || m->host_empty))
		n = add(out, n, bytes, m->host);
	memcpy(out + n, bytes + m->body.offset, m->body.len);
	return n + m->body.len;
}
