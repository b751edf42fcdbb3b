#!/bin/bash
# test_daemon_schedule.sh PENSTOCK CTL: batch loads by schedule, with a program of ours in penstock-camus's place that says what it was told to:
# figures in status and metrics, a failing run, one that outlasts its turn, one that is stopped with the agent, mistakes in the configuration.
set -u
PENSTOCK=$(realpath "$1") CTL=$(realpath "$2")
dir=$(mktemp -d /tmp/penstock-schedule-XXXXXX)
. "$(dirname "$0")/../lib/daemon.sh"
trap '[ -n "$AGENT" ] && kill -9 $AGENT 2>/dev/null; [ -s "$dir/pids" ] && kill -9 $(cat "$dir/pids") 2>/dev/null; rm -rf "$dir"' EXIT
mkdir "$dir/bin"
cp "$PENSTOCK" "$dir/bin/penstock"
PENSTOCK=$dir/bin/penstock
cat >"$dir/bin/penstock-camus" <<'EOF'
#!/bin/bash
[ "$1 $2 $4 $5" = "run -P --json --quiet" ] || exit 9
echo $$ >>"$(dirname "$0")/../pids"
. "$3"
EOF
chmod 755 "$dir/bin/penstock-camus"
cat >"$dir/good" <<EOF
echo x >>$dir/good.runs
echo '{"run":"r'\$(wc -l <$dir/good.runs)'","failure":"","manifest":7,"records":1000,"bytes":200000,"files":3,"record_lag":5,"event_time_lag_ms":2500,"partitions_not_proven":2,"unfinished_manifest":0}'
EOF
cat >"$dir/bad" <<'EOF'
echo '{"run":"b1","failure":"all brokers are away","records":0,"unfinished_manifest":4}'
exit 1
EOF
cat >"$dir/slow" <<EOF
trap 'echo "{\"run\":\"s1\",\"failure\":\"\",\"records\":1}"; echo asked >$dir/slow.end; exit 0' TERM
while :; do sleep 0.1; done
EOF
cat >"$dir/a.properties" <<EOF
a1.sources = r1
a1.channels = c1
a1.sources.r1.type = syslogudp
a1.sources.r1.host = 127.0.0.1
a1.sources.r1.port = $(free_port)
a1.sources.r1.channels = c1
a1.channels.c1.type = memory
a1.sinks = k1
a1.sinks.k1.type = null
a1.sinks.k1.channel = c1
penstock.camus.good.schedule = 1s
penstock.camus.good.conf = $dir/good
penstock.camus.bad.schedule = 1h
penstock.camus.bad.conf = $dir/bad
penstock.camus.slow.schedule = 1s
penstock.camus.slow.conf = $dir/slow
penstock.metrics.bind = 127.0.0.1:$(free_port)
penstock.stop_deadline = 60s
EOF
agent_start "$dir/a.properties"

status() { "$CTL" -s "$dir/a1.sock" --json status; }
as_wanted()
{
	status >"$dir/status" && python3 - "$dir/status" 2>"$dir/wrong" <<'EOF'
import json, sys
loads = {l["name"]: l for l in json.load(open(sys.argv[1]))["loads"]}
good, bad, slow = loads["good"], loads["bad"], loads["slow"]
assert good["runs"] >= 3 and good["runs_failed"] == 0 and good["records"] == 1000 * good["runs"] and good["files"] == 3 * good["runs"], good
assert good["last_run"] == "r%d" % good["runs"] and good["manifest"] == 7 and good["record_lag"] == 5 and good["partitions_not_proven"] == 2, good
assert good["event_time_lag_ns"] == 2500000000 and good["last_success_time_ns"] > 1700000000 * 10**9, good
assert bad["runs"] == 1 and bad["runs_failed"] == 1 and bad["state"] == "failed" and bad["last_failure"] == "all brokers are away", bad
assert bad["unfinished_manifest"] == 4 and 3500 < bad["next_in_seconds"] <= 3600, bad
assert slow["state"] == "running" and slow["running"] == 1 and slow["runs_skipped"] >= 2 and slow["runs"] == 0, slow
EOF
}
within $PATIENCE as_wanted || fail "status: $(cat "$dir/status" "$dir/wrong")"
"$CTL" -s "$dir/a1.sock" status >"$dir/shown" || fail "status as a table"
grep -q 'bad .*failed .*all brokers are away' "$dir/shown" || fail "table: $(cat "$dir/shown")"
bind=$(sed -n 's/^penstock.metrics.bind = //p' "$dir/a.properties")
curl -s "http://$bind/metrics/prometheus" >"$dir/prometheus" || curl -s "http://$bind/metrics" >"$dir/prometheus"
for line in 'penstock_load_runs_failed_total{component="bad"} 1' 'penstock_load_running{component="slow"} 1' 'penstock_load_record_lag{component="good"} 5' 'penstock_load_event_time_lag_seconds{component="good"} 2.5'; do
	grep -qF "$line" "$dir/prometheus" || fail "metrics lack $line: $(grep load_ "$dir/prometheus")"
done
agent_stop || fail "the agent did not end well"
[ -f "$dir/slow.end" ] || fail "a run at work was not asked to end"
AGENT=

# One that does not listen is ended at the stop deadline.
cat >"$dir/slow" <<EOF
trap '' TERM
echo \$\$ >$dir/slow.pid
exec sleep 1000
EOF
sed -i 's/^penstock.stop_deadline = .*/penstock.stop_deadline = 1s/' "$dir/a.properties"
agent_start "$dir/a.properties"
within $PATIENCE [ -s "$dir/slow.pid" ] || fail "the deaf run does not begin"
agent_stop || fail "the agent did not end well beside a deaf run"
AGENT=
kill -0 "$(cat "$dir/slow.pid")" 2>/dev/null && fail "a deaf run outlived the agent"

# Mistakes.
check() { "$PENSTOCK" check -f "$dir/wrong.properties" -n a1 >"$dir/checked" 2>&1; [ $? = 2 ] && grep -q "$1" "$dir/checked" || fail "not told: $1: $(cat "$dir/checked")"; }
grep -v penstock.camus "$dir/a.properties" >"$dir/plain.properties"
{ cat "$dir/plain.properties"; echo "penstock.camus.x.conf = f"; } >"$dir/wrong.properties"
check 'penstock.camus.x.schedule.*required'
{ cat "$dir/plain.properties"; printf 'penstock.camus.x.conf = f\npenstock.camus.x.schedule = 10\n'; } >"$dir/wrong.properties"
check 'penstock.camus.x.schedule'
{ cat "$dir/plain.properties"; printf 'penstock.camus.x.conf = f\npenstock.camus.x.schedule = 10m\npenstock.camus.x.shedule = 1m\n'; } >"$dir/wrong.properties"
check 'penstock.camus.x.shedule'
rm "$dir/bin/penstock-camus"
if ! PATH=/usr/bin:/bin command -v penstock-camus >/dev/null; then
	PATH=/usr/bin:/bin "$PENSTOCK" agent -n a1 -f "$dir/a.properties" -Dpenstock.control.socket="$dir/a1.sock" >"$dir/agent.log" 2>&1 && fail "starts without penstock-camus"
	grep -q 'there is no penstock-camus' "$dir/agent.log" || fail "not told that penstock-camus is missing"
fi
echo "batch loads by schedule: figures, a failing run, a long one, a deaf one, mistakes"
