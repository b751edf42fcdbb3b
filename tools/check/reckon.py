#!/usr/bin/env python3
"""Adds up meson's test logs and the source checks for ./check. Silent about what passed; the last line is the reckoning."""
import argparse
import json
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE_CHECKS = ("includes.py", "forbidden.py", "style.py", "selftest.py")
PASSED = ("OK", "EXPECTEDFAIL")
TAIL_LINES = 40
SAID_LINES = 10
FAILURE = re.compile(r"\s*(FAILED|ERROR|not ok|Traceback|\w*Error\b)")


def skip_reason(entry):
    """The first line of the test's output that says why."""
    lines = (entry.get("stdout", "") + "\n" + entry.get("stderr", "")).splitlines()
    for line in lines:
        if "skip" in line.lower():
            return line.strip()
    return lines[-1].strip() if lines and lines[-1].strip() else "no reason given"


def tail(text):
    """The end of it; before that what a long test's parts said of their failures earlier: they may stand far above."""
    lines = text.rstrip().splitlines()
    said = [line for line in lines[:-TAIL_LINES] if FAILURE.match(line)][:SAID_LINES]
    return "\n".join("    " + line for line in said + (["..."] if said else []) + lines[-TAIL_LINES:])


def add_log(label, path, total):
    try:
        with open(path, encoding="utf-8", errors="replace") as log:
            entries = [json.loads(line) for line in log if line.strip()]
    except OSError as error:
        total["failed"] += 1
        print(f"FAILED {label}: no test log ({error})")
        return
    if not entries:
        total["failed"] += 1
        print(f"FAILED {label}: no test ran")
    for entry in entries:
        name = f"{label}: {entry['name']}"
        if entry["result"] in PASSED:
            total["passed"] += 1
        elif entry["result"] == "SKIP":
            total["skipped"] += 1
            print(f"SKIPPED {name}: {skip_reason(entry)}")
        else:
            total["failed"] += 1
            print(f"FAILED {name}: {entry['result']}")
            print(tail(entry.get("stdout", "") + "\n" + entry.get("stderr", "")))


def add_source_checks(total):
    for script in SOURCE_CHECKS:
        path = os.path.join(HERE, script)
        if not os.path.exists(path):
            continue
        run = subprocess.run([sys.executable, path], capture_output=True, text=True, check=False)
        if run.returncode == 0:
            total["passed"] += 1
        else:
            total["failed"] += 1
            print(f"FAILED tools/check/{script}")
            print(tail(run.stdout + run.stderr))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--broken", type=int, default=0, help="builds that failed")
    parser.add_argument("--require-all", action="store_true", help="a skip is a failure")
    parser.add_argument("logs", nargs="*", help="LABEL=testlog.json")
    args = parser.parse_args()
    total = {"passed": 0, "failed": args.broken, "skipped": 0}
    for item in args.logs:
        label, path = item.split("=", 1)
        add_log(label, path, total)
    add_source_checks(total)
    print("{passed} passed, {failed} failed, {skipped} skipped".format(**total))
    return 1 if total["failed"] or (args.require_all and total["skipped"]) else 0


if __name__ == "__main__":
    sys.exit(main())
