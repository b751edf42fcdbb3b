# daemon.sh: a real `penstock agent` for tests; to be sourced. PENSTOCK, CTL, GEN, RINGLOG are paths of the programs.
#
#   free_port            prints a free UDP and TCP port of loopback
#   agent_start FILE     starts agent a1 of FILE (its control socket is $dir/a1.sock), waits until it is up; sets AGENT
#   agent_stop           SIGTERM, waits; 1 when it did not exit 0
#   drained SECONDS      waits until channel c1 holds nothing unsettled
AGENT=

fail()
{
	echo "FAILED: $*" >&2
	[ -f "$dir/agent.log" ] && tail -n 20 "$dir/agent.log" >&2
	exit 1
}

free_port()
{
	python3 -c 'import socket
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(("127.0.0.1", 0)); print(u.getsockname()[1])'
}

agent_start()
{
	"$PENSTOCK" agent -n a1 -f "$1" -Dpenstock.control.socket="$dir/a1.sock" >>"$dir/agent.log" 2>&1 &
	AGENT=$!
	for _ in $(seq 600); do
		"$CTL" -s "$dir/a1.sock" --json status >/dev/null 2>&1 && return 0
		kill -0 $AGENT 2>/dev/null || fail "the agent ended at its start"
		sleep 0.05
	done
	fail "the agent is not up after 30 s"
}

agent_stop()
{
	kill $AGENT
	wait $AGENT
}

drained()
{
	for _ in $(seq $(($1 * 10))); do
		"$CTL" -s "$dir/a1.sock" --json status | python3 -c 'import json, sys
sys.exit(any(c["unsettled"] for c in json.load(sys.stdin)["channels"]))' && return 0
		sleep 0.1
	done
	return 1
}
