# rounds.sh: a round of load from the generator through the file channel into a real HDFS while penstock and the cluster are killed and come back;
# to be sourced after daemon.sh, hadoop.sh and faults.sh. `hadoop fs -text` counts: each event once, and no file is left in use.
#
#   round N COMMAND...   COMMAND is what is done to the cluster, or to the agent (round_agent), in mid load; its moment comes out of RANDOM.
#                        Uses $dir and $port

round_agent() { kill -9 $AGENT; wait $AGENT 2>/dev/null; agent_start "$dir/a.properties"; }

round()
{
	local n=$1 at=/rounds/${dir##*/}/$1	# the directory's name: of other rounds on the same cluster there may be files
	shift
	rm -rf "$dir/checkpoint" "$dir/data" "$dir/held"
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
	a1.sinks.k1.hdfs.path = $HADOOP_RPC$at/%Y
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
	"$GEN" send --kernel --to "127.0.0.1:$port" --as syslog-udp --rate 20000 --seconds 6 --seed "$n" --report "$dir/sent" --quiet 2>"$dir/gen.log" &
	gen=$!
	# The moments of the kills are the input here, not waits.
	sleep 2.$((RANDOM % 10))
	"$@"
	sleep 1.$((RANDOM % 10))
	kill -9 $AGENT
	wait $AGENT 2>/dev/null
	wait $gen || { cat "$dir/gen.log" >&2; fail "round $n: the generator"; }
	gen=
	cp -r "$dir/data" "$dir/held"
	agent_start "$dir/a.properties"
	hadoop_ready 1 || fail "round $n: HDFS is not back"
	drained 250 || fail "round $n: not drained: $("$CTL" -s "$dir/a1.sock" --json status)"
	left_removed
	agent_stop || fail "round $n: exit status after SIGTERM"
	AGENT=
	none_in_use "$at"
	hadoop_fs -text "$at/*/*" >"$dir/text" || fail "round $n: hadoop fs -text"
	"$GEN" verify --sent "$dir/sent" --seed "$n" --acked "ringlog:$dir/held" --report "$dir/verified" - <"$dir/text" >"$dir/verify.log" 2>&1
	python3 - "$dir/verified" "$(grep -c FlumeData "$dir/list")" "$n" <<-'EOP' || fail "round $n: $(cat "$dir/verified" "$dir/verify.log")"
	import json, sys
	v = json.load(open(sys.argv[1]))
	print("round", sys.argv[3] + ":", v, "files:", sys.argv[2])
	sys.exit(not (v["unique"] > 10000 and v["lost_acked"] == v["duplicated"] == v["corrupted"] == v["phantom"] == 0))
	EOP
}
