/* keyring: keys of encrypted logs, and the two things done with them: sealing blocks and opening them (docs/ringlog-format.md, Encryption).
 *
 * Cipher: AES-GCM, 128, 192 or 256 bits as the key is long. Of each key and each opening of a log (16 random bytes, `salt`) a key of its own is
 * derived, and under that the pair (epoch, position) is used once: no key stream is ever used twice, also when a log directory was copied or put
 * back from a backup.
 *
 * Threads: a keyring is unchanged once loaded but for its cache of derived keys, which has a lock; a sealer belongs to the writer thread. */
#ifndef PENSTOCK_CHANNEL_KEYRING_H
#define PENSTOCK_CHANNEL_KEYRING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/option.h"
#include "channel/format.h"

struct keyring;
struct sealer;

/* Reads the key store (a PKCS#12 file; others are refused with the command that converts them). The passwords stand in files, white space
 * around them does not count. `aliases`: all that old blocks may need; key_passwords (alias.passwordFile) may be empty. */
int keyring_open(struct keyring **keys, const char *store, const char *password_file, const struct option_list *aliases,
		 const struct option_family *key_passwords, struct err *err);
void keyring_close(struct keyring *keys);
/* Bytes of a key; NULL when the alias is unknown. */
const uint8_t *keyring_key(const struct keyring *keys, const char *alias, uint32_t *len);
/* A record of an encrypted file of Flume's file channel: AES/CTR with the whole 16-byte counter given. For import alone. */
int keyring_ctr(const struct keyring *keys, const char *alias, const uint8_t iv[16], const uint8_t *in, uint32_t len, uint8_t *out);
/* "alias (id)" of all, for messages. */
void keyring_list(const struct keyring *keys, char *text, size_t text_bytes);
bool keyring_has(const struct keyring *keys, uint32_t key_id);

int sealer_open(struct sealer **sealer, const struct keyring *keys, const char *alias, const uint8_t *log_id, struct err *err);
void sealer_close(struct sealer *sealer);
/* Writes the block at `plain`, whose header is filled in but for the CRCs, sealed to `out` (as many bytes) and finishes it. Writer thread. */
int sealer_seal(struct sealer *sealer, const uint8_t *plain, uint8_t *out);

/* A run of bytes sealed as one, piece by piece and in place (snapshots of the ledger). `alias`: seal with that key, *key_id and a random salt are
 * given back; NULL: open with the key of *key_id. `about` is authenticated with the bytes. One thread. */
struct seal_stream;
int seal_stream_open(struct seal_stream **stream, struct keyring *keys, const char *alias, uint32_t *key_id, uint8_t salt[SALT_BYTES],
		     const uint8_t *log_id, const void *about, uint32_t about_len);
int seal_stream_run(struct seal_stream *stream, void *bytes, uint32_t len);
/* The tag is filled in (sealing) or compared (opening: -EBADMSG when it is another). Frees the stream, also when NULL. */
int seal_stream_end(struct seal_stream *stream, uint8_t tag[16]);

/* Opens a block that block_check found whole, in place; one that is not sealed is left as it is. Afterwards it is a
 * whole plain block, CRCs included, and what is in it has been checked. NULL, or what is wrong; *missing: the key is not there. Any thread. */
const char *keyring_unseal(struct keyring *keys, uint8_t *bytes, bool *missing);

#endif
