#include "sinks/hdfs/retry.h"

#include <string.h>

#define PAUSE_NS (100 * NS_PER_MS)
#define PAUSE_MAX_NS (5 * NS_PER_S)

static const struct {
	const char *exception;
	enum fs_class class;
} classes[] = {
	{ "FileAlreadyExistsException", FS_EXISTS },
	{ "FileNotFoundException", FS_MISSING },
	{ "ParentNotDirectoryException", FS_INVALID },
	{ "AccessControlException", FS_DENIED },
	{ "NSQuotaExceededException", FS_QUOTA },
	{ "DSQuotaExceededException", FS_QUOTA },
	{ "QuotaByStorageTypeExceededException", FS_QUOTA },
	{ "FSLimitException$MaxDirectoryItemsExceededException", FS_QUOTA },
	{ "MaxDirectoryItemsExceededException", FS_QUOTA },
	{ "PathComponentTooLongException", FS_INVALID },
	{ "InvalidPathException", FS_INVALID },
	{ "IllegalArgumentException", FS_INVALID },
	{ "UnsupportedOperationException", FS_INVALID },
	{ "AlreadyBeingCreatedException", FS_LEASE },
	{ "RecoveryInProgressException", FS_LEASE },
	{ "PathIsNotEmptyDirectoryException", FS_NOT_EMPTY },
	{ "StandbyException", FS_BUSY },
	{ "ObserverRetryOnActiveException", FS_BUSY },
	{ "RetriableException", FS_BUSY },
	{ "SafeModeException", FS_BUSY },
	{ "ConnectException", FS_BUSY },
	{ "NoRouteToHostException", FS_BUSY },
	{ "InvalidToken", FS_LOGIN },
	{ "SecurityException", FS_LOGIN },
	{ "AuthenticationException", FS_LOGIN },
	{ "AuthorizationException", FS_DENIED },
};

enum fs_class
retry_class(int status, const char *exception, const char *message)
{
	for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
		if (strcmp(classes[i].exception, exception) == 0)
			return classes[i].class;
	}
	if (strcmp(exception, "IOException") == 0) {
		if (strstr(message, "Failed to find datanode") || strstr(message, "could only be written to") || strstr(message, "could only be replicated to"))
			return FS_SPACE;
		if (strstr(message, "InvalidToken") || strstr(message, "token (") || strstr(message, "Failed to obtain user group information"))
			return FS_LOGIN;
		if (strstr(message, "is in safe mode"))
			return FS_BUSY;
	}
	if (exception[0])
		return FS_FAILED;
	switch (status) {
	case 401: return FS_LOGIN;
	case 403: return FS_DENIED;
	case 404: return FS_MISSING;
	case 400: return FS_INVALID;
	case 429: case 502: case 503: case 504: return FS_BUSY;
	default: return FS_FAILED;
	}
}

bool
retry_elsewhere(const char *exception)
{
	return strcmp(exception, "StandbyException") == 0 || strcmp(exception, "ObserverRetryOnActiveException") == 0;
}

uint64_t
retry_pause_ns(uint32_t tries, uint64_t *seed)
{
	uint64_t pause_ns = PAUSE_NS;
	for (uint32_t i = 1; i < tries && pause_ns < PAUSE_MAX_NS; i++)
		pause_ns *= 2;
	if (pause_ns > PAUSE_MAX_NS)
		pause_ns = PAUSE_MAX_NS;
	*seed ^= *seed << 13;	/* xorshift; never 0 */
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return pause_ns / 2 + *seed % (pause_ns / 2 + 1);
}
