#!/usr/bin/env python3
"""penstock-ringlog import takes out of a Flume file channel's directories exactly what the real Flume 1.11 delivered from a copy of them
(tests/golden/filechannel, made by make.sh there), in its order; into a log that a channel then drains. Broken records are reported, and
cost nothing else. With `live DIR`: the same of directories that a real Flume wrote just now.
usage: test_flume_import.py PENSTOCK_RINGLOG FILE_CHANNEL GOLDEN"""
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

TOOL, CHANNEL, GOLDEN = sys.argv[1:4]
LIVE = len(sys.argv) > 4 and sys.argv[4] == "live"


def run(*args):
    done = subprocess.run(args, capture_output=True, timeout=300)
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


class Case(unittest.TestCase):
    def setUp(self):
        where = tempfile.TemporaryDirectory()
        self.addCleanup(where.cleanup)
        self.top = where.name

    def unpack(self, case):
        subprocess.run(["tar", "xzf", f"{GOLDEN}/{case}.tar.gz", "-C", self.top], check=True)
        self.root = f"{self.top}/{case}"
        with open(f"{GOLDEN}/{case}.delivered", encoding="utf-8") as file:
            self.wanted = lines(file.read())
        return [f"{self.root}/data1", f"{self.root}/data2"]

    def same(self, got):
        self.assertEqual([{k: v for k, v in event.items() if k != "number"} for event in got], self.wanted)
        self.assertEqual([event["number"] for event in got], list(range(len(got))))

    def take_over(self, dirs, *more):
        """Both ways of import, and what a channel makes of it."""
        code, out, err = run(TOOL, "import", "--json", *more, *dirs)
        self.assertEqual(code, 0, err)
        self.same(lines(out))
        new = f"{self.top}/new{len(os.listdir(self.top))}"
        code, out, err = run(TOOL, "import", "--json", "--to", new, *more, *dirs)
        self.assertEqual(code, 0, err)
        facts = json.loads(out)
        self.assertEqual(facts["events"], len(self.wanted))
        code, out, err = run(TOOL, "dump", "--json", f"{new}/data")
        self.assertEqual(code, 0, err)
        self.same(lines(out))
        self.assertEqual(run(TOOL, "verify", f"{new}/data")[0], 0)
        code, out, err = run(CHANNEL, "drain", f"dataDirs={new}/data", f"checkpointDir={new}/checkpoint", "minimumRequiredSpace=1")
        self.assertEqual(code, 0, err)
        self.assertEqual(out.splitlines(), [event["body"] for event in self.wanted])
        return facts

    def checkpoint(self):
        return "--checkpoint", f"{self.root}/checkpoint"

    def test_live(self):
        self.root = f"{self.top}/live"
        os.mkdir(self.root)
        done = subprocess.run(["bash", f"{GOLDEN}/make.sh", "live", self.root], capture_output=True, timeout=500)
        if done.returncode == 77:
            print("SKIP: " + done.stderr.decode().strip(), file=sys.stderr)
            os._exit(77)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        with open(self.root + ".delivered", encoding="utf-8") as file:
            self.wanted = lines(file.read())
        self.assertEqual(len(self.wanted), 50)
        dirs = [f"{self.root}/data1", f"{self.root}/data2"]
        self.take_over(dirs)
        self.take_over(dirs, *self.checkpoint())

    def test_killed(self):
        dirs = self.unpack("killed")
        facts = self.take_over(dirs)
        self.assertEqual((facts["puts"], facts["takes"]), (80, 37))
        self.assertEqual(facts["takes_not_committed"], 7)
        self.assertTrue(self.take_over(dirs, *self.checkpoint())["from_checkpoint"])

    def test_takes_in_flight_at_a_checkpoint(self):
        dirs = self.unpack("inflight")
        self.assertNotEqual([event["headers"]["n"] for event in self.wanted[:7]], [str(n) for n in range(7)])
        self.wanted.sort(key=lambda event: int(event["headers"]["n"]))	# Flume gives what was in flight back in no order; we do not
        self.take_over(dirs)
        facts = self.take_over(dirs, *self.checkpoint())
        self.assertEqual((facts["from_checkpoint"], facts["takes_not_committed"]), (True, 7))

    def test_stopped(self):
        dirs = self.unpack("stopped")
        self.take_over(dirs)
        self.take_over(dirs, *self.checkpoint())

    def test_deleted_log_files(self):
        dirs = self.unpack("rolled")
        self.assertFalse(os.path.exists(dirs[0] + "/log-1"))
        self.take_over(dirs, *self.checkpoint())
        # Without the checkpoint, takes in deleted files are not known: nothing is missing, something may come twice, as in Flume.
        code, out, err = run(TOOL, "import", "--json", *dirs)
        self.assertEqual(code, 0, err)
        bodies = [event["body"] for event in lines(out)]
        self.assertEqual(bodies[-len(self.wanted):], [event["body"] for event in self.wanted])

    def test_damaged_checkpoint(self):
        dirs = self.unpack("killed")
        with open(f"{self.root}/checkpoint/checkpoint", "r+b") as file:
            file.seek(39)
            file.write(b"\1")		# was being written
        code, out, err = run(TOOL, "import", "--json", *self.checkpoint(), *dirs)
        self.assertIn("was being written", err)
        self.assertEqual(code, 0)
        self.same(lines(out))

    def test_encrypted(self):
        dirs = self.unpack("encrypted")
        code, _, err = run(TOOL, "import", *dirs)
        self.assertEqual(code, 1)
        self.assertIn("is encrypted with key key-1", err)
        code, _, err = run(TOOL, "import", "--keys", f"{self.root}/keys.jceks", "--password", f"{self.root}/store.pw", *dirs)
        self.assertEqual(code, 1)
        command = err[err.index("keytool"):err.index(" (the same")].split()
        if not shutil.which("keytool"):
            self.skipTest("no keytool")
        command += ["-srcstorepass", "storepassword", "-deststorepass", "storepassword"]
        subprocess.run(command, check=True, capture_output=True)
        keys = "--keys", f"{self.root}/keys.jceks.p12", "--password", f"{self.root}/store.pw"
        code, out, err = run(TOOL, "import", "--json", *keys, *dirs)
        self.assertEqual(code, 0, err)
        self.same(lines(out))
        new = f"{self.top}/new"
        self.assertEqual(run(TOOL, "import", "--to", new, *keys, "--active-key", "key-1", *dirs)[0], 0)
        with open(f"{new}/data/segment-0000000000000000", "rb") as file:
            self.assertNotIn(b"event 1", file.read(1 << 20))
        self.assertEqual(run(TOOL, "dump", f"{new}/data")[0], 1)
        code, out, err = run(TOOL, "dump", "--json", *keys, f"{new}/data")
        self.assertEqual(code, 0, err)
        self.same(lines(out))

    def test_made_void_and_broken_records(self):
        dirs = self.unpack("stopped")
        records = []
        for where in dirs:
            path = f"{where}/log-{dirs.index(where) + 1}"
            with open(path, "rb") as file:
                data = file.read()
            at = 0
            while data[at] == 0x7F:
                length = struct.unpack(">i", data[at + 1:at + 5])[0]
                if b"event" in data[at:at + 5 + length]:
                    records.append((path, at, length))
                at += 5 + length
        path, at, _ = records[3]
        with open(path, "r+b") as file:		# as Flume's integrity tool does it
            file.seek(at)
            file.write(b"\0")
        code, out, err = run(TOOL, "import", "--json", *dirs)
        self.assertEqual(code, 0, err)
        self.assertEqual(len(lines(out)), len(self.wanted) - 1)
        path, at, length = records[5]
        with open(path, "r+b") as file:		# a byte of a body
            file.seek(at)
            data = file.read(5 + length)
            file.seek(at + data.index(b"event"))
            file.write(b"E")
        code, out, err = run(TOOL, "import", "--json", *dirs)
        self.assertEqual(code, 1)
        self.assertIn("the checksum of the body is wrong", err)
        self.assertEqual(len(lines(out)), len(self.wanted) - 2)
        with open(path, "r+b") as file:		# no record any more: the rest of this file cannot be found
            file.seek(at + 1)
            file.write(b"\x7f\0\0\0")
        code, out, err = run(TOOL, "import", "--json", *dirs)
        self.assertEqual(code, 1)
        self.assertIn("longer than the file", err)

    def test_any_bytes(self):
        """Whatever the files hold, import ends, with one of its three answers."""
        chance = random.Random(11)
        dirs = self.unpack("inflight")
        names = [f"{where}/{name}" for where in dirs for name in sorted(os.listdir(where)) if name.startswith("log-")]
        names += [f"{self.root}/checkpoint/{name}" for name in ("checkpoint", "checkpoint.meta", "inflighttakes", "inflightputs")]
        for _ in range(60):
            path = chance.choice(names)
            with open(path, "rb") as file:
                whole = file.read()
            data = bytearray(whole)
            used = len(data.rstrip(b"\x80\0")) + 40
            for _ in range(chance.randrange(1, 6)):
                if data:
                    data[chance.randrange(min(used, len(data)))] = chance.choice([0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)])
            if chance.randrange(4) == 0:
                del data[chance.randrange(min(used, len(data)) + 1):]
            with open(path, "wb") as file:
                file.write(data)
            for more in ((), self.checkpoint()):
                code, _, err = run(TOOL, "import", *more, *dirs)
                self.assertIn(code, (0, 1), err)
                self.assertNotIn("Sanitizer", err)
            with open(path, "wb") as file:
                file.write(whole)

    def test_refusals(self):
        dirs = self.unpack("stopped")
        code, _, err = run(TOOL, "import", self.top)
        self.assertEqual((code, "holds no log-N files" in err), (1, True))
        with open(f"{dirs[0]}/log-1.meta", "r+b") as file:
            data = bytearray(file.read())
            data[data.index(0x0D) + 1] = 2		# version
            file.seek(0)
            file.write(data)
        code, _, err = run(TOOL, "import", *dirs)
        self.assertEqual((code, "version 2 of Flume's file channel" in err), (1, True), err)


names = ["Case.test_live"] if LIVE else [f"Case.{n}" for n in dir(Case) if n.startswith("test_") and n != "test_live"]
unittest.main(argv=sys.argv[:1] + names)
