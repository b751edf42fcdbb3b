#include "dataplane/stream_tls.h"

#include <stdlib.h>

struct stream_tls *
stream_tls_new(struct tls_server *server)
{
	struct stream_tls *tls = calloc(1, sizeof *tls);
	if (tls && !(tls->session = tls_session_new(server))) {
		free(tls);
		return NULL;
	}
	return tls;
}

void
stream_tls_free(struct stream_tls *tls)
{
	if (!tls)
		return;
	tls_session_free(tls->session);
	free(tls->records);
	free(tls);
}

bool
stream_tls_note(struct stream_tls *tls, uint64_t plain, uint64_t wire, bool keep)
{
	tls->wire = wire;
	if (tls->plain == plain)
		return true;
	tls->plain = plain;
	if (!keep)
		return true;
	if (tls->count == tls->room) {
		uint32_t room = tls->room ? 2 * tls->room : 8;
		struct tls_record *records = malloc(room * sizeof *records);
		if (!records)
			return false;
		for (uint32_t i = 0; i < tls->count; i++)
			records[i] = tls->records[(tls->first + i) % tls->room];
		free(tls->records);
		tls->records = records;
		tls->first = 0;
		tls->room = room;
	}
	tls->records[(tls->first + tls->count++) % tls->room] = (struct tls_record){ tls->plain, tls->wire };
	return true;
}

uint64_t
stream_tls_edge(struct stream_tls *tls, uint64_t edge, uint64_t durable)
{
	if (edge > tls->edge)
		tls->edge = edge;
	while (tls->count && tls->records[tls->first].plain <= edge) {
		durable = tls->records[tls->first].wire;
		tls->first = (tls->first + 1) % tls->room;
		tls->count--;
	}
	return tls->count || tls->plain > edge ? durable : tls->wire;
}
