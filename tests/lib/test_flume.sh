#!/bin/bash
# test_flume.sh: a real Flume, as tests/lib/flume.sh starts it: lines of netcat and a datagram through a file channel into files; killed
# with events in the channel, it delivers them after its next start.
set -u
. "$(dirname "$0")/flume.sh"
flume_jars || { rc=$?; [ $rc -ne 77 ] || echo "SKIP: no Flume can be had"; exit $rc; }
dir=$(mktemp -d "${TMPDIR:-/var/tmp}/penstock-flume-XXXXXX")
trap 'flume_kill; rm -rf "$dir"' EXIT
fail()
{
	echo "FAILED: $*" >&2
	tail -n 20 "$dir/flume.log" >&2
	exit 1
}
read -r tcp udp < <(python3 "$FLUME_LIB/agent.py" 2)
mkdir "$dir/out"
cat >"$dir/intake.properties" <<EOS
a1.sources = r1 r2
a1.channels = c1
a1.sources.r1.type = netcat
a1.sources.r1.bind = 127.0.0.1
a1.sources.r1.port = $tcp
a1.sources.r1.channels = c1
a1.sources.r2.type = syslogudp
a1.sources.r2.host = 127.0.0.1
a1.sources.r2.port = $udp
a1.sources.r2.channels = c1
a1.channels.c1.type = file
a1.channels.c1.checkpointDir = $dir/checkpoint
a1.channels.c1.dataDirs = $dir/data
a1.channels.c1.minimumRequiredSpace = 1048576
EOS
flume_start "$dir" "$dir/intake.properties" "$tcp" "udp:$udp" || exit 1
python3 - "$tcp" "$udp" <<'EOS' || fail "netcat answers otherwise"
import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 100)
s.sendall(b"one\ntwo\n")
answer = b""
while len(answer) < 6:
    answer += s.recv(6) or sys.exit(1)
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"<13>Nov 21 07:12:01 host three", ("127.0.0.1", int(sys.argv[2])))
sys.exit(answer != b"OK\nOK\n")
EOS
for _ in $(seq 500); do
	[ "$(flume_metric CHANNEL.c1 EventPutSuccessCount)" = 3 ] && break
	sleep 0.1	# until its counter says so
done
[ "$(flume_metric CHANNEL.c1 ChannelSize)" = 3 ] || fail "not three events in the channel"
flume_kill
sed '/sources/d' "$dir/intake.properties" >"$dir/drain.properties"
cat >>"$dir/drain.properties" <<EOS
a1.sinks = k1
a1.sinks.k1.type = file_roll
a1.sinks.k1.sink.directory = $dir/out
a1.sinks.k1.sink.rollInterval = 0
a1.sinks.k1.channel = c1
EOS
flume_start "$dir" "$dir/drain.properties" || exit 1
for _ in $(seq 1000); do
	[ "$(sort "$dir"/out/* 2>/dev/null | tr '\n' ' ')" = "one three two " ] && break
	sleep 0.1	# until its sink has flushed
done
[ "$(sort "$dir"/out/* | tr '\n' ' ')" = "one three two " ] || fail "files hold: $(cat "$dir"/out/*)"
flume_stop
