#include "sinks/roll_state.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/crc32c.h"

#define MAGIC 0x52534e50u	/* "PNSR" */

struct record {
	uint32_t magic, crc;
	uint64_t sequence, length;
	uint16_t name_bytes;
	char name[ROLL_NAME_BYTES];
};
_Static_assert(sizeof(struct record) == ROLL_STATE_BYTES, "the layout above");

static uint32_t
record_crc(const struct record *record)
{
	return crc32c(0, &record->sequence, ROLL_STATE_BYTES - 8);
}

int
roll_state_open(struct roll_state *state, int directory_fd, const char *file, struct err *err)
{
	*state = (struct roll_state){ .fd = -1 };
	int fd = openat(directory_fd, file, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		return err_set(err, errno, "%s: cannot be opened: %s", file, strerror(errno));
	struct record record;
	for (int i = 0; i < 2; i++) {
		if (pread(fd, &record, sizeof record, i * (off_t)sizeof record) != sizeof record)
			continue;
		if (le32toh(record.magic) != MAGIC || le32toh(record.crc) != record_crc(&record) || le16toh(record.name_bytes) > ROLL_NAME_BYTES)
			continue;
		if (le64toh(record.sequence) <= state->sequence)
			continue;
		state->sequence = le64toh(record.sequence);
		state->length = le64toh(record.length);
		memcpy(state->name, record.name, le16toh(record.name_bytes));
		state->name[le16toh(record.name_bytes)] = '\0';
	}
	state->fd = fd;
	return 0;
}

int
roll_state_write(struct roll_state *state, const char *name, uint64_t length, bool sync)
{
	size_t name_bytes = strlen(name);
	assert(name_bytes <= ROLL_NAME_BYTES);
	uint64_t sequence = state->sequence + 1;
	struct record record = {
		.magic = htole32(MAGIC), .sequence = htole64(sequence), .length = htole64(length), .name_bytes = htole16((uint16_t)name_bytes),
	};
	memcpy(record.name, name, name_bytes);
	record.crc = htole32(record_crc(&record));
	if (pwrite(state->fd, &record, sizeof record, (off_t)(sequence & 1) * (off_t)sizeof record) != sizeof record)
		return errno ? -errno : -EIO;
	if (sync && fdatasync(state->fd))
		return -errno;
	state->sequence = sequence;
	state->length = length;
	if (name != state->name)
		memcpy(state->name, name, name_bytes + 1);
	return 0;
}

void
roll_state_close(struct roll_state *state)
{
	if (state->fd >= 0)
		close(state->fd);
	state->fd = -1;
}
