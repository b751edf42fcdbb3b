"""One JSON event a request, answered with 200 after the commit: over memif, and over kernel sockets beside nginx's empty 200 and Flume's source, under the same wrk."""
import os
import re
import shutil
import socket
import subprocess

import common
import peers
import ringlog
import tcp
from common import Trouble
from udp import Wire

HTTP = {"type": "http", "bind": "192.0.2.10", "port": 514}
PIPELINE = 16
SYNC_BYTES = 16384		# what 64 events of 200 bytes come to in the log
FLUME = {
    "http, memory channel": ({"type": "http", "bind": "127.0.0.1"}, True, "memory"),
    "http, file channel": ({"type": "http", "bind": "127.0.0.1"}, True, "file"),
}


def memif(run):
    device = ringlog.Device()
    wire, seconds = Wire(device.cpu, device.other), run.seconds(4, 2)	# the log's interrupts stay away from the data core
    one, limits = [], []
    few = tcp.many_beside_few(run, f"memif, http, {PIPELINE} requests pipelined", wire, HTTP, ["--as", "http", "--pipeline", str(PIPELINE)], seconds)
    run.row(f"memif, http, {tcp.CONNECTIONS} connections with {PIPELINE} requests pipelined", "requests/s", few, goal=(">=", 300_000),
            note="" if wire.huge else "no huge pages free")
    for _ in range(run.rounds):
        limits.append(tcp.CONNECTIONS / device.sync_p50(SYNC_BYTES, run.seconds(2, 1)))
        one.append(tcp.memif_run(wire, HTTP, ["--as", "http", "--sources", str(tcp.CONNECTIONS)], seconds))
    run.row(f"memif, http, {tcp.CONNECTIONS} connections, one request at a time", "requests/s", one,
            reference=f"{tcp.CONNECTIONS} / the median of a synced write of {SYNC_BYTES >> 10} KiB", reference_values=limits, goal=(">=", 0.5), goal_of="ratio")


class Nginx:
    """Answers every request with an empty 200, from one worker."""

    def __init__(self):
        program = shutil.which("nginx") or "/usr/sbin/nginx"
        if not os.path.exists(program):
            raise Trouble("no nginx (apt-get install nginx-light)")
        self.dir = common.fresh("nginx")
        self.port = common.free_port(socket.SOCK_STREAM)
        file = os.path.join(self.dir, "nginx.conf")
        with open(file, "w", encoding="ascii") as out:
            out.write(f"""daemon off; worker_processes 1; pid {self.dir}/pid; error_log stderr warn;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 1000000000; client_body_temp_path {self.dir}/body; proxy_temp_path {self.dir}/proxy;
fastcgi_temp_path {self.dir}/fastcgi; uwsgi_temp_path {self.dir}/uwsgi; scgi_temp_path {self.dir}/scgi;
server {{ listen 127.0.0.1:{self.port}; location / {{ return 200; }} }} }}
""")
        self.child = common.start([program, "-c", file, "-p", self.dir, "-e", "stderr"], os.path.join(self.dir, "log"))

    def __enter__(self):
        common.wait_for(lambda: peers.tcp_listens(self.port) or self.child.poll() is not None, 20, "nginx does not start")
        if self.child.poll() is not None:
            raise Trouble(f"nginx does not start: {common.tail(os.path.join(self.dir, 'log'))}")
        return self

    def __exit__(self, *_):
        common.end(self.child, 5)
        shutil.rmtree(self.dir, ignore_errors=True)


def wrk(port, seconds):
    """Requests a second of 64 connections, one request at a time; every answer must be a 200."""
    if not shutil.which("wrk"):
        raise Trouble("no wrk (apt-get install wrk)")
    script = os.path.join(common.WORK, "post.lua")
    with open(script, "w", encoding="ascii") as out:
        out.write(f"""wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '[{{"body":"{'x' * common.EVENT_BYTES}"}}]'
""")
    done = subprocess.run(["wrk", "-t1", f"-c{tcp.CONNECTIONS}", f"-d{seconds}s", "-s", script, f"http://127.0.0.1:{port}/"], capture_output=True, text=True,
                          check=False, timeout=seconds + 60)
    found = re.search(r"Requests/sec:\s+([0-9.]+)", done.stdout)
    if not found or "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise Trouble(f"wrk: {(done.stdout + done.stderr).strip()[-300:]}")
    return float(found.group(1))


def penstock(seconds, channel):
    port = common.free_port(socket.SOCK_STREAM)
    with common.Agent(common.agent_lines({"type": "http", "bind": "127.0.0.1", "port": port}, channel)):
        common.wait_for(lambda: peers.tcp_listens(port), 5, "penstock does not listen")
        return wrk(port, seconds)


def kernel(run):
    seconds = run.seconds(3, 2)
    ours, theirs = [], []
    for _ in range(run.rounds):
        with Nginx() as peer:
            theirs.append(wrk(peer.port, seconds))
        ours.append(penstock(seconds, common.file_channel()))
    run.row(f"kernel sockets, http, {tcp.CONNECTIONS} connections, synced", "requests/s", ours, reference="nginx, one worker, an empty 200", reference_values=theirs)
    with peers.Flume(FLUME) as flume:
        for name, (_, _, channel) in FLUME.items():
            ours, theirs = [], []
            wrk(flume.ports[name], run.seconds(4, 2))		# the JVM gets warm
            for _ in range(min(run.rounds, 3)):
                theirs.append(wrk(flume.ports[name], seconds))
                ours.append(penstock(seconds, common.file_channel() if channel == "file" else common.memory_channel()))
            run.row(f"kernel sockets, {name}", "requests/s", ours, reference="Flume 1.11", reference_values=theirs)


def measure(run):
    for part in (memif, kernel):
        try:
            part(run)
        except (Trouble, OSError, subprocess.SubprocessError) as trouble:
            run.missing("http", trouble)
        finally:
            common.end_all()
