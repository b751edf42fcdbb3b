"""The hdfs sink into a real HDFS on this machine, beside curl's upload of the ready file and Hadoop's own client."""
import os
import subprocess
import time
import urllib.request

import common
from common import Trouble

LIB = os.path.join(common.ROOT, "tests", "lib", "hadoop.sh")


class Cluster:
    """NameNode and DataNode (tests/lib/hadoop.sh), until end()."""

    def __init__(self, directory):
        self.directory = directory
        script = f'. "{LIB}"; hadoop_jars || exit 1; trap hadoop_stop EXIT; hadoop_start "{directory}" 1 || exit 1; echo "$HADOOP_NN $HADOOP_RPC"; read line'
        self.shell = subprocess.Popen(["bash", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        words = self.shell.stdout.readline().split()
        if len(words) != 2:
            raise Trouble("no HDFS: see tests/lib/hadoop.sh")
        self.http, self.rpc = words
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

    def end(self):
        try:
            self.shell.communicate("\n", timeout=60)
        except subprocess.TimeoutExpired:
            self.shell.kill()


def timed(commands):
    """Seconds until all of them have ended, side by side."""
    began = time.monotonic()
    running = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for command in commands]
    status = [one.wait(timeout=600) for one in running]
    if any(status):
        raise Trouble(f"{commands[0][0]}: exit status {status}")
    return time.monotonic() - began


def measure(run):
    mib = run.seconds(1024, 128)
    directory = common.fresh("hdfs")
    cluster = Cluster(os.path.join(directory, "hadoop"))
    try:
        file, quarter = os.path.join(directory, "file"), os.path.join(directory, "quarter")
        line = bytes(97 + i * 7 % 26 for i in range(199)) + b"\n"
        with open(file, "wb") as out:
            for _ in range(mib):
                out.write((line * 5243)[:1 << 20])
        with open(quarter, "wb") as out:
            out.write(open(file, "rb").read((mib << 20) // 4))
        ours, curl, put, ours4, curl4 = [], [], [], [], []
        for _ in range(run.rounds):
            curl.append(mib / timed([cluster.curl(file, "/b/curl")]))
            ours.append(mib / timed([cluster.feed("/b/ours", mib)]))
            put.append(mib / cluster.fs("-put", "-f", file, "/b/put"))
            cluster.remove("/b")
            curl4.append(mib / timed([cluster.curl(quarter, f"/b/c{i}") for i in range(4)]))
            ours4.append(mib / timed([cluster.feed(f"/b/o{i}", mib // 4) for i in range(4)]))
            cluster.remove("/b")
        run.row(f"hdfs, one file of {mib} MiB, exactly once", "MiB/s", ours, "curl CREATE of the ready file", curl, (">=", 0.85), "ratio")
        run.row(f"hdfs, one file of {mib} MiB, beside Hadoop's client", "MiB/s", ours, "hdfs dfs -put with its JVM's start", put, (">=", 1.0), "ratio")
        run.row(f"hdfs, four files of {mib // 4} MiB at once", "MiB/s", ours4, "four curls", curl4, (">=", 0.85), "ratio")
    finally:
        cluster.end()
