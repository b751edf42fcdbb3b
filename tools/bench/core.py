"""The data core alone, fed from memory: ns an event, events a second, instructions by stage."""
import json
import os
import re
import shutil
import subprocess

import common

COUNT_TURNS = 2000


def worker(*words):
    argv = ["taskset", "-c", str(common.CPUS[-1]), common.program("test_worker"), *words]
    return json.loads(subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip().splitlines()[-1])


def instructions(run):
    """Instructions of each stage, from the inclusive counts of its functions."""
    if not shutil.which("valgrind"):
        run.missing("instructions an event", "no valgrind (apt-get install valgrind)")
        return
    out = os.path.join(common.fresh("callgrind"), "out")
    argv = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--collect-atstart=no", "--toggle-collect=bench_turns",
            common.program("test_worker"), "count", str(COUNT_TURNS)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    events = json.loads(done.stdout.strip().splitlines()[-1])["events"]
    text = subprocess.run(["callgrind_annotate", "--inclusive=yes", "--threshold=100", out], capture_output=True, text=True, check=True).stdout
    counts = {}
    for line in text.splitlines():
        found = re.match(r"\s*([\d,]+) \([^)]*\)\s+\S*:(\w+)(?:'\d+)?(?:\.[\w.]+)?(?: \[|$)", line)
        if found:
            count = int(found.group(1).replace(",", ""))
            counts[found.group(2)] = max(counts.get(found.group(2), 0), count)
    at = {name: counts.get(name, 0) / events for name in
          ("worker_step", "mem_rx", "mem_release", "net_input", "csum_add", "worker_on_udp", "on_datagram", "syslog_parse", "ingress_append", "ingress_put",
           "block_put_staged", "ingress_seal_due", "block_seal", "channel_submit", "bench_turns")}
    stages = [
        ("receive", at["mem_rx"] + at["mem_release"]),
        ("Ethernet, IP, UDP without the checksum", at["net_input"] - at["worker_on_udp"] - at["csum_add"]),
        ("checksums", at["csum_add"]),
        ("listener", at["worker_on_udp"] - at["on_datagram"]),
        ("parse", at["syslog_parse"]),
        ("headers, the copy into the block", at["on_datagram"] - at["syslog_parse"]),
        ("selector, records", at["ingress_put"]),
        ("seal", at["block_seal"] + at["channel_submit"]),
    ]
    for name, value in stages:
        run.row(f"instructions an event: {name}", "instructions", value)
    run.row("instructions an event: all of the data core", "instructions", at["worker_step"])


def measure(run):
    found = [worker("bench", str(run.seconds(1.5, 0.5))) for _ in range(run.rounds)]
    run.row("(b) above the port's receive call, five headers, no regex", "ns an event", [one["ns_above_receive"] for one in found], goal=("<=", 120))
    run.row("(c) data core alone, fed from memory", "M events/s", [one["events_per_second"] / 1e6 for one in found], goal=(">=", 6))
    instructions(run)
