#!/bin/sh
# penstock-ringlog ledger over a log that real threads left: from the snapshot, from the log alone, and with the snapshot damaged.
# usage: test_ledger_tool.sh RUN_LEDGER PENSTOCK_RINGLOG
set -eu
run=$1 tool=$2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"$run" "$dir" 40 > "$dir/said"
"$tool" ledger "$dir/data" > "$dir/log"
"$tool" ledger --checkpoint "$dir/checkpoint" "$dir/data" > "$dir/snapshot"
# Half of the files are open; DONE ones above the first unsettled event are remembered; abandoned ones are gone.
grep -q '^20 INTENT, .* 50 others$' "$dir/snapshot"
grep -q '^consumer INTENT key "k1/2" order 2 position [0-9]* events 10 runs 1 first 10 last 19 more "/logs/file.2.log"$' "$dir/snapshot"
! grep -q '"k1/1"' "$dir/log" "$dir/snapshot"
! grep -q '"k1/0"' "$dir/snapshot"		# settled for good
grep -q '^consumer DONE key "k1/4"' "$dir/snapshot"
grep -v -e '^consumer DONE' -e ' INTENT, ' "$dir/log" | sed 's/ position [0-9]*//' | sort > "$dir/a"
grep -v -e '^consumer DONE' -e ' INTENT, ' "$dir/snapshot" | sed 's/ position [0-9]*//' | sort > "$dir/b"
cmp "$dir/a" "$dir/b"
"$tool" ledger --json "$dir/data" | python3 -c '
import json, sys
records = [json.loads(line) for line in sys.stdin]
assert len([r for r in records if r["class"] == "flow"]) == 50
intents = [r for r in records if r.get("state") == "INTENT"]
assert len(intents) == 20 and all(r["events"] == 10 and r["more"].startswith("/logs/") for r in intents)
'
for n in 0 1; do
	printf X | dd of="$dir/checkpoint/ledger-$n" bs=1 seek=50 conv=notrunc 2> /dev/null
done
"$tool" ledger --checkpoint "$dir/checkpoint" "$dir/data" | sed 's/ position [0-9]*//' | grep -v -e '^consumer DONE' -e ' INTENT, ' | sort > "$dir/c"
cmp "$dir/a" "$dir/c"
