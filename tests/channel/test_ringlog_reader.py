#!/usr/bin/env python3
"""The small reader written from the format's description and penstock-ringlog say the same of logs with records of every kind, groups of
several blocks, several directories and old laps behind the end; whole ones and damaged ones. Whatever is damaged, salvage brings out every
block that is still whole, changes nothing, and its new log verifies.
usage: test_ringlog_reader.py MAKE_LOG PENSTOCK_RINGLOG"""
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import unittest

import ringlog_reader

MAKE, TOOL = sys.argv[1:3]


def tool(*args):
    done = subprocess.run([TOOL, *args], capture_output=True, timeout=300)
    return done.returncode, done.stdout, done.stderr.decode()


def lines(output):
    return [json.loads(line) for line in output.decode().splitlines()]


def digest(dirs):
    out = hashlib.sha256()
    for where in dirs:
        for name in sorted(os.listdir(where)):
            with open(os.path.join(where, name), "rb") as file:
                out.update(name.encode() + file.read())
    return out.hexdigest()


def damaged(stderr):
    return [tuple(map(int, (w[2], w[4].rstrip(":")))) for w in (line.split() for line in stderr.splitlines()) if w[0] == "damaged:"]


class Case(unittest.TestCase):
    def make(self, dirs, segment, groups, keep):
        where = tempfile.TemporaryDirectory()
        self.addCleanup(where.cleanup)
        self.root = where.name
        made = subprocess.run([MAKE, where.name, str(dirs), str(segment), str(groups), str(keep)], check=True, capture_output=True)
        self.events = int(made.stdout)
        return [f"{where.name}/data{i}" for i in range(dirs)]

    def compare(self, dirs, status=0):
        records, damage = ringlog_reader.read_log(dirs)
        code, out, err = tool("dump", "--json", "--all", *dirs)
        self.assertEqual(code, 0, err)
        theirs = lines(out)
        self.assertEqual(len(records), len(theirs))
        for mine, other in zip(records, theirs):
            self.assertEqual(mine, other)
        self.assertEqual(damage, damaged(err))
        code, out, err = tool("verify", "--json", *dirs)
        self.assertEqual(code, status, err)
        facts = json.loads(out)
        events = [r for r in records if "number" in r]
        self.assertEqual(facts["events"], len(events))
        self.assertEqual(facts["other_records"], len(records) - len(events))
        self.assertEqual(facts["damaged"], len(damage))
        return records, damage

    def test_one_directory(self):
        dirs = self.make(1, 1 << 20, 100, 1 << 40)
        records, damage = self.compare(dirs)
        self.assertEqual([r["number"] for r in records if "number" in r], list(range(self.events)))
        self.assertEqual({r.get("record") for r in records}, {None, "fragment", "control", "state", "mark", "5", "6", "7"})
        self.assertFalse(damage)

    def test_laps_in_several_directories(self):
        for count in (2, 3):
            dirs = self.make(count, 1 << 20, 700, 2 << 20)
            records, damage = self.compare(dirs)
            numbers = [r["number"] for r in records if "number" in r]
            self.assertGreater(numbers[0], 0)
            self.assertEqual(numbers, list(range(numbers[0], self.events)))
            indices = sorted(ringlog_reader.Log(dirs).segments)
            self.assertLess(len(indices), indices[-1])		# some were used again
            self.assertFalse(damage)

    def salvage(self, dirs, records):
        """Runs salvage both ways; returns the numbers it brought out."""
        before = digest(dirs)
        code, out, err = tool("salvage", "--json", *dirs)
        self.assertIn(code, (0, 1), err)
        plain = lines(out)
        facts = json.loads(err.splitlines()[-1])
        numbers = [r["number"] for r in plain if "number" in r]
        self.assertEqual(numbers, sorted(set(numbers)))
        self.assertEqual(facts["events"], len(numbers))
        have = {json.dumps(r, sort_keys=True) for r in plain}
        for record in records:						# nothing less than a recovery finds
            if not (record.get("record") == "control" and record["kind"] == 1):
                self.assertIn(json.dumps(record, sort_keys=True), have)
        copy = tempfile.TemporaryDirectory()
        self.addCleanup(copy.cleanup)
        again, out, err = tool("salvage", "--json", "--to", copy.name, *dirs)
        self.assertEqual(again, code, err)
        self.assertEqual(json.loads(out), facts)
        new, torn = ringlog_reader.read_log([copy.name + "/data"])
        self.assertEqual([r for r in new if "number" in r], [r for r in plain if "number" in r])
        self.assertEqual(len(new), len(plain))
        self.assertFalse(torn)
        self.assertEqual(tool("verify", copy.name + "/data")[0], 0)
        self.assertEqual(digest(dirs), before)
        return code, numbers, facts

    def test_newest_groups_damaged(self):
        dirs = self.make(1, 1 << 20, 40, 1 << 40)
        whole = ringlog_reader.Log(dirs)
        whole.fences_find()
        path = [f"{dirs[0]}/{n}" for n in sorted(os.listdir(dirs[0])) if n.startswith("segment-0")]
        groups, at = [], 0
        while True:
            try:
                blocks, after, _ = whole.group(at)
            except ringlog_reader.Bad:
                break
            groups.append((at, blocks))
            at = after
        last, before = groups[-1][1], groups[-2]
        self.assertGreater(last[0].durable, before[0])
        with open(path[before[0] // (1 << 20)], "r+b") as file:	# the header of the last but one, the payload of the last
            file.seek(before[0] % (1 << 20) + 40)
            file.write(b"XXXX")
            file.seek(groups[-1][0] % (1 << 20) + 300)
            file.write(b"damaged")
        _, damage = self.compare(dirs, 1)
        self.assertEqual(damage[0][0], before[0])

    def test_salvage_of_a_whole_log(self):
        dirs = self.make(2, 1 << 20, 120, 1 << 40)
        records, _ = self.compare(dirs)
        code, numbers, facts = self.salvage(dirs, records)
        self.assertEqual(code, 0)
        self.assertEqual(numbers, list(range(self.events)))
        self.assertEqual((facts["missing"], facts["unreadable"], facts["doubtful"]), (0, 0, 0))

    def test_damage(self):
        chance = random.Random(4)
        for _ in range(3):
            dirs = self.make(2, 1 << 20, 120, 1 << 40)
            log = ringlog_reader.Log(dirs)
            spoiled = 0
            for _ in range(3):
                index = chance.choice(sorted(log.segments))
                with open(log.segments[index], "r+b") as file:
                    at = chance.randrange(1 << 20)
                    file.seek(at)
                    byte = file.read(1)[0]
                    file.seek(at)
                    file.write(bytes([byte ^ 1 << chance.randrange(8)]))
            records, damage = self.compare(dirs, 1 if ringlog_reader.read_log(dirs)[1] else 0)
            code, numbers, facts = self.salvage(dirs, records)
            if damage:
                self.assertEqual(code, 1)
                self.assertGreater(facts["unreadable"], 0)
            spoiled += len(damage)
        self.assertGreater(spoiled, 0)

    def test_salvage_without_a_meta_file_or_segment(self):
        dirs = self.make(1, 1 << 20, 120, 1 << 40)
        with open(dirs[0] + "/ringlog.meta", "r+b") as file:
            file.write(b"\0" * 100)
        code, _, err = tool("dump", *dirs)
        self.assertEqual(code, 1)
        self.assertIn("ringlog.meta: is damaged", err)
        code, numbers, facts = self.salvage(dirs, [])
        self.assertEqual(code, 0)
        self.assertEqual(numbers, list(range(self.events)))
        os.unlink(dirs[0] + "/segment-0000000000000001")
        code, numbers, facts = self.salvage(dirs, [])
        self.assertEqual(code, 1)
        self.assertEqual(facts["missing"], self.events - len(numbers))
        self.assertGreater(facts["missing"], 0)

    def test_refusals(self):
        dirs = self.make(2, 2 << 20, 5, 1 << 40)
        code, _, err = tool("dump", dirs[0])
        self.assertEqual(code, 1)
        self.assertIn("made with 2 data directories, not 1", err)
        code, _, err = tool("salvage", "--to", self.root, *dirs)
        self.assertEqual(code, 1)
        self.assertIn("is not empty", err)
        self.assertEqual(tool("dump", "--progress", *dirs)[0], 2)
        self.assertEqual(tool("nonsense", *dirs)[0], 2)
        for wrong in (("dump", "--keys", "k"), ("salvage", "--checkpoint", self.root)):
            code, _, err = tool(*wrong, *dirs)
            self.assertEqual(code, 2)
            self.assertIn("together" if "--keys" in wrong else "goes with --to", err)


unittest.main(argv=sys.argv[:1])
