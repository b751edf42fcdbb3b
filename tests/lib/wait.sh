# wait.sh: waiting for events in tests, for as long as a slow machine may take; to be sourced.
#
#   within SECONDS COMMAND...    tries the command until it succeeds; 1 when it has not by then
#   held PID                     waits until PID has stopped itself (PENSTOCK_CAMUS_HOLD_AT); 1 when it ended instead. It goes on with SIGCONT

within()
{
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.05
	done
}

# 0: stopped. 2: not yet. 1: gone.
held_now()	# pid
{
	local stat
	stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
	case ${stat##*) } in
	T*) return 0 ;;
	Z*) return 1 ;;
	esac
	return 2
}

held()
{
	local end=$((SECONDS + 120)) rc
	while :; do
		held_now "$1"
		rc=$?
		[ $rc = 2 ] && [ $SECONDS -lt $end ] || return $rc
		sleep 0.02
	done
}
