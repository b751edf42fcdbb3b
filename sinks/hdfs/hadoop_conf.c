#include "sinks/hdfs/hadoop_conf.h"

#include <assert.h>
#include <errno.h>
#include <expat.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define HTTP_PORT 9870
#define HTTPS_PORT 9871
#define SUBSTITUTIONS 20	/* as Hadoop */
#define DEFAULT_DIR "/etc/hadoop/conf"

struct property_entry {
	struct property_entry *next;
	char *name, *value;	/* raw until filled, then in full */
	bool final, filled;
};

struct hadoop_conf {
	struct property_entry *entries;
};

struct parse {
	struct hadoop_conf *conf;
	XML_Parser parser;
	const char *file;
	struct err *err;
	int rc;
	uint32_t depth;
	char *text;		/* of the running element */
	size_t text_len;
	char *name, *value;
	bool final;
};

static struct property_entry *
entry_find(const struct hadoop_conf *conf, const char *name)
{
	struct property_entry *entry = conf->entries;
	while (entry && strcmp(entry->name, name) != 0)
		entry = entry->next;
	return entry;
}

static void
parse_fail(struct parse *parse, int errnum, const char *what)
{
	if (!parse->rc)
		parse->rc = err_set(parse->err, errnum, "%s:%lu: %s", parse->file, XML_GetCurrentLineNumber(parse->parser), what);
	XML_StopParser(parse->parser, XML_FALSE);
}

static void
element_start(void *context, const XML_Char *name, const XML_Char **attributes)
{
	struct parse *parse = context;
	(void)attributes;
	parse->depth++;
	parse->text_len = 0;
	if (strcmp(name, "xi:include") == 0)
		parse_fail(parse, ENOTSUP, "xi:include is not followed: put the properties into the file itself");
	else if (strcmp(name, "property") == 0)
		parse->final = false;
}

static void
element_text(void *context, const XML_Char *text, int len)
{
	struct parse *parse = context;
	char *grown = realloc(parse->text, parse->text_len + (size_t)len + 1);
	if (!grown) {
		parse_fail(parse, ENOMEM, "no memory");
		return;
	}
	parse->text = grown;
	memcpy(grown + parse->text_len, text, (size_t)len);
	parse->text_len += (size_t)len;
	grown[parse->text_len] = '\0';
}

static char *
text_trimmed(const struct parse *parse)
{
	size_t from = 0, to = parse->text_len;
	while (from < to && strchr(" \t\r\n", parse->text[from]))
		from++;
	while (to > from && strchr(" \t\r\n", parse->text[to - 1]))
		to--;
	return to > from ? strndup(parse->text + from, to - from) : strdup("");
}

static void
element_end(void *context, const XML_Char *name)
{
	struct parse *parse = context;
	parse->depth--;
	char **to = strcmp(name, "name") == 0 ? &parse->name : strcmp(name, "value") == 0 ? &parse->value : NULL;
	if (to) {
		free(*to);
		if (!(*to = text_trimmed(parse)))
			parse_fail(parse, ENOMEM, "no memory");
	} else if (strcmp(name, "final") == 0) {
		char *text = text_trimmed(parse);
		parse->final = text && strcmp(text, "true") == 0;
		free(text);
	} else if (strcmp(name, "property") == 0 && parse->name && parse->value) {
		struct property_entry *entry = entry_find(parse->conf, parse->name);
		if (!entry && (entry = calloc(1, sizeof *entry))) {
			entry->name = parse->name;
			parse->name = NULL;
			entry->next = parse->conf->entries;
			parse->conf->entries = entry;
		}
		if (!entry) {
			parse_fail(parse, ENOMEM, "no memory");
		} else if (!entry->final) {
			free(entry->value);
			entry->value = parse->value;
			parse->value = NULL;
			entry->final = parse->final;
		}
		free(parse->name);
		free(parse->value);
		parse->name = parse->value = NULL;
	}
	parse->text_len = 0;
}

int
hadoop_conf_load(struct hadoop_conf *conf, const char *file, struct err *err)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_set(err, errno, "%s: %s", file, strerror(errno));
	struct parse parse = { .conf = conf, .parser = XML_ParserCreate(NULL), .file = file, .err = err };
	if (!parse.parser) {
		close(fd);
		return err_set(err, ENOMEM, "no memory");
	}
	XML_SetUserData(parse.parser, &parse);
	XML_SetElementHandler(parse.parser, element_start, element_end);
	XML_SetCharacterDataHandler(parse.parser, element_text);
	for (;;) {
		char bytes[8192];
		ssize_t n = read(fd, bytes, sizeof bytes);
		if (n < 0) {
			parse.rc = err_set(err, errno, "%s: %s", file, strerror(errno));
			break;
		}
		if (XML_Parse(parse.parser, bytes, (int)n, n == 0) == XML_STATUS_ERROR) {
			parse_fail(&parse, EINVAL, XML_ErrorString(XML_GetErrorCode(parse.parser)));
			break;
		}
		if (n == 0)
			break;
	}
	close(fd);
	XML_ParserFree(parse.parser);
	free(parse.text);
	free(parse.name);
	free(parse.value);
	return parse.rc;
}

/* ${name}, ${env.NAME} and their own insides, SUBSTITUTIONS deep; an unknown one stays as it is, as in Hadoop. */
static int
entry_fill(struct hadoop_conf *conf, struct property_entry *entry)
{
	for (int i = 0; i < SUBSTITUTIONS; i++) {
		char *open = entry->value, *close;
		const char *value = NULL;
		for (; (open = strstr(open, "${")); open += 2) {
			if (!(close = strchr(open, '}')))
				return 0;
			*close = '\0';
			struct property_entry *other = entry_find(conf, open + 2);
			value = strncmp(open + 2, "env.", 4) == 0 ? getenv(open + 6) : other && other != entry ? other->value :
				strcmp(open + 2, "user.name") == 0 ? getenv("USER") : NULL;
			*close = '}';
			if (value)
				break;
		}
		if (!open)
			return 0;
		size_t before = (size_t)(open - entry->value), len = strlen(value), after = strlen(close + 1);
		char *filled = malloc(before + len + after + 1);
		if (!filled)
			return -ENOMEM;
		memcpy(filled, entry->value, before);
		memcpy(filled + before, value, len);
		memcpy(filled + before + len, close + 1, after + 1);
		free(entry->value);
		entry->value = filled;
	}
	return 0;
}

int
hadoop_conf_open(struct hadoop_conf **made, const char *dir, struct err *err)
{
	static const char *const files[] = { "core-site.xml", "hdfs-site.xml" };
	struct hadoop_conf *conf = calloc(1, sizeof *conf);
	if (!conf)
		return err_set(err, ENOMEM, "no memory");
	bool named = dir != NULL;
	if (!dir && !(dir = getenv("HADOOP_CONF_DIR")))
		dir = DEFAULT_DIR;
	int rc = 0;
	if (access(dir, X_OK) && named)
		rc = err_set(err, errno, "%s: %s; name the directory of core-site.xml and hdfs-site.xml", dir, strerror(errno));
	for (size_t i = 0; !rc && i < 2; i++) {
		char file[4096];
		snprintf(file, sizeof file, "%s/%s", dir, files[i]);
		if (access(file, F_OK) == 0)
			rc = hadoop_conf_load(conf, file, err);
	}
	for (struct property_entry *entry = conf->entries; !rc && entry; entry = entry->next)
		rc = entry_fill(conf, entry);
	if (rc) {
		hadoop_conf_close(conf);
		return rc;
	}
	*made = conf;
	return 0;
}

void
hadoop_conf_close(struct hadoop_conf *conf)
{
	if (!conf)
		return;
	for (struct property_entry *entry = conf->entries, *next; entry; entry = next) {
		next = entry->next;
		free(entry->name);
		free(entry->value);
		free(entry);
	}
	free(conf);
}

const char *
hadoop_conf_get(const struct hadoop_conf *conf, const char *name)
{
	const struct property_entry *entry = conf ? entry_find(conf, name) : NULL;
	return entry && entry->value[0] ? entry->value : NULL;
}

uint64_t
hadoop_conf_number(const struct hadoop_conf *conf, const char *name, uint64_t otherwise)
{
	const char *text = hadoop_conf_get(conf, name);
	if (!text)
		return otherwise;
	char *end;
	errno = 0;
	uint64_t number = strtoull(text, &end, 10);
	static const char units[] = "kmgtpe";
	const char *unit = *end ? strchr(units, *end | 0x20) : NULL;
	if (unit && !end[1])
		return number << (10 * (unit - units + 1));
	return *end || errno || end == text ? otherwise : number;
}

/* host, host:port or [v6]:port behind "scheme://". */
static bool
address_valid(const char *http)
{
	const char *host = strstr(http, "://") + 3, *at = host;
	if (*at == '[') {
		at += 1 + strspn(at + 1, "0123456789abcdefABCDEF:.%");
		if (*at++ != ']')
			return false;
	} else {
		at += strspn(at, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-_");
	}
	if (at == host)
		return false;
	if (*at == ':') {
		size_t digits = strspn(at + 1, "0123456789");
		long port = digits && digits < 6 ? strtol(at + 1, NULL, 10) : 0;
		if (port < 1 || port > 65535)
			return false;
		at += 1 + digits;
	}
	return *at == '\0' || strcmp(at, "/") == 0;
}

static bool
address_add(struct hadoop_place *place, const char *scheme, const char *address, size_t len)
{
	while (len && (*address == ' ' || *address == '\t')) {
		address++;
		len--;
	}
	while (len && (address[len - 1] == ' ' || address[len - 1] == '\t'))
		len--;
	if (!len || len > 250 || place->count == HADOOP_NAMENODES_MAX)
		return false;
	uint32_t i = place->count++;
	bool full = memmem(address, len, "://", 3) != NULL;
	snprintf(place->http[i], sizeof place->http[i], "%s%s%.*s", full ? "" : scheme, full ? "" : "://", (int)len, address);
	if (!address_valid(place->http[i])) {
		place->count--;
		return false;
	}
	const char *host = strstr(place->http[i], "://") + 3;
	size_t host_len = *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":/");
	snprintf(place->host[i], sizeof place->host[i], "%.*s", (int)host_len, host);
	return true;
}

int
hadoop_place(const struct hadoop_conf *conf, const char *uri, const char *http_address, struct hadoop_place *place, struct err *err)
{
	*place = (struct hadoop_place){ .path = uri };
	const char *base = uri;
	if (uri[0] == '/') {
		base = hadoop_conf_get(conf, "fs.defaultFS");
		if (!base)
			base = http_address ? "hdfs://default" : "file:///";
	}
	const char *sign = strstr(base, "://");
	if (strncmp(base, "file://", 7) == 0 && base[7] != '/')
		return err_set(err, EINVAL, "\"%s\": files of another host cannot be reached: write file:///path", base);
	if (strncmp(base, "file:/", 6) == 0) {
		place->local = true;
		const char *path = base + 5;
		while (path[0] == '/' && path[1] == '/')
			path++;
		if (base == uri)
			place->path = path;
		return 0;
	}
	if (!sign)
		return err_set(err, EINVAL, "\"%s\": want hdfs://, webhdfs://, swebhdfs://, file:/// or an absolute path", base);
	size_t scheme_len = (size_t)(sign - base);
	const char *service = sign + 3;
	size_t service_len = strcspn(service, "/");
	bool web = scheme_len == 7 && memcmp(base, "webhdfs", 7) == 0, sweb = scheme_len == 8 && memcmp(base, "swebhdfs", 8) == 0;
	if (!web && !sweb && !(scheme_len == 4 && memcmp(base, "hdfs", 4) == 0))
		return err_set(err, ENOTSUP, "\"%s\": the file system \"%.*s\" is not supported: use hdfs, webhdfs, swebhdfs or file", base, (int)scheme_len, base);
	if (service_len == 0 || service_len >= sizeof place->service)
		return err_set(err, EINVAL, "\"%s\": there is no name service or host behind \"://\"", base);
	memcpy(place->service, service, service_len);
	if (base == uri)
		place->path = service[service_len] ? service + service_len : "/";
	const char *policy = hadoop_conf_get(conf, "dfs.http.policy");
	bool tls = sweb || (!web && policy && strcmp(policy, "HTTPS_ONLY") == 0);
	const char *scheme = tls ? "https" : "http";
	const char *key = tls ? "dfs.namenode.https-address" : "dfs.namenode.http-address";
	char name[640];
	if (http_address) {
		for (const char *p = http_address; *p;) {
			size_t n = strcspn(p, ",");
			if (!address_add(place, scheme, p, n))
				return err_set(err, EINVAL, "penstock.hdfs.http_address \"%s\": want host:port[,host:port], at most %u", http_address,
					HADOOP_NAMENODES_MAX);
			p += n + (p[n] == ',');
		}
		if (!place->count)
			return err_set(err, EINVAL, "penstock.hdfs.http_address \"%s\": want host:port[,host:port]", http_address);
		return 0;
	}
	snprintf(name, sizeof name, "dfs.ha.namenodes.%s", place->service);
	const char *nodes = hadoop_conf_get(conf, name);
	for (const char *p = nodes; p && *p;) {
		size_t n = strcspn(p, ", ");
		if (n) {
			snprintf(name, sizeof name, "%s.%s.%.*s", key, place->service, (int)n, p);
			const char *address = hadoop_conf_get(conf, name);
			if (!address)
				return err_set(err, EINVAL, "hdfs-site.xml names the NameNode %.*s of %s but has no %s", (int)n, p, place->service, name);
			if (!address_add(place, scheme, address, strlen(address)))
				return err_set(err, EINVAL, "hdfs-site.xml: %s \"%s\": want host:port", name, address);
		}
		p += n + (p[n] != '\0');
	}
	if (place->count)
		return 0;
	static const char wanted[] = "\"%s\": \"%s\" is neither host:port nor a name service of hdfs-site.xml";
	if (web || sweb)
		return address_add(place, scheme, place->service, service_len) ? 0 : err_set(err, EINVAL, wanted, base, place->service);
	/* hdfs://host:8020: the site's address when this is its NameNode, else that host's usual HTTP port. */
	snprintf(name, sizeof name, "%s.%s", key, place->service);
	const char *address = hadoop_conf_get(conf, name);
	const char *usual = hadoop_conf_get(conf, "fs.defaultFS");
	if (!address && usual && strncmp(usual, "hdfs://", 7) == 0 && strncmp(usual + 7, place->service, service_len) == 0 &&
	    (usual[7 + service_len] == '\0' || usual[7 + service_len] == '/'))
		address = hadoop_conf_get(conf, key);
	if (address && strncmp(address, "0.0.0.0:", 8) != 0)
		return address_add(place, scheme, address, strlen(address)) ? 0 : err_set(err, EINVAL, "hdfs-site.xml: %s \"%s\": want host:port", key, address);
	char own[320];
	snprintf(own, sizeof own, "http://%s", place->service);
	if (!address_valid(own))
		return err_set(err, EINVAL, wanted, base, place->service);
	size_t host_len = place->service[0] == '[' ? strcspn(place->service, "]") + 1 : strcspn(place->service, ":");
	char bare[300];
	long port = address ? strtol(address + 8, NULL, 10) : tls ? HTTPS_PORT : HTTP_PORT;
	int n = snprintf(bare, sizeof bare, "%.*s:%ld", (int)host_len, place->service, port);
	return address_add(place, scheme, bare, (size_t)n) ? 0 : err_set(err, EINVAL, wanted, base, place->service);
}
