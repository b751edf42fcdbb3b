/* syslog_make: an event of one syslog message, as syslogudp and syslogtcp make it. One maker a source and thread. */
#ifndef PENSTOCK_DATAPLANE_SOURCE_SYSLOG_MAKE_H
#define PENSTOCK_DATAPLANE_SOURCE_SYSLOG_MAKE_H

#include "dataplane/ingress.h"
#include "dataplane/source/syslog.h"
#include "dataplane/source/syslog_format.h"

#define STAMPS 16		/* a power of two; 10 seconds have a place each */

struct syslog_make_config {
	const char *keep_fields, *client_ip_header, *client_hostname_header;
	struct syslog_format_config format;
};

/* A stamp read before: most messages of a second share it, but not all senders' clocks agree on which it is. */
struct cached_stamp {
	uint32_t len;
	uint8_t text[40];
	bool good;
	int64_t ms;
	uint64_t until_ns;			/* RFC 3164 stamps are read anew after that: the year may turn */
};

struct cached_head;

struct syslog_maker {
	struct ingress_source *in;
	uint32_t keep;				/* enum keep_fields */
	struct syslog_format *format;		/* NULL: the two built-in patterns only */
	const struct name *facility, *severity, *priority, *version, *timestamp, *host, *status, *client_ip, *client_hostname;
	struct cached_set *sets;
	struct cached_head *heads;		/* NULL: what is made depends on more than the head */
	uint32_t victim;			/* which of a key's places is taken over next */
	uint32_t kept;				/* heads so far */
	struct cached_stamp stamps[STAMPS];
	uint8_t *scratch;			/* bodies with kept fields */
};

/* len_max: of a message. Control. */
int syslog_maker_open(struct syslog_maker *maker, const struct syslog_make_config *config, struct ingress_source *in, uint32_t len_max,
		      struct err *err);
void syslog_maker_close(struct syslog_maker *maker);

/* NULL: dropped and counted. `len` > 0, no newline at the end. cut: the message was longer than eventSize. */
struct event *syslog_make(struct syslog_maker *maker, const uint8_t *bytes, uint32_t len, const struct address *from, uint64_t time_ns, bool cut);

/* Lines of the option table that both sources have; `member` is the struct syslog_make_config in the config struct. */
#define SYSLOG_MAKE_OPTIONS(config, member) \
	{ "keepFields", OPT_STRING, offsetof(config, member.keep_fields), "none", 0, 0, NULL, \
	  "all, none, or any of: priority version timestamp hostname; these stay in the body." }, \
	{ "clientIPHeader", OPT_STRING, offsetof(config, member.client_ip_header), NULL, 0, 0, NULL, "Header for the sender's address." }, \
	{ "clientHostnameHeader", OPT_STRING, offsetof(config, member.client_hostname_header), NULL, 0, 0, NULL, \
	  "Header for the sender's host name; its address until the name is known." }, \
	{ "format.regex", OPT_STRING, offsetof(config, member.format.regex), NULL, 0, 0, NULL, \
	  "One more message pattern (java.util.regex, over the whole message), tried first; groups: priority, version, timestamp, host, body." }, \
	{ "format.search", OPT_STRING, offsetof(config, member.format.search), NULL, 0, 0, NULL, \
	  "With format.regex: pattern in its timestamp; every match is replaced." }, \
	{ "format.replace", OPT_STRING, offsetof(config, member.format.replace), NULL, 0, 0, NULL, \
	  "With format.search: what stands there instead ($1: a group)." }, \
	{ "format.dateFormat", OPT_STRING, offsetof(config, member.format.date_format), NULL, 0, 0, NULL, \
	  "With format.regex: how its timestamp is written (java.text.SimpleDateFormat); without it there is no timestamp header." }

#endif
