#include "dataplane/interceptor/hs.h"

#include <stdlib.h>

#include <hs/hs.h>

struct hs_pattern {
	hs_database_t *database;
};

struct hs_room {
	hs_scratch_t *scratch;
};

struct hs_pattern *
hs_pattern_new(const char *text)
{
	hs_compile_error_t *error = NULL;
	struct hs_pattern *pattern = calloc(1, sizeof *pattern);
	if (!pattern)
		return NULL;
	if (hs_valid_platform() != HS_SUCCESS
	    || hs_compile(text, HS_FLAG_MULTILINE, HS_MODE_BLOCK, NULL, &pattern->database, &error) != HS_SUCCESS) {
		hs_free_compile_error(error);
		free(pattern);
		return NULL;
	}
	return pattern;
}

void
hs_pattern_free(struct hs_pattern *pattern)
{
	if (!pattern)
		return;
	hs_free_database(pattern->database);
	free(pattern);
}

struct hs_room *
hs_room_new(const struct hs_pattern *pattern)
{
	struct hs_room *room = calloc(1, sizeof *room);
	if (room && hs_alloc_scratch(pattern->database, &room->scratch) != HS_SUCCESS) {
		free(room);
		return NULL;
	}
	return room;
}

void
hs_room_free(struct hs_room *room)
{
	if (!room)
		return;
	hs_free_scratch(room->scratch);
	free(room);
}

static int
on_first(unsigned int id, unsigned long long from, unsigned long long to, unsigned int flags, void *context)
{
	(void)id, (void)from, (void)to, (void)flags;
	*(bool *)context = true;
	return 1;
}

bool
hs_has(const struct hs_pattern *pattern, struct hs_room *room, const uint8_t *text, uint32_t len)
{
	bool found = false;
	hs_error_t error = hs_scan(pattern->database, (const char *)text, len, 0, room->scratch, on_first, &found);
	/* A scan that failed proves nothing: let the event be confirmed. */
	return found || (error != HS_SUCCESS && error != HS_SCAN_TERMINATED);
}

struct each {
	void (*hit)(uint32_t end, void *context);
	void *context;
};

static int
on_each(unsigned int id, unsigned long long from, unsigned long long to, unsigned int flags, void *context)
{
	(void)id, (void)from, (void)flags;
	struct each *each = context;
	each->hit((uint32_t)to, each->context);
	return 0;
}

bool
hs_each(const struct hs_pattern *pattern, struct hs_room *room, const uint8_t *text, uint32_t len, void (*hit)(uint32_t end, void *context),
	void *context)
{
	struct each each = {hit, context};
	return hs_scan(pattern->database, (const char *)text, len, 0, room->scratch, on_each, &each) == HS_SUCCESS;
}
