#!/usr/bin/env python3
"""Proves: the generator's TCP loads against a whole agent: every event it reports as acknowledged is in the files (verify judges exactly those), and
all are. kernel: over loopback, syslog-tcp, netcat-tcp and http. memif: the same three through its own TCP on a DPDK device, the agent's on the other side.
Usage: test_trafficgen_tcp.py PENSTOCK CTL TRAFFICGEN kernel|memif.   Exit 77 where the machine cannot do it."""
import json, os, shutil, subprocess, sys, tempfile, time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from agent import free_port

penstock, ctl, trafficgen, wire = sys.argv[1:5]
work = tempfile.mkdtemp(prefix="penstock-tgtcp-")
memif = wire == "memif"
agent = None


ports = [5140, 5141, 5142] if memif else [free_port() for _ in range(3)]
host = "192.0.2.10" if memif else "127.0.0.1"
kinds = [("syslog-tcp", "syslogtcp", "host", "keepFields = all"), ("netcat-tcp", "netcat", "bind", None), ("http", "http", "bind", None)]
lines = [f"a1.sources = {' '.join(k[1] for k in kinds)}", "a1.channels = " + " ".join("c" + k[1] for k in kinds),
         "a1.sinks = " + " ".join("k" + k[1] for k in kinds), f"penstock.control.socket = {work}/control"]
for (_, source, bind, more), port in zip(kinds, ports):
    out = f"{work}/{source}"
    os.makedirs(out)
    s, c, k = f"a1.sources.{source}", f"a1.channels.c{source}", f"a1.sinks.k{source}"
    lines += [f"{s}.type = {source}", f"{s}.{bind} = {host}", f"{s}.port = {port}", f"{s}.channels = c{source}",
              f"{c}.type = file", f"{c}.dataDirs = {work}/{source}-log", f"{c}.checkpointDir = {work}/{source}-checkpoint", f"{c}.capacity = 1000000",
              f"{k}.type = file_roll", f"{k}.sink.directory = {out}", f"{k}.sink.rollInterval = 0", f"{k}.channel = c{source}"]
    if more:
        lines.append(f"{s}.{more}")
if memif:
    lines += [f"penstock.lcores = {max(os.sched_getaffinity(0))}", "penstock.hugepages = none", "penstock.ports = p0", "penstock.idle = sleep",
              f"penstock.ports.p0.device = net_memif0,role=server,socket={work}/memif.sock,socket-abstract=no", "penstock.ports.p0.addresses = 192.0.2.10/24"]
with open(f"{work}/c.properties", "w") as f:
    f.write("\n".join(lines) + "\n")


def drained():
    done = subprocess.run([ctl, "-s", f"{work}/control", "--json", "status"], capture_output=True, text=True)
    return done.returncode == 0 and not any(c["unsettled"] for c in json.loads(done.stdout)["channels"])


def until(what, test, seconds):
    end = time.monotonic() + seconds
    while not test():
        assert agent.poll() is None and time.monotonic() < end, what + "\n" + open(f"{work}/agent.log").read()[-2000:]
        time.sleep(0.05)


try:
    agent = subprocess.Popen([penstock, "agent", "-n", "a1", "-f", f"{work}/c.properties"], stdout=open(f"{work}/agent.log", "w"), stderr=subprocess.STDOUT)
    until("the agent is up", drained, 120)
    for (kind, source, _, _), port in zip(kinds, ports):
        count = 40000 if kind == "syslog-tcp" else 8000
        command = [trafficgen, "send", "--to", f"{host}:{port}", "--as", kind, "--count", str(count), "--sources", "37", "--pipeline", "16", "--quiet",
                   "--report", f"{work}/{kind}.json"]
        command += (["--device", f"net_memif0,role=client,socket={work}/memif.sock,socket-abstract=no", "--no-huge", "--from", "192.0.2.100/24",
                     "--cpu", str(min(os.sched_getaffinity(0)))] if memif else ["--kernel"])
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, (kind, done.stderr[-2000:])
        report = json.load(open(f"{work}/{kind}.json"))
        until("the log is drained", drained, 120)
        verdict = subprocess.run([trafficgen, "verify", "--sent", f"{work}/{kind}.json", f"file_roll:{work}/{source}"], capture_output=True, text=True)
        assert verdict.returncode == 0, (kind, verdict.stdout, verdict.stderr)
        judged = json.loads(verdict.stdout)
        print(f"{kind}: {report['events_per_second']:.0f}/s, {report['acked_events']} of {report['events']} acknowledged, {judged}")
        assert report["events"] == count and report["connections_lost"] == 0, report
        if kind != "syslog-tcp" or memif:	# a kernel socket acknowledges before anything is stored
            assert judged["unique"] >= report["acked_events"]
        assert report["acked_events"] == count and judged["unique"] == count and judged["duplicated"] == 0, (report["acked_events"], judged)
    agent.terminate()
    assert agent.wait(120) == 0
finally:
    if agent and agent.poll() is None:
        agent.kill()
        agent.wait()
    shutil.rmtree(work, ignore_errors=True)
