/* keys: a channel of a test is encrypted: tests/golden/keys/store.p12 (key-1 of 128, key-2 of 256 bits; one iteration, so that it opens fast). */
#include "channel/channel_file.h"

static inline void
keys_config(struct channel_file_config *config, const char *active)
{
	static const char *aliases[] = { "key-1", "key-2" };
	config->active_key = active;
	config->key_provider = "JCEKSFILE";
	config->cipher_provider = "AESCTRNOPADDING";
	config->key_store = TEST_KEYS "/store.p12";
	config->key_store_password = TEST_KEYS "/password";
	config->key_aliases = (struct option_list){ 2, aliases };
}
