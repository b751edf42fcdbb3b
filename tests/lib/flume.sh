# flume.sh: a real Flume 1.11 for tests and measurements; to be sourced.
#
#   flume_jars [full]            fetches the jars from Maven Central once into FLUME_HOME (48 jars, 19 MB; `full`: Kafka, http sink and
#                                Hadoop's client too, 129 jars, 109 MB); 77 when that cannot be (reason on stderr)
#   flume_hdfs_jar               after flume_jars: the HDFS sink's jar into FLUME_HOME/hdfs, to be used with Hadoop's (tests/lib/hadoop.sh)
#   flume_start DIR FILE [PORT...]  starts agent a1 of the properties file FILE with DIR for its log, waits until every PORT (TCP, or UDP
#                                as udp:PORT) is open and its metrics answer; sets FLUME_PID and FLUME_METRICS (URL); 1 when it does not
#                                come up. FLUME_HEAP (256m) is its -Xmx. Its log is DIR/flume.log.
#   flume_metric COMPONENT NAME  prints a counter, as in flume_metric CHANNEL.c1 EventPutSuccessCount; 0 where there is none
#   flume_drained SECONDS        waits until every channel is empty and all that was put is taken; then call flume_stop: SIGTERM throws
#                                a memory channel's content away
#   flume_stop                   SIGTERM (its exit status is 143), waits for the end
#   flume_kill                   SIGKILL
# Every port listens on loopback but the one of the metrics, which Flume binds to all addresses.

FLUME_VERSION=1.11.0
FLUME_HOME="${PENSTOCK_CACHE:-$HOME/.cache/penstock}/flume-$FLUME_VERSION"
FLUME_PID=
FLUME_LIB=$(dirname "${BASH_SOURCE[0]}")

# Without their dependencies: what the class loader opens for the flows of tests.
FLUME_SMALL="org.apache.flume:flume-ng-node:1.11.0 org.apache.flume:flume-ng-core:1.11.0 org.apache.flume:flume-ng-sdk:1.11.0
org.apache.flume:flume-ng-configuration:1.11.0 org.apache.flume:flume-ng-config-filter-api:1.11.0 org.apache.flume:flume-ng-auth:1.11.0
org.apache.flume:flume-ng-environment-variable-config-filter:1.11.0 org.apache.flume.flume-ng-channels:flume-file-channel:1.11.0
org.apache.flume.flume-ng-sources:flume-taildir-source:1.11.0 org.apache.avro:avro:1.11.0 org.apache.avro:avro-ipc:1.11.0
org.apache.avro:avro-ipc-netty:1.11.0 commons-cli:commons-cli:1.5.0 commons-collections:commons-collections:3.2.2
commons-io:commons-io:2.11.0 commons-lang:commons-lang:2.6 org.apache.commons:commons-lang3:3.11 org.apache.commons:commons-text:1.9
com.google.code.gson:gson:2.9.1 com.google.guava:guava:11.0.2 com.fasterxml.jackson.core:jackson-annotations:2.12.5
com.fasterxml.jackson.core:jackson-core:2.12.5 com.fasterxml.jackson.core:jackson-databind:2.12.5 javax.servlet:javax.servlet-api:3.1.0
org.eclipse.jetty:jetty-http:9.4.41.v20210516 org.eclipse.jetty:jetty-io:9.4.41.v20210516 org.eclipse.jetty:jetty-jmx:9.4.41.v20210516
org.eclipse.jetty:jetty-security:9.4.41.v20210516 org.eclipse.jetty:jetty-server:9.4.41.v20210516
org.eclipse.jetty:jetty-servlet:9.4.41.v20210516 org.eclipse.jetty:jetty-util:9.4.41.v20210516 joda-time:joda-time:2.9.9
com.jcraft:jzlib:1.1.3 org.apache.thrift:libthrift:0.14.1 org.apache.logging.log4j:log4j-api:2.18.0
org.apache.logging.log4j:log4j-core:2.18.0 org.apache.logging.log4j:log4j-slf4j-impl:2.18.0 org.mapdb:mapdb:0.9.9
org.apache.mina:mina-core:2.1.5 io.netty:netty-buffer:4.1.68.Final io.netty:netty-codec:4.1.72.Final io.netty:netty-common:4.1.72.Final
io.netty:netty-handler:4.1.68.Final io.netty:netty-resolver:4.1.72.Final io.netty:netty-transport:4.1.72.Final
com.google.protobuf:protobuf-java:2.5.0 org.slf4j:slf4j-api:1.7.32 org.xerial.snappy:snappy-java:1.1.8.4"
# With their dependencies.
FLUME_FULL="org.apache.flume:flume-ng-node:1.11.0 org.apache.flume.flume-ng-sources:flume-taildir-source:1.11.0
org.apache.logging.log4j:log4j-slf4j-impl:2.18.0 org.apache.logging.log4j:log4j-core:2.18.0
org.apache.flume.flume-ng-channels:flume-kafka-channel:1.11.0 org.apache.flume.flume-ng-sources:flume-kafka-source:1.11.0
org.apache.flume.flume-ng-sinks:flume-ng-kafka-sink:1.11.0 org.apache.flume.flume-ng-sinks:flume-http-sink:1.11.0
org.apache.hadoop:hadoop-client-api:3.3.6 org.apache.hadoop:hadoop-client-runtime:3.3.6"

flume_pom()	# artifacts, text after each one's version
{
	local one group name version
	echo '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>local</groupId><artifactId>flume-run</artifactId><version>1</version><packaging>pom</packaging><dependencies>'
	for one in $1; do
		IFS=: read -r group name version <<<"$one"
		echo "<dependency><groupId>$group</groupId><artifactId>$name</artifactId><version>$version</version>$2</dependency>"
	done
	echo '</dependencies></project>'
}

flume_jars()
{
	[ "${1-}" != full ] || FLUME_HOME="${PENSTOCK_CACHE:-$HOME/.cache/penstock}/flume-$FLUME_VERSION-full"
	command -v java >/dev/null 2>&1 || { echo "skipped: no java (apt-get install openjdk-17-jre-headless)" >&2; return 77; }
	command -v curl >/dev/null 2>&1 || { echo "skipped: no curl to ask Flume with (apt-get install curl)" >&2; return 77; }
	[ -e "$FLUME_HOME/complete" ] && return 0
	command -v mvn >/dev/null 2>&1 || { echo "skipped: no mvn to fetch Flume with (apt-get install maven)" >&2; return 77; }
	mkdir -p "$FLUME_HOME" || return 1
	(
		exec 9>"$FLUME_HOME/lock"
		flock 9
		[ -e "$FLUME_HOME/complete" ] && exit 0
		if [ "${1-}" = full ]; then
			flume_pom "$FLUME_FULL" ""
		else
			flume_pom "$FLUME_SMALL" "<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>"
		fi >"$FLUME_HOME/pom.xml"
		cd "$FLUME_HOME" && timeout 400 mvn -q -B dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$FLUME_HOME/libs" \
			>mvn.log 2>&1 && : >complete
	) || { echo "skipped: Flume $FLUME_VERSION could not be fetched from Maven Central (see $FLUME_HOME/mvn.log)" >&2; return 77; }
}

flume_hdfs_jar()
{
	local artifact=org.apache.flume.flume-ng-sinks:flume-hdfs-sink:$FLUME_VERSION
	[ -e "$FLUME_HOME/hdfs/complete" ] && return 0
	command -v mvn >/dev/null 2>&1 || { echo "skipped: no mvn to fetch Flume's HDFS sink with (apt-get install maven)" >&2; return 77; }
	mkdir -p "$FLUME_HOME/hdfs" || return 1
	(
		exec 9>"$FLUME_HOME/lock"
		flock 9
		[ -e "$FLUME_HOME/hdfs/complete" ] && exit 0
		flume_pom "$artifact" "<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>" >"$FLUME_HOME/hdfs/pom.xml"
		cd "$FLUME_HOME/hdfs" && timeout 200 mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies -DincludeScope=runtime \
			-DoutputDirectory="$FLUME_HOME/hdfs" >mvn.log 2>&1 && : >complete
	) || { echo "skipped: Flume's HDFS sink could not be fetched from Maven Central (see $FLUME_HOME/hdfs/mvn.log)" >&2; return 77; }
}

flume_listens()	# [udp:]port
{
	local hex state=0A files=/proc/net/tcp*
	[ "$1" = "${1#udp:}" ] || { state=07; files=/proc/net/udp*; }
	hex=$(printf %04X "${1#udp:}")
	cat $files | grep -qE "^ *[0-9]+: [0-9A-F]+:$hex [0-9A-F]+:0000 $state "	# asked by looking: a connection would be input
}

flume_start()
{
	local dir=$1 file=$2 port metrics try
	shift 2
	metrics=$(python3 "$FLUME_LIB/agent.py") || return 1
	FLUME_METRICS=http://127.0.0.1:$metrics/metrics
	mkdir -p "$dir" || return 1
	cat >"$dir/log4j2.xml" <<-EOF
	<Configuration status="WARN"><Appenders><Console name="C" target="SYSTEM_OUT">
	<PatternLayout pattern="%d{HH:mm:ss.SSS} %p [%t] %c{1} - %m%n"/></Console></Appenders>
	<Loggers><Root level="INFO"><AppenderRef ref="C"/></Root></Loggers></Configuration>
	EOF
	setsid java "-Xmx${FLUME_HEAP:-256m}" -cp "$FLUME_HOME/libs/*" -Dlog4j2.configurationFile="$dir/log4j2.xml" -Dfile.encoding=UTF-8 \
		-Duser.timezone=UTC -Dflume.monitoring.type=http -Dflume.monitoring.port=$metrics org.apache.flume.node.Application \
		--conf-file "$file" --name a1 --no-reload-conf >"$dir/flume.log" 2>&1 </dev/null &
	FLUME_PID=$!
	for try in $(seq 1500); do
		if curl -s -o /dev/null "$FLUME_METRICS"; then
			for port in "$@"; do
				flume_listens "$port" || continue 2
			done
			return 0
		fi
		kill -0 $FLUME_PID 2>/dev/null || break
		sleep 0.1
	done
	echo "Flume does not come up; its last words:" >&2
	tail -n 20 "$dir/flume.log" >&2
	return 1
}

flume_metric()
{
	curl -s "$FLUME_METRICS" | python3 -c 'import json, sys
print(json.load(sys.stdin).get(sys.argv[1], {}).get(sys.argv[2], 0))' "$1" "$2"
}

flume_drained()
{
	local try
	for try in $(seq $(($1 * 5))); do
		curl -s "$FLUME_METRICS" | python3 -c 'import json, sys
c = [v for k, v in json.load(sys.stdin).items() if k.startswith("CHANNEL.")]
sys.exit(not all(x["ChannelSize"] == "0" and x["EventPutSuccessCount"] == x["EventTakeSuccessCount"] for x in c))' && return 0
		sleep 0.2
	done
	return 1
}

flume_stop()
{
	[ -n "$FLUME_PID" ] || return 0
	kill "$FLUME_PID" 2>/dev/null
	timeout 30 tail --pid="$FLUME_PID" -f /dev/null || kill -9 "$FLUME_PID" 2>/dev/null
	wait "$FLUME_PID" 2>/dev/null
	FLUME_PID=
}

flume_kill()
{
	[ -n "$FLUME_PID" ] || return 0
	kill -9 "$FLUME_PID" 2>/dev/null
	wait "$FLUME_PID" 2>/dev/null
	FLUME_PID=
}
