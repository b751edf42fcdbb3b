#!/bin/bash
# test_daemon_kill.sh PENSTOCK CTL GEN RINGLOG: SIGKILL in the middle of a load, three times over; what the log on disk holds between
# kill and restart is delivered, whole; nothing is corrupted or invented.
set -u
PENSTOCK=$(realpath "$1") CTL=$(realpath "$2") GEN=$(realpath "$3") RINGLOG=$(realpath "$4")
dir=$(mktemp -d "${TMPDIR:-/var/tmp}/penstock-kill-XXXXXX")
. "$(dirname "$0")/../lib/daemon.sh"
gen=
trap '[ -n "$AGENT" ] && kill -9 $AGENT 2>/dev/null; [ -n "$gen" ] && kill $gen 2>/dev/null; rm -rf "$dir"' EXIT
export PATH=$(dirname "$RINGLOG"):$PATH
for round in 1 2 3; do
	port=$(free_port)
	rm -rf "$dir/checkpoint" "$dir/data" "$dir/out" "$dir/held"
	mkdir "$dir/out"
	cat >"$dir/a.properties" <<-EOF
	a1.sources = r1
	a1.channels = c1
	a1.sinks = k1
	a1.sources.r1.type = syslogudp
	a1.sources.r1.host = 127.0.0.1
	a1.sources.r1.port = $port
	a1.sources.r1.channels = c1
	a1.channels.c1.type = file
	a1.channels.c1.checkpointDir = $dir/checkpoint
	a1.channels.c1.dataDirs = $dir/data
	a1.channels.c1.capacity = 10000000
	a1.sinks.k1.type = file_roll
	a1.sinks.k1.sink.directory = $dir/out
	a1.sinks.k1.sink.rollInterval = 1
	a1.sinks.k1.sink.batchSize = 1000
	a1.sinks.k1.channel = c1
	EOF
	agent_start "$dir/a.properties"
	"$GEN" send --kernel --to "127.0.0.1:$port" --as syslog-udp --rate 60000 --seconds 4 --seed $round --report "$dir/sent" --quiet 2>"$dir/gen.log" &
	gen=$!
	sleep 1.$((RANDOM % 10))	# the moment of the kill is the input here, not a wait
	kill -9 $AGENT
	wait $AGENT 2>/dev/null
	wait $gen || { cat "$dir/gen.log" >&2; fail "the generator"; }
	gen=
	"$RINGLOG" verify "$dir/data" >"$dir/ringlog" 2>&1 || fail "ringlog verify: $(cat "$dir/ringlog")"
	"$RINGLOG" dump "$dir/data" >"$dir/dump" || fail "ringlog dump"
	cp -r "$dir/data" "$dir/held"
	agent_start "$dir/a.properties"
	drained 60 || fail "not drained after the restart"
	"$CTL" -s "$dir/a1.sock" drops >"$dir/drops" || fail "an account is uneven: $(cat "$dir/drops")"
	agent_stop || fail "exit status after SIGTERM"
	AGENT=
	"$GEN" verify --sent "$dir/sent" --seed $round --acked "ringlog:$dir/held" --report "$dir/verified" "file_roll:$dir/out" ||
		fail "round $round: $(cat "$dir/verified")"
	python3 - "$dir/verified" "$(wc -l <"$dir/dump")" <<-'EOF' || fail "round $round: $(cat "$dir/verified")"
	import json, sys
	v = json.load(open(sys.argv[1]))
	print(v, "events in the log at the kill:", sys.argv[2])
	sys.exit(not (v["unique"] > 10000 and int(sys.argv[2]) > 0 and v["lost_acked"] == v["corrupted"] == v["phantom"] == 0))
	EOF
done
