/* A server for the tests of penstockctl: the real control socket and HTTP with made-up counters. ctl_server SOCKET PORT_FILE; ends
 * with `stop`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctrlplane/control.h"
#include "ctrlplane/metrics_http.h"
#include "ctrlplane/stats.h"

static struct {
	struct counter frames, arp, to_source, drop_checksum, rx_ns;
} port;
static const struct metric port_metrics[] = {
	{ "frames_in", METRIC_COUNTER, 0, "frames", "Frames received." },
	{ "arp", METRIC_COUNTER, 8, "frames", "Consumed by ARP." },
	{ "to_source", METRIC_COUNTER, 16, "frames", "Handed to a source." },
	{ "drop_checksum", METRIC_COUNTER, 24, "frames", "Wrong checksum." },
	{ "rx_ns", METRIC_COUNTER, 32, "ns", "Time in receive." },
};

static struct {
	struct counter size, capacity, put, fill, open, log_bytes;
} channel;
static const struct metric channel_metrics[] = {
	{ "ChannelSize", METRIC_GAUGE, 0, "events", "Events waiting." },
	{ "ChannelCapacity", METRIC_GAUGE, 8, "events", "Events that fit." },
	{ "EventPutSuccessCount", METRIC_COUNTER, 16, "events", "Events stored." },
	{ "ChannelFillPercentage", METRIC_GAUGE, 24, "percent", "Part in use." },
	{ "Open", METRIC_GAUGE, 32, "boolean", "Open." },
	{ "log_bytes", METRIC_COUNTER, 40, "bytes", "Bytes written to the log." },
};

static struct {
	struct counter connections, timer, received;
} source;
static const struct metric source_metrics[] = {
	{ "OpenConnectionCount", METRIC_GAUGE, 0, "connections", "Open connections." },
	{ "KafkaEventGetTimer", METRIC_COUNTER, 8, "ms", "Time spent in getting." },
	{ "EventReceivedCount", METRIC_COUNTER, 16, "events", "Events received." },
};

static struct {
	struct counter start, timer, delivered, backing_off;
} sink;
static const struct metric sink_metrics[] = {
	{ "StartTime", METRIC_GAUGE, 0, "ms", "Wall time of the start." },
	{ "KafkaEventSendTimer", METRIC_COUNTER, 8, "ms", "Time spent in sending." },
	{ "delivered_bytes", METRIC_COUNTER, 16, "bytes", "Bodies delivered." },
	{ "backing_off", METRIC_GAUGE, 24, "", "1 while the sink waits." },
};

#define SET(kind_, component_, table, counters_) \
	{ .kind = kind_, .component = component_, .metrics = table, .count = sizeof table / sizeof *table, .counters = counters_ }
static struct metric_set sets[] = { SET("PORT", "p0", port_metrics, &port), SET("CHANNEL", "c1", channel_metrics, &channel),
				    SET("SOURCE", "r1", source_metrics, &source), SET("SINK", "k1", sink_metrics, &sink) };

static bool stopping, ill;

static void
on_stop(void *context)
{
	(void)context;
	stopping = true;
}

static struct trace {
	struct control_stream *stream;
	uint64_t left, sent;
	FILE *file;
} trace;

static void
on_closed(void *context)
{
	struct trace *t = context;
	if (t->file)
		fclose(t->file);
	*t = (struct trace){ 0 };
}

static void
on_tick(struct control_stream *stream, void *context)
{
	struct trace *t = context;
	json_t *line;
	if (t->file) {
		fputs("frame;", t->file);
		line = json_pack("{sI}", "packets", (json_int_t)++t->sent);
	} else {
		line = json_pack("{sI ss}", "number", (json_int_t)++t->sent, "body", "hello");
	}
	bool last = t->left && t->sent == t->left;
	if (!last || !t->file)
		control_stream_write(stream, line);
	if (last)
		control_stream_end(stream, t->file ? line : NULL);
	json_decref(line);
}

static int
stream_begin(struct control_call *call, FILE *file, struct err *err)
{
	if (trace.stream)
		return err_set(err, 16, "one at a time");
	if (call->arg_count > 1 && control_number(call->args[1], 1, 1000000, &trace.left, err) < 0)
		return -22;
	trace.file = file;
	trace.stream = control_stream_begin(call, on_closed, &trace);
	control_stream_every(trace.stream, NS_PER_MS, on_tick);
	return 0;
}

static int
run_trace(struct control_call *call, void *context, struct err *err)
{
	(void)context;
	if (strcmp(call->args[0], "r1") != 0)
		return err_set(err, 2, "trace: no source \"%s\"", call->args[0]);
	return stream_begin(call, NULL, err);
}

static int
run_capture(struct control_call *call, void *context, struct err *err)
{
	(void)context;
	if (call->fd < 0)
		return err_set(err, 9, "capture: no descriptor passed");
	FILE *file = fdopen(call->fd, "w");
	call->fd = -1;
	return stream_begin(call, file, err);
}

static int
run_break(struct control_call *call, void *context, struct err *err)
{
	(void)call, (void)context, (void)err;
	counter_add(&port.frames, 1);
	ill = true;
	return 0;
}

static void
on_health(FILE *reasons, void *context)
{
	(void)context;
	if (ill)
		fputs("channel c1: the disk is full\n", reasons);
}

int
main(int argc, char **argv)
{
	struct control *control;
	struct metrics_http *http;
	struct err err;
	struct stats *stats = stats_open(&clock_system);
	if (argc != 3)
		return 2;
	for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
		metrics_add(&sets[i]);
	counter_set(&port.frames, 10);
	counter_set(&port.arp, 2);
	counter_set(&port.to_source, 7);
	counter_set(&port.drop_checksum, 1);
	counter_set(&channel.capacity, 1000);
	stats_component_add(stats, "SOURCE", "r1", "syslogudp");
	stats_component_add(stats, "CHANNEL", "c1", "file");
	stats_component_add(stats, "SINK", "k1", "file_roll");
	if (control_open(&control, argv[1], &clock_system, &err) < 0 ||
	    metrics_http_open(&http, "127.0.0.1:0", stats, on_health, NULL, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	control_add_basics(control, stats, NULL, NULL);
	control_add_stop(control, on_stop, NULL);
	control_add(control, "trace", "trace SOURCE [COUNT]", run_trace, NULL);
	control_add(control, "capture", "capture PORT [COUNT]", run_capture, NULL);
	control_add(control, "upset", "upset", run_break, NULL);	/* stands for anything that upsets the accounts */
	control_watch(control, metrics_http_fd(http), true, metrics_http_run, http);
	FILE *file = fopen(argv[2], "w");
	fprintf(file, "%u\n", metrics_http_port(http));
	fclose(file);
	while (!stopping)
		control_step(control, 1000);
	control_step(control, 0);
	metrics_http_close(http);
	control_close(control);
	for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
		metrics_remove(&sets[i]);
	stats_close(stats);
	return 0;
}
