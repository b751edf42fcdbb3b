#!/bin/bash
# test_camus_clean.sh PENSTOCK_CAMUS: retention of dated folders on this machine's files; no Kafka is asked.
set -u
CAMUS=$(realpath "$1")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
fail() { echo "FAILED: $*"; cat "$dir/log"; (cd "$dir/out" && find . | sort); exit 1; }
# The loader's zone, if it is not told of another; else one in which no hour, and no day, ends within this test.
zone=America/Los_Angeles
[ "$(date +%-M)" -lt 45 ] || zone=Asia/Kolkata
day() { TZ=$zone date -d "$1 days ago" +%Y/%m/%d; }
put() { mkdir -p "$dir/out/$1" && echo data >"$dir/out/$1/f.$RANDOM"; }
cat >"$dir/job.properties" <<EOF
etl.destination.path=$dir/out
etl.execution.base.path=$dir/base
etl.execution.history.path=$dir/base/history
kafka.brokers=127.0.0.1:1
etl.record.writer.provider.class=StringRecordWriterProvider
camus.message.decoder.class=JsonStringMessageDecoder
camus.sweeper.source.subdir=hourly
camus.sweeper.clean.retention.days.global=7
camus.sweeper.clean.retention.days.topic.deep.topic=30
camus.sweeper.clean.retention.days.topic.kept=-1
EOF
[ $zone = America/Los_Angeles ] || echo "camus.default.timezone=$zone" >>"$dir/job.properties"
clean() { "$CAMUS" clean -P "$dir/job.properties" "$@" >"$dir/log" 2>&1; }
for n in 1 7 8 40; do for topic in t deep/topic kept; do put "$topic/hourly/$(day $n)/05"; put "$topic/hourly/$(day $n)/06"; done; done
put "_penstock/hourly/$(day 40)/01"
put "t/hourly/2020/13/45/00"
put "t/hourly/notes/2020/01"
put "t/daily/$(day 40)"
before=$(cd "$dir/out" && find . -type f | sort)
clean -D penstock.camus.hok=x && fail "an option of ours with a wrong letter"
grep -q 'penstock.camus.hok: .*did you mean penstock.camus.hook?' "$dir/log" || fail "an option of ours with a wrong letter is not told"
clean --dry-run -D kafka.whitelist.topic=t -D shema.registry.url=x || fail "dry run"
grep -q 'kafka.whitelist.topic: warning: .*did you mean kafka.whitelist.topics?' "$dir/log" && grep -q 'did you mean schema.registry.url?' "$dir/log" ||
	fail "a property with a wrong letter is not told"
[ "$(cd "$dir/out" && find . -type f | sort)" = "$before" ] || fail "a dry run removed something"
grep -q 'dry run: 3 folders with 6 files' "$dir/log" || fail "dry run does not count"
clean --json || fail "clean"
python3 -c 'import json, sys; r = json.load(open(sys.argv[1])); assert r["folders_removed"] == 3 and r["files"] == 6 and r["bytes"] == 30 and not r["dry_run"], r' "$dir/log" || fail "json"
want=$(for n in 1 7; do echo "t/hourly/$(day $n)"; done; for n in 1 7 8; do echo "deep/topic/hourly/$(day $n)"; done
	for n in 1 7 8 40; do echo "kept/hourly/$(day $n)"; done; echo "t/daily/$(day 40)"; echo t/hourly/2020/13/45; echo "_penstock/hourly/$(day 40)")
for path in $want; do [ -d "$dir/out/$path" ] || fail "$path is gone"; done
[ -d "$dir/out/t/hourly/notes/2020/01" ] || fail "what is no date is gone"
for path in "t/hourly/$(day 8)" "t/hourly/$(day 40)" "deep/topic/hourly/$(day 40)"; do [ ! -e "$dir/out/$path" ] || fail "$path is still there"; done
clean || fail "again"
grep -q '^0 folders' "$dir/log" || fail "something to remove again"

# Only what is rolled up: the day is there, and no source file is newer.
rm -rf "$dir/out/"*
for n in 10 11 12; do put "t/hourly/$(day $n)/01"; done
put "t/daily/$(day 10)"
put "t/daily/$(day 11)"
touch -d '1 hour ago' "$dir/out/t/daily/$(day 11)"
touch -d '2 hours ago' "$dir/out/t/hourly/$(day 10)/01/"f.*
echo camus.sweeper.dest.subdir=daily >>"$dir/job.properties"
clean || fail "with a rolled-up tree"
[ ! -e "$dir/out/t/hourly/$(day 10)" ] || fail "the rolled-up day is still there"
[ -e "$dir/out/t/hourly/$(day 11)" ] || fail "a day with newer files is gone"
[ -e "$dir/out/t/hourly/$(day 12)" ] || fail "a day that is not rolled up is gone"
grep -q "$(day 12) .*not rolled up" "$dir/log" || fail "why is not said"
clean -D fail_job.if.folder.not.qualify.for.deletion=true && fail "does not fail"
clean -D delete.folders.not.qualify.for.deletion=true || fail "all the same"
[ ! -e "$dir/out/t/hourly" ] || fail "days that do not qualify, or empty folders, are left"
[ -e "$dir/out/t/daily/$(day 10)" ] || fail "the rolled-up day is gone"
# Nothing while a manifest is not carried out; not beside a run at work; not without the subdir.
put "t/hourly/$(day 50)/01"
mkdir -p "$dir/base/_penstock"
echo '{}' >"$dir/base/_penstock/manifest-0000000001"
clean -D camus.sweeper.clean.force=true && fail "cleans before a manifest is finished"
grep -q 'manifest 1 is decided' "$dir/log" || fail "not told of the manifest"
touch "$dir/base/_penstock/manifest-0000000001.done"
echo "{\"run\":\"other\",\"host\":\"$(hostname)\",\"pid\":$$,\"renewed\":$(date +%s)000}" >"$dir/base/_penstock/lock"
clean -D camus.sweeper.clean.force=true && fail "cleans beside a run at work"
rm "$dir/base/_penstock/lock"
clean -D camus.sweeper.clean.force=true -D camus.sweeper.source.subdir= && fail "cleans without knowing where dates begin"
clean -D camus.sweeper.clean.force=true || fail "forced"
[ ! -e "$dir/out/t/hourly" ] || fail "force removes nothing"
echo "retention of dated folders"
