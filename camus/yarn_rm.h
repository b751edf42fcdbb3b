/* yarn_rm: what YARN's ResourceManagers say of a run's jobs, over their web service. Main thread; calls wait. */
#ifndef PENSTOCK_CAMUS_YARN_RM_H
#define PENSTOCK_CAMUS_YARN_RM_H

#include "base/pool.h"
#include "camus/conf.h"

struct yarn_rm;

struct yarn_app {
	char id[64];			/* application_<ts>_<n>; "": none is known */
	char state[32], final[32];	/* RUNNING ..., SUCCEEDED ... */
	char words[300];		/* diagnostics */
	double progress;		/* percent */
	bool ended;
};

/* Addresses by the settings (penstock.camus.yarn.web, else yarn-site.xml). Asks nobody. -EINVAL: none are known. */
int yarn_rm_open(struct yarn_rm **rm, const struct camus_conf *conf, struct err *err);
void yarn_rm_close(struct yarn_rm *rm);
/* 0 when a ResourceManager is at work; -EIO with the addresses and answers. */
int yarn_rm_check(struct yarn_rm *rm, struct err *err);
/* The application with a tag that is at work, else the last one that was. 0, also when there is none; -EIO when nobody answers. */
int yarn_rm_app(struct yarn_rm *rm, const char *tag, struct yarn_app *app, struct err *err);

#endif
