#!/bin/bash
# test_camus_mock.sh PENSTOCK_CAMUS KAFKA_MOCK: what needs brokers but no server: a topic of nothing but bad records, a hook below a parent that ignores the
# end of children, event times from the future that must not complete anything.
set -u
CAMUS=$1 MOCK=$2
command -v kcat >/dev/null 2>&1 || { echo "SKIP: no kcat (apt-get install kcat)"; exit 77; }
dir=$(mktemp -d)
trap 'exec {BROKERS[1]}>&-; rm -rf "$dir"' EXIT
fail() { tail -n 20 "$dir/log" 2>/dev/null; echo "FAILED: $*"; exit 1; }
coproc BROKERS { exec "$MOCK" bad good future 2>"$dir/mock.log"; }
read -r brokers <&"${BROKERS[0]}" || fail "no brokers"
cat >"$dir/job.properties" <<EOF
etl.destination.path=$dir/out
etl.execution.base.path=$dir/base
etl.execution.history.path=$dir/base/history
camus.message.decoder.class=JsonStringMessageDecoder
camus.message.timestamp.format=unix_milliseconds
etl.record.writer.provider.class=StringRecordWriterProvider
etl.max.percent.skipped.other=100
kafka.brokers=$brokers
etl.default.timezone=UTC
EOF
run() { "$CAMUS" run -P "$dir/job.properties" --quiet "$@" >"$dir/log" 2>&1; }
put() { kcat -P -b "$brokers" -t "$1" -p 0 2>>"$dir/kcat.log" || fail "kcat"; }
topic() { echo "-Dkafka.whitelist.topics=$1 -Detl.execution.base.path=$dir/$1 -Detl.execution.history.path=$dir/$1/history"; }

# ---- a topic of nothing but bad records: all are counted, and so many are listed as memory has room for
seq -f 'bad %.0f' 50100 | put bad
run $(topic bad) || fail "bad records"
grep -q 'undecodable 50100' "$dir/log" || fail "not counted"
listed=$(cat "$dir"/bad/history/*/errors.jsonl | wc -l)
[ "$listed" = 50000 ] || fail "$listed bad records listed"
tail -n 1 "$dir"/bad/history/*/errors.jsonl | grep -q '"offset":49999,.*counted, not listed' || fail "the last one does not say that more came"

# ---- a parent that ignores the end of its children hands that down: the hook's end is heard all the same
printf '#!/bin/sh\ncat >/dev/null\n' >"$dir/hook"
chmod 755 "$dir/hook"
echo '{"timestamp":1396130000000}' | put good
(trap '' CHLD; "$CAMUS" run -P "$dir/job.properties" --quiet $(topic good) -D penstock.camus.hook="$dir/hook" >"$dir/log" 2>&1) || fail "the hook's end was not heard"

# ---- a record from the future completes nothing before its time: what comes then is not late
stamp() { echo "{\"timestamp\":$(($(date +%s) + $1))000}"; }
{ stamp -7200; stamp 315360000; } | put future
run $(topic future) -D penstock.camus.complete_delay=1s || fail "a record from the future"
grep -q 'folders completed 1;' "$dir/log" || fail "not just the folder of two hours ago is complete"
[ -z "$(find "$dir/out/future" -path "*$(date -ud '+3650 days' +%Y)*" -name _SUCCESS)" ] || fail "a folder of the future has its mark"
sleep 1
stamp 0 | put future
run $(topic future) -D penstock.camus.complete_delay=1s -D penstock.camus.late=_late || fail "a record of now"
[ -z "$(find "$dir/out/future" -path '*_late*' -type f)" ] || fail "a record of now is late"
echo "bad records, a hook, the future"
