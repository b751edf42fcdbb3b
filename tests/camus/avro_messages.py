#!/usr/bin/env python3
"""Avro messages for tests, and a judge of Avro files, by Python's avro library.

    avro_messages.py make SCHEMAS ID FIRST COUNT FOLDER    Confluent's wire format, a file each
    avro_messages.py flume COUNT FOLDER                    Flume's events
    avro_messages.py json|latest COUNT FOLDER              Avro's JSON encoding: with schemaID 1 or 2 (and one record without), or behind 4 bytes
    avro_messages.py judge TREE COUNT ID|flume|now|la      numbers 0 to COUNT-1, each once, in the folder of its hour (now: of the
                                                           hour that is or just was; la: likewise, in Los Angeles)"""
import datetime
import io
import json
import os
import struct
import sys
import zoneinfo

import avro.datafile
import avro.io
import avro.schema

BEGIN = 1425600000000
FLUME = ('{"type":"record","name":"Event","fields":[{"name":"headers","type":{"type":"map","values":"string"}},'
         '{"name":"body","type":"bytes"}]}')


def millis(n):
    return BEGIN + n * 7919 % 14400 * 1000


def encode(schema, value):
    out = io.BytesIO()
    avro.io.DatumWriter(schema).write(value, avro.io.BinaryEncoder(out))
    return out.getvalue()


def put(folder, n, payload):
    with open(os.path.join(folder, f"{n:08d}"), "wb") as file:
        file.write(payload)


def make(schemas, number, first, count, folder):
    with open(os.path.join(schemas, number + ".avsc")) as file:
        schema = avro.schema.parse(file.read())
    for n in range(int(first), int(first) + int(count)):
        value = {"header": {"time": millis(n), "server": "s", "service": "web"}, "n": n}
        if "page" in schema.fields_dict:
            value["page"] = f"/{n}"
        put(folder, n, b"\0" + struct.pack(">I", int(number)) + encode(schema, value))


def json_number(count, folder):
    for n in range(int(count)):
        value = {"header": {"time": millis(n), "server": "s", "service": "web"}, "n": n, "schemaID": 1 + n % 2}
        if n % 2:
            value["page"] = f"/{n}"
        put(folder, n, json.dumps(value).encode())
    put(folder, int(count), b'{"n":1}')


def json_latest(count, folder):
    for n in range(int(count)):
        value = {"header": {"time": millis(n), "server": "s", "service": "web"}, "n": n, "page": "\u00fc"}
        put(folder, n, b"\0\0\0\2" + json.dumps(value).encode())


def flume(count, folder):
    schema = avro.schema.parse(FLUME)
    for n in range(int(count)):
        put(folder, n, encode(schema, {"headers": {"timestamp": str(millis(n)), "host": "h"}, "body": str(n).encode()}))


def judge(tree, count, kind):
    seen = {}
    for path, folders, files in os.walk(tree):
        if "_penstock" in folders:
            folders.remove("_penstock")
        for name in files:
            with avro.datafile.DataFileReader(open(os.path.join(path, name), "rb"), avro.io.DatumReader()) as reader:
                records = list(reader)
            if len(records) != int(name.split(".")[3]):
                sys.exit(f"{name}: {len(records)} records")
            for record in records:
                n = int(record["body"]) if kind == "flume" else record["n"]
                hour = datetime.datetime.fromtimestamp(millis(n) / 1000, datetime.timezone.utc).strftime("hourly/%Y/%m/%d/%H")
                hours = [hour]
                if kind in ("now", "la"):
                    zone = zoneinfo.ZoneInfo("America/Los_Angeles" if kind == "la" else "UTC")
                    now = datetime.datetime.now(zone)
                    hours = [t.strftime("hourly/%Y/%m/%d/%H") for t in (now, now - datetime.timedelta(hours=1))]
                if not path.endswith(tuple(hours)):
                    sys.exit(f"{n} in {path}")
                if n in seen:
                    sys.exit(f"{n} twice: {seen[n]} and {path}/{name}")
                seen[n] = path
    if sorted(seen) != list(range(int(count))):
        sys.exit(f"{len(seen)} of {count} records")


if __name__ == "__main__":
    {"make": make, "json": json_number, "latest": json_latest, "flume": flume, "judge": judge}[sys.argv[1]](*sys.argv[2:])
