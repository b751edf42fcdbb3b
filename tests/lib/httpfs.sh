# httpfs.sh: a real HttpFS in front of the HDFS of hadoop.sh; to be sourced behind it.
#
#   httpfs_jars           fetches its jars from Maven Central once; 77 when that cannot be (reason on stderr)
#   httpfs_start          starts it for the running cluster, as user root for everybody; sets HTTPFS_PORT; 1 when it does not come up
#   httpfs_stop

HTTPFS_PID=

httpfs_jars()
{
	[ -e "$HADOOP_HOME/httpfs/complete" ] && return 0
	command -v mvn >/dev/null 2>&1 || { echo "SKIP: no mvn to fetch HttpFS with (apt-get install maven)" >&2; return 77; }
	mkdir -p "$HADOOP_HOME/httpfs" || return 1
	(
		exec 9>"$HADOOP_HOME/lock"
		flock 9
		[ -e "$HADOOP_HOME/httpfs/complete" ] && exit 0
		cat >"$HADOOP_HOME/httpfs/pom.xml" <<-POM
		<project xmlns="http://maven.apache.org/POM/4.0.0">
		  <modelVersion>4.0.0</modelVersion>
		  <groupId>local</groupId><artifactId>httpfs-run</artifactId><version>1</version><packaging>pom</packaging>
		  <dependencies>
		    <dependency><groupId>org.apache.hadoop</groupId><artifactId>hadoop-hdfs-httpfs</artifactId><version>$HADOOP_VERSION</version></dependency>
		    <dependency><groupId>org.apache.hadoop</groupId><artifactId>hadoop-hdfs-client</artifactId><version>$HADOOP_VERSION</version></dependency>
		    <dependency><groupId>org.apache.hadoop</groupId><artifactId>hadoop-common</artifactId><version>$HADOOP_VERSION</version></dependency>
		  </dependencies>
		</project>
		POM
		cd "$HADOOP_HOME/httpfs" && timeout 400 mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
			-DincludeScope=runtime -DoutputDirectory="$HADOOP_HOME/httpfs/libs" >mvn.log 2>&1 && : >complete
	) || { echo "SKIP: HttpFS $HADOOP_VERSION could not be fetched from Maven Central (see $HADOOP_HOME/httpfs/mvn.log)" >&2; return 77; }
}

httpfs_start()
{
	local home=$HADOOP_DIR/httpfs
	HTTPFS_PORT=$(hadoop_ports 1)
	mkdir -p "$home"/{conf,temp,log} || return 1
	head -c 64 /dev/urandom | base64 >"$home/conf/httpfs-signature.secret"
	cp "$HADOOP_DIR/conf/core-site.xml" "$HADOOP_DIR/conf/hdfs-site.xml" "$HADOOP_DIR/conf/log4j.properties" "$home/conf"
	cp "$home/conf/log4j.properties" "$home/conf/httpfs-log4j.properties"
	{
		echo '<configuration>'
		hadoop_property httpfs.http.hostname 127.0.0.1
		hadoop_property httpfs.http.port "$HTTPFS_PORT"
		hadoop_property httpfs.proxyuser.root.hosts '*'
		hadoop_property httpfs.proxyuser.root.groups '*'
		echo '</configuration>'
	} >"$home/conf/httpfs-site.xml"
	setsid java -Xmx200m -XX:+UseSerialGC $HADOOP_OPENS -Djava.io.tmpdir="$HADOOP_DIR/tmp" -Dhttpfs.home.dir="$home" -Dhttpfs.config.dir="$home/conf" \
		-Dhttpfs.log.dir="$home/log" -Dhttpfs.temp.dir="$home/temp" -cp "$home/conf:$HADOOP_HOME/httpfs/libs/*" \
		org.apache.hadoop.fs.http.server.HttpFSServerWebServer >>"$home/httpfs.log" 2>&1 </dev/null &
	HTTPFS_PID=$!
	for _ in $(seq 1800); do
		[ "$(curl -s -m 20 -o /dev/null -w '%{http_code}' "http://127.0.0.1:$HTTPFS_PORT/webhdfs/v1/?op=GETFILESTATUS&user.name=root")" = 200 ] && return 0
		kill -0 "$HTTPFS_PID" 2>/dev/null || break
		sleep 0.1
	done
	echo "HttpFS does not come up; its last words:" >&2
	tail -n 20 "$home/httpfs.log" >&2
	return 1
}

httpfs_stop()
{
	[ -n "$HTTPFS_PID" ] || return 0
	kill -9 "$HTTPFS_PID" 2>/dev/null
	wait "$HTTPFS_PID" 2>/dev/null
	HTTPFS_PID=
}
