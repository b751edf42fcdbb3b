#!/usr/bin/env python3
"""A WebHDFS of the tests' own, in memory: NameNode and DataNode at one port, with faults on order.

usage: webhdfs_double.py            prints "PORT" and serves until its standard input ends

Faults: GET /fault?op=RENAME&kind=KIND[&count=1][&ms=0][&path=PART]   the next `count` calls of the op (step 2 of CREATE and APPEND: SEND)
  standby retriable safemode quota denied lease space    answered as HDFS does, nothing is done
  lost_before    the connection is closed, nothing is done        lost_after     done, then the connection is closed
  late           the connection is closed, done `ms` later        hang           no answer for `ms`, nothing is done
                 (SEND of CREATE: the file is made `ms` later)
  slow           SEND: done, but answered `ms` later
  closing        SEND: done, to be seen, and answered `ms` later
  full           SEND: the name is made, then there is no DataNode for its block
  early          SEND: an error is answered while the body is still coming
  unsupported    as for a file with erasure coding               token          as for a token that is no longer valid
  drip           the beginning of an answer, a byte every 20 ms, for `ms`; 102s as often: interim
  raw            the answer is what the order says: status=, body=, location=; nothing is done (op DATA: step 2 of OPEN)
GET /replicas?n=1,2  what the next looks at a file's blocks find, the last one for ever. GET /asked?op=CREATE&name=umask  1: the last
call of the op had name=value (&value=) in it.
GET /count?op=RENAME  how often it was called; GET /tree  all paths with lengths; GET /in_use  how many end in .tmp; GET /reset  forgets everything;
GET /names?path=P&quota=N  P's quota of names from now on (told, not enforced).
GET /calm  only the faults.
"""
import json
import socket
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

lock = threading.RLock()
state = {}
ERRORS = {
    "standby": ("StandbyException", "Operation category WRITE is not supported in state standby"),
    "retriable": ("RetriableException", "Namenode is in startup mode"),
    "safemode": ("SafeModeException", "Cannot create file/x. Name node is in safe mode."),
    "quota": ("NSQuotaExceededException", "The NameSpace quota (directories and files) of directory /q is exceeded: quota=2 file count=6"),
    "denied": ("AccessControlException", "Permission denied: user=bob, access=WRITE"),
    "lease": ("AlreadyBeingCreatedException", "Failed to APPEND_FILE /p because this file lease is currently owned by x"),
    "space": ("IOException", "Failed to find datanode, suggest to check cluster health. excludeDatanodes=null"),
    "unsupported": ("UnsupportedOperationException", "Append to EC file without new block is not supported."),
    "token": ("InvalidToken", "token (token for bob: HDFS_DELEGATION_TOKEN owner=bob) can't be found in cache"),
    "early": ("DSQuotaExceededException", "The DiskSpace quota of /q is exceeded\n\tat org.apache.hadoop"),
}


def reset():
    state.update(nodes={"/": {"id": 16385, "dir": True, "data": b"", "time": 1, "mode": "755"}}, next=16386, faults=[], count={}, replicas=[1], asked={}, names={})


class Lost(Exception):
    pass


class Refused(Exception):
    def __init__(self, status, exception, message):
        self.status, self.exception, self.message = status, exception, message


def parent(path):
    return path.rsplit("/", 1)[0] or "/"


def make(path, data=None, mode="644"):
    if path != "/" and parent(path) not in state["nodes"]:
        make(parent(path), None, "755")
    node = {"id": state["next"], "dir": data is None, "data": bytearray(data or b""), "time": int(time.time() * 1000), "mode": mode}
    state["next"] += 1
    state["nodes"][path] = node
    return node


def find(path):
    if path.startswith("/.reserved/.inodes/"):
        for node in state["nodes"].values():
            if str(node["id"]) == path.rsplit("/", 1)[1]:
                return node
    elif path in state["nodes"]:
        return state["nodes"][path]
    raise Refused(404, "FileNotFoundException", "File does not exist: " + path)


def status(node, name=""):
    return {"fileId": node["id"], "length": 0 if node["dir"] else len(node["data"]), "type": "DIRECTORY" if node["dir"] else "FILE",
            "modificationTime": node["time"], "permission": node["mode"], "replication": 0 if node["dir"] else 1, "blockSize": 134217728,
            "pathSuffix": name, "owner": "root"}


def below(path):
    prefix = path.rstrip("/") + "/"
    return [p for p in state["nodes"] if p.startswith(prefix)]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def body_read(self, into=None):
        data = bytearray() if into is None else into
        try:
            if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
                while True:
                    line = self.rfile.readline()
                    if not line:
                        return data, False
                    size = int(line.split(b";")[0], 16)
                    chunk = self.rfile.read(size)
                    data += chunk
                    if len(chunk) < size:
                        return data, False
                    self.rfile.readline()
                    if size == 0:
                        return data, True
            n = int(self.headers.get("Content-Length") or 0)
            data += self.rfile.read(n)
            return data, len(data) >= n
        except (OSError, ValueError):
            return data, False

    def answer(self, code, value=None, raw=None, close=False, location=None):
        body = raw if raw is not None else json.dumps(value).encode() if value is not None else b""
        self.send_response(code)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Length", str(len(body)))
        if close:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(body)

    def answer_raw(self, f):
        self.answer(f["status"], raw=f["body"].encode(), location=f["location"].replace("HERE", "http://" + self.headers["Host"]), close=True)

    def refuse(self, e):
        self.answer(e.status, {"RemoteException": {"exception": e.exception, "javaClassName": "x." + e.exception, "message": e.message}}, close=True)

    def fault(self, op, path):
        with lock:
            state["count"][op] = state["count"].get(op, 0) + 1
            for f in state["faults"]:
                if f["op"] == op and f["count"] > 0 and f["path"] in path:
                    f["count"] -= 1
                    return f
        return None

    def serve(self):
        url = urllib.parse.urlsplit(self.path)
        q = {k: v[0] for k, v in urllib.parse.parse_qs(url.query, keep_blank_values=True).items()}
        path = urllib.parse.unquote(url.path)
        if path in ("/fault", "/count", "/tree", "/reset", "/jmx", "/get", "/replicas", "/asked", "/calm", "/names", "/in_use"):
            return self.admin(path, q)
        try:
            if path.startswith("/dn/"):
                return self.send(path[3:], q)
            assert path.startswith("/webhdfs/v1"), path
            path = path[len("/webhdfs/v1"):] or "/"
            op = q["op"]
            state["asked"][op] = q
            f = self.fault(op, path)
            if f and f["kind"] in ERRORS:
                raise Refused(403, *ERRORS[f["kind"]])
            if f and f["kind"] == "raw":
                return self.answer_raw(f)
            if f and f["kind"] in ("drip", "interim"):
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{" if f["kind"] == "drip" else b"")
                for _ in range(f["ms"] // 20):
                    self.wfile.write(b" " if f["kind"] == "drip" else b"HTTP/1.1 102 Processing\r\n\r\n")
                    time.sleep(0.02)
                raise Lost
            if f and f["kind"] == "hang":
                time.sleep(f["ms"] / 1000)
                raise Lost
            if f and f["kind"] == "lost_before":
                raise Lost
            if f and f["kind"] == "late":
                threading.Timer(f["ms"] / 1000, self.do, (op, path, q)).start()
                raise Lost
            result = self.do(op, path, q)
            if f and f["kind"] == "lost_after":
                raise Lost
            self.answer(200, result)
        except Refused as e:
            self.refuse(e)
            if path.startswith("/dn/"):
                # Closed with bytes unread, the system would send a reset that may overtake the answer.
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_WR)
                self.connection.settimeout(5)
                try:
                    while self.rfile.read1(1 << 16):
                        pass
                except OSError:
                    pass
        except BrokenPipeError:
            self.close_connection = True    # it was given up
        except ConnectionResetError:
            self.close_connection = True
        except Lost:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    do_GET = do_PUT = do_POST = do_DELETE = serve

    def admin(self, path, q):
        with lock:
            if path == "/reset":
                reset()
            elif path == "/names":
                state["names"][q["path"]] = int(q["quota"])
            elif path == "/fault":
                state["faults"].append({"op": q["op"], "kind": q["kind"], "count": int(q.get("count", 1)), "ms": int(q.get("ms", 0)),
                                        "path": q.get("path", ""), "status": int(q.get("status", 200)), "body": q.get("body", ""),
                                        "location": q.get("location", "")})
            elif path == "/calm":
                state["faults"].clear()
                return self.answer(200, raw=b"0")
            elif path == "/count":
                return self.answer(200, raw=str(state["count"].get(q["op"], 0)).encode())
            elif path == "/replicas":
                state["replicas"] = [int(n) for n in q["n"].split(",")]
            elif path == "/asked":
                return self.answer(200, raw=b"1" if state["asked"].get(q["op"], {}).get(q["name"]) == q["value"] else b"0")
            elif path == "/get":
                return self.answer(200, raw=bytes(find(q["path"])["data"]))
            elif path == "/in_use":
                return self.answer(200, raw=str(sum(p.endswith(".tmp") for p, n in state["nodes"].items() if not n["dir"])).encode())
            elif path == "/tree":
                return self.answer(200, {p: len(n["data"]) for p, n in sorted(state["nodes"].items()) if not n["dir"]})
            self.answer(200, {})

    def do(self, op, path, q):
        with lock:
            nodes = state["nodes"]
            here = "http://%s" % self.headers["Host"]
            if any(":" in part for part in path.split("/")):
                raise Refused(400, "InvalidPathException", "Invalid path name " + path)
            if op in ("CREATE", "APPEND", "OPEN"):
                if op != "CREATE":
                    node = find(path)
                    if node["dir"]:
                        raise Refused(404, "FileNotFoundException", "Path is not a file: " + path)
                return {"Location": here + "/dn" + urllib.parse.quote(path) + "?" + urllib.parse.urlencode(q)}
            if op == "GETFILESTATUS":
                return {"FileStatus": status(find(path))}
            if op == "GETFILEBLOCKLOCATIONS":
                find(path)
                n = state["replicas"].pop(0) if len(state["replicas"]) > 1 else state["replicas"][0]
                return {"BlockLocations": {"BlockLocation": [{"hosts": ["h%d" % i for i in range(k)], "length": 9} for k in (n + 1, n)]}}
            if op == "LISTSTATUS":
                node = find(path)
                names = sorted(p for p in below(path) if parent(p) == (path.rstrip("/") or "/"))
                return {"FileStatuses": {"FileStatus": [status(nodes[p], p.rsplit("/", 1)[1]) for p in names] if node["dir"] else [status(node)]}}
            if op == "LISTSTATUS_BATCH":
                find(path)
                names = sorted(p.rsplit("/", 1)[1] for p in below(path) if parent(p) == (path.rstrip("/") or "/"))
                names = [name for name in names if name > q.get("startAfter", "")]
                told = [status(nodes[path.rstrip("/") + "/" + name], name) for name in names[:1000]]
                return {"DirectoryListing": {"partialListing": {"FileStatuses": {"FileStatus": told}}, "remainingEntries": len(names) - len(told)}}
            if op == "MKDIRS":
                if path not in nodes:
                    make(path, None, "755")
                elif not nodes[path]["dir"]:
                    raise Refused(403, "FileAlreadyExistsException", "Path is not a directory: " + path)
                return {"boolean": True}
            if op == "RENAME":
                to = q["destination"]
                if to in nodes and nodes[to]["dir"]:
                    to += "/" + path.rsplit("/", 1)[1]
                if path not in nodes or to in nodes or parent(to) not in nodes:
                    return {"boolean": False}
                for p in below(path):
                    nodes[to + p[len(path):]] = nodes.pop(p)
                nodes[to] = nodes.pop(path)
                return {"boolean": True}
            if op == "DELETE":
                if path not in nodes:
                    return {"boolean": False}
                if below(path) and q.get("recursive") != "true":
                    raise Refused(403, "PathIsNotEmptyDirectoryException", path + " is non empty")
                for p in below(path) + [path]:
                    nodes.pop(p)
                return {"boolean": True}
            if op == "GETCONTENTSUMMARY":
                find(path)
                all_ = [nodes[p] for p in below(path) + [path]]
                size = sum(len(n["data"]) for n in all_)
                return {"ContentSummary": {"length": size, "spaceConsumed": size, "fileCount": sum(not n["dir"] for n in all_),
                                           "directoryCount": sum(n["dir"] for n in all_), "quota": state["names"].get(path, -1), "spaceQuota": -1}}
            if op == "CONCAT":
                node = find(path)
                for source in q["sources"].split(","):
                    if parent(source) != parent(path) or source == path or not find(source)["data"] or not node["data"]:
                        raise Refused(400, "HadoopIllegalArgumentException", "concat: " + source + " is not in the same directory, empty or the target")
                for source in q["sources"].split(","):
                    node["data"] += find(source)["data"]
                    nodes.pop(source)
                return None
            raise Refused(400, "IllegalArgumentException", "Invalid value for webhdfs parameter \"op\": " + op)

    def send(self, path, q):
        if q["op"] == "OPEN":
            f = self.fault("DATA", path)
            if f:
                return self.answer_raw(f)
            with lock:
                data = bytes(find(path)["data"])
            offset = int(q.get("offset", 0))
            return self.answer(200, raw=data[offset:offset + int(q["length"])] if "length" in q else data[offset:], close=True)
        f = self.fault("SEND", path)
        if f and f["kind"] == "raw":
            self.body_read()
            return self.answer_raw(f)
        self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        with lock:
            nodes = state["nodes"]
            if f and f["kind"] in ERRORS:
                raise Refused(403, *ERRORS[f["kind"]])
            if f and f["kind"] == "lost_before":
                raise Lost
        if f and f["kind"] == "late" and q["op"] == "CREATE":
            data, _ = self.body_read()
            threading.Timer(f["ms"] / 1000, lambda: path in nodes or make(path, data, q.get("permission", "644"))).start()
            raise Lost
        with lock:
            if q["op"] == "CREATE":
                if path in nodes and (nodes[path]["dir"] or q.get("overwrite") != "true"):
                    raise Refused(403, "FileAlreadyExistsException", path + " for client 127.0.0.1 already exists")
                nodes.pop(path, None)
                node = make(path, b"", q.get("permission", "644"))
                if f and f["kind"] == "full":
                    raise Refused(403, "IOException", "File %s could only be written to 0 of the 1 minReplication nodes. There are 1 datanode(s) running" % path)
            else:
                node = find(path)
        if f and f["kind"] == "hang":
            time.sleep(f["ms"] / 1000)
            raise Lost
        data, whole = self.body_read()
        if f and f["kind"] == "slow":
            time.sleep(f["ms"] / 1000)
        with lock:
            node["data"] += data
            gone = nodes.get(path) is not node and node not in nodes.values()
        if not whole:
            raise Lost      # the file stays, cut and looking whole, as HDFS leaves it
        if gone:
            raise Refused(404, "FileNotFoundException", "File does not exist: %s (inode %d) Holder DFSClient does not have any open files." %
                          (path, node["id"]))
        if f and f["kind"] == "closing":
            time.sleep(f["ms"] / 1000)
        if f and f["kind"] == "lost_after":
            raise Lost
        self.answer(201 if q["op"] == "CREATE" else 200, close=True)


class Server(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        pass    # callers that are killed are what some tests are about

    request_queue_size = 512    # with the usual 5, connections made at once wait for the kernel's retries, or are refused


def main():
    reset()
    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    sys.stdout.write("%d\n" % server.server_address[1])    # one write, also when unbuffered
    sys.stdout.flush()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
