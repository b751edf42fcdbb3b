#!/usr/bin/env python3
"""Flume's options of the file channel, each with Flume's meaning or a stated difference, over real files.
usage: test_file_options.py FILE_CHANNEL"""
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import unittest

CHANNEL = sys.argv[1]


def checkpoint(path):
    """Of a checkpoint file: (serial, clean, durable end); None when there is none."""
    try:
        with open(path, "rb") as file:
            data = file.read(4096)
    except FileNotFoundError:
        return None
    if data[:4] != b"PSRC":
        return None
    return struct.unpack_from("<Q", data, 24)[0], struct.unpack_from("<I", data, 36)[0], struct.unpack_from("<Q", data, 3264)[0]


class Case(unittest.TestCase):
    def setUp(self):
        where = tempfile.TemporaryDirectory()
        self.addCleanup(where.cleanup)
        self.top = where.name
        self.base = {"dataDirs": self.top + "/d", "checkpointDir": self.top + "/c", "minimumRequiredSpace": "1", "penstock.segmentSize": "2m"}

    def options(self, **more):
        all_of_them = {**self.base, **{k.replace("__", ".").replace("_", "-"): str(v) for k, v in more.items()}}
        return [f"{k}={v}" for k, v in all_of_them.items() if v != "None"]

    def run_it(self, *args, env=None):
        done = subprocess.run([CHANNEL, *args], capture_output=True, text=True, timeout=120, env=env)
        return done.returncode, done.stdout, done.stderr

    def put(self, count, first=0, status=0, **more):
        code, out, err = self.run_it("put", str(count), f"first={first}", *self.options(**more))
        self.assertEqual(code, status, err)
        return int(out)

    def drain(self, *count, **more):
        code, out, err = self.run_it("drain", *count, *self.options(**more))
        self.assertEqual(code, 0, err)
        return [int(line.split()[1]) for line in out.splitlines()]

    def refused(self, text, **more):
        code, out, err = self.run_it("put", "1", *self.options(**more))
        self.assertEqual(code, 1, out)
        self.assertIn(text, err)

    def hold(self, *count, **more):
        process = subprocess.Popen([CHANNEL, "hold", *count, *self.options(**more)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(lambda: (process.kill(), process.wait(), process.stdin.close(), process.stdout.close()))
        while process.stdout.readline().strip() != "open":
            self.assertIsNone(process.poll())
        return process

    def test_default_directories(self):
        environment = {**os.environ, "HOME": self.top}
        code, _, err = self.run_it("put", "3", "minimumRequiredSpace=1", "penstock.segmentSize=2m", env=environment)
        self.assertEqual(code, 0, err)
        self.assertTrue(os.path.exists(self.top + "/.flume/file-channel/data/ringlog.meta"))
        self.assertTrue(os.path.exists(self.top + "/.flume/file-channel/checkpoint/checkpoint-0"))

    def test_capacity(self):
        taken = self.put(1500, capacity=1000, transactionCapacity=100, status=3)
        self.assertEqual(taken, 1000)
        self.assertEqual(self.put(10, first=1000, capacity=1000, transactionCapacity=100, status=3), 0)
        self.assertEqual(self.drain("400", capacity=1000, transactionCapacity=100), list(range(400)))
        self.assertEqual(self.put(500, first=1000, capacity=1000, transactionCapacity=100, status=3), 400)
        # Another capacity is no reason to refuse the log (Flume throws its checkpoint away or refuses).
        self.assertEqual(self.put(1, first=1400, capacity=500, transactionCapacity=100, status=3), 0)
        self.assertEqual(self.drain(capacity=50000), list(range(400, 1400)))

    def test_transaction_capacity(self):
        self.refused("c1.transactionCapacity = 200: is more than capacity = 100", capacity=100, transactionCapacity=200)
        self.refused("transactionCapacity = 10000: is more than capacity = 7", capacity=7)

    def test_checkpoint_interval(self):
        def seen(looks, interval, wanted):
            """Was there a checkpoint behind the 100 events, and how long did it all take?"""
            begin = time.monotonic()
            process = self.hold("100", checkpointInterval=interval)
            for _ in range(looks):
                found = any(c and c[2] > 0 for c in (checkpoint(f"{self.top}/c/checkpoint-{i}") for i in (0, 1)))
                if found and wanted:
                    break
                time.sleep(0.02)
            took = time.monotonic() - begin
            process.kill()
            process.wait()
            self.assertEqual(self.drain(), list(range(100)))
            shutil.rmtree(self.top + "/d")
            shutil.rmtree(self.top + "/c")
            return found, took

        self.assertTrue(seen(5000, 50, True)[0])
        for _ in range(20):			# a log that lies still for two seconds gets one whatever the interval: then nothing was learnt
            found, took = seen(10, 3600000, False)
            if not found or took < 1:
                break
        self.assertFalse(found, took)

    def test_checkpoint_on_close(self):
        for on_close in ("true", "false"):
            self.put(50, checkpointOnClose=on_close, checkpointInterval=3600000)
            clean = [c[1] for c in (checkpoint(f"{self.top}/c/checkpoint-{i}") for i in (0, 1)) if c]
            self.assertEqual(1 in clean, on_close == "true")
            self.assertEqual(self.drain(), list(range(50)))
            shutil.rmtree(self.top + "/d")
            shutil.rmtree(self.top + "/c")

    def test_dual_checkpoints(self):
        self.refused("useDualCheckpoints = true: needs backupCheckpointDir", useDualCheckpoints="true")
        self.refused("must differ from checkpointDir", useDualCheckpoints="true", backupCheckpointDir=self.top + "/c")
        more = {"useDualCheckpoints": "true", "backupCheckpointDir": self.top + "/b"}
        self.put(100, **more)
        self.assertEqual(self.drain("40", **more), list(range(40)))
        shutil.rmtree(self.top + "/c")			# its disk died: the copy knows what was settled
        self.assertEqual(self.drain("10", **more), list(range(40, 50)))
        for name in os.listdir(self.top + "/c"):		# damaged instead of gone
            if name.startswith("checkpoint-"):
                with open(f"{self.top}/c/{name}", "r+b") as file:
                    file.seek(50)
                    file.write(b"damaged")
        self.assertEqual(self.drain(**more), list(range(50, 100)))
        shutil.rmtree(self.top + "/c")
        shutil.rmtree(self.top + "/b")			# both: everything that is still there comes again, nothing is missing
        self.put(5, first=100, **more)
        again = self.drain(**more)
        self.assertEqual(again, list(range(again[0], 105)))

    def test_data_dirs(self):
        dirs = [f"{self.top}/disk{i}/d" for i in range(3)]
        joined = " , ".join(dirs)
        count = 10000
        self.put(count, dataDirs=joined, size=1000)
        for where in dirs:
            self.assertTrue([n for n in os.listdir(where) if n.startswith("segment-0")])
        self.refused("was made with 3 data directories, not 2", dataDirs=",".join(dirs[:2]))
        self.refused("in another order than before", dataDirs=",".join([dirs[1], dirs[0], dirs[2]]))
        for lost in (0, 1):				# a disk that is not mounted must not become an empty log
            os.rename(dirs[lost], dirs[lost] + ".away")
            self.refused("is the disk of that directory mounted?", dataDirs=joined)
            self.assertFalse(os.path.exists(dirs[lost] + "/ringlog.meta"))
            shutil.rmtree(dirs[lost])
            os.rename(dirs[lost] + ".away", dirs[lost])
        self.refused("stands twice: name each directory once", dataDirs=f"{self.top}/x,{self.top}/x")
        self.assertEqual(self.drain(dataDirs=joined), list(range(count)))

    def test_a_crash_while_the_log_was_made(self):
        dirs = f"{self.top}/a,{self.top}/b"
        self.put(1, dataDirs=dirs)
        for name in os.listdir(self.top + "/a"):		# as if it had died behind the first meta file
            if name.startswith("segment"):
                os.unlink(f"{self.top}/a/{name}")
        shutil.rmtree(self.top + "/b")
        shutil.rmtree(self.top + "/c")
        self.put(2, dataDirs=dirs)
        self.assertEqual(self.drain(dataDirs=dirs), [0, 1])

    def test_max_file_size(self):
        self.base.pop("penstock.segmentSize")
        self.put(10000, maxFileSize=3000000, size=1000)
        sizes = [os.path.getsize(f"{self.top}/d/{n}") for n in os.listdir(self.top + "/d") if n.startswith("segment")]
        self.assertGreater(len(sizes), 2)
        self.assertLessEqual(max(sizes), 3000000)
        self.refused("maxFileSize", maxFileSize=1623195648)		# Flume's limit
        self.assertEqual(len(self.drain(maxFileSize=10000000)), 10000)	# an old log keeps its size

    def test_minimum_required_space(self):
        self.put(100)
        huge = 1 << 60
        self.assertEqual(self.put(10, first=100, minimumRequiredSpace=huge, status=3), 0)
        self.assertEqual(self.drain("50", minimumRequiredSpace=huge), list(range(50)))	# Flume could not even drain
        self.assertEqual(self.put(10, first=100), 10)
        self.assertEqual(self.drain(), list(range(50, 110)))

    def test_lock(self):
        process = self.hold()
        self.assertTrue(os.path.exists(self.top + "/d/in_use.lock"))
        self.refused(f"{self.top}/c: is locked by another channel or process")
        self.refused(f"{self.top}/d: is locked by another channel or process", checkpointDir=self.top + "/c2")
        done = subprocess.run([sys.executable, "-c", "import fcntl, sys\nfcntl.lockf(open(sys.argv[1], 'r+'), fcntl.LOCK_EX | fcntl.LOCK_NB)",
                               self.top + "/d/in_use.lock"], capture_output=True)		# Java's kind of lock: a Flume stays out, too
        self.assertNotEqual(done.returncode, 0)
        process.stdin.close()
        process.wait(100)
        self.put(1)

    def test_a_queue_of_flume(self):
        os.mkdir(self.top + "/d")
        for name in ("log-1", "log-1.meta", "in_use.lock"):
            with open(f"{self.top}/d/{name}", "wb"):
                pass
        self.refused("holds a queue of Flume's file channel; take it over: penstock-ringlog import")

    def test_sync_interval(self):
        self.assertEqual(self.put(1000, fsyncPerTransaction="false", fsyncInterval=1), 1000)
        self.assertEqual(self.drain(), list(range(1000)))
        self.refused("fsyncInterval", fsyncPerTransaction="false", fsyncInterval=0)

    def test_without_meaning(self):
        code, _, err = self.run_it("put", "1", *self.options(keep_alive=3, compressBackupCheckpoint="true"), "use-log-replay-v1=true",
                                   "use-fast-replay=true")
        self.assertEqual(code, 0, err)


unittest.main(argv=sys.argv[:1])
