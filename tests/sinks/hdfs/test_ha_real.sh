#!/bin/bash
# test_ha_real.sh PENSTOCK CTL GEN RINGLOG: two NameNodes with a JournalNode. The one that is named first is the standby; the active one is killed
# while files are being written and the other one takes over; every event that the log took stands there once.
set -u
PENSTOCK=$(realpath "$1") CTL=$(realpath "$2") GEN=$(realpath "$3") RINGLOG=$(realpath "$4")
top=$(mktemp -d "${TMPDIR:-/var/tmp}/penstock-ha-XXXXXX")
dir=$top AGENT= gen= relay= fault=ha
. "$(dirname "$0")/../../lib/daemon.sh"
. "$(dirname "$0")/../../lib/hadoop.sh"
. "$(dirname "$0")/faults.sh"
hadoop_jars || exit $?
trap 'fault_end; hadoop_stop; rm -rf "$top"' EXIT
trap 'exit 1' TERM INT
unset HADOOP_SHARED
HADOOP_DIR=$top/hadoop HADOOP_HOST=127.0.0.1
HA=org.apache.hadoop.hdfs.tools.DFSHAAdmin
ports=($(hadoop_ports 8))
HADOOP_RPC_PORT=${ports[0]} HADOOP_NN_PORT=${ports[1]}
HADOOP_CORE_MORE=$(hadoop_property fs.defaultFS hdfs://ns1)
HADOOP_SITE_MORE=$(
	hadoop_property dfs.nameservices ns1
	hadoop_property dfs.ha.namenodes.ns1 nn1,nn2
	for i in 1 2; do
		hadoop_property dfs.namenode.rpc-address.ns1.nn$i "127.0.0.1:${ports[$((2 * i))]}"
		hadoop_property dfs.namenode.http-address.ns1.nn$i "127.0.0.1:${ports[$((2 * i + 1))]}"
		hadoop_property dfs.namenode.name.dir.ns1.nn$i "file://$HADOOP_DIR/nn$i"
	done
	hadoop_property dfs.namenode.shared.edits.dir "qjournal://127.0.0.1:${ports[6]}/ns1"
	hadoop_property dfs.journalnode.rpc-address "127.0.0.1:${ports[6]}"
	hadoop_property dfs.journalnode.http-address "127.0.0.1:${ports[7]}"
	hadoop_property dfs.journalnode.edits.dir "$HADOOP_DIR/journal"
	hadoop_property dfs.client.failover.proxy.provider.ns1 org.apache.hadoop.hdfs.server.namenode.ha.ConfiguredFailoverProxyProvider
	hadoop_property dfs.ha.fencing.methods 'shell(/bin/true)'
	hadoop_property dfs.ha.tail-edits.period 1
	# A NameNode ends itself when its journal does not answer in time: not for a pause of the machine.
	for call in start-segment select-input-streams write-txns; do
		hadoop_property dfs.qjournal.$call.timeout.ms 120000
	done
)

daemon_start()	# name class option...
{
	local name=$1
	shift
	HADOOP_EXEC="exec setsid" hadoop_java "$@" >>"$HADOOP_DIR/$name.log" 2>&1 </dev/null &
	disown $!
	echo $! >"$HADOOP_DIR/$name.pid"
}

until_http()	# port
{
	for _ in $(seq 1800); do
		curl -s -m 20 -o "$top/jmx" "http://127.0.0.1:$1/jmx?qry=Hadoop:service=NameNode,name=NameNodeStatus" && return 0
		sleep 0.1
	done
	fail "nothing answers at port $1: $(tail "$HADOOP_DIR"/*.log)"
}

NN=org.apache.hadoop.hdfs.server.namenode.NameNode
hadoop_conf_write 127.0.0.1
daemon_start journal org.apache.hadoop.hdfs.qjournal.server.JournalNode
until_http "${ports[7]}"
hadoop_java $NN -D dfs.ha.namenode.id=nn1 -format -force -nonInteractive >"$HADOOP_DIR/format.log" 2>&1 || fail "format: $(tail "$HADOOP_DIR/format.log")"
cp -r "$HADOOP_DIR/nn1" "$HADOOP_DIR/nn2"
daemon_start nn1 $NN -D dfs.ha.namenode.id=nn1
daemon_start nn2 $NN -D dfs.ha.namenode.id=nn2
HADOOP_DN_ALL=()
hadoop_dn_start 0
hadoop_shell_start || fail "no shell"
until_http "${ports[3]}"
until_http "${ports[5]}"
for _ in $(seq 300); do
	hadoop_admin $HA -transitionToActive nn2 >"$top/ha.log" 2>&1 && break
	sleep 0.2
done
cp "$HADOOP_DIR/nn2.pid" "$HADOOP_DIR/nn.pid"
HADOOP_NN_PORT=${ports[5]}
hadoop_ready 1 || fail "nn2 is not active: $(cat "$top/ha.log")"
HADOOP_NN=http://127.0.0.1:$HADOOP_NN_PORT
rm "$HADOOP_DIR/nn.pid"
curl -s -m 60 "http://127.0.0.1:${ports[3]}/webhdfs/v1/?op=LISTSTATUS" | grep -q StandbyException || fail "nn1 is not the standby"

port=$(own_port)
SERVICE=hdfs://ns1 ROLL=3 conf_write /ha "penstock.hdfs.memory = 4m"
agent_start "$dir/a.properties"
RATE=4000 load $LONG
until_metric files_closed 1		# by the second NameNode, the first one being the standby
until_in_use /ha >"$dir/use" || exit 1
before=$(metric failovers)
[ "$before" -ge 1 ] || fail "the standby was not passed over"
hadoop_end "$HADOOP_DIR/nn2.pid" 9
hadoop_admin $HA -failover nn2 nn1 >"$top/ha.log" 2>&1 || fail "failover: $(cat "$top/ha.log")"
until_metric files_closed $(($(metric files_closed) + 2))	# two, as one may have been under way
load_stop
agent_done
[ "$(awk '$3 == "failovers" { print $4 }' "$dir/metrics")" -gt "$before" ] || fail "no failover"
counted /ha
