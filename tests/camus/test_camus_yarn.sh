#!/bin/bash
# Tasks as mappers: two attempts of each task, attempts that are killed, reports that are cut, missing or of another file, jobs that fail, a
# ResourceManager that is away, clients that die. A real Kafka; a double of Hadoop Streaming runs the program out of its own bundle on this
# machine (the real one: test_camus_hdfs.sh).
# usage: test_camus_yarn.sh PENSTOCK_CAMUS
set -u
CAMUS=$(realpath "$1")
HERE=$(cd "$(dirname "$0")" && pwd)
. "$HERE/../lib/kafka.sh"
kafka_jars || exit 77
dir=$(mktemp -d)
rm_pid=
trap 'kafka_kill; [ -n "$rm_pid" ] && kill $rm_pid 2>/dev/null; touch "$dir/double/end" "$dir/double/go"; sleep 0.3; rm -rf "$dir"' EXIT
fail() { tail -n 20 "$dir/log" 2>/dev/null; cat "$dir"/double/attempt*/stderr 2>/dev/null | tail -n 20; echo "FAILED: $*"; exit 1; }
say() { grep -q -- "$1" "$dir/log" || fail "not said: $1"; }

# ---- the bundle runs from anywhere, with nothing of this machine's libraries
"$CAMUS" bundle "$dir/bundle.tar.gz" >"$dir/log" || fail "bundle"
"$CAMUS" bundle "$dir/again.tar.gz" >"$dir/log" && cmp "$dir/bundle.tar.gz" "$dir/again.tar.gz" || fail "two bundles differ"
rm "$dir/again.tar.gz"
mkdir -p "$dir/else where/in" && tar -C "$dir/else where/in" -xzf "$dir/bundle.tar.gz" || fail "tar"
(cd / && env -i PATH=/usr/bin:/bin "$dir/else where/in/penstock-camus" --version) >"$dir/log" || fail "the bundle's program"
say "$("$CAMUS" --version)"
env -i PATH=/usr/bin:/bin "$dir/else where/in/lib/loader" --library-path "$dir/else where/in/lib" --list "$dir/else where/in/lib/penstock-camus" |
	grep '=> /' | grep -v "=> $dir/else where/in/lib/" && fail "libraries from outside of the bundle"
ln -s "$dir/else where/in/penstock-camus" "$dir/linked" && "$dir/linked" --version >/dev/null || fail "the bundle's program by a link"
"$CAMUS" bundle /nowhere/x.tar.gz >"$dir/log" 2>&1 && fail "a bundle into nowhere"
say '/nowhere/x.tar.gz'

# ---- a mapper that is started otherwise
task() { (cd "$dir" && "$CAMUS" task "$@" >"$dir/log" 2>&1) && fail "task $*"; }
task </dev/null; say 'penstock-job.json'
echo '{"program":"0.0.0"}' >"$dir/penstock-job.json"
task </dev/null; say 'make the bundle again'

kafka_start "$dir/kafka" || fail "no broker"
mkdir "$dir/double"
coproc RM { exec /usr/bin/python3 "$HERE/streaming_double.py" rm "$dir/double" 2>"$dir/rm.log"; }
rm_pid=$RM_PID
read -r port <&"${RM[0]}" || fail "no double of the ResourceManager"
makers=
for topic in y1 y2; do
	java -Xmx128m -XX:TieredStopAtLevel=1 -cp "$dir/kafka/tools:$KAFKA_HOME/libs/*" org.apache.kafka.tools.TopicCommand --bootstrap-server \
		"$KAFKA_BS" --create --topic $topic --partitions 3 >>"$dir/topics.log" 2>&1 & makers="$makers $!"
done
wait $makers
cat >"$dir/job.properties" <<END
etl.destination.path=$dir/tree/out
etl.execution.base.path=$dir/tree/base
etl.execution.history.path=$dir/tree/base/history
camus.message.decoder.class=JsonStringMessageDecoder
camus.message.timestamp.format=unix_milliseconds
etl.record.writer.provider.class=StringRecordWriterProvider
etl.max.percent.skipped.other=100
etl.run.tracking.post=true
kafka.whitelist.topics=y1,y2
kafka.brokers=$KAFKA_BS
etl.default.timezone=UTC
mapred.map.tasks=2
mapred.map.max.attempts=4
penstock.camus.execution=yarn
penstock.camus.yarn.command=/usr/bin/python3 $HERE/streaming_double.py job $dir/double
penstock.camus.yarn.bundle=$dir/bundle.tar.gz
penstock.camus.yarn.web=127.0.0.1:1, 127.0.0.1:$port
penstock.camus.yarn.slots=2
penstock.camus.yarn.wait=1s
END
: >"$dir/want"
put() {	# round
	local topic i ms
	for topic in y1 y2; do
		for i in $(seq 300); do
			ms=$((1396130000000 + i * 30000))
			printf '{"timestamp":%d,"n":"%s %s %d"}\n' $ms $topic $1 $i
		done >"$dir/in"
		kcat -P -b "$KAFKA_BS" -t $topic -l "$dir/in" -X sticky.partitioning.linger.ms=0 -X batch.num.messages=7 || fail "kcat"
		python3 -c '
import datetime, json, sys
for line in open(sys.argv[1]):
    t = datetime.datetime.fromtimestamp(json.loads(line)["timestamp"] / 1000, datetime.timezone.utc)
    print(sys.argv[2] + t.strftime("/hourly/%Y/%m/%d/%H\t") + line, end="")' "$dir/in" $topic >>"$dir/want"
	done
}
run() { { "$CAMUS" run -P "$dir/job.properties" --quiet "$@" >"$dir/log" 2>&1; } 2>/dev/null; }
plan() { rm -rf "$dir"/double/attempt*; echo "$*" >"$dir/double/plan"; }
judge() {
	python3 "$HERE/check_tree.py" "$dir/tree/out" "$dir/want" >"$dir/judge" || { cat "$dir/judge"; fail "$*"; }
	ls "$dir"/tree/base/_penstock/yarn-* 2>/dev/null && fail "$*: something is left of a job"
}
same() { [ "$(find "$dir/tree/out" -type f -not -path '*/_penstock/*' | wc -l)" = "$1" ] || fail "$2: something was published"; }
files() { find "$dir/tree/out" -type f -not -path '*/_penstock/*' | wc -l; }

# ---- two attempts of each task, side by side: one of them counts
put 1
plan twice
run || fail "two attempts of each task"
judge "two attempts of each task"
grep -q 'reporter:status:y. and [0-9] more: \([1-9][0-9]*\) of at most \1 records, ' "$dir"/double/attempt*/stderr || fail "no status line: $(cat "$dir"/double/attempt*/stderr)"
[ "$(cat "$dir"/double/attempt*_0/stderr | sed -n 's/^reporter:counter:penstock,records,//p' | awk '{ n += $1 } END { print n }')" = 600 ] || fail "counters"
cat "$dir"/tree/base/history/*/counts.* >"$dir/log"
[ "$(python3 -c 'import json,sys; print(sum(c["count"] for t in json.load(open(sys.argv[1])) for c in t["counts"].values()))' "$dir/log")" = 600 ] || fail "audit counts"
run || fail "nothing new"
say 'nothing committed'

# ---- an attempt that dies when all but its report is written
put 2
plan killed
run || fail "an attempt killed"
[ "$(ls -d "$dir"/double/attempt* | wc -l)" = 3 ] || fail "no attempt was killed"
judge "an attempt killed"

# ---- bad records come with their words, and those that are kept whole
printf 'bad \377\n' | kcat -P -b "$KAFKA_BS" -t y1 -p 0 || fail "kcat"
plan
run || fail "a bad record"
say 'undecodable 1'
grep -h -q payload_base64 "$dir"/tree/base/history/*/errors.jsonl || fail "the bad record was not kept"
judge "a bad record"

# ---- what may be wrong with a report: nothing of its task is published, the other one is, and the next run takes it up
for bad in cut gone other; do
	put $bad
	plan $bad
	run && fail "$bad: status 0"
	case $bad in
	cut) say 'report-0: the task.s report of [0-9]* bytes is cut or damaged at byte' ;;
	gone) say 'report-0 is missing: no attempt of task 0 was committed' ;;
	other) say 'is another file' ;;
	esac
	had=$(files)
	plan $bad
	run -D penstock.camus.commit=full && fail "$bad, full: status 0"
	say 'nothing is committed'
	same "$had" "$bad, full"
	plan
	run || fail "after $bad"
	judge "after $bad"
done

# ---- a work item that is cut: its mapper says so, four times; then as a report that is missing
put item
plan cut-item
run && fail "a cut item: status 0"
say 'report-0 is missing'
grep -h -q '/items: the work item of [0-9]* bytes is cut or damaged at byte' "$dir"/double/attempt*/stderr || fail "the mapper does not say so"
[ "$(ls -d "$dir"/double/attempt*m_000000* | wc -l)" = 4 ] || fail "not tried again"

# ---- a job that fails, a command that is not there, nobody to ask, no bundle: nothing is published
had=$(files)
plan fail
run && fail "a failed job: status 0"
say 'the Hadoop job did not end well: application_1_.* FINISHED FAILED'
say 'Job not successful'
plan
run -D penstock.camus.yarn.command=/nowhere/mapred && fail "no command"
say '/nowhere/mapred ended with status 127'
run -D penstock.camus.yarn.web=127.0.0.1:1 && fail "nobody to ask"
say 'no ResourceManager answers: http://127.0.0.1:1'
touch "$dir/double/standby"
run && fail "a standby"
say 'no JSON (a standby'
rm "$dir/double/standby"
run -D penstock.camus.yarn.bundle=/nowhere/b.tgz && fail "no bundle"
say '/nowhere/b.tgz'
sed '/yarn.web/d' "$dir/job.properties" >"$dir/bare.properties"
HADOOP_CONF_DIR=$dir "$CAMUS" run -P "$dir/bare.properties" --quiet >"$dir/log" 2>&1 && fail "no address"
say 'Set penstock.camus.yarn.web'
echo "<configuration><property><name>yarn.resourcemanager.webapp.address</name><value>127.0.0.1:$port</value></property></configuration>" >"$dir/yarn-site.xml"
# what Hadoop's command line would take for something else, by the property's name
for bad in 'etl.destination.path=/tmp/a,b' 'etl.destination.path=/tmp/a*' 'etl.execution.base.path=/tmp/{a}' 'etl.execution.base.path=/tmp/a?' \
	'penstock.camus.yarn.bundle=/tmp/b#c.tgz' 'penstock.camus.yarn.files=/tmp/[a].pem'; do
	run -D "$bad" && fail "$bad"
	say "${bad%%=*}: \"/tmp/.*means something else on the command line of a Hadoop job"
done
mkdir "$dir/a,b"
TMPDIR="$dir/a,b" run && fail "a comma in TMPDIR"
say "TMPDIR .*a,b.*the character ','"
same "$had" "after runs that failed"
HADOOP_CONF_DIR=$dir "$CAMUS" run -P "$dir/bare.properties" --quiet >"$dir/log" 2>&1 || fail "the address of yarn-site.xml"
judge "after runs that failed"

# ---- a client that dies: the next run waits for the end of its job, then takes away what it left
put client
plan hang
mkdir "$dir/tmp"
export TMPDIR=$dir/tmp
PENSTOCK_CAMUS_KILL_AT=yarn run
[ $? = 137 ] || fail "the client was not killed"
dead=$(ls -d "$TMPDIR"/penstock-camus-*) && [ -s "$dead/penstock-job.json" ] || fail "nothing is left of a killed client: the test is void"
mkdir -m 700 "$TMPDIR/penstock-camus-fresh" "$TMPDIR/penstock-camus-old" "$TMPDIR/penstock-camus-mine"	# begun just now; an hour ago; with something else
touch -d '2 hours ago' "$TMPDIR/penstock-camus-old"
touch "$TMPDIR/penstock-camus-mine/lock" "$TMPDIR/penstock-camus-mine/notes"
mkdir -m 700 "$TMPDIR/penstock-camus-alive"
exec 8>"$TMPDIR/penstock-camus-alive/lock"
flock 8
left=$(cd "$dir/tree/base/_penstock" && ls -d yarn-*) || fail "no record of the job"
[ -d "$dir/tree/out/_penstock/${left#yarn-}" ] || fail "no folder of the run"
app=$(ls "$dir"/double/*.app | tail -1)
sed -i 's/"state": "[A-Z]*"/"state": "RUNNING"/' "$app"	# the double died with the client, as the real one's job does not
plan
run && fail "a run beside a job that is still at work"
say 'application_1_.* of run .*, which died, is still RUNNING after penstock.camus.yarn.wait'
say 'yarn application -kill'
[ -d "$dir/tree/out/_penstock/${left#yarn-}" ] || fail "swept while the job is at work"
sed -i "s/127.0.0.1:$port\$/127.0.0.1:2/" "$dir/job.properties"
run && fail "nobody says whether the job has ended"
say 'cannot be asked'
sed -i "s/127.0.0.1:2\$/127.0.0.1:$port/" "$dir/job.properties"
sed -i 's/"state": "RUNNING"/"state": "KILLED"/' "$app"
run || fail "after the end of a dead client's job"
say "${left#yarn-}: left by run .* whose job has ended"
[ ! -e "$dir/tree/out/_penstock/${left#yarn-}" ] || fail "not swept"
[ ! -e "$dead" ] || fail "a dead client's folder in TMPDIR was not swept"
[ "$(cd "$TMPDIR" && echo *)" = 'penstock-camus-alive penstock-camus-fresh penstock-camus-mine' ] || fail "TMPDIR: $(ls "$TMPDIR")"
[ -e "$TMPDIR/penstock-camus-mine/notes" ] || fail "something of others was removed"
exec 8>&-
unset TMPDIR
judge "after a dead client"

# ---- a client that dies behind its decision
for at in manifest-written manifest-renamed publish; do
	put $at
	plan
	PENSTOCK_CAMUS_KILL_AT=$at run
	[ $? = 137 ] || fail "not killed at $at"
	run || fail "after a kill at $at"
	judge "after a kill at $at"
done

# ---- a client that stood still so long that another run took over: it decides nothing and leaves the other's lock alone
put still
plan slow
rm -f "$dir/double/go"
had=$(files)
"$CAMUS" run -P "$dir/job.properties" --quiet >"$dir/log" 2>&1 &
pid=$!
at_work() { kill -0 $pid 2>/dev/null || fail "the client ended"; ls "$dir"/tree/base/_penstock/yarn-* >/dev/null 2>&1; }
within 120 at_work || fail "no record of a job"
echo '{"run":"other","host":"elsewhere","pid":1,"renewed":9999999999999}' >"$dir/other.lock"
mv "$dir/other.lock" "$dir/tree/base/_penstock/lock"	# at once: one that is empty for a moment is nobody's
touch "$dir/double/go"
wait $pid && fail "a client whose lock was taken over"
say "is run other's now"
grep -q other "$dir/tree/base/_penstock/lock" || fail "the other run's lock is gone"
same "$had" "a client whose lock was taken over"
rm "$dir/tree/base/_penstock/lock"
plan
run || fail "behind a lock that was taken over"
judge "behind a lock that was taken over"

# ---- SIGTERM: tasks are asked to end, what they have is committed
put term
plan slow
rm -f "$dir/double/go"
"$CAMUS" run -P "$dir/job.properties" --quiet >"$dir/log" 2>&1 &
pid=$!
within 120 at_work || fail "no record of a job"
kill $pid
stop_told() { ls "$dir"/tree/out/_penstock/*/stop >/dev/null 2>&1; }
within 120 stop_told || fail "the tasks are not told to stop"
touch "$dir/double/go"
wait $pid || fail "a client that was asked to stop"
say 'asked to stop'
plan
run || fail "behind a stop"
judge "behind a stop"

# ---- the same settings on one machine
put local
run -D penstock.camus.execution=local || fail "local"
judge "local"
exit 0
