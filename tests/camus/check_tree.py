#!/usr/bin/env python3
"""Judges a tree that penstock-camus wrote, with none of its code: check_tree.py TREE EXPECTED

EXPECTED has one line a record: topic, folder (topic/hourly/...), payload, separated by tabs. Each record has to stand in its folder exactly once."""
import collections
import os
import re
import sys

NAME = re.compile(r"^(.+)\.(-?\d+)\.(\d+)\.(\d+)\.(\d+)\.(-?\d+)$")


def main():
    tree, expected = sys.argv[1], sys.argv[2]
    want = collections.Counter()
    with open(expected) as lines:
        for line in lines:
            folder, payload = line.rstrip("\n").split("\t")
            want[folder, payload] += 1
    got = collections.Counter()
    troubles = []
    for path, folders, files in os.walk(tree):
        if path == tree and "_penstock" in folders:
            folders.remove("_penstock")
        for name in files:
            folder = os.path.relpath(path, tree)
            match = NAME.match(name)
            if not match:
                troubles.append(f"{folder}/{name}: not a name of Camus")
                continue
            with open(os.path.join(path, name)) as lines:
                payloads = lines.read().split("\n")
            if payloads.pop() != "":
                troubles.append(f"{folder}/{name}: the last line is cut")
            if len(payloads) != int(match.group(4)):
                troubles.append(f"{folder}/{name}: {len(payloads)} records")
            for payload in payloads:
                got[folder, payload] += 1
    for key in want - got:
        troubles.append(f"lost: {key}")
    for key in got - want:
        troubles.append(f"too often or not ours: {key}")
    for trouble in troubles[:10]:
        print(trouble, file=sys.stderr)
    print(f"{sum(want.values())} records wanted, {sum(got.values())} there, {len(troubles)} troubles")
    return 1 if troubles else 0


if __name__ == "__main__":
    sys.exit(main())
