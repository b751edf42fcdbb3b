#include "channel/keyring.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/pkcs12.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#include "channel/record.h"

#define KEYS_MAX 64u
#define BLOCK_INFO "penstock ring log block"
#define SNAPSHOT_INFO "penstock ring log snapshot"
#define ALIAS_BYTES 128
#define KEY_BYTES_MAX 32u
#define DERIVED_MAX 16u
#define STORE_BYTES_MAX (1 << 20)
#define PASSWORD_BYTES 512
#define SEALED_PART offsetof(struct block_header, tag)	/* the header that is authenticated: before the tag ... */
#define BEHIND_TAG offsetof(struct block_header, salt)	/* ... and from here to the CRCs */
#define AAD_BYTES (SEALED_PART + offsetof(struct block_header, payload_crc) - BEHIND_TAG)
_Static_assert(SEALED_PART == 160 && BEHIND_TAG == 176, "as documented");

struct key {
	char alias[ALIAS_BYTES];
	uint8_t bytes[KEY_BYTES_MAX];
	uint32_t len, id;
};

struct derived {			/* of a key for one opening of one log */
	uint32_t id;
	uint8_t log_id[LOG_ID_BYTES], salt[SALT_BYTES], bytes[KEY_BYTES_MAX];
};

struct keyring {
	struct key keys[KEYS_MAX];
	uint32_t count;
	pthread_mutex_t lock;
	struct derived derived[DERIVED_MAX];
	uint32_t derived_count, derived_next;
};

struct sealer {
	EVP_CIPHER_CTX *ctx;		/* keyed: only the nonce changes */
	uint32_t key_id;
	uint8_t salt[SALT_BYTES];
};

static const EVP_CIPHER *
cipher_of(uint32_t key_len)
{
	return key_len == 16 ? EVP_aes_128_gcm() : key_len == 24 ? EVP_aes_192_gcm() : key_len == 32 ? EVP_aes_256_gcm() : NULL;
}

/* ---- the key store ---- */

static int
text_read(const char *path, char *text, size_t room, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, room - 1);
	if (n < 0) {
		int rc = errno;
		if (fd >= 0)
			close(fd);
		return err_set(err, rc, "%s: %s", path, strerror(rc));
	}
	close(fd);
	while (n > 0 && isspace((unsigned char)text[n - 1]))
		n--;
	text[n] = 0;
	size_t skip = 0;
	while (isspace((unsigned char)text[skip]))
		skip++;
	memmove(text, text + skip, (size_t)n - skip + 1);
	return 0;
}

/* By content, not by name: what a store of another kind needs is said in full. */
static int
store_kind(const char *path, const uint8_t *bytes, size_t len, struct err *err)
{
	static const uint8_t jceks[4] = { 0xce, 0xce, 0xce, 0xce }, jks[4] = { 0xfe, 0xed, 0xfe, 0xed };
	if (len >= 4 && (!memcmp(bytes, jceks, 4) || !memcmp(bytes, jks, 4)))
		return err_set(err, EINVAL, "%s: is a Java %s key store; convert it once with: keytool -importkeystore -srckeystore %s -srcstoretype %s "
			       "-destkeystore %s.p12 -deststoretype PKCS12 (the same password for store and keys), then set encryption.keyProvider.keyStoreFile = %s.p12",
			       path, memcmp(bytes, jks, 4) ? "JCEKS" : "JKS", path, memcmp(bytes, jks, 4) ? "JCEKS" : "JKS", path, path);
	if (len < 2 || bytes[0] != 0x30)
		return err_set(err, EINVAL, "%s: is no PKCS#12 key store", path);
	return 0;
}

static int
key_add(struct keyring *keys, const char *alias, const uint8_t *bytes, uint32_t len, struct err *err)
{
	static const char what[] = "penstock key id";
	uint8_t digest[SHA256_DIGEST_LENGTH], text[sizeof what + KEY_BYTES_MAX];
	if (!cipher_of(len))
		return err_set(err, EINVAL, "key %s has %u bits; AES has 128, 192 or 256", alias, 8 * len);
	struct key *k = &keys->keys[keys->count++];
	snprintf(k->alias, sizeof k->alias, "%s", alias);
	memcpy(k->bytes, bytes, len);
	k->len = len;
	memcpy(text, what, sizeof what);
	memcpy(text + sizeof what, bytes, len);
	SHA256(text, sizeof what + len, digest);
	memcpy(&k->id, digest, sizeof k->id);
	OPENSSL_cleanse(text, sizeof text);
	return 0;
}

/* A Java PKCS#12 store keeps a secret key as PKCS#8, encrypted, inside a secret bag. */
static int
bag_key(const PKCS12_SAFEBAG *bag, const char *password, uint8_t *bytes, uint32_t *len)
{
	const ASN1_TYPE *value = PKCS12_SAFEBAG_get0_bag_obj(bag);
	if (!value || value->type != V_ASN1_OCTET_STRING)
		return -EINVAL;
	const uint8_t *at = ASN1_STRING_get0_data(value->value.octet_string);
	X509_SIG *sealed = d2i_X509_SIG(NULL, &at, ASN1_STRING_length(value->value.octet_string));
	PKCS8_PRIV_KEY_INFO *info = sealed ? PKCS8_decrypt(sealed, password, -1) : NULL;
	const uint8_t *key;
	int key_len, rc = -EACCES;
	if (info && PKCS8_pkey_get0(NULL, &key, &key_len, NULL, info)) {
		rc = key_len >= 0 && (uint32_t)key_len <= KEY_BYTES_MAX ? 0 : -EINVAL;
		if (!rc) {
			memcpy(bytes, key, (size_t)key_len);
			*len = (uint32_t)key_len;
		}
	}
	PKCS8_PRIV_KEY_INFO_free(info);
	X509_SIG_free(sealed);
	return rc;
}

static bool
wanted(const struct option_list *aliases, const char *alias)
{
	for (size_t i = 0; i < aliases->count; i++)
		if (!strcasecmp(aliases->items[i], alias))	/* Java folds the case of aliases */
			return true;
	return aliases->count == 0;
}

static int
bag_take(struct keyring *keys, const char *store, const PKCS12_SAFEBAG *bag, const char *password, const struct option_list *aliases,
	 const struct option_family *key_passwords, struct err *err)
{
	uint8_t bytes[KEY_BYTES_MAX];
	uint32_t len;
	char own[PASSWORD_BYTES], key[ALIAS_BYTES + 16];
	char *alias = PKCS12_get_friendlyname((PKCS12_SAFEBAG *)bag);
	if (!alias || !wanted(aliases, alias)) {
		OPENSSL_free(alias);
		return 0;
	}
	int rc = keys->count == KEYS_MAX ? err_set(err, E2BIG, "%s: more than %u keys", store, KEYS_MAX) : bag_key(bag, password, bytes, &len);
	snprintf(key, sizeof key, "%s.passwordFile", alias);
	for (size_t i = 0; rc == -EACCES && key_passwords && i < key_passwords->count; i++)
		if (!strcasecmp(key_passwords->items[i].key, key) && !text_read(key_passwords->items[i].value, own, sizeof own, err))
			rc = bag_key(bag, own, bytes, &len);
	if (rc == -EACCES)
		err_set(err, EACCES, "%s: key %s cannot be decrypted with the store's password; name a file with its own in "
			"encryption.keyProvider.keys.%s.passwordFile", store, alias, alias);
	else if (!rc && (rc = key_add(keys, alias, bytes, len, err)))
		err_prefix(err, rc, "%s", store);
	OPENSSL_cleanse(bytes, sizeof bytes);
	OPENSSL_cleanse(own, sizeof own);
	OPENSSL_free(alias);
	return rc;
}

static int
store_read(struct keyring *keys, const char *path, const char *password, const struct option_list *aliases,
	   const struct option_family *key_passwords, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc = fd < 0 ? err_set(err, errno, "%s: %s", path, strerror(errno)) : 0;
	uint8_t *bytes = malloc(STORE_BYTES_MAX);
	ssize_t len = fd < 0 || !bytes ? 0 : read(fd, bytes, STORE_BYTES_MAX);
	if (!rc && (!bytes || len < 0))
		rc = err_set(err, EIO, "%s: cannot be read", path);
	if (fd >= 0)
		close(fd);
	if (!rc)
		rc = store_kind(path, bytes, (size_t)len, err);
	const uint8_t *at = bytes;
	PKCS12 *p12 = rc ? NULL : d2i_PKCS12(NULL, &at, len);
	if (!rc && !p12)
		rc = err_set(err, EINVAL, "%s: is no PKCS#12 key store", path);
	if (!rc && !PKCS12_verify_mac(p12, password, -1))
		rc = err_set(err, EACCES, "%s: the password (encryption.keyProvider.keyStorePasswordFile) does not open it", path);
	STACK_OF(PKCS7) *safes = rc ? NULL : PKCS12_unpack_authsafes(p12);
	for (int i = 0; safes && i < sk_PKCS7_num(safes) && !rc; i++) {
		PKCS7 *safe = sk_PKCS7_value(safes, i);
		int nid = OBJ_obj2nid(safe->type);
		STACK_OF(PKCS12_SAFEBAG) *bags = nid == NID_pkcs7_data ? PKCS12_unpack_p7data(safe) :
			nid == NID_pkcs7_encrypted ? PKCS12_unpack_p7encdata(safe, password, -1) : NULL;
		for (int j = 0; bags && j < sk_PKCS12_SAFEBAG_num(bags) && !rc; j++) {
			const PKCS12_SAFEBAG *bag = sk_PKCS12_SAFEBAG_value(bags, j);
			if (PKCS12_SAFEBAG_get_nid(bag) == NID_secretBag)
				rc = bag_take(keys, path, bag, password, aliases, key_passwords, err);
		}
		sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);
	}
	sk_PKCS7_pop_free(safes, PKCS7_free);
	PKCS12_free(p12);
	ERR_clear_error();
	free(bytes);
	return rc;
}

const uint8_t *
keyring_key(const struct keyring *keys, const char *alias, uint32_t *len)
{
	for (uint32_t i = 0; i < keys->count; i++)
		if (!strcasecmp(keys->keys[i].alias, alias)) {
			*len = keys->keys[i].len;
			return keys->keys[i].bytes;
		}
	return NULL;
}

int
keyring_open(struct keyring **out, const char *store, const char *password_file, const struct option_list *aliases,
	     const struct option_family *key_passwords, struct err *err)
{
	char password[PASSWORD_BYTES];
	uint32_t len;
	int rc = text_read(password_file, password, sizeof password, err);
	if (rc)
		return rc;
	struct keyring *keys = calloc(1, sizeof *keys);
	if (!keys)
		return err_set(err, ENOMEM, "no memory");
	pthread_mutex_init(&keys->lock, NULL);
	rc = store_read(keys, store, password, aliases, key_passwords, err);
	OPENSSL_cleanse(password, sizeof password);
	for (size_t i = 0; i < aliases->count && !rc; i++)
		if (!keyring_key(keys, aliases->items[i], &len))
			rc = err_set(err, ENOENT, "%s: holds no secret key %s", store, aliases->items[i]);
	if (!rc && !keys->count)
		rc = err_set(err, ENOENT, "%s: holds no secret keys", store);
	if (rc)
		keyring_close(keys);
	else
		*out = keys;
	return rc;
}

void
keyring_close(struct keyring *keys)
{
	if (!keys)
		return;
	pthread_mutex_destroy(&keys->lock);
	OPENSSL_cleanse(keys, sizeof *keys);
	free(keys);
}

void
keyring_list(const struct keyring *keys, char *text, size_t text_bytes)
{
	size_t at = 0;
	text[0] = 0;
	for (uint32_t i = 0; i < keys->count && at < text_bytes; i++)
		at += (size_t)snprintf(text + at, text_bytes - at, "%s%s (id %08x)", i ? ", " : "", keys->keys[i].alias, keys->keys[i].id);
}

static const struct key *
key_of(const struct keyring *keys, uint32_t id)
{
	for (uint32_t i = 0; i < keys->count; i++)
		if (keys->keys[i].id == id)
			return &keys->keys[i];
	return NULL;
}

bool
keyring_has(const struct keyring *keys, uint32_t id)
{
	return key_of(keys, id) != NULL;
}

/* ---- derived keys ---- */

/* HKDF-SHA-256 of the key, salt: log id and the opening's 16 random bytes. */
static bool
derive(const struct key *key, const char *info, const uint8_t *log_id, const uint8_t *salt, uint8_t *out)
{
	uint8_t both[LOG_ID_BYTES + SALT_BYTES];
	memcpy(both, log_id, LOG_ID_BYTES);
	memcpy(both + LOG_ID_BYTES, salt, SALT_BYTES);
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char[]){ "SHA256" }, 0),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)key->bytes, key->len),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, both, sizeof both),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)info, strlen(info)), OSSL_PARAM_END,
	};
	bool ok = ctx && EVP_KDF_derive(ctx, out, key->len, params) == 1;
	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
	return ok;
}

static bool
derived_get(struct keyring *keys, const struct key *key, const struct block_header *h, uint8_t *out)
{
	bool ok = true;
	pthread_mutex_lock(&keys->lock);
	struct derived *found = NULL;
	for (uint32_t i = 0; i < keys->derived_count && !found; i++) {
		struct derived *d = &keys->derived[i];
		if (d->id == key->id && !memcmp(d->salt, h->salt, SALT_BYTES) && !memcmp(d->log_id, h->log_id, LOG_ID_BYTES))
			found = d;
	}
	if (!found) {
		found = &keys->derived[keys->derived_next];
		keys->derived_next = (keys->derived_next + 1) % DERIVED_MAX;
		keys->derived_count += keys->derived_count < DERIVED_MAX;
		found->id = key->id;
		memcpy(found->salt, h->salt, SALT_BYTES);
		memcpy(found->log_id, h->log_id, LOG_ID_BYTES);
		ok = derive(key, BLOCK_INFO, h->log_id, h->salt, found->bytes);
		if (!ok)
			memset(found, 0, sizeof *found);
	}
	memcpy(out, found->bytes, KEY_BYTES_MAX);
	pthread_mutex_unlock(&keys->lock);
	return ok;
}

/* ---- blocks ---- */

/* What is authenticated besides the payload: the header without tag and CRCs. */
static void
aad_make(const struct block_header *h, uint8_t *aad)
{
	memcpy(aad, h, SEALED_PART);
	memcpy(aad + SEALED_PART, (const uint8_t *)h + BEHIND_TAG, AAD_BYTES - SEALED_PART);
}

int
sealer_open(struct sealer **out, const struct keyring *keys, const char *alias, const uint8_t *log_id, struct err *err)
{
	const struct key *key = NULL;
	for (uint32_t i = 0; i < keys->count; i++)
		if (!strcasecmp(keys->keys[i].alias, alias))
			key = &keys->keys[i];
	if (!key)
		return err_set(err, ENOENT, "encryption.activeKey = %s: is not among encryption.keyProvider.keys", alias);
	struct sealer *s = calloc(1, sizeof *s);
	uint8_t bytes[KEY_BYTES_MAX];
	if (!s || !(s->ctx = EVP_CIPHER_CTX_new()) || RAND_bytes(s->salt, sizeof s->salt) != 1 || !derive(key, BLOCK_INFO, log_id, s->salt, bytes) ||
	    EVP_EncryptInit_ex(s->ctx, cipher_of(key->len), NULL, bytes, NULL) != 1) {
		sealer_close(s);
		return err_set(err, EIO, "encryption cannot be set up: %s", ERR_reason_error_string(ERR_get_error()));
	}
	OPENSSL_cleanse(bytes, sizeof bytes);
	s->key_id = key->id;
	*out = s;
	return 0;
}

void
sealer_close(struct sealer *s)
{
	if (!s)
		return;
	EVP_CIPHER_CTX_free(s->ctx);
	free(s);
}

int
sealer_seal(struct sealer *s, const uint8_t *plain, uint8_t *out)
{
	struct block_header *h = (struct block_header *)out;
	uint8_t aad[AAD_BYTES];
	uint32_t payload = block_payload_bytes((const struct block_header *)plain);
	int len, more;
	memcpy(h, plain, BLOCK_HEADER_BYTES);
	assert(h->cipher == CIPHER_NONE);
	h->cipher = CIPHER_AES_GCM;
	h->key_id = s->key_id;
	memset(h->nonce, 0, sizeof h->nonce);
	memcpy(h->nonce, &h->epoch, 4);
	memcpy(h->nonce + 4, &h->position, 8);
	memcpy(h->salt, s->salt, SALT_BYTES);
	memset(h->tag, 0, sizeof h->tag);
	aad_make(h, aad);
	if (EVP_EncryptInit_ex(s->ctx, NULL, NULL, NULL, h->nonce) != 1 || EVP_EncryptUpdate(s->ctx, NULL, &len, aad, AAD_BYTES) != 1 ||
	    EVP_EncryptUpdate(s->ctx, out + BLOCK_HEADER_BYTES, &len, plain + BLOCK_HEADER_BYTES, (int)payload) != 1 ||
	    EVP_EncryptFinal_ex(s->ctx, out + BLOCK_HEADER_BYTES + len, &more) != 1 ||
	    EVP_CIPHER_CTX_ctrl(s->ctx, EVP_CTRL_GCM_GET_TAG, sizeof h->tag, h->tag) != 1)
		return -EIO;
	memset(out + BLOCK_HEADER_BYTES + payload, 0, h->bytes - BLOCK_HEADER_BYTES - payload);
	block_finish(out);
	return 0;
}

const char *
keyring_unseal(struct keyring *keys, uint8_t *bytes, bool *missing)
{
	struct block_header *h = (struct block_header *)bytes;
	const struct key *key = h->cipher && keys ? key_of(keys, h->key_id) : NULL;
	uint8_t aad[AAD_BYTES], derived[KEY_BYTES_MAX];
	uint32_t payload = block_payload_bytes(h);
	int len, more;
	*missing = false;
	if (h->cipher == CIPHER_NONE)
		return NULL;
	if (!key) {
		*missing = true;
		return "its key is not there";
	}
	if (!derived_get(keys, key, h, derived))
		return "its key cannot be derived";
	aad_make(h, aad);
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	bool ok = ctx && EVP_DecryptInit_ex(ctx, cipher_of(key->len), NULL, derived, h->nonce) == 1 &&
		EVP_DecryptUpdate(ctx, NULL, &len, aad, AAD_BYTES) == 1 &&
		EVP_DecryptUpdate(ctx, bytes + BLOCK_HEADER_BYTES, &len, bytes + BLOCK_HEADER_BYTES, (int)payload) == 1 &&
		EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, sizeof h->tag, h->tag) == 1 &&
		EVP_DecryptFinal_ex(ctx, bytes + BLOCK_HEADER_BYTES + len, &more) == 1;
	EVP_CIPHER_CTX_free(ctx);
	OPENSSL_cleanse(derived, sizeof derived);
	if (!ok)
		return "its authentication tag is wrong";
	h->cipher = CIPHER_NONE;
	block_finish(bytes);	/* a whole block again, which may be checked once more */
	return block_check_content(bytes);
}

int
keyring_ctr(const struct keyring *keys, const char *alias, const uint8_t iv[16], const uint8_t *in, uint32_t len, uint8_t *out)
{
	uint32_t key_len;
	const uint8_t *key = keyring_key(keys, alias, &key_len);
	int done, more;
	if (!key)
		return -ENOENT;
	const EVP_CIPHER *cipher = key_len == 16 ? EVP_aes_128_ctr() : key_len == 24 ? EVP_aes_192_ctr() : EVP_aes_256_ctr();
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	bool ok = ctx && EVP_DecryptInit_ex(ctx, cipher, NULL, key, iv) == 1 && EVP_DecryptUpdate(ctx, out, &done, in, (int)len) == 1 &&
		  EVP_DecryptFinal_ex(ctx, out + done, &more) == 1;
	EVP_CIPHER_CTX_free(ctx);
	return ok ? 0 : -EIO;
}

struct seal_stream {
	EVP_CIPHER_CTX *ctx;
	bool seals;
};

int
seal_stream_open(struct seal_stream **out, struct keyring *keys, const char *alias, uint32_t *key_id, uint8_t salt[SALT_BYTES], const uint8_t *log_id,
		 const void *about, uint32_t about_len)
{
	static const uint8_t nonce[12];		/* the key is this stream's alone */
	const struct key *key = NULL;
	uint8_t derived[KEY_BYTES_MAX];
	int len;
	for (uint32_t i = 0; keys && i < keys->count; i++)
		if (alias ? !strcasecmp(keys->keys[i].alias, alias) : keys->keys[i].id == *key_id)
			key = &keys->keys[i];
	if (!key)
		return -EACCES;
	struct seal_stream *s = calloc(1, sizeof *s);
	if (!s)
		return -ENOMEM;
	s->seals = alias != NULL;
	*key_id = key->id;
	bool ok = (!alias || RAND_bytes(salt, SALT_BYTES) == 1) && derive(key, SNAPSHOT_INFO, log_id, salt, derived) &&
		  (s->ctx = EVP_CIPHER_CTX_new()) && EVP_CipherInit_ex(s->ctx, cipher_of(key->len), NULL, derived, nonce, s->seals) == 1 &&
		  EVP_CipherUpdate(s->ctx, NULL, &len, about, (int)about_len) == 1;
	OPENSSL_cleanse(derived, sizeof derived);
	if (!ok) {
		EVP_CIPHER_CTX_free(s->ctx);
		free(s);
		return -EIO;
	}
	*out = s;
	return 0;
}

int
seal_stream_run(struct seal_stream *s, void *bytes, uint32_t len)
{
	int done;
	return len == 0 || EVP_CipherUpdate(s->ctx, bytes, &done, bytes, (int)len) == 1 ? 0 : -EIO;
}

int
seal_stream_end(struct seal_stream *s, uint8_t tag[16])
{
	uint8_t rest[16];
	int len;
	if (!s)
		return 0;
	bool ok = (s->seals || EVP_CIPHER_CTX_ctrl(s->ctx, EVP_CTRL_GCM_SET_TAG, 16, tag) == 1) && EVP_CipherFinal_ex(s->ctx, rest, &len) == 1 &&
		  (!s->seals || EVP_CIPHER_CTX_ctrl(s->ctx, EVP_CTRL_GCM_GET_TAG, 16, tag) == 1);
	EVP_CIPHER_CTX_free(s->ctx);
	free(s);
	return ok ? 0 : -EBADMSG;
}
