#!/bin/bash
# test_daemon_streams.sh PENSTOCK CTL kernel|tap: real senders to the sources over TCP, plain and with TLS, on kernel sockets or on a data port (a TAP in a network
# namespace of the test's own): logger, rsyslog (lines, octet counts), loggen, socat, openssl, curl; what they sent is in the file, answers are what Flume's
# are, accounts are even. On kernel sockets `ack = durable` is refused by name.
set -u
WIRE=$3
. "$(dirname "$0")/../lib/rsyslog.sh"
. "$(dirname "$0")/../lib/unpacked.sh"
# Before the namespace, in which nothing can be fetched.
rsyslog_find || exit
unpacked loggen usr/bin/loggen syslog-ng-core libivykis0 libnet1 libwrap0 || { echo "SKIP: loggen could not be fetched"; exit 77; }
LOGGEN=$PROGRAM_PATH
if [ "$WIRE" = tap ] && [ -z "${PENSTOCK_NETNS:-}" ]; then
	[ "$(id -u)" = 0 ] && [ -e /dev/net/tun ] && unshare -n true 2>/dev/null || { echo "SKIP: wants root, /dev/net/tun and network namespaces"; exit 77; }
	PENSTOCK_NETNS=1 exec unshare -n "$BASH" "$0" "$@"
fi
PENSTOCK=$(realpath "$1") CTL=$(realpath "$2")
. "$(dirname "$0")/../lib/daemon.sh"
for tool in logger socat curl openssl keytool; do
	command -v $tool >/dev/null || { echo "SKIP: no $tool"; exit 77; }
done
dir=$(mktemp -d /tmp/penstock-streams-XXXXXX)
trap 'kill -9 $AGENT $RSYSLOG_PID 2>/dev/null; rm -rf "$dir"' EXIT
export TZ=UTC
host=127.0.0.1
[ "$WIRE" = tap ] && host=192.0.2.10 && ip link set lo up
mkdir "$dir/out" "$dir/work"
# JKS as today's keytool writes it: PKCS#12 inside. And as it once was.
printf '\xfe\xed\xfe\xed\0\0\0\2' >"$dir/old.jks"
keytool -genkeypair -alias me -keyalg RSA -keysize 2048 -dname CN=localhost -validity 2 -keystore "$dir/store.jks" -storepass secret1 >/dev/null 2>&1 ||
	fail "keytool"
for name in tcp tls multi1 multi2 multi3 netcat http https blob; do declare "$name=$(free_port)"; done
tls_options() { printf 'a1.sources.%s.ssl = true\na1.sources.%s.keystore = %s\na1.sources.%s.keystore-password = secret1\n' "$1" "$1" "$dir/store.jks" "$1"; }
{
	echo "a1.sources = tcp tls multi netcat http https blob
a1.channels = c1
a1.sinks = k1"
	for name in tcp tls netcat http https blob; do
		case $name in tcp | tls) type=syslogtcp bind=host ;; netcat) type=netcat bind=bind ;; *) type=http bind=bind ;; esac
		echo "a1.sources.$name.type = $type
a1.sources.$name.$bind = $host
a1.sources.$name.port = ${!name}
a1.sources.$name.channels = c1"
	done
	tls_options tls
	tls_options https
	echo "a1.sources.tls.exclude-protocols = SSLv3 TLSv1.2
a1.sources.blob.handler = org.apache.flume.source.http.BLOBHandler
a1.sources.multi.type = multiport_syslogtcp
a1.sources.multi.host = $host
a1.sources.multi.ports = $multi1 $multi2 $multi3
a1.sources.multi.penstock.allow.port.$multi3 = 10.0.0.0/8
a1.sources.multi.portHeader = port
a1.sources.multi.channels = c1
a1.channels.c1.type = file
a1.channels.c1.checkpointDir = $dir/checkpoint
a1.channels.c1.dataDirs = $dir/data
a1.sinks.k1.type = file_roll
a1.sinks.k1.sink.directory = $dir/out
a1.sinks.k1.sink.rollInterval = 0
a1.sinks.k1.sink.serializer = header_and_text
a1.sinks.k1.channel = c1"
	[ "$WIRE" = kernel ] || echo "penstock.lcores = $(taskset -pc $$ | sed 's/.*[ ,-]//')
penstock.idle = sleep
penstock.hugepages = none
penstock.ports = p0
penstock.ports.p0.device = net_tap0,iface=ptap
penstock.ports.p0.addresses = $host/24"
} >"$dir/a.properties"
cat >"$dir/rsyslog.conf" <<EOF
global(workDirectory="$dir/work" localHostname="sender.example")
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="$dir/log.sock" RateLimit.Interval="0" UseSysTimeStamp="on" UsePIDFromSystem="off")
action(type="omfwd" target="$host" port="$tcp" protocol="tcp" template="RSYSLOG_SyslogProtocol23Format")
action(type="omfwd" target="$host" port="$tcp" protocol="tcp" TCP_Framing="octet-counted" template="RSYSLOG_ForwardFormat")
action(type="omfwd" target="$host" port="$multi2" protocol="tcp" template="RSYSLOG_SyslogProtocol23Format")
EOF
durable="ack = durable"
[ "$WIRE" = tap ] && durable="ack = nonsense"
for bad in "$durable" "keystore = $dir/old.jks" "keystore-password = wrong1"; do
	{ cat "$dir/a.properties"; echo "a1.sources.tls.$bad"; } >"$dir/bad.properties"
	timeout $PATIENCE "$PENSTOCK" agent -n a1 -f "$dir/bad.properties" -Dpenstock.control.socket="$dir/bad.sock" >"$dir/bad" 2>&1
	[ $? -ge 1 ] || fail "\"$bad\" is taken"
	grep -q "${bad%% *}" "$dir/bad" || fail "\"$bad\" is not refused by name: $(cat "$dir/bad")"
done
"$PENSTOCK" print -n a1 -f "$dir/a.properties" >"$dir/print" || fail "print"
promises='^# ack: received: the kernel acknowledges before penstock has the bytes'
[ "$WIRE" = tap ] && promises='^# ack: durable'
[ "$(grep -c "$promises" "$dir/print")" = 3 ] || fail "print does not show what syslogtcp promises"
[ "$(grep -c '^# ack: received; the reply is the promise' "$dir/print")" = 4 ] || fail "print does not show what replies promise"
agent_start "$dir/a.properties"
if [ "$WIRE" = tap ]; then
	sysctl -qw net.ipv6.conf.ptap.disable_ipv6=1
	ip addr add 192.0.2.1/24 dev ptap && ip link set ptap up || fail "the TAP"
fi
want=0
stored() { cat "$dir"/out/* 2>/dev/null | grep -c "$1"; }
stored_at_least() { [ "$(stored "$2")" -ge "$1" ]; }
wait_for() {	# COUNT PATTERN WHAT
	within $PATIENCE stored_at_least "$1" "$2"
	[ "$(stored "$2")" = "$1" ] || fail "$3: want $1, have $(stored "$2")"
	want=$((want + $1))
}
for i in $(seq 20); do
	logger -n $host -P "$tcp" -T --rfc5424 "logger-lf $i" || fail "logger"
	logger -n $host -P "$tcp" -T --octet-count --rfc3164 "logger-count $i" || fail "logger"
	logger -n $host -P "$multi1" -T --rfc5424 "logger-multi $i" || fail "logger"
done
timeout 2 logger -n "$host" -P "$multi3" -T --rfc5424 "from where none is allowed" >/dev/null 2>&1
wait_for 20 'logger-lf [0-9]' "logger, lines"
wait_for 20 'logger-count [0-9]' "logger, octet counts"
wait_for 20 "port=$multi1.*logger-multi [0-9]" "logger, multiport"
rsyslog_start "$dir/rsyslog.conf" "$dir"
rsyslog_ready "$dir/log.sock" || fail "rsyslogd: $(cat "$dir/rsyslog.log")"
seq -f 'rsyslog-message %g' 500 >"$dir/messages"
logger -u "$dir/log.sock" --socket-errors=on -t prog -f "$dir/messages" || fail "logger to rsyslogd"
wait_for 1500 'rsyslog-message [0-9]' "rsyslog in three ways"
[ "$(stored "port=$multi2.*rsyslog-message [0-9]")" = 500 ] || fail "rsyslog to multiport"
rsyslog_stop
SYSLOGNG_PREFIX="${LOGGEN%/*}/usr" "$LOGGEN" -i -S --rate 100000 --size 200 --number 5000 --active-connections 4 $host "$tcp" >"$dir/loggen" 2>&1
sent=$(grep -o 'count=[0-9]*' "$dir/loggen" | tail -1 | tr -dc 0-9)
[ "${sent:-0}" -gt 0 ] || fail "loggen: $(cat "$dir/loggen")"
wait_for "$sent" 'seq: ' "loggen"
# Writes and closes at once, over TLS: nothing is lost to a session ticket that nobody reads.
for i in $(seq 20); do
	seq -f "<13>1 2026-11-21T10:00:00Z h a - - - openssl-$i %g" 50 | openssl s_client -quiet -no_ign_eof -connect "$host:$tls" >/dev/null 2>&1
done
wait_for 1000 'openssl-[0-9]* [0-9]' "openssl s_client"
openssl s_client -tls1_2 -connect "$host:$tls" </dev/null >/dev/null 2>&1 && fail "TLSv1.2 is excluded and spoken"
[ "$(seq -f 'netcat-line %g' 100 | socat -t $PATIENCE - "TCP:$host:$netcat" | grep -c '^OK$')" = 100 ] || fail "netcat's OKs"
wait_for 100 'netcat-line [0-9]' "netcat"
code() { curl -s -k -m $PATIENCE -o "$dir/answer" -w '%{http_code}' "$@"; }
url=http://$host:$http/
[ "$(code -d '[{"headers":{"k":"v"},"body":"curl-post"}]' "$url")" = 200 ] || fail "curl POST"
[ "$(code -d '[{"body":"curl-tls"}]' "https://$host:$https/")" = 200 ] || fail "curl, TLS"
[ "$(code -d '[{"body":"curl-http2"}]' --http2 "$url")" = 200 ] || fail "curl that would like HTTP/2"
[ "$(code -d '[{"body":"x"}]' --http2-prior-knowledge "$url")" = 200 ] && fail "HTTP/2 is spoken"
[ "$(code -d '[' "$url")" = 400 ] || fail "broken JSON"
grep -q 'Bad request from client. Request has invalid JSON Syntax.' "$dir/answer" || fail "message of a 400"
[ "$(code "$url")" = 500 ] || fail "GET without a body"
[ "$(code -X PUT -d '[]' "$url")" = 405 ] || fail "PUT"
[ "$(code -X OPTIONS "$url")" = 403 ] || fail "OPTIONS"
python3 -c 'print("[" + ",".join("{\"body\":\"curl-large %d %s\"}" % (i, "x" * 900) for i in range(2000)) + "]")' >"$dir/large"
[ "$(code -H 'Expect: 100-continue' --data-binary "@$dir/large" "$url")" = 200 ] || fail "curl, 2 MB with Expect: $(cat "$dir/answer")"
gzip -k "$dir/large"
[ "$(code -H 'Content-Encoding: gzip' -H 'Transfer-Encoding: chunked' --data-binary "@$dir/large.gz" "$url")" = 200 ] || fail "curl, gzip in chunks"
[ "$(code --data-binary blob-body "http://$host:$blob/?name=a%20b")" = 200 ] || fail "blob"
head -c 5000000 /dev/zero >"$dir/huge"
[ "$(code --data-binary "@$dir/huge" "$url")" = 413 ] || fail "a body above penstock.body.max"
wait_for 4000 'curl-large [0-9]' "curl, large"
wait_for 1 'k=v.*curl-post' "curl"
wait_for 1 'curl-tls' "curl, TLS"
wait_for 1 'curl-http2' "curl, upgrade"
wait_for 1 'name=a b.*blob-body' "blob"
exec 5<>"/dev/tcp/$host/$tcp" && printf '<13>no end' >&5 || fail "a connection by hand"
flows_right()
{
	"$CTL" -s "$dir/a1.sock" --json flows >"$dir/flows" && python3 - "$dir/flows" "$host:$tcp" "$WIRE" 2>"$dir/wrong" <<'EOF'
import json, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
mine = [r for r in rows if r.get("local") == sys.argv[2] and r["state"] == "established"]
assert rows[-1]["end"] and rows[-1]["flows"] == len(rows) - 1
assert len(mine) == 1 and mine[0]["source"] == "tcp" and mine[0]["received"] == 10 and 0 < mine[0]["age_seconds"] < 120, mine
assert mine[0]["carrier"] == ("lcore" if sys.argv[3] == "tap" else "kernel")
EOF
}
within 60 flows_right || fail "flows: $(cat "$dir/flows" "$dir/wrong")"
exec 5>&-
drained $PATIENCE || fail "the channel is not drained"
[ "$(cat "$dir"/out/* | wc -l)" = $want ] || fail "want $want lines in all, have $(cat "$dir"/out/* | wc -l)"
accounts_even
# Answers that are due still leave, then it ends.
(seq -f 'last-line %g' 1000; sleep 1) | socat -t $PATIENCE - "TCP:$host:$netcat" >"$dir/oks" &
socat=$!
sleep 0.5
agent_stop || fail "exit status after SIGTERM"
AGENT=
wait $socat
[ "$(grep -c '^OK$' "$dir/oks")" = "$(stored 'last-line [0-9]')" ] || fail "$(grep -c OK "$dir/oks") answers, $(stored 'last-line [0-9]') lines"
exit 0
