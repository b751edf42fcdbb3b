/* Proves: when the kernel takes no requests of io_uring (no memory, a filter of system calls), a group is refused with the reason and its place is free
 * again, and so is a read: nobody waits for an end that never comes. How: a child forbids itself io_uring_enter once the ring has worked. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "channel/logio.h"

#define CHECK(what) do { if (!(what)) { fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #what); _exit(1); } } while (0)

static void
forbid(int number)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOMEM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof filter / sizeof *filter, filter };
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static void
child(struct logio *io, const char *path)
{
	struct logio_file *file;
	struct logio_reader *reader;
	struct logio_done done[LOGIO_GROUPS_MAX];
	static _Alignas(4096) uint8_t bytes[3][4096], back[4096];
	struct logio_write writes[3] = { { bytes[0], 4096 }, { bytes[1], 4096 }, { bytes[2], 4096 } };
	int context, status;
	memset(bytes, 7, sizeof bytes);
	CHECK(io->ops->file_open(io, path, 1 << 20, LOGIO_CREATE, &file) == 0);
	CHECK(io->ops->reader_open(io, &reader) == 0);
	for (uint32_t count = 1; count <= 3; count++) {
		CHECK(io->ops->submit(io, file, 0, writes, count, true, &context) == 0);
		int n;
		while ((n = io->ops->reap(io, done, LOGIO_GROUPS_MAX)) == 0)
			usleep(1000);
		CHECK(n == 1 && done[0].status == 0 && done[0].context == &context);
	}
	CHECK(io->ops->reader_begin(reader, file, 0, back, 4096, &status) == 0);
	io->ops->reader_wait(reader, &status);
	CHECK(status == 0 && memcmp(back, bytes[0], 4096) == 0);
	forbid(SYS_io_uring_enter);
	for (uint32_t i = 0; i < 4 * LOGIO_GROUPS_MAX; i++) {
		CHECK(io->ops->submit(io, file, 0, writes, 1 + i % 3, i & 4, &context) == -ENOMEM);
		CHECK(io->ops->reap(io, done, LOGIO_GROUPS_MAX) == 0);
	}
	for (uint32_t i = 0; i < 4 * LOGIO_READS_MAX; i++)
		CHECK(io->ops->reader_begin(reader, file, 0, back, 4096, &status) == -ENOMEM);
	io->ops->reader_close(reader);
	io->ops->file_close(io, file);
	io->ops->close(io);
	_exit(0);
}

int
main(void)
{
	char path[] = "/tmp/penstock-uring-XXXXXX";
	struct logio *io;
	struct err err = { "" };
	int fd = mkstemp(path), status;
	if (logio_uring_open(&io, -1, &err)) {
		printf("SKIP: %s\n", err.text);
		unlink(path);
		return 77;
	}
	close(fd);
	pid_t pid = fork();
	if (pid == 0) {
		alarm(100);	/* an end that never comes */
		child(io, path);
	}
	waitpid(pid, &status, 0);
	io->ops->close(io);
	unlink(path);
	return status != 0;
}
