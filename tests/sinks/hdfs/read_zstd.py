#!/usr/bin/env python3
"""read_zstd.py FILE: an Avro file or a SequenceFile with zstd, read without Hadoop (which needs its native library for zstd): each event's body, or each
Text value, on a line. Frames are decoded by the zstd program, all of a kind in one call."""
import struct
import subprocess
import sys


class Bytes:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        assert self.at + n <= len(self.data), "cut short"
        self.at += n
        return self.data[self.at - n:self.at]

    def more(self):
        return self.at < len(self.data)

    def zigzag(self):
        n = shift = 0
        while True:
            byte = self.take(1)[0]
            n |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return n >> 1 ^ -(n & 1)

    def vint(self):
        """Hadoop's."""
        first = struct.unpack("b", self.take(1))[0]
        if first >= -112:
            return first
        negative = first < -120
        n = int.from_bytes(self.take((-119 if negative else -111) - first - 1), "big")
        return ~n if negative else n

    def text(self):
        return self.take(self.vint())

    def i32(self):
        return struct.unpack(">i", self.take(4))[0]


def decoded(frames):
    return Bytes(subprocess.run(["zstd", "-q", "-d", "-c"], input=b"".join(frames), stdout=subprocess.PIPE, check=True).stdout)


def avro(file):
    meta = {}
    while count := file.zigzag():
        assert count > 0
        for _ in range(count):
            key = file.take(file.zigzag())
            meta[key] = file.take(file.zigzag())
    assert meta[b"avro.codec"] == b"zstandard", meta
    sync, frames, events = file.take(16), [], 0
    while file.more():
        events += file.zigzag()
        frames.append(file.take(file.zigzag()))
        assert file.take(16) == sync
    out = decoded(frames)
    for _ in range(events):
        headers = {}
        while count := out.zigzag():
            for _ in range(count):
                name = out.take(out.zigzag())
                headers[name] = out.take(out.zigzag())
        assert headers == {b"timestamp": b"1065910455003", b"h": b"v"}, headers
        yield out.take(out.zigzag())
    assert not out.more()


def sequence(file):
    assert file.take(1) == b"\6" and file.text() == b"org.apache.hadoop.io.LongWritable" and file.text() == b"org.apache.hadoop.io.Text"
    compressed, blocks = file.take(2)
    assert compressed == 1 and file.text() == b"org.apache.hadoop.io.compress.ZStandardCodec" and file.i32() == 0
    sync, records, frames = file.take(16), 0, ([], [], [], [])
    while file.more():
        length = file.i32()
        if length == -1:
            assert file.take(16) == sync
            if not blocks:
                continue
            records += file.vint()
            for kind in range(4):
                frames[kind].append(file.take(file.vint()))
            continue
        key = file.i32()
        assert key == 8 and struct.unpack(">q", file.take(8))[0] == 1065910455003
        frames[3].append(file.take(length - key))
        records += 1
    if blocks:
        keys, lengths = decoded(frames[1]), decoded(frames[2])
        assert keys.data == struct.pack(">q", 1065910455003) * records
    values = decoded(frames[3])
    for _ in range(records):
        from_ = values.at
        text = values.text()
        assert not blocks or lengths.vint() == values.at - from_
        yield text
    assert not values.more()


data = Bytes(open(sys.argv[1], "rb").read())
magic = data.take(3)
for line in avro(data) if magic == b"Obj" and data.take(1) == b"\1" else sequence(data):
    sys.stdout.buffer.write(line + b"\n")
