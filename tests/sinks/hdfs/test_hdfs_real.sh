#!/bin/bash
# test_hdfs_real.sh PENSTOCK CTL GEN RINGLOG TEST_FS CAMUS [PART...]: everything that is tested on a real HDFS, on one cluster that all parts
# share: a NameNode and a DataNode, started here once and ended here. What leaves the cluster as it is runs side by side (calm), the batch loader's
# part beside the sink's; then comes what kills and stops the servers (rough). Beside both, as they mostly wait, Kerberos and then two NameNodes,
# which are clusters of their own kind. Parts: fs (with golden) calm camus rough kerberos ha; golden; rounds, one after the other (with CHECK_LONG
# they are run, too). Each can be run by itself, and starts a cluster then.
set -u
programs=("${@:1:4}") test_fs=$5 camus=$6
shift 6
here=$(cd "$(dirname "$0")" && pwd)
cluster=$(mktemp -d "${TMPDIR:-/var/tmp}/penstock-cluster-XXXXXX")
. "$here/../../lib/hadoop.sh"
hadoop_jars || exit $?
beside= lane=
stop()
{
	local one
	for one in $beside $lane; do
		kill -- -$one 2>/dev/null && wait $one 2>/dev/null
	done
	hadoop_stop
	rm -rf "$cluster"
}
trap stop EXIT
trap 'exit 1' TERM INT
[ $# -gt 0 ] || set -- fs calm camus rough ${CHECK_LONG:+rounds} kerberos ha
bad=0 skipped=0 begun=$SECONDS

part()	# name command...
{
	local name=$1 from=$SECONDS rc
	shift
	"$@"
	rc=$?
	echo "== $name: $((SECONDS - from)) s, exit status $rc"
	case $rc in
	0) return 0 ;;
	77) return 77 ;;
	*) return 1 ;;
	esac
}

# What a real Flume wrote: the same paths, names and bytes on a real HDFS.
golden()
{
	cat >"$cluster/fetch.sh" <<-EOP
	. "$here/../../lib/hadoop.sh"
	. "$HADOOP_SHARED/env"
	hadoop_fs -get "/golden/*" "\$1"
	EOP
	python3 "$here/test_golden.py" "$(dirname "$test_fs")/golden_run" "$here/golden" "$HADOOP_RPC/golden" "$HADOOP_SHARED/conf" "bash $cluster/fetch.sh"
}

# The conformance body, and golden beside it.
fs()
{
	local rc files
	golden >"$cluster/golden.out" 2>&1 &
	files=$!
	bash "$here/test_fs_real.sh" "$test_fs"
	rc=$?
	wait $files || rc=1
	cat "$cluster/golden.out"
	return $rc
}

took()	# exit status of a part
{
	case $1 in
	0) ;;
	77) skipped=1 ;;
	*) bad=1 ;;
	esac
}

wanted() { [[ " $parts " == *" $1 "* ]]; }	# part
parts=$*
if wanted kerberos || wanted ha; then
	set -m	# a group of its own, so that all of it can be ended
	(
		rc=0
		for name in kerberos ha; do
			! wanted $name || part $name bash "$here/test_${name}_real.sh" "${programs[@]}" || { one=$?; [ $rc = 1 ] || rc=$one; }
		done
		exit $rc
	) >"$cluster/beside" 2>&1 &
	beside=$!
	set +m
fi
sink_part()	# name
{
	case $1 in
	fs) part fs fs ;;
	golden) part golden golden ;;
	calm) part calm bash "$here/test_faults_real.sh" "${programs[@]}" quiet1 quiet2 quiet3 quiet4 agents ;;
	rough) part rough bash "$here/test_faults_real.sh" "${programs[@]}" name_node safe_mode hang data_node full ;;
	rounds) part rounds bash "$here/test_daemon.sh" "${programs[@]}" ;;
	esac
	took $?
}

if wanted fs || wanted golden || wanted calm || wanted camus || wanted rough || wanted rounds; then
	hadoop_start "$cluster/hadoop" 1 && hadoop_share "$cluster/hadoop" || exit 1
	echo "== cluster: $((SECONDS - begun)) s"
	export HADOOP_SHARED=$cluster/hadoop
	if wanted camus; then
		set -m
		part camus bash "$here/../../camus/test_camus_hdfs.sh" "$camus" >"$cluster/lane" 2>&1 &
		lane=$!
		set +m
	fi
	for name in fs golden calm; do
		! wanted $name || sink_part $name
	done
	if [ -n "$lane" ]; then
		wait $lane
		took $?
		lane=
		cat "$cluster/lane"
	fi
	for name in rough rounds; do
		wanted $name || continue
		sink_part $name
		# As it was, whatever the part left.
		[ -e "$HADOOP_SHARED/nn.pid" ] || hadoop_nn_start
		[ -e "$HADOOP_SHARED/dn0.pid" ] || hadoop_dn_start 0
	done
	unset HADOOP_SHARED
fi
if [ -n "$beside" ]; then
	wait $beside
	took $?
	beside=
	cat "$cluster/beside"
fi
echo "== all: $((SECONDS - begun)) s"
[ $bad = 0 ] || exit 1
[ $skipped = 0 ] || { echo "SKIP: a part could not run here, see above"; exit 77; }
