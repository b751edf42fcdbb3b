#!/usr/bin/env python3
"""Encryption at rest with Flume's options: nothing of an event stands on the disk in clear, keys are rotated with old ones readable, a missing
or wrong key is told and costs nothing, a changed byte is noticed although every CRC is right, no nonce is used twice, and the log is no
larger than a plain one.
usage: test_encryption.py FILE_CHANNEL PENSTOCK_RINGLOG"""
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

import ringlog_reader

CHANNEL, TOOL = sys.argv[1:3]
if not shutil.which("keytool"):
    print("SKIP: no keytool to make key stores with (apt-get install openjdk-17-jdk-headless)")
    sys.exit(77)


def run(*args):
    done = subprocess.run(args, capture_output=True, timeout=300)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def keytool(*args):
    subprocess.run(["keytool", *args], check=True, capture_output=True)


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.place = tempfile.TemporaryDirectory()
        cls.keys = cls.place.name
        with open(cls.keys + "/pw", "w") as file:
            file.write("  storepass1\n")
        for alias, bits in (("key-1", "128"), ("key-2", "256"), ("key-3", "192")):
            keytool("-genseckey", "-alias", alias, "-keyalg", "AES", "-keysize", bits, "-keystore", cls.keys + "/store.jceks", "-storetype",
                    "JCEKS", "-storepass", "storepass1", "-keypass", "storepass1")
        keytool("-importkeystore", "-srckeystore", cls.keys + "/store.jceks", "-srcstoretype", "JCEKS", "-destkeystore", cls.keys + "/store",
                "-deststoretype", "PKCS12", "-srcstorepass", "storepass1", "-deststorepass", "storepass1")

    @classmethod
    def tearDownClass(cls):
        cls.place.cleanup()

    def setUp(self):
        where = tempfile.TemporaryDirectory()
        self.addCleanup(where.cleanup)
        self.top = where.name
        self.plain = [f"dataDirs={self.top}/d", f"checkpointDir={self.top}/c", "minimumRequiredSpace=1", "penstock.segmentSize=4m"]

    def options(self, active, keys, store="store"):
        return self.plain + [f"encryption.activeKey={active}", "encryption.cipherProvider=AESCTRNOPADDING", "encryption.keyProvider=JCEKSFILE",
                             f"encryption.keyProvider.keyStoreFile={self.keys}/{store}",
                             f"encryption.keyProvider.keyStorePasswordFile={self.keys}/pw", f"encryption.keyProvider.keys={keys}"]

    def put(self, first, count, options):
        code, out, err = run(CHANNEL, "put", str(count), f"first={first}", *options)
        self.assertEqual((code, out), (0, f"{count}\n"), err)

    def drain(self, options, *count):
        code, out, err = run(CHANNEL, "drain", *count, *options)
        self.assertEqual(code, 0, err)
        return out.splitlines()

    def segment(self):
        return self.top + "/d/segment-0000000000000000"

    def blocks(self):
        """Headers of all blocks on the disk."""
        log = ringlog_reader.Log([self.top + "/d"])
        at, out = 0, []
        while log.read(at, 4) == b"PSRB":
            header = dict(zip(ringlog_reader.FIELDS, ringlog_reader.HEADER.unpack(log.read(at, 256))))
            out.append(header)
            at += header["bytes"]
        return out

    def test_round_trip_and_rotation(self):
        clear = {b"event ", b"web-1", b"host"}
        for _ in range(2):		# four bytes stand somewhere in one of 30,000 logs of chance bytes, but not in two in a row
            shutil.rmtree(self.top + "/d", ignore_errors=True)
            shutil.rmtree(self.top + "/c", ignore_errors=True)
            self.put(0, 3000, self.options("key-1", "key-1"))
            self.put(3000, 3000, self.options("KEY-2", "key-1 key-2"))
            self.put(6000, 10, self.options("key-3", "key-1 key-2 key-3"))
            with open(self.segment(), "rb") as file:
                data = file.read()
            clear = {text for text in clear if text in data}
            if not clear:
                break
        self.assertEqual(clear, set())
        blocks = self.blocks()
        self.assertEqual(len({b["key_id"] for b in blocks if b["events"]}), 3)
        self.assertEqual({b["cipher"] for b in blocks}, {1})
        self.assertEqual(len({(b["reserved"][:16], b["nonce"]) for b in blocks}), len(blocks))
        self.assertEqual(len({b["reserved"][:16] for b in blocks}), 3)		# a key of its own for every opening
        options = self.options("key-3", "key-1 key-2 key-3")
        self.assertEqual(self.drain(options, "100"), [f"event {n}" for n in range(100)])
        self.assertEqual(self.drain(options), [f"event {n}" for n in range(100, 6010)])

    def test_size(self):
        self.put(0, 20000, self.options("key-2", "key-2"))
        sealed = sum(b["bytes"] for b in self.blocks())
        shutil.rmtree(self.top + "/d")
        shutil.rmtree(self.top + "/c")
        self.put(0, 20000, self.plain)
        self.assertLess(sealed, 1.02 * sum(b["bytes"] for b in self.blocks()))

    def test_a_missing_key_costs_nothing(self):
        self.put(0, 100, self.options("key-1", "key-1"))
        for options in (self.plain, self.options("key-2", "key-2")):
            code, out, err = run(CHANNEL, "drain", *options)
            self.assertEqual(code, 1)
            self.assertIn("which is not among encryption.keyProvider.keys", err)
        os.remove(self.top + "/c/checkpoint-0")		# a scan from the beginning refuses, too, and cuts nothing
        os.remove(self.top + "/c/checkpoint-1")
        os.remove(self.top + "/c/checkpoint-soft")
        code, out, err = run(CHANNEL, "drain", *self.plain)
        self.assertEqual(code, 1)
        self.assertIn("which is not among encryption.keyProvider.keys", err)
        self.assertEqual(self.drain(self.options("key-2", "key-1 key-2")), [f"event {n}" for n in range(100)])

    def test_encryption_begins_and_ends(self):
        self.put(0, 50, self.plain)
        self.put(50, 50, self.options("key-2", "key-2"))
        self.assertEqual(self.drain(self.options("key-2", "key-2")), [f"event {n}" for n in range(100)])
        self.put(100, 50, self.plain)			# drained: the key is not needed any more
        self.assertEqual(self.drain(self.plain), [f"event {n}" for n in range(100, 150)])

    def test_a_forged_block(self):
        self.put(0, 100, self.options("key-1", "key-1"))
        with open(self.segment(), "r+b") as file:		# a bit of an event, with both CRCs made right again
            header = bytearray(file.read(256))
            fields = dict(zip(ringlog_reader.FIELDS, ringlog_reader.HEADER.unpack(header)))
            used = (fields["raw_bytes"] + 4 * fields["dict_count"] + fields["dict_bytes"] + 4 * fields["set_count"] + fields["set_bytes"]
                    + fields["record_bytes"])
            payload = bytearray(file.read(used))
            payload[3] ^= 1
            struct.pack_into("<I", header, 248, ringlog_reader.crc32c(payload))
            struct.pack_into("<I", header, 252, ringlog_reader.crc32c(header[:252]))
            file.seek(0)
            file.write(header + payload)
        code, out, err = run(TOOL, "dump", "--keys", self.keys + "/store", "--password", self.keys + "/pw", self.top + "/d")
        self.assertNotIn("event", out)

    def test_tools(self):
        self.put(0, 500, self.options("key-1", "key-1"))
        data = self.top + "/d"
        keys = ["--keys", self.keys + "/store", "--password", self.keys + "/pw"]
        code, out, err = run(TOOL, "verify", "--json", data)		# CRCs and the chain need no key
        self.assertEqual(code, 0, err)
        self.assertEqual(json.loads(out)["events"], 500)
        self.assertGreater(json.loads(out)["sealed_blocks"], 0)
        code, out, err = run(TOOL, "verify", "--json", *keys, data)
        self.assertEqual((code, json.loads(out)["sealed_blocks"]), (0, 0))
        code, out, err = run(TOOL, "dump", data)
        self.assertEqual((code, "not among" in err), (1, True))
        code, out, err = run(TOOL, "dump", *keys, data)
        self.assertEqual(out.splitlines()[499], "499 {host=web-1} event 499")
        new = self.top + "/new"
        code, out, err = run(TOOL, "salvage", *keys, "--to", new, data)
        self.assertEqual((code, "--active-key" in err), (1, True), err)
        shutil.rmtree(new, ignore_errors=True)
        code, out, err = run(TOOL, "salvage", *keys, "--active-key", "key-2", "--to", new, data)
        self.assertEqual(code, 0, err)
        self.plain = [f"dataDirs={new}/data", f"checkpointDir={new}/checkpoint", "minimumRequiredSpace=1", "penstock.segmentSize=4m"]
        self.assertEqual(self.drain(self.options("key-2", "key-2")), [f"event {n}" for n in range(500)])

    def refuse(self, options, text):
        code, out, err = run(CHANNEL, "put", "1", *options)
        self.assertEqual(code, 1, err)
        self.assertIn(text, err)

    def test_refusals(self):
        self.refuse(self.options("key-1", "key-1", "store.jceks"), "is a Java JCEKS key store; convert it once with: keytool -importkeystore")
        self.refuse(self.options("key-1", "key-1 key-9"), "holds no secret key key-9")
        self.refuse(self.options("key-2", "key-1"), "encryption.activeKey = key-2: is not among")
        self.refuse(self.options("key-1", "key-1", "pw"), "is no PKCS#12 key store")
        self.refuse(self.options("key-1", "key-1", "nowhere"), "nowhere: No such file")
        self.refuse(self.plain + ["encryption.activeKey=key-1"], "must be given together or not at all")
        with open(self.keys + "/wrong", "w") as file:
            file.write("another1")
        self.refuse([o.replace("/pw", "/wrong") for o in self.options("key-1", "key-1")], "does not open it")
        self.refuse([o.replace("AESCTRNOPADDING", "x.Y") for o in self.options("key-1", "key-1")], "use AESCTRNOPADDING")
        self.refuse([o.replace("JCEKSFILE", "x.Y") for o in self.options("key-1", "key-1")], "use JCEKSFILE")


unittest.main(argv=sys.argv[:1])
