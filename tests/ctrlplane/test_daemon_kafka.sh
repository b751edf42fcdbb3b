#!/bin/bash
# test_daemon_kafka.sh PENSTOCK CTL GEN RINGLOG EXAMPLE: the shipped Flume file (netcatudp and syslogudp, timestamp and regex interceptors,
# file channel, Kafka sink) runs unchanged against a real broker; kcat reads what was sent. With the broker dead, intake goes on.
set -u
PENSTOCK=$(realpath "$1") CTL=$(realpath "$2") GEN=$(realpath "$3") example=$(realpath "$5")
dir=$(mktemp -d /tmp/penstock-kafkad-XXXXXX)
. "$(dirname "$0")/../lib/kafka.sh"
. "$(dirname "$0")/../lib/daemon.sh"
kafka_jars || exit $?
trap '[ -n "$AGENT" ] && kill -9 $AGENT 2>/dev/null; kafka_kill; rm -rf "$dir"' EXIT
kafka_start "$dir/kafka" || fail "no broker"
syslog=$(free_port) plain=$(free_port) http=$(free_port)
sed "s/= 5140/= $syslog/; s/= 5141/= $plain/; s/127.0.0.1:41414/127.0.0.1:$http/" "$example" >"$dir/a.properties"
java -Xmx128m -cp "$dir/kafka/tools:$KAFKA_HOME/libs/*" org.apache.kafka.tools.TopicCommand --bootstrap-server "$KAFKA_BS" --create --topic syslog \
	--partitions 2 --replication-factor 1 >"$dir/topic.log" 2>&1 || { cat "$dir/topic.log" >&2; fail "topic"; }
sed -i "s/\${sys:brokers:-127.0.0.1:9092}/$KAFKA_BS/; s#^OUT = .*#OUT = $dir/store#" "$dir/a.properties"
agent_start "$dir/a.properties"
send()	# from to
{
	for i in $(seq $1 $2); do
		logger -n 127.0.0.1 -P "$syslog" -d --rfc3164 "an ERROR $i of mine" || fail "logger"
		printf 'INFO: plain %s\n' $i >"/dev/udp/127.0.0.1/$plain"
	done
	logger -n 127.0.0.1 -P "$syslog" -d --rfc3164 "nothing special" || fail "logger"
}
send 1 20
received syslog 21 && received plain 20 || fail "not received"
drained $PATIENCE || fail "not delivered: $("$CTL" -s "$dir/a1.sock" status)"
kafka_stop
send 21 40	# into the log: the broker is gone
received syslog 42 && received plain 40 || fail "not received"
"$CTL" -s "$dir/a1.sock" --json status | grep -q '"unsettled"' || fail "status"
drained 1 && fail "delivered without a broker?"
kafka_restart "$dir/kafka" || fail "the broker does not come back"
drained 180 || fail "not delivered after the broker came back"
timeout 120 kcat -b "$KAFKA_BS" -C -t syslog -o beginning -e -q >"$dir/got" || fail "kcat"
[ "$(grep -c 'an ERROR .* of mine' <(sort -u "$dir/got"))" = 40 ] || fail "syslog lines: $(sort -u "$dir/got" | head -n 50)"
[ "$(grep -c '^INFO: plain' <(sort -u "$dir/got"))" = 40 ] || fail "plain lines"
grep -q 'nothing special' "$dir/got" && fail "the filtered line is in the topic"
accounts_even
agent_stop || fail "exit status after SIGTERM"
AGENT=
