#!/bin/bash
# test_faults_real.sh PENSTOCK CTL GEN RINGLOG [FAULT...]: one fault after the other on a real HDFS, exactly once; after each `hadoop fs -text`
# finds every event the log had taken once, and no file is left in use.
set -u
PENSTOCK=$(realpath "$1") CTL=$(realpath "$2") GEN=$(realpath "$3") RINGLOG=$(realpath "$4")
shift 4
here=$(dirname "$0")
top=$(mktemp -d "${TMPDIR:-/var/tmp}/penstock-faults-XXXXXX")
dir=$top
. "$here/../../lib/daemon.sh"
. "$here/../../lib/hadoop.sh"
hadoop_jars || exit $?
gen=
trap '[ -n "$AGENT" ] && kill -9 $AGENT 2>/dev/null; [ -n "$gen" ] && kill $gen 2>/dev/null; hadoop_stop; rm -rf "$top"' EXIT
hadoop_start "$top/hadoop" 1 || exit 1
HADOOP_DFSADMIN=org.apache.hadoop.hdfs.tools.DFSAdmin

web()	# method path query: a call as root
{
	curl -s -m 20 -X "$1" "$HADOOP_NN/webhdfs/v1$2?user.name=root&$3"
}

conf_write()	# path more-lines...
{
	local path=$1 sink=${SINK:-k1}
	shift
	cat >"$dir/a.properties" <<-EOP
	a1.sources = r1
	a1.channels = c1
	a1.sinks = $sink ${SINK2-}
	a1.sources.r1.type = syslogudp
	a1.sources.r1.host = 127.0.0.1
	a1.sources.r1.port = $port
	a1.sources.r1.channels = c1
	a1.channels.c1.type = file
	a1.channels.c1.checkpointDir = $dir/checkpoint
	a1.channels.c1.dataDirs = $dir/data
	EOP
	for s in $sink ${SINK2-}; do
		cat >>"$dir/a.properties" <<-EOP
		a1.sinks.$s.type = hdfs
		a1.sinks.$s.channel = c1
		a1.sinks.$s.hdfs.path = $HADOOP_RPC$path
		a1.sinks.$s.hdfs.fileType = DataStream
		a1.sinks.$s.hdfs.rollInterval = ${ROLL:-1}
		a1.sinks.$s.hdfs.rollCount = 0
		a1.sinks.$s.hdfs.rollSize = 0
		a1.sinks.$s.hdfs.batchSize = 500
		a1.sinks.$s.penstock.hdfs.conf = $top/hadoop/conf
		EOP
		printf "a1.sinks.$s.%s\n" "$@" >>"$dir/a.properties"
	done
	sed -i '/^a1.sinks.[a-z0-9]*\.$/d' "$dir/a.properties"
}

load()	# seconds
{
	"$GEN" send --kernel --to "127.0.0.1:$port" --as syslog-udp --rate 4000 --seconds "$1" --seed 1 --report "$dir/sent" --quiet 2>"$dir/gen.log" &
	gen=$!
}

loaded()
{
	wait $gen || { cat "$dir/gen.log" >&2; fail "the generator"; }
	gen=
}

metric()	# name
{
	"$CTL" -s "$dir/a1.sock" metrics | awk -v n="$1" '$1 == "SINK" && $3 == n { s += $4 } END { print s + 0 }'
}

until_metric()	# name at-least seconds
{
	for _ in $(seq $(($3 * 10))); do
		[ "$(metric "$1")" -ge "$2" ] && return 0
		sleep 0.1
	done
	fail "$fault: $1 is $(metric "$1") after $3 s, wanted $2"
}

settled()	# directories...: drained, stopped, counted
{
	drained 60 || fail "$fault: not drained: $("$CTL" -s "$dir/a1.sock" metrics | grep 'SINK')"
	agent_stop || fail "$fault: exit status"
	AGENT=
	counted "$@"
}

counted()
{
	hadoop_fs -ls -R "${@%/\*}" >"$dir/list" 2>>"$dir/fs.log"
	grep '\.tmp$' "$dir/list" && fail "$fault: files are left in use"
	hadoop_fs -text "${@/%//*}" >"$dir/text" || fail "$fault: hadoop fs -text"
	"$GEN" verify --sent "$dir/sent" --seed 1 --report "$dir/verified" - <"$dir/text" >"$dir/verify.log" 2>&1
	python3 - "$dir/verified" "$fault" "$(grep -c FlumeData "$dir/list")" <<-'EOP' || fail "$fault: $(cat "$dir/verified")"
	import json, sys
	v = json.load(open(sys.argv[1]))
	print("%-16s %s files, unique %d, lost before the log %d, duplicated %d, corrupted %d" %
	      (sys.argv[2], sys.argv[3], v["unique"], v["lost"], v["duplicated"], v["corrupted"]))
	# UDP into a busy machine may lose; what the daemon was there for must not.
	sys.exit(not (v["unique"] > 2000 and v["duplicated"] == v["corrupted"] == v["phantom"] == 0))
	EOP
}

none_lost()
{
	python3 -c 'import json, sys; sys.exit(json.load(open(sys.argv[1]))["lost"] > 0)' "$dir/verified" || echo "$fault: note: datagrams were lost before the log"
}

down_at_start()
{
	hadoop_nn_kill
	conf_write /f1
	agent_start "$dir/a.properties"
	load 2
	loaded
	hadoop_nn_start
	settled /f1
}

safe_mode()
{
	conf_write /f2
	agent_start "$dir/a.properties"
	hadoop_admin $HADOOP_DFSADMIN -safemode enter >"$dir/admin.log" || fail "safemode"
	load 2
	loaded
	until_metric retries 1 20
	hadoop_admin $HADOOP_DFSADMIN -safemode leave >"$dir/admin.log" || fail "safemode"
	settled /f2
}

quota()
{
	web PUT /f3 op=MKDIRS >"$dir/web.log"
	hadoop_admin $HADOOP_DFSADMIN -setQuota 1 /f3 || fail "setQuota"
	conf_write /f3
	agent_start "$dir/a.properties"
	load 2
	loaded
	until_metric files_failed 1 20
	hadoop_admin $HADOOP_DFSADMIN -clrQuota /f3 || fail "clrQuota"
	settled /f3
}

denied()
{
	web PUT /f4 op=MKDIRS >"$dir/web.log"
	conf_write /f4 "penstock.hdfs.user = bob"
	agent_start "$dir/a.properties"
	load 2
	loaded
	until_metric files_failed 1 20
	web PUT /f4 "op=SETPERMISSION&permission=777" >"$dir/web.log"
	settled /f4
}

directory_removed()
{
	ROLL=6 conf_write /f5 "penstock.hdfs.memory = 4m"
	agent_start "$dir/a.properties"
	load 6
	until_metric requests 1 20
	web DELETE /f5 "op=DELETE&recursive=true" >"$dir/web.log"
	loaded
	settled /f5
}

datanode_killed()
{
	ROLL=3 conf_write /f6
	agent_start "$dir/a.properties"
	load 4
	until_metric requests 1 20
	hadoop_dn_kill 0
	hadoop_dn_start 0
	loaded
	settled /f6
}

path_changed()
{
	conf_write /f7a
	agent_start "$dir/a.properties"
	load 3
	until_metric files_closed 1 20
	kill -9 $AGENT
	wait $AGENT 2>/dev/null
	loaded
	conf_write /f7b/%Y "hdfs.useLocalTimeStamp = true" "hdfs.timeZone = Asia/Tokyo" "serializer.appendNewline = true"
	agent_start "$dir/a.properties"
	load_more=1
	settled /f7a "/f7b/$(TZ=Asia/Tokyo date +%Y)"
}

sink_renamed()
{
	SINK=k1 SINK2=k2 conf_write /f8
	agent_start "$dir/a.properties"
	load 3
	until_metric files_closed 1 20
	kill -9 $AGENT
	wait $AGENT 2>/dev/null
	loaded
	SINK=other SINK2= conf_write /f8
	agent_start "$dir/a.properties"
	sleep 4		# what sinks that are no more left is looked for 3 s after the start
	settled /f8
}

consumer_moves()
{
	conf_write /f9
	web PUT /f9taken op=MKDIRS >"$dir/web.log"
	agent_start "$dir/a.properties"
	load 3
	until_metric files_closed 1 20
	kill -9 $AGENT
	wait $AGENT 2>/dev/null
	loaded
	hadoop_fs -mv '/f9/FlumeData*[0-9]' /f9taken || fail "mv"
	agent_start "$dir/a.properties"
	settled /f9 /f9taken
}

stopped_orderly()
{
	ROLL=0 conf_write /f10
	agent_start "$dir/a.properties"
	load 2
	loaded
	until_metric open_events 2000 20
	agent_stop || fail "exit status"
	AGENT=
	counted /f10
}

[ $# -gt 0 ] || set -- stopped_orderly down_at_start safe_mode quota denied directory_removed datanode_killed path_changed sink_renamed consumer_moves
for fault; do
	dir=$top/$fault
	mkdir -p "$dir"
	port=$(free_port)
	hadoop_ready 1 || exit 1
	$fault
done
