#!/usr/bin/env python3
"""A schema registry as Confluent's answers, over a folder of <id>.avsc: registry_double.py PORT FOLDER. The newest of any subject is the highest id."""
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

    def schema(self, number):
        try:
            with open(os.path.join(FOLDER, f"{number}.avsc")) as file:
                return file.read()
        except OSError:
            return None

    def do_GET(self):
        ids = sorted(int(name[:-5]) for name in os.listdir(FOLDER) if name.endswith(".avsc"))
        match = re.fullmatch(r"/schemas/ids/(\d+)", self.path)
        if match and self.schema(match.group(1)):
            self.answer(200, {"schema": self.schema(match.group(1))})
        elif re.fullmatch(r"/subjects/clicks-value/versions/latest", self.path):
            self.answer(200, {"subject": "clicks-value", "version": len(ids), "id": ids[-1], "schema": self.schema(ids[-1])})
        elif self.path == "/subjects":
            self.answer(200, ["clicks-value"])
        else:
            self.answer(404, {"error_code": 40403, "message": "not found"})


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
