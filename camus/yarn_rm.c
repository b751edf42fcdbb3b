#include "camus/yarn_rm.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "sinks/hdfs/hadoop_conf.h"
#include "sinks/http_client.h"

#define ADDRESSES_MAX 8

struct yarn_rm {
	struct http_client *http;
	char base[ADDRESSES_MAX][320];	/* http://host:port */
	uint32_t count, active;
	/* the call at work */
	bool ended;
	int status;
	char *body;
	char words[200];
};

static int
address_add(struct yarn_rm *rm, const char *address, size_t len, struct err *err)
{
	while (len && (*address == ' ' || *address == '\t'))
		address++, len--;
	while (len && (address[len - 1] == ' ' || address[len - 1] == '\t' || address[len - 1] == '/'))
		len--;
	if (len == 0)
		return 0;
	if (rm->count == ADDRESSES_MAX || len > 300)
		return err_set(err, EINVAL, "penstock.camus.yarn.web: more than %d addresses, or one of more than 300 bytes", ADDRESSES_MAX);
	bool scheme = strncmp(address, "http://", 7) == 0 || strncmp(address, "https://", 8) == 0;
	snprintf(rm->base[rm->count++], sizeof rm->base[0], "%s%.*s", scheme ? "" : "http://", (int)len, address);
	return 0;
}

/* yarn.resourcemanager.webapp.address[.id], else the host with the usual port. */
static int
site_address(struct yarn_rm *rm, const struct hadoop_conf *conf, const char *id, struct err *err)
{
	char name[200], address[320];
	snprintf(name, sizeof name, "yarn.resourcemanager.webapp.address%s%s", *id ? "." : "", id);
	const char *text = hadoop_conf_get(conf, name);
	if (text)
		return address_add(rm, text, strlen(text), err);
	snprintf(name, sizeof name, "yarn.resourcemanager.hostname%s%s", *id ? "." : "", id);
	text = hadoop_conf_get(conf, name);
	if (!text)
		return 0;
	snprintf(address, sizeof address, "%.250s:8088", text);
	return address_add(rm, address, strlen(address), err);
}

static int
addresses_find(struct yarn_rm *rm, const struct camus_conf *camus, struct err *err)
{
	const char *text = camus->yarn_web, *dir = conf_text(camus, "penstock.hdfs.conf_dir");
	if (text) {
		int rc = 0;
		for (; *text && !rc; text += strcspn(text, ","), text += *text == ',')
			rc = address_add(rm, text, strcspn(text, ","), err);
		return rc || rm->count ? rc : err_set(err, EINVAL, "penstock.camus.yarn.web: want host:port");
	}
	struct hadoop_conf *conf = NULL;
	char path[4200];
	int rc = hadoop_conf_open(&conf, dir, err);
	if (rc)
		return rc;
	if (!dir && !(dir = getenv("HADOOP_CONF_DIR")))
		dir = "/etc/hadoop/conf";
	snprintf(path, sizeof path, "%.4000s/yarn-site.xml", dir);
	rc = hadoop_conf_load(conf, path, NULL) == -EINVAL ? err_set(err, EINVAL, "%s: cannot be read", path) : 0;
	const char *ids = hadoop_conf_get(conf, "yarn.resourcemanager.ha.rm-ids");
	if (!rc && !ids)
		rc = site_address(rm, conf, "", err);
	while (ids && *ids && !rc) {
		char id[64];
		size_t len = strcspn(ids, ",");
		snprintf(id, sizeof id, "%.*s", (int)(len < sizeof id ? len : sizeof id - 1), ids);
		rc = site_address(rm, conf, id, err);
		ids += len + (ids[len] == ',');
	}
	hadoop_conf_close(conf);
	if (!rc && !rm->count)
		rc = err_set(err, EINVAL, "penstock.camus.execution = yarn: where does the ResourceManager's web service listen? Set penstock.camus.yarn.web "
			"(%s does not say)", path);
	return rc;
}

int
yarn_rm_open(struct yarn_rm **out, const struct camus_conf *conf, struct err *err)
{
	struct yarn_rm *rm = calloc(1, sizeof *rm);
	if (!rm)
		return err_set(err, ENOMEM, "no memory");
	int rc = addresses_find(rm, conf, err);
	if (!rc)
		rc = http_client_open(&rm->http, &clock_system, NULL, err);
	if (rc) {
		free(rm);
		return rc;
	}
	*out = rm;
	return 0;
}

void
yarn_rm_close(struct yarn_rm *rm)
{
	if (!rm)
		return;
	http_client_close(rm->http);
	free(rm->body);
	free(rm);
}

static void
get_done(void *context, const struct http_answer *answer)
{
	struct yarn_rm *rm = context;
	rm->ended = true;
	rm->status = answer->status;
	rm->body = answer->status && answer->body ? strndup(answer->body, answer->body_len) : NULL;
	snprintf(rm->words, sizeof rm->words, "%s", answer->status ? "" : answer->error ? answer->error : "no answer");
}

/* GET; the answer's object, of the first ResourceManager that has one: a standby answers otherwise. */
static json_t *
get(struct yarn_rm *rm, const char *path, struct err *err)
{
	static const char *const accept[] = { "Accept: application/json", NULL };
	char url[1024], all[600] = "";
	for (uint32_t k = 0; k < rm->count; k++) {
		uint32_t at = (rm->active + k) % rm->count;
		snprintf(url, sizeof url, "%s%s", rm->base[at], path);
		struct http_request request = { .method = "GET", .url = url, .headers = accept, .connect_ns = 5 * NS_PER_S, .stall_ns = 20 * NS_PER_S,
			.answer_bytes = 8u << 20, .done = get_done, .context = rm };
		free(rm->body);
		rm->body = NULL;
		rm->ended = false;
		rm->status = 0;
		if (!http_begin(rm->http, &request)) {
			snprintf(rm->words, sizeof rm->words, "not a URL");
			rm->ended = true;
		}
		while (!rm->ended) {
			uint64_t wait = http_client_step(rm->http);
			if (rm->ended)
				break;
			struct pollfd fd = { http_client_fd(rm->http), POLLIN, 0 };
			poll(&fd, 1, wait > 100 * NS_PER_MS ? 100 : (int)(wait / NS_PER_MS));
		}
		json_t *root = rm->status == 200 && rm->body ? json_loads(rm->body, 0, NULL) : NULL;
		if (json_is_object(root)) {
			rm->active = at;
			return root;
		}
		json_decref(root);
		size_t len = strlen(all);
		if (rm->status)
			snprintf(all + len, sizeof all - len, "%s%s: answer %d%s", len ? "; " : "", rm->base[at], rm->status,
				rm->status == 200 ? " that is no JSON (a standby, or no ResourceManager)" : "");
		else
			snprintf(all + len, sizeof all - len, "%s%s: %s", len ? "; " : "", rm->base[at], rm->words);
	}
	err_set(err, EIO, "no ResourceManager answers: %s (is it up, is penstock.camus.yarn.web right?)", all);
	return NULL;
}

int
yarn_rm_check(struct yarn_rm *rm, struct err *err)
{
	json_t *root = get(rm, "/ws/v1/cluster/info", err);
	if (!root)
		return -EIO;
	const char *state = json_string_value(json_object_get(json_object_get(root, "clusterInfo"), "state"));
	int rc = state && strcmp(state, "STARTED") == 0 ? 0 : err_set(err, EIO, "%s: the ResourceManager's state is %s, not STARTED", rm->base[rm->active],
		state ? state : "not told");
	json_decref(root);
	return rc;
}

static void
text_take(char *to, size_t room, const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	snprintf(to, room, "%s", text ? text : "");
	for (char *p = to; *p; p++)
		if (*p == '\n' || *p == '\r')
			*p = ' ';
}

int
yarn_rm_app(struct yarn_rm *rm, const char *tag, struct yarn_app *app, struct err *err)
{
	static const char *const ends[] = { "FINISHED", "FAILED", "KILLED" };
	char path[256];
	memset(app, 0, sizeof *app);
	snprintf(path, sizeof path, "/ws/v1/cluster/apps?applicationTags=%s", tag);
	json_t *root = get(rm, path, err), *one;
	size_t i;
	if (!root)
		return -EIO;
	const json_t *list = json_object_get(json_object_get(root, "apps"), "app");
	json_array_foreach(list, i, one) {
		struct yarn_app this = { .progress = json_number_value(json_object_get(one, "progress")) };
		text_take(this.id, sizeof this.id, one, "id");
		text_take(this.state, sizeof this.state, one, "state");
		text_take(this.final, sizeof this.final, one, "finalStatus");
		text_take(this.words, sizeof this.words, one, "diagnostics");
		for (size_t k = 0; k < sizeof ends / sizeof *ends; k++)
			this.ended |= strcmp(this.state, ends[k]) == 0;
		if (!app->id[0] || !this.ended)
			*app = this;
		if (!this.ended)
			break;
	}
	json_decref(root);
	return 0;
}
