/* Frames are built once; per event the 16 digits of the sequence and the UDP checksum change. The datagram's checksum is kept as
 * the sum of everything but those digits, so the patch adds eight words. */
#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "dataplane/dpdk/eal.h"
#include "dataplane/dpdk/port_dpdk.h"
#include "dataplane/net/frame.h"
#include "dataplane/net/net.h"
#include "tools/trafficgen/send.h"

#define RESOLVE_NS (30 * NS_PER_S)
#define LINK_NS (30 * NS_PER_S)
#define EPHEMERAL_PORT 20000u
#define PORTS 16384u		/* source ports used: many flows, so that RSS spreads them */
#define HEADERS_BYTES (ETH_BYTES + IP6_BYTES + UDP_BYTES)
#define LISTEN_EVERY 64		/* bursts between looks at what comes in (ARP of the far side) */

struct frame_template {
	uint8_t head[HEADERS_BYTES];
	uint32_t sum;			/* of the datagram with its digits as zeros, folded to 17 bits */
};

struct sender {
	const struct send_config *config;
	struct load *load;
	struct pace *pace;
	struct send_result *result;
	struct err *err;
	struct port *port;
	struct net *net;
	struct address from, to;
	uint8_t to_mac[6];
	uint32_t header_bytes;
	struct frame_template *templates;	/* as many as load has messages */
};

static enum drop
refuse_udp(void *context, const struct net_datagram *datagram)
{
	(void)context;
	(void)datagram;
	return DROP_NO_LISTENER;
}

static void
listen_step(struct sender *s, uint64_t now_ns)
{
	struct frame frames[PORT_BURST_MAX];
	uint32_t n = port_rx(s->port, 0, frames, PORT_BURST_MAX);
	if (n)
		net_input(s->net, frames, n, now_ns);
	port_release(s->port, 0, frames, n);
	net_tick(s->net, now_ns);
}

/* Waits for the far side: its link, then its MAC. */
static int
resolve(struct sender *s)
{
	uint64_t begin_ns = clock_now_ns(&clock_system), now_ns;
	while (!s->port->ops->link_up(s->port)) {
		if (*s->config->stop)
			return -EINTR;
		if (clock_now_ns(&clock_system) - begin_ns > LINK_NS)
			return err_set(s->err, ETIMEDOUT, "--device: %s: no link after %llu s: is the far side there?", s->config->device,
				       (unsigned long long)(LINK_NS / NS_PER_S));
		sched_yield();
	}
	begin_ns = now_ns = clock_now_ns(&clock_system);
	while (!net_resolve(s->net, &s->to, s->to_mac, now_ns)) {
		if (*s->config->stop)
			return -EINTR;
		if (now_ns - begin_ns > RESOLVE_NS)
			return err_set(s->err, EHOSTUNREACH, "--to: %s: nobody answers for this address on %s", s->config->to, s->config->device);
		listen_step(s, now_ns);
		sched_yield();
		now_ns = clock_now_ns(&clock_system);
	}
	return 0;
}

static int
make_templates(struct sender *s)
{
	const struct load *load = s->load;
	uint8_t *frame = malloc(HEADERS_BYTES + LOAD_SIZE_MAX);
	s->templates = calloc(load->message_count, sizeof *s->templates);
	int rc = frame && s->templates ? 0 : err_set(s->err, ENOMEM, "no memory for %u frames", load->message_count);
	for (uint32_t i = 0; !rc && i < load->message_count; i++) {
		const struct load_message *message = &load->messages[i];
		struct frame_udp udp = { .from = s->from, .to = s->to };
		memcpy(udp.from_mac, s->port->mac, 6);
		memcpy(udp.to_mac, s->to_mac, 6);
		udp.from.port = (uint16_t)(EPHEMERAL_PORT + i % load->sources % PORTS);
		s->header_bytes = frame_udp_header_bytes(&udp);
		if (s->header_bytes + message->len > s->port->frame_bytes_max || s->header_bytes - ETH_BYTES + message->len > 1500) {
			rc = err_set(s->err, EMSGSIZE, "--size: %u: longer than a frame of %s", message->len, s->config->device);
			break;
		}
		memset(message->bytes + message->digits_at, 0, 16);
		uint32_t len = frame_udp_build(&udp, frame, HEADERS_BYTES + LOAD_SIZE_MAX, message->bytes, message->len);
		assert(len == s->header_bytes + message->len);
		memcpy(s->templates[i].head, frame, s->header_bytes);
		uint16_t checksum;
		memcpy(&checksum, frame + s->header_bytes - 2, 2);
		s->templates[i].sum = (uint16_t)~checksum;
	}
	free(frame);
	return rc;
}

static void
write_frame(const struct sender *s, struct frame *frame)
{
	const struct frame_template *head = &s->templates[s->load->next_message];
	const struct load_message *message = load_next(s->load);
	uint64_t sum = head->sum, digits = 0;
	uint16_t words[8], checksum;
	memcpy(words, message->bytes + message->digits_at, 16);
	for (uint32_t i = 0; i < 8; i++)
		digits += words[i];
	digits = (digits & 0xffff) + (digits >> 16);
	digits = (digits & 0xffff) + (digits >> 16);
	if (message->digits_at & 1)	/* the payload begins at an even offset of the datagram: odd digits lie across words */
		digits = (digits >> 8 | digits << 8) & 0xffff;
	sum += digits;
	checksum = csum_fold(sum);
	if (checksum == 0)
		checksum = 0xffff;	/* 0 would say: none */
	memcpy(frame->bytes, head->head, s->header_bytes);
	memcpy(frame->bytes + s->header_bytes - 2, &checksum, 2);
	memcpy(frame->bytes + s->header_bytes, message->bytes, message->len);
	frame->len = s->header_bytes + message->len;
}

static int
send_loop(void *context)
{
	struct sender *s = context;
	struct send_result *result = s->result;
	struct frame frames[PORT_BURST_MAX];
	uint64_t now_ns;
	uint32_t turn = 0;
	int rc = resolve(s);
	if (!rc)
		rc = make_templates(s);
	now_ns = clock_now_ns(&clock_system);
	pace_start(s->pace, now_ns);
	while (!rc && !*s->config->stop) {
		now_ns = clock_now_ns(&clock_system);
		if (turn++ % LISTEN_EVERY == 0) {
			listen_step(s, now_ns);
			pace_tell(s->pace, now_ns, result->events);
		}
		uint32_t due = pace_room(s->pace, now_ns, result->events, PORT_BURST_MAX), n, went;
		if (due == UINT32_MAX)
			break;
		if (due == 0) {
			pace_wait(s->pace, now_ns, result->events, PORT_BURST_MAX);
			sched_yield();
			continue;
		}
		n = port_tx_room(s->port, 0, frames, due);
		for (uint32_t i = 0; i < n; i++)
			write_frame(s, &frames[i]);
		uint32_t bytes = 0, lens[PORT_BURST_MAX];
		for (uint32_t i = 0; i < n; i++)
			lens[i] = frames[i].len - s->header_bytes;
		went = n ? port_tx(s->port, 0, frames, n) : 0;
		for (uint32_t i = 0; i < went; i++)
			bytes += lens[i];
		load_back(s->load, n - went);
		result->events += went;
		result->frames += went;
		result->bytes += bytes;
		result->retries += went < due;
		sched_yield();		/* the far side may share this core */
	}
	result->ns = clock_now_ns(&clock_system) - s->pace->start_ns;
	pace_end(s->pace);
	return rc;
}

int
send_addresses(const struct send_config *config, struct net_config *net, struct address *from, struct address *to, struct err *err)
{
	char host[64];
	uint16_t port = 0;
	int rc = send_split(config->to, host, &port, err);
	if (rc)
		return rc;
	if (address_parse_ip(to, host) != 0)
		return err_set(err, EINVAL, "--to: %s: want a numeric address", config->to);
	to->port = port;
	if (address_parse_prefix(&net->addresses[0], config->from) != 0 || !strchr(config->from, '/'))
		return err_set(err, EINVAL, "--from: %s: want ADDRESS/LEN, like 192.0.2.100/24", config->from);
	net->address_count = 1;
	memcpy(from->ip, net->addresses[0].ip, 16);
	if (address_is_v4(from) != address_is_v4(to))
		return err_set(err, EINVAL, "--from, --to: one is IPv4, the other IPv6");
	return 0;
}

int
send_device(const struct send_config *config, struct load *load, struct pace *pace, struct send_result *result, struct err *err)
{
	struct sender s = { .config = config, .load = load, .pace = pace, .result = result, .err = err };
	struct net_config net = { 0 };
	uint32_t cpu = config->cpu;
	const struct eal_config eal = { .lcore_count = 1, .lcore_cpus = &cpu, .memory_bytes = 64 << 20, .no_huge = config->no_huge };
	const struct port_dpdk_config port = { .name = "g0", .device = config->device, .lcores = 1 };
	int rc = send_addresses(s.config, &net, &s.from, &s.to, s.err), returned = 0;
	if (rc || (rc = eal_start(&eal, err)))
		return rc;
	s.port = port_dpdk_open(&port, err);
	rc = s.port ? 0 : -EIO;
	if (!rc && !(s.net = net_open(&net, s.port, 0, refuse_udp, NULL, err)))
		rc = -EIO;
	if (!rc && !(rc = eal_launch(0, send_loop, &s, err)) && !(rc = eal_wait(0, -1, &returned)))
		rc = returned;
	if (config->sent)
		config->sent(config->context);
	while (!rc && config->hold && !*config->stop) {
		struct timespec nap = { 0, 10 * (long)NS_PER_MS };
		listen_step(&s, clock_now_ns(&clock_system));
		nanosleep(&nap, NULL);
	}
	net_close(s.net);
	port_close(s.port);
	free(s.templates);
	eal_stop();
	return rc == -EINTR ? 0 : rc;
}
