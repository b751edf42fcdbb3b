#!/bin/bash
# penstock-camus with many topics of 4 partitions: its memory stays within penstock.camus.memory and a fixed part, and with nothing new it ends soon
# and hardly asks the NameNode. A real Kafka, this machine's files, a WebHDFS of the tests' own that counts calls.
# usage: test_camus_many.sh PENSTOCK_CAMUS KAFKA_TOPICS     CHECK_LONG=1: 1,000 topics instead of 100
set -u
CAMUS=$1 MANY=$2
HERE=$(cd "$(dirname "$0")" && pwd)
. "$HERE/../lib/kafka.sh"
kafka_jars || exit 77
topics=100 records=500 memory=32
[ "${CHECK_LONG-}" = 1 ] && topics=1000 records=250 memory=64
parts=$((topics * 4))
fixed=48		# MB: the program with its libraries, and what librdkafka holds for each partition it knows
dir=$(mktemp -d)
trap 'kafka_kill; exec 8>&-; rm -rf "$dir"' EXIT
fail() { echo "FAILED: $*"; tail -n 20 "$dir/log" 2>/dev/null; exit 1; }
kafka_start "$dir/kafka" || fail "no broker"
mkfifo "$dir/in"
python3 "$HERE/../lib/webhdfs_double.py" <"$dir/in" >"$dir/double" & exec 8>"$dir/in"
"$MANY" "$KAFKA_BS" many $topics 4 $records 200 || fail "no topics"
hdfs=$(head -n 1 "$dir/double")
cat >"$dir/job.properties" <<EOF
kafka.brokers=$KAFKA_BS
kafka.whitelist.topics=many-.*
camus.message.decoder.class=string
etl.record.writer.provider.class=StringRecordWriterProvider
etl.default.timezone=UTC
penstock.camus.memory=${memory}m
penstock.camus.tasks=2
EOF
at() { echo "-D etl.destination.path=$1/out -D etl.execution.base.path=$1/base -D etl.execution.history.path=$1/base/history"; }
# Runs it; prints seconds and peak memory in MB.
measured() {
	python3 - "$dir/log" "$CAMUS" run -P "$dir/job.properties" --quiet --json "$@" <<-'EOF'
	import os, subprocess, sys, time
	began = time.monotonic()
	with open(sys.argv[1], "w") as log:
	    run = subprocess.Popen(sys.argv[2:], stdout=log, stderr=log)
	    _, status, used = os.wait4(run.pid, 0)
	print(f"{time.monotonic() - began:.2f} {used.ru_maxrss // 1024}")
	sys.exit(status != 0)
	EOF
}
got=$(measured $(at "$dir")) || fail "the run"
read -r seconds peak <<<"$got"
grep -q "\"written\": $((parts * records))," "$dir/log" || fail "not $((parts * records)) records"
[ "$(find "$dir/out" -type f -not -path '*/_penstock/*' -exec cat {} + | wc -l)" = $((parts * records)) ] || fail "not $((parts * records)) records in files"
echo "$parts partitions, $((parts * records * 200 / 1000000)) MB of records: $seconds s, $peak MB at most, penstock.camus.memory = $memory MB"
[ "$peak" -le $((memory + fixed)) ] || fail "$peak MB with penstock.camus.memory = $memory MB"
# Nothing new: into HDFS, of which the newest offsets are the start.
ops="GETFILESTATUS LISTSTATUS MKDIRS RENAME DELETE OPEN CREATE APPEND GETCONTENTSUMMARY CONCAT"
calls() { local n=0 op; for op in $ops; do n=$((n + $(curl -sf "http://127.0.0.1:$hdfs/count?op=$op"))); done; echo $n; }
hdfs_at=$(at "webhdfs://127.0.0.1:$hdfs/user/etl")
measured $hdfs_at -D kafka.move.to.last.offset.list=all >/dev/null || fail "the run that begins at the newest offsets"
grep -q '"manifest": 1' "$dir/log" || fail "no manifest"
before=$(calls)
got=$(measured $hdfs_at) || fail "nothing new"
read -r seconds peak <<<"$got"
grep -q '"records": 0,' "$dir/log" || fail "something new"
now=$(calls)
echo "$parts partitions, nothing new: $seconds s, $peak MB at most, $((now - before)) calls to the NameNode"
[ $((now - before)) -lt 10 ] || fail "$((now - before)) calls to the NameNode for nothing new"
[ "$peak" -le $((memory + fixed)) ] || fail "$peak MB with penstock.camus.memory = $memory MB and nothing new"
exit 0
