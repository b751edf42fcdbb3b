/* logio_posix: what logio_uring and logio_pwrite share: files with O_DIRECT where the file system has it. */
#ifndef PENSTOCK_CHANNEL_LOGIO_POSIX_H
#define PENSTOCK_CHANNEL_LOGIO_POSIX_H

#include "channel/logio.h"

struct logio_file {
	int fd;
};

/* A log has a file for each segment: as many descriptors as the process may have. */
void posix_files_allow(void);
int posix_file_open(struct logio *io, const char *path, uint64_t bytes, unsigned flags, struct logio_file **file);
void posix_file_close(struct logio *io, struct logio_file *file);
int posix_read(struct logio *io, struct logio_file *file, uint64_t offset, void *bytes, uint32_t len);
int posix_write(struct logio *io, struct logio_file *file, uint64_t offset, const void *bytes, uint32_t len, bool sync);
int posix_sync(struct logio *io, struct logio_file *file);
int posix_list(struct logio *io, const char *dir, void (*visit)(const char *name, void *context), void *context);
int posix_rename(struct logio *io, const char *from, const char *to, bool sync);
int posix_dir_sync(struct logio *io, const char *path);
int posix_remove(struct logio *io, const char *path);
int posix_free_bytes(struct logio *io, const char *dir, uint64_t *bytes);
int posix_there(struct logio *io, const char *path, struct logio_file *file);

#endif
