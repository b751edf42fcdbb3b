/* seq_read: reads Hadoop's SequenceFiles (version 6; none, record and block compression with zlib or gzip), for the small files of a Camus
 * history. Bytes may be anybody's. Any thread. */
#ifndef PENSTOCK_CAMUS_SEQ_READ_H
#define PENSTOCK_CAMUS_SEQ_READ_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Called for each record's key, which stays during the call. Not 0 ends the reading with it. */
typedef int seq_key(void *context, const uint8_t *key, size_t len, struct err *err);

/* All keys of a file whose key class is `key_class`. 0, or -EBADMSG, -ENOTSUP with the place in err, or what `take` returned. Values are not looked
 * at. A file that ends within a record was cut: -EBADMSG. */
int seq_read_keys(const uint8_t *bytes, size_t len, const char *key_class, seq_key *take, void *context, struct err *err);

#endif
