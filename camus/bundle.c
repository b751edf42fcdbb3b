/* bundle: an archive with which this program runs on another machine, whatever is installed there: a script, the program, every library that is
 * loaded here, and the loader of this machine's C library, which is told to look in the archive's own folder ($ORIGIN) alone. tar (ustar) in gzip; the
 * same program gives the same bytes. */
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/err.h"
#include "camus/yarn.h"

#define FILES_MAX 512
#define BLOCK 512u

struct bundle {
	gzFile gz;
	const char *path;
	struct err err;
	int rc;
	char *libraries[FILES_MAX];
	size_t count;
	char loader[4096];
};

static void
bundle_write(struct bundle *bundle, const void *bytes, size_t len)
{
	if (!bundle->rc && len && gzwrite(bundle->gz, bytes, (unsigned)len) != (int)len)
		bundle->rc = err_set(&bundle->err, EIO, "%s: cannot be written: %s", bundle->path, strerror(errno));
}

static void
head_write(struct bundle *bundle, const char *name, size_t size, char type)
{
	struct {
		char name[100], mode[8], uid[8], gid[8], size[12], time[12], sum[8], type, link[100], magic[6], version[2], user[32], group[32], rest[183];
	} head;
	_Static_assert(sizeof head == BLOCK, "a header of tar");
	memset(&head, 0, sizeof head);
	if (strlen(name) >= sizeof head.name) {
		bundle->rc = err_set(&bundle->err, ENAMETOOLONG, "%s: too long a name for an archive", name);
		return;
	}
	memcpy(head.name, name, strlen(name));
	memcpy(head.mode, "0000755", 8);
	memcpy(head.uid, "0000000", 8);
	memcpy(head.gid, "0000000", 8);
	snprintf(head.size, sizeof head.size, "%011zo", size);
	memcpy(head.time, "00000000000", 12);
	memset(head.sum, ' ', sizeof head.sum);
	head.type = type;
	memcpy(head.magic, "ustar", 6);
	memcpy(head.version, "00", 2);
	unsigned sum = 0;
	for (size_t i = 0; i < sizeof head; i++)
		sum += ((const unsigned char *)&head)[i];
	snprintf(head.sum, sizeof head.sum, "%06o", sum & 0777777u);
	bundle_write(bundle, &head, sizeof head);
}

static void
pad(struct bundle *bundle, size_t size)
{
	static const char zeros[BLOCK];
	bundle_write(bundle, zeros, (BLOCK - size % BLOCK) % BLOCK);
}

static void
file_add(struct bundle *bundle, const char *name, const char *from)
{
	char bytes[65536];
	struct stat status;
	FILE *file = fopen(from, "re");
	if (!file || fstat(fileno(file), &status)) {
		bundle->rc = bundle->rc ? bundle->rc : err_set(&bundle->err, errno, "%s: cannot be read: %s", from, strerror(errno));
		if (file)
			fclose(file);
		return;
	}
	size_t size = (size_t)status.st_size, left = size;
	head_write(bundle, name, size, '0');
	while (left && !bundle->rc) {
		size_t n = fread(bytes, 1, left < sizeof bytes ? left : sizeof bytes, file);
		if (n == 0)
			bundle->rc = err_set(&bundle->err, EIO, "%s: shorter than it was", from);
		bundle_write(bundle, bytes, n);
		left -= n;
	}
	fclose(file);
	pad(bundle, size);
}

static int
library_see(struct dl_phdr_info *info, size_t size, void *context)
{
	struct bundle *bundle = context;
	(void)size;
	if (info->dlpi_addr == (ElfW(Addr))getauxval(AT_BASE) && info->dlpi_addr) {
		snprintf(bundle->loader, sizeof bundle->loader, "%s", info->dlpi_name);
		return 0;
	}
	if (info->dlpi_name[0] != '/')		/* the program itself, the kernel's page */
		return 0;
	if (bundle->count == FILES_MAX)
		return 1;
	bundle->libraries[bundle->count++] = strdup(info->dlpi_name);
	return 0;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int
yarn_bundle(const char *path)
{
	static const char script[] =
		"#!/bin/sh\n"
		"# Runs the program with the libraries beside it.\n"
		"here=$(dirname \"$(readlink -f \"$0\")\")\n"
		"exec \"$here/lib/loader\" --library-path \"$here/lib\" \"$here/lib/penstock-camus\" \"$@\"\n";
	struct bundle bundle = { .path = path };
	char name[4096];
	char temporary[4200];
	static const char zeros[2 * BLOCK];
	if (dl_iterate_phdr(library_see, &bundle))
		bundle.rc = err_set(&bundle.err, E2BIG, "more than %d libraries", FILES_MAX);
	if (!bundle.rc && !bundle.loader[0])
		bundle.rc = err_set(&bundle.err, ENOEXEC, "this program has no loader: it is linked statically and needs no bundle");
	qsort(bundle.libraries, bundle.count, sizeof *bundle.libraries, by_name);
	snprintf(temporary, sizeof temporary, "%.4000s.new", path);
	if (!bundle.rc && !(bundle.gz = gzopen(temporary, "wbe6")))
		bundle.rc = err_set(&bundle.err, errno, "%s: cannot be made: %s", temporary, strerror(errno));
	if (!bundle.rc) {
		head_write(&bundle, "lib/", 0, '5');
		file_add(&bundle, "lib/loader", bundle.loader);
		file_add(&bundle, "lib/penstock-camus", "/proc/self/exe");
		for (size_t i = 0; i < bundle.count; i++) {
			const char *base = strrchr(bundle.libraries[i], '/');
			snprintf(name, sizeof name, "lib/%s", base + 1);
			file_add(&bundle, name, bundle.libraries[i]);
		}
		head_write(&bundle, "penstock-camus", sizeof script - 1, '0');
		bundle_write(&bundle, script, sizeof script - 1);
		pad(&bundle, sizeof script - 1);
		bundle_write(&bundle, zeros, sizeof zeros);
	}
	if (bundle.gz && gzclose(bundle.gz) != Z_OK && !bundle.rc)
		bundle.rc = err_set(&bundle.err, EIO, "%s: cannot be written", temporary);
	if (!bundle.rc && rename(temporary, path))
		bundle.rc = err_set(&bundle.err, errno, "%s: %s", path, strerror(errno));
	if (bundle.rc) {
		if (bundle.gz)
			unlink(temporary);
		fprintf(stderr, "penstock-camus bundle: %s\n", bundle.err.text);
	} else {
		printf("%s: the program, %zu libraries and their loader\n", path, bundle.count);
	}
	for (size_t i = 0; i < bundle.count; i++)
		free(bundle.libraries[i]);
	return bundle.rc ? 1 : 0;
}
