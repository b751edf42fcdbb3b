#!/bin/bash
# Camus's history: written after each run, read by Hadoop's SequenceFile reader; taken over from Camus; pruned; errors with their records;
# backfill and redo. A real Kafka, this machine's files.
# usage: test_camus_history.sh PENSTOCK_CAMUS
set -u
CAMUS=$1
HERE=$(cd "$(dirname "$0")" && pwd)
. "$HERE/../lib/kafka.sh"
. "$HERE/../lib/hadoop.sh"
command -v javac >/dev/null || { echo "SKIP: no javac (apt-get install openjdk-17-jdk-headless)"; exit 77; }
kafka_jars || exit 77
hadoop_jars || exit 77
dir=$(mktemp -d)
trap 'kafka_kill; rm -rf "$dir"' EXIT
fail() { tail -n 20 "$dir/log" 2>/dev/null; echo "FAILED: $*"; exit 1; }
mkdir "$dir/classes"
javac -nowarn -cp "$HADOOP_HOME/libs/*" -d "$dir/classes" "$HERE"/java/CamusHistory.java "$HERE"/java/com/linkedin/camus/etl/kafka/common/*.java \
	>"$dir/javac.log" 2>&1 & javac=$!
kafka_start "$dir/kafka" || fail "no broker"
wait $javac || fail "javac: $(cat "$dir/javac.log")"
history() { java -Xmx128m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp "$dir/classes:$HADOOP_HOME/libs/*" CamusHistory "$@" 2>"$dir/java.log" || fail "Hadoop's reader: $(cat "$dir/java.log")"; }
topic() { java -Xmx128m -XX:TieredStopAtLevel=1 -cp "$dir/kafka/tools:$KAFKA_HOME/libs/*" org.apache.kafka.tools.TopicCommand --bootstrap-server "$KAFKA_BS" \
	--create --topic "$1" --partitions "$2" >>"$dir/topics.log" 2>&1; }
topic one 2 & t1=$!
topic two 1 & t2=$!
wait $t1 $t2

cat >"$dir/job.properties" <<-END
	etl.destination.path=$dir/out
	etl.execution.base.path=$dir/base
	etl.execution.history.path=$dir/base/history
	camus.message.decoder.class=JsonStringMessageDecoder
	camus.message.timestamp.format=unix_milliseconds
	etl.record.writer.provider.class=StringRecordWriterProvider
	kafka.whitelist.topics=one,two
	kafka.brokers=$KAFKA_BS
	etl.default.timezone=UTC
END
camus() { { "$CAMUS" "$@" -P "$dir/job.properties" >"$dir/log" 2>&1; } 2>/dev/null; }
run() { camus run --quiet "$@"; }
newest() { ls "$dir/base/history" | sort | tail -1; }
number=0
send() {	# topic partition count: records of 2014-03-29 22:00 UTC and later, a minute apart
	local i
	for i in $(seq "$3"); do
		echo "{\"timestamp\":$((1396130400000 + number * 60000)),\"n\":$number}"
		number=$((number + 1))
	done >"$dir/in"
	kcat -P -b "$KAFKA_BS" -t "$1" -p "$2" -l "$dir/in" || fail "kcat"
}
records() { find "$1" -type f -not -path '*/_penstock/*' -exec cat {} + 2>/dev/null | wc -l; }

# A run, an execution: one entry a partition, errors with their records.
send one 0 30
send one 1 20
send two 0 10
printf 'no json at all' | kcat -P -b "$KAFKA_BS" -t two -p 0
run -D etl.max.percent.skipped.other=50 || fail "first run"
[ "$(newest | tr 0-9 d)" = dddd-dd-dd-dd-dd-dd ] || fail "the execution is called $(newest)"
at=$dir/base/history/$(newest)
history read "$at/offsets-m-00000" "$at/requests.previous" "$at/errors-m-00000" >"$dir/read"
[ "$(find "$at" -name 'offsets*' | wc -l)" = 1 ] || fail "more than one file of offsets"
[ "$(grep '^key' "$dir/read" | head -3 | cut -d' ' -f2-5 | sort | tr '\n' ',')" = "one 0 29 30,one 1 19 20,two 0 10 11," ] || fail "offsets: $(cat "$dir/read")"
[ "$(grep -c '^key.*(null)' "$dir/read")" = 3 ] || fail "not one entry a partition: $(cat "$dir/read")"
[ "$(grep '^request' "$dir/read" | sort | cut -d' ' -f2-5 | tr '\n' ',')" = "one 0 0 30,one 1 0 20,two 0 0 11," ] || fail "requests: $(cat "$dir/read")"
grep -q '^key two 0 10 11 .*payload=no json at all no JSON' "$dir/read" || fail "the record is not with its error: $(cat "$dir/read")"
grep -q '^key one 0 29 30 time=1396132140000 size=3[0-9] server=unknown_server leader=\[\]' "$dir/read" || fail "the entry: $(cat "$dir/read")"

# Killed before, while and behind giving the execution its name: the next run has it, once.
for point in before-manifest manifest-renamed published history group; do
	send one 0 3
	PENSTOCK_CAMUS_KILL_AT=$point run
	[ $? = 137 ] || fail "not killed at $point"
	run || fail "the run after a kill at $point"
	at=$dir/base/history/$(newest)
	history read "$at/offsets-m-00000" >"$dir/read"
	grep -q "^key one 0 [0-9]* $(kcat -Q -b "$KAFKA_BS" -t one:0:-1 | grep -o '[0-9]*$') " "$dir/read" || fail "offsets after a kill at $point: $(cat "$dir/read")"
done
[ -n "$(find "$dir/base/_penstock" -mindepth 1 -type d)" ] && [ "$(find "$dir/base/_penstock" -mindepth 1 -type d | wc -l)" -gt 1 ] && fail "executions are left behind"
touch -d '2 days ago' "$dir"/base/_penstock/2* "$dir"/out/_penstock/2* 2>/dev/null
run
[ -z "$(find "$dir/base/_penstock" "$dir/out/_penstock" -mindepth 1 -type d)" ] || fail "folders of dead runs stay"
[ "$(records "$dir/out")" = 75 ] || fail "$(records "$dir/out") records of 75"

# The history cannot be written: said, and made good by the next run.
send two 0 5
mv "$dir/base/history" "$dir/base/history.away"; : >"$dir/base/history"
run && fail "a run whose history cannot be written"
grep -q "$dir/base/history" "$dir/log" || fail "the folder is not named"
rm "$dir/base/history"; mv "$dir/base/history.away" "$dir/base/history"
run || fail "the run after it"
history read "$dir/base/history/$(newest)/offsets-m-00000" | grep -q '^key two 0 [0-9]* 16 ' || fail "the history was not made good"

# Camus has run since: stopped by name, with both remedies; then taken over.
mkdir "$dir/base/history/2099-01-01-00-00-00"
history write RECORD "$dir/base/history/2099-01-01-00-00-00/offsets-previous" one:0:40:1396130400000:50 one:1:20:1396130400000:50 two:0:16:1396130400000:50
history write BLOCK "$dir/base/history/2099-01-01-00-00-00/offsets-m-00003" one:0:45:1396130400000:60
send one 0 5
run && fail "a run behind Camus's back"
grep -q '2099-01-01-00-00-00 in the history' "$dir/log" && grep -q 'penstock-camus import' "$dir/log" && grep -q 'move that folder away' "$dir/log" ||
	fail "the remedies are not named"
camus plan && fail "a plan behind Camus's back"
mkdir "$dir/base/2099-02-01-00-00-00"
camus import && fail "an import while Camus runs"
grep -q '2099-02-01-00-00-00' "$dir/log" || fail "the running execution is not named"
rmdir "$dir/base/2099-02-01-00-00-00"
camus import || fail "import"
grep -q '^one:0: 45$' "$dir/log" && grep -q '^one:1: 20$' "$dir/log" && grep -q '^two:0: 16$' "$dir/log" || fail "what was imported: $(cat "$dir/log")"
camus import && fail "a second import"
grep -q 'nothing to import' "$dir/log" || fail "the second import"
run || fail "the run after an import"
grep -q 'identity not proven: offset 45 was set or imported' "$dir/log" || fail "the import is not said to be unproven"
[ "$(newest)" = 2099-01-01-00-00-01 ] || fail "the execution behind Camus's is called $(newest)"
# Broken and foreign files are refused by name, a first run is not begun beside a history.
cp -r "$dir/base/history/2099-01-01-00-00-00" "$dir/base/history/2099-03-01-00-00-00"
truncate -s -7 "$dir/base/history/2099-03-01-00-00-00/offsets-previous"
camus import && fail "a cut file"
grep -q 'offsets-previous: broken or cut' "$dir/log" || fail "the cut file is not named"
rm -r "$dir/base/history/2099-03-01-00-00-00"
mkdir -p "$dir/fresh/history/2020-01-01-00-00-00" "$dir/fresh/history/2019-01-01-00-00-00"
cp "$dir/base/history/2099-01-01-00-00-00/"* "$dir/fresh/history/2020-01-01-00-00-00/"
history write NONE "$dir/fresh/history/2019-01-01-00-00-00/offsets-previous" one:0:7:1396130400000:50
fresh=(-D etl.execution.base.path="$dir/fresh" -D etl.execution.history.path="$dir/fresh/history" -D etl.destination.path="$dir/fresh.out")
run "${fresh[@]}" && fail "a first run beside Camus's history"
grep -q 'newer than any manifest' "$dir/log" || fail "the first run's reason"
camus import "${fresh[@]}" || fail "import as manifest 1"
grep -q 'imported as manifest 1' "$dir/log" || fail "not manifest 1"
run "${fresh[@]}" || fail "the run on an import"
[ "$(records "$dir/fresh.out")" = 5 ] || fail "$(records "$dir/fresh.out") records behind the import"

# Pruning: the oldest executions, then left-over folders, then manifests; never the newest.
for i in 01 02 03 04 05 06; do mkdir -p "$dir/fresh/history/2018-01-$i-00-00-00" "$dir/fresh/2018-02-$i-00-00-00"; : >"$dir/fresh/history/2018-01-$i-00-00-00/offsets-previous"; done
mkdir "$dir/fresh/keep-this"
entries=$(find "$dir/fresh" -mindepth 0 | wc -l)
run "${fresh[@]}" -D etl.basedir.quota.overide=$((entries - 5)) || fail "pruning"
[ "$(ls "$dir/fresh/history" | head -1)" = 2018-01-04-00-00-00 ] || fail "executions that stayed: $(ls "$dir/fresh/history")"
[ -d "$dir/fresh/2018-02-01-00-00-00" ] || fail "left-over folders go before executions"
last=$(ls "$dir/fresh/history" | sort | tail -1)
run "${fresh[@]}" -D etl.basedir.quota.overide=1 || fail "pruning all"
[ "$(ls "$dir/fresh/history")" = "$last" ] || fail "not only the newest stays: $(ls "$dir/fresh/history")"
[ -e "$dir/fresh/2018-02-06-00-00-00" ] && fail "left-over folders stay"
[ -d "$dir/fresh/keep-this" ] || fail "something else was removed"
ls "$dir/fresh/_penstock" | grep -q manifest || fail "the manifest was removed"

# Reset is in the history too.
camus reset one:0 --to 12 || fail "reset"
history read "$dir/base/history/$(newest)/offsets-m-00000" | grep -q '^key one 0 12 12 ' || fail "the reset is not in the history"
camus reset one:0 --to latest || fail "reset"

# Backfill: by Kafka's time index, into a tree of its own; saved offsets stay.
kcat -C -b "$KAFKA_BS" -t one -p 0 -o beginning -e -q -f '%T %s\n' >"$dir/log.one"
from=$(sed -n 20p "$dir/log.one" | cut -d' ' -f1) to=$(tail -1 "$dir/log.one" | cut -d' ' -f1)
want=$(kcat -C -b "$KAFKA_BS" -t one -o beginning -e -q -f '%T\n' | awk -v f="$from" -v t="$to" '$1 >= f && $1 < t' | wc -l)
[ "$want" -gt 5 ] || fail "no records to fill back"
saved=$(ls "$dir/base/_penstock")
fill=(backfill one --from "@$from" --to "@$to" --into "$dir/again" --quiet)
for point in pull manifest-renamed publish:1 published; do
	PENSTOCK_CAMUS_KILL_AT=$point camus "${fill[@]}"
	[ $? = 137 ] || fail "backfill not killed at $point: $(cat "$dir/log")"
	[ $point = pull ] && continue
	camus "${fill[@]}" || fail "backfill after a kill at $point"
	[ "$(records "$dir/again")" = "$want" ] || fail "$(records "$dir/again") records filled back of $want"
	camus "${fill[@]}" && fail "filled back twice"
	grep -q 'has done this' "$dir/log" || fail "what was filled back is not named"
	rm -r "$dir/again"
done
camus backfill one --from 2001-01-01T00:00:00Z --to 2002-01-01T00:00:00Z --into "$dir/again" --quiet || fail "an empty time"
camus backfill one --from 2002-01-01T00:00:00Z --to 2001-01-01T00:00:00Z --into "$dir/again" --quiet && fail "a time backwards"
[ "$(ls "$dir/base/_penstock")" = "$saved" ] || fail "the job's state was touched"
run || fail "the run after a backfill"
grep -q 'nothing committed' "$dir/log" || fail "saved offsets were touched"

# Redo: _penstock was removed between the manifest and its files' names.
send one 0 40
send two 0 100
before=$(records "$dir/out")
PENSTOCK_CAMUS_KILL_AT=publish:2 run
[ $? = 137 ] || fail "not killed"
n=$(ls "$dir/base/_penstock" | grep -o 'manifest-[0-9]*$' | sort | tail -1 | grep -o '[1-9][0-9]*$')
camus redo "$n" --quiet && fail "a redo of what is there"
grep -q 'no file of manifest' "$dir/log" || fail "a redo of what is there is not refused by name"
PENSTOCK_CAMUS_KILL_AT=manifest-renamed run; run
send one 1 60
send two 0 61
PENSTOCK_CAMUS_KILL_AT=publish:2 run
[ $? = 137 ] || fail "not killed"
rm -r "$dir"/out/_penstock/2*
run && fail "files that are gone"
grep -q "penstock-camus redo $((n + 1)) " "$dir/log" || fail "redo is not named: $(cat "$dir/log")"
run && fail "files that are gone, again"
camus redo $((n + 5)) && fail "a redo of nothing"
for point in publish:1 pull manifest-renamed; do
	PENSTOCK_CAMUS_KILL_AT=$point camus redo $((n + 1)) --quiet
	[ $? = 137 ] || fail "redo not killed at $point: $(cat "$dir/log")"
done
run || fail "the run after a redo that was killed"
[ "$(records "$dir/out")" = $((before + 261)) ] || fail "$(records "$dir/out") records of $((before + 261)) after a redo"
find "$dir/out" -type f -not -path '*/_penstock/*' -exec cat {} + | sort | uniq -d | grep -q . && fail "a record twice after a redo"
camus redo $((n + 1)) && fail "a redo of what is finished"
# One file alone is taken out while the run looks on.
send two 0 7
PENSTOCK_CAMUS_KILL_AT=manifest-renamed run
rm -r "$dir"/out/_penstock/2*
run && fail "the only file is gone"
camus redo "$(ls "$dir/base/_penstock" | grep -o 'manifest-[0-9]*$' | sort | tail -1 | grep -o '[1-9][0-9]*$')" --quiet || fail "redo"
[ "$(records "$dir/out")" = $((before + 268)) ] || fail "$(records "$dir/out") records after the second redo"
run || fail "the run after the second redo"
# Files are gone, and Kafka no longer has all of their records: refused, then taken with the loss accepted, and said.
before=$(records "$dir/out")
send two 0 30
PENSTOCK_CAMUS_KILL_AT=manifest-renamed run
rm -r "$dir"/out/_penstock/2*
run && fail "files that are gone, and records too"
n=$(ls "$dir/base/_penstock" | grep -o 'manifest-[0-9]*$' | sort | tail -1 | grep -o '[1-9][0-9]*$')
end=$(kcat -Q -b "$KAFKA_BS" -t two:0:-1 | grep -o '[0-9]*$')
echo "{\"partitions\":[{\"topic\":\"two\",\"partition\":0,\"offset\":$((end - 12))}],\"version\":1}" >"$dir/delete.json"
java -Xmx128m -XX:TieredStopAtLevel=1 -cp "$dir/kafka/tools:$KAFKA_HOME/libs/*" org.apache.kafka.tools.DeleteRecordsCommand --bootstrap-server "$KAFKA_BS" \
	--offset-json-file "$dir/delete.json" >>"$dir/topics.log" 2>&1 || fail "records cannot be deleted"
camus redo "$n" --quiet && fail "a redo of records that are gone"
grep -q -- '--accept-loss' "$dir/log" || fail "--accept-loss is not named: $(cat "$dir/log")"
[ "$(records "$dir/out")" = "$before" ] || fail "a redo that was refused changes something"
camus redo "$n" --accept-loss --quiet || fail "--accept-loss"
grep -q 'two:0: lost: of offsets' "$dir/log" || fail "the loss is not told"
[ "$(records "$dir/out")" = $((before + 12)) ] || fail "$(records "$dir/out") records of $((before + 12)) behind an accepted loss"
run || fail "the run after an accepted loss"
send two 0 3
run || fail "the run behind it"
[ "$(records "$dir/out")" = $((before + 15)) ] || fail "$(records "$dir/out") records of $((before + 15)) in the end"
exit 0
