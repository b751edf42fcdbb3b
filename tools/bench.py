#!/usr/bin/env python3
"""What this machine gives a program that does nothing else: the floors that penstock's figures are to be read beside."""
import json
import mmap
import os
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROUNDS = 5


def sync_us():
    """A write of 256 KiB past the page cache into a file of its own, and its fdatasync."""
    path = os.path.join(ROOT, "build", "bench.probe")
    block = mmap.mmap(-1, 256 << 10)
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_DIRECT, 0o600)
    try:
        for i in range(64):
            os.pwrite(fd, block, i << 18)
        os.fsync(fd)
        began = time.perf_counter()
        for i in range(64):
            os.pwrite(fd, block, i << 18)
            os.fdatasync(fd)
        return (time.perf_counter() - began) / 64 * 1e6
    finally:
        os.close(fd)
        os.unlink(path)


def copy_gib():
    """memcpy of 64 MiB."""
    source, target = bytearray(64 << 20), bytearray(64 << 20)
    began = time.perf_counter()
    for _ in range(8):
        target[:] = source
    return 8 * 64 / 1024 / (time.perf_counter() - began)


def core():
    """The data core alone: frames from memory through net, syslogudp and blocks."""
    program = os.path.join(ROOT, "build", "tests", "dataplane", "test_worker")
    if not os.access(program, os.X_OK):
        sys.exit("bench: core: build first: ./check, or meson setup build && ninja -C build")
    cpu = str(max(os.sched_getaffinity(0)))
    out = subprocess.run(["taskset", "-c", cpu, program, "bench", "1.5"], capture_output=True, text=True, check=True)
    return json.loads(out.stdout)["events_per_second"] / 1e6


PROBES = {"sync": ("synced write of 256 KiB", "us", sync_us), "copy": ("memory copy", "GiB/s", copy_gib), "core": ("data core alone", "M/s", core)}


def main():
    names = sys.argv[1:] or list(PROBES)
    for name in names:
        if name not in PROBES:
            print(f"bench: {name}: not known: {', '.join(PROBES)}", file=sys.stderr)
            return 2
    rows = []
    print(f"{'floor':<28}{'median of ' + str(ROUNDS):>16}{'least':>12}{'most':>12}")
    for name in names:
        title, unit, probe = PROBES[name]
        values = [probe() for _ in range(ROUNDS)]
        value = statistics.median(values)
        print(f"{title:<28}{value:>10.1f} {unit:<5}{min(values):>12.1f}{max(values):>12.1f}")
        rows.append({"name": name, "unit": unit, "value": value, "reference": None, "reference_value": None, "ratio": None})
    with open(os.path.join(ROOT, "build", "bench.json"), "w", encoding="ascii") as file:
        json.dump(rows, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
