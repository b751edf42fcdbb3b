/* login: who we are to a cluster with Kerberos: tickets from a keytab in a credential cache of our own, a delegation token for the calls.
 * Owner and thread: the fs. */
#ifndef PENSTOCK_SINKS_HDFS_LOGIN_H
#define PENSTOCK_SINKS_HDFS_LOGIN_H

#include "sinks/hdfs/fs.h"
#include "sinks/hdfs/hadoop_conf.h"

struct login;
struct webhdfs;

/* *login is NULL when the cluster asks for nothing (no principal, no token): then user.name does. */
int login_open(struct login **login, const struct fs_config *config, const struct hadoop_conf *conf, const struct hadoop_place *place,
	       struct clock *clock, struct webhdfs *w, struct err *err);
/* What goes into a call's query. 0; -EAGAIN while a login is on its way (ask again a little later). */
int login_query(struct login *login, uint64_t now_ns, char *query, size_t room, bool *spnego);
/* A call was refused for who we are. True: it is worth another try (a new token is on its way). */
bool login_refused(struct login *login, uint64_t now_ns);
const char *login_trouble(const struct login *login);	/* what keeps it, in words */
uint64_t login_step(struct login *login, uint64_t now_ns);	/* ns until the next */
void login_close(struct login *login);

#endif
