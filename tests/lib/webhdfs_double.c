#include "tests/lib/webhdfs_double.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "sinks/http_client.h"

char double_address[64];
static int double_stdin;
static pid_t double_pid;

int
double_start(void **state)
{
	int in[2], out[2];
	(void)state;
	if (pipe(in) || pipe(out))
		return -1;
	double_pid = fork();
	if (double_pid == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		close(in[1]);
		close(out[0]);
		execlp("python3", "python3", SOURCE_ROOT "/tests/lib/webhdfs_double.py", (char *)NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	double_stdin = in[1];
	char port[16] = "";
	if (read(out[0], port, sizeof port - 1) <= 0)
		return -1;
	close(out[0]);
	port[strcspn(port, "\n")] = '\0';
	snprintf(double_address, sizeof double_address, "127.0.0.1:%s", port);
	return 0;
}

int
double_stop(void **state)
{
	(void)state;
	close(double_stdin);
	waitpid(double_pid, NULL, 0);
	return 0;
}

static void
told(void *context, const struct http_answer *answer)
{
	long *value = context;
	assert_int_equal(answer->status, 200);
	*value = strtol(answer->body, NULL, 10);
}

long
double_order(const char *query)
{
	struct http_client *client;
	long value = 0;
	char url[256];
	assert_int_equal(http_client_open(&client, &clock_system, NULL, NULL), 0);
	snprintf(url, sizeof url, "http://%s%s", double_address, query);
	http_begin(client, &(struct http_request){ .method = "GET", .url = url, .done = told, .context = &value });
	while (http_client_busy(client))
		http_client_step(client);
	http_client_close(client);
	return value;
}
