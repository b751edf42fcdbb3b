#!/bin/bash
# test_daemon.sh PENSTOCK CTL GEN RINGLOG: rounds of load (rounds.sh) while penstock, the NameNode and the DataNode are killed and come back, one
# after the other: five, twenty with CHECK_LONG; SEED=N repeats the moments. `./check` runs five of them beside the faults (test_faults_real.sh).
set -u
PENSTOCK=$(realpath "$1") CTL=$(realpath "$2") GEN=$(realpath "$3") RINGLOG=$(realpath "$4") rounds=5
[ -z "${CHECK_LONG-}" ] || rounds=20
dir=$(mktemp -d "${TMPDIR:-/var/tmp}/penstock-hdfsd-XXXXXX")
. "$(dirname "$0")/../../lib/daemon.sh"
. "$(dirname "$0")/../../lib/hadoop.sh"
. "$(dirname "$0")/faults.sh"
. "$(dirname "$0")/rounds.sh"
hadoop_jars || exit $?
gen=
export PATH=$(dirname "$RINGLOG"):$PATH
trap '[ -n "$AGENT" ] && kill -9 $AGENT 2>/dev/null; [ -n "$gen" ] && kill $gen 2>/dev/null; hadoop_stop; rm -rf "$dir"' EXIT
hadoop_start "$dir/hadoop" 1 || exit 1
[ -n "${HADOOP_SHARED-}" ] || hadoop_share "$dir/hadoop" || exit 1
SEED=${SEED:-$$}
echo "SEED=$SEED"
RANDOM=$SEED
restart_name_node() { hadoop_nn_kill; sleep 0.$((RANDOM % 10)); hadoop_nn_start; }
restart_data_node() { hadoop_dn_kill 0; sleep 0.$((RANDOM % 10)); hadoop_dn_start 0; }
ways=(restart_name_node round_agent restart_data_node)
for one in $(seq "$rounds"); do
	port=$(free_port)
	round "$one" ${ways[$((one % 3))]}
done
