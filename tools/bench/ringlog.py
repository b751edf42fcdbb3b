"""The file channel alone against the device under it (fio, same file size, group size and depth), and its rivals' queues on the same load."""
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import time

import common
import peers
from common import Trouble

DEPTH = 4		# groups the log has in flight
FILE_BYTES = 2 << 30
HUGE = ", from huge pages"	# as the log's blocks; its rate is up to twice that from ordinary ones
KEYS = os.path.join(common.ROOT, "tests/golden/keys")


def ours(mode, directory, *words):
    argv = [common.program("bench_ringlog"), mode, directory, *(str(word) for word in words)]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        raise Trouble(f"{mode}: {done.stderr.strip()[-300:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def interrupts():
    """(interrupt, CPU) -> how often."""
    counts = {}
    with open("/proc/interrupts", encoding="ascii", errors="replace") as file:
        cpus = [int(word[3:]) for word in file.readline().split()]
        for line in file:
            name, *rest = line.split()
            if name[:-1].isdigit():
                counts.update({(name, cpu): int(count) for cpu, count in zip(cpus, rest)})
    return counts


def fresh_log():
    """An empty directory; what was removed has been given back to the device, which takes its time and would slow down the run."""
    directory = common.fresh("log")
    os.sync()
    time.sleep(1)
    return directory


class Device:
    """fio on a zero-filled file beside the log. cpu: one that does not take the device's interrupt; other: for all the rest."""

    def __init__(self):
        if not shutil.which("fio"):
            raise Trouble("no fio (apt-get install fio)")
        self.path = os.path.join(common.fresh("fio"), "file")
        before = interrupts()
        self.fio(["--rw=write", "--bs=1m", "--iodepth=4", "--zero_buffers", "--end_fsync=1", f"--size={FILE_BYTES}"])
        grown = {key: count - before.get(key, 0) for key, count in interrupts().items()}
        busy = max(grown, key=grown.get)[1] if grown else common.CPUS[0]
        self.cpu = next((cpu for cpu in common.CPUS if cpu != busy), busy)
        self.other = next((cpu for cpu in (busy, *common.CPUS) if cpu in common.CPUS and cpu != self.cpu), self.cpu)

    def fio(self, *jobs):
        argv = ["fio", "--output-format=json", "--ioengine=io_uring", "--direct=1", f"--filename={self.path}"]
        for i, job in enumerate(jobs):
            argv += [f"--name=j{i}", *job]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=300, cwd=os.path.dirname(self.path))
        if done.returncode:
            raise Trouble(f"fio: {done.stderr.strip()[-300:]}")
        return json.loads(done.stdout[done.stdout.index("{"):])["jobs"]

    def write_options(self, group, depth, seconds):
        group = max(4096, round(group / 4096) * 4096)
        return ["--rw=write", f"--bs={group}", f"--iodepth={depth}", "--sync=dsync", "--fixedbufs=1", "--overwrite=1",
                *(["--iomem=shmhuge"] if common.huge_pages() else []), f"--size={FILE_BYTES // group * group}",
                "--time_based", f"--runtime={seconds}", "--percentile_list=50:99"]

    def write(self, group, depth, seconds):
        """Bytes a second, and the 99th percentile of a write and its sync in us."""
        job = self.fio(self.write_options(group, depth, seconds))[0]["write"]
        return job["bw_bytes"], job["clat_ns"]["percentile"]["99.000000"] / 1e3

    def sync_p50(self, group, seconds):
        """Seconds that a write and its sync take, the median."""
        return self.fio(self.write_options(group, 1, seconds))[0]["write"]["clat_ns"]["percentile"]["50.000000"] / 1e9

    def mixed(self, group, seconds):
        """One job writes as the log does, one reads whole blocks."""
        jobs = self.fio(self.write_options(group, DEPTH, seconds),
                        ["--rw=read", "--bs=256k", "--iodepth=4", f"--size={FILE_BYTES}", "--time_based", f"--runtime={seconds}"])
        return sum(job[way]["bw_bytes"] for job in jobs for way in ("read", "write"))


def append(run, device, block_bytes, group_bytes, name, goal, *keys):
    """Pairs of the log and fio with the group size the log had just then. The log's events a second."""
    bytes_ours, bytes_fio, events, payload, groups = [], [], [], [], []
    for _ in range(run.rounds):
        found = ours("append", fresh_log(), run.seconds(3, 1.5), block_bytes, group_bytes, 0, device.cpu, device.other, *keys)
        bytes_ours.append(found["log_bytes_per_second"] / 1e6)
        events.append(found["events_per_second"])
        payload.append(found["log_bytes_per_payload"])
        groups.append(found["group_bytes"])
        bytes_fio.append(device.write(found["group_bytes"], DEPTH, run.seconds(3, 2))[0] / 1e6)
    run.row(name, "MB/s", bytes_ours, reference=f"fio, direct, dsync, depth {DEPTH}{HUGE if common.huge_pages() else str()}", reference_values=bytes_fio, goal=goal and (">=", goal), goal_of="ratio",
            note=f"groups of {statistics.median(groups) / 1024:,.0f} KiB, {statistics.median(events) / 1e6:.2f} M events/s")
    return events, payload


def latency(run, device, most):
    rate = int(most / 2)
    ratios, acks, limits, reads, asked = [], [], [], [], []
    for _ in range(run.rounds):
        found = ours("append", fresh_log(), run.seconds(3, 1.5), 0, 0, rate, device.cpu, device.other)
        # The device at the same times: what comes while it pauses waits, which fio, asking for the next when it has the last, does not see.
        alone = ours("device", fresh_log(), run.seconds(3, 1.5), round(found["group_bytes"]), 1e6 / found["fill_us"], device.other)
        asked.append(alone["p99_us"] + found["fill_us"])
        _, sync = device.write(found["group_bytes"], 1, run.seconds(2, 1))
        acks.append(found["ack_p99_us"])
        limits.append(sync + found["fill_us"])
        ratios.append(acks[-1] / limits[-1])
        reads.append(found["read_bytes"])
    run.row("acknowledgement at half load, 99 of 100", "us", acks, reference="device's dsync, 99 of 100, and the time to fill a group",
            reference_values=limits, goal=("<=", 2), goal_of="ratio", note=f"{rate:,} events/s")
    run.row("the same", "us", acks, reference="the device alone, asked for such groups at those times, and the time to fill one", reference_values=asked)
    run.row("bytes of the log read back for a sink that keeps up, half load", "bytes", reads, goal=("<=", 0))
    found = ours("trickle", fresh_log(), run.seconds(7, 3), device.cpu, device.other)
    run.row("acknowledgement at 1 event/s", "us", found["ack_us"], reference="synced write of 4 KiB, at the same times",
            reference_values=found["device_us"], goal=("<=", 2), goal_of="ratio")


def backlog(run, device):
    """Recovery of a full log, as a kill leaves it, and a sink that is behind."""
    free = shutil.disk_usage(common.WORK).free
    size = 1 << 30 if run.quick else 10_000_000_000 if free > 30 << 30 else 5_000_000_000
    if free < size * 2:
        raise Trouble(f"{free >> 30} GiB free, {size * 2 >> 30} wanted")
    directory = common.fresh("log")
    filled = ours("fill", directory, size)
    opened = [ours("open", directory) for _ in range(run.rounds)]
    run.row(f"recovery of a full log of {filled['log_bytes'] / 1e9:.1f} GB, killed, to its first event", "s", [one["first_event_seconds"] for one in opened],
            goal=("<=", 2), note=f"{opened[0]['unsettled']:,} events")
    totals, references, note = [], [], ""
    for _ in range(min(run.rounds, 3)):
        found = ours("behind", directory, run.seconds(3, 1), device.cpu, device.other)
        if not found["backlog"] or found["left"] == 0:
            break
        totals.append((found["append_bytes_per_second"] + found["read_bytes_per_second"]) / 1e6)
        references.append(device.mixed(1 << 20, run.seconds(3, 2)) / 1e6)
        note = f"append {found['append_bytes_per_second'] / 1e6:,.0f}, read {found['read_bytes_per_second'] / 1e6:,.0f} MB/s"
    common.fresh("log")
    if totals:
        run.row("a sink that is behind: append and read together", "MB/s", totals, reference="fio's mixed run", reference_values=references,
                goal=(">=", 0.8), goal_of="ratio", note=note)


class SyslogNg:
    """Lines over TCP into a reliable disk buffer whose destination is not there."""

    def __init__(self):
        root = peers.unpacked("syslog-ng", peers.SYSLOG_NG_PACKAGES)
        self.dir = common.fresh("syslog-ng")
        self.port, nobody = common.free_port(socket.SOCK_STREAM), common.free_port(socket.SOCK_STREAM)
        with open(os.path.join(self.dir, "s.conf"), "w", encoding="ascii") as file:
            file.write(f'''@version: 3.38
options {{ stats-freq(0); log-fifo-size(100000); }};
source s {{ network(ip("127.0.0.1") port({self.port}) transport("tcp") log-iw-size(20000) flags(no-parse)); }};
destination d {{ network("127.0.0.1" port({nobody}) transport("tcp") disk-buffer(reliable(yes) disk-buf-size(8589934592) mem-buf-size(33554432)
    dir("{self.dir}"))); }};
log {{ source(s); destination(d); flags(flow-control); }};
''')
        libs = [os.path.join(root, path) for path in ("usr/lib/syslog-ng", "usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu")]
        self.env = {**os.environ, "LD_LIBRARY_PATH": ":".join(libs)}
        self.ctl = [os.path.join(root, "usr/sbin/syslog-ng-ctl"), "stats", "-c", os.path.join(self.dir, "ctl")]
        self.log = os.path.join(self.dir, "log")
        self.child = common.start([os.path.join(root, "usr/sbin/syslog-ng"), "-F", "--no-caps", f"--module-path={root}/usr/lib/syslog-ng/3.38", "-f",
                                   os.path.join(self.dir, "s.conf"), "-R", os.path.join(self.dir, "persist"), "-p", os.path.join(self.dir, "pid"), "-c",
                                   os.path.join(self.dir, "ctl")], self.log, env=self.env)

    def __enter__(self):
        common.wait_for(lambda: peers.tcp_listens(self.port) or self.child.poll() is not None, 20, "syslog-ng does not start")
        if self.child.poll() is not None:
            raise Trouble(f"syslog-ng does not start: {common.tail(self.log)}")
        return self

    def __exit__(self, *_):
        common.end(self.child, 5)
        shutil.rmtree(self.dir, ignore_errors=True)

    def queued(self):
        out = subprocess.run(self.ctl, env=self.env, capture_output=True, text=True, check=False).stdout
        found = re.findall(r"^dst\.network;d#0;[^;]*;[^;]*;queued;(\d+)", out, re.M)
        return int(found[0]) if found else 0


def rivals(run, events):
    """Each rival's own queue on disk; beside penstock's append with sync."""
    seconds = run.seconds(3, 2)

    def syslog_ng():
        with SyslogNg() as peer:
            return peers.put_rate(peer.port, True, peer.queued, seconds, 0.5)

    def flume():
        name = "netcat, file channel"
        with peers.Flume({name: peers.FLUME_SOURCES[name]}) as peer:
            peers.put_rate(peer.ports[name], True, lambda: peer.put(name), 0.1, 2)
            return [peers.put_rate(peer.ports[name], True, lambda: peer.put(name), seconds, 0.5) for _ in range(run.rounds)]

    queues = [("rsyslog, disk queue, synced", lambda: [max(peers.queue_rsyslog(True, rate, 3) for rate in peers.OFFERS_SYNCED) for _ in range(run.rounds)]),
              ("rsyslog, disk queue, not synced", lambda: [peers.queue_rsyslog(False, 200_000, 3) for _ in range(run.rounds)]),
              ("syslog-ng, reliable disk buffer", lambda: [syslog_ng() for _ in range(run.rounds)]),
              ("Flume 1.11, file channel behind netcat", flume)]
    for name, measure_it in queues:
        try:
            values = measure_it()
            run.row("append with sync", "events/s", events[:len(values)], reference=name, reference_values=values)
        except (Trouble, OSError) as trouble:
            run.missing(f"append with sync beside {name}", trouble)
        finally:
            common.end_all()


def measure(run):
    device = Device()
    events, payload = append(run, device, 0, 0, "append with sync, full blocks", 0.9)
    run.row("log bytes for each byte of payload, at load", "bytes", payload, goal=("<=", 1.05))
    append(run, device, 16 << 10, 16 << 10, "append with sync, groups of 16 KiB", 0.5)
    _, sealed = append(run, device, 0, 0, "append with sync, encrypted (AES-128-GCM)", None, KEYS)
    run.row("log bytes for each byte of payload, at load, encrypted", "bytes", sealed, goal=("<=", 1.10))
    latency(run, device, statistics.median(events))
    try:
        backlog(run, device)
    except Trouble as trouble:
        run.missing("recovery of a full log, a sink that is behind", trouble)
    shutil.rmtree(os.path.dirname(device.path))
    rivals(run, events)
