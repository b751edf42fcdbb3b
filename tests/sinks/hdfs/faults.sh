# faults.sh: what the tests of faults on a real HDFS share; to be sourced after daemon.sh and hadoop.sh. A fault is a function run by fault_run in
# a process of its own, with a directory, port and agent of its own; `fault` is its name, `top` the directory of all.
HADOOP_DFSADMIN=org.apache.hadoop.hdfs.tools.DFSAdmin
here=$(dirname "${BASH_SOURCE[0]}")
. "$here/../../lib/wait.sh"
fault_pids=()
fault_ports=$((12000 + $$ % 50 * 400))	# ten for each fault, below those that the generators beside it send from

# A free UDP port of this fault's own.
own_port()
{
	python3 -c 'import socket, sys
for port in range(int(sys.argv[1]), int(sys.argv[1]) + 10):
    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).bind(("127.0.0.1", port))
    except OSError:
        continue
    print(port)
    break' $((fault_ports + ${1:-0}))
}

web()	# method path query: a call as root
{
	curl -s -m 60 -X "$1" "$HADOOP_NN/webhdfs/v1$2?user.name=root&$3"
}

# Environment: SINKS (k1), ROLL (1 s), FORMAT, SERVICE (where the path is). Lines may have the sink's name in front ("k2: hdfs.x = y").
conf_write()	# path line...
{
	local path=$1 line s
	shift
	cat >"$dir/a.properties" <<-EOP
	a1.sources = r1
	a1.channels = c1
	a1.sinks = ${SINKS:-k1}
	a1.sources.r1.type = syslogudp
	a1.sources.r1.host = 127.0.0.1
	a1.sources.r1.port = $port
	a1.sources.r1.channels = c1
	a1.channels.c1.type = file
	a1.channels.c1.checkpointDir = $dir/checkpoint
	a1.channels.c1.dataDirs = $dir/data
	EOP
	for s in ${SINKS:-k1}; do
		cat >>"$dir/a.properties" <<-EOP
		a1.sinks.$s.type = hdfs
		a1.sinks.$s.channel = c1
		a1.sinks.$s.hdfs.path = ${SERVICE-$HADOOP_RPC}$path
		a1.sinks.$s.hdfs.fileType = DataStream
		a1.sinks.$s.hdfs.rollInterval = ${ROLL:-1}
		a1.sinks.$s.hdfs.rollCount = 0
		a1.sinks.$s.hdfs.rollSize = 0
		a1.sinks.$s.hdfs.batchSize = 500
		a1.sinks.$s.penstock.hdfs.conf = ${CONF:-$HADOOP_DIR/conf}
		EOP
		for line; do
			case $line in
			"$s: "*) echo "a1.sinks.$s.${line#*: }" ;;
			*": "*) ;;
			*) echo "a1.sinks.$s.$line" ;;
			esac
		done >>"$dir/a.properties"
	done
}

LONG=400	# seconds of a load that load_stop ends, when what it is for has happened

load()	# seconds
{
	"$GEN" send --kernel --to "127.0.0.1:$port" --as "${AS:-syslog-udp}" --rate ${RATE:-3000} --seconds "$1" --seed 1 --report "$dir/sent" --quiet 2>"$dir/gen.log" &
	gen=$!
}

loaded()
{
	wait $gen || { cat "$dir/gen.log" >&2; fail "$fault: the generator"; }
	gen=
}

load_stop()	# no more is wanted of it
{
	kill -TERM $gen
	loaded
}

metric()	# name
{
	"$CTL" -s "$dir/a1.sock" metrics | awk -v n="$1" '$1 == "SINK" && $3 == n { s += $4 } END { print s + 0 }'
}

until_metric()	# name at-least: for as long as a slow cluster may take
{
	for _ in $(seq 900); do
		[ "$(metric "$1")" -ge "$2" ] && return 0
		sleep 0.1
	done
	fail "$fault: $1 is $(metric "$1") after 90 s, wanted $2"
}

# Prints the name of a file that is being written there.
until_in_use()	# directory
{
	local use
	for _ in $(seq 1200); do
		use=$(web GET "$1" op=LISTSTATUS | grep -o 'FlumeData[^"]*\.tmp' | head -n 1)
		[ -n "$use" ] && { echo "$use"; return 0; }
		sleep 0.05
	done
	fail "$fault: no file is in use in $1"
}

until_none_in_use()	# directory
{
	for _ in $(seq 600); do
		web GET "$1" op=LISTSTATUS | grep -q 'FlumeData[^"]*\.tmp' || return 0
		sleep 0.1
	done
	return 0	# said by what counts the files
}

agent_kill()
{
	kill -9 $AGENT
	wait $AGENT 2>/dev/null
	AGENT=
}

# What an earlier run left is seen to within seconds of the start; what a busy DataNode may make late is looked for for some 42 s.
left_removed()
{
	for _ in $(seq 600); do
		[ "$(metric intents)" = 0 ] && break
		sleep 0.1
	done
	for _ in $(seq 900); do
		"$CTL" -s "$dir/a1.sock" --json status | grep -q '"state": *"removing"' || break
		sleep 0.1
	done
}

agent_done()	# drained and stopped
{
	drained 200 || fail "$fault: not drained: $("$CTL" -s "$dir/a1.sock" metrics | grep 'SINK')"
	left_removed
	"$CTL" -s "$dir/a1.sock" metrics >"$dir/metrics"
	agent_stop || fail "$fault: exit status"
	AGENT=
	"$RINGLOG" ledger "$dir/data" >"$dir/ledger" || fail "$fault: penstock-ringlog ledger"
	grep -q '^0 INTENT, ' "$dir/ledger" || fail "$fault: an INTENT is left: $(cat "$dir/ledger")"
}

settled()	# directory...: drained, stopped, counted
{
	agent_done
	counted "$@"
}

text_of()	# directory...: their final files, by Hadoop; $dir/list: what they hold (a glob that finds nothing is an error to Hadoop)
{
	local one
	local -a globs=()
	for one; do
		grep -qE "^-.* ${one//\*/[^/]*}/" "$dir/list" && globs+=("$one/*")
	done
	[ ${#globs[@]} -eq 0 ] || hadoop_fs -text "${globs[@]}" || fail "$fault: hadoop fs -text"
}

in_use_gone()	# directory...: into $list; names in the file $late: none of these
{
	hadoop_fs -ls -R "$@" >"$list" 2>>"$dir/fs.log"
	if [ -n "$late" ]; then
		! grep -qFf "$late" "$list"
	else
		! grep -qE "${INUSE:-\.tmp$}" "$list"
	fi
}

# $dir/list: what the directories hold; nothing of it is in use. What a busy DataNode made behind the last look of the run is in the ledger still, and the
# next run removes it. INUSE: what in-use names look like; DIRS: of the agents that write there, if there are several.
none_in_use()	# directory...
{
	local one late= list=$dir/list
	in_use_gone "$@" && return
	for one in ${DIRS:-$dir}; do
		local dir=$one
		"$RINGLOG" ledger "$dir/data" >"$dir/ledger" || fail "${fault-}: penstock-ringlog ledger"
		sed -n 's/^consumer BOUND sink .* in_use "\([^"]*\)".*/\1/p' "$dir/ledger" >"$dir/late"
		[ -s "$dir/late" ] || continue
		echo "  made late, to be removed by another run: $(cat "$dir/late")"
		late=$dir/late
		agent_start "$dir/a.properties"
		within 120 in_use_gone "$@" || fail "${fault-}: of an earlier run, and not removed: $(cat "$dir/late")"
		agent_stop || fail "${fault-}: exit status"
		AGENT=
		late=
	done
	in_use_gone "$@" || fail "${fault-}: files are left in use: $(cat "$list")"
}

# Every event that the log took stands there once. DUP: so many are known to stand there twice.
counted()	# directory...
{
	none_in_use "${@%/\*}"
	text_of "$@" >"$dir/text"
	[ ! -e "$dir/consumed" ] || cat "$dir/consumed" >>"$dir/text"
	verified
}

verified()
{
	"$GEN" verify --sent "$dir/sent" --seed 1 --acked "ringlog:$dir/data" --report "$dir/verified" - <"$dir/text" >"$dir/verify.log" 2>&1
	python3 - "$dir/verified" "$fault" "$(grep -c '^-' "$dir/list")" "${DUP:-0}" "${LEAST:-2000}" <<-'EOP' || fail "$fault: $(cat "$dir/verified" "$dir/verify.log")"
	import json, sys
	v = json.load(open(sys.argv[1]))
	print("  %-18s %s files, %d events of the log, lost %d, twice %d, corrupted %d" %
	      (sys.argv[2], sys.argv[3], v["unique"], v["lost_acked"], v["duplicated"], v["corrupted"]))
	# UDP into a busy machine may lose; what the log took must not.
	sys.exit(not (v["unique"] >= int(sys.argv[5]) and v["lost_acked"] == v["corrupted"] == v["phantom"] == 0 and v["duplicated"] == int(sys.argv[4])))
	EOP
}

# A relay in front of the NameNode; use "penstock.hdfs.http_address = $RELAY".
relay_start()
{
	mkfifo "$dir/relay.in"
	exec 8<>"$dir/relay.in"
	python3 "$here/../../lib/namenode_relay.py" "${HADOOP_NN#http://}" <"$dir/relay.in" >"$dir/relay.port" 2>"$dir/relay.log" 8>&- &
	relay=$!
	for _ in $(seq 1200); do
		read -r RELAY <"$dir/relay.port" && { RELAY=127.0.0.1:$RELAY; return; }
		sleep 0.05
	done
	fail "$fault: the relay does not start"
}

relay_order() { curl -s -m 60 "http://$RELAY/relay?$1" >"$dir/relay.last" || fail "$fault: the relay"; }	# query

relay_hit()	# count: waits until so many calls met the fault
{
	for _ in $(seq 1200); do
		relay_order ""
		[ "$(head -n 1 "$dir/relay.last")" -ge "$1" ] && return 0
		sleep 0.05
	done
	fail "$fault: fewer than $1 calls met the fault within 60 s"
}

relay_done() { relay_order "op=done"; [ "$(cat "$dir/relay.last")" -ge "$1" ]; }	# count: so many late calls were executed

# The sink is killed with an INTENT durable and its rename done, but unheard. Sets `doubt`, the file, or files if the machine was slow.
killed_at_intent()
{
	load $LONG
	until_metric files_closed 1
	relay_order "op=RENAME&kind=mute&count=99&ms=600000"
	relay_hit 1
	agent_kill
	load_stop
	relay_order "op=none"
	doubt=($(sed 1d "$dir/relay.last"))
	local one
	for one in "${doubt[@]}"; do
		[ "$(web GET "$one" op=GETFILESTATUS | grep -c FileStatus)" = 1 ] || fail "$fault: $one is not there after its rename"
	done
}

fault_end()
{
	[ -n "$AGENT" ] && kill -9 $AGENT 2>/dev/null
	[ -n "$gen" ] && kill $gen 2>/dev/null
	[ -n "${second-}" ] && kill $second 2>/dev/null
	[ -n "$relay" ] && kill -9 $relay 2>/dev/null	# it may be stopped
	return 0
}

fault_begin()	# function: in the background
{
	fault_ports=$((fault_ports + 10))
	(
		fault=$1 dir=$top/$1 gen= second= relay= AGENT=
		trap fault_end EXIT
		trap 'exit 1' TERM INT
		mkdir -p "$dir"
		port=$(own_port)
		SECONDS=0
		$fault
		echo "ok $fault $SECONDS s"
		rm -rf "$dir/data" "$dir/checkpoint"
	) >"$top/$1.out" 2>&1 &
	fault_pids+=("$!:$1")
}

# Each runs beside the others; `during` acts on the cluster meanwhile. Not zero: one failed.
faults_end()
{
	local one bad=0
	for one in "${fault_pids[@]}"; do
		wait "${one%%:*}" || { echo "FAILED ${one#*:}"; bad=1; }
		cat "$top/${one#*:}.out"
	done
	fault_pids=()
	return $bad
}

# Between a fault and what is done to the cluster for several of them: the fault says that it is ready, and waits for the word.
fault_ready() { : >"$dir/ready"; for _ in $(seq 3600); do [ -e "$top/word" ] && return 0; sleep 0.05; done; fail "$fault: no word came"; }
faults_ready()	# fault...: all are
{
	local one
	for one; do
		for _ in $(seq 3600); do
			[ -e "$top/$one/ready" ] && break
			grep -q '^FAILED' "$top/$one.out" 2>/dev/null && break
			sleep 0.05
		done
	done
}
