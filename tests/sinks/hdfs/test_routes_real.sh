#!/bin/bash
# test_routes_real.sh FEED TEST_FS: the ways to a real HDFS: TLS on NameNode and DataNodes (swebhdfs and hdfs:// with its policy), HttpFS in front; what our
# side's site files say goes into each file (replication, block size, umask); two replicas looked at before the rename.
set -u
feed=$(realpath "$1") test_fs=$(realpath "$2")
dir=$(mktemp -d "${TMPDIR:-/var/tmp}/penstock-routes-XXXXXX")
. "$(dirname "$0")/../../lib/hadoop.sh"
. "$(dirname "$0")/../../lib/httpfs.sh"
hadoop_jars || exit $?
httpfs_jars || exit $?
trap 'httpfs_stop; hadoop_stop; rm -rf "$dir"' EXIT
fail() { echo "FAILED: $*" >&2; exit 1; }
# A certificate for 127.0.0.1, as NameNode and DataNodes read it, and as we trust it.
mkdir -p "$dir/hadoop/conf"
keytool -genkeypair -alias hdfs -keyalg RSA -keysize 2048 -dname CN=hdfs -ext san=ip:127.0.0.1 -validity 9 -storepass changeit -keypass changeit \
	-keystore "$dir/keys" -storetype JKS 2>"$dir/keytool.log" || fail "keytool: $(cat "$dir/keytool.log")"
keytool -exportcert -rfc -alias hdfs -storepass changeit -keystore "$dir/keys" >"$dir/ca.pem" 2>>"$dir/keytool.log" || fail "keytool"
{
	echo '<configuration>'
	for what in keystore truststore; do
		hadoop_property ssl.server.$what.location "$dir/keys"
		hadoop_property ssl.server.$what.password changeit
	done
	hadoop_property ssl.server.keystore.keypassword changeit
	echo '</configuration>'
} >"$dir/hadoop/conf/ssl-server.xml"
# The port that a bare hdfs:// means with TLS, where it is free.
https=9871
python3 -c 'import socket; socket.socket().bind(("127.0.0.1", 9871))' 2>"$dir/bind.log" || https=$(hadoop_ports 1)
HADOOP_SITE_MORE=$(
	hadoop_property dfs.http.policy HTTP_AND_HTTPS
	hadoop_property dfs.namenode.https-address "127.0.0.1:$https"
	hadoop_property dfs.datanode.https.address 127.0.0.1:0
)
hadoop_start "$dir/hadoop" 2 || exit 1
# Our side's: nothing of it is in the cluster's.
site()	# policy
{
	mkdir -p "$dir/site"
	cp "$HADOOP_DIR/conf/core-site.xml" "$dir/site"
	{
		echo '<configuration>'
		hadoop_property dfs.http.policy "$1"
		hadoop_property dfs.namenode.http-address "127.0.0.1:$HADOOP_NN_PORT"
		hadoop_property dfs.namenode.https-address "127.0.0.1:$https"
		hadoop_property dfs.replication 2
		hadoop_property dfs.blocksize 1m
		hadoop_property fs.permissions.umask-mode 027
		echo '</configuration>'
	} >"$dir/site/hdfs-site.xml"
}
look()	# directory
{
	hadoop_fs -stat '%r %o %a %b %n' "$1/*" >"$dir/stat" || fail "$1: stat"
	read -r replication block mode bytes name <"$dir/stat"
	echo "$1: $(cat "$dir/stat")"
	[ "$(wc -l <"$dir/stat")" = 1 ] || fail "$1: more than one file"
	[[ $name != *.tmp ]] || fail "$1: $name is left in use"
	[ "$replication $block $mode $bytes" = "2 1048576 640 $2" ] || fail "$1: replication, block size, mode, bytes are $replication $block $mode $bytes"
}
bytes=$(((3 * 1048576 + 100) / 200 * 200))	# whole events
site HTTP_ONLY
"$feed" "$HADOOP_RPC/plain" "$dir/site" 3 hdfs.minBlockReplicas=2 || fail "plain HTTP"
"$feed" "swebhdfs://127.0.0.1:$https/tls" "$dir/site" 3 hdfs.minBlockReplicas=2 "penstock.hdfs.ca_file=$dir/ca.pem" || fail "swebhdfs"
site HTTPS_ONLY
"$feed" "$HADOOP_RPC/policy" "$dir/site" 3 "penstock.hdfs.ca_file=$dir/ca.pem" || fail "hdfs:// by the site's HTTPS_ONLY"
if [ $https = 9871 ]; then
	mkdir "$dir/bare"
	{ echo '<configuration>'; hadoop_property dfs.http.policy HTTPS_ONLY; hadoop_property dfs.replication 2; hadoop_property dfs.blocksize 1m
	  hadoop_property fs.permissions.umask-mode 027; echo '</configuration>'; } >"$dir/bare/hdfs-site.xml"
	"$feed" "$HADOOP_RPC/bare" "$dir/bare" 3 "penstock.hdfs.ca_file=$dir/ca.pem" || fail "hdfs:// with TLS, no address in the site"
	look /bare "$bytes"
else
	echo "port 9871 is not free: the default port with TLS is not looked at"
fi
# A certificate nobody vouches for is refused, and nothing is written.
timeout 20 "$feed" "swebhdfs://127.0.0.1:$https/never" "$dir/site" 1 2>"$dir/refused" && fail "an unknown certificate is taken"
# Many buckets at once: one request each, no more than 40 at a time.
site HTTP_ONLY
time "$feed" "$HADOOP_RPC/many/%{b}" "$dir/site" "1:${ROUTES_BUCKETS:-100}" || fail "many buckets"
hadoop_fs -count /many >"$dir/count" || fail "count"
read -r _ files bytes_many _ <"$dir/count"
[ "$files" = "${ROUTES_BUCKETS:-100}" ] && [ "$bytes_many" = 1048600 ] || fail "many buckets: $(cat "$dir/count")"
# More than the memory holds: the files go on by appends, and a block that is not full is gone on with.
read -r _ calls < <("$feed" "$HADOOP_RPC/pressed/%{b}" "$dir/site" "8:20" penstock.hdfs.memory=4m hdfs.idleTimeout=8) || fail "little memory"
hadoop_admin org.apache.hadoop.hdfs.tools.DFSck /pressed >"$dir/fsck" || fail "fsck: $(cat "$dir/fsck")"
blocks=$(sed -n 's/.*Total blocks (validated):[^0-9]*\([0-9]*\).*/\1/p' "$dir/fsck")
echo "20 files beyond the memory: $calls calls, $blocks blocks"
[ "$blocks" = 20 ] && [ "$calls" -ge 80 ] || fail "little memory: $calls calls, $(cat "$dir/fsck")"
httpfs_start || exit 1
"$feed" "$HADOOP_RPC/httpfs" "$dir/site" 3 "penstock.hdfs.http_address=127.0.0.1:$HTTPFS_PORT" hdfs.minBlockReplicas=2 || fail "HttpFS"
"$test_fs" "webhdfs://127.0.0.1:$HTTPFS_PORT/" /conformance "$dir/site" >"$dir/conformance" 2>&1 || fail "the conformance body over HttpFS: $(cat "$dir/conformance")"
for way in plain tls policy httpfs; do
	look /$way "$bytes"
done
hadoop_fs -test -e /never/* 2>/dev/null && fail "/never is there"
echo "plain, TLS, HTTPS_ONLY and HttpFS: the same file"
