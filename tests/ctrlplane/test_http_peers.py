#!/usr/bin/env python3
"""test_http_peers.py PENSTOCK: the same malformed and mutated requests to penstock, nginx, haproxy and apache2. penstock never accepts what two of the
others refuse as malformed; what all the others take, penstock takes too unless it is ambiguous (listed below). Seeded; prints what differs."""
import concurrent.futures
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from agent import PATIENCE_S, free_port, wait_for

CACHE = os.environ.get("PENSTOCK_CACHE", os.path.expanduser("~/.cache/penstock"))
LIB = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib", "unpacked.sh")
SEED = int(os.environ.get("SEED", "20261121"))
MUTANTS = 400


def skip(why):
    print(f"SKIP: {why}")
    sys.exit(77)


def unpacked(name, program, *packages):
    done = subprocess.run(["bash", "-c", f'. "{LIB}"; unpacked "$@" && echo "$PROGRAM_PATH"', "x", name, program, *packages], capture_output=True, text=True)
    if done.returncode:
        skip(f"{name} could not be fetched (see {CACHE}/{name}/fetch.log)")
    return done.stdout.strip()


class Upstream(threading.Thread):
    """What the three proxies talk to: takes a well-formed request whole, answers 200."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self.listener.getsockname()[1]

    def run(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    @staticmethod
    def serve(connection):
        with connection:
            connection.settimeout(5)
            data = b""
            try:
                while b"\r\n\r\n" not in data:
                    more = connection.recv(65536)
                    if not more:
                        return
                    data += more
                head, body = data.split(b"\r\n\r\n", 1)
                length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
                chunked = re.search(rb"(?i)\r\ntransfer-encoding:[^\r]*chunked", head)
                while (length and len(body) < int(length[1])) or (chunked and not body.endswith(b"0\r\n\r\n")):
                    more = connection.recv(65536)
                    if not more:
                        return
                    body += more
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            except OSError:
                pass


def write(path, text):
    with open(path, "w") as f:
        f.write(text)
    return path


def modules(root, *names):
    lines = []
    for name in names:
        path = os.path.join(root, f"usr/lib/apache2/modules/mod_{name}.so")
        if os.path.exists(path):
            lines.append(f"LoadModule {name}_module {path}")
    return "\n".join(lines)


def servers(directory, upstream, penstock):
    """name -> (port, command)"""
    ports = {name: free_port() for name in ("nginx", "haproxy", "apache2", "penstock")}
    nginx = unpacked("nginx", "usr/sbin/nginx", "nginx")
    haproxy = unpacked("haproxy", "usr/sbin/haproxy", "haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1", "libpcre2-8-0")
    apache = unpacked("apache2", "usr/sbin/apache2", "apache2-bin", "libapr1", "libaprutil1", "liblua5.3-0", "libnghttp2-14")
    temp = "\n".join(f"{kind}_temp_path {directory};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    write(f"{directory}/nginx.conf", f"""
daemon off; master_process off; pid {directory}/nginx.pid; error_log {directory}/nginx.log;
events {{ }}
http {{ access_log off; {temp} server {{ listen 127.0.0.1:{ports['nginx']};
location / {{ proxy_http_version 1.1; proxy_ignore_client_abort on; proxy_pass http://127.0.0.1:{upstream}; }} }} }}""")
    write(f"{directory}/haproxy.cfg", f"""
defaults
 mode http
 timeout client 5s
 timeout connect 5s
 timeout server 5s
frontend f
 bind 127.0.0.1:{ports['haproxy']}
 default_backend b
backend b
 server s 127.0.0.1:{upstream}
""")
    write(f"{directory}/apache.conf", f"""
ServerRoot {directory}
ServerName localhost
PidFile {directory}/apache.pid
ErrorLog {directory}/apache.log
Listen 127.0.0.1:{ports['apache2']}
{modules(os.path.join(CACHE, 'apache2'), 'mpm_event', 'authz_core', 'proxy', 'proxy_http')}
ProxyPass / http://127.0.0.1:{upstream}/
""")
    write(f"{directory}/a.properties", f"""
a1.sources = r1
a1.channels = c1
a1.sinks = k1
a1.sources.r1.type = http
a1.sources.r1.bind = 127.0.0.1
a1.sources.r1.port = {ports['penstock']}
a1.sources.r1.handler = org.apache.flume.source.http.BLOBHandler
a1.sources.r1.channels = c1
a1.channels.c1.type = memory
a1.channels.c1.capacity = 100000
a1.sinks.k1.type = null
a1.sinks.k1.channel = c1
""")
    commands = {
        "nginx": [nginx, "-p", directory, "-c", f"{directory}/nginx.conf"],
        "haproxy": [haproxy, "-db", "-f", f"{directory}/haproxy.cfg"],
        "apache2": [apache, "-X", "-f", f"{directory}/apache.conf"],
        "penstock": [penstock, "agent", "-n", "a1", "-f", f"{directory}/a.properties", f"-Dpenstock.control.socket={directory}/a1.sock"],
    }
    return {name: (ports[name], commands[name]) for name in commands}


def ask(port, request, patience):
    """First status; 0: closed without one; -1: still waiting."""
    data = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as s:
            s.settimeout(patience)
            s.sendall(request)
            while b"\r\n" not in data:
                more = s.recv(4096)
                if not more:
                    break
                data += more
    except socket.timeout:
        return -1
    except OSError:
        pass
    status = re.match(rb"HTTP/1\.[01] (\d{3})", data)
    return int(status[1]) if status else 0


HEAD = b"POST /a HTTP/1.1\r\nHost: localhost\r\n"
GOOD = [
    HEAD + b"Content-Length: 5\r\n\r\nhello",
    HEAD + b"Content-Length: 0\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n",
    b"GET /a?b=c HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n",
    b"GET /a HTTP/1.0\r\n\r\n",
]
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
BAD = [
    HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    HEAD + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    HEAD + b"Content-Length: 5, 5\r\n\r\nhello",
    HEAD + b"Content-Length: +5\r\n\r\nhello",
    HEAD + b"Content-Length: -5\r\n\r\nhello",
    HEAD + b"Content-Length: 5 5\r\n\r\nhello",
    HEAD + b"Content-Length: 0x5\r\n\r\nhello",
    HEAD + b"Content-Length: \r\n\r\n",
    HEAD + b"Content-Length: 99999999999999999999999\r\n\r\n",
    HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    HEAD + b"Transfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello",
    HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    HEAD + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    HEAD + b"Content-Length : 5\r\n\r\nhello",
    HEAD + b" folded: 1\r\n\r\n",
    HEAD + b"A: 1\r\n two\r\n\r\n",
    HEAD + b"A\r\n\r\n",
    HEAD + b": v\r\n\r\n",
    HEAD + b"A b: v\r\n\r\n",
    HEAD + b"A\x00: v\r\n\r\n",
    HEAD + b"A: v\x00\r\n\r\n",
    HEAD + b"A: v\rw\r\n\r\n",
    HEAD + b"A: v\x01\r\n\r\n",
    b"POST /a HTTP/1.1\nHost: localhost\nContent-Length: 5\n\nhello",
    HEAD + b"Host: other\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
    b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1x\r\nHost: a\r\n\r\n",
    b"GET / HTTP/01.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.10\r\nHost: a\r\n\r\n",
    b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    b"GET / HTTP/3.0\r\nHost: a\r\n\r\n",
    b"GET / http/1.1\r\nHost: a\r\n\r\n",
    b"GET /\r\n\r\n",
    b"GET / \r\n\r\n",
    b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET a HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 50,
    CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n",
    CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n",
    CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n",
    CHUNKED + b"5 \r\nhello\r\n0\r\n\r\n",
    CHUNKED + b" 5\r\nhello\r\n0\r\n\r\n",
    CHUNKED + b"5\nhello\r\n0\r\n\r\n",
    CHUNKED + b"5\r\nhello0\r\n\r\n",
    CHUNKED + b"5\r\nhelloxx\r\n0\r\n\r\n",
    CHUNKED + b"g\r\nhello\r\n0\r\n\r\n",
    CHUNKED + b"\r\n0\r\n\r\n",
    CHUNKED + b";a\r\n0\r\n\r\n",
    CHUNKED + b"ffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    CHUNKED + b"5\r\nhello\r\n0\r\nbad trailer\r\n\r\n",
    CHUNKED + b"5\r\nhello\r\n0\r\n: x\r\n\r\n",
    CHUNKED + b"5;\x00\r\nhello\r\n0\r\n\r\n",
    HEAD + b"Expect: nothing\r\nContent-Length: 5\r\n\r\nhello",
    HEAD + b"A: " + b"x" * 100000 + b"\r\n\r\n",
    HEAD + b"A: b\r\n" * 500 + b"\r\n",
    b"GET /" + b"x" * 100000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
]


REFUSED = (0, 400, 411, 413, 414, 417, 431, 501, 505)


def mutate(rng, request):
    """One to three changes in the head and the chunk lines."""
    data = bytearray(request)
    pieces = [b"\r", b"\n", b"\r\n", b" ", b"\t", b":", b"\x00", b"\x80", b",", b";", b"0", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n"]
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(data))
        kind = rng.randrange(4)
        if kind == 0:
            data[at:at + 1] = b""
        elif kind == 1:
            data[at:at] = rng.choice(pieces)
        elif kind == 2:
            data[at] = rng.choice(rng.choice(pieces))
        else:
            data[at] ^= 1 << rng.randrange(8)
        if not data:
            data = bytearray(b"x")
    return bytes(data)


def main():
    penstock = os.path.abspath(sys.argv[1])
    directory = tempfile.mkdtemp(prefix="penstock-http-peers-")
    os.chmod(directory, 0o777)
    os.makedirs(f"{directory}/logs")
    upstream = Upstream()
    upstream.start()
    children = []
    failed = 0
    try:
        known = servers(directory, upstream.port, penstock)
        for name, (_, command) in known.items():
            log = open(f"{directory}/{name}.out", "w")
            children.append(subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True))
        for name, (port, _) in known.items():
            wait_for(lambda: ask(port, GOOD[0], PATIENCE_S) == 200, lambda: f"{name} does not answer: " + open(f"{directory}/{name}.out").read()[-2000:])
        rng = random.Random(SEED)
        cases = GOOD + BAD + [mutate(rng, rng.choice(GOOD)) for _ in range(MUTANTS)]
        with concurrent.futures.ThreadPoolExecutor(24) as pool:    # a good request is answered; another may wait for more for ever
            answers = {name: [pool.submit(ask, port, case, 0.7 if i >= len(GOOD) else PATIENCE_S) for i, case in enumerate(cases)] for name, (port, _) in known.items()}
            answers = {name: [future.result() for future in futures] for name, futures in answers.items()}
        refused = stricter = 0
        for i, case in enumerate(cases):
            ours = answers["penstock"][i]
            others = {name: answers[name][i] for name in known if name != "penstock"}
            refusals = sum(status in REFUSED for status in others.values())
            if i < len(GOOD) and (ours != 200 or refusals):
                print(f"a good request is refused: {case!r}: penstock {ours}, {others}")
                failed += 1
            if ours == 200 and refusals >= 2:       # not a server that had too much to do: alone, with time, they still do
                others = {name: ask(known[name][0], case, 20) for name in others}
                if sum(status in REFUSED for status in others.values()) < 2:
                    continue
                print(f"penstock accepts what {others} refuse: {case[:300]!r}")
                failed += 1
            refused += refusals >= 2
            stricter += ours not in (200, -1, 405, 403) and all(status == 200 for status in others.values())
        print(f"seed {SEED}: {len(cases)} requests, {refused} refused by two or more of the three, {stricter} refused by penstock alone, {failed} failed")
        if not refused > 50:
            failed += 1
    finally:
        for child in children:
            try:
                os.killpg(child.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            child.wait()
        shutil.rmtree(directory, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
