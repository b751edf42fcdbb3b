#!/bin/bash
# test_camus_complete.sh PENSTOCK_CAMUS PENSTOCK PENSTOCKCTL: marks of complete folders, late records, the hook, figures for Prometheus, a run that is asked to
# stop, and the agent's schedule, against a real Kafka.
set -u
CAMUS=$(realpath "$1") PENSTOCK=$(realpath "$2") CTL=$(realpath "$3")
HERE=$(cd "$(dirname "$0")" && pwd)
. "$HERE/../lib/kafka.sh"
. "$HERE/../lib/daemon.sh"
kafka_jars || exit 77
dir=$(mktemp -d)
trap 'kafka_kill; [ -n "$AGENT" ] && kill -9 $AGENT 2>/dev/null; rm -rf "$dir"' EXIT
fail() { echo "FAILED: $*"; tail -n 20 "$dir/log" "$dir/agent.log" 2>/dev/null; exit 1; }
kafka_start "$dir/kafka" || fail "no broker"
topic() { java -Xmx128m -XX:TieredStopAtLevel=1 -cp "$dir/kafka/tools:$KAFKA_HOME/libs/*" org.apache.kafka.tools.TopicCommand --bootstrap-server "$KAFKA_BS" --create "$@" >>"$dir/topics.log" 2>&1 || fail "topic"; }
topic --topic t --partitions 2 &
topic --topic slow --partitions 1 &
for name in kill-complete kill-hook agent; do topic --topic $name --partitions 2 & done
wait %2 %3 %4 %5 %6

# put PARTITION HH:MM... : one record each, with that event time of $day, UTC
day=2024-03-01 TOPIC=t
put() {
	local partition=$1; shift
	for at; do echo "{\"timestamp\":$(date -ud "$day $at" +%s)000,\"at\":\"$at\"}"; done | kcat -P -b "$KAFKA_BS" -t "$TOPIC" -p "$partition" || fail "kcat"
}
cat >"$dir/hook" <<EOF
#!/bin/bash
echo "\$1" >>$dir/hook.calls
cat >$dir/hook.input
[ ! -e $dir/hook.fails ]
EOF
chmod 755 "$dir/hook"
cat >"$dir/job.properties" <<EOF
camus.job.name=completeness
etl.destination.path=$dir/out
etl.execution.base.path=$dir/base
etl.execution.history.path=$dir/base/history
camus.message.decoder.class=JsonStringMessageDecoder
camus.message.timestamp.format=unix_milliseconds
etl.record.writer.provider.class=StringRecordWriterProvider
kafka.whitelist.topics=t
kafka.brokers=$KAFKA_BS
etl.default.timezone=UTC
penstock.camus.complete_delay=10m
penstock.camus.hook=$dir/hook
EOF
run() { { "$CAMUS" run -P "$dir/job.properties" --quiet --json --metrics-file "$dir/metrics" "$@" >"$dir/report" 2>"$dir/log"; } 2>/dev/null; }
said() { python3 -c 'import json, sys; r = json.load(open(sys.argv[1])); sys.exit(not eval(sys.argv[2]))' "$dir/report" "$1" || fail "report: not $1: $(cat "$dir/report")"; }
marks() { (cd "$dir/out/t/hourly/2024/03/01" && ls -d ??/_SUCCESS 2>/dev/null | cut -d/ -f1 | xargs); }
expect() { [ "$(marks)" = "$1" ] || fail "$2: marked: $(marks), want: $1"; }
asked() { python3 -c 'import json, sys; i = json.load(open(sys.argv[1])); f = {x["path"][-2:]: x for x in i["folders"]}; sys.exit(not eval(sys.argv[2]))' "$dir/hook.input" "$1" || fail "hook: not $1: $(cat "$dir/hook.input")"; }

# Complete up to the slower partition, less the delay.
put 0 10:05 11:30 12:30
put 1 10:10 11:20
run || fail "first run"
expect "10" "the slower partition is at 11:20"
asked 'i["manifest"]["number"] == 1 and f["10"]["complete"] and f["10"]["new"] and f["11"]["new"] and not f["11"]["complete"] and len(f) == 3'
said 'r["folders_completed"] == 1 and r["late"] == 0 and r["record_lag"] == 0'
# One partition goes on, the other holds it back; what it holds back at is its last event time only while it has records in the run.
put 0 13:20
put 1 11:50 12:09
run || fail "second run"
expect "10" "11:59 is the end of what is known"
# Idle partitions count by the clock: all is complete, by a manifest without a file.
run || fail "third run"
expect "10 11 12 13" "idle partitions"
said 'r["manifest"] == 3 and r["folders_completed"] == 3 and r["files"] == 0'
run || fail "fourth run"
said 'r["manifest"] == 0 and r["folders_completed"] == 0'
[ "$(wc -l <"$dir/hook.calls")" = 3 ] || fail "hook calls: $(xargs <"$dir/hook.calls")"

# Late records: into the folder, or aside.
put 0 10:45
run || fail "late"
said 'r["late"] == 1 and r["files"] == 1'
[ "$(cat "$dir"/out/t/hourly/2024/03/01/10/t.* | grep -c 10:45)" = 1 ] || fail "a late record is not in its folder"
put 1 11:45
run -D penstock.camus.late=_late || fail "late, aside"
said 'r["late"] == 1'
[ "$(cat "$dir"/out/t/hourly/2024/03/01/11/_late/t.* | grep -c 11:45)" = 1 ] || fail "a late record is not in _late"
expect "10 11 12 13" "late records move no marks"
grep -q 'penstock_camus_records_late{job="completeness"} 1$' "$dir/metrics" || fail "metrics: $(cat "$dir/metrics")"
promtool check metrics <"$dir/metrics" >"$dir/promtool" 2>&1 || ! command -v promtool >/dev/null || fail "promtool: $(cat "$dir/promtool")"

# Killed before a mark and before the hook: the next run does both. Each with a topic and a state of its own: where nothing is new the clock completes all.
fresh() { TOPIC=$1; FRESH="-Dkafka.whitelist.topics=$1 -Detl.execution.base.path=$dir/$1 -Detl.execution.history.path=$dir/$1/history"; }
for point in complete hook; do
	fresh kill-$point
	put 0 10:10
	put 1 10:12
	run $FRESH || fail "before the kill at $point"
	[ ! -e "$dir/out/$TOPIC/hourly/2024/03/01/10/_SUCCESS" ] || fail "marked before the kill at $point"
	put 0 12:01
	put 1 12:02
	PENSTOCK_CAMUS_KILL_AT=$point run $FRESH
	[ $? = 137 ] || fail "not killed at $point"
	calls=$(wc -l <"$dir/hook.calls")
	run $FRESH || fail "after the kill at $point"
	[ -e "$dir/out/$TOPIC/hourly/2024/03/01/10/_SUCCESS" ] || fail "not marked after a kill at $point"
	[ "$(wc -l <"$dir/hook.calls")" -gt "$calls" ] || fail "hook not called after a kill at $point"
done
# A hook that fails is told of and does not stop the next run.
touch "$dir/hook.fails"
put 0 17:00
run $FRESH; [ $? = 1 ] || fail "a failing hook is no failure"
said 'r["hook_failed"] and r["unfinished_manifest"] == 0 and r["files"] == 1'
rm "$dir/hook.fails"
put 0 17:01
run $FRESH || fail "after a failing hook"
TOPIC=t

# Asked to stop: what was read is committed, the rest comes next time.
python3 -c 'for i in range(400000): print("{\"timestamp\":%d,\"n\":%d}" % (1709300000000 + i, i))' | kcat -P -b "$KAFKA_BS" -t slow -X linger.ms=20 || fail "kcat"
PENSTOCK_CAMUS_HOLD_AT=records "$CAMUS" run -P "$dir/job.properties" -D kafka.whitelist.topics=slow -D etl.execution.base.path="$dir/base2" -D etl.execution.history.path="$dir/base2/history" \
	-D kafka.fetch.buffer.size=2000 -D penstock.camus.kafka.queued.min.messages=1 --quiet --json >"$dir/report" 2>"$dir/log" &
pid=$!
held $pid || fail "the run does not come to its first records"
kill -TERM $pid
kill -CONT $pid
wait $pid || fail "a run that was asked to stop"
said '0 < r["records"] < 400000 and r["manifest"] == 1 and r["record_lag"] == 400000 - r["records"]'
run -D kafka.whitelist.topics=slow -D etl.execution.base.path="$dir/base2" -D etl.execution.history.path="$dir/base2/history" || fail "the run after a stopped one"
[ "$(find "$dir/out/slow" -type f -name 'slow.*' -exec cat {} + | sort -u | wc -l)" = 400000 ] || fail "records are missing after a stop"
[ "$(find "$dir/out/slow" -type f -name 'slow.*' -exec cat {} + | wc -l)" = 400000 ] || fail "records came twice after a stop"

# By the agent's clock.
cat >"$dir/a.properties" <<EOF
a1.sources = r1
a1.channels = c1
a1.sinks = k1
a1.sources.r1.type = netcatudp
a1.sources.r1.bind = 127.0.0.1
a1.sources.r1.port = $(free_port)
a1.sources.r1.channels = c1
a1.channels.c1.type = memory
a1.sinks.k1.type = null
a1.sinks.k1.channel = c1
penstock.camus.t.conf = $dir/agent.job
penstock.camus.t.schedule = 2s
EOF
fresh agent
{ grep -vE '^(kafka.whitelist|etl.execution)' "$dir/job.properties"; for one in $FRESH; do echo "${one#-D}"; done; } >"$dir/agent.job"
put 0 20:30 22:30
put 1 20:31 22:31
agent_start "$dir/a.properties"
within 120 [ -e "$dir/out/agent/hourly/2024/03/01/20/_SUCCESS" ] || fail "the agent's schedule loaded nothing"
# A later run has nothing to do.
for _ in $(seq 1200); do
	"$CTL" -s "$dir/a1.sock" --json status >"$dir/status" || fail "status"
	python3 -c 'import json, sys; sys.exit(json.load(open(sys.argv[1]))["loads"][0]["runs"] < 2)' "$dir/status" && break
	sleep 0.1
done
python3 -c 'import json, sys
load = json.load(open(sys.argv[1]))["loads"][0]
assert load["runs"] >= 2 and load["records"] == 4 and load["runs_failed"] == 0 and load["record_lag"] == 0 and load["unfinished_manifest"] == 0, load' "$dir/status" || fail "status of the load"
agent_stop || fail "the agent's end"
AGENT=
echo "marks, late records, hook, metrics, stop and schedule"
