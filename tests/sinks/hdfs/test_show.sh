#!/bin/bash
# test_show.sh PENSTOCK CTL GEN RINGLOG: what can be seen of the hdfs sink's open files: penstockctl status and metrics while they are open,
# penstock-ringlog ledger after a kill and after their end, penstock check's advice before it all.
set -u
PENSTOCK=$(realpath "$1") CTL=$(realpath "$2") GEN=$(realpath "$3") RINGLOG=$(realpath "$4")
dir=$(mktemp -d "${TMPDIR:-/var/tmp}/penstock-show-XXXXXX")
. "$(dirname "$0")/../../lib/daemon.sh"
trap '[ -n "$AGENT" ] && kill -9 $AGENT 2>/dev/null; rm -rf "$dir"' EXIT
port=$(free_port)
cat >"$dir/a.properties" <<EOP
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
a1.sinks.k1.type = hdfs
a1.sinks.k1.hdfs.path = file://$dir/out
a1.sinks.k1.hdfs.fileType = DataStream
a1.sinks.k1.hdfs.rollInterval = 3600
a1.sinks.k1.hdfs.rollCount = 0
a1.sinks.k1.hdfs.rollSize = 0
a1.sinks.k1.channel = c1
EOP
"$PENSTOCK" check -f "$dir/a.properties" >"$dir/check" 2>&1 || fail "check: $(cat "$dir/check")"
grep -q "a1.sinks.k1.hdfs.rollInterval: files of 3600 s, 1 an hour and bucket: above 138 events/s they end earlier" "$dir/check" || fail "check says $(cat "$dir/check")"
agent_start "$dir/a.properties"
"$GEN" send --kernel --to "127.0.0.1:$port" --as syslog-udp --rate 5000 --seconds 4 --seed 1 --report "$dir/sent" --quiet 2>"$dir/gen.log" || fail "the generator"
shown=
for _ in $(seq 600); do
	"$CTL" -s "$dir/a1.sock" --json status >"$dir/status"
	shown=$(python3 - "$dir/status" <<-'EOP'
	import json, sys
	files = json.load(open(sys.argv[1])).get("open_files", [])
	if len(files) == 1 and files[0]["events"] > 15000 and files[0]["bytes"] > 1 << 20 and files[0]["name"].endswith(".tmp"):
	    print(files[0]["sink"], files[0]["state"])
	EOP
	)
	[ "$shown" = "k1 open" ] && break
	sleep 0.1
done
[ "$shown" = "k1 open" ] || fail "status: $(cat "$dir/status")"
"$CTL" -s "$dir/a1.sock" status | grep -qE "^k1 +$dir/out/FlumeData\.k1\..*\.tmp +open +[0-9]+ +[0-9]+ +[0-9]+" || fail "status as a table: $("$CTL" -s "$dir/a1.sock" status)"
for metric in oldest_unsettled_s open_bytes intents rolled_for_room; do
	"$CTL" -s "$dir/a1.sock" metrics | grep -qE "SINK +k1 +$metric " || fail "no metric $metric"
done
kill -9 $AGENT
wait $AGENT 2>/dev/null
AGENT=
"$RINGLOG" ledger "$dir/data" >"$dir/ledger" 2>&1 || fail "ledger: $(cat "$dir/ledger")"
grep -qE "^consumer BOUND sink \"k1\" file 1 .* in_use \"$dir/out/FlumeData\.k1\..*-1\.tmp\" final \"\" file_id 0" "$dir/ledger" || fail "ledger: $(cat "$dir/ledger")"
agent_start "$dir/a.properties"
agent_stop || fail "exit status after SIGTERM"
AGENT=
"$RINGLOG" ledger --all --json "$dir/data" >"$dir/ledger" 2>&1 || fail "ledger: $(cat "$dir/ledger")"
python3 - "$dir/ledger" "$dir/out" <<'EOP' || fail "the ledger after the end: $(cat "$dir/ledger"); $(ls "$dir/out")"
import json, os, sys
done = [r for r in map(json.loads, open(sys.argv[1])) if r.get("state") == "DONE" and "file" in r]
names = os.listdir(sys.argv[2])
print(names, done)
# stopped while it still took from the channel, the sink ends what it has and opens another file for the rest
ends = sorted(int(name.rsplit("-", 1)[1]) for name in names if not name.endswith(".tmp"))
at = 0
for record in sorted(done, key=lambda r: r["first"]):
    sys.exit("a gap") if record["first"] != at else None
    at = record["last"] + 1
sys.exit(not (len(names) == len(ends) == len(done) and ends == sorted(r["last"] for r in done) and at > 15000))
EOP
