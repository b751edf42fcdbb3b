/* Kerberos by a thread of its own (a KDC may be slow or away), tickets in a cache in memory of each login, renewed at 80 % of their life. Of
 * the calls only those about the delegation token use the tickets (SPNEGO); all others carry the token. A token is renewed at 80 % of what
 * a renewal gave it; when a renewal no longer gives more (its last day), or a call says that the token is not valid, a new one is taken. */
#include "sinks/hdfs/login.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <gssapi/gssapi_krb5.h>
#include <jansson.h>
#include <krb5.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "sinks/hdfs/token_file.h"
#include "sinks/hdfs/webhdfs.h"

#define PAUSE_NS NS_PER_S		/* after a login or a token call that failed, doubled up to */
#define PAUSE_MAX_NS (30 * NS_PER_S)
#define RENEW_MIN_NS (2 * NS_PER_S)

enum ticket_state { TICKET_NONE, TICKET_RUNNING, TICKET_GOT, TICKET_FAILED };	/* the thread's mailbox */
enum token_call { CALL_NONE, CALL_GET, CALL_RENEW };

struct login {
	struct webhdfs *w;
	struct clock *clock;
	char *principal, *keytab, *renewer, *proxy;
	char cache[64];			/* MEMORY:... */
	krb5_context context;		/* the thread's while it runs, else ours */
	krb5_ccache ccache;
	pthread_t thread;
	_Atomic int ticket;		/* enum ticket_state */
	uint64_t lifetime_s;		/* of the ticket the thread got */
	char error[256];
	uint64_t ticket_at_ns;		/* when the next is taken; 0: at once */
	bool have_ticket;
	uint32_t failures;
	enum token_call call;
	struct http_call *http;
	char *token;			/* URL form; NULL none */
	uint64_t token_at_ns;		/* when it is renewed */
	uint64_t expiry_ms;		/* as the last renewal said */
	uint64_t pause_until_ns;
	char trouble[300];		/* the last */
	bool fixed;			/* a token that was given: never renewed */
	bool none;			/* the cluster gives no tokens: it has no security */
};

/* ---- the ticket ---- */

static void *
ticket_take(void *context)
{
	struct login *login = context;
	krb5_context k = login->context;
	krb5_principal who = NULL;
	krb5_keytab keytab = NULL;
	krb5_creds creds;
	memset(&creds, 0, sizeof creds);
	krb5_error_code rc = krb5_parse_name(k, login->principal, &who);
	if (!rc)
		rc = krb5_kt_resolve(k, login->keytab, &keytab);
	if (!rc)
		rc = krb5_get_init_creds_keytab(k, &creds, who, keytab, 0, NULL, NULL);
	if (!rc) {
		rc = krb5_cc_initialize(k, login->ccache, who);
		if (!rc)
			rc = krb5_cc_store_cred(k, login->ccache, &creds);
		login->lifetime_s = creds.times.endtime > creds.times.starttime ? (uint64_t)(creds.times.endtime - creds.times.starttime) : 1;
		krb5_free_cred_contents(k, &creds);
	}
	if (rc) {
		const char *text = krb5_get_error_message(k, rc);
		snprintf(login->error, sizeof login->error, "%s", text);
		krb5_free_error_message(k, text);
	}
	if (keytab)
		krb5_kt_close(k, keytab);
	krb5_free_principal(k, who);
	atomic_store_explicit(&login->ticket, rc ? TICKET_FAILED : TICKET_GOT, memory_order_release);
	return NULL;
}

static void
pause_begin(struct login *login, uint64_t now_ns, const char *what, const char *why)
{
	static struct log_limit limit;
	uint64_t pause_ns = PAUSE_NS << (login->failures < 5 ? login->failures : 5);
	login->failures++;
	login->pause_until_ns = now_ns + (pause_ns < PAUSE_MAX_NS ? pause_ns : PAUSE_MAX_NS);
	snprintf(login->trouble, sizeof login->trouble, "%s: %.250s", what, why);
	log_limited(&limit, LOG_WARN, "Kerberos: %s for %s: %s; it is tried again", what, login->principal, why);
}

static void
ticket_step(struct login *login, uint64_t now_ns)
{
	int state = atomic_load_explicit(&login->ticket, memory_order_acquire);
	if (state == TICKET_GOT || state == TICKET_FAILED) {
		pthread_join(login->thread, NULL);
		atomic_store_explicit(&login->ticket, TICKET_NONE, memory_order_relaxed);
		if (state == TICKET_FAILED) {
			pause_begin(login, now_ns, "no ticket", login->error);
			login->ticket_at_ns = login->pause_until_ns;
			return;
		}
		login->have_ticket = true;
		login->failures = 0;
		login->ticket_at_ns = now_ns + login->lifetime_s * NS_PER_S / 5 * 4;
	} else if (state == TICKET_NONE && now_ns >= login->ticket_at_ns && !login->http) {
		/* Not while a call logs in from the cache. */
		atomic_store_explicit(&login->ticket, TICKET_RUNNING, memory_order_relaxed);
		if (pthread_create(&login->thread, NULL, ticket_take, login)) {
			atomic_store_explicit(&login->ticket, TICKET_NONE, memory_order_relaxed);
			login->ticket_at_ns = now_ns + PAUSE_NS;
		}
	}
}

/* ---- the token ---- */

static void
token_ended(void *context, const struct http_answer *http)
{
	struct login *login = context;
	uint64_t now_ns = clock_now_ns(login->clock), now_ms = clock_wall_ns(login->clock) / NS_PER_MS;
	enum token_call call = login->call;
	char exception[128], text[TEXT_BYTES];
	login->http = NULL;
	login->call = CALL_NONE;
	enum fs_class class = webhdfs_class(http, exception, text);
	if (class != FS_OK) {
		if (class == FS_BUSY || class == FS_UNKNOWN)
			webhdfs_failover(login->w, login->w->active);
		pause_begin(login, now_ns, call == CALL_GET ? "no delegation token" : "the delegation token is not renewed", text);
		/* 401: it is we who could not log in (the ticket is over, the KDC away); the token is good until somebody says that it is not. */
		if (call == CALL_RENEW && class != FS_BUSY && class != FS_UNKNOWN && http->status != 401) {
			free(login->token);	/* its last day, or not known any more */
			login->token = NULL;
		}
		return;
	}
	json_t *root = json_loadb(http->body, http->body_len, 0, NULL);
	if (call == CALL_GET) {
		json_t *token = json_object_get(root, "Token");
		const char *url = json_string_value(json_object_get(token, "urlString"));
		if (url) {
			free(login->token);
			login->token = strdup(url);
			login->expiry_ms = 0;
			login->token_at_ns = now_ns;	/* its life is learnt by renewing it */
			login->failures = 0;
		} else if (json_is_null(token)) {
			login->none = true;
		} else {
			pause_begin(login, now_ns, "no delegation token", "the answer has none");
		}
	} else {
		uint64_t expiry_ms = (uint64_t)json_integer_value(json_object_get(root, "long"));
		uint64_t left_ms = expiry_ms > now_ms ? expiry_ms - now_ms : 0;
		login->failures = 0;
		if (login->expiry_ms && expiry_ms < login->expiry_ms + 1000) {
			free(login->token);	/* no more to be had of it: a new one, in time */
			login->token = NULL;
		} else {
			/* A clock that is ahead of the NameNode's leaves nothing: not at once all the same, nor later than a day. */
			left_ms = left_ms < 86400000 ? left_ms : 86400000;
			uint64_t pause_ns = left_ms * NS_PER_MS / 5 * 4;
			login->token_at_ns = now_ns + (pause_ns > RENEW_MIN_NS ? pause_ns : RENEW_MIN_NS);
		}
		login->expiry_ms = expiry_ms;
	}
	json_decref(root);
}

static void
token_step(struct login *login, uint64_t now_ns)
{
	struct webhdfs *w = login->w;
	if (login->http) {
		OM_uint32 minor;
		gss_krb5_ccache_name(&minor, login->cache, NULL);	/* this thread's, for curl */
		return;
	}
	if (login->fixed || login->none || !login->have_ticket || now_ns < login->pause_until_ns || (login->token && now_ns < login->token_at_ns) ||
	    atomic_load_explicit(&login->ticket, memory_order_relaxed) == TICKET_RUNNING)
		return;
	char url[8192], escaped[6144], who[512] = "";
	login->call = login->token ? CALL_RENEW : CALL_GET;
	if (login->proxy) {
		char proxy[300];
		if (http_escape(login->proxy, false, proxy, sizeof proxy) == 0)
			snprintf(who, sizeof who, "&doas=%s", proxy);
	}
	if (login->call == CALL_GET) {
		if (http_escape(login->renewer, false, escaped, sizeof escaped))
			return;
		snprintf(url, sizeof url, "%s/webhdfs/v1/?op=GETDELEGATIONTOKEN&renewer=%s%s", w->base[w->active], escaped, who);
	} else {
		if (http_escape(login->token, false, escaped, sizeof escaped))
			return;
		snprintf(url, sizeof url, "%s/webhdfs/v1/?op=RENEWDELEGATIONTOKEN&token=%s", w->base[w->active], escaped);
	}
	OM_uint32 minor;
	gss_krb5_ccache_name(&minor, login->cache, NULL);
	login->http = http_begin(w->http, &(struct http_request){ .method = login->call == CALL_GET ? "GET" : "PUT", .url = url, .spnego = true,
		.stall_ns = w->call_ns, .done = token_ended, .context = login });
	w->fs.counters.calls++;
	if (!login->http)
		login->pause_until_ns = now_ns + PAUSE_NS;
}

uint64_t
login_step(struct login *login, uint64_t now_ns)
{
	if (login->fixed || login->none)
		return UINT64_MAX;
	ticket_step(login, now_ns);
	token_step(login, now_ns);
	return 20 * NS_PER_MS;
}

int
login_query(struct login *login, uint64_t now_ns, char *query, size_t room, bool *spnego)
{
	(void)now_ns;
	*spnego = false;
	if (login->none) {
		snprintf(query, room, "%s", login->w->user);
		return 0;
	}
	if (!login->token)
		return -EAGAIN;
	size_t n = (size_t)snprintf(query, room, "delegation=");
	return http_escape(login->token, false, query + n, room - n) ? -ENOSPC : 0;
}

bool
login_refused(struct login *login, uint64_t now_ns)
{
	if (login->fixed || login->none)
		return false;
	if (login->token && !login->http) {
		free(login->token);
		login->token = NULL;
		login->token_at_ns = now_ns;
	}
	return true;
}

const char *
login_trouble(const struct login *login)
{
	return login->trouble[0] ? login->trouble : "the KDC or the NameNode has not answered yet";
}

/* ---- begin and end ---- */

/* "_HOST" in the second part is this machine's canonical name, in small letters. */
static char *
principal_fill(const char *principal)
{
	const char *mark = strstr(principal, "/_HOST");
	if (!mark)
		return strdup(principal);
	char host[256] = "localhost", *made;
	gethostname(host, sizeof host - 1);
	for (char *p = host; *p; p++)
		*p = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
	size_t room = strlen(principal) + strlen(host) + 1;
	if ((made = malloc(room)))
		snprintf(made, room, "%.*s/%s%s", (int)(mark - principal), principal, host, mark + 6);
	return made;
}

int
login_open(struct login **made, const struct fs_config *config, const struct hadoop_conf *conf, const struct hadoop_place *place,
	   struct clock *clock, struct webhdfs *w, struct err *err)
{
	static _Atomic uint32_t caches;
	*made = NULL;
	const char *asked = hadoop_conf_get(conf, "hadoop.security.authentication"), *token_file = getenv("HADOOP_TOKEN_FILE_LOCATION");
	bool kerberos = asked && strcmp(asked, "kerberos") == 0;
	char *given = NULL;
	if (config->token) {
		given = strdup(config->token);
		if (!given)
			return err_set(err, ENOMEM, "no memory");
	} else if (!config->principal && token_file) {
		/* A task of a cluster without security has such a file, too, with nothing for us in it. */
		int trouble = token_file_read(token_file, place->service, &given, err);
		if (trouble && (kerberos || trouble != -ENODATA))
			return trouble;
	}
	if (!given && !config->principal && !kerberos)
		return 0;
	struct login *login = calloc(1, sizeof *login);
	if (!login) {
		free(given);
		return err_set(err, ENOMEM, "no memory");
	}
	login->w = w;
	login->clock = clock;
	int rc = 0;
	if (given) {
		login->fixed = true;
		login->token = given;
	} else if (!config->principal) {
		rc = err_set(err, EINVAL, "the cluster asks for Kerberos (hadoop.security.authentication): give hdfs.kerberosPrincipal and hdfs.kerberosKeytab");
	} else {
		char host[256];
		if (access(config->keytab, R_OK))
			rc = err_set(err, errno, "hdfs.kerberosKeytab \"%s\" cannot be read: %s", config->keytab, strerror(errno));
		else if (krb5_init_context(&login->context))
			rc = err_set(err, EINVAL, "Kerberos does not begin: see that /etc/krb5.conf (or KRB5_CONFIG) is right");
		login->principal = principal_fill(config->principal);
		login->keytab = strdup(config->keytab);
		login->proxy = config->proxy_user ? strdup(config->proxy_user) : NULL;
		snprintf(host, sizeof host, "%.*s", (int)strcspn(config->principal, "/@"), config->principal);
		login->renewer = strdup(host);
		snprintf(login->cache, sizeof login->cache, "MEMORY:penstock-%d-%u", (int)getpid(), atomic_fetch_add(&caches, 1));
		if (!rc && (!login->principal || !login->keytab || !login->renewer || krb5_cc_resolve(login->context, login->cache, &login->ccache)))
			rc = err_set(err, ENOMEM, "no memory for a login");
	}
	if (rc) {
		login_close(login);
		return rc;
	}
	*made = login;
	return 0;
}

void
login_close(struct login *login)
{
	if (!login)
		return;
	if (atomic_load(&login->ticket) != TICKET_NONE)
		pthread_join(login->thread, NULL);
	if (login->http)
		http_cancel(login->http);
	if (login->ccache)
		krb5_cc_destroy(login->context, login->ccache);
	if (login->context)
		krb5_free_context(login->context);
	free(login->principal);
	free(login->keytab);
	free(login->renewer);
	free(login->proxy);
	free(login->token);
	free(login);
}
