#include "sinks/hdfs/login.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sinks/http_client.h"

struct login {
	char query[4096];
};

int
login_open(struct login **made, const struct fs_config *config, const struct hadoop_conf *conf, const struct hadoop_place *place,
	   struct clock *clock, struct webhdfs *w, struct err *err)
{
	(void)place;
	(void)clock;
	(void)w;
	*made = NULL;
	const char *asked = hadoop_conf_get(conf, "hadoop.security.authentication");
	if (config->token) {
		struct login *login = calloc(1, sizeof *login);
		if (!login)
			return err_set(err, ENOMEM, "no memory");
		size_t n = (size_t)snprintf(login->query, sizeof login->query, "delegation=");
		if (http_escape(config->token, false, login->query + n, sizeof login->query - n)) {
			free(login);
			return err_set(err, EINVAL, "the delegation token is too long");
		}
		*made = login;
		return 0;
	}
	if (config->principal || config->keytab || (asked && strcmp(asked, "kerberos") == 0))
		return err_set(err, ENOTSUP, "login by Kerberos is not there yet");
	return 0;
}

int
login_query(struct login *login, uint64_t now_ns, char *query, size_t room, bool *spnego)
{
	(void)now_ns;
	*spnego = false;
	snprintf(query, room, "%s", login->query);
	return 0;
}

bool
login_refused(struct login *login, uint64_t now_ns)
{
	(void)login;
	(void)now_ns;
	return false;
}

uint64_t
login_step(struct login *login, uint64_t now_ns)
{
	(void)login;
	(void)now_ns;
	return UINT64_MAX;
}

void
login_close(struct login *login)
{
	free(login);
}
