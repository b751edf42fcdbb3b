#!/bin/bash
# test_daemon.sh PENSTOCK CTL GEN RINGLOG: load from the generator through the file channel into a real HDFS while penstock, the
# NameNode and the DataNode are killed and come back. `hadoop fs -text` counts: each event once, and no file is left in use.
# Five rounds, twenty with CHECK_LONG; SEED=N repeats the moments.
set -u
PENSTOCK=$(realpath "$1") CTL=$(realpath "$2") GEN=$(realpath "$3") RINGLOG=$(realpath "$4") rounds=5
[ -z "${CHECK_LONG-}" ] || rounds=20
dir=$(mktemp -d "${TMPDIR:-/var/tmp}/penstock-hdfsd-XXXXXX")
. "$(dirname "$0")/../../lib/daemon.sh"
. "$(dirname "$0")/../../lib/hadoop.sh"
hadoop_jars || exit $?
gen=
export PATH=$(dirname "$RINGLOG"):$PATH
trap '[ -n "$AGENT" ] && kill -9 $AGENT 2>/dev/null; [ -n "$gen" ] && kill $gen 2>/dev/null; hadoop_stop; rm -rf "$dir"' EXIT
hadoop_start "$dir/hadoop" 1 || exit 1
[ -n "${HADOOP_SHARED-}" ] || hadoop_share "$dir/hadoop" || exit 1
SEED=${SEED:-$$}
echo "SEED=$SEED"
RANDOM=$SEED
for round in $(seq "$rounds"); do
	port=$(free_port)
	rm -rf "$dir/checkpoint" "$dir/data"
	cat >"$dir/a.properties" <<-EOP
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
	a1.sinks.k1.type = hdfs
	a1.sinks.k1.hdfs.path = $HADOOP_RPC/rounds/$round/%Y
	a1.sinks.k1.hdfs.useLocalTimeStamp = true
	a1.sinks.k1.hdfs.fileType = DataStream
	a1.sinks.k1.hdfs.rollInterval = 1
	a1.sinks.k1.hdfs.rollCount = 0
	a1.sinks.k1.hdfs.rollSize = 0
	a1.sinks.k1.hdfs.batchSize = 1000
	a1.sinks.k1.penstock.hdfs.conf = $HADOOP_DIR/conf
	a1.sinks.k1.channel = c1
	EOP
	agent_start "$dir/a.properties"
	"$GEN" send --kernel --to "127.0.0.1:$port" --as syslog-udp --rate 20000 --seconds 6 --seed $round --report "$dir/sent" --quiet 2>"$dir/gen.log" &
	gen=$!
	# The moments of the kills are the input here, not waits.
	sleep 2.$((RANDOM % 10))
	case $((round % 3)) in
	0) hadoop_nn_kill; sleep 0.$((RANDOM % 10)); hadoop_nn_start ;;
	1) kill -9 $AGENT; wait $AGENT 2>/dev/null; agent_start "$dir/a.properties" ;;
	2) hadoop_dn_kill 0; sleep 0.$((RANDOM % 10)); hadoop_dn_start 0 ;;
	esac
	sleep 1.$((RANDOM % 10))
	kill -9 $AGENT
	wait $AGENT 2>/dev/null
	wait $gen || { cat "$dir/gen.log" >&2; fail "the generator"; }
	gen=
	rm -rf "$dir/held"
	cp -r "$dir/data" "$dir/held"
	agent_start "$dir/a.properties"
	hadoop_ready 1 || fail "HDFS is not back"
	drained 100 || fail "round $round: not drained: $("$CTL" -s "$dir/a1.sock" --json status)"
	agent_stop || fail "exit status after SIGTERM"
	AGENT=
	hadoop_fs -ls -R "/rounds/$round" >"$dir/list" || fail "hadoop fs -ls"
	grep '\.tmp$' "$dir/list" && fail "round $round: files are left in use"
	hadoop_fs -text "/rounds/$round/*/*" >"$dir/text" || fail "hadoop fs -text"
	"$GEN" verify --sent "$dir/sent" --seed $round --acked "ringlog:$dir/held" --report "$dir/verified" - <"$dir/text" >"$dir/verify.log" 2>&1
	python3 - "$dir/verified" "$(grep -c FlumeData "$dir/list")" $round <<-'EOP' || fail "round $round: $(cat "$dir/verified" "$dir/verify.log")"
	import json, sys
	v = json.load(open(sys.argv[1]))
	print("round", sys.argv[3] + ":", v, "files:", sys.argv[2])
	sys.exit(not (v["unique"] > 10000 and v["lost_acked"] == v["duplicated"] == v["corrupted"] == v["phantom"] == 0))
	EOP
done
