#!/bin/bash
# What may go wrong with a run of penstock-camus: bad records, times from nowhere, partitions that fail, an audit topic that refuses, HDFS full, a
# broker that dies, bytes that rot on its disk. Each ends with the reason in the report, and the run after it has each record once.
# A real Kafka; this machine's files, and a WebHDFS double for what only HDFS says.
# usage: test_camus_bad.sh PENSTOCK_CAMUS KAFKA_TRANSACTIONS KAFKA_MOCK
set -u
CAMUS=$1
TRANSACTIONS=$2
MOCK=$3
HERE=$(cd "$(dirname "$0")" && pwd)
. "$HERE/../lib/kafka.sh"
kafka_jars || exit 77
dir=$(mktemp -d)
double=
trap 'kafka_kill; [ -n "$double" ] && kill $double 2>/dev/null; rm -rf "$dir"' EXIT
fail() { tail -n 20 "$dir/log" 2>/dev/null; echo "FAILED: $*"; exit 1; }
coproc DOUBLE { exec python3 "$HERE/../lib/webhdfs_double.py" 2>"$dir/double.log"; }
double=$DOUBLE_PID
KAFKA_MORE=log.cleaner.backoff.ms=200 kafka_start "$dir/kafka" || fail "no broker"
read -r hdfs <&"${DOUBLE[0]}" || fail "no WebHDFS double"
tool() { java -Xmx128m -XX:TieredStopAtLevel=1 -cp "$dir/kafka/tools:$KAFKA_HOME/libs/*" "$@" >>"$dir/tools.log" 2>&1; }
tool org.apache.kafka.tools.TopicCommand --bootstrap-server "$KAFKA_BS" --create --topic holes --partitions 1 --config cleanup.policy=compact \
	--config min.cleanable.dirty.ratio=0 --config segment.ms=100 --config delete.retention.ms=0 & makers=$!
for spec in hours:2 tx:1 rows:2 good:1 full:2 lost:2 rot:1; do tool org.apache.kafka.tools.TopicCommand --bootstrap-server "$KAFKA_BS" --create --topic "${spec%:*}" --partitions "${spec#*:}" & makers="$makers $!"; done
wait $makers

job() {	# root topics...: the settings of a job of its own
	local root=$1
	shift
	cat >"$dir/job.properties" <<-END
		etl.destination.path=$root/out
		etl.execution.base.path=$root/base
		etl.execution.history.path=$root/base/history
		camus.message.decoder.class=JsonStringMessageDecoder
		camus.message.timestamp.format=unix_milliseconds
		etl.record.writer.provider.class=StringRecordWriterProvider
		etl.max.percent.skipped.other=100
		kafka.whitelist.topics=$(IFS=,; echo "$*")
		kafka.brokers=$KAFKA_BS
		etl.default.timezone=UTC
	END
}
run() { { "$CAMUS" run -P "$dir/job.properties" --quiet "$@" >"$dir/log" 2>&1; } 2>/dev/null; }
say() { grep -q -- "$1" "$dir/log" || fail "not said: $1"; }
records() { find "$1" -type f -not -path '*/_penstock/*' -exec cat {} + 2>/dev/null | wc -l; }
put() { kcat -P -b "$KAFKA_BS" -t "$1" -p "$2" "${@:3}" || fail "kcat"; }
rows() { local i; for i in $(seq "$1" "$2"); do echo "{\"timestamp\":1396130000000,\"n\":$i}"; done; }

# ---- what would bring other things than records into the client's queue is refused by name
job "$dir/z" rows
run -D penstock.camus.kafka.statistics.interval.ms=100 && fail "statistics"
say 'penstock.camus.kafka.statistics.interval.ms: not supported'

# ---- decode failures (6.3): all counted and listed, the first ones kept, none read again; the records behind them come
job "$dir/a" rows
{ rows 1 10; for i in 1 2 3 4 5; do echo "bad $i"; done; } | put rows 0
rows 11 20 | put rows 1
run -D max.decoder.exceptions.to.print=2 || fail "bad records"
say 'undecodable 5'
errors=$(ls "$dir"/a/base/history/*/errors.jsonl)
[ "$(wc -l <"$errors")" = 5 ] && [ "$(grep -c payload_base64 "$errors")" = 2 ] || fail "errors: $(cat "$errors")"
[ "$(records "$dir/a/out")" = 20 ] || fail "$(records "$dir/a/out") records of 20"
run || fail "after bad records"
say 'nothing committed'
rows 21 25 | put rows 0
run || fail "behind bad records"
[ "$(records "$dir/a/out")" = 25 ] || fail "records behind bad ones"
echo "bad again" | put rows 0
run -D etl.fail.on.errors=true && fail "etl.fail.on.errors"
run -D etl.fail.on.errors=true || fail "an error counted twice"

# ---- tombstones: a policy, never the end of a partition
tombstone() { printf 'key:\n' | kcat -P -b "$KAFKA_BS" -t rows -p 1 -K: -Z || fail "kcat"; }
rows 26 26 | put rows 1
tombstone
rows 27 27 | put rows 1
run || fail "tombstones"
say 'without payload 1,'
[ "$(records "$dir/a/out")" = 27 ] || fail "$(records "$dir/a/out") records around tombstones"
tombstone
run -D penstock.camus.tombstones=error || fail "tombstones as errors"
say 'a record without a payload'

# ---- times from nowhere: a folder, or an error with its reason; never a crash, never a record lost without a word
far="-62135596800000 -9223372036854775808 9223372036854775807 -1 1 253402300800000 8640000000000000 -8640000000000000 9007199254740993 1e18 4102444800000"
for t in $far; do echo "{\"timestamp\":$t,\"n\":\"$t\"}"; done | put rows 0
run || fail "far times"
written=$(($(records "$dir/a/out") - 27)) wrong=$(grep -o 'undecodable [0-9]*' "$dir/log" | grep -o '[0-9]*')
[ $((written + wrong)) = "$(echo $far | wc -w)" ] || fail "$written written, $wrong in error of $(echo $far | wc -w)"
find "$dir/a/out" -path '*2100/01/01/00*' -type f | grep -q . || fail "2100 has no folder"
echo "far times: $written written, $wrong refused"
for t in $far; do echo "{\"timestamp\":$t,\"n\":\"$t\"}"; done | put rows 0
before=$(records "$dir/a/out")
run -D kafka.max.historical.days=3 || fail "far times with kafka.max.historical.days"
say 'too old [1-9]'
run -D kafka.max.historical.days=3 || fail "again"
say 'nothing committed'

# ---- limits (6.2): the first record behind the hours is still written; each partition gets some when a task's minutes are over; nothing is lost
job "$dir/h" hours
for m in 0 30 61 5 70 10; do echo "{\"timestamp\":$((1396130000000 + m * 60000)),\"n\":$m}"; done | put hours 0
run -D kafka.max.pull.hrs=1 || fail "hours"
say 'not fully pulled: kafka.max.pull.hrs = 1 reached'
[ "$(records "$dir/h/out")" = 3 ] || fail "$(records "$dir/h/out") records of an hour: want the three up to the first behind it"
run -D kafka.max.pull.hrs=1 && [ "$(records "$dir/h/out")" = 5 ] || fail "$(records "$dir/h/out") records after the second hour"
run -D kafka.max.pull.hrs=1 && [ "$(records "$dir/h/out")" = 6 ] || fail "$(records "$dir/h/out") records after the third hour"
rows 101 120 | put hours 0
rows 121 123 | put hours 1
run -D kafka.max.pull.minutes.per.task=0 || fail "minutes"
say 'not fully pulled: kafka.max.pull.minutes.per.task = 0 reached'
[ "$(records "$dir/h/out")" = 14 ] || fail "$(records "$dir/h/out") records when the minutes are over: want five of one partition and three of the other"
run && [ "$(records "$dir/h/out")" = 29 ] || fail "$(records "$dir/h/out") records behind the minutes"

# ---- transactions: what was taken back does not come, markers and holes end no partition early and hold none up; what is undecided comes later
job "$dir/x" tx
transactions() { "$TRANSACTIONS" "$KAFKA_BS" tx 0 || fail "transactions"; }
rows 1 2 | put tx 0
printf '%s\n' 'commit 20 one' 'abort 30 two' 'commit 5 three' 'abort 7 four' | transactions
run || fail "transactions"
[ "$(records "$dir/x/out")" = 27 ] || fail "$(records "$dir/x/out") records of transactions: want 27"
find "$dir/x/out" -type f -exec cat {} + | grep -E '"(two|four) ' && fail "records that were taken back"
run || fail "nothing new behind markers"
say 'nothing committed'
printf '%s\n' 'commit 4 five' 'open 6 six' | transactions
run && [ "$(records "$dir/x/out")" = 31 ] || fail "$(records "$dir/x/out") records before an open transaction: want 31"
run && say 'nothing committed'
printf '%s\n' 'commit 3 seven' | transactions	# begins by ending the one that was left open
run && [ "$(records "$dir/x/out")" = 34 ] || fail "$(records "$dir/x/out") records behind an open transaction: want 34"
find "$dir/x/out" -type f -exec cat {} + | grep '"six ' && fail "records of a transaction that never was decided"
run -D penstock.camus.kafka.isolation.level=read_uncommitted -D etl.destination.path="$dir/y/out" -D etl.execution.base.path="$dir/y/base" \
	-D etl.execution.history.path="$dir/y/base/history" && [ "$(records "$dir/y/out")" = 77 ] || fail "$(records "$dir/y/out") records uncommitted: want 77"

# ---- compaction: where the last record that was read is gone nothing proves that the log is the same, and the report says so; what is left comes once
job "$dir/k" holes
keyed() { local key; for key in "$@"; do printf '%s|{"timestamp":1396130000000,"key":"%s"}\n' "$key" "$key"; done | kcat -P -b "$KAFKA_BS" -t holes -K '|' || fail "kcat"; }
offsets() { kcat -C -b "$KAFKA_BS" -t holes -o beginning -e -q -f '%o ' || fail "kcat"; }
compacted() {	# offsets that are left of all but the active segment, which a record of its own ends
	local left i
	sleep 0.2	# the segment's time
	keyed "$2"
	for i in $(seq 600); do left=$(offsets); [ "$left" = "$1" ] && return; sleep 0.2; done
	fail "compaction leaves $left, not $1"
}
keyed a b c d e f g h i j
run && [ "$(records "$dir/k/out")" = 10 ] || fail "$(records "$dir/k/out") records before compaction"
grep -q 'identity not proven' "$dir/log" && fail "a first run has nothing to prove"
keyed k
run || fail "before compaction"
grep -q 'holes:0: identity not proven' "$dir/log" && fail "the last record is there, and proves nothing"
say 'identity proven 1, not proven 0'
keyed k a b c
compacted "3 4 5 6 7 8 9 11 12 13 14 15 " end1
run -D kafka.move.to.earliest.offset=true || fail "behind compaction"
say 'holes:0: identity not proven'
say 'identity proven 0, not proven 1'
[ "$(records "$dir/k/out")" = 16 ] || fail "$(records "$dir/k/out") records behind compaction: want 16"
run && say 'nothing committed'
# the saved offset itself is in a hole, and so is most of what is new
keyed x x x x end1
compacted "3 4 5 6 7 8 9 11 12 13 14 19 20 21 " end2
"$CAMUS" plan -P "$dir/job.properties" >"$dir/log" 2>&1 || fail "plan into a hole"
say 'at most 6 records'
say 'identity not proven'
"$CAMUS" run -P "$dir/job.properties" --quiet --json >"$dir/report" 2>"$dir/log" || fail "a run out of a hole"
python3 - "$dir/report" <<-'END' || fail "the report of a hole"
	import json, sys
	part, = json.load(open(sys.argv[1]))["partitions"]
	assert part["next"] == 22 and part["records"] == 3 and part["identity_proven"] is False, part
END
[ "$(records "$dir/k/out")" = 19 ] || fail "$(records "$dir/k/out") records out of a hole: want 19"
run && say 'nothing committed'
keyed last
run && [ "$(records "$dir/k/out")" = 20 ] || fail "$(records "$dir/k/out") records behind a hole: want 20"
say 'identity proven 1, not proven 0'

# ---- two topics that fall into one folder: refused by name (Kafka itself makes no such second one today)
coproc CLASH { exec "$MOCK" fold.a.b other fold.a_b; }
clash=$CLASH_PID
read -r brokers <&"${CLASH[0]}" || fail "no brokers of two topics"
job "$dir/q" 'fold.*,other'
for how in plan run; do
	"$CAMUS" $how -P "$dir/job.properties" -D kafka.brokers="$brokers" >"$dir/log" 2>&1 && fail "$how: two topics of one folder"
	grep -q 'topics fold.a[._]b and fold.a[._]b have the same folder, fold_a_b: put one of them into kafka.blacklist.topics' "$dir/log" || fail "$how: the topics are not named"
done
[ -z "$(find "$dir/q" -name 'data-*' -o -name 'manifest*')" ] || fail "something is left of a refused run"
"$CAMUS" plan -P "$dir/job.properties" -D kafka.brokers="$brokers" -D kafka.blacklist.topics=fold.a_b >"$dir/log" 2>&1 || fail "one of the two topics"
eval "exec ${CLASH[1]}>&-"
wait $clash 2>/dev/null

# ---- a destination that is in another file system than the state
run -D etl.execution.base.path="webhdfs://127.0.0.1:$hdfs/base" && fail "two file systems"
say 'not in the file system of etl.destination.path'

# ---- 9.2: one task's partitions fail, the others commit (or nothing, when asked)
job "$dir/b" rows good
rows 1 10 | put good 0
run -D camus.message.decoder.class.rows=flume -D penstock.camus.commit=full && fail "a failed partition passes"
say 'nothing is committed'
[ "$(records "$dir/b/out")" = 0 ] || fail "penstock.camus.commit = full commits a part"
run -D camus.message.decoder.class.rows=flume && fail "a failed partition passes"
say "cannot be written by"
[ "$(records "$dir/b/out")" = 10 ] || fail "the good partition was not committed"
run || fail "the failed partitions, later"
[ "$(find "$dir/b/out/good" -type f -exec cat {} + | wc -l)" = 10 ] || fail "the good partition came twice"
[ "$(find "$dir/b/out/rows" -type f -exec cat {} + | wc -l)" = $((27 + 2 * written)) ] || fail "the failed partition is not whole"

# ---- 9.2: audit counts cannot be posted: the data is there, the run fails, the next one posts
tool org.apache.kafka.tools.TopicCommand --bootstrap-server "$KAFKA_BS" --create --topic TrackingMonitoringEvent --partitions 1 --config max.message.bytes=20 || fail "audit topic"
rows 11 20 | put good 0
run -D etl.run.tracking.post=true && fail "counts that cannot be posted"
say 'TrackingMonitoringEvent'
tool kafka.admin.ConfigCommand --bootstrap-server "$KAFKA_BS" --alter --entity-type topics --entity-name TrackingMonitoringEvent --add-config max.message.bytes=1000000 || fail "audit topic"
run -D etl.run.tracking.post=true || fail "counts that can be posted again"
kcat -C -b "$KAFKA_BS" -t TrackingMonitoringEvent -o beginning -e -q | grep -q '"count":10' || fail "the counts were not posted"
[ "$(find "$dir/b/out/good" -type f -exec cat {} + | wc -l)" = 20 ] || fail "records around the counts"

# ---- HDFS: full, over quota, refusing, standing by, one file of many; then each record once. Few calls where nothing is new.
job "webhdfs://127.0.0.1:$hdfs/user/etl" full
ask() { curl -sf "http://127.0.0.1:$hdfs/$1" || fail "double: $1"; }
tree() { ask tree | python3 -c 'import json, sys; print("\n".join(p for p in json.load(sys.stdin) if "/out/" in p and "_penstock" not in p))'; }
loaded() { tree | awk -F. 'NF > 3 { n += $(NF - 2) } END { print n + 0 }'; }
wanted=0
for kind in space quota denied lost_after; do
	rows 1 30 | put full 0
	rows 31 60 | put full 1
	ask "fault?op=SEND&kind=$kind&count=1000&path=_penstock/2" >/dev/null
	if run -D penstock.camus.stall_timeout=3s; then
		[ $kind = lost_after ] || fail "HDFS says $kind and the run passes"
	else
		say 'full:[01]'
	fi
	[ "$(loaded)" = $wanted ] || [ $kind = lost_after ] || fail "something was committed though HDFS says $kind"
	ask calm >/dev/null
	run || fail "the run after $kind"
	wanted=$((wanted + 60))
	[ "$(loaded)" = $wanted ] || fail "$(loaded) records of $wanted after $kind"
done
# the rename that publishes, the manifest's, the history's
for path in /out/_penstock/ /base/_penstock/manifest /base/_penstock/2; do
	for kind in lost_before lost_after denied; do
		rows 1 7 | put full 0
		wanted=$((wanted + 7))
		ask "fault?op=RENAME&kind=$kind&count=1&path=$path" >/dev/null
		run || run || fail "$kind at a rename of $path"
		[ "$(loaded)" = $wanted ] || fail "$(loaded) records of $wanted after $kind at a rename of $path"
	done
done
# killed at each point (a process that dies in the middle of its calls): the next run has each record once
for point in pull before-manifest manifest-written manifest-renamed publish:1 publish:2 published history counts group done; do
	rows 1 9 | put full 0
	rows 10 18 | put full 1
	wanted=$((wanted + 18))
	PENSTOCK_CAMUS_KILL_AT=$point run -D etl.run.tracking.post=true
	[ $? = 137 ] || fail "not killed at $point"
	[ $point != manifest-renamed ] || { PENSTOCK_CAMUS_KILL_AT=recovered run; [ $? = 137 ] || fail "not killed while recovering"; }
	run || fail "the run after a kill at $point"
	[ "$(loaded)" = $wanted ] || fail "$(loaded) records of $wanted after a kill at $point"
done
calls() { local n=0 op; for op in GETFILESTATUS LISTSTATUS MKDIRS RENAME DELETE OPEN CREATE APPEND GETCONTENTSUMMARY CONCAT; do n=$((n + $(ask "count?op=$op"))); done; echo $n; }
before=$(calls)
run || fail "nothing new"
say 'nothing committed'
now=$(calls)
[ $((now - before)) -lt 10 ] || fail "$((now - before)) calls to the NameNode for nothing new"
echo "nothing new: $((now - before)) calls to the NameNode"

# Credentials that are asked for and not there.
HADOOP_TOKEN_FILE_LOCATION=$dir/nowhere run && fail "a credentials file that is not there"
say "$dir/nowhere (HADOOP_TOKEN_FILE_LOCATION): cannot be read: No such file"
printf 'HDTS\000\000\000' >"$dir/tokens"	# as a job's on a cluster without security
HADOOP_TOKEN_FILE_LOCATION=$dir/tokens run || fail "a credentials file without a token for HDFS, on a cluster without security"

# Old executions go by the share of the base path's quota of names.
for i in 1 2 3 4 5 6 7 8 9; do
	echo x | curl -sf -T - "http://127.0.0.1:$hdfs/dn/user/etl/base/history/2013-01-0$i-00-00-00/offsets-previous?op=CREATE" >/dev/null ||
		fail "old executions"
done
entries=$(curl -sf "http://127.0.0.1:$hdfs/webhdfs/v1/user/etl/base?op=GETCONTENTSUMMARY" | python3 -c 'import json, sys; s = json.load(sys.stdin)["ContentSummary"]; print(s["fileCount"] + s["directoryCount"])')
old() { ask tree | python3 -c 'import json, sys; print(sum("/history/2013-" in p and p.endswith("previous") for p in json.load(sys.stdin)))'; }
ask "names?path=/user/etl/base&quota=$((entries * 5))" >/dev/null
run || fail "a wide quota of names"
[ "$(old)" = 9 ] || fail "$(old) of 9 old executions with a wide quota of names"
ask "names?path=/user/etl/base&quota=$((entries * 2 - 10))" >/dev/null
run || fail "a quota of names"
[ "$(old)" -ge 1 ] && [ "$(old)" -le 6 ] || fail "$(old) of 9 old executions with a quota of names, half of it for us"
run -D etl.execution.history.max.of.quota=0.1 || fail "a tenth of the quota of names"
[ "$(old)" = 0 ] || fail "$(old) old executions with a tenth of the quota of names"

# ---- a broker that dies while it is read: what was read counts, the rest is the next run's
job "$dir/c" lost
python3 -c 'for i in range(300000): print("{\"timestamp\":%d,\"n\":%d,\"text\":\"%s\"}" % (1396130000000 + i, i, "x" * 200))' >"$dir/big"
half=150000
head -n $half "$dir/big" | put lost 0 & p1=$!
tail -n $half "$dir/big" | put lost 1 & p2=$!
wait $p1 $p2
PENSTOCK_CAMUS_HOLD_AT=records "$CAMUS" run -P "$dir/job.properties" --quiet -D penstock.camus.memory=4m -D penstock.camus.stall_timeout=3s -D kafka.timeout.value=2000 \
	>"$dir/log" 2>&1 & running=$!
held $running || fail "the run does not come to its first records"
kafka_kill
kill -CONT $running
wait $running && fail "a broker lost, and the run passes"
say 'lost:[01]'
kafka_restart "$dir/kafka" || fail "the broker again"
run || fail "the broker is back"
[ "$(records "$dir/c/out")" = 300000 ] || fail "$(records "$dir/c/out") records of 300000"
find "$dir/c/out" -type f -not -path '*/_penstock/*' -exec cat {} + | sort -u | wc -l | grep -qx 300000 || fail "records twice"
kafka_stop
run -D kafka.timeout.value=1000 && fail "no broker at all"
say "kafka.brokers $KAFKA_BS: no broker answers"

# ---- bytes that rot on the broker's disk: the batch's checksum says so; the partition ends there, every run says how to go on behind it
kafka_restart "$dir/kafka" || fail "the broker again"
job "$dir/d" rot
for first in 1 11 21; do	# a batch each
	rows $first $((first + 9)) >"$dir/ten"
	put rot 0 -X linger.ms=2000 <"$dir/ten"
done
kafka_stop
python3 - "$dir"/kafka/data/rot-0/*.log <<-'END'
	import sys
	data = bytearray(open(sys.argv[1], "rb").read())
	at = data.index(b'"n":15')
	data[at + 4] ^= 2
	open(sys.argv[1], "wb").write(data)
END
kafka_restart "$dir/kafka" || fail "the broker again"
for _ in 1 2; do
	run && fail "a broken batch passes"
	say 'rot:0'
	say 'CRC32C'
	say 'penstock-camus reset rot:0 --to OFFSET'
	[ "$(records "$dir/d/out")" = 10 ] || fail "$(records "$dir/d/out") records before a broken batch"
done
"$CAMUS" reset rot:0 --to 20 -P "$dir/job.properties" >"$dir/log" 2>&1 || fail "reset"
run || fail "the run behind a broken batch"
[ "$(records "$dir/d/out")" = 20 ] || fail "$(records "$dir/d/out") records around a broken batch"
exit 0
