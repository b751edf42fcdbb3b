# yarn.sh: a real YARN (ResourceManager and one NodeManager) with MapReduce on the HDFS of hadoop.sh; to be sourced behind it.
#
#   yarn_jars                fetches the jars from Maven Central once into YARN_HOME; 77 when that cannot be (reason on stderr)
#   yarn_begin DIR           starts both in DIR, on the cluster of hadoop_start (also a shared one); does not wait. Sets YARN_WEB (host:port)
#   yarn_ready               waits until the node takes containers; 1 when it does not
#   yarn_streaming           the command that submits a Hadoop Streaming job, in words (penstock.camus.yarn.command)
#   yarn_apps                what the ResourceManager says of all applications, JSON
#   yarn_stop                ends both, and what runs in containers
# Everything listens on loopback but the shuffle and the application masters, which choose the port themselves.

YARN_HOME="${PENSTOCK_CACHE:-$HOME/.cache/penstock}/hadoop-$HADOOP_VERSION-yarn"
YARN_RM_PID=
YARN_NM_PID=

yarn_jars()
{
	[ -e "$YARN_HOME/complete" ] && return 0
	command -v mvn >/dev/null 2>&1 || { echo "SKIP: no mvn to fetch YARN with (apt-get install maven)" >&2; return 77; }
	mkdir -p "$YARN_HOME" || return 1
	(
		exec 9>"$YARN_HOME/lock"
		flock 9
		[ -e "$YARN_HOME/complete" ] && exit 0
		{
			echo '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
			echo '<groupId>local</groupId><artifactId>yarn-run</artifactId><version>1</version><packaging>pom</packaging><dependencies>'
			# timelineservice: the ResourceManager loads classes of it whether it is used or not.
			for name in hadoop-common hadoop-hdfs hadoop-hdfs-client hadoop-yarn-server-resourcemanager hadoop-yarn-server-nodemanager \
				hadoop-yarn-server-timelineservice hadoop-mapreduce-client-jobclient hadoop-mapreduce-client-shuffle \
				hadoop-mapreduce-client-app hadoop-mapreduce-client-hs hadoop-streaming; do
				echo "<dependency><groupId>org.apache.hadoop</groupId><artifactId>$name</artifactId><version>$HADOOP_VERSION</version></dependency>"
			done
			echo '</dependencies></project>'
		} >"$YARN_HOME/pom.xml"
		cd "$YARN_HOME" && timeout 400 mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
			-DincludeScope=runtime -DoutputDirectory="$YARN_HOME/libs" >mvn.log 2>&1 && : >complete
	) || { echo "SKIP: YARN $HADOOP_VERSION could not be fetched from Maven Central (see $YARN_HOME/mvn.log)" >&2; return 77; }
}

yarn_java()	# [java option...] class arg...
{
	echo "java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 $HADOOP_OPENS -Djava.io.tmpdir=$YARN_DIR/tmp -cp $YARN_DIR/conf:$YARN_HOME/libs/* $*"
}

yarn_begin()	# directory
{
	local ports base=127.0.0.1 opens='--add-opens java.base/java.lang=ALL-UNNAMED' java path
	YARN_DIR=$1
	ports=($(hadoop_ports 11)) || return 1
	YARN_WEB=$base:${ports[4]}
	path="$YARN_DIR/conf,$YARN_HOME/libs/*"
	# containers run $JAVA_HOME/bin/java
	java=$(readlink -f "$(command -v java)")
	export JAVA_HOME=${java%/bin/java}
	mkdir -p "$YARN_DIR/conf" "$YARN_DIR/tmp" "$YARN_DIR/local" "$YARN_DIR/logs"
	cp "$HADOOP_DIR/conf/core-site.xml" "$HADOOP_DIR/conf/hdfs-site.xml" "$HADOOP_DIR/conf/log4j.properties" "$YARN_DIR/conf"
	{
		echo '<configuration>'
		hadoop_property yarn.resourcemanager.hostname $base
		hadoop_property yarn.resourcemanager.address $base:${ports[0]}
		hadoop_property yarn.resourcemanager.scheduler.address $base:${ports[1]}
		hadoop_property yarn.resourcemanager.resource-tracker.address $base:${ports[2]}
		hadoop_property yarn.resourcemanager.admin.address $base:${ports[3]}
		hadoop_property yarn.resourcemanager.webapp.address $base:${ports[4]}
		hadoop_property yarn.resourcemanager.scheduler.class org.apache.hadoop.yarn.server.resourcemanager.scheduler.fifo.FifoScheduler
		# what a small cluster waits for nothing
		hadoop_property yarn.nodemanager.heartbeat.interval-ms 200
		hadoop_property yarn.resourcemanager.nodemanagers.heartbeat-interval-ms 200
		hadoop_property yarn.nodemanager.hostname $base
		hadoop_property yarn.nodemanager.bind-host $base
		hadoop_property yarn.nodemanager.address $base:${ports[5]}
		hadoop_property yarn.nodemanager.localizer.address $base:${ports[6]}
		hadoop_property yarn.nodemanager.webapp.address $base:${ports[7]}
		hadoop_property yarn.nodemanager.collector-service.address $base:${ports[8]}
		hadoop_property yarn.nodemanager.amrmproxy.address $base:${ports[9]}
		hadoop_property yarn.nodemanager.aux-services mapreduce_shuffle
		hadoop_property yarn.nodemanager.resource.memory-mb 1024
		hadoop_property yarn.nodemanager.resource.cpu-vcores 4
		hadoop_property yarn.scheduler.minimum-allocation-mb 128
		hadoop_property yarn.nodemanager.vmem-check-enabled false
		hadoop_property yarn.nodemanager.pmem-check-enabled false
		hadoop_property yarn.nodemanager.disk-health-checker.max-disk-utilization-per-disk-percentage 99.5
		hadoop_property yarn.nodemanager.local-dirs "$YARN_DIR/local"
		hadoop_property yarn.nodemanager.log-dirs "$YARN_DIR/logs"
		hadoop_property yarn.nodemanager.delete.debug-delay-sec 600
		hadoop_property yarn.application.classpath "$path"
		echo '</configuration>'
	} >"$YARN_DIR/conf/yarn-site.xml"
	{
		echo '<configuration>'
		hadoop_property mapreduce.framework.name yarn
		hadoop_property mapreduce.application.classpath "$path"
		hadoop_property mapreduce.shuffle.port ${ports[10]}
		hadoop_property yarn.app.mapreduce.am.resource.mb 256
		hadoop_property yarn.app.mapreduce.am.command-opts "-Xmx160m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC $opens"
		hadoop_property yarn.app.mapreduce.am.scheduler.heartbeat.interval-ms 200
		hadoop_property mapreduce.map.memory.mb 256
		hadoop_property mapreduce.map.java.opts "-Xmx128m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC $opens"
		hadoop_property mapreduce.task.io.sort.mb 16
		hadoop_property yarn.app.mapreduce.am.staging-dir /tmp/hadoop-yarn/staging
		hadoop_property mapreduce.client.progressmonitor.pollinterval 500
		hadoop_property mapreduce.client.completion.pollinterval 500
		echo '</configuration>'
	} >"$YARN_DIR/conf/mapred-site.xml"
	set -f
	setsid $(yarn_java -Xmx240m org.apache.hadoop.yarn.server.resourcemanager.ResourceManager) >"$YARN_DIR/rm.log" 2>&1 </dev/null &
	YARN_RM_PID=$!
	# so that what runs in containers can be found
	PENSTOCK_YARN=$YARN_DIR setsid $(yarn_java -Xmx200m org.apache.hadoop.yarn.server.nodemanager.NodeManager) >"$YARN_DIR/nm.log" 2>&1 </dev/null &
	YARN_NM_PID=$!
	set +f
	disown $YARN_RM_PID $YARN_NM_PID
}

yarn_ready()
{
	local i
	for i in $(seq 900); do
		[[ $(curl -s -m 20 "http://$YARN_WEB/ws/v1/cluster/metrics") == *'"activeNodes":1'* ]] && return 0
		kill -0 $YARN_RM_PID 2>/dev/null && kill -0 $YARN_NM_PID 2>/dev/null || break
		sleep 0.2
	done
	echo "YARN does not come up; its last words:" >&2
	tail -n 20 "$YARN_DIR/rm.log" "$YARN_DIR/nm.log" >&2
	return 1
}

yarn_streaming()
{
	yarn_java -Xmx200m org.apache.hadoop.streaming.HadoopStreaming
}

yarn_apps()
{
	curl -s -m 60 "http://$YARN_WEB/ws/v1/cluster/apps"
}

yarn_stop()
{
	local pid
	# SIGTERM would have the node wait for the manager.
	for pid in $YARN_RM_PID $YARN_NM_PID; do
		kill -9 $pid 2>/dev/null && hadoop_gone $pid
	done
	YARN_RM_PID= YARN_NM_PID=
	[ -n "${YARN_DIR-}" ] || return 0
	for pid in $(grep -l -s -a -F "$YARN_DIR/local" /proc/[0-9]*/environ | cut -d/ -f3); do
		[ "$pid" = $$ ] || kill -9 "$pid" 2>/dev/null
	done
}
