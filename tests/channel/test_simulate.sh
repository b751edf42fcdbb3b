#!/bin/bash
# test_simulate.sh SIMULATE SEEDS: the seeds of the file, then new ones until there were enough power cuts: 20,000, or
# PENSTOCK_POWER_CUTS, or 100,000 with CHECK_LONG set. Under a sanitizer, which is slower, a tenth.
set -eu
while read -r seed _; do
	case $seed in
	'' | '#'*) ;;
	*) "$1" --seed "$seed" >/dev/null ;;
	esac
done <"$2"
cuts=${PENSTOCK_POWER_CUTS-20000}
[ -z "${CHECK_LONG-}" ] || cuts=100000
[ -z "${ASAN_OPTIONS-}${TSAN_OPTIONS-}" ] || cuts=$((cuts / 10))
# Memory filled with a pattern (meson's MALLOC_PERTURB_) finds reads of what was never written, and makes the simulated disk ten times slower: a tenth with it.
[ -z "${MALLOC_PERTURB_-}" ] || "$1" --cuts $((cuts / 10))
unset MALLOC_PERTURB_
"$1" --cuts "$cuts"
