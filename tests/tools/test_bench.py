#!/usr/bin/env python3
"""Rows of ./bench: medians, ratios of pairs, goals, and what stands in the table and in JSON. test_bench.py TOOLS_DIR"""
import contextlib
import io
import json
import os
import sys

sys.path.insert(0, os.path.join(sys.argv[1], "bench"))
import common  # noqa: E402

run = common.Run(False)
with contextlib.redirect_stdout(io.StringIO()):
    run.row("pairs", "events/s", [10, 30, 20], reference="peer", reference_values=[10, 10, 1], goal=(">=", 3), goal_of="ratio")
    run.row("one", "us", 121, goal=("<=", 120))
    run.row("nothing read", "bytes", [0, 0], goal=("<=", 0))
    run.row("against nothing", "events/s", [5], reference="peer", reference_values=[0], goal=(">=", 2), goal_of="ratio")
    run.missing("not there", "no such program")
pairs, one, nothing, against, missing = run.rows
assert (pairs["value"], pairs["reference_value"], pairs["ratio"]) == (20, 10, 3) and pairs["met"] is True, pairs
assert (pairs["least"], pairs["most"], pairs["rounds"]) == (10, 30, 3), pairs
assert one["met"] is False and one["ratio"] is None and one["goal"] == "value <= 120", one
assert nothing["met"] is True, nothing
assert against["ratio"] is None and against["met"] is None, against
assert missing["value"] is None and missing["note"] == "not measured: no such program", missing
for row in run.rows:
    assert {"name", "unit", "value", "reference", "reference_value", "ratio"} <= set(row), row
assert json.loads(json.dumps(run.rows)) == run.rows
table = common.markdown(run.rows).splitlines()
assert len(table) == 2 + len(run.rows) and all(line.count(" | ") == table[0].count(" | ") for line in table[2:]), table
assert "ratio >= 3: met" in table[2] and "<= 120: missed" in table[3], table
run.rows[0]["group"] = "tcp"
text = common.put_tables("a\n<!-- bench -->\nold\n<!-- /bench -->\nb\n<!-- bench tcp -->\nold\n<!-- /bench tcp -->\nc\n", run.rows, "today")
assert "old" not in text and text.index("| one ") < text.index("\nb\n") < text.index("| pairs ") < text.index("\nc\n"), text
try:
    common.put_tables("nothing\n", run.rows, "today")
    raise AssertionError("a document without a place was taken")
except common.Trouble:
    pass
print("ok")
