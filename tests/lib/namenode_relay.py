#!/usr/bin/env python3
"""A relay in front of a real NameNode's HTTP port, with faults on order.

usage: namenode_relay.py HOST:PORT     prints its own port and serves until its standard input ends

GET /relay?op=RENAME&kind=KIND[&count=1][&ms=0]   the next `count` calls of the op ("*": of any)
  lost    reach the NameNode, the answer does not come back
  late    the caller's connection is closed, the NameNode gets the call `ms` later
  mute    reach the NameNode, nothing is answered for `ms`
  hold    nothing is answered for `ms`, and nothing reaches the NameNode
GET /relay                the number of calls that met a fault, then what each was for (destination, else path), a line each
GET /relay?op=none        no faults any more
GET /relay?op=token       the delegation token of the last call that had one
GET /relay?op=done        how many late calls the NameNode has got
"""
import http.client
import os
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

lock = threading.Lock()
faults, hits, tokens, executed = [], [], [""], []
target = sys.argv[1]


def ask(method, url, login=None):
    connection = http.client.HTTPConnection(target, timeout=60)
    try:
        connection.request(method, url, headers={"Authorization": login} if login else {})
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type") or "application/json", answer.read(), answer.getheader("WWW-Authenticate")
    finally:
        connection.close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, kind, body, login=None):
        self.send_response(status)
        if login:
            self.send_header("WWW-Authenticate", login)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def control(self, query):
        with lock:
            if query.get("op") == "none":
                faults.clear()
            elif query.get("op") == "done":
                self.answer(200, "text/plain", str(len(executed)).encode())
                return
            elif query.get("op") == "token":
                self.answer(200, "text/plain", tokens[-1].encode())
                return
            elif query:
                faults.append([query["op"], query["kind"], int(query.get("count", 1)), int(query.get("ms", 0)) / 1000])
            text = f"{len(hits)}\n" + "".join(hit + "\n" for hit in hits)
        self.answer(200, "text/plain", text.encode())

    def handle_one(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        if url.path == "/relay":
            self.control(query)
            return
        kind, seconds = "", 0
        with lock:
            if query.get("delegation"):
                tokens[:] = [query["delegation"]]
            for fault in faults:
                if fault[2] and fault[0] in ("*", query.get("op")):
                    fault[2] -= 1
                    kind, seconds = fault[1], fault[3]
                    hits.append(query.get("destination") or url.path.removeprefix("/webhdfs/v1"))
                    break
        if kind == "late":
            self.close_connection = True
            self.connection.shutdown(2)
            time.sleep(seconds)
            ask(self.command, self.path)
            executed.append(self.path)
        elif kind == "hold":
            time.sleep(seconds)
            self.close_connection = True
        elif kind in ("lost", "mute"):
            ask(self.command, self.path)
            time.sleep(seconds)
            self.close_connection = True
        else:
            try:
                answer = ask(self.command, self.path, self.headers.get("Authorization"))
            except OSError:
                self.close_connection = True
                return
            self.answer(*answer)

    do_GET = do_PUT = do_POST = do_DELETE = handle_one


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
print(server.server_address[1], flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
os._exit(0)
