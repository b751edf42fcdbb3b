# hadoop.sh: a real HDFS (NameNode and DataNodes) for tests; to be sourced.
#
#   hadoop_jars              fetches the jars from Maven Central once into HADOOP_HOME; 77 when that cannot be (reason on stderr)
#   hadoop_start DIR [N]     formats DIR, starts a NameNode and N DataNodes (1), waits until the cluster takes writes; 1 when it does not.
#                            Sets HADOOP_NN (http://host:port), HADOOP_NN_PORT, HADOOP_RPC (hdfs://host:port), HADOOP_DN_PORTS (transfer ports)
#   hadoop_ready [N]         waits until N DataNodes live and the NameNode is out of safe mode
#   hadoop_nn_start, hadoop_nn_kill, hadoop_nn_stop       the NameNode alone (same data and ports)
#   hadoop_dn_start I, hadoop_dn_kill I                   DataNode I (0 ...)
#   hadoop_fs ARG...         `hadoop fs` (FsShell) as user root
#   hadoop_admin CLASS ARG...     another tool's class
#   hadoop_stop              ends all of it
#   hadoop_share DIR         what `hadoop_start` of this shell began becomes the cluster of every script that is run with HADOOP_SHARED=DIR: there
#                            hadoop_start makes DIR a link to it, hadoop_stop leaves it as it is; restarts and kills act on it
# Everything listens on loopback, on ports the system finds free. Extra site properties: HADOOP_CORE_MORE, HADOOP_SITE_MORE (XML lines); JVM:
# HADOOP_JVM_MORE; curl: HADOOP_CURL_MORE.

HADOOP_VERSION=3.4.2
HADOOP_HOME="${PENSTOCK_CACHE:-$HOME/.cache/penstock}/hadoop-$HADOOP_VERSION"
HADOOP_OPENS="--add-opens java.base/java.lang=ALL-UNNAMED"
HADOOP_LIB=$(dirname "${BASH_SOURCE[0]}")
HADOOP_NN_PID=
HADOOP_DN_PIDS=()
HADOOP_SHELL_PORT=
HADOOP_SHELL_PID=
export HADOOP_USER_NAME=root

hadoop_jars()
{
	command -v java >/dev/null 2>&1 || { echo "SKIP: no java (apt-get install openjdk-17-jdk-headless)" >&2; return 77; }
	[ -e "$HADOOP_HOME/complete" ] && return 0
	command -v mvn >/dev/null 2>&1 || { echo "SKIP: no mvn to fetch Hadoop with (apt-get install maven)" >&2; return 77; }
	mkdir -p "$HADOOP_HOME" || return 1
	(
		exec 9>"$HADOOP_HOME/lock"
		flock 9
		[ -e "$HADOOP_HOME/complete" ] && exit 0
		# lz4-java: what Hadoop's own lz4 reader needs.
		cat >"$HADOOP_HOME/pom.xml" <<-POM
		<project xmlns="http://maven.apache.org/POM/4.0.0">
		  <modelVersion>4.0.0</modelVersion>
		  <groupId>local</groupId><artifactId>hadoop-run</artifactId><version>1</version><packaging>pom</packaging>
		  <dependencies>
		    <dependency><groupId>org.apache.hadoop</groupId><artifactId>hadoop-common</artifactId><version>$HADOOP_VERSION</version></dependency>
		    <dependency><groupId>org.apache.hadoop</groupId><artifactId>hadoop-hdfs</artifactId><version>$HADOOP_VERSION</version></dependency>
		    <dependency><groupId>org.apache.hadoop</groupId><artifactId>hadoop-hdfs-client</artifactId><version>$HADOOP_VERSION</version></dependency>
		    <dependency><groupId>org.lz4</groupId><artifactId>lz4-java</artifactId><version>1.8.0</version></dependency>
		  </dependencies>
		</project>
		POM
		cd "$HADOOP_HOME" && timeout 400 mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
			-DincludeScope=runtime -DoutputDirectory="$HADOOP_HOME/libs" >mvn.log 2>&1 && : >complete
	) || { echo "SKIP: Hadoop $HADOOP_VERSION could not be fetched from Maven Central (see $HADOOP_HOME/mvn.log)" >&2; return 77; }
}

hadoop_ports()	# count
{
	python3 "$HADOOP_LIB/agent.py" "$1"
}

hadoop_java()	# [java option...] class arg...
{
	mkdir -p "$HADOOP_DIR/tmp"
	${HADOOP_EXEC-} java -Xmx200m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 $HADOOP_OPENS -Djava.io.tmpdir="$HADOOP_DIR/tmp" ${HADOOP_JVM_MORE-} -cp "$HADOOP_DIR/conf:$HADOOP_HOME/libs/*" "$@"
}

hadoop_property()	# name value
{
	printf '  <property><name>%s</name><value>%s</value></property>\n' "$1" "$2"
}

hadoop_conf_write()	# host
{
	local conf="$HADOOP_DIR/conf" host=$1
	mkdir -p "$conf"/webapps/{hdfs,datanode,journal,static} "$HADOOP_DIR/tmp"
	{
		echo '<configuration>'
		hadoop_property fs.defaultFS "hdfs://$host:$HADOOP_RPC_PORT"
		hadoop_property hadoop.tmp.dir "$HADOOP_DIR/tmp"
		hadoop_property hadoop.proxyuser.root.hosts '*'
		hadoop_property hadoop.proxyuser.root.groups '*'
		echo "${HADOOP_CORE_MORE-}"
		echo '</configuration>'
	} >"$conf/core-site.xml"
	{
		echo '<configuration>'
		hadoop_property dfs.namenode.http-address "$host:$HADOOP_NN_PORT"
		hadoop_property dfs.datanode.hostname "$host"
		hadoop_property dfs.replication 1
		hadoop_property dfs.namenode.name.dir "file://$HADOOP_DIR/nn"
		hadoop_property dfs.namenode.safemode.extension 0
		hadoop_property dfs.permissions.enabled true
		# A dead DataNode shows in 14 s; a small cluster goes on with the replicas it has.
		hadoop_property dfs.heartbeat.interval 1
		hadoop_property dfs.namenode.heartbeat.recheck-interval 2000
		hadoop_property dfs.client.block.write.replace-datanode-on-failure.policy NEVER
		hadoop_property dfs.namenode.fs-limits.min-block-size 65536
		# Else a disk with less than 1 GiB of room counts as full.
		hadoop_property dfs.datanode.round-robin-volume-choosing-policy.additional-available-space 0
		echo "${HADOOP_SITE_MORE-}"
		echo '</configuration>'
	} >"$conf/hdfs-site.xml"
	cat >"$conf/log4j.properties" <<-LOG
	log4j.rootLogger=WARN, err
	log4j.appender.err=org.apache.log4j.ConsoleAppender
	log4j.appender.err.Target=System.err
	log4j.appender.err.layout=org.apache.log4j.PatternLayout
	log4j.appender.err.layout.ConversionPattern=%d{ISO8601} %p %c: %m%n
	LOG
}

hadoop_nn_start()
{
	setsid java -Xms64m -Xmx200m -XX:+UseSerialGC $HADOOP_OPENS -Djava.io.tmpdir="$HADOOP_DIR/tmp" ${HADOOP_JVM_MORE-} -cp "$HADOOP_DIR/conf:$HADOOP_HOME/libs/*" \
		org.apache.hadoop.hdfs.server.namenode.NameNode >>"$HADOOP_DIR/nn.log" 2>&1 </dev/null &
	HADOOP_NN_PID=$!
	disown $!
	echo $! >"$HADOOP_DIR/nn.pid"
}

hadoop_dn_start()	# index
{
	local i=$1 ports
	[ -n "${HADOOP_DN_ALL[$i]-}" ] || HADOOP_DN_ALL[$i]=$(hadoop_ports 3)
	ports=(${HADOOP_DN_ALL[$i]})
	mkdir -p "$HADOOP_DIR/dn$i"
	setsid ${HADOOP_DN_WITHIN-} java -Xms64m -Xmx200m -XX:+UseSerialGC $HADOOP_OPENS -Djava.io.tmpdir="$HADOOP_DIR/tmp" ${HADOOP_JVM_MORE-} \
		-cp "$HADOOP_DIR/conf:$HADOOP_HOME/libs/*" org.apache.hadoop.hdfs.server.datanode.DataNode -D "dfs.datanode.address=127.0.0.1:${ports[0]}" \
		-D "dfs.datanode.http.address=127.0.0.1:${ports[1]}" -D "dfs.datanode.ipc.address=127.0.0.1:${ports[2]}" \
		-D "dfs.datanode.data.dir=file://${HADOOP_DN_DIR:-$HADOOP_DIR/dn$i}" >>"$HADOOP_DIR/dn$i.log" 2>&1 </dev/null &
	HADOOP_DN_PIDS[$i]=$!
	disown $!
	echo $! >"$HADOOP_DIR/dn$i.pid"
	HADOOP_DN_PORTS[$i]=${ports[0]}
	HADOOP_DN_HTTP[$i]=${ports[1]}
}

hadoop_ready()	# datanodes
{
	local n=${1:-1} state
	for _ in $(seq 900); do
		state=$(curl -s -m 20 ${HADOOP_CURL_MORE-} "http://$HADOOP_HOST:$HADOOP_NN_PORT/jmx?qry=Hadoop:service=NameNode,name=FSNamesystemState" 2>/dev/null)
		if [[ $state == *"\"NumLiveDataNodes\" : $n"* && $state == *'"FSState" : "Operational"'* ]]; then
			return 0
		fi
		kill -0 "$(cat "$HADOOP_DIR/nn.pid")" 2>/dev/null || break
		sleep 0.2
	done
	echo "HDFS does not come up; the NameNode's last words:" >&2
	tail -n 20 "$HADOOP_DIR/nn.log" >&2
	return 1
}

hadoop_start()	# directory [datanodes]
{
	local ports i n=${2:-1}
	if [ -n "${HADOOP_SHARED-}" ]; then
		. "$HADOOP_SHARED/env" && ln -s "$HADOOP_SHARED" "$1" && hadoop_ready "$n"
		return
	fi
	HADOOP_DIR=$1
	HADOOP_HOST=${HADOOP_HOST:-127.0.0.1}
	mkdir -p "$HADOOP_DIR"
	ports=($(hadoop_ports 2)) || return 1
	HADOOP_RPC_PORT=${ports[0]} HADOOP_NN_PORT=${ports[1]}
	HADOOP_RPC=hdfs://$HADOOP_HOST:$HADOOP_RPC_PORT HADOOP_NN=http://$HADOOP_HOST:$HADOOP_NN_PORT
	HADOOP_DN_ALL=() HADOOP_DN_PORTS=() HADOOP_DN_HTTP=() HADOOP_DN_PIDS=()
	hadoop_conf_write "$HADOOP_HOST"
	hadoop_java org.apache.hadoop.hdfs.server.namenode.NameNode -format -force -nonInteractive >"$HADOOP_DIR/format.log" 2>&1 ||
		{ echo "HDFS cannot be formatted:" >&2; tail "$HADOOP_DIR/format.log" >&2; return 1; }
	hadoop_nn_start
	for i in $(seq 0 $((n - 1))); do
		hadoop_dn_start $i
	done
	hadoop_ready $n || return 1
	# The first write of a DataNode takes seconds of loading classes: it is no test's.
	echo warm | curl -s -m 120 ${HADOOP_CURL_MORE-} -o /dev/null -L -X PUT -H 'Expect:' --data-binary @- "$HADOOP_NN/webhdfs/v1/warm?op=CREATE&user.name=root" || true
}

hadoop_share()	# directory of hadoop_start
{
	hadoop_shell_start || return 1
	declare -p HADOOP_DIR HADOOP_HOST HADOOP_RPC_PORT HADOOP_NN_PORT HADOOP_RPC HADOOP_NN HADOOP_DN_ALL HADOOP_DN_PORTS HADOOP_DN_HTTP HADOOP_SHELL_PORT |
		sed 's/^declare -[-a-z]* /declare -g /' >"$1/env"
}

# Whoever started it: it is gone, or only its parent has not looked yet.
hadoop_gone()	# pid
{
	local stat
	for _ in $(seq 1200); do
		stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
		[[ ${stat##*) } == Z* ]] && return 0
		sleep 0.05
	done
	return 1
}

hadoop_end()	# file of the pid, signal
{
	local pid
	pid=$(cat "$1" 2>/dev/null)
	[ -n "$pid" ] || return 0
	rm -f "$1"
	kill -$2 "$pid" 2>/dev/null
	hadoop_gone "$pid"
}

hadoop_nn_kill() { hadoop_end "$HADOOP_DIR/nn.pid" 9; HADOOP_NN_PID=; }
hadoop_nn_stop() { hadoop_end "$HADOOP_DIR/nn.pid" 15; HADOOP_NN_PID=; }
hadoop_nn_pid() { cat "$HADOOP_DIR/nn.pid"; }
hadoop_dn_kill() { hadoop_end "$HADOOP_DIR/dn$1.pid" 9; HADOOP_DN_PIDS[$1]=; }
hadoop_dn_pid() { cat "$HADOOP_DIR/dn$1.pid"; }	# index

hadoop_stop()
{
	local file
	[ -z "${HADOOP_SHARED-}" ] && [ -n "${HADOOP_DIR-}" ] || return 0
	hadoop_shell_stop
	for file in "$HADOOP_DIR"/*.pid; do
		hadoop_end "$file" 9
	done
}

# ---- Hadoop's tools ----

# From here on hadoop_fs and hadoop_admin are answered by one JVM that stays.
hadoop_shell_start()
{
	local i
	mkfifo "$HADOOP_DIR/shell.in" && exec {HADOOP_SHELL_FD}<>"$HADOOP_DIR/shell.in" || return 1
	: >"$HADOOP_DIR/shell.port"
	# Its end of the pipe is for reading alone, so that ours is the last writer.
	HADOOP_EXEC=exec hadoop_java "$HADOOP_LIB/HadoopShell.java" <"$HADOOP_DIR/shell.in" >"$HADOOP_DIR/shell.port" 2>"$HADOOP_DIR/shell.log" {HADOOP_SHELL_FD}>&- &
	HADOOP_SHELL_PID=$!
	for i in $(seq 3600); do
		read -r HADOOP_SHELL_PORT <"$HADOOP_DIR/shell.port" && return 0
		kill -0 $HADOOP_SHELL_PID 2>/dev/null || break
		sleep 0.05
	done
	echo "HadoopShell does not start:" >&2
	tail "$HADOOP_DIR/shell.log" >&2
	return 1
}

hadoop_shell_stop()
{
	[ -n "$HADOOP_SHELL_PID" ] || return 0
	kill $HADOOP_SHELL_PID 2>/dev/null
	{ wait $HADOOP_SHELL_PID; } 2>/dev/null
	exec {HADOOP_SHELL_FD}>&-
	HADOOP_SHELL_PID= HADOOP_SHELL_PORT=
}

hadoop_admin()	# class arg...
{
	local shell rc base
	if [ -z "$HADOOP_SHELL_PORT" ]; then
		hadoop_java "$@" 2> >(grep -v 'NativeCodeLoader' >&2)
		return
	fi
	base=$(mktemp "$HADOOP_DIR/tmp/shell-XXXXXX") || return 1
	exec {shell}<>"/dev/tcp/127.0.0.1/$HADOOP_SHELL_PORT" || return 1
	{ printf '%s\x1f%s\x1f%s' "$1" "$base" "$base.err"; shift; printf '\x1f%s' "$@"; echo; } >&$shell
	read -r rc <&$shell || rc=255
	exec {shell}>&-
	cat "$base"
	grep -v 'NativeCodeLoader' "$base.err" >&2
	rm -f "$base" "$base.err"
	return "$rc"
}

hadoop_fs() { hadoop_admin org.apache.hadoop.fs.FsShell "$@"; }
