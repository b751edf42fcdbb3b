#!/bin/bash
# test_daemon_kill.sh PENSTOCK CTL GEN RINGLOG: one log under a steady load through 30 SIGKILLs (1000 with CHECK_LONG set, or
# PENSTOCK_KILLS, in lots of 30, each on a new log). What the log on disk holds after each kill counts as acknowledged: all of it is
# delivered in the end, whole; nothing is corrupted or invented.
set -u
PENSTOCK=$(realpath "$1") CTL=$(realpath "$2") GEN=$(realpath "$3") RINGLOG=$(realpath "$4")
dir=$(mktemp -d "${TMPDIR:-/var/tmp}/penstock-kill-XXXXXX")
. "$(dirname "$0")/../lib/daemon.sh"
gen=
trap '[ -n "$AGENT" ] && kill -9 $AGENT 2>/dev/null; [ -n "$gen" ] && kill $gen 2>/dev/null; rm -rf "$dir"' EXIT
export PATH=$(dirname "$RINGLOG"):$PATH
kills=${PENSTOCK_KILLS-30}
[ -z "${CHECK_LONG-}" ] || kills=1000
RANDOM=${PENSTOCK_SEED:=$RANDOM}
echo "PENSTOCK_SEED=$PENSTOCK_SEED chooses the moments of the kills"
done=0
lot=0
while [ $done -lt $kills ]; do
	lot=$((lot + 1))
	port=$(free_port)
	rm -rf "$dir/checkpoint" "$dir/data" "$dir/out" "$dir/acked"
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
	a1.channels.c1.checkpointInterval = 300
	a1.channels.c1.penstock.segmentSize = 2m
	a1.sinks.k1.type = file_roll
	a1.sinks.k1.sink.directory = $dir/out
	a1.sinks.k1.sink.rollInterval = 1
	a1.sinks.k1.sink.batchSize = 1000
	a1.sinks.k1.channel = c1
	EOF
	agent_start "$dir/a.properties"
	"$GEN" send --kernel --to "127.0.0.1:$port" --as syslog-udp --rate 20000 --seed $lot --report "$dir/sent" --quiet 2>"$dir/gen.log" &
	gen=$!
	for _ in $(seq 30); do
		sleep 0.$((RANDOM % 4))$((RANDOM % 10))	# the moment of the kill is the input here, not a wait
		kill -9 $AGENT
		wait $AGENT 2>/dev/null
		"$RINGLOG" verify "$dir/data" >"$dir/ringlog" 2>&1 || fail "ringlog verify: $(cat "$dir/ringlog")"
		"$RINGLOG" dump "$dir/data" >>"$dir/acked" || fail "ringlog dump"
		done=$((done + 1))
		agent_start "$dir/a.properties"
	done
	kill -INT $gen
	wait $gen || { cat "$dir/gen.log" >&2; fail "the generator"; }
	gen=
	drained 200 || fail "not drained after the last restart"
	accounts_even
	agent_stop || fail "exit status after SIGTERM"
	AGENT=
	"$GEN" verify --sent "$dir/sent" --seed $lot --acked "file:$dir/acked" --report "$dir/verified" "file_roll:$dir/out" ||
		fail "lot $lot: $(cat "$dir/verified")"
	python3 - "$dir/verified" "$(wc -l <"$dir/acked")" <<-'EOF' || fail "lot $lot: $(cat "$dir/verified")"
	import json, sys
	v = json.load(open(sys.argv[1]))
	print(v, "lines in the log at the kills:", sys.argv[2])
	sys.exit(not (v["unique"] > 10000 and int(sys.argv[2]) > 0 and v["lost_acked"] == v["corrupted"] == v["phantom"] == 0))
	EOF
	if [ $lot = 1 ]; then	# the oracle sees: without one file of the sink something acknowledged is lost
		rm "$(ls -S "$dir/out"/* | head -n 1)"
		"$GEN" verify --sent "$dir/sent" --seed $lot --acked "file:$dir/acked" --report "$dir/less" "file_roll:$dir/out" &&
			fail "a file of the sink is missing and nobody noticed"
	fi
done
echo "$done kills"
