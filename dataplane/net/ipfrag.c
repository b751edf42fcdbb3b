/* ipfrag: puts IPv4 and IPv6 datagrams together from fragments. Bounded in datagrams, pieces, bytes and age. A datagram of which
 * two pieces overlap is thrown away (RFC 5722); an exact copy of one that is here already is only ignored.
 *
 * Account: every frame held is in the gauge fragment_held until its datagram is whole (then fragment_joined, but for the one that
 * made it whole, which counts as what the datagram becomes) or is given up (then the drop that says why). */
#include "dataplane/net/stack.h"

static void
held_add(struct net *net, int64_t n)
{
	counter_set(&net->counters.fragment_held, counter_read(&net->counters.fragment_held) + (uint64_t)n);
}

static void
give_up(struct net *net, struct frag *frag, enum drop why)
{
	held_add(net, -(int64_t)frag->pieces);
	counter_add(&net->counters.drops[why], frag->pieces);
	frag->used = false;
	net->frag_used--;
}

void
frag_done(struct net *net, struct frag *frag)
{
	held_add(net, -(int64_t)frag->pieces);
	counter_add(&net->counters.fragment_joined, frag->pieces);
	frag->used = false;
	net->frag_used--;
}

void
frag_tick(struct net *net)
{
	for (uint32_t i = 0; i < NET_FRAG_DATAGRAMS; i++) {
		struct frag *frag = &net->frags[i];
		if (frag->used && net->now_ns - frag->began_ns >= NET_FRAG_AGE_NS)
			give_up(net, frag, DROP_FRAGMENT_TIMEOUT);
	}
}

static struct frag *
find(struct net *net, const struct packet *packet, uint32_t id)
{
	for (uint32_t i = 0; i < NET_FRAG_DATAGRAMS; i++) {
		struct frag *frag = &net->frags[i];
		if (frag->used && frag->id == id && frag->v4 == packet->v4 && (!packet->v4 || frag->protocol == packet->protocol) &&
		    memcmp(frag->from, packet->from.ip, 16) == 0 && memcmp(frag->to, packet->to.ip, 16) == 0)
			return frag;
	}
	return NULL;
}

static struct frag *
make(struct net *net, const struct packet *packet, uint32_t id)
{
	struct frag *frag = NULL;
	for (uint32_t i = 0; i < NET_FRAG_DATAGRAMS; i++) {
		struct frag *f = &net->frags[i];
		if (!f->used) {
			frag = f;
			break;
		}
		if (!frag || f->began_ns < frag->began_ns)
			frag = f;
	}
	if (frag->used)
		give_up(net, frag, DROP_FRAGMENT_NO_ROOM);
	memset(frag, 0, offsetof(struct frag, bytes));
	frag->used = true;
	frag->v4 = packet->v4;
	frag->protocol = packet->protocol;
	memcpy(frag->from, packet->from.ip, 16);
	memcpy(frag->to, packet->to.ip, 16);
	frag->id = id;
	frag->began_ns = net->now_ns;
	net->frag_used++;
	return frag;
}

bool
frag_input(struct net *net, struct packet *packet, uint32_t id, uint32_t offset, bool more, enum drop *drop, struct frag **whole)
{
	uint32_t len = packet->l4_bytes, end = offset + len;
	uint32_t most = packet->v4 ? 65535 - IP4_BYTES : 65535;
	*drop = DROP_FRAGMENT_BAD;
	if (len == 0 || (more && len % 8) || end > most)
		return false;
	struct frag *frag = find(net, packet, id);
	if (!frag)
		frag = make(net, packet, id);
	if ((frag->total && (end > frag->total || (!more && end != frag->total))) || (!more && end < frag->end)) {
		give_up(net, frag, DROP_FRAGMENT_BAD);
		return false;
	}
	uint32_t first = offset / 8, last = (end + 7) / 8, set = 0;
	for (uint32_t i = first; i < last; i++)
		set += frag->have[i / 8] >> (i % 8) & 1;
	if (set) {
		if (set == last - first && memcmp(frag->bytes + offset, packet->l4, len) == 0) {
			*drop = DROP_FRAGMENT_DUPLICATE;
			return false;
		}
		give_up(net, frag, DROP_FRAGMENT_OVERLAP);
		*drop = DROP_FRAGMENT_OVERLAP;
		return false;
	}
	if (frag->pieces + 1 > NET_FRAG_PIECES_MAX) {
		give_up(net, frag, DROP_FRAGMENT_TOO_MANY);
		*drop = DROP_FRAGMENT_TOO_MANY;
		return false;
	}
	for (uint32_t i = first; i < last; i++)
		frag->have[i / 8] |= (uint8_t)(1 << (i % 8));
	memcpy(frag->bytes + offset, packet->l4, len);
	frag->got += len;
	if (end > frag->end)
		frag->end = end;
	if (!more)
		frag->total = end;
	if (offset == 0)
		frag->protocol = packet->protocol;
	*drop = DROP_NONE;
	if (!frag->total || frag->got != frag->total) {
		frag->pieces++;
		held_add(net, 1);
		return false;
	}
	packet->protocol = frag->protocol;
	packet->l4 = frag->bytes;
	packet->l4_bytes = frag->total;
	packet->flags = 0;	/* the device saw pieces only */
	packet->ip = NULL;
	*whole = frag;
	return true;
}
