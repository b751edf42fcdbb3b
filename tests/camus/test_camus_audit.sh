#!/bin/bash
# test_camus_audit.sh PENSTOCK_CAMUS PENSTOCK PENSTOCKCTL: counts of audit from end to end against a real Kafka. An agent with two kafka sinks (bodies
# by the record's time, Flume's Avro events by their header) tells its counts, the batch loader loads and tells its own: compare finds them the same.
# Then kills of the agent under load: what differs is what Kafka holds twice, never less. Then records that the agent never sent, and records that the
# loader never got: compare names the windows.
set -u
CAMUS=$(realpath "$1") PENSTOCK=$(realpath "$2") CTL=$(realpath "$3")
HERE=$(cd "$(dirname "$0")" && pwd)
. "$HERE/../lib/kafka.sh"
. "$HERE/../lib/daemon.sh"
kafka_jars || exit 77
dir=$(mktemp -d)
trap 'kafka_kill; [ -n "$AGENT" ] && kill -9 $AGENT 2>/dev/null; rm -rf "$dir"' EXIT
fail() { echo "FAILED: $*"; tail -n 20 "$dir/log" "$dir/agent.log" 2>/dev/null; exit 1; }
KAFKA_PARTITIONS=1 kafka_start "$dir/kafka" || fail "no broker"
port=$(free_port) avro=$(free_port)
cat >"$dir/a.properties" <<EOF2
a1.sources = r1 r2
a1.channels = c1 c2
a1.sinks = k1 k2
a1.sources.r1.type = http
a1.sources.r1.bind = 127.0.0.1
a1.sources.r1.port = $port
a1.sources.r1.channels = c1
a1.sources.r2.type = http
a1.sources.r2.bind = 127.0.0.1
a1.sources.r2.port = $avro
a1.sources.r2.channels = c2
a1.channels.c1.type = file
a1.channels.c1.checkpointDir = $dir/c1/checkpoint
a1.channels.c1.dataDirs = $dir/c1/data
a1.channels.c2.type = memory
a1.channels.c2.capacity = 10000
a1.channels.c2.transactionCapacity = 100
a1.sinks.k1.type = kafka
a1.sinks.k1.channel = c1
a1.sinks.k1.kafka.bootstrap.servers = $KAFKA_BS
a1.sinks.k1.kafka.topic = plain
a1.sinks.k1.timestampHeader = timestamp
a1.sinks.k1.kafka.producer.acks = all
a1.sinks.k1.penstock.kafka.audit.topic = TrackingMonitoringEvent
a1.sinks.k1.penstock.kafka.audit.tier = agents
a1.sinks.k2.type = kafka
a1.sinks.k2.channel = c2
a1.sinks.k2.kafka.bootstrap.servers = $KAFKA_BS
a1.sinks.k2.kafka.topic = avro
a1.sinks.k2.useFlumeEventFormat = true
a1.sinks.k2.penstock.kafka.audit.topic = TrackingMonitoringEvent
a1.sinks.k2.penstock.kafka.audit.tier = agents
EOF2
for job in plain:string:StringRecordWriterProvider avro:flume:AvroRecordWriterProvider; do
IFS=: read -r topic decoder writer <<<"$job"
cat >"$dir/$topic.properties" <<EOF2
camus.job.name=audit of $topic
etl.destination.path=$dir/out
etl.execution.base.path=$dir/base.$topic
etl.execution.history.path=$dir/base.$topic/history
camus.message.decoder.class=$decoder
etl.record.writer.provider.class=$writer
kafka.whitelist.topics=$topic
kafka.brokers=$KAFKA_BS
etl.default.timezone=UTC
etl.run.tracking.post=true
kafka.monitor.tier=loader
EOF2
done
load() {
	for topic in plain avro; do
		"$CAMUS" run -P "$dir/$topic.properties" --quiet >"$dir/log" 2>&1 || fail "load of $topic: $1"
	done
}
# Both jobs; 1 when one of them differs. What was said stands in $dir/log.
compare() {
	local status=0
	: >"$dir/log"
	for topic in plain avro; do
		"$CAMUS" compare --tier agents -P "$dir/$topic.properties" >>"$dir/log" 2>&1 || status=$?
	done
	return $status
}
drained_all() { drained 200 || fail "not delivered: $("$CTL" -s "$dir/a1.sock" status)"; }

# post PORT COUNT FROM_MS STEP_MS WORD: so many events, each with its own time, 200 a request; says how many were answered 200.
cat >"$dir/post.py" <<'EOF2'
import http.client, json, sys
port, count, start, step, word = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
link, stored = http.client.HTTPConnection("127.0.0.1", port, timeout=120), 0
for first in range(0, count, 200):
    batch = [{"headers": {"timestamp": str(start + i * step)}, "body": "%s %d" % (word, i)} for i in range(first, min(first + 200, count))]
    try:
        link.request("POST", "/", json.dumps(batch), {"Content-Type": "application/json"})
        answer = link.getresponse()
        answer.read()
    except OSError:
        break       # the agent was killed
    assert answer.status == 200, answer.status
    stored += len(batch)
print(stored)
EOF2
post() { python3 "$dir/post.py" "$@" >"$dir/stored" && [ "$(cat "$dir/stored")" = "$2" ] || fail "post $*: $(cat "$dir/stored") stored"; }
hour=3600000 day=1709251200000		# 2024-03-01, UTC
# The end of a topic, by event time: windows before it can be judged.
closing() { post "$port" 1 $((day + $1 * hour)) 0 closing; post "$avro" 1 $((day + $1 * hour)) 0 closing; }

# 1. An orderly run: over window edges (10 minutes), before 1970, two kinds of events.
agent_start "$dir/a.properties"
post "$port" 5000 $((day)) 700 one
post "$avro" 3000 $((day)) 1100 one
post "$avro" 20 -1200001 60000 before
closing 2
drained_all
agent_stop || fail "exit status after SIGTERM"
AGENT=
load "first"
compare || fail "an orderly run differs"
# Six windows of `plain`, nine of `avro` (one hour less 5 min, and before 1970); what is not loaded: the other job's topic, and the closing one.
[ "$(grep '^windows: ' "$dir/log" | tr '\n' ' ')" = "windows: 6 the same, 0 differ, 11 not loaded to their end windows: 9 the same, 0 differ, 8 not loaded to their end " ] ||
	fail "an orderly run: $(cat "$dir/log")"
grep -q 'no counts' "$dir/log" && fail "messages that are no counts"
kcat -C -b "$KAFKA_BS" -t TrackingMonitoringEvent -o beginning -e -q -f '%k\t%s\n' >"$dir/counts" || fail "kcat"
python3 - "$dir/counts" <<-'EOF2' || fail "counts of the agent"
	import json, sys
	most = {}
	for line in open(sys.argv[1]):
	    key, value = (json.loads(text) for text in line.split("\t"))
	    assert key == {"topic": value["eventType"], "tier": value["tier"], "window": value["beginTimestamp"], "run": value["run"]}, value
	    assert value["endTimestamp"] - value["beginTimestamp"] == 600000 and value["count"] == sum(s["count"] for s in value["services"]), value
	    if value["tier"] == "agents":
	        assert value["services"][0]["service"] in ("a1.k1", "a1.k2"), value
	        at = key["topic"], key["window"], key["run"]
	        most[at] = max(most.get(at, 0), value["count"])
	sums = {}
	for (topic, window, run), count in most.items():
	    sums[topic] = sums.get(topic, 0) + count
	assert sums == {"plain": 5001, "avro": 3021}, sums
	assert min(window for topic, window, run in most) == -1800000, most
	EOF2

# 2. Kills under load: nothing that was stored is lost, and compare is off by no more than what Kafka holds twice.
for round in 1 2 3; do
	agent_start "$dir/a.properties"
	end=$(kcat -Q -b "$KAFKA_BS" -t plain:0:-1 | grep -o '[0-9]*$')
	python3 "$dir/post.py" "$port" 60000 $((day + 3 * hour)) 60 "round$round" >"$dir/stored.$round" 2>"$dir/post.log" &
	poster=$!
	timeout 200 kcat -b "$KAFKA_BS" -C -t plain -p 0 -o "$end" -c $((500 * round)) -q >/dev/null 2>&1 || fail "nothing arrives"
	kill -9 $AGENT
	wait $AGENT 2>/dev/null
	wait $poster || { cat "$dir/post.log"; fail "post"; }
done
agent_start "$dir/a.properties"
closing 6
drained_all
agent_stop || fail "exit status after SIGTERM"
AGENT=
load "after kills"
timeout 200 kcat -b "$KAFKA_BS" -C -t plain -o beginning -e -q >"$dir/plain" || fail "kcat"
twice=$(($(wc -l <"$dir/plain") - $(sort -u "$dir/plain" | wc -l) - 1))		# `closing` stands there twice by itself
for round in 1 2 3; do
	stored=$(cat "$dir/stored.$round")
	[ "$(grep "^round$round " "$dir/plain" | sort -u | wc -l)" -ge "$stored" ] || fail "round $round: events are lost"
done
compare
more=$(sed -n 's/^plain .* loader [0-9]*, agents [0-9]* (+\([0-9]*\))$/\1/p' "$dir/log" | paste -sd+ | sed 's/^$/0/')
echo "killed three times: $twice records twice in Kafka, of which $((more)) are in no count"
grep -q '(-' "$dir/log" && fail "the loader misses records: $(cat "$dir/log")"
[ $((more)) -le "$twice" ] || fail "counts are off by $((more)), and only $twice records are there twice"

# 3. Records that no agent sent, in one window; then one that the agent counted and the loader never sees.
cp "$dir/log" "$dir/log.kills"
[ "$(grep -c '^plain 2024-03-01T00:10:00Z' "$dir/log")" = 0 ] || fail "the window is off already"
cat >"$dir/b.properties" <<EOF2
$(sed 's/^a1\./b1./' "$dir/a.properties" | grep -v 'audit\|c2\|k2\|r2\|^b1.sources = \|^b1.channels = \|^b1.sinks = ' | sed "s#$dir/c1#$dir/b1#")
b1.sources = r1
b1.channels = c1
b1.sinks = k1
EOF2
sed -i 's/^b1\./a1./' "$dir/b.properties"
agent_start "$dir/b.properties"
post "$port" 7 $((day + 600000)) 1 foreign
drained_all
agent_stop || fail "exit status after SIGTERM"
AGENT=
printf '{"eventType":"avro","tier":"agents","beginTimestamp":%s,"endTimestamp":%s,"count":4,"run":"lost"}\n' $day $((day + 600000)) |
	kcat -P -b "$KAFKA_BS" -t TrackingMonitoringEvent || fail "kcat"
load "foreign records"
agent_start "$dir/a.properties"
closing 7
drained_all
agent_stop || fail "exit status after SIGTERM"
AGENT=
load "closing"
compare && fail "seven records more pass"
grep -q '^plain 2024-03-01T00:10:00Z: loader 864, agents 857 (+7)$' "$dir/log" || fail "the window with foreign records is not named: $(cat "$dir/log")"
grep -q '^avro 2024-03-01T00:00:00Z: loader 546, agents 550 (-4)$' "$dir/log" || fail "the window with lost records is not named: $(cat "$dir/log")"
[ "$(grep -c '^avro \|^plain ' "$dir/log")" = $(($(grep -c '^avro \|^plain ' "$dir/log.kills") + 2)) ] || fail "other windows: $(cat "$dir/log")"
echo ok
