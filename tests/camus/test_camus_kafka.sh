#!/bin/bash
# penstock-camus against a real Kafka, into this machine's files: runs, kills at every named point, topics that change between runs.
# usage: test_camus_kafka.sh PENSTOCK_CAMUS
set -u
CAMUS=$1
HERE=$(cd "$(dirname "$0")" && pwd)
. "$HERE/../lib/kafka.sh"
kafka_jars || exit 77
dir=$(mktemp -d)
trap 'kafka_kill; rm -rf "$dir"' EXIT
fail() { echo "FAILED: $*"; tail -n 20 "$dir/log" 2>/dev/null; exit 1; }
kafka_start "$dir/kafka" || fail "no broker"

topics() { java -Xmx128m -XX:TieredStopAtLevel=1 -cp "$dir/kafka/tools:$KAFKA_HOME/libs/*" org.apache.kafka.tools.TopicCommand --bootstrap-server "$KAFKA_BS" "$@" >>"$dir/topics.log" 2>&1; }
makers=
for spec in alpha:4 beta.one:4 gamma:8 delta:2 skipme:1; do topics --create --topic "${spec%:*}" --partitions "${spec#*:}" & makers="$makers $!"; done
wait $makers

# produce ROUND TOPIC COUNT: records with their own event time; what belongs where goes to $dir/want, by Python's calendar.
produce() {
	python3 - "$@" >"$dir/in" 2>>"$dir/want" <<-'EOF'
	import sys, datetime, zoneinfo
	round_, topic, count = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
	zone = zoneinfo.ZoneInfo("Europe/Amsterdam")
	for i in range(count):
	    ms = 1396130000000 + (i * 7919 % 30000) * 1000 + round_	# over the night in which an hour is left out
	    payload = '{"timestamp":%d,"topic":"%s","round":%d,"n":%d}' % (ms, topic, round_, i)
	    print(payload)
	    when = datetime.datetime.fromtimestamp(ms / 1000, zone)
	    print(topic.replace(".", "_") + when.strftime("/hourly/%Y/%m/%d/%H"), payload, sep="\t", file=sys.stderr)
	EOF
	kcat -P -b "$KAFKA_BS" -t "$2" -l "$dir/in" -X linger.ms=5 -X sticky.partitioning.linger.ms=0 || fail "kcat"
}

cat >"$dir/job.properties" <<EOF
# as camus.properties has it
camus.job.name=Camus Job
etl.destination.path=$dir/out
etl.execution.base.path=$dir/base
etl.execution.history.path=$dir/base/history
camus.message.decoder.class=com.linkedin.camus.etl.kafka.coders.JsonStringMessageDecoder
camus.message.timestamp.format=unix_milliseconds
etl.record.writer.provider.class=com.linkedin.camus.etl.kafka.common.StringRecordWriterProvider
mapred.map.tasks=2
kafka.max.pull.hrs=-1
kafka.blacklist.topics=skip.*,TrackingMonitoringEvent
kafka.client.name=camus
kafka.brokers=$KAFKA_BS
etl.default.timezone=Europe/Amsterdam
etl.output.file.time.partition.mins=60
zookeeper.session.timeout=1000
log4j.configuration=true
EOF
run() { { "$CAMUS" run -P "$dir/job.properties" --quiet "$@" >"$dir/log" 2>&1; } 2>/dev/null; }
judge() { python3 "$HERE/check_tree.py" "$dir/out" "$dir/want" >"$dir/judged" 2>&1 || { cat "$dir/judged"; fail "$*"; }; }

: >"$dir/want"
for topic in alpha beta.one gamma delta; do produce 0 $topic 1500; done
printf 'not for us\n' | kcat -P -b "$KAFKA_BS" -t skipme
cp "$dir/want" "$dir/want.first"
"$CAMUS" plan -P "$dir/job.properties" >"$dir/log" 2>&1 || fail "plan"
grep -q 'at most 6000 records' "$dir/log" || fail "plan does not count"
[ -e "$dir/base" ] && fail "plan changed something"
run || fail "first run"
judge "first run"
grep -q 'committed as manifest 1' "$dir/log" || fail "no manifest"
run || fail "a run with nothing new"
grep -q 'nothing committed' "$dir/log" || fail "a run with nothing new commits"
judge "nothing new"

# Killed at each point, then run again: each record once.
round=0
for point in pull before-manifest manifest-written manifest-renamed publish:1 publish:3 publish:20 published group done; do
	round=$((round + 1))
	for topic in alpha gamma; do produce $round $topic 150; done
	PENSTOCK_CAMUS_KILL_AT=$point run
	[ $? = 137 ] || fail "not killed at $point"
	run || fail "the run after a kill at $point"
	judge "killed at $point"
done
# Killed while it finishes what another left.
produce 90 alpha 200
PENSTOCK_CAMUS_KILL_AT=publish:2 run
PENSTOCK_CAMUS_KILL_AT=publish:1 run
PENSTOCK_CAMUS_KILL_AT=recovered run
[ $? = 137 ] || fail "not killed while recovering"
run || fail "the run after three kills"
judge "killed while recovering"
# A consumer takes files away between the kill and the next run: done, and not loaded again.
cp -r "$dir/out" "$dir/out.before"
produce 91 delta 300
PENSTOCK_CAMUS_KILL_AT=published run
taken=$(find "$dir/out/delta" -type f -newer "$dir/in" | head -1)
[ -n "$taken" ] || fail "nothing was published before the kill"
mv "$taken" "$dir/taken"
run || fail "the run after a consumer took a file"
grep -q '1 already taken' "$dir/log" || fail "the file that was taken is not told of"
mv "$dir/taken" "$taken"
judge "a consumer"

# Two runs at once: one works, the other says who is at work.
for topic in alpha gamma; do produce 92 $topic 20000; done
run & first=$!
"$CAMUS" run -P "$dir/job.properties" --quiet >"$dir/log2" 2>&1; second=$?
wait $first; one=$?
[ $((one + second)) -le 1 ] || fail "of two runs both failed: $(cat "$dir/log2")"
run || fail "the run after two at once"
judge "two at once"

# A topic that is deleted and made again, and grows past the old offset: nothing skipped, nothing repeated.
delta_gone() { [ ! -e "$dir/kafka/data/delta-0" ] && [ ! -e "$dir/kafka/data/delta-1" ]; }
delta_there() { [ -e "$dir/kafka/data/delta-0" ] && [ -e "$dir/kafka/data/delta-1" ]; }
topics --delete --topic delta
within 60 delta_gone || fail "the topic is not deleted"
topics --create --topic delta --partitions 2
within 60 delta_there || fail "the topic is not made again"
produce 93 delta 4000
run || fail "a topic made again"
grep -q 'topic was made again' "$dir/log" || "$CAMUS" run -P "$dir/job.properties" --json >/dev/null 2>&1
judge "a topic made again"

# Records that cannot be decoded: few are skipped and kept, too many commit nothing.
printf '{"timestamp":1396130000000,"n":\n' | kcat -P -b "$KAFKA_BS" -t alpha || fail "kcat"
produce 94 alpha 2000
run || fail "one bad record of 2001"
judge "one bad record"
grep -q 'undecodable 1' "$dir/log" || fail "the bad record is not counted"
grep -h payload_base64 "$dir"/base/history/*/errors.jsonl | grep -q "$(printf '{"timestamp":1396130000000,"n":' | base64 -w0)" || fail "the bad record is not kept"
before=$(find "$dir/out" -type f | wc -l)
cp "$dir/want" "$dir/want.good"
produce 95 alpha 100
for i in 1 2 3; do printf 'no json %s\n' $i | kcat -P -b "$KAFKA_BS" -t alpha; done
run && fail "3 % bad records pass"
grep -q 'etl.max.percent.skipped.other' "$dir/log" || fail "the threshold is not named"
[ "$(find "$dir/out" -type f | wc -l)" = "$before" ] || fail "something was published in spite of the threshold"
run -D etl.max.percent.skipped.other=40.0 || fail "a higher threshold"
judge "a higher threshold"

# Saved offset aged out: fails by name, other topics go on; with kafka.move.to.earliest.offset it goes on from the oldest.
produce 96 gamma 100
run || fail "before ageing"
produce 97 gamma 800
cat >"$dir/delete.json" <<EOF
{"version":1,"partitions":[$(for p in 0 1 2 3 4 5 6 7; do printf '%s{"topic":"gamma","partition":%d,"offset":-1}' "$([ $p = 0 ] || echo ,)" $p; done)]}
EOF
java -Xmx128m -cp "$dir/kafka/tools:$KAFKA_HOME/libs/*" org.apache.kafka.tools.DeleteRecordsCommand --bootstrap-server "$KAFKA_BS" \
	--offset-json-file "$dir/delete.json" >>"$dir/topics.log" 2>&1 || java -Xmx128m -cp "$dir/kafka/tools:$KAFKA_HOME/libs/*" \
	kafka.admin.DeleteRecordsCommand --bootstrap-server "$KAFKA_BS" --offset-json-file "$dir/delete.json" >>"$dir/topics.log" 2>&1 || fail "delete records"
grep -v '"round":97,' "$dir/want" >"$dir/want.kept"
cp "$dir/want.kept" "$dir/want"
produce 98 gamma 500
produce 98 alpha 50
run && fail "an offset out of range passes"
grep -q 'gamma:[0-9]*: saved offset out of range' "$dir/log" || fail "the partition is not named"
grep -v '"topic":"gamma","round":98,' "$dir/want" >"$dir/want.alpha"
mv "$dir/want" "$dir/want.all"; cp "$dir/want.alpha" "$dir/want"
judge "out of range: the others"
cp "$dir/want.all" "$dir/want"
run -D kafka.move.to.earliest.offset=true || fail "move to earliest"
judge "move to earliest"

# Set back by hand: what was read since is read again, into the same names only where they are gone.
produce 99 beta.one 300
run || fail "before the reset"
"$CAMUS" reset beta.one --to latest -P "$dir/job.properties" >"$dir/log" 2>&1 || fail "reset"
grep -q 'recorded as manifest' "$dir/log" || fail "the reset is not recorded"
run || fail "after a reset to the newest"
grep -q 'nothing committed' "$dir/log" || fail "a reset to the newest brings something"
"$CAMUS" reset beta.one:0 --to 999999999 -P "$dir/job.properties" >"$dir/log" 2>&1 && fail "a reset behind the end"
grep -q 'offset 999999999 is not in Kafka' "$dir/log" || fail "the offset is not named"
"$CAMUS" reset beta.one --to earliest -P "$dir/job.properties" >"$dir/log" 2>&1 || fail "reset"
"$CAMUS" plan -P "$dir/job.properties" >"$dir/log" 2>&1
grep -q 'at most 1800 records' "$dir/log" || fail "a reset to the oldest is not planned"
"$CAMUS" reset beta.one --to latest -P "$dir/job.properties" >"$dir/log" 2>&1 || fail "reset back"
judge "resets"

# Audit counts: those of a run that dies while telling come again under the same keys.
produce 100 alpha 700
produce 100 beta.one 300
PENSTOCK_CAMUS_KILL_AT=counts run -D etl.run.tracking.post=true -D kafka.monitor.tier=hdfs
[ $? = 137 ] || fail "not killed at the counts"
run -D etl.run.tracking.post=true -D kafka.monitor.tier=hdfs || fail "the run after a kill at the counts"
judge "counts"
kcat -C -b "$KAFKA_BS" -t TrackingMonitoringEvent -o beginning -e -q -f '%k\t%s\n' >"$dir/counts" || fail "kcat"
python3 - "$dir/counts" "$dir"/base/history/*/counts.* <<-'EOF' || fail "counts"
	import json, sys
	sent = {}
	for line in open(sys.argv[1]):
	    key, value = line.split("\t")
	    assert sent.setdefault(key, value) == value, key
	by_topic, ends = {}, set()
	for key, value in sent.items():
	    key, value = json.loads(key), json.loads(value)
	    assert key["tier"] == "hdfs" and value["endTimestamp"] - value["beginTimestamp"] == 600000, value
	    by_topic[key["topic"]] = by_topic.get(key["topic"], 0) + value["count"]
	assert by_topic == {"alpha": 700, "beta.one": 300}, by_topic
	stored = {t["topic"]: sum(c["count"] for c in t["counts"].values()) for t in json.load(open(sys.argv[2]))}
	assert stored == by_topic, stored
	EOF

# Counts of another tier: windows that differ are named; who tells twice counts once; what is not loaded to its end is not judged.
other() {	# topic window count run
	printf '{"eventType":"%s","tier":"agents","beginTimestamp":%s,"endTimestamp":0,"count":%s%s}\n' "$1" "$2" "$3" "${4:+,\"run\":\"$4\"}"
}
set -- -P "$dir/job.properties" -D kafka.monitor.tier=hdfs
"$CAMUS" compare "$@" >"$dir/log" 2>&1
[ $? = 2 ] || fail "compare without --tier"
"$CAMUS" compare --tier hdfs "$@" >"$dir/log" 2>&1 && fail "compared with itself"
python3 - "$dir/counts" >"$dir/other" <<-'EOF'
	import json, sys
	sums = {}
	for key, value in dict(line.rstrip("\n").split("\t") for line in open(sys.argv[1])).items():
	    key, value = json.loads(key), json.loads(value)
	    at = key["topic"], key["window"]
	    sums[at] = sums.get(at, 0) + value["count"]
	    assert value["count"] == sum(s["count"] for s in value["services"]), value
	for (topic, window), count in sorted(sums.items()):
	    for part, run in ((count // 2, "a"), (count - count // 2, "b"), (count // 2, "a")):
	        print(json.dumps({"eventType": topic, "tier": "agents", "beginTimestamp": window, "count": part, "run": run}))
	EOF
kcat -P -b "$KAFKA_BS" -t TrackingMonitoringEvent -l "$dir/other" || fail "kcat"
"$CAMUS" compare --tier agents "$@" >"$dir/log" 2>&1 || fail "the same counts of two tiers differ"
grep -q 'windows: [1-9][0-9]* the same, 0 differ' "$dir/log" || fail "no window was compared"
first=$(sed -n 's/.*"alpha".*"beginTimestamp": \([0-9]*\).*/\1/p' "$dir/other" | head -1)
other alpha "$first" 3 >"$dir/more"
other alpha "$((first - 600000))" 7 c >>"$dir/more"
other alpha 4102444800000 9 >>"$dir/more"
echo 'no counts' >>"$dir/more"
kcat -P -b "$KAFKA_BS" -t TrackingMonitoringEvent -l "$dir/more" || fail "kcat"
"$CAMUS" compare --tier agents "$@" >"$dir/log" 2>&1 && fail "counts that differ"
[ "$(grep -c '^alpha .*: hdfs [0-9]*, agents [0-9]* (-[37])$' "$dir/log")" = 2 ] || fail "the windows are not named"
grep -q '2 differ, [1-9][0-9]* not loaded to their end; 1 messages are no counts' "$dir/log" || fail "the summary of the comparison"
set --

# A file that another has the name of, a configuration with mistakes.
"$CAMUS" run -P "$dir/job.properties" -D etl.default.timezone=Mars/Olympus -D mapred.map.tasks=0 >"$dir/log" 2>&1
[ $? = 2 ] || fail "a bad number passes"
grep -q 'mapred.map.tasks' "$dir/log" || fail "the bad number is not named"
"$CAMUS" run -P "$dir/nothing" >"$dir/log" 2>&1
[ $? = 2 ] || fail "a missing file passes"
cat "$dir/judged"
exit 0
