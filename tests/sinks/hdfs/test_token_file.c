/* Credentials files. tokens/ was written by Hadoop 3.4.2 (Credentials.writeTokenStorageFile): a job's token, a delegation token for HDFS (not in the
 * files named -job) and a secret; the URL form is what Token.encodeToUrlString gave. FOLDER is given by meson. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "sinks/hdfs/token_file.h"

#define URL_FORM "IAAGY2xpZW50BHlhcm4AigGaev0eAIoBmp8JogCOASwCFAANGic0QU5baHWCj5yptsPQ3er3FUhERlNfREVMRUdBVElPTl9UT0tFTg4xMjcuMC4wLjE6ODAyMA"

static const char *const formats[] = { FOLDER "/writable", FOLDER "/protobuf" };

static void
hadoops_own(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		char *text, path[512];
		struct err err = { "" };
		assert_int_equal(token_file_read(formats[i], "127.0.0.1:8020", &text, &err), 0);
		assert_string_equal(text, URL_FORM);
		free(text);
		/* the only one there is will do for another name of the same service */
		assert_int_equal(token_file_read(formats[i], "ns1", &text, &err), 0);
		assert_string_equal(text, URL_FORM);
		free(text);
		snprintf(path, sizeof path, "%s-job", formats[i]);
		assert_int_equal(token_file_read(path, "ns1", &text, &err), -ENODATA);
		assert_non_null(strstr(err.text, "no token for HDFS"));
		assert_null(text);
	}
}

/* Cut anywhere, and with any byte another: an error or some token, never more. */
static void
damaged(void **state)
{
	(void)state;
	char bytes[1024], name[] = "/tmp/penstock-token-XXXXXX", *text;
	int fd = mkstemp(name);
	assert_true(fd >= 0);
	for (size_t i = 0; i < 2; i++) {
		int from = open(formats[i], O_RDONLY);
		ssize_t len = read(from, bytes, sizeof bytes);
		close(from);
		assert_true(len > 100);
		for (ssize_t cut = 0; cut < len; cut++) {
			struct err err = { "" };
			assert_int_equal(ftruncate(fd, 0), 0);
			assert_int_equal(pwrite(fd, bytes, (size_t)cut, 0), cut);
			int rc = token_file_read(name, "127.0.0.1:8020", &text, &err);
			assert_true(rc == 0 || err.text[0]);
			if (cut < 100)
				assert_int_not_equal(rc, 0);
			free(text);
		}
		for (ssize_t at = 0; at < len; at++) {
			char was = bytes[at];
			for (int other = 0; other < 256; other += 15) {
				struct err err = { "" };
				bytes[at] = (char)other;
				assert_int_equal(pwrite(fd, bytes, (size_t)len, 0), len);
				int rc = token_file_read(name, "127.0.0.1:8020", &text, &err);
				assert_true(rc == 0 || err.text[0]);
				free(text);
			}
			bytes[at] = was;
		}
	}
	close(fd);
	unlink(name);
	struct err err = { "" };
	assert_int_equal(token_file_read("/nowhere/tokens", NULL, &text, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/nowhere/tokens (HADOOP_TOKEN_FILE_LOCATION): cannot be read"));
}

/* A job that reads from one cluster and writes to others has a token of each; Hadoop names services by number. */
static void
several(void **state)
{
	(void)state;
	static const struct {
		const char *identifier, *service, *kind;
	} tokens[] = { { "one", "127.0.0.9:8020", "HDFS_DELEGATION_TOKEN" }, { "two", "ha-hdfs:ns1", "HDFS_DELEGATION_TOKEN" },
		{ "three", "127.0.0.1:8020", "HDFS_DELEGATION_TOKEN" }, { "four", "127.0.0.1:9870", "WEBHDFS delegation" } };
	char name[] = "/tmp/penstock-token-XXXXXX", bytes[512] = "HDTS", *to = bytes + 4, *text;
	*to++ = 0;		/* Writables */
	*to++ = 4;
	for (size_t i = 0; i < 4; i++) {
		const char *pieces[] = { tokens[i].service, tokens[i].identifier, "password", tokens[i].kind, tokens[i].service };
		for (size_t k = 0; k < 5; k++)
			to += snprintf(to, (size_t)(bytes + sizeof bytes - to), "%c%s", (int)strlen(pieces[k]), pieces[k]);
	}
	*to++ = 0;		/* no secrets */
	int fd = mkstemp(name);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, (size_t)(to - bytes)), to - bytes);
	close(fd);
	/* The URL form begins with the identifier and its length: 6 digits are 4.5 bytes. */
	static const struct {
		const char *service, *begins;
	} asked[] = { { "127.0.0.9:8020", "A29uZQ" }, { "ns1", "A3R3bw" }, { "localhost:8020", "BXRocmVl" }, { "127.0.0.1:9870", "BGZvdXI" } };
	for (size_t i = 0; i < 4; i++) {
		struct err err = { "" };
		assert_int_equal(token_file_read(name, asked[i].service, &text, &err), 0);
		assert_memory_equal(text, asked[i].begins, 5);
		free(text);
	}
	struct err err = { "" };
	assert_int_equal(token_file_read(name, "127.0.0.7:8020", &text, &err), -EINVAL);
	assert_non_null(strstr(err.text, "of its 4 tokens for HDFS none is for 127.0.0.7:8020 (the first one is for 127.0.0.9:8020)"));
	assert_null(text);
	unlink(name);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(hadoops_own), cmocka_unit_test(several), cmocka_unit_test(damaged) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
