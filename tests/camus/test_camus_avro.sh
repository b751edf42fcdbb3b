#!/bin/bash
# Avro through penstock-camus: Confluent's wire format and a registry, schemas that change on the way, an unknown schema, a registry that is down;
# Flume's Avro events. What is written is read by Python's avro library.
# usage: test_camus_avro.sh PENSTOCK_CAMUS
set -u
CAMUS=$1
HERE=$(cd "$(dirname "$0")" && pwd)
. "$HERE/../lib/kafka.sh"
/usr/bin/python3 -c 'import avro' 2>/dev/null || { echo "SKIP: no avro for Python (apt-get install python3-avro)"; exit 77; }
kafka_jars || exit 77
dir=$(mktemp -d)
registry=
trap 'kafka_kill; [ -n "$registry" ] && kill $registry 2>/dev/null; rm -rf "$dir"' EXIT
fail() { tail -n 20 "$dir/log" 2>/dev/null; echo "FAILED: $*"; exit 1; }
kafka_start "$dir/kafka" || fail "no broker"
mkdir "$dir/schemas"
port=$(/usr/bin/python3 "$HERE/../lib/agent.py") || fail "no port"
registry_start() { /usr/bin/python3 "$HERE/registry_double.py" "$port" "$dir/schemas" >"$dir/registry.log" 2>&1 & registry=$!; for _ in $(seq 1200); do curl -s "http://127.0.0.1:$port/subjects" >/dev/null && return; sleep 0.05; done; fail "no registry"; }
cat >"$dir/schemas/1.avsc" <<'EOF'
{"type":"record","name":"Click","fields":[{"name":"header","type":{"type":"record","name":"Head","fields":[{"name":"time","type":"long"},{"name":"server","type":"string"},{"name":"service","type":"string"}]}},{"name":"n","type":"int"}]}
EOF
registry_start
cat >"$dir/job.properties" <<EOF
etl.destination.path=$dir/out
etl.execution.base.path=$dir/base
etl.execution.history.path=$dir/base/history
camus.message.decoder.class=io.confluent.camus.etl.kafka.coders.AvroMessageDecoder
schema.registry.url=http://127.0.0.1:$port/
etl.record.writer.provider.class=com.linkedin.camus.etl.kafka.common.AvroRecordWriterProvider
mapred.output.compress=true
etl.output.codec=deflate
etl.deflate.level=6
kafka.whitelist.topics=clicks
kafka.brokers=$KAFKA_BS
etl.default.timezone=UTC
EOF
run() { "$CAMUS" run -P "$dir/job.properties" --quiet "$@" >"$dir/log" 2>&1; }
send() {	# topic schema-id first count
	rm -rf "$dir/messages"; mkdir "$dir/messages"
	/usr/bin/python3 "$HERE/avro_messages.py" make "$dir/schemas" "$2" "$3" "$4" "$dir/messages" || fail "messages"
	kcat -P -b "$KAFKA_BS" -t "$1" "$dir"/messages/* || fail "kcat"
}
judge() { /usr/bin/python3 "$HERE/avro_messages.py" judge "$@" >"$dir/judged" 2>&1 || fail "$(cat "$dir/judged")"; }

send clicks 1 0 300
run || fail "first run"
judge "$dir/out" 300 1
find "$dir/out" -name '*.avro' | grep -q . || fail "no .avro file"
# A newer schema appears between runs, old producers go on: all is written in the newest one.
cat >"$dir/schemas/2.avsc" <<'EOF'
{"type":"record","name":"Click","fields":[{"name":"header","type":{"type":"record","name":"Head","fields":[{"name":"time","type":"long"},{"name":"server","type":"string"},{"name":"service","type":"string"}]}},{"name":"n","type":"int"},{"name":"page","type":"string","default":"none"}]}
EOF
send clicks 1 300 100
send clicks 2 400 100
run -D etl.output.codec=snappy || fail "a newer schema"
judge "$dir/out" 500 2
# Snappy or not at all, as asked; a schema nobody knows; no Avro at all: skipped, counted, kept; the thresholds say whether that passes.
printf '\000\000\000\000\143xxxx' >"$dir/messages/unknown"
kcat -P -b "$KAFKA_BS" -t clicks "$dir/messages/unknown"
send clicks 2 500 50
run && fail "a schema nobody knows passes"
grep -q 'etl.max.percent.skipped.schemanotfound' "$dir/log" || fail "the threshold is not named"
run -D etl.max.percent.skipped.schemanotfound=10 || fail "with a higher threshold"
grep -q 'without schema 1' "$dir/log" || fail "the record without a schema is not counted"
judge "$dir/out" 550 2
# The registry is down: nothing is lost, the next run has it.
kill $registry; wait $registry 2>/dev/null; registry=
send clicks 2 550 50
run && fail "a run without its registry"
grep -q "127.0.0.1:$port" "$dir/log" || fail "the registry is not named"
registry_start
run || fail "the registry is back"
judge "$dir/out" 600 2
# Subjects by the record's name, as old producers registered them; without the property there is none of the topic's.
send clicks.old 1 0 50
send clicks.old 2 50 50
run -D etl.destination.path="$dir/old" -D etl.execution.base.path="$dir/old.base" -D etl.execution.history.path="$dir/old.base/history" \
	-D kafka.whitelist.topics=clicks.old && fail "a subject that is not there"
grep -q 'clicks.old-value' "$dir/log" || fail "the subject is not named"
run -D etl.destination.path="$dir/old" -D etl.execution.base.path="$dir/old.base" -D etl.execution.history.path="$dir/old.base/history" \
	-D kafka.whitelist.topics=clicks.old -D is.new.producer=false || fail "is.new.producer=false"
judge "$dir/old" 100 2
# The same interface below a path, as Apicurio has it; Camus's own registry (AVRO-1124) and the decoder that uses it: all from the start again.
elsewhere() { echo "-D etl.destination.path=$dir/$1 -D etl.execution.base.path=$dir/$1.base -D etl.execution.history.path=$dir/$1.base/history"; }
run $(elsewhere apicurio) -D schema.registry.url="http://127.0.0.1:$port/apis/ccompat/v7" -D etl.max.percent.skipped.schemanotfound=10 || fail "below a path"
judge "$dir/apicurio" 600 2
repo="-D kafka.message.coder.schema.registry.class=com.linkedin.camus.schemaregistry.AvroRestSchemaRegistry -D etl.schema.registry.url=http://127.0.0.1:$port/repo"
run $(elsewhere rest) $repo -D camus.message.decoder.class=com.linkedin.camus.etl.kafka.coders.KafkaAvroMessageDecoder -D etl.max.percent.skipped.schemanotfound=10 ||
	fail "AvroRestSchemaRegistry"
judge "$dir/rest" 600 2
# A folder of schemas.
mkdir -p "$dir/files/clicks"; cp "$dir"/schemas/*.avsc "$dir/files/clicks"
run $(elsewhere folder) -D kafka.message.coder.schema.registry.class=FileSchemaRegistry -D penstock.camus.schemas="$dir/files" \
	-D camus.message.decoder.class=KafkaAvroMessageDecoder -D etl.max.percent.skipped.schemanotfound=10 || fail "FileSchemaRegistry"
judge "$dir/folder" 600 2
# Avro's JSON encoding: with the schema's number in a field (older ones are projected to the newest), and of the newest schema behind 4 bytes.
json() {	# kind topic
	rm -rf "$dir/messages"; mkdir "$dir/messages"
	/usr/bin/python3 "$HERE/avro_messages.py" "$1" 300 "$dir/messages" || fail "messages"
	kcat -P -b "$KAFKA_BS" -t "$2" "$dir"/messages/* || fail "kcat"
}
json json clicks.json
run $(elsewhere json) $repo -D kafka.whitelist.topics=clicks.json -D camus.message.decoder.class=com.linkedin.camus.etl.kafka.coders.JSONToAvroMessageDecoder \
	-D etl.max.percent.skipped.other=1 || fail "JSONToAvroMessageDecoder"
grep -q 'undecodable 1' "$dir/log" || fail "a record without its schema's number"
judge "$dir/json" 300 2
json latest clicks.latest
run $(elsewhere latest) $repo -D kafka.whitelist.topics=clicks.latest -D camus.message.decoder.class=com.linkedin.camus.etl.kafka.coders.LatestSchemaKafkaAvroMessageDecoder ||
	fail "LatestSchemaKafkaAvroMessageDecoder"
judge "$dir/latest" 300 now
# A newer schema appears in the middle of a run: the next file begins, or records stay in the first one, or the partition fails and the next run has it.
rm -rf "$dir/messages"; mkdir "$dir/messages"
/usr/bin/python3 "$HERE/avro_messages.py" make "$dir/schemas" 1 0 50 "$dir/messages" || fail "messages"
/usr/bin/python3 "$HERE/avro_messages.py" make "$dir/schemas" 2 50 50 "$dir/messages" || fail "messages"
kcat -P -b "$KAFKA_BS" -t change -p 0 "$dir"/messages/* || fail "kcat"
change() {	# kind
	echo 1 >"$dir/schemas/first"
	run $(elsewhere change.$1) $repo -D kafka.whitelist.topics=change -D camus.message.decoder.class=KafkaAvroMessageDecoder -D penstock.camus.schema_change=$1
}
files() { find "$dir/change.$1" -name '*.avro' -not -path '*/_penstock/*'; }
change split || fail "split"
judge "$dir/change.split" 100 2
[ "$(files split | xargs grep -l '"page"' | wc -l)" -gt 0 ] && [ "$(files split | xargs grep -L '"page"' | wc -l)" -gt 0 ] || fail "split: not two schemas"
change project || fail "project"
judge "$dir/change.project" 100 1
[ "$(files project | xargs grep -l '"page"' | wc -l)" = 0 ] || fail "project: another schema than the first"
change fail && fail "a newer schema passes"
grep -q 'a newer schema appeared' "$dir/log" || fail "fail: the reason"
[ -z "$(files fail 2>/dev/null)" ] || fail "fail: something was committed"
run $(elsewhere change.fail) $repo -D kafka.whitelist.topics=change -D camus.message.decoder.class=KafkaAvroMessageDecoder -D penstock.camus.schema_change=fail || fail "the run after it"
judge "$dir/change.fail" 100 2
# A writer that does not fit the decoder is refused by name.
send clicks 2 600 1
run -D etl.record.writer.provider.class=StringRecordWriterProvider -D mapred.output.compress=false && fail "text of Avro records"
grep -q 'cannot be written by StringRecordWriterProvider' "$dir/log" || fail "the writer is not named"
# Flume's events.
rm -rf "$dir/messages"; mkdir "$dir/messages"
/usr/bin/python3 "$HERE/avro_messages.py" flume 200 "$dir/messages" || fail "messages"
kcat -P -b "$KAFKA_BS" -t flume "$dir"/messages/* || fail "kcat"
run -D kafka.whitelist.topics=flume -D camus.message.decoder.class.flume=flume -D etl.destination.path="$dir/out2" \
	-D etl.execution.base.path="$dir/base2" -D etl.execution.history.path="$dir/base2/history" || fail "Flume's events"
judge "$dir/out2" 200 flume
exit 0
