#!/bin/bash
# test_broken.sh SIMULATE_BROKEN MISTAKE: the simulator finds the mistake, and finds none in the same build without one.
set -u
out=$("$1" --broken "$2" --from 1 --cuts 20000 2>&1)
case $? in
0)
	echo "$out"
	echo "the mistake '$2' was not found" >&2
	exit 1
	;;
esac
echo "$out" | tail -4
case $out in
*'is against'* | *'Assertion'*) ;;
*)
	echo "it failed, but not by a promise" >&2
	exit 1
	;;
esac
"$1" --from 1 --cuts 500
