#!/bin/bash
# test_kafka_real.sh KAFKA_FEED: the kafka sink against a real broker; what arrived is read with kcat.
# 1. all events arrive once, the same key in the same partition; 2. the broker is killed before the start and comes up while the
# sink tries: all arrive; 3. the broker dies in the middle: every event arrives at least once. Skips (77) without java, kcat or mvn.
set -u
feed=$(realpath "$1")
. "$(dirname "$0")/../lib/kafka.sh"
kafka_jars || exit $?
dir=$(mktemp -d /tmp/penstock-kafka-XXXXXX)
feed_pid=
trap 'kafka_kill; [ -n "$feed_pid" ] && kill $feed_pid 2>/dev/null; rm -rf "$dir"' EXIT

fail()
{
	echo "FAILED: $*" >&2
	exit 1
}

# Every event of `count` in the topic: at least once, or with `once` exactly once.
topic_check()	# topic count once|least
{
	timeout 180 kcat -b "$KAFKA_BS" -C -t "$1" -o beginning -e -q -f '%p %k %s\n' >"$dir/got" 2>"$dir/kcat.log" || { cat "$dir/kcat.log" >&2; fail "kcat"; }
	local all distinct
	all=$(wc -l <"$dir/got")
	distinct=$(cut -d' ' -f3- "$dir/got" | sort -u | wc -l)
	echo "topic $1: $all messages, $distinct different, $2 wanted"
	[ "$distinct" = "$2" ] || fail "topic $1 lacks events"
	[ "$3" = least ] || [ "$all" = "$2" ] || fail "topic $1 has events twice"
	[ "$(cut -d' ' -f1,2 "$dir/got" | sort -u | wc -l)" = 10 ] || fail "topic $1: one key in two partitions"
}

kafka_start "$dir" || fail "no broker"
"$feed" "$KAFKA_BS" whole 20000 kafka.producer.acks=all || fail "not all settled"
topic_check whole 20000 once
"$feed" "$KAFKA_BS" 'part-%{key}' 100 kafka.producer.compression.type=gzip || fail "escapes: not all settled"
[ "$(timeout 180 kcat -b "$KAFKA_BS" -C -t part-7 -o beginning -e -q | sort | head -n1)" = "event 17" ] || fail "topic part-7"

kafka_stop
"$feed" "$KAFKA_BS" late 1000 kafka.producer.delivery.timeout.ms=2000 kafka.producer.request.timeout.ms=1000 >"$dir/late" 2>"$dir/late.log" &
feed_pid=$!
timeout 180 tail -n +1 -s 0.05 --pid=$feed_pid -f "$dir/late" | grep -q -m1 feeding || fail "the feed does not start"
kafka_restart "$dir" || fail "no broker again"
wait $feed_pid || { cat "$dir/late" "$dir/late.log" >&2; fail "broker late: not all settled"; }
feed_pid=
cat "$dir/late"
topic_check late 1000 least

"$feed" "$KAFKA_BS" broken 10 || fail "ten events"		# the topic is there
"$feed" "$KAFKA_BS" broken 200000 flumeBatchSize=1000 kafka.producer.acks=all kafka.producer.delivery.timeout.ms=5000 kafka.producer.request.timeout.ms=2000 >"$dir/broken" 2>"$dir/broken.log" &
feed_pid=$!
# Kill it once some of it has arrived.
timeout 180 kcat -b "$KAFKA_BS" -C -t broken -o beginning -c 5000 -q >/dev/null 2>&1 || fail "nothing arrives"
kafka_kill
kafka_restart "$dir" || fail "no broker again"
wait $feed_pid || { cat "$dir/broken" "$dir/broken.log" >&2; fail "broker killed: not all settled"; }
feed_pid=
cat "$dir/broken"
topic_check broken 200000 least
kafka_stop
echo "ok"
