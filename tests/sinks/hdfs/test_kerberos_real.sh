#!/bin/bash
# test_kerberos_real.sh PENSTOCK CTL GEN RINGLOG: two sinks with principals of their own into an HDFS with Kerberos, tickets of 30 s and tokens
# of 20 s (40 s at most), over 70 s, one's token cancelled behind its back (InvalidToken), the KDC away in between; every event once, the files belong to
# their principals.
set -u
PENSTOCK=$(realpath "$1") CTL=$(realpath "$2") GEN=$(realpath "$3") RINGLOG=$(realpath "$4")
dir=$(mktemp -d "${TMPDIR:-/var/tmp}/penstock-krb-XXXXXX")
. "$(dirname "$0")/../../lib/daemon.sh"
. "$(dirname "$0")/../../lib/hadoop.sh"
. "$(dirname "$0")/../../lib/kdc.sh"
relay=
hadoop_jars || exit $?
trap '[ -n "$AGENT" ] && kill -9 $AGENT 2>/dev/null; [ -n "$relay" ] && kill $relay 2>/dev/null; hadoop_stop; kdc_stop; rm -rf "$dir"' EXIT
unset HADOOP_USER_NAME
KDC_LIFE=30s kdc_start "$dir/kdc" hdfs/localhost HTTP/localhost alice bob || exit $?
K=$dir/kdc
export KRB5CCNAME=FILE:$K/cc	# what Java looks for
HADOOP_HOST=localhost HADOOP_JVM_MORE="-Djava.security.krb5.conf=$K/krb5.conf"
HADOOP_CORE_MORE=$(
	hadoop_property hadoop.security.authentication kerberos
	hadoop_property hadoop.security.authorization true
	hadoop_property hadoop.kerberos.min.seconds.before.relogin 1
	hadoop_property hadoop.http.authentication.type kerberos
	hadoop_property hadoop.http.authentication.kerberos.principal HTTP/localhost@TEST.LOCAL
	hadoop_property hadoop.http.authentication.kerberos.keytab "$K/all.keytab"
)
HADOOP_SITE_MORE=$(
	hadoop_property dfs.block.access.token.enable true
	for d in namenode datanode; do
		hadoop_property dfs.$d.kerberos.principal hdfs/localhost@TEST.LOCAL
		hadoop_property dfs.$d.keytab.file "$K/all.keytab"
	done
	hadoop_property dfs.web.authentication.kerberos.principal HTTP/localhost@TEST.LOCAL
	hadoop_property dfs.web.authentication.kerberos.keytab "$K/all.keytab"
	hadoop_property ignore.secure.ports.for.testing true
	hadoop_property dfs.data.transfer.protection authentication
	hadoop_property dfs.namenode.delegation.token.renew-interval 20000
	hadoop_property dfs.namenode.delegation.token.max-lifetime 40000
)
kinit -l 1h -k -t "$K/all.keytab" hdfs/localhost || fail "kinit"
HADOOP_CURL_MORE="--negotiate -u :"
hadoop_start "$dir/hadoop" 1 || exit 1
for u in alice bob; do
	code=$(curl -s -o /dev/null -w '%{http_code}' --negotiate -u : -X PUT "$HADOOP_NN/webhdfs/v1/$u?op=MKDIRS&permission=755")
	[ "$code" = 200 ] || fail "MKDIRS of $u: $code"
	curl -s -o /dev/null --negotiate -u : -X PUT "$HADOOP_NN/webhdfs/v1/$u?op=SETOWNER&owner=$u" || fail "SETOWNER"
done
# k1's calls pass a relay, which tells its token.
mkfifo "$dir/relay.in"
exec 8<>"$dir/relay.in"
: >"$dir/relay.port"
python3 "$(dirname "$0")/../../lib/namenode_relay.py" "${HADOOP_NN#http://}" <"$dir/relay.in" >"$dir/relay.port" 2>"$dir/relay.log" 8>&- &
relay=$!
until read -r RELAY <"$dir/relay.port"; do kill -0 $relay || fail "the relay does not start"; sleep 0.05; done
token() { curl -s -m 60 "http://127.0.0.1:$RELAY/relay?op=token"; }
port=$(free_port)
{
	cat <<-EOP
	a1.sources = r1
	a1.channels = c1 c2
	a1.sinks = k1 k2
	a1.sources.r1.type = syslogudp
	a1.sources.r1.host = 127.0.0.1
	a1.sources.r1.port = $port
	a1.sources.r1.channels = c1 c2
	EOP
	for i in 1 2; do
		[ $i = 1 ] && u=alice || u=bob
		cat <<-EOP
		a1.channels.c$i.type = file
		a1.channels.c$i.checkpointDir = $dir/checkpoint$i
		a1.channels.c$i.dataDirs = $dir/data$i
		a1.sinks.k$i.type = hdfs
		a1.sinks.k$i.channel = c$i
		a1.sinks.k$i.hdfs.path = $HADOOP_RPC/$u/x
		a1.sinks.k$i.hdfs.fileType = DataStream
		a1.sinks.k$i.hdfs.rollInterval = 3
		a1.sinks.k$i.hdfs.rollCount = 0
		a1.sinks.k$i.hdfs.rollSize = 0
		a1.sinks.k$i.hdfs.kerberosPrincipal = $u@TEST.LOCAL
		a1.sinks.k$i.hdfs.kerberosKeytab = $K/all.keytab
		a1.sinks.k$i.penstock.hdfs.conf = $dir/hadoop/conf
		EOP
		[ $i = 2 ] || echo "a1.sinks.k1.penstock.hdfs.http_address = localhost:$RELAY"
	done
} >"$dir/a.properties"
SECONDS=0
agent_start "$dir/a.properties"
"$GEN" send --kernel --to "127.0.0.1:$port" --as syslog-udp --rate 200 --seconds 70 --seed 1 --report "$dir/sent" --quiet 2>"$dir/gen.log" &
gen=$!
for _ in $(seq 600); do
	first=$(token)
	[ -n "$first" ] && break
	sleep 0.1
done
[ -n "$first" ] || fail "no call has a token"
KRB5CCNAME=FILE:$dir/alice kinit -k -t "$K/all.keytab" alice || fail "kinit alice"
code=$(KRB5CCNAME=FILE:$dir/alice curl -s -o "$dir/cancelled" -w '%{http_code}' --negotiate -u : -X PUT "$HADOOP_NN/webhdfs/v1/?op=CANCELDELEGATIONTOKEN&token=$first")
[ "$code" = 200 ] || fail "CANCELDELEGATIONTOKEN: $code $(cat "$dir/cancelled")"
cancelled=$SECONDS
# By its age alone it would be at 80 % of its 40 s, and it is younger than the agent.
until [ "$(token)" != "$first" ]; do
	[ $SECONDS -lt 31 ] || fail "no new token after InvalidToken"
	sleep 0.1
done
echo "a cancelled token is replaced after $((SECONDS - cancelled)) s"
[ $SECONDS -ge 25 ] || sleep $((25 - SECONDS))	# the tickets' and tokens' lives are what is tested
kdc_stop
sleep 12
kdc_run
wait $gen || fail "the generator"
drained 200 || fail "not drained: $("$CTL" -s "$dir/a1.sock" --json status)"
"$CTL" -s "$dir/a1.sock" metrics | grep -E "k1 .*(files_failed|name_node_calls|files_closed)"
agent_stop || fail "exit status after SIGTERM"
AGENT=
kinit -l 1h -k -t "$K/all.keytab" hdfs/localhost || fail "kinit"
for u in alice bob; do
	hadoop_fs -ls -R /$u >"$dir/list" || fail "ls"
	grep '\.tmp$' "$dir/list" && fail "files in use of $u"
	grep FlumeData "$dir/list" | grep -v " $u " && fail "files of another owner"
	hadoop_fs -text "/$u/x/*" >"$dir/text" || fail "text"
	"$GEN" verify --sent "$dir/sent" --seed 1 --report "$dir/verified" - <"$dir/text" >"$dir/verify.log" 2>&1
	python3 - "$dir/verified" <<-'EOP' || fail "$u: $(cat "$dir/verified")"
	import json, sys
	v = json.load(open(sys.argv[1]))
	print(v)
	sys.exit(not (v["unique"] > 13000 and v["lost"] < 100 and v["duplicated"] == v["corrupted"] == v["phantom"] == 0))
	EOP
done
