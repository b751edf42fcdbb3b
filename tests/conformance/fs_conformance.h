/* fs_conformance: the promises of sinks/hdfs/fs.h, checked over any kind. `root` is an absolute path of its own, which need not be there.
 * Fails by cmocka's asserts; leaves nothing behind. */
#ifndef PENSTOCK_TESTS_CONFORMANCE_FS_CONFORMANCE_H
#define PENSTOCK_TESTS_CONFORMANCE_FS_CONFORMANCE_H

#include "sinks/hdfs/fs.h"

void fs_conformance(struct fs *fs, const char *root);

#endif
