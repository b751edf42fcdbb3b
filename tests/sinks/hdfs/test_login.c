/* test_login: what a login that does not come, or a token that cannot be renewed, does to calls. The tickets are this test's own: no KDC is asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <krb5.h>

#include "sinks/hdfs/fs.h"
#include "tests/lib/webhdfs_double.h"

static bool kdc;

/* A ticket of a day, or none. */
krb5_error_code __wrap_krb5_get_init_creds_keytab(krb5_context k, krb5_creds *creds, krb5_principal who, krb5_keytab keytab, krb5_deltat start,
						  const char *service, krb5_get_init_creds_opt *options);
krb5_error_code
__wrap_krb5_get_init_creds_keytab(krb5_context k, krb5_creds *creds, krb5_principal who, krb5_keytab keytab, krb5_deltat start, const char *service,
				  krb5_get_init_creds_opt *options)
{
	(void)k;
	(void)who;
	(void)keytab;
	(void)start;
	(void)service;
	(void)options;
	creds->times.endtime = 86400;
	return kdc ? 0 : KRB5_KDC_UNREACH;
}

krb5_error_code __wrap_krb5_cc_store_cred(krb5_context k, krb5_ccache cache, krb5_creds *creds);
krb5_error_code
__wrap_krb5_cc_store_cred(krb5_context k, krb5_ccache cache, krb5_creds *creds)
{
	(void)k;
	(void)cache;
	(void)creds;
	return 0;
}

static struct fs *
open_fs(uint64_t retry_ns)
{
	struct fs *fs;
	struct err err = { "" };
	char uri[96], path[FS_PATH_BYTES];
	double_order("/reset");
	snprintf(uri, sizeof uri, "webhdfs://%s/", double_address);
	struct fs_config config = { .uri = uri, .conf_dir = "/", .user = "me", .principal = "etl@EXAMPLE.COM", .keytab = "/dev/null", .call_ns = 10 * NS_PER_S,
		.retry_ns = retry_ns };
	if (fs_open(&fs, &config, &clock_system, path, &err))
		fail_msg("%s", err.text);
	return fs;
}

/* Calls and files end with the reason, not with the login. */
static void
test_no_kdc(void **state)
{
	struct fs_answer answer;
	struct err err = { "" };
	void *memory;
	(void)state;
	kdc = false;
	struct fs *fs = open_fs(NS_PER_S);
	uint64_t from_ns = clock_now_ns(&clock_system);
	assert_int_equal(fs_call_wait(fs, &(struct fs_request){ .op = FS_STAT, .path = "/a" }, &answer, &memory), FS_LOGIN);
	assert_non_null(strstr(answer.text, "no ticket"));
	free(memory);
	assert_int_equal(fs_put_wait(fs, "/a", "bytes", 5, false, NULL, &err), FS_LOGIN);
	assert_non_null(strstr(err.text, "no ticket"));
	assert_in_range((clock_now_ns(&clock_system) - from_ns) / NS_PER_MS, 1900, 60000);
	fs_close(fs);
}

/* 401 to a renewal: our ticket is over, not the token. */
static void
test_renewal_without_ticket(void **state)
{
	char renewal[200];
	struct err err = { "" };
	(void)state;
	kdc = true;
	struct fs *fs = open_fs(20 * NS_PER_S);
	double_order("/fault?op=GETDELEGATIONTOKEN&kind=raw&body={\"Token\":{\"urlString\":\"TOKEN1\"}}");
	snprintf(renewal, sizeof renewal, "/fault?op=RENEWDELEGATIONTOKEN&kind=raw&body={\"long\":%llu}",
		 (unsigned long long)(clock_wall_ns(&clock_system) / NS_PER_MS + 1000));
	double_order(renewal);
	double_order("/fault?op=RENEWDELEGATIONTOKEN&kind=raw&status=401&body=no&count=1000");
	double_order("/fault?op=GETDELEGATIONTOKEN&kind=raw&status=401&body=no&count=1000");
	assert_int_equal(fs_put_wait(fs, "/a", "bytes", 5, false, NULL, &err), FS_OK);
	for (int i = 0; i < 60 && double_order("/count?op=RENEWDELEGATIONTOKEN") < 2; i++)
		fs_run(fs, &(bool){ false }, clock_now_ns(&clock_system) + 100 * NS_PER_MS);
	assert_true(double_order("/count?op=RENEWDELEGATIONTOKEN") >= 2);
	fs_run(fs, &(bool){ false }, clock_now_ns(&clock_system) + 200 * NS_PER_MS);
	assert_int_equal(fs_put_wait(fs, "/b", "bytes", 5, false, NULL, &err), FS_OK);
	assert_int_equal(double_order("/asked?op=CREATE&name=delegation&value=TOKEN1"), 1);
	assert_int_equal(double_order("/count?op=GETDELEGATIONTOKEN"), 1);
	fs_close(fs);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_no_kdc), cmocka_unit_test(test_renewal_without_ticket) };
	return cmocka_run_group_tests(tests, double_start, double_stop);
}
