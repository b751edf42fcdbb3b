# kafka.sh: a real Kafka broker (KRaft, one node) for tests; to be sourced.
#
#   kafka_jars            fetches the jars from Maven Central once into KAFKA_HOME; 77 when that cannot be (reason on stderr)
#   kafka_start DIR       formats DIR and starts a broker (KAFKA_MORE: another line of its settings); sets KAFKA_PID and KAFKA_BS (host:port); 1 when it does not come up
#   kafka_restart DIR     starts it again on the same data and port
#   kafka_stop            SIGTERM, waits for the end
#   kafka_kill            SIGKILL
# The broker listens on loopback only, on ports the system finds free.

KAFKA_VERSION=3.9.2
KAFKA_LIB=$(dirname "${BASH_SOURCE[0]}")
. "$KAFKA_LIB/wait.sh"
KAFKA_HOME="${PENSTOCK_CACHE:-$HOME/.cache/penstock}/kafka-$KAFKA_VERSION"
KAFKA_PID=

kafka_jars()
{
	command -v java >/dev/null 2>&1 || { echo "skipped: no java (apt-get install openjdk-17-jre-headless)" >&2; return 77; }
	command -v kcat >/dev/null 2>&1 || { echo "skipped: no kcat (apt-get install kcat)" >&2; return 77; }
	[ -e "$KAFKA_HOME/complete" ] && return 0
	command -v mvn >/dev/null 2>&1 || { echo "skipped: no mvn to fetch Kafka with (apt-get install maven)" >&2; return 77; }
	mkdir -p "$KAFKA_HOME" || return 1
	(
		exec 9>"$KAFKA_HOME/lock"
		flock 9
		[ -e "$KAFKA_HOME/complete" ] && exit 0
		cat >"$KAFKA_HOME/pom.xml" <<-EOF
		<project xmlns="http://maven.apache.org/POM/4.0.0">
		  <modelVersion>4.0.0</modelVersion>
		  <groupId>local</groupId><artifactId>kafka-run</artifactId><version>1</version><packaging>pom</packaging>
		  <dependencies>
		    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$KAFKA_VERSION</version></dependency>
		    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>$KAFKA_VERSION</version>
		      <exclusions><exclusion><groupId>org.apache.kafka</groupId><artifactId>connect-runtime</artifactId></exclusion></exclusions></dependency>
		    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-reload4j</artifactId><version>1.7.36</version></dependency>
		  </dependencies>
		</project>
		EOF
		cd "$KAFKA_HOME" && timeout 300 mvn -q -B dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$KAFKA_HOME/libs" >mvn.log 2>&1 &&
			: >complete
	) || { echo "skipped: Kafka $KAFKA_VERSION could not be fetched from Maven Central (see $KAFKA_HOME/mvn.log)" >&2; return 77; }
}

kafka_run()	# directory
{
	: >"$1/out.log"
	setsid java -Xms256m -Xmx512m -XX:+UseSerialGC -cp "$1:$KAFKA_HOME/libs/*" kafka.Kafka "$1/server.properties" >"$1/out.log" 2>&1 </dev/null &
	KAFKA_PID=$!
	timeout 180 tail -n +1 -s 0.05 --pid=$KAFKA_PID -f "$1/out.log" | grep -q -m1 'Kafka Server started' ||
		{ echo "Kafka does not start; its last words:" >&2; tail -n 20 "$1/out.log" >&2; return 1; }
}

kafka_start()
{
	local dir="$1" ports id
	ports=$(python3 "$KAFKA_LIB/agent.py" 2) || return 1
	local port=${ports% *} controller=${ports#* }
	KAFKA_BS=127.0.0.1:$port
	mkdir -p "$dir/tools"
	cat >"$dir/log4j.properties" <<-EOF
	log4j.rootLogger=INFO, stdout
	log4j.appender.stdout=org.apache.log4j.ConsoleAppender
	log4j.appender.stdout.layout=org.apache.log4j.PatternLayout
	log4j.appender.stdout.layout.ConversionPattern=%d{ISO8601} %p %c: %m%n
	EOF
	sed 's/INFO/WARN/; $a log4j.appender.stdout.Target=System.err' "$dir/log4j.properties" >"$dir/tools/log4j.properties"
	cat >"$dir/server.properties" <<-EOF
	process.roles=broker,controller
	node.id=1
	controller.quorum.voters=1@127.0.0.1:$controller
	listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
	advertised.listeners=PLAINTEXT://127.0.0.1:$port
	controller.listener.names=CONTROLLER
	inter.broker.listener.name=PLAINTEXT
	listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
	log.dirs=$dir/data
	num.partitions=${KAFKA_PARTITIONS:-2}
	offsets.topic.replication.factor=1
	transaction.state.log.replication.factor=1
	transaction.state.log.min.isr=1
	offsets.topic.num.partitions=4
	transaction.state.log.num.partitions=4
	group.initial.rebalance.delay.ms=0
	auto.create.topics.enable=true
	${KAFKA_MORE-}
	EOF
	id=$(head -c 16 /dev/urandom | base64 | tr '+/' 'Aa' | tr -d =)	# as its own tool makes one, without a JVM
	java -cp "$dir/tools:$KAFKA_HOME/libs/*" kafka.tools.StorageTool format -t "$id" -c "$dir/server.properties" >"$dir/format.log" 2>&1 ||
		{ echo "Kafka's directory cannot be formatted:" >&2; cat "$dir/format.log" >&2; return 1; }
	kafka_run "$dir"
}

kafka_restart()
{
	kafka_run "$1"
}

kafka_stop()
{
	[ -n "$KAFKA_PID" ] || return 0
	kill "$KAFKA_PID" 2>/dev/null
	timeout 120 tail --pid="$KAFKA_PID" -f /dev/null || kill -9 "$KAFKA_PID" 2>/dev/null
	wait "$KAFKA_PID" 2>/dev/null
	KAFKA_PID=
}

kafka_kill()
{
	[ -n "$KAFKA_PID" ] || return 0
	kill -9 "$KAFKA_PID" 2>/dev/null
	wait "$KAFKA_PID" 2>/dev/null
	KAFKA_PID=
}
