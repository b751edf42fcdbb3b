"""Rivals on the same bytes, by turns with penstock: rsyslog over kernel UDP sockets to disk, a real Flume 1.11 from sockets into its channels."""
import glob
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.request

import common
from common import Trouble

RSYSLOG_PACKAGES = ["rsyslog", "libestr0", "libfastjson4", "liblognorm5", "librelp0"]
SYSLOG_NG_PACKAGES = ["syslog-ng-core", "libivykis0", "libnet1", "libpcre3"]
LINE = common.EVENT_BYTES + 1		# as rsyslog writes a datagram
OFFERS_UNSYNCED = [100_000, 200_000, 400_000, 0]
OFFERS_SYNCED = [10_000, 50_000]


def unpacked(name, packages):
    """A daemon unpacked, never installed: two syslog daemons conflict, and neither is to start by itself."""
    root = os.path.join(common.CACHE, name)
    if not os.path.exists(os.path.join(root, "complete")):
        shutil.rmtree(root, ignore_errors=True)
        os.makedirs(os.path.join(root, "deb"))
        done = subprocess.run(["apt-get", "download", "-q", *packages], cwd=os.path.join(root, "deb"), capture_output=True, text=True, check=False)
        for deb in glob.glob(os.path.join(root, "deb", "*.deb")):
            subprocess.run(["dpkg", "-x", deb, root], check=True)
        if len(glob.glob(os.path.join(root, "deb", "*.deb"))) != len(packages):
            raise Trouble(f"{name} cannot be fetched: {done.stderr.strip()[-200:]}")
        with open(os.path.join(root, "complete"), "w", encoding="ascii"):
            pass
    return root


class Rsyslog:
    """imudp or imtcp into a file: rsyslogd in the foreground with a configuration of its own."""

    def __init__(self, synced, disk_queue=False, tcp=False):
        root = unpacked("rsyslog", RSYSLOG_PACKAGES)
        self.dir = common.fresh("rsyslog")
        self.tcp = tcp
        self.port = common.free_port(socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
        self.out = os.path.join(self.dir, "out.txt")
        # Synced: every message is on disk in its queue before it counts, as in penstock's log. rsyslog's own words for that.
        on_disk = 'queue.type="disk" queue.filename="q" queue.size="10000000" queue.maxfilesize="64m"'
        queue = (on_disk + ' queue.syncqueuefiles="on" queue.checkpointinterval="1"' if synced else on_disk if disk_queue
                 else 'queue.type="linkedlist" queue.size="200000"')
        config = f'''global(workDirectory="{self.dir}" maxMessageSize="64k")
main_queue(queue.size="100000")
module(load="impstats" interval="1" format="json" log.syslog="off" log.file="{self.dir}/stats")
{'module(load="imtcp" maxSessions="1000")' if tcp else 'module(load="imudp" batchSize="64")'}
template(name="raw" type="string" string="%rawmsg%\\n")
{f'input(type="imtcp" address="127.0.0.1" port="{self.port}" ruleset="w")' if tcp else
 f'input(type="imudp" address="127.0.0.1" port="{self.port}" rcvbufSize="32m" ruleset="w")'}
ruleset(name="w" {queue}) {{ action(type="omfile" file="{self.out}" template="raw" ioBufferSize="64k" flushOnTXEnd="on") }}
'''
        with open(os.path.join(self.dir, "r.conf"), "w", encoding="ascii") as file:
            file.write(config)
        lib = os.path.join(root, "usr/lib/x86_64-linux-gnu")
        self.log = os.path.join(self.dir, "log")
        self.child = common.start([os.path.join(root, "usr/sbin/rsyslogd"), "-n", "-i", os.path.join(self.dir, "pid"), "-M", os.path.join(lib, "rsyslog"),
                                   "-f", os.path.join(self.dir, "r.conf")], self.log, env={**os.environ, "LD_LIBRARY_PATH": lib})

    def __enter__(self):
        listens = tcp_listens if self.tcp else udp_listens
        common.wait_for(lambda: listens(self.port) or self.child.poll() is not None, 20, "rsyslog does not start")
        if self.child.poll() is not None:
            raise Trouble(f"rsyslog does not start: {common.tail(self.log)}")
        return self

    def __exit__(self, *_):
        common.end(self.child, 5)
        shutil.rmtree(self.dir, ignore_errors=True)

    def stored(self):
        try:
            return os.path.getsize(self.out) // LINE
        except OSError:
            return 0

    def queued_a_second(self):
        """What went into the synced queue, by its own statistics of each second under load: the median second."""
        counts = []
        with open(os.path.join(self.dir, "stats"), encoding="ascii", errors="replace") as file:
            for line in file:
                found = re.search(r'"name": ?"w".*"enqueued": ?(\d+)', line)
                if found:
                    counts.append(int(found.group(1)))
        steps = [b - a for a, b in zip(counts, counts[1:]) if b > a]
        if not steps:
            raise Trouble("rsyslog's statistics say nothing of its queue")
        return sorted(steps)[len(steps) // 2]


class Penstock(common.Agent):
    """syslogudp or syslogtcp over kernel sockets into the file channel."""

    def __init__(self, synced, tcp=False):
        self.tcp = tcp
        self.port = common.free_port(socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
        channel = common.file_channel() if synced else common.file_channel(fsyncPerTransaction="false")
        source = {"type": "syslogtcp"} if tcp else {"type": "syslogudp", "penstock.gro": "true"}
        super().__init__(common.agent_lines({**source, "host": "127.0.0.1", "port": self.port}, channel))

    def stored(self):
        return self.metrics().get(("CHANNEL", "EventPutSuccessCount"), 0)


def udp_listens(port):
    with open("/proc/net/udp", encoding="ascii") as file:
        return f":{port:04X} " in file.read()


def tcp_listens(port):
    text = ""
    for name in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(name, encoding="ascii") as file:
            text += file.read()
    return re.search(rf":{port:04X} [0-9A-F]+:0000 0A ", text) is not None


def sender(peer):
    return ["--kernel", "--to", f"127.0.0.1:{peer.port}", *(["--as", "syslog-tcp"] if peer.tcp else [])]


def offered(peer, rate, seconds):
    """What the peer has on disk of that load, a second of the time until it has all it will ever have."""
    began = time.monotonic()
    generator = common.Generator([*sender(peer), "--seconds", str(seconds), "--rate", str(rate) if rate else "max"])
    sent = generator.report(seconds + 30)["events"]
    generator.close()
    last, moved, deadline = -1, time.monotonic(), time.monotonic() + 20
    while time.monotonic() < deadline:
        stored = peer.stored()
        if stored != last:
            last, moved = stored, time.monotonic()
        if stored >= sent or time.monotonic() - moved > 0.7:
            break
        time.sleep(0.02)
    return last / (max(moved, began + seconds) - began), sent - last


def queue_rsyslog(synced, rate, seconds, tcp=False):
    """Events a second into its disk queue."""
    with Rsyslog(synced, disk_queue=True, tcp=tcp) as peer:
        generator = common.Generator([*sender(peer), "--seconds", str(seconds), "--rate", str(rate)])
        if tcp:		# it may take long until its queue has all that stands in sockets
            time.sleep(seconds)
        else:
            generator.report(seconds + 30)
        generator.close()
        time.sleep(1.1)			# the last second's line of its statistics
        return peer.queued_a_second()


def best_offer(make, offers, seconds):
    """The offered rate of which most is stored: a daemon that is flooded may do less than one that is not."""
    best, best_rate = 0, offers[0]
    for rate in offers:
        with make() as peer:
            stored, lost = offered(peer, rate, seconds)
        common.say(f"  offered {rate or 'max'}: {stored:,.0f}/s stored, {lost:,} lost")
        if stored > best:
            best, best_rate = stored, rate
    return best_rate


def rsyslog(run, synced):
    seconds = run.seconds(4, 2)
    if not synced:
        theirs_rate = best_offer(lambda: Rsyslog(synced), OFFERS_UNSYNCED, 2)
    ours_rate = best_offer(lambda: Penstock(synced), [1_000_000, 1_500_000, 2_000_000], 2)
    ours, theirs = [], []
    for _ in range(run.rounds):
        if synced:
            theirs.append(max(queue_rsyslog(True, rate, run.seconds(4, 3)) for rate in OFFERS_SYNCED))
        else:
            with Rsyslog(synced) as peer:
                theirs.append(offered(peer, theirs_rate, seconds)[0])
        with Penstock(synced) as peer:
            ours.append(offered(peer, ours_rate, seconds)[0])
    offer = f"penstock.gro; offered {ours_rate:,}/s and " + (" or ".join(f"{rate:,}" for rate in OFFERS_SYNCED) if synced else f"{theirs_rate or 'max'}") + "/s"
    run.row(f"kernel UDP sockets to disk, {'synced' if synced else 'not synced'}", "events/s", ours,
            reference="rsyslog, disk queue, synced" if synced else "rsyslog, memory queue, file", reference_values=theirs,
            goal=(">=", 300) if synced else None, goal_of="ratio", note=offer)


# ---- Flume ----

FLUME_SOURCES = {	# name: (options, is it a stream, channel)
    "syslogudp, memory channel": ({"type": "syslogudp", "host": "127.0.0.1"}, False, "memory"),
    "syslogtcp, memory channel": ({"type": "syslogtcp", "host": "127.0.0.1"}, True, "memory"),
    "syslogtcp, file channel": ({"type": "syslogtcp", "host": "127.0.0.1"}, True, "file"),
    "netcat, memory channel": ({"type": "netcat", "bind": "127.0.0.1", "ack-every-event": "false"}, True, "memory"),
    "netcat, file channel": ({"type": "netcat", "bind": "127.0.0.1", "ack-every-event": "false"}, True, "file"),
}
FLUME_UDP_OFFER = 100_000


class Flume:
    """One agent with all of these sources, each into a channel and a null sink of its own."""

    def __init__(self, sources):
        script = os.path.join(common.ROOT, "tests", "lib", "flume.sh")
        done = subprocess.run(["bash", "-c", f'. "{script}" && flume_jars && echo "$FLUME_HOME"'], capture_output=True, text=True, check=False)
        if done.returncode:
            raise Trouble(done.stderr.strip())
        self.dir = common.fresh("flume")
        self.sources = sources
        self.ports = {}
        names = [str(i) for i in range(len(sources))]
        lines = [f"a1.{what}s = {' '.join(what[0].replace('s', 'r') + n for n in names)}" for what in ("source",)]
        lines += ["a1.channels = " + " ".join("c" + n for n in names), "a1.sinks = " + " ".join("k" + n for n in names)]
        for i, (name, (options, stream, channel, *_)) in enumerate(sources.items()):
            self.ports[name] = common.free_port(socket.SOCK_STREAM if stream else socket.SOCK_DGRAM)
            lines += [f"a1.sources.r{i}.{key} = {value}" for key, value in options.items()]
            lines += [f"a1.sources.r{i}.port = {self.ports[name]}", f"a1.sources.r{i}.channels = c{i}", f"a1.channels.c{i}.type = {channel}",
                      f"a1.channels.c{i}.capacity = 1000000", f"a1.channels.c{i}.transactionCapacity = 10000"]
            if channel == "file":
                lines += [f"a1.channels.c{i}.checkpointDir = {self.dir}/checkpoint{i}", f"a1.channels.c{i}.dataDirs = {self.dir}/data{i}"]
            lines += [f"a1.sinks.k{i}.type = null", f"a1.sinks.k{i}.channel = c{i}", f"a1.sinks.k{i}.batchSize = 1000"]
        with open(os.path.join(self.dir, "a.properties"), "w", encoding="ascii") as file:
            file.write("\n".join(lines) + "\n")
        with open(os.path.join(self.dir, "log4j2.xml"), "w", encoding="ascii") as file:
            file.write('<Configuration status="WARN"><Appenders><Console name="C" target="SYSTEM_OUT"/></Appenders>'
                       '<Loggers><Root level="WARN"><AppenderRef ref="C"/></Root></Loggers></Configuration>')
        self.metrics_port = common.free_port(socket.SOCK_STREAM)
        self.log = os.path.join(self.dir, "log")
        self.child = common.start(["java", "-Xmx1g", "-cp", f"{done.stdout.strip().splitlines()[-1]}/libs/*", f"-Dlog4j2.configurationFile={self.dir}/log4j2.xml",
                                   "-Dfile.encoding=UTF-8", "-Duser.timezone=UTC", "-Dflume.monitoring.type=http",
                                   f"-Dflume.monitoring.port={self.metrics_port}", "org.apache.flume.node.Application", "--conf-file",
                                   os.path.join(self.dir, "a.properties"), "--name", "a1", "--no-reload-conf"], self.log)

    def __enter__(self):
        def ready():
            return all((tcp_listens if self.sources[name][1] else udp6_listens)(port) for name, port in self.ports.items()) or self.child.poll() is not None
        common.wait_for(ready, 60, f"Flume does not come up: {common.tail(self.log)}")
        if self.child.poll() is not None:
            raise Trouble(f"Flume does not come up: {common.tail(self.log)}")
        common.wait_for(self.metrics, 20, "Flume's metrics do not answer")
        return self

    def __exit__(self, *_):
        common.end(self.child, 20)
        shutil.rmtree(self.dir, ignore_errors=True)

    def metrics(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=5) as answer:
                return json.load(answer)
        except (OSError, ValueError):
            return None

    def put(self, name):
        return int((self.metrics() or {}).get(f"CHANNEL.c{list(self.sources).index(name)}", {}).get("EventPutSuccessCount", 0))


def udp6_listens(port):
    with open("/proc/net/udp6", encoding="ascii") as file:
        return udp_listens(port) or f":{port:04X} " in file.read()


class Lines(threading.Thread):
    """Lines of 200 bytes, line feed included, down one TCP connection until told to stop; what comes back is read and forgotten."""

    def __init__(self, port):
        super().__init__(daemon=True)
        head = b"<13>Nov 21 07:12:10 host07 app[7]: "
        self.bytes = (head + b"x" * (common.EVENT_BYTES - 1 - len(head)) + b"\n") * 5000
        self.socket = socket.create_connection(("127.0.0.1", port), 20)
        self.socket.settimeout(1)
        self.stopped = False
        self.trouble = None
        self.start()

    def run(self):
        at, view = 0, memoryview(self.bytes)
        while not self.stopped:
            try:
                at += self.socket.send(view[at:])
                at = 0 if at == len(view) else at
            except TimeoutError:
                continue
            except OSError as trouble:
                self.trouble = trouble
                return

    def close(self):
        self.stopped = True
        self.join(5)
        self.socket.close()


def put_rate(port, stream, put, seconds, warm, rate=0):
    """Events a second that come to stand in the channel, over a window after the warm-up."""
    sender = Lines(port) if stream else common.Generator(["--kernel", "--to", f"127.0.0.1:{port}", "--rate", str(rate) if rate else "max"])
    try:
        time.sleep(warm)
        first, began = put(), time.monotonic()
        time.sleep(seconds)
        count = put() - first
        took = time.monotonic() - began
        if stream and sender.trouble:
            raise Trouble(f"the connection broke: {sender.trouble}")
        return count / took
    finally:
        sender.close()


def penstock_rate(options, stream, channel, seconds):
    port = common.free_port(socket.SOCK_STREAM if stream else socket.SOCK_DGRAM)
    options = {**options, "port": port}
    if not stream:
        options["penstock.gro"] = "true"
    lines = common.agent_lines(options, common.memory_channel() if channel == "memory" else common.file_channel())
    with common.Agent(lines) as agent:
        if stream:
            common.wait_for(lambda: tcp_listens(port), 5, "penstock does not listen")
        return put_rate(port, stream, lambda: agent.metrics().get(("CHANNEL", "EventPutSuccessCount"), 0), seconds, 0.5, 0 if stream else 1_500_000)


def flume(run, sources=None, goal=None, rounds=5):
    """sources: as FLUME_SOURCES; a fourth word is penstock's channel, where it is not Flume's."""
    seconds = run.seconds(3, 2)
    sources = sources or FLUME_SOURCES
    with Flume(sources) as peer:
        for name, (options, stream, *channels) in sources.items():
            ours, theirs, trouble = [], [], None
            put_rate(peer.ports[name], stream, lambda n=name: peer.put(n), 0.1, run.seconds(3, 2), FLUME_UDP_OFFER)		# the JVM gets warm
            for _ in range(min(run.rounds, rounds)):
                theirs.append(put_rate(peer.ports[name], stream, lambda n=name: peer.put(n), seconds, 0.5, FLUME_UDP_OFFER))
                try:
                    ours.append(penstock_rate(options, stream, channels[-1], min(seconds, 2)))
                except Trouble as text:
                    trouble = str(text)
            if ours:
                run.row(name, "events/s", ours, reference="Flume 1.11", reference_values=theirs, goal=goal, goal_of="ratio" if goal else "value")
            else:
                run.missing(name, f"Flume 1.11 does {common.figure(sorted(theirs)[len(theirs) // 2])} events/s; {trouble.strip().splitlines()[-1]}")


def measure(run):
    for part in (lambda: rsyslog(run, False), lambda: rsyslog(run, True), lambda: flume(run)):
        try:
            part()
        except (Trouble, OSError, subprocess.SubprocessError) as trouble:
            run.missing("peers", trouble)
        finally:
            common.end_all()
