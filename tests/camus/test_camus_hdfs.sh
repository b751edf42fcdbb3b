#!/bin/bash
# penstock-camus from a real Kafka into a real HDFS: 5 topics, 20 partitions, several runs, killed at random moments; what Hadoop's own tools
# read back is judged by a program of its own.
# usage: test_camus_hdfs.sh PENSTOCK_CAMUS     CHECK_LONG=1: 30 kills instead of 8, 2 million records; CAMUS_ONLY=kills: up to them and the sweep
set -u
CAMUS=$1
HERE=$(cd "$(dirname "$0")" && pwd)
. "$HERE/../lib/kafka.sh"
. "$HERE/../lib/hadoop.sh"
. "$HERE/../lib/yarn.sh"
kafka_jars || exit 77
hadoop_jars || exit 77
yarn_jars || exit 77
kills=8 records=60000
[ "${CHECK_LONG-}" = 1 ] && kills=30 records=400000
seed=${CAMUS_SEED:-$RANDOM}
echo "seed $seed (CAMUS_SEED=$seed repeats the moments)"
RANDOM=$seed
dir=$(mktemp -d)
registry=
trap 'kafka_kill; yarn_stop; hadoop_stop; [ -n "$registry" ] && kill $registry 2>/dev/null; rm -rf "$dir"' EXIT
began=$SECONDS
step() { echo "  $1: $((SECONDS - began)) s"; began=$SECONDS; }
fail() { echo "FAILED: $*"; tail -n 20 "$dir/log" 2>/dev/null; exit 1; }
hadoop_start "$dir/hdfs" 1 || fail "no HDFS"
yarn_begin "$dir/yarn"	# comes up beside what follows
KAFKA_PARTITIONS=4 kafka_start "$dir/kafka" || fail "no broker"

step "the servers' start"

# Camus's own example, as it is but for the names of hosts: bare paths on the site's file system, Avro, all topics.
if /usr/bin/python3 -c 'import avro' 2>/dev/null; then
	port=$(hadoop_ports 1)
	mkdir "$dir/schemas" "$dir/messages"
	cat >"$dir/schemas/1.avsc" <<-'EOF'
	{"type":"record","name":"Click","fields":[{"name":"header","type":{"type":"record","name":"Head","fields":[{"name":"time","type":"long"},{"name":"server","type":"string"},{"name":"service","type":"string"}]}},{"name":"n","type":"int"},{"name":"page","type":"string"}]}
	EOF
	/usr/bin/python3 "$HERE/registry_double.py" "$port" "$dir/schemas" >"$dir/registry.log" 2>&1 & registry=$!
	within 60 curl -s -o "$dir/subjects" "http://127.0.0.1:$port/subjects" || fail "no registry"
	/usr/bin/python3 "$HERE/avro_messages.py" latest 200 "$dir/messages" || fail "messages"
	kcat -P -b "$KAFKA_BS" -t clicks "$dir"/messages/* || fail "kcat"
	sed "s/kafka.example.com:9092/$KAFKA_BS/; s/registry.example.com/127.0.0.1:$port/" "$HERE/camus.properties" >"$dir/example.properties"
	for n in 1 2; do
		HADOOP_CONF_DIR="$dir/hdfs/conf" "$CAMUS" -P "$dir/example.properties" --quiet >"$dir/log" 2>&1 || fail "Camus's example, run $n"
	done
	grep -q 'nothing committed' "$dir/log" || fail "Camus's example: a second run brings something"
	hadoop_fs -copyToLocal "$HADOOP_RPC/user/username/topics" "$dir/example" || fail "hadoop fs -copyToLocal"
	/usr/bin/python3 "$HERE/avro_messages.py" judge "$dir/example" 200 la || fail "Camus's example"
	hadoop_fs -ls "$HADOOP_RPC/user/username/camus/exec/history/*/" | grep -q offsets-m-00000 || fail "Camus's example: no history"
else
	echo "no python3-avro: Camus's example was not run"
fi
step "Camus's own example"
topics=(t1 t2 t3 t4 t5)	# the broker makes them

# Records of all topics, with a checksum of their own; what belongs where goes to $dir/want.
produce() {	# round count-per-topic
	python3 - "$1" "$2" "$dir" "${topics[@]}" <<-'EOF'
	import sys, datetime, zlib
	round_, count, folder, topics = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:]
	with open(folder + "/want", "a") as want:
	    for topic in topics:
	        with open(f"{folder}/in.{topic}", "w") as out:
	            for i in range(count):
	                ms = 1425600000000 + (i * 104729 % 14400) * 1000 + round_
	                text = "%s %d %d" % (topic, round_, i)
	                payload = '{"timestamp":%d,"text":"%s","crc":"%08x"}' % (ms, text, zlib.crc32(text.encode()))
	                out.write(payload + "\n")
	                hour = datetime.datetime.fromtimestamp(ms / 1000, datetime.timezone.utc)
	                want.write(topic + hour.strftime("/hourly/%Y/%m/%d/%H\t") + payload + "\n")
	EOF
	for topic in "${topics[@]}"; do
		kcat -P -b "$KAFKA_BS" -t "$topic" -l "$dir/in.$topic" -X linger.ms=5 -X sticky.partitioning.linger.ms=0 || fail "kcat"
	done
}
cat >"$dir/job.properties" <<EOF
camus.job.name=Camus Job
etl.destination.path=webhdfs://127.0.0.1:$HADOOP_NN_PORT/user/etl/topics
etl.execution.base.path=webhdfs://127.0.0.1:$HADOOP_NN_PORT/user/etl/exec
etl.execution.history.path=webhdfs://127.0.0.1:$HADOOP_NN_PORT/user/etl/exec/history
camus.message.decoder.class=com.linkedin.camus.etl.kafka.coders.JsonStringMessageDecoder
camus.message.timestamp.format=unix_milliseconds
etl.record.writer.provider.class=com.linkedin.camus.etl.kafka.common.StringRecordWriterProvider
kafka.brokers=$KAFKA_BS
kafka.blacklist.topics=clicks
etl.default.timezone=UTC
EOF
run() { { "$CAMUS" run -P "$dir/job.properties" --quiet >"$dir/log" 2>&1; } 2>/dev/null; }
: >"$dir/want"
produce 0 $((records / 2))
took=$(date +%s%N)
run || fail "first run"
took=$((($(date +%s%N) - took) / 1000000))
[ $took -lt 2500 ] || took=2500	# the moments of the kills are spread over the time of a run, as long as it takes here
killed=0
for i in $(seq $kills); do
	produce $i $((records / 2 / kills + 1))
	"$CAMUS" run -P "$dir/job.properties" --quiet >"$dir/log" 2>&1 &
	pid=$!
	moment=$((RANDOM * (took + 100) / 32768))
	sleep "$((moment / 1000)).$(printf %03d $((moment % 1000)))"
	{ kill -9 $pid; wait $pid; } 2>/dev/null
	[ $? != 137 ] || killed=$((killed + 1))
done
echo "killed $killed of $kills runs"
step "runs and kills"
run || fail "the run after the kills"
run || fail "a run with nothing new"
grep -q 'nothing committed' "$dir/log" || fail "a run with nothing new commits"
hadoop_fs -copyToLocal "$HADOOP_RPC/user/etl/topics" "$dir/out" || fail "hadoop fs -copyToLocal"
python3 "$HERE/check_tree.py" "$dir/out" "$dir/want" || fail "judged"
[ "$(hadoop_fs -text "$HADOOP_RPC/user/etl/topics/t1/hourly/2015/03/06/00/*" | wc -l)" = "$(grep -c '^t1/hourly/2015/03/06/00' "$dir/want")" ] ||
	fail "hadoop fs -text counts otherwise"

step "judged"

# Each hour's files put together where they lie, by CONCAT: a kill between two of them, then to its end; Hadoop reads the same records out of one file an hour.
cat >>"$dir/job.properties" <<EOF
camus.sweeper.source.subdir=hourly
camus.sweeper.dest.subdir=hourly
camus.sweeper.planner.class=CamusSingleFolderSweeperPlanner
camus.single.folder.sweeper.timebased=false
EOF
{ PENSTOCK_CAMUS_KILL_AT=concat:3 "$CAMUS" sweep -P "$dir/job.properties" >"$dir/log" 2>&1; } 2>/dev/null
[ $? = 137 ] || fail "the sweep was not killed"
"$CAMUS" sweep -P "$dir/job.properties" >"$dir/log" 2>&1 || fail "sweep"
grep -q ' by CONCAT' "$dir/log" && ! grep -v ' by CONCAT' "$dir/log" | grep -q '^swept' || fail "not by CONCAT"
"$CAMUS" sweep -P "$dir/job.properties" >"$dir/log" 2>&1 && grep -q '^0 folders swept' "$dir/log" || fail "swept once more"
hadoop_fs -copyToLocal "$HADOOP_RPC/user/etl/topics" "$dir/swept" || fail "hadoop fs -copyToLocal"
(cd "$dir/swept" && find . -path ./_penstock -prune -o -type f -printf '%P\n' | while read -r file; do sed "s|^|$(dirname "$file")\t|" "$file"; done) | sort >"$dir/got"
sort "$dir/want" | cmp -s - "$dir/got" || fail "swept: $(wc -l <"$dir/got") records of $(wc -l <"$dir/want")"
[ "$(find "$dir/swept" -type f -name 'part-r-*' | wc -l)" = "$(cut -f1 "$dir/want" | sort -u | wc -l)" ] || fail "not one file an hour: $(find "$dir/swept" -type f | head -30)"
step "swept by CONCAT"
[ "${CAMUS_ONLY-}" != kills ] || exit 0

# What Hadoop frames, read by Hadoop: compressed text, SequenceFiles.
want=$(grep '^t2/' "$dir/want" | cut -f2 | sort | md5sum)
form() {	# name option...
	local name=$1 at=webhdfs://127.0.0.1:$HADOOP_NN_PORT/form/$1
	shift
	"$CAMUS" run -P "$dir/job.properties" --quiet -D kafka.whitelist.topics=t2 -D etl.destination.path="$at/out" -D etl.execution.base.path="$at/base" \
		-D etl.execution.history.path="$at/base/history" "$@" >"$dir/log" 2>&1 || fail "$name"
	hadoop_fs -text "$HADOOP_RPC/form/$name/out/t2/hourly/*/*/*/*/*" >"$dir/text" 2>"$dir/text.err" || fail "$name: hadoop fs -text: $(tail -3 "$dir/text.err")"
	[ "$(sed 's/^[0-9]*\t//' "$dir/text" | grep . | sort | md5sum)" = "$want" ] || fail "$name: Hadoop reads something else: $(head -2 "$dir/text")"
}
form gzip -D mapred.output.compress=true -D etl.output.codec=gzip
form snappy -D mapred.output.compress=true -D etl.output.codec=snappy
form sequence -D etl.record.writer.provider.class=com.linkedin.camus.etl.kafka.common.SequenceFileRecordWriterProvider
form blocks -D etl.record.writer.provider.class=SequenceFileRecordWriterProvider -D mapred.output.compress=true -D mapred.output.compression.type=BLOCK

step "forms"

# The same topics by mappers on YARN, two at a time; an attempt is killed when it has data, and the job still has each record once. With CHECK_LONG
# the client of a first job is killed while that is at work: the next run lets it end, takes away what it left, and has a job of its own.
at=webhdfs://127.0.0.1:$HADOOP_NN_PORT/yarn
sed "s|^etl.destination.path=.*|etl.destination.path=$at/out|; s|^etl.execution.base.path=.*|etl.execution.base.path=$at/base|
	s|^etl.execution.history.path=.*|etl.execution.history.path=$at/base/history|" "$dir/job.properties" >"$dir/yarn.properties"
"$CAMUS" bundle "$dir/bundle.tar.gz" >"$dir/log" || fail "bundle"
yarn_ready || fail "no YARN"
step "YARN is up"
cat >>"$dir/yarn.properties" <<EOF
penstock.camus.execution=yarn
penstock.camus.yarn.command=$(yarn_streaming)
penstock.camus.yarn.bundle=$dir/bundle.tar.gz
penstock.camus.yarn.web=$YARN_WEB
penstock.camus.yarn.slots=2
penstock.camus.yarn.wait=100s
mapred.map.tasks=4
EOF
if [ "${CHECK_LONG-}" = 1 ] || [ "${CAMUS_CLIENT_KILL-}" = 1 ]; then
	mkdir "$dir/tmp"
	dead_since=$SECONDS
	{ TMPDIR=$dir/tmp PENSTOCK_CAMUS_KILL_AT=yarn "$CAMUS" run -P "$dir/yarn.properties" >"$dir/log" 2>&1; } 2>/dev/null
	[ $? = 137 ] || fail "the client on YARN was not killed"
	[ -n "$(ls "$dir/tmp")" ] || fail "nothing is left of the killed client: the test is void"
	dead=$(curl -s "$HADOOP_NN/webhdfs/v1/yarn/base/_penstock?op=LISTSTATUS&user.name=root" | grep -o '"yarn-2[^"]*' | cut -c7-)
	[ -n "$dead" ] || fail "no record of the dead client's job"
	echo "client killed after $((SECONDS - dead_since)) s"
	export TMPDIR=$dir/tmp
fi
"$CAMUS" run -P "$dir/yarn.properties" >"$dir/log" 2>&1 &
pid=$!
victim= dead=${dead-none}
while kill -0 $pid 2>/dev/null; do
	for one in $(pgrep -f "^$dir/yarn/local/.*/lib/penstock-camus task\$"); do
		attempt=$(tr '\0' '\n' <"/proc/$one/environ" 2>/dev/null | sed -n 's/^mapreduce_task_attempt_id=//p')
		[ -n "$attempt" ] || continue
		# when it has data, or has had some time for it; it does not end while it is looked at
		folder=$(tr '\0' '\n' <"/proc/$one/environ" 2>/dev/null | sed -n 's|^mapreduce_task_output_dir=[a-z]*://[^/]*||p')
		[[ $folder != */$dead/* ]] || continue
		for _ in $(seq 20); do
			kill -STOP "$one" 2>/dev/null || break
			curl -s "$HADOOP_NN/webhdfs/v1$folder?op=LISTSTATUS&user.name=root" | grep -q '"data-' && break
			kill -CONT "$one" 2>/dev/null
			sleep 0.01
		done
		kill -9 "$one" 2>/dev/null && victim=$attempt && break 2
	done
	sleep 0.02
done
wait $pid || { yarn_apps; find "$dir/yarn/logs" -name stderr -exec tail -n 5 {} +; fail "YARN"; }
[ -n "$victim" ] || fail "no attempt was killed"
echo "killed $victim"
if [ -n "${dead_since-}" ]; then
	unset TMPDIR
	grep -q 'left by run .*, whose job has ended: application_' "$dir/log" || fail "what the dead client's job left was not taken away"
	[ -z "$(ls "$dir/tmp")" ] || fail "the dead client's folder in TMPDIR is left: $(ls "$dir/tmp")"
	curl -s "$HADOOP_NN/webhdfs/v1/yarn/base/_penstock?op=LISTSTATUS&user.name=root" | grep -q '"yarn-2' && fail "the record of the dead client's job is left"
	echo "a client killed on YARN and swept: $((SECONDS - dead_since)) s"
fi
hadoop_fs -copyToLocal "$HADOOP_RPC/yarn/out" "$dir/yarn.out" || fail "hadoop fs -copyToLocal"
python3 "$HERE/check_tree.py" "$dir/yarn.out" "$dir/want" || fail "YARN: judged"
step "by mappers"
exit 0
