#!/usr/bin/env python3
"""test_golden.py GOLDEN_RUN GOLDEN_DIR [URI CONF FETCH]: the files that a real Flume's hdfs sinks wrote (paths, names, bytes) beside ours: on this
machine, or below URI of a real HDFS (CONF: its site files), from where the command FETCH DIRECTORY brings them into a directory."""
import gzip
import json
import os
import re
import subprocess
import sys
import tempfile

run, golden = sys.argv[1:3]
uri, conf, fetch = sys.argv[3:] or (None, "/nonexistent", None)
want = json.load(open(os.path.join(golden, "hdfs-files.json")))
bad = 0


def trouble(text):
    global bad
    bad += 1
    print(text)


def tidy(path):
    """Counters are the time of the run; the machine's names are another's."""
    path = re.sub(r"(FlumeData\.)\d+", r"\1N", path)
    return re.sub(r"^o-ltz/[^/]+/", "o-ltz/HOST/", path)


def content(sink, data):
    if sink == "gzip":
        return gzip.decompress(data)
    if sink.startswith("seq"):
        # The sync marker stands behind the header: its 16 bytes are random. Flume repeats it at each flush: where those fell is its own.
        end = data.index(b"\0\0\0\0\0\0", 60) + 6
        sync = data[end:end + 16]
        return data[:end] + b"S" * 16 + data[end + 16:].replace(b"\xff\xff\xff\xff" + sync, b"")
    return data


with tempfile.TemporaryDirectory(prefix="penstock-golden-") as directory:
    subprocess.run([run, os.path.join(golden, "agent.conf"), os.path.join(golden, "hdfs-files.json"), *([uri, conf] if uri else [directory])], check=True,
                   env={**os.environ, "TZ": "UTC", "HADOOP_CONF_DIR": conf}, timeout=400)
    if fetch:
        subprocess.run([*fetch.split(), directory], check=True, timeout=400)
    ours, theirs = {}, {}
    sinks = {f["sink"] for f in want["files"]}
    for root, _, names in os.walk(directory):
        for name in names:
            path = os.path.relpath(os.path.join(root, name), directory)
            sink = path.split("/")[0][2:]
            data = content(sink, open(os.path.join(root, name), "rb").read())
            ours.setdefault(sink, []).append((tidy(path), path, data))
    for f in want["files"]:
        theirs.setdefault(f["sink"], []).append((tidy(f["path"]), f["path"], content(f["sink"], bytes.fromhex(f["bytes_hex"]))))
    for sink in sorted(sinks):
        a = [(p, d) for p, _, d in sorted(theirs[sink])]
        b = [(p, d) for p, _, d in sorted(ours.get(sink, []))]
        if a != b and not (fetch and sink == "c"):    # a path with ':', which HDFS refuses
            trouble("%s:\n  Flume %s\n  ours  %s" % (sink, a, b))
    # What the golden run does not hold, by Flume's rules.
    expect = {
        "ymdh": "o-ymdh/2003/10/11/22/FlumeData.N", "c": "o-c/c=Sat Oct 11 22", "D": "o-D/D=10/11/03/FlumeData.N",
        "tz": "o-tz/20031011-181415-0400/FlumeData.N", "prefix": "o-prefix/x/p-2003-h1.", "avro": "o-avro/x/FlumeData.N.avro",
        "all": "o-all/a=Sat,A=Saturday,b=Oct,B=October,d=11,e=11,H=22,I=10,j=284,k=22,l=10,m=10,n=10,M=14,p=PM,S=15,s=1065910455,t=1065910455003,"
               "y=03,Y=2003,z=+0000,pc=%,q=/FlumeData.N",
        "hat": "o-hat/x/FlumeData.N",
    }
    for sink, path in expect.items():
        if sink == "c":
            continue    # its path holds ':', which HDFS refuses
        if not any(p.startswith(path) for p, _, _ in ours.get(sink, [])):
            trouble("%s: %s is not among %s" % (sink, path, [p for p, _, _ in ours.get(sink, [])]))
    print(len(sinks), "of Flume's sinks compared,", sum(len(v) for v in ours.values()), "files")
sys.exit(bad != 0)
