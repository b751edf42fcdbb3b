#!/usr/bin/env python3
"""A schema registry over a folder of <id>.avsc: registry_double.py PORT FOLDER. The newest of any subject is the highest id.

It answers as Confluent's does, below / and below /apis/ccompat/v7 (where Apicurio has that interface), and below /repo as the schema repository of
AVRO-1124 that Camus knows (a file `first` in the folder holds what is the newest one for the first who asks): /repo/<subject>/latest "id<TAB>schema", /repo/<subject>/id/<id> the schema."""
import http.server
import json
import os
import re
import sys

FOLDER = sys.argv[2]


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def plain(self, status, text):
        self.send_response(status)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def schema(self, number):
        try:
            with open(os.path.join(FOLDER, f"{number}.avsc")) as file:
                return file.read()
        except OSError:
            return None

    def do_GET(self):
        ids = sorted(int(name[:-5]) for name in os.listdir(FOLDER) if name.endswith(".avsc"))
        path = self.path.removeprefix("/apis/ccompat/v7")
        repo = re.fullmatch(r"/repo/[\w.-]+/(?:id/(\d+)|latest)", path)
        if repo:
            number = repo.group(1) or ids[-1]
            first = os.path.join(FOLDER, "first")
            if not repo.group(1) and os.path.exists(first):
                with open(first) as file:
                    number = file.read().strip()
                os.unlink(first)
            if self.schema(number) is None:
                return self.plain(404, "not found")
            return self.plain(200, self.schema(number) if repo.group(1) else f"{number}\t{self.schema(number)}")
        match = re.fullmatch(r"/schemas/ids/(\d+)", path)
        if match and self.schema(match.group(1)):
            self.answer(200, {"schema": self.schema(match.group(1))})
        elif re.fullmatch(r"/subjects/clicks-value/versions/latest", path):
            self.answer(200, {"subject": "clicks-value", "version": len(ids), "id": ids[-1], "schema": self.schema(ids[-1])})
        elif re.fullmatch(r"/subjects/Click-value/versions/latest", path):	# as old producers name it: by the record
            self.answer(200, {"subject": "Click-value", "version": len(ids), "id": ids[-1], "schema": self.schema(ids[-1])})
        elif path == "/subjects":
            self.answer(200, ["clicks-value"])
        else:
            self.answer(404, {"error_code": 40403, "message": "not found"})


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
