#!/usr/bin/env python3
"""avro_lines.py FILE...: Flume's avro_event files (null codec) as JSON lines {"headers", "body"}, as penstock-ringlog prints them."""
import io
import json
import sys


def number(file):
    value = shift = 0
    while True:
        byte = file.read(1)[0]
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value >> 1 ^ -(value & 1)


def blob(file):
    return file.read(number(file))


def pairs(file, value):
    out = {}
    while count := number(file):
        if count < 0:
            count = -count
            number(file)
        for _ in range(count):
            key = blob(file).decode()
            out[key] = value(file)
    return out


for path in sys.argv[1:]:
    with open(path, "rb") as file:
        if file.read(4) != b"Obj\1":
            continue		# empty
        assert pairs(file, blob).get("avro.codec", b"null") == b"null"
        file.read(16)
        while True:
            try:
                events = number(file)
            except IndexError:
                break
            block = io.BytesIO(blob(file))
            file.read(16)
            for _ in range(events):
                headers = pairs(block, lambda f: blob(f).decode())
                body = blob(block)
                line = {"headers": headers}
                try:
                    line["body"] = body.decode()
                except UnicodeDecodeError:
                    line["body_hex"] = body.hex()
                print(json.dumps(line, ensure_ascii=False, sort_keys=True))
