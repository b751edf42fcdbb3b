#!/bin/bash
# test_daemon_rsyslog.sh PENSTOCK CTL: a real rsyslogd, in its three forwarding formats (omfwd over UDP), and a real logger send the same messages to
# syslogudp over kernel sockets; all of them are in the file, read the same way, headers and texts whole, and both accounts are even.
set -u
PENSTOCK=$(realpath "$1") CTL=$(realpath "$2")
. "$(dirname "$0")/../lib/daemon.sh"
. "$(dirname "$0")/../lib/rsyslog.sh"
rsyslog_find || exit
command -v logger >/dev/null || { echo "SKIP: no logger (apt-get install bsdutils)"; exit 77; }
dir=$(mktemp -d /tmp/penstock-rsyslog-XXXXXX)
trap 'kill -9 $AGENT $RSYSLOG_PID 2>/dev/null; rm -rf "$dir"' EXIT
export TZ=UTC
port=$(free_port)
messages=200
mkdir "$dir/out" "$dir/work"
cat >"$dir/a.properties" <<EOF
a1.sources = r1
a1.channels = c1
a1.sinks = k1
a1.sources.r1.type = syslogudp
a1.sources.r1.host = 127.0.0.1
a1.sources.r1.port = $port
a1.sources.r1.channels = c1
a1.channels.c1.type = file
a1.channels.c1.checkpointDir = $dir/checkpoint
a1.channels.c1.dataDirs = $dir/data
a1.sinks.k1.type = file_roll
a1.sinks.k1.sink.directory = $dir/out
a1.sinks.k1.sink.rollInterval = 0
a1.sinks.k1.sink.serializer = header_and_text
a1.sinks.k1.channel = c1
EOF
cat >"$dir/rsyslog.conf" <<EOF
global(workDirectory="$dir/work" localHostname="sender.example")
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="$dir/log.sock" RateLimit.Interval="0" UseSysTimeStamp="on" UsePIDFromSystem="off")
action(type="omfwd" target="127.0.0.1" port="$port" protocol="udp" template="RSYSLOG_TraditionalForwardFormat")
action(type="omfwd" target="127.0.0.1" port="$port" protocol="udp" template="RSYSLOG_ForwardFormat")
action(type="omfwd" target="127.0.0.1" port="$port" protocol="udp" template="RSYSLOG_SyslogProtocol23Format")
EOF
agent_start "$dir/a.properties"
rsyslog_start "$dir/rsyslog.conf" "$dir"
rsyslog_ready "$dir/log.sock" || fail "rsyslogd: $(cat "$dir/rsyslog.log")"
python3 -c 'for i in range('$messages'): print("message %03d caf\u00e9 <tag> {x=y}" % i)' >"$dir/messages"
logger -u "$dir/log.sock" --socket-errors=on -p local3.warning -t prog -f "$dir/messages" || fail "logger to rsyslogd"
logger -n 127.0.0.1 -P "$port" -d --rfc3164 -p local3.warning -t prog -f "$dir/messages" || fail "logger --rfc3164"
logger -n 127.0.0.1 -P "$port" -d --rfc5424 -p local3.warning -t prog -f "$dir/messages" || fail "logger --rfc5424"
all_stored() { [ "$(cat "$dir"/out/* 2>/dev/null | grep -c 'message ...')" -ge $((5 * messages)) ]; }
within $PATIENCE all_stored || fail "$(cat "$dir"/out/* | grep -c 'message ...') of $((5 * messages)) messages"
drained $PATIENCE || fail "the channel is not drained"
cat "$dir"/out/* >"$dir/lines"
python3 - "$dir/lines" $messages <<'EOF' || fail "what came is not what was sent"
import collections, re, sys, time
forms = collections.Counter()
count = collections.Counter()
for line in open(sys.argv[1], encoding="utf-8"):
    if "message " not in line:
        continue  # rsyslogd's own words at its start
    m = re.fullmatch(r"\{(.*?)\} (.*)\n", line)
    headers = dict(pair.split("=", 1) for pair in m.group(1).split(", "))
    assert (headers["Facility"], headers["Severity"], headers["priority"]) == ("19", "4", "156"), line
    assert "flume.syslog.status" not in headers and headers["host"], line
    assert abs(int(headers["timestamp"]) / 1000 - time.time()) < 3600, line
    text = re.search(r"message (\d{3}) caf\u00e9 <tag> \{x=y\}$", m.group(2))
    assert text, line
    front = m.group(2)[:text.start()]
    shape = "5424" if re.match(r"prog \S+ - (-|\[.*\]) +$", front) else "tag" if re.match(r"prog(\[\d+\])?: $", front) else repr(front)
    forms["rsyslog" if headers["host"].startswith("sender") else "logger", headers.get("version"), shape] += 1
    count[text.group(1)] += 1
n = int(sys.argv[2])
want = {("rsyslog", None, "tag"): 2 * n, ("rsyslog", "1", "5424"): n, ("logger", None, "tag"): n, ("logger", "1", "5424"): n}
assert forms == want, forms
assert len(count) == n and set(count.values()) == {5}, count
EOF
accounts_even
rsyslog_stop
agent_stop || fail "exit status after SIGTERM"
AGENT=
exit 0
