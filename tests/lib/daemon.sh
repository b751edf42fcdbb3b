# daemon.sh: a real `penstock agent` for tests; to be sourced. PENSTOCK, CTL, GEN, RINGLOG are paths of the programs.
#
#   free_port            prints a free UDP and TCP port of loopback (tests/lib/agent.py says which)
#   agent_start FILE     starts agent a1 of FILE (its control socket is $dir/a1.sock), waits until it is up; sets AGENT
#   agent_stop           SIGTERM, waits; 1 when it did not exit 0
#   within SECONDS CMD   as wait.sh has it. $PATIENCE seconds suit what takes less than one on a free machine
#   drained SECONDS      waits until no channel holds anything unsettled
#   received NAME COUNT  waits until source NAME has taken in COUNT events or more
#   accounts_even        waits until every account is even (a thread that lost its CPU between two counters leaves them uneven until it goes on),
#                        fails when one stays uneven; what `penstockctl drops` said is in $dir/drops
AGENT=
PATIENCE=120
DAEMON_LIB=$(dirname "${BASH_SOURCE[0]}")
. "$DAEMON_LIB/wait.sh"

fail()
{
	echo "FAILED: $*" >&2
	[ -f "$dir/agent.log" ] && tail -n 20 "$dir/agent.log" >&2
	exit 1
}

free_port()
{
	python3 "$DAEMON_LIB/agent.py"
}

agent_start()
{
	"$PENSTOCK" agent -n a1 -f "$1" -Dpenstock.control.socket="$dir/a1.sock" >>"$dir/agent.log" 2>&1 &
	AGENT=$!
	local end=$((SECONDS + PATIENCE))
	until "$CTL" -s "$dir/a1.sock" --json status >/dev/null 2>&1; do
		kill -0 $AGENT 2>/dev/null || fail "the agent ended at its start"
		[ $SECONDS -lt $end ] || fail "the agent is not up after $PATIENCE s"
		sleep 0.05
	done
}

agent_stop()
{
	kill $AGENT
	wait $AGENT
}

nothing_unsettled()
{
	"$CTL" -s "$dir/a1.sock" --json status | python3 -c 'import json, sys
sys.exit(any(c["unsettled"] for c in json.load(sys.stdin)["channels"]))'
}

drained()
{
	within "$1" nothing_unsettled
}

has_received()
{
	"$CTL" -s "$dir/a1.sock" --json drops | python3 -c 'import json, sys
sys.exit(not any(a["account"] == "events" and a["component"] == sys.argv[1] and a["in"]["value"] >= int(sys.argv[2]) for a in json.load(sys.stdin)["accounts"]))' "$@"
}

received()
{
	within $PATIENCE has_received "$@"
}

all_even()
{
	"$CTL" -s "$dir/a1.sock" drops >"$dir/drops"
}

accounts_even()
{
	within 30 all_even || fail "an account is uneven: $(cat "$dir/drops")"
}
