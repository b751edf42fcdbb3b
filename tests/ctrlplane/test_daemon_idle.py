#!/usr/bin/env python3
"""With penstock.idle = sleep and no packets the whole daemon, data core and all, takes less than 2 % of a core for five seconds. The clock is the kernel's account
of CPU time, so what else runs here changes nothing. But a host that takes this machine's CPU away while the daemon has it lets that account go on: a
window with too much is measured again, a few times; a daemon that does not sleep has too much in all of them. Usage: test_daemon_idle.py PENSTOCK CTL"""
import os, subprocess, sys, tempfile, time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from agent import PATIENCE_S, free_port, wait_for

penstock, ctl = sys.argv[1:3]
SETTLE_S, WINDOW_S, WINDOWS, LIMIT = 2, 5, 8, 0.02

AGENT = """\
penstock.lcores = {lcore}
penstock.memory = 128m
penstock.hugepages = none
penstock.idle = sleep
penstock.ports = p0
penstock.ports.p0.device = net_memif0,role=server,socket={work}/memif.sock,socket-abstract=no
penstock.ports.p0.addresses = 192.0.2.10/24
penstock.control.socket = {work}/a1.sock
a1.sources = r1 r2
a1.channels = c1
a1.sinks = k1
a1.sources.r1.type = syslogudp
a1.sources.r1.host = 192.0.2.10
a1.sources.r1.port = 514
a1.sources.r1.channels = c1
a1.sources.r2.type = syslogudp
a1.sources.r2.host = 127.0.0.1
a1.sources.r2.port = 0
a1.sources.r2.channels = c1
a1.channels.c1.type = file
a1.channels.c1.checkpointDir = {work}/checkpoint
a1.channels.c1.dataDirs = {work}/data
a1.sinks.k1.type = file_roll
a1.sinks.k1.sink.directory = {work}/out
a1.sinks.k1.sink.rollInterval = 0
a1.sinks.k1.channel = c1
"""


def cpu_seconds(pid):
    total = 0
    for tid in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{tid}/schedstat", encoding="ascii") as file:
            total += int(file.read().split()[0])
    return total / 1e9


with tempfile.TemporaryDirectory(prefix="penstock-idle-") as work:
    os.mkdir(f"{work}/out")
    with open(f"{work}/a.properties", "w", encoding="utf-8") as file:
        file.write(AGENT.format(work=work, lcore=sorted(os.sched_getaffinity(0))[-1]).replace("port = 0", f"port = {free_port()}"))
    with open(f"{work}/log", "wb") as log:
        daemon = subprocess.Popen([penstock, "agent", "-n", "a1", "-f", f"{work}/a.properties"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        def is_up():
            if daemon.poll() is not None:
                words = open(f"{work}/log", encoding="utf-8").read()
                if "DPDK does not start" in words:
                    print("SKIP: DPDK does not start here")
                    sys.exit(77)
                raise AssertionError(words[-2000:])
            return subprocess.run([ctl, "-s", f"{work}/a1.sock", "status"], capture_output=True).returncode == 0

        wait_for(is_up, "the agent is up")
        time.sleep(SETTLE_S)
        shares = []
        while len(shares) < WINDOWS and min(shares, default=1) >= LIMIT:
            before, start = cpu_seconds(daemon.pid), time.monotonic()
            time.sleep(WINDOW_S)
            shares.append((cpu_seconds(daemon.pid) - before) / (time.monotonic() - start))
        told = ", ".join(f"{share:.2%}" for share in shares)
        assert shares[-1] < LIMIT, f"{told} of a core while nothing comes"
        daemon.terminate()
        assert daemon.wait(PATIENCE_S) == 0
        print(f"{told} of a core")
    finally:
        if daemon.poll() is None:
            daemon.kill()
            daemon.wait()
