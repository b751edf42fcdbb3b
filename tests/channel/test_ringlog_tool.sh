#!/bin/sh
# penstock-ringlog over a log that several threads wrote: info, dump and verify agree; one changed byte is found.
# usage: test_ringlog_tool.sh RUN_CHANNEL PENSTOCK_RINGLOG
set -eu
run=$1 tool=$2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"$run" uring 600000 2 0 "$dir"		# three segments: the helper and the writer both make some
"$tool" verify "$dir/data" > "$dir/verify"
grep -q 'events          600000' "$dir/verify"
grep -q 'damaged         0' "$dir/verify"
"$tool" verify --progress "$dir/data" 2>&1 | grep -q "verify: 100%, .* done"
"$tool" info --json "$dir/data" | grep -q '"events":600000,"first_number":0,"end_number":600000'
[ "$("$tool" dump "$dir/data" | wc -l)" = 600000 ]
"$tool" dump --json "$dir/data" | head -n 1 | grep -q '^{"number":0,"headers":{"timestamp":"1790000000000","host":"web-1"},"body":"'
printf X | dd of="$dir/data/segment-0000000000000000" bs=1 seek=5000 conv=notrunc 2> /dev/null
status=0
"$tool" verify "$dir/data" > "$dir/verify" 2> "$dir/damage" || status=$?
[ "$status" = 1 ]
grep -q 'checksum is wrong' "$dir/damage"
status=0
"$tool" verify --json "$dir/data" > "$dir/verify" 2> /dev/null || status=$?
[ "$status" = 1 ]
python3 - "$dir/verify" <<'EOF'
import json, sys
found = json.load(open(sys.argv[1]))
first = found["stretches"][0]
assert found["damaged"] == len(found["stretches"]) and first["position"] == 0 and first["end"] > 4096 and first["what"] == "checksum is wrong", found
assert found["damaged_bytes"] == sum(one["end"] - one["position"] for one in found["stretches"])
EOF
status=0
"$tool" salvage --json --to "$dir/saved" "$dir/data" > "$dir/salvage" 2> /dev/null || status=$?
[ "$status" = 1 ]
python3 -c 'import json, sys; saved = json.load(open(sys.argv[1])); assert 0 < saved["events"] < 600000 == saved["end_number"], saved' "$dir/salvage"
"$tool" info --json "$dir/saved/data" | python3 -c 'import json, sys; assert json.load(sys.stdin)["stretches"] == []'
status=0
"$tool" info "$dir/nowhere" 2> /dev/null || status=$?
[ "$status" = 1 ]
