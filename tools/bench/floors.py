"""What this machine gives a program that does nothing else: the floors that penstock's figures are to be read beside."""
import mmap
import os
import time

import common


def sync_us():
    """A write of 256 KiB past the page cache into a file of its own, and its fdatasync."""
    path = os.path.join(common.fresh("floor"), "probe")
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


def measure(run):
    run.row("floor: synced write of 256 KiB", "us", [sync_us() for _ in range(run.rounds)])
    run.row("floor: memory copy", "GiB/s", [copy_gib() for _ in range(run.rounds)])
