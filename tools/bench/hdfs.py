"""The hdfs sink into a real HDFS on this machine, beside curl's upload of the ready file, Hadoop's own client and a real Flume's HDFS sink."""
import json
import os
import resource
import statistics
import subprocess
import time
import urllib.request

import common
from common import Trouble

LIB = os.path.join(common.ROOT, "tests", "lib", "hadoop.sh")
FLUME_LIB = os.path.join(common.ROOT, "tests", "lib", "flume.sh")
EVENT = 200			# bytes with the line feed
CALL_FILES = 20
PARTS = ("one", "four", "flume", "calls")
NOT_CALLS = ("SendHeartbeat", "BlockReport", "BlockReceivedAndDeleted", "RegisterDatanode", "VersionRequest", "RollEditLog", "Refresh", "GetServiceStatus", "Overall", "Deferred")


class Cluster(common.Servers):
    """NameNode and DataNode (tests/lib/hadoop.sh), until end()."""

    def __init__(self, directory):
        self.directory = directory
        super().__init__(f'. "{LIB}"; hadoop_jars || exit 1; trap hadoop_stop EXIT; hadoop_start "{directory}" 1 || exit 1; echo "$HADOOP_NN $HADOOP_RPC"', 2, "HDFS")
        self.http, self.rpc = self.words
        self.conf = os.path.join(directory, "conf")

    def fs(self, *args):
        script = f'. "{LIB}"; HADOOP_DIR="{self.directory}"; hadoop_fs "$@"'
        began = time.monotonic()
        subprocess.run(["bash", "-c", script, "hadoop_fs", *args], check=True, timeout=300, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return time.monotonic() - began

    def remove(self, path):
        url = f"{self.http}/webhdfs/v1{path}?op=DELETE&recursive=true&user.name=root"
        urllib.request.urlopen(urllib.request.Request(url, method="DELETE"), timeout=60).read()

    def curl(self, file, path):
        url = f"{self.http}/webhdfs/v1{path}?op=CREATE&overwrite=true&user.name=root"
        return ["curl", "-s", "-f", "-o", os.devnull, "-L", "-H", "Expect:", "-T", file, url]

    def feed(self, path, mib):
        return [common.program("hdfs_feed"), self.rpc + path, self.conf, str(mib)]

    def rpc_calls(self):
        """Calls to the NameNode so far, over RPC and HTTP ("(external)"), but for the DataNodes' own housekeeping, by name."""
        time.sleep(12)		# its figures are taken every 10 s
        url = f"{self.http}/jmx?qry=Hadoop:service=NameNode,name=RpcDetailedActivityForPort{self.rpc.rsplit(':', 1)[1]}"
        bean = json.load(urllib.request.urlopen(url, timeout=60))["beans"][0]
        return {k[:-6]: v for k, v in bean.items() if k.endswith("NumOps") and not k.startswith(NOT_CALLS)}

    def calls_since(self, before):
        """Calls a file, of CALL_FILES, by name."""
        now = self.rpc_calls()
        return {k: (v - before.get(k, 0)) / CALL_FILES for k, v in now.items() if v > before.get(k, 0)}


def fed(commands):
    """The feeds' own seconds from the first take to the final name, of the slowest."""
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    said = [one.communicate(timeout=600)[0].split() for one in running]
    if any(one.returncode for one in running):
        raise Trouble(f"{commands[0][0]} failed")
    return max(int(words[0]) for words in said) / 1000


def children_cpu():
    """Seconds of CPU of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Flume:
    """A real Flume: events out of nothing (StressSource), memory channel, HDFS sink with batches of 1000."""

    def __init__(self, cluster, path, events, roll):
        script = f'. "{FLUME_LIB}"; . "{LIB}"; flume_jars && flume_hdfs_jar && echo "$FLUME_HOME $HADOOP_HOME"'
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
        if done.returncode:
            raise Trouble(done.stderr.strip()[-300:])
        flume, hadoop = done.stdout.split()
        self.events, self.dir = events, common.fresh("flume-hdfs")
        self.port = common.free_port()
        conf = os.path.join(self.dir, "a.conf")
        with open(conf, "w", encoding="ascii") as file:
            file.write(f"""a1.sources = r1
a1.channels = c1
a1.sinks = k1
a1.sources.r1.type = org.apache.flume.source.StressSource
a1.sources.r1.size = {EVENT - 1}
a1.sources.r1.batchSize = 1000
a1.sources.r1.maxTotalEvents = {events}
a1.sources.r1.channels = c1
a1.channels.c1.type = memory
a1.channels.c1.capacity = 200000
a1.channels.c1.transactionCapacity = 10000
a1.sinks.k1.type = hdfs
a1.sinks.k1.channel = c1
a1.sinks.k1.hdfs.path = {cluster.rpc}{path}
a1.sinks.k1.hdfs.fileType = DataStream
a1.sinks.k1.hdfs.batchSize = 1000
a1.sinks.k1.hdfs.rollInterval = 0
a1.sinks.k1.hdfs.rollSize = 0
a1.sinks.k1.hdfs.rollCount = {roll}
""")
        with open(os.path.join(self.dir, "log4j2.xml"), "w", encoding="ascii") as file:
            file.write('<Configuration status="ERROR"><Appenders><Console name="C" target="SYSTEM_OUT"/></Appenders><Loggers><Root level="WARN">'
                       '<AppenderRef ref="C"/></Root></Loggers></Configuration>')
        self.log = os.path.join(self.dir, "log")
        self.child = common.start(["java", "-Xmx1g", "-cp", f"{cluster.conf}:{hadoop}/libs/*:{flume}/hdfs/*:{flume}/libs/*",
                                   f"-Dlog4j2.configurationFile={self.dir}/log4j2.xml", "-Dflume.monitoring.type=http",
                                   f"-Dflume.monitoring.port={self.port}", "org.apache.flume.node.Application", "--conf-file", conf, "--name", "a1",
                                   "--no-reload-conf"], self.log)

    def cpu(self):
        """Seconds of CPU so far."""
        with open(f"/proc/{self.child.pid}/stat", encoding="ascii", errors="replace") as file:
            words = file.read().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def seconds(self):
        """From the first events the sink took until all are in HDFS, by its own counters; its start does not count. And its CPU in this time."""
        began, cpu, until, url = None, 0, time.monotonic() + 200, f"http://127.0.0.1:{self.port}/metrics"
        while time.monotonic() < until:
            try:
                sink = json.load(urllib.request.urlopen(url, timeout=5)).get("SINK.k1", {})
            except OSError:
                sink = {}
            now = time.monotonic()
            if began is None and int(sink.get("EventDrainAttemptCount", 0)):
                began, cpu = now, self.cpu()
            if int(sink.get("EventDrainSuccessCount", 0)) >= self.events:
                return now - began, self.cpu() - cpu
            if self.child.poll() is not None:
                break
            time.sleep(0.02)
        raise Trouble("Flume does not get its events into HDFS: " + common.tail(self.log))

    def end(self):
        common.end(self.child)


def timed(commands):
    """Seconds until all of them have ended, side by side."""
    began = time.monotonic()
    running = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for command in commands]
    status = [one.wait(timeout=600) for one in running]
    if any(status):
        raise Trouble(f"{commands[0][0]}: exit status {status}")
    return time.monotonic() - began


def calls_measure(run, cluster):
    """NameNode calls a file, of ours (those over HTTP, which the NameNode counts as "(external)", and the DataNode's for it) and of Flume's with the same rolls."""
    events = CALL_FILES * 5000
    before = cluster.rpc_calls()
    fed([cluster.feed("/calls/ours", events * EVENT / (1 << 20)) + ["hdfs.rollCount=5000", "hdfs.idleTimeout=1"]])
    ours = cluster.calls_since(before)
    before = cluster.rpc_calls()
    flume = Flume(cluster, "/calls/flume", events, 5000)
    try:
        flume.seconds()
    finally:
        flume.end()
    theirs = cluster.calls_since(before)
    listed = [", ".join(f"{k} {v:.2f}" for k, v in sorted(calls.items())) for calls in (ours, theirs)]
    run.row("hdfs, NameNode calls a file, exactly once", "calls", sum(ours.values()), "Flume's HDFS sink, same rolls", sum(theirs.values()), ("<=", 1.0), "ratio",
            f"ours: {listed[0]}; Flume's: {listed[1]}")


def flume_measure(run, cluster, mib, curl):
    """Flume beside ours, three by turns."""
    ours, theirs, our_cpu, their_cpu = [], [], [], []
    for _ in range(min(3, run.rounds)):
        flume = Flume(cluster, "/b/flume", (mib << 20) // EVENT // 1000 * 1000, 0)
        try:
            took, cpu = flume.seconds()
        finally:
            flume.end()
        theirs.append(mib / took)
        their_cpu.append(cpu / mib * 1024)
        cpu = children_cpu()
        ours.append(mib / fed([cluster.feed("/b/ours", mib)]))
        our_cpu.append((children_cpu() - cpu) / mib * 1024)
        cluster.remove("/b")
    # Five times Flume, or 0.85 of the floor where that is lower.
    median = statistics.median
    goal = min(5.0, 0.85 * median(curl) / median(theirs)) if curl else 5.0
    run.row(f"hdfs, one file of {mib} MiB, beside Flume", "MiB/s", ours, "Flume: StressSource, memory channel, HDFS sink, batchSize 1000", theirs,
            (">=", goal), "ratio", f"CPU s/GiB of the process: {median(our_cpu):.2f}, Flume's {median(their_cpu):.1f}; curl {median(curl):.0f} MiB/s" if curl else "")


def measure(run, parts=PARTS):
    mib = run.seconds(1024, 128)
    directory = common.fresh("hdfs")
    cluster = Cluster(os.path.join(directory, "hadoop"))
    curl = []
    try:
        file, quarter, empty = (os.path.join(directory, name) for name in ("file", "quarter", "empty"))
        line = bytes(97 + i * 7 % 26 for i in range(EVENT - 1)) + b"\n"
        with open(file, "wb") as out:
            for _ in range(mib):
                out.write((line * 5243)[:1 << 20])
        with open(file, "rb") as whole, open(quarter, "wb") as out:
            out.write(whole.read((mib << 20) // 4))
        with open(empty, "wb"):
            pass
        timed([cluster.curl(quarter, "/b/warm")])
        fed([cluster.feed("/b/warm2", mib // 4)])
        if "one" in parts:
            ours, put, bare = [], [], []
            for _ in range(run.rounds):
                curl.append(mib / timed([cluster.curl(file, "/b/curl")]))
                ours.append(mib / fed([cluster.feed("/b/ours", mib)]))
                took, start = cluster.fs("-put", "-f", file, "/b/put"), cluster.fs("-put", "-f", empty, "/b/empty")
                put.append(mib / took)
                bare.append(mib / max(took - start, 0.001))
                cluster.remove("/b")
            run.row(f"hdfs, one file of {mib} MiB, exactly once", "MiB/s", ours, "curl CREATE of the ready file", curl, (">=", 0.85), "ratio")
            run.row(f"hdfs, one file of {mib} MiB, beside Hadoop's client", "MiB/s", ours, "hdfs dfs -put with its JVM's start", put, (">=", 1.0), "ratio",
                    f"without its start {statistics.median(bare):.0f} MiB/s")
        elif "flume" in parts:		# its goal has curl's rate in it
            curl = [mib / timed([cluster.curl(file, "/b/curl")]) for _ in range(run.rounds)]
        if "four" in parts:
            ours4, curl4 = [], []
            for _ in range(run.rounds):
                curl4.append(mib / timed([cluster.curl(quarter, f"/b/c{i}") for i in range(4)]))
                ours4.append(mib / fed([cluster.feed(f"/b/o{i}", mib // 4) for i in range(4)]))
                cluster.remove("/b")
            run.row(f"hdfs, four files of {mib // 4} MiB at once", "MiB/s", ours4, "four curls", curl4, (">=", 0.85), "ratio")
        for part, what in (("flume", lambda: flume_measure(run, cluster, mib, curl)), ("calls", lambda: calls_measure(run, cluster))):
            if part not in parts:
                continue
            try:
                what()
            except Trouble as trouble:
                run.missing(f"hdfs, {part}", str(trouble))
    finally:
        cluster.end()
