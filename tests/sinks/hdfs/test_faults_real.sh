#!/bin/bash
# test_faults_real.sh PENSTOCK CTL GEN RINGLOG [GROUP...]: faults on a real HDFS, exactly once; after each `hadoop fs -text` finds every event that
# the log had taken once, and no file is left in use. Faults of one group run beside each other, and five rounds of load under kills (rounds.sh) beside
# them. GROUP: quiet1 to quiet4 and agents, which leave the cluster as it is, name_node, safe_mode, hang, data_node, full, or one:FAULT for one that needs nothing
# done to the cluster. SEED=N repeats the rounds' moments.
set -u
PENSTOCK=$(realpath "$1") CTL=$(realpath "$2") GEN=$(realpath "$3") RINGLOG=$(realpath "$4")
shift 4
top=$(mktemp -d "${TMPDIR:-/var/tmp}/penstock-faults-XXXXXX")
dir=$top AGENT= gen= relay=
. "$(dirname "$0")/../../lib/daemon.sh"
. "$(dirname "$0")/../../lib/hadoop.sh"
. "$(dirname "$0")/faults.sh"
. "$(dirname "$0")/rounds.sh"
SEED=${SEED:-$$}
hadoop_jars || exit $?
faults_stop()
{
	local one
	for one in "${fault_pids[@]}"; do
		kill "${one%%:*}" 2>/dev/null && wait "${one%%:*}"
	done
	hadoop_stop
	rm -rf "$top"
}
trap faults_stop EXIT
trap 'exit 1' TERM INT
hadoop_start "$top/hadoop" 1 || exit 1
[ -n "${HADOOP_SHARED-}" ] || hadoop_share "$top/hadoop" || exit 1

# ---- what a directory's state does ----

quota()
{
	web PUT /f/quota op=MKDIRS >"$dir/web.log"
	hadoop_admin $HADOOP_DFSADMIN -setQuota 1 /f/quota || fail "setQuota"
	conf_write /f/quota
	agent_start "$dir/a.properties"
	load 2
	until_metric files_failed 1
	hadoop_admin $HADOOP_DFSADMIN -clrQuota /f/quota || fail "clrQuota"
	loaded
	settled /f/quota
}

# A block is charged whole when it is begun: 1 MiB of room is less than one.
space_quota()
{
	web PUT /f/space op=MKDIRS >"$dir/web.log"
	hadoop_admin $HADOOP_DFSADMIN -setSpaceQuota 1048576 /f/space || fail "setSpaceQuota"
	conf_write /f/space
	agent_start "$dir/a.properties"
	load 2
	until_metric files_failed 1
	hadoop_admin $HADOOP_DFSADMIN -clrSpaceQuota /f/space || fail "clrSpaceQuota"
	loaded
	settled /f/space
}

# One bucket is not to be written; the other goes on.
denied()
{
	web PUT /f/denied op=MKDIRS >"$dir/web.log"
	web PUT /f/denied/1 op=MKDIRS >"$dir/web.log"
	web PUT /f/denied/2 "op=MKDIRS&permission=777" >"$dir/web.log"
	local other
	other=$(own_port 5)
	conf_write "/f/denied/%{bucket}" "penstock.hdfs.user = bob"
	cat >>"$dir/a.properties" <<-EOP
	a1.sources = r1 r2
	a1.sources.r1.interceptors = i1
	a1.sources.r1.interceptors.i1.type = static
	a1.sources.r1.interceptors.i1.key = bucket
	a1.sources.r1.interceptors.i1.value = 1
	a1.sources.r2.type = syslogudp
	a1.sources.r2.host = 127.0.0.1
	a1.sources.r2.port = $other
	a1.sources.r2.channels = c1
	a1.sources.r2.interceptors = i1
	a1.sources.r2.interceptors.i1.type = static
	a1.sources.r2.interceptors.i1.key = bucket
	a1.sources.r2.interceptors.i1.value = 2
	EOP
	sed -i '0,/^a1.sources = r1$/{/^a1.sources = r1$/d}' "$dir/a.properties"
	agent_start "$dir/a.properties"
	"$GEN" send --kernel --to "127.0.0.1:$other" --as syslog-udp --rate 1000 --seconds $LONG --seed 2 --report "$dir/sent2" --quiet 2>"$dir/gen2.log" &
	second=$!
	load 2
	until_metric files_failed 1
	loaded
	until_metric files_closed 2
	kill -TERM $second
	wait $second || fail "$fault: the generator"
	# Nothing of the one is there, the other's files are.
	hadoop_fs -ls /f/denied/1 >"$dir/list1"
	hadoop_fs -ls /f/denied/2 >"$dir/list2"
	[ "$(grep -c FlumeData "$dir/list1")" = 0 ] && [ "$(grep -c 'FlumeData.*[0-9]$' "$dir/list2")" -ge 2 ] || fail "$fault: $(cat "$dir/list1" "$dir/list2")"
	web PUT /f/denied/1 "op=SETPERMISSION&permission=777" >"$dir/web.log"
	agent_done
	counted_two /f/denied/1 /f/denied/2
}

# Two generators' events, each counted with its own seed; what stands in the log of the other one is no matter then.
counted_two()	# directory of the first's events, of the second's
{
	local seed list=("$@")
	none_in_use "$@"
	for seed in 1 2; do
		text_of "${list[$((seed - 1))]}" >"$dir/text"
		[ $seed = 1 ] && report=$dir/sent || report=$dir/sent2
		"$GEN" verify --sent "$report" --seed $seed --require-all --report "$dir/verified" - <"$dir/text" >"$dir/verify.log" 2>&1
		python3 - "$dir/verified" "$fault" "$("$RINGLOG" dump "$dir/data" | grep -c "bucket=$seed\\b")" <<-'EOP' || fail "$fault: $(cat "$dir/verified" "$dir/verify.log")"
		import json, sys
		v, held = json.load(open(sys.argv[1])), int(sys.argv[3])
		print("  %-18s %d events of the log's %d, twice %d, corrupted %d" % (sys.argv[2], v["unique"], held, v["duplicated"], v["corrupted"]))
		sys.exit(not (v["unique"] == held > 1500 and v["duplicated"] == v["corrupted"] == v["phantom"] == 0))
		EOP
	done
}

directory_removed()
{
	# It is open for as long as the machine takes to find it and to remove the directory, and ends by the load's end.
	ROLL=600 conf_write /f/removed "penstock.hdfs.memory = 4m" "hdfs.idleTimeout = 3"
	agent_start "$dir/a.properties"
	RATE=4000 load $LONG
	until_in_use /f/removed >"$dir/use" || exit 1
	web DELETE /f/removed "op=DELETE&recursive=true" >"$dir/web.log"
	load_stop
	until_metric files_failed 1
	settled /f/removed
}

# Another client takes the file we write, holds its lease and goes on writing.
lease_held()
{
	local use slow
	ROLL=600 conf_write /f/lease "penstock.hdfs.memory = 4m" "hdfs.idleTimeout = 3"
	agent_start "$dir/a.properties"
	RATE=4000 load $LONG
	use=$(until_in_use /f/lease) || exit 1
	slow=$(web PUT "/f/lease/$use" "op=CREATE&overwrite=true&noredirect=true" | python3 -c 'import json, sys; print(json.load(sys.stdin)["Location"])')
	local id thief
	id=$(web GET "/f/lease/$use" op=GETFILESTATUS | grep -o '"fileId":[0-9]*')
	{ head -c 1000000 /dev/zero; within 200 [ -e "$dir/enough" ]; sleep 2; } |
		curl -s -m 300 -o "$dir/thief" -X PUT -H 'Expect:' -H 'Transfer-Encoding: chunked' -T - "$slow" &
	thief=$!
	stolen() { local now; now=$(web GET "/f/lease/$use" op=GETFILESTATUS | grep -o '"fileId":[0-9]*') && [ "$now" != "$id" ]; }
	within 60 stolen || fail "$fault: the other client does not get the file"
	load_stop
	until_metric files_failed 1
	: >"$dir/enough"
	settled /f/lease
	wait $thief
}

# ---- crash and restart, with something else between ----

# path, zone, names and number of the sinks, and serializer are others after the crash; an INTENT is open and a file in use.
all_changed()
{
	relay_start
	conf_write /f/changed/a "penstock.hdfs.http_address = $RELAY"
	agent_start "$dir/a.properties"
	killed_at_intent
	SINKS="n1 n2" conf_write "/f/changed/b/%Y" "hdfs.useLocalTimeStamp = true" "hdfs.timeZone = Asia/Tokyo" "serializer = HEADER_AND_TEXT"
	agent_start "$dir/a.properties"
	until_none_in_use /f/changed/a
	settled /f/changed/a "/f/changed/b/$(TZ=Asia/Tokyo date +%Y)"
	[ "$(awk '$1 == "SINK" && $3 == "in_doubt" { n += $4 } END { print n + 0 }' "$dir/metrics")" = 0 ] || fail "$fault: in doubt"
}

# Its sink is no more: another one sees to its INTENT.
sink_removed()
{
	relay_start
	SINKS="k1 k2" conf_write /f/taken_out "penstock.hdfs.http_address = $RELAY"
	agent_start "$dir/a.properties"
	killed_at_intent
	SINKS="k2" conf_write /f/taken_out
	agent_start "$dir/a.properties"
	until_none_in_use /f/taken_out
	settled /f/taken_out
}

consumer_moves()
{
	relay_start
	web PUT /f/moved/to op=MKDIRS >"$dir/web.log"
	conf_write /f/moves "penstock.hdfs.http_address = $RELAY"
	agent_start "$dir/a.properties"
	killed_at_intent
	hadoop_fs -mv '/f/moves/FlumeData*[0-9]' /f/moved/to || fail "mv"
	agent_start "$dir/a.properties"
	settled /f/moves /f/moved/to
	[ "$(awk '$1 == "SINK" && $3 == "in_doubt" { n += $4 } END { print n + 0 }' "$dir/metrics")" = 0 ] || fail "$fault: a moved file is found by its identity"
}

# What cannot be had with redeliver: the one file whose rename was not recorded comes again, and is named.
consumer_copies()
{
	relay_start
	web PUT /f/copied/to op=MKDIRS >"$dir/web.log"
	conf_write /f/copies "penstock.hdfs.http_address = $RELAY"
	agent_start "$dir/a.properties"
	killed_at_intent
	hadoop_fs -cp '/f/copies/FlumeData*[0-9]' /f/copied/to && hadoop_fs -rm -skipTrash '/f/copies/FlumeData*[0-9]' >"$dir/rm.log" || fail "cp and rm"
	agent_start "$dir/a.properties"
	agent_done
	DUP=$(hadoop_fs -text "${doubt[@]/#*\//\/f\/copied\/to\/}" | wc -l)
	[ "$DUP" -gt 0 ] || fail "$fault: nothing is in the copy of ${doubt[*]}"
	DUP=$DUP counted /f/copies /f/copied/to
	[ "$(awk '$1 == "SINK" && $3 == "in_doubt" { print $4 }' "$dir/metrics")" = ${#doubt[@]} ] && grep -q "${doubt##*/}.*delivered again" "$dir/agent.log" || fail "$fault: not said: $(grep 'SINK.*in_doubt' "$dir/metrics")"
}

# The same with assume: once.
consumer_assumed()
{
	relay_start
	web PUT /f/assumed/to op=MKDIRS >"$dir/web.log"
	conf_write /f/assumes "penstock.hdfs.http_address = $RELAY" "penstock.hdfs.in_doubt = assume"
	agent_start "$dir/a.properties"
	killed_at_intent
	hadoop_fs -cp '/f/assumes/FlumeData*[0-9]' /f/assumed/to && hadoop_fs -rm -skipTrash '/f/assumes/FlumeData*[0-9]' >"$dir/rm.log" || fail "cp and rm"
	agent_start "$dir/a.properties"
	settled /f/assumes /f/assumed/to
}

# Files whose rename was recorded are the consumer's, who read them; the one in doubt it deletes unread, and it comes again.
consumer_deletes()
{
	relay_start
	conf_write /f/deletes "penstock.hdfs.http_address = $RELAY"
	agent_start "$dir/a.properties"
	killed_at_intent
	hadoop_fs -rm -skipTrash "${doubt[@]}" >"$dir/rm.log" || fail "rm"
	hadoop_fs -text '/f/deletes/FlumeData*[0-9]' >"$dir/consumed" || fail "text"
	hadoop_fs -rm -skipTrash '/f/deletes/FlumeData*[0-9]' >"$dir/rm.log" || fail "rm"
	agent_start "$dir/a.properties"
	settled /f/deletes
}

# ---- answers ----

rename_lost()
{
	relay_start
	conf_write /f/lost "penstock.hdfs.http_address = $RELAY"
	agent_start "$dir/a.properties"
	relay_order "op=RENAME&kind=lost&count=2"
	load $LONG
	relay_hit 2
	load_stop
	settled /f/lost
}

# Executed two seconds after the connection broke; by then the file has its name by another try.
rename_late()
{
	relay_start
	conf_write /f/late "penstock.hdfs.http_address = $RELAY"
	agent_start "$dir/a.properties"
	relay_order "op=RENAME&kind=late&count=2&ms=2000"
	load $LONG
	relay_hit 2
	within 60 relay_done 2 || fail "$fault: the late calls are not executed"
	load_stop
	settled /f/late
}

# ---- several on one directory ----

two_sinks()
{
	SINKS="k1 k2" conf_write /f/two
	agent_start "$dir/a.properties"
	load $LONG
	closed_by k1 2
	closed_by k2 2
	load_stop
	settled /f/two
	[ "$(grep -c 'FlumeData\.k1\.' "$dir/list")" -gt 0 ] && [ "$(grep -c 'FlumeData\.k2\.' "$dir/list")" -gt 0 ] || fail "$fault: one sink wrote nothing"
}

# Two agents with equal names: each one's log has an id of its own. One is killed and comes again.
two_agents()
{
	local first=$dir mine id at seed=0
	conf_write /f/agents
	agent_start "$dir/a.properties"
	load $LONG
	id[1]=$(until_in_use /f/agents) || exit 1
	id[1]=${id[1]%-*}
	mine="$AGENT $gen $port"
	dir=$first/other
	mkdir "$dir"
	port=$(own_port 5)
	conf_write /f/agents
	agent_start "$dir/a.properties"
	"$GEN" send --kernel --to "127.0.0.1:$port" --as syslog-udp --rate 3000 --seconds $LONG --seed 2 --report "$dir/sent" --quiet 2>"$dir/gen.log" &
	second=$!
	local other
	until_metric files_closed 1
	agent_kill
	agent_start "$dir/a.properties"
	until_metric files_closed 1
	kill -TERM $second
	wait $second || fail "$fault: the generator"
	agent_done
	other=$dir
	dir=$first
	read -r AGENT gen port <<<"$mine"
	load_stop
	agent_done
	DIRS="$first $other" none_in_use /f/agents
	id[2]=$(grep -o 'FlumeData\.k1\.[0-9a-f]*' "$dir/list" | grep -v -F "${id[1]}" | head -n 1)
	for at in "$first" "$other"; do
		seed=$((seed + 1))
		hadoop_fs -text "/f/agents/${id[$seed]}-*" >"$at/text" || fail "$fault: text"
		"$GEN" verify --sent "$at/sent" --seed $seed --acked "ringlog:$at/data" --report "$at/verified" - <"$at/text" >"$at/verify.log" 2>&1
		cp "$at/verified" "$dir/verified.$seed"
	done
	python3 - "$dir/verified.1" "$dir/verified.2" <<-'EOP' || fail "$fault: $(cat "$dir/verified.1" "$dir/verified.2")"
	import json, sys
	v = [json.load(open(name)) for name in sys.argv[1:]]
	print("  two_agents", v)
	sys.exit(not all(x["unique"] > 2000 and x["lost_acked"] == x["duplicated"] == 0 for x in v))
	EOP
}

group_write()	# adds a failover group of k1 and k2, k1 first
{
	cat >>"$dir/a.properties" <<-EOP
	a1.sinkgroups = g1
	a1.sinkgroups.g1.sinks = k1 k2
	a1.sinkgroups.g1.processor.type = failover
	a1.sinkgroups.g1.processor.priority.k1 = 10
	a1.sinkgroups.g1.processor.priority.k2 = 5
	a1.sinkgroups.g1.processor.maxpenalty = 2000
	EOP
}

closed_by()	# sink at-least: so many of its files got their final names
{
	local closed
	for _ in $(seq 900); do
		closed=$("$CTL" -s "$dir/a1.sock" metrics | awk -v s="$1" '$1 == "SINK" && $2 == s && $3 == "files_closed" { print $4 }')
		[ "${closed:-0}" -ge "$2" ] && return 0
		sleep 0.1
	done
	fail "$fault: $1 closed ${closed:-no} files within 90 s, wanted $2: $("$CTL" -s "$dir/a1.sock" metrics | grep SINK)"
}

# A failover group on one directory. The first sink's NameNode is away (it takes connections and answers nothing) from the middle of its files on,
# penstock is killed meanwhile, and then the NameNode is back and so is the sink.
failover_away()
{
	relay_start
	# Long enough for a NameNode and a DataNode that have work of six tests beside this one: a sink that is served is not to be left out.
	SINKS="k1 k2" conf_write /f/group "hdfs.callTimeout = 4000" "k1: penstock.hdfs.http_address = $RELAY"
	group_write
	agent_start "$dir/a.properties"
	load $LONG
	closed_by k1 1
	kill -STOP $relay
	closed_by k2 2
	# The first sink is asked again after its penalty, and is in for as long as it is not answered.
	local want="[{'name': 'g1', 'processor': 'failover', 'sinks': [{'name': 'k1', 'out': True}, {'name': 'k2', 'out': False}]}]"
	for _ in $(seq 600); do
		"$CTL" -s "$dir/a1.sock" --json status | python3 -c 'import json, sys
print(json.load(sys.stdin)["sink_groups"])' >"$dir/status"
		[ "$(cat "$dir/status")" = "$want" ] && break
		sleep 0.1
	done
	[ "$(cat "$dir/status")" = "$want" ] || fail "$fault: status shows $(cat "$dir/status")"
	agent_kill
	agent_start "$dir/a.properties"
	kill -CONT $relay
	closed_by k1 1
	load_stop
	settled /f/group
	grep -q 'SINKGROUP.*g1.*turns' "$dir/metrics" || fail "$fault: the group shows nothing: $(cat "$dir/metrics")"
	echo "  files of k1, k2: $(grep -c 'FlumeData\.k1\.' "$dir/list"), $(grep -c 'FlumeData\.k2\.' "$dir/list")"
}

# The first sink may not write its directory; then it may.
failover_denied()
{
	web PUT /f/refused op=MKDIRS >"$dir/web.log"
	web PUT /f/refused/k1 op=MKDIRS >"$dir/web.log"
	web PUT /f/refused/k2 "op=MKDIRS&permission=777" >"$dir/web.log"
	SINKS="k1 k2" conf_write /f/refused/@ "penstock.hdfs.user = bob"
	sed -i 's|sinks\.\(k[12]\)\.hdfs.path = .*/@|&\1|; s|/@k|/k|' "$dir/a.properties"
	group_write
	agent_start "$dir/a.properties"
	load $LONG
	closed_by k2 2
	web PUT /f/refused/k1 "op=SETPERMISSION&permission=777" >"$dir/web.log"
	closed_by k1 2
	load_stop
	settled /f/refused/k1 /f/refused/k2
}

stopped_orderly()
{
	ROLL=0 conf_write /f/stopped
	agent_start "$dir/a.properties"
	load 2
	loaded
	until_metric open_events 2000
	agent_stop || fail "exit status"
	AGENT=
	counted /f/stopped
}

# ---- agent files as they are used with Flume ----

# Runs it with nothing but HADOOP_CONF_DIR set.
agent_file()	# name
{
	sed "s|@PORT@|$port|; s|@DIR@|$dir|" "$here/agents/$1.properties" >"$dir/a.properties"
	export HADOOP_CONF_DIR=$HADOOP_DIR/conf
	agent_start "$dir/a.properties"
	load 2
	loaded
}

file_text()
{
	agent_file text
	until_metric open_events 1
	agent_stop || fail "$fault: exit status"	# its last file ends with the agent
	AGENT=
	INUSE='/_|\.tmp$' counted /agents/text
	[ "$(grep -c '/events\..*\.log$' "$dir/list")" -ge 3 ] && [ "$(grep -c '/events' "$dir/list")" = "$(grep -c '\.log$' "$dir/list")" ] ||
		fail "$fault: $(cat "$dir/list")"
}

file_dated()
{
	local day
	day=$(date +year=%Y/month=%m/day=%d)
	agent_file dated
	agent_done
	[ "$day" = "$(date +year=%Y/month=%m/day=%d)" ] || day="year=*/month=*/day=*"
	counted "/agents/dated/$day"
}

file_avro()
{
	agent_file avro
	agent_done
	none_in_use /agents/avro
	hadoop_fs -text '/agents/avro/*.avro' | python3 -c 'import json, sys
for line in sys.stdin:
    print(json.loads(line)["body"])' >"$dir/text" || fail "$fault: not Avro"
	hadoop_fs -cat '/agents/avro/*.avro' | grep -a -q 'avro.codec.*snappy' || fail "$fault: not snappy"
	verified
}

file_rounded()
{
	agent_file rounded
	agent_done
	counted "/agents/rounded/*/*"
	[ "$(grep -c 'FlumeData' "$dir/list")" = "$(grep -c '/[0-9-]*/[0-2][0-9][0-5]0/FlumeData' "$dir/list")" ] || fail "$fault: $(cat "$dir/list")"
}

# ---- of the whole cluster ----

# A file is being written while the NameNode is killed, and another agent starts while it is down.
name_node_restarted()
{
	ROLL=3 conf_write /f/nn "penstock.hdfs.memory = 4m"
	agent_start "$dir/a.properties"
	RATE=4000 load $LONG
	until_in_use /f/nn >"$dir/use" || exit 1
	fault_ready
	load_stop
	settled /f/nn
}

down_at_start()
{
	until_word nn_down
	conf_write /f/down
	agent_start "$dir/a.properties"
	load 2
	loaded
	settled /f/down
}

until_word()	# word
{
	for _ in $(seq 3600); do
		[ -e "$top/$1" ] && return 0
		sleep 0.05
	done
	fail "$fault: no word $1"
}

safe_mode_entered()
{
	conf_write /f/safe
	agent_start "$dir/a.properties"
	load $LONG
	until_metric files_closed 1
	hadoop_admin $HADOOP_DFSADMIN -safemode enter >"$dir/admin.log" || fail "safemode"
	until_metric retries 2
	load_stop
	hadoop_admin $HADOOP_DFSADMIN -safemode leave >"$dir/admin.log" || fail "safemode"
	settled /f/safe
}

# It takes connections and answers nothing; what it was asked it does later, when nobody waits any more.
name_node_hangs()
{
	conf_write /f/hang "hdfs.callTimeout = 3000"
	agent_start "$dir/a.properties"
	load $LONG
	until_metric files_closed 1
	kill -STOP "$(hadoop_nn_pid)"
	until_metric retries 2 || { kill -CONT "$(hadoop_nn_pid)"; exit 1; }
	kill -CONT "$(hadoop_nn_pid)"
	load_stop
	settled /f/hang
}

data_node_killed()
{
	ROLL=3 conf_write /f/dn "penstock.hdfs.memory = 4m"
	agent_start "$dir/a.properties"
	RATE=4000 load $LONG
	until_in_use /f/dn >"$dir/use" || exit 1
	fault_ready
	within 120 data_node_answers || fail "$fault: the DataNode does not come back"
	SECONDS=0
	load_stop
	agent_done
	[ $SECONDS -lt 60 ] || fail "$fault: $SECONDS s: the DataNode was back long before"
	counted /f/dn
}

data_node_answers() { curl -s -m 20 -o "$dir/jmx" "http://127.0.0.1:${HADOOP_DN_HTTP[0]}/jmx?qry=Hadoop:service=DataNode,name=FSDatasetState"; }

fsyncs()	# blocks that the first DataNode brought to its disk since its start, as of at most 10 s ago
{
	curl -s -m 20 "http://127.0.0.1:${HADOOP_DN_HTTP[0]}/jmx?qry=Hadoop:service=DataNode,name=DataNodeActivity-*" |
		python3 -c 'import json, sys; print(json.load(sys.stdin)["beans"][0]["FsyncCount"])'
}

# Blocks are brought to the disk before they count; then DataNode and penstock are killed together.
sync_block()
{
	conf_write /f/sync "penstock.hdfs.sync_block = true"
	agent_start "$dir/a.properties"
	load $LONG
	until_metric files_closed 2
	fault_ready
	agent_kill
	load_stop
	agent_start "$dir/a.properties"
	settled /f/sync
	SECONDS=0
	until [ "$(fsyncs)" -ge 1 ]; do
		[ $SECONDS -lt 60 ] || fail "$fault: the DataNode, started anew, synced no block of the files it got since"
		sleep 0.2
	done
}

# The DataNode's disk (192 MiB) is full in mid write; then there is room again.
data_node_full()
{
	local node=/proc/$(hadoop_dn_pid 1)/root$HADOOP_DIR/small
	mkdir "$dir/conf"
	cp "$HADOOP_DIR/conf"/*.xml "$dir/conf"
	sed -i 's|</configuration>|<property><name>dfs.blocksize</name><value>1048576</value></property></configuration>|' "$dir/conf/hdfs-site.xml"
	CONF=$dir/conf ROLL=2 conf_write /f/full "penstock.hdfs.memory = 8m"
	agent_start "$dir/a.properties"
	RATE=5000 load 100
	until_metric files_closed 1
	local before free
	before=$(metric retries)
	for _ in $(seq 100); do	# to the last byte, and to those that the DataNode gives back meanwhile of what it could not end
		dd if=/dev/zero of="$node/filler" bs=64k oflag=append conv=notrunc 2>"$dir/dd.log"
		free=$(stat -f -c %a "$node")
		[ "$free" = 0 ] && break
	done
	[ "$free" = 0 ] || fail "$fault: not full: $free blocks are free"
	# What was being written fails; what is small enough to be kept waits for room.
	for _ in $(seq 300); do
		[ "$(metric files_failed)" -ge 1 ] || [ "$(metric retries)" -gt "$before" ] && break
		sleep 0.1
	done
	[ "$(metric files_failed)" -ge 1 ] || [ "$(metric retries)" -gt "$before" ] || fail "$fault: nothing met the full disk"
	rm "$node/filler"
	load_stop
	settled /f/full
}

# ---- rounds of load; what falls meanwhile is killed by the group ----

killed_at_random()	# round, what is done
{
	RANDOM=$((SEED + $1))
	export PATH=$(dirname "$RINGLOG"):$PATH
	echo "round $1: SEED=$SEED"
	round "$@"
}

round1() { killed_at_random 1 round_agent; }
round2() { killed_at_random 2 fault_ready; }
round3() { killed_at_random 3 fault_ready; }
round4() { killed_at_random 4 round_agent; }
round5() { killed_at_random 5 fault_ready; }

# ---- groups ----

run()	# fault...
{
	local one
	for one; do
		fault_begin $one
	done
	faults_end || bad=1
}

group_quiet1() { run quota space_quota denied directory_removed lease_held; }
group_quiet2() { run all_changed sink_removed consumer_moves consumer_copies consumer_deletes consumer_assumed; }
group_quiet3() { run rename_lost rename_late two_sinks two_agents stopped_orderly; }
group_quiet4() { run failover_away failover_denied file_text file_dated file_avro file_rounded; }

group_agents() { run round1 round4; }

group_name_node()
{
	fault_begin name_node_restarted
	fault_begin down_at_start
	fault_begin round3
	faults_ready name_node_restarted round3
	hadoop_nn_kill
	: >"$top/nn_down"
	: >"$top/word"
	for _ in $(seq 2400); do
		[ -s "$top/down_at_start/agent.log" ] && break
		sleep 0.05
	done
	hadoop_nn_start
	faults_end || bad=1
	rm -f "$top/word"
	hadoop_ready 1 || exit 1
}

group_safe_mode() { run safe_mode_entered; }
group_hang() { run name_node_hangs; }

group_data_node()
{
	fault_begin data_node_killed
	fault_begin sync_block
	fault_begin round2
	fault_begin round5
	faults_ready data_node_killed sync_block round2 round5
	hadoop_dn_kill 0
	: >"$top/word"
	hadoop_dn_start 0
	faults_end || bad=1
	rm -f "$top/word"
}

# A second DataNode whose disk is a tmpfs of its own; the first one is down meanwhile.
group_full()
{
	mkdir -p "$HADOOP_DIR/small"
	printf '#!/bin/bash\nmount -t tmpfs -o size=192m penstock-test "%s" && exec "$@"\n' "$HADOOP_DIR/small" >"$top/small.sh"
	HADOOP_DN_WITHIN="unshare -m bash $top/small.sh" HADOOP_DN_DIR=$HADOOP_DIR/small/data hadoop_dn_start 1
	hadoop_ready 2 || exit 1
	hadoop_dn_kill 0
	run data_node_full
	web DELETE /f/full "op=DELETE&recursive=true" >"$top/web.log"
	hadoop_dn_start 0
	hadoop_dn_kill 1
}

bad=0
[ $# -gt 0 ] || set -- quiet1 quiet2 quiet3 quiet4 agents name_node safe_mode hang data_node full
for group; do
	SECONDS=0
	case $group in
	one:*) run "${group#one:}" ;;
	*) group_$group ;;
	esac
	echo "$group: $SECONDS s"
done
exit $bad
