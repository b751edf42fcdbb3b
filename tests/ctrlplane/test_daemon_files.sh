#!/bin/bash
# test_daemon_files.sh PENSTOCK CTL GEN RINGLOG: real logger to syslogudp over kernel sockets, file channel, file_roll; as an ordinary
# user when this one is root. Metrics, accounts, trace; mistakes in a configuration are told with place and exit status 2.
set -u
PENSTOCK=$(realpath "$1") CTL=$(realpath "$2") GEN=$(realpath "$3")
dir=$(mktemp -d /tmp/penstock-daemon-XXXXXX)
. "$(dirname "$0")/../lib/daemon.sh"
trap '[ -n "$AGENT" ] && kill -9 $AGENT 2>/dev/null; rm -rf "$dir"' EXIT
port=$(free_port) http=$(free_port)
mkdir "$dir/out"
cat >"$dir/a.properties" <<EOF
a1.sources = r1
a1.channels = c1
a1.sinks = k1
a1.sources.r1.type = syslogudp
a1.sources.r1.host = 127.0.0.1
a1.sources.r1.port = $port
a1.sources.r1.channels = c1
a1.sources.r1.interceptors = i1
a1.sources.r1.interceptors.i1.type = regex_filter
a1.sources.r1.interceptors.i1.regex = unwanted
a1.sources.r1.interceptors.i1.excludeEvents = true
a1.channels.c1.type = file
a1.channels.c1.checkpointDir = $dir/checkpoint
a1.channels.c1.dataDirs = $dir/data
a1.sinks.k1.type = file_roll
a1.sinks.k1.sink.directory = $dir/out
a1.sinks.k1.sink.rollInterval = 0
a1.sinks.k1.channel = c1
EOF
if [ "$(id -u)" = 0 ]; then	# an ordinary user suffices
	chmod 755 "$dir"
	mkdir "$dir/bin"
	cp "$PENSTOCK" "$dir/bin/penstock"
	printf '#!/bin/sh\nexec setpriv --reuid=65534 --regid=65534 --clear-groups "%s" "$@"\n' "$dir/bin/penstock" >"$dir/bin/run"
	chmod 755 "$dir/bin" "$dir/bin/run"
	PENSTOCK=$dir/bin/run
	chown -R 65534:65534 "$dir/out" "$dir"
fi
printf 'penstock.metrics.bind = 127.0.0.1:%s\n' "$http" >>"$dir/a.properties"
agent_start "$dir/a.properties"
logger -n 127.0.0.1 -P "$port" -d hello from logger || fail "logger"
logger -n 127.0.0.1 -P "$port" -d --rfc3164 unwanted line || fail "logger"
for i in $(seq 50); do logger -n 127.0.0.1 -P "$port" -d --rfc3164 "line $i" || fail "logger"; done
lines_are() { [ "$(cat "$dir"/out/* 2>/dev/null | wc -l)" = $1 ]; }
within $PATIENCE lines_are 51
[ "$(cat "$dir"/out/* | wc -l)" = 51 ] || fail "want 51 lines, have $(cat "$dir"/out/* | wc -l)"
grep -q 'hello from logger$' "$dir"/out/* || fail "hello is not in the file"
grep -q unwanted "$dir"/out/* && fail "the filtered line is in the file"
accounts_even
grep -q 'filtered *1 ' "$dir/drops" || fail "drops does not show the filtered event"
drain_counted() { curl -sf "http://127.0.0.1:$http/metrics" >"$dir/metrics" && grep -q '"EventDrainSuccessCount": *"51"' "$dir/metrics"; }
within $PATIENCE drain_counted	# lines are in the file before their sync is over and they are settled
python3 -c 'import json, sys
m = json.load(sys.stdin)
assert m["SOURCE.r1"]["EventReceivedCount"] == "52", m
assert m["CHANNEL.c1"]["EventPutSuccessCount"] == "51", m
assert m["SINK.k1"]["EventDrainSuccessCount"] == "51", m' <"$dir/metrics" || fail "metrics"
curl -sf "http://127.0.0.1:$http/health" >/dev/null || fail "health"
"$CTL" -s "$dir/a1.sock" --json trace r1 -n 1 >"$dir/trace" &
trace=$!
trace_fed()	# it is not known when the trace hangs: feed it until it has its event
{
	kill -0 $trace 2>/dev/null || return 0
	logger -n 127.0.0.1 -P "$port" -d --rfc3164 traced line || fail "logger"
	return 1
}
within $PATIENCE trace_fed || { kill $trace; fail "the trace has no event"; }
wait $trace || fail "trace"
grep -q 'traced line' "$dir/trace" || fail "trace does not show the event: $(cat "$dir/trace")"
agent_stop || fail "exit status after SIGTERM"
AGENT=
sed 's/\.port = .*/.port = 99999/; s/excludeEvents/excludeEvent/; s/type = file_roll/type = hbase2/' "$dir/a.properties" >"$dir/bad.properties"
"$PENSTOCK" check -f "$dir/bad.properties" >"$dir/bad" 2>&1
[ $? = 2 ] || fail "check of a bad file: exit status"
for word in 'bad.properties:6' 99999 excludeEvent hbase2; do grep -q "$word" "$dir/bad" || fail "check does not name $word: $(cat "$dir/bad")"; done
sed "s/port = $port/port = 514/" "$dir/a.properties" >"$dir/low.properties"
if [ "$(id -u)" = 0 ] && [ "$(cat /proc/sys/net/ipv4/ip_unprivileged_port_start)" -gt 514 ]; then
	"$PENSTOCK" agent -n a1 -f "$dir/low.properties" >"$dir/low" 2>&1 && fail "port 514 without the right"
	grep -q 'port 514.*CAP_NET_BIND_SERVICE' "$dir/low" || fail "port 514 is not refused by name: $(cat "$dir/low")"
fi
exit 0
