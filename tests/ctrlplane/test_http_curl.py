#!/usr/bin/env python3
"""test_http_curl.py PENSTOCK kernel|tap: real curl at a whole agent, on kernel sockets or on a data port (a TAP in a network namespace of the test's own).
  golden  each request that a Flume 1.11 was recorded with (tests/golden/http/http.jsonl): the same status, reason, message, Content-Type and events
  rows    what Flume's HTTP source is documented and read to do beside these: methods, handlers, limits, a full channel, compression, reuse of a connection
What differs stands in DIFFERENT with its reason, as in docs/differences.md. Exit 77 where the machine cannot do it."""
import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from agent import PATIENCE_S, free_port, wait_for

penstock, wire = sys.argv[1:3]
HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = f"{HERE}/../golden/http/http.jsonl"
DIFFERENT = {
    "blob-default-noparams": {"status": 200, "events": [{"headers": {}, "body": "data"}]},	# Flume wants a parameter without a name
    "header-value-null": {"events": None},						# the header is left out
}
TINY = "json-tiny-channel"
SMALL = "json-small-segments"


def skip(why):
    print(f"SKIP: {why}")
    sys.exit(77)


if not shutil.which("curl"):
    skip("no curl")
host = "127.0.0.1"
if wire == "tap":
    if os.geteuid() != 0 or not os.path.exists("/dev/net/tun") or ctypes.CDLL(None, use_errno=True).unshare(0x40000000):
        skip("wants root, /dev/net/tun and network namespaces")
    subprocess.run("ip link set lo up", shell=True, check=True)
    host = "192.0.2.10"
work = tempfile.mkdtemp(prefix="penstock-curl-")
BLOB, MORPHLINE = "org.apache.flume.source.http.BLOBHandler", "org.apache.flume.sink.solr.morphline.BlobHandler"
sources = {
    "json": {}, "json-text-sink": {}, TINY: {}, SMALL: {},
    "blob-mandatory": {"handler": BLOB, "handler.mandatoryParameters": "basename"}, "blob-default": {"handler": BLOB},
    "morphline": {"handler": MORPHLINE, "handler.maxBlobLength": "5"},
}
ports = {name: free_port() if wire == "kernel" else 8080 + i for i, name in enumerate(sources)}
ident = {name: f"x{i}" for i, name in enumerate(sources)}
lines = ["a1.sources = " + " ".join(ident.values()), "a1.channels = " + " ".join("c" + i for i in ident.values()),
         "a1.sinks = " + " ".join("k" + i for n, i in ident.items() if n != TINY), f"penstock.control.socket = {work}/control"]
for name, options in sources.items():
    i = ident[name]
    os.makedirs(f"{work}/{name}")
    for key, value in {"type": "http", "bind": host, "port": ports[name], "channels": f"c{i}", **options}.items():
        lines.append(f"a1.sources.{i}.{key} = {value}")
    lines += [f"a1.channels.c{i}.type = memory", f"a1.channels.c{i}.capacity = {1 if name == TINY else 10000}",
              f"a1.channels.c{i}.transactionCapacity = {1 if name == TINY else 100}"]
    if name == SMALL:	# segments of 2 MiB
        lines[-3:] = [f"a1.channels.c{i}.{o}" for o in ("type = file", f"checkpointDir = {work}/checkpoint", f"dataDirs = {work}/data", "maxFileSize = 1")]
    if name == TINY:
        lines.append(f"a1.channels.c{i}.keep-alive = 1")
    else:
        lines += [f"a1.sinks.k{i}.{o}" for o in ("type = file_roll", f"sink.directory = {work}/{name}", "sink.rollInterval = 0", "sink.serializer = avro_event",
                                                 "serializer = avro_event", f"channel = c{i}") if not o.startswith("serializer")]
if wire == "tap":
    lines += [f"penstock.lcores = {max(os.sched_getaffinity(0))}", "penstock.idle = sleep", "penstock.hugepages = none", "penstock.ports = p0",
              "penstock.ports.p0.device = net_tap0,iface=pcurl", "penstock.ports.p0.addresses = 192.0.2.10/24"]
with open(f"{work}/a.properties", "w") as f:
    f.write("\n".join(lines) + "\n")
wrong = []


def curl(name, method="POST", path="/", headers=(), body=b"", more=()):
    """(status, reason, headers, body) of the last answer."""
    with open(f"{work}/request", "wb") as f:
        f.write(body)
    command = ["curl", "-sS", "-m", str(PATIENCE_S), "--globoff", "--path-as-is", "-D", f"{work}/head", "-o", f"{work}/answer", *more]
    command += ["-I"] if method == "HEAD" else ["-X", method]
    if body:
        command += ["--data-binary", f"@{work}/request"]
    given = {k.lower() for k, _ in headers}
    for key, value in headers:
        command += ["-H", f"{key}: {value}"]
    if "content-type" not in given:
        command += ["-H", "Content-Type:"]
    if method == "POST" and not body:
        command += ["-H", "Content-Length: 0"]
    done = subprocess.run(command + [f"http://{host}:{ports[name]}{path}"], capture_output=True, text=True)
    if done.returncode:
        print(f"{name} {method} {path}: {done.stderr.strip()}")
        return 0, done.stderr.strip(), {}, ""
    head = open(f"{work}/head", errors="replace", newline="").read().strip().split("\r\n\r\n")[-1].split("\r\n")
    status = re.match(r"HTTP/1\.1 (\d+) ?(.*)", head[0])
    fields = {k.lower(): v.strip() for k, v in (row.split(":", 1) for row in head[1:])}
    text = open(f"{work}/answer", errors="replace").read() if os.path.exists(f"{work}/answer") else ""
    return int(status[1]), status[2], fields, text


def message(text):
    """What Jetty's page or ours says."""
    found = re.search(r"<h2>HTTP ERROR \d+ (.*?)</h2>", text, re.S) or re.search(r"<pre>\s*(.*?)</pre>", text, re.S) or re.search(r"<title>(.*?)</title>", text, re.S)
    return re.sub(r"\s+", " ", found[1]).strip() if found else ""


def check(case, what, have, want):
    if have != want:
        wrong.append(f"{case}: {what} {have!r}, Flume {want!r}")


agent = subprocess.Popen([penstock, "agent", "-n", "a1", "-f", f"{work}/a.properties"], stdout=open(f"{work}/agent.log", "w"), stderr=subprocess.STDOUT)
try:
    said = lambda: open(f"{work}/agent.log").read()[-2000:]
    wait_for(lambda: " is up: " in said() or agent.poll() is not None, said)
    assert agent.poll() is None, said()
    if wire == "tap":
        subprocess.run("sysctl -qw net.ipv6.conf.pcurl.disable_ipv6=1; ip addr add 192.0.2.1/24 dev pcurl && ip link set pcurl up", shell=True, check=True)
    expected = {name: [] for name in sources}

    # The requests that Flume was recorded with.
    cases = 0
    check("full, before", "status", curl(TINY, body=b'[{"body":"x"}]')[0], 200)
    for row in open(GOLDEN):
        c = json.loads(row)
        case, request = c["case"], c["request"]
        c |= DIFFERENT.get(case, {})
        body = bytes.fromhex(request["body_hex"]) if request.get("body_hex") else (request.get("body") or "").encode()
        status, reason, fields, text = curl(c["source"], request["method"], request["path"], list(request["headers"].items()), body)
        cases += 1
        check(case, "status", status, c["status"])
        if "status" not in DIFFERENT.get(case, {}):
            check(case, "reason", reason, c["reason"])
        if c["status"] == 200:
            check(case, "body", text, "")
            golden = {k.lower(): v for k, v in (c["response_headers"].items() if isinstance(c["response_headers"], dict) else c["response_headers"])}
            if case not in DIFFERENT:
                check(case, "Content-Type", (fields.get("content-type") or "").lower(), (golden.get("content-type") or "").lower())
        elif request["method"] != "HEAD":
            for sentence in ("Bad request from client. Request has invalid JSON Syntax.", "Deserializer threw unexpected exception.",
                             "Error appending event to channel. Channel might be full."):
                check(case, f"\"{sentence}\"", sentence in text, sentence in (c["response_body"] or ""))
        expected[c["source"]] += [{"headers": None}] if case == "header-value-null" else c.get("events") or []
    assert cases > 40

    # The rest of what it is known to do. (name, source, method, path, headers, body, more, status, in the message, events)
    rows = [
        ("POST", "json", "POST", "/", (), b'[{"body":"x"}]', (), 200, "", [{"headers": {}, "body": "x"}]),
        ("as curl does it", "json", "POST", "/", [("Content-Type", "application/x-www-form-urlencoded")], b'[{"body":"x"}]', (), 200, "", [{"headers": {}, "body": "x"}]),
        ("GET with a body", "json", "GET", "/", (), b'[{"body":"g"}]', (), 200, "", [{"headers": {}, "body": "g"}]),
        ("GET without", "json", "GET", "/", (), b"", (), 500, "Deserializer threw unexpected exception.", []),
        ("OPTIONS", "json", "OPTIONS", "/", (), b"", (), 403, "", []),
        ("TRACE", "json", "TRACE", "/", (), b"", (), 403, "", []),
        ("PATCH", "json", "PATCH", "/", (), b"[]", (), 405, "", []),
        ("no events", "json", "POST", "/", (), b"[]", (), 200, "", []),
        ("top-level object", "json", "POST", "/", (), b'{"body":"x"}', (), 400, "Request has invalid JSON Syntax.", []),
        ("object as body", "json", "POST", "/", (), b'[{"body":{"a":1}}]', (), 400, "Request has invalid JSON Syntax.", []),
        ("number as body", "json", "POST", "/", (), b'[{"body":1.50}]', (), 200, "", [{"headers": {}, "body": "1.50"}]),
        ("Expect", "json", "POST", "/", [("Expect", "100-continue")], b'[{"body":"e"}]', (), 200, "", [{"headers": {}, "body": "e"}]),
        ("chunks", "json", "POST", "/", [("Transfer-Encoding", "chunked")], b'[{"body":"c"}]', (), 200, "", [{"headers": {}, "body": "c"}]),
        ("HTTP/1.0", "json", "POST", "/", (), b'[{"body":"0"}]', ("--http1.0",), 200, "", [{"headers": {}, "body": "0"}]),
        ("charset in capitals", "json", "POST", "/", [("Content-Type", "application/json; charset=UTF-16BE")], b"[]", (), 500, "", []),
        ("utf-16, little endian", "json", "POST", "/", [("Content-Type", "text/plain;charset=utf-16")], '\ufeff[{"body":"\u00e4"}]'.encode("utf-16-le"), (), 200, "",
         [{"headers": {}, "body_hex": "feff00e4"}]),
        ("mimetype", "morphline", "POST", "/?a=1&a=2&b=", [("Content-Type", "text/css")], b"12345", (), 200, "",
         [{"headers": {"_attachment_mimetype": "text/css", "a": "1", "b": ""}, "body": "12345"}]),
        ("larger than a segment", SMALL, "POST", "/", (), json.dumps([{"body": "s" * 100000}] * 30).encode(), (), 413, "The events do not fit into one batch", []),
        ("after it", SMALL, "POST", "/", (), json.dumps([{"body": "s" * 100000}] * 10).encode(), (), 200, "", [{"headers": {}, "body": "s" * 100000}] * 10),
        ("cut", "morphline", "POST", "/", (), b"123456789", (), 200, "", [{"headers": {}, "body": "12345"}]),
    ]
    for case, source, method, path, headers, body, more, want, said, events in rows:
        status, reason, fields, text = curl(source, method, path, headers, body, more)
        check(case, "status", status, want)
        if said and said not in text:
            wrong.append(f"{case}: \"{said}\" is not in {text!r}")
        expected[source] += events
    # One connection for several requests, good and bad.
    urls = [f"http://{host}:{ports['json']}/"] * 3
    done = subprocess.run(["curl", "-sSv", "-w", "%{http_code} %{num_connects}\n", "-o", os.devnull, "-d", '[{"body":"k"}]', *urls], capture_output=True, text=True)
    check("reuse", "answers", [row for row in done.stdout.split("\n") if row], ["200 1", "200 0", "200 0"])
    expected["json"] += [{"headers": {}, "body": "k"}] * 3

    agent.terminate()
    assert agent.wait(PATIENCE_S) == 0
    for name in sources:
        if name == TINY:
            continue
        files = sorted(f"{work}/{name}/{n}" for n in os.listdir(f"{work}/{name}"))
        done = subprocess.run([sys.executable, f"{HERE}/../golden/filechannel/avro_lines.py", *files], capture_output=True, check=True)
        have = [json.loads(row) for row in done.stdout.splitlines()]
        check(name, "events", len(have), len(expected[name]))
        for h, w in zip(have, expected[name]):
            if w["headers"] is None:
                continue
            check(name, "headers", h["headers"], w["headers"])
            body = bytes.fromhex(w["body_hex"]) if w.get("body_hex") is not None else w["body"].encode()
            mine = h["body"].encode() if "body" in h else bytes.fromhex(h["body_hex"])
            check(name, "body", mine, body)
    print(f"{wire}: {cases} recorded requests and {len(rows) + 1} more, {len(wrong)} differences")
    assert not wrong, "\n" + "\n".join(wrong)
finally:
    if agent.poll() is None:
        agent.kill()
        agent.wait()
    shutil.rmtree(work, ignore_errors=True)
