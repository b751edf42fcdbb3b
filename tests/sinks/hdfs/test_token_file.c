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
		assert_int_equal(token_file_read(path, "ns1", &text, &err), -ENOENT);
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

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(hadoops_own), cmocka_unit_test(damaged) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
