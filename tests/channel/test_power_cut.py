#!/usr/bin/env python3
"""Power cuts of a real kernel: a file channel runs in an emulated machine on an ext4 disk whose writes are logged in order (QEMU's
blklogwrites), with what had been acknowledged among them. Then disks are built as a power cut could have left them: every prefix of
the log, and from the last flush on any of the later writes and not others. Each is repaired as at a boot (e2fsck), its files
are opened by a channel, and nothing that was acknowledged may be missing, nothing invented, the order kept. The variant that acknowledges
without sync must be caught. Some of the states; all with CHECK_LONG (./check --long). What was acknowledged stands on a second disk, whose
writes are in the same log.

With PENSTOCK the machine runs the whole daemon: lines to a netcat source and requests to an http source, on a file channel that a file_roll
sink drains to the same disk; what was answered must be in the sink's files or in the log, the events of a request all or none.
usage: test_power_cut.py GUEST FILE_CHANNEL [PENSTOCK] [seed]"""
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time

GUEST, CHANNEL = sys.argv[1:3]
MORE = sys.argv[3:]
SEED = int(MORE.pop()) if MORE and MORE[-1].isdigit() else random.SystemRandom().randrange(1 << 30)
DAEMON = MORE[0] if MORE else None
LONG = bool(os.environ.get("CHECK_LONG"))
FS_BYTES, TOLD_AT, TOLD_BYTES = 40 << 20, 40 << 20, 4 << 20
os.environ["PATH"] += ":/usr/sbin:/sbin"
HERE = os.path.dirname(os.path.abspath(__file__))


def guest_home():
    done = subprocess.run(["bash", "-c", f'. "{HERE}/../lib/guest.sh"; guest_fetch && echo "$GUEST_HOME"'], capture_output=True, text=True)
    if done.returncode:
        print("SKIP: " + done.stderr.strip().splitlines()[-1])
        sys.exit(done.returncode)
    return done.stdout.strip()


def cpio(files):
    """An initramfs of {path: (mode, bytes)}."""
    out = bytearray()
    for inode, (name, (mode, data)) in enumerate([*files.items(), ("TRAILER!!!", (0, b""))], 1):
        path = name.encode() + b"\0"
        fields = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path), 0)
        out += b"070701" + b"".join(b"%08X" % n for n in fields) + path
        out += bytes(-len(out) % 4) + data
        out += bytes(-len(out) % 4)
    return bytes(out)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def module_order(where):
    """Modules, each behind those it needs."""
    needs = {}
    for name in os.listdir(where):
        match = re.search(rb"\0depends=([^\0]*)\0", read(f"{where}/{name}"))
        needs[name[:-3]] = [n for n in match[1].decode().split(",") if n] if match else []
    out = []

    def add(name):
        for other in needs[name]:
            add(other)
        if name not in out:
            out.append(name)

    for name in ("virtio_pci", "virtio_blk"):
        add(name)
    return out


def initramfs(home):
    files = {"dev": (0o40755, b""), "dev/console": (0o20600, b""), "lib": (0o40755, b""), "lib64": (0o40755, b"")}
    del files["dev/console"]			# devtmpfs brings it
    programs = [GUEST] + ([DAEMON] if DAEMON else [])
    libraries = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=True).stdout
    for path in re.findall(r"(/\S+) \(0x", libraries):
        for part in range(2, path.count("/") + 1):
            files["/".join(path.split("/")[1:part])] = (0o40755, b"")
        files[path[1:]] = (0o100755, read(path))
    if DAEMON:
        files["penstock"] = (0o100755, read(DAEMON))
    order = module_order(home + "/modules")
    for name in order:
        files[name + ".ko"] = (0o100644, read(f"{home}/modules/{name}.ko"))
    files["modules"] = (0o100644, "".join(f"/{name}.ko\n" for name in order).encode())
    files["init"] = (0o100755, read(GUEST))
    return cpio(files)


def boot(home, where, sync, events):
    """Runs the guest; returns (disk at the beginning, log of writes)."""
    disk, log = where + "/disk", where + "/log"
    with open(disk, "wb") as file:
        file.truncate(FS_BYTES + TOLD_BYTES)
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-O", "^metadata_csum_seed", "-b", "4096", disk, str(FS_BYTES // 4096)], check=True)
    shutil.copy(disk, disk + ".first")
    with open(log, "wb") as file:
        file.truncate(4 << 30)
    with open(where + "/initrd", "wb") as file:
        file.write(initramfs(home))
    done = subprocess.run(["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1536" if DAEMON else "768", "-display", "none", "-no-reboot",
                           "-serial", "stdio", "-monitor", "none", "-nic", "none", "-kernel", home + "/vmlinuz", "-initrd", where + "/initrd",
                           "-append", f"console=ttyS0 quiet panic=-1 seed={SEED} sync={sync} events={events}" + (" daemon=1" if DAEMON else ""),
                           "-blockdev", f"driver=file,node-name=df,filename={disk}", "-blockdev", f"driver=file,node-name=lf,filename={log}",
                           "-blockdev", "driver=blklogwrites,node-name=lw,file=df,log=lf,log-sector-size=512",
                           "-blockdev", f"driver=raw,node-name=d1,file=lw,offset=0,size={FS_BYTES}",
                           "-blockdev", f"driver=raw,node-name=d2,file=lw,offset={TOLD_AT},size={TOLD_BYTES}",
                           "-device", "virtio-blk-pci,drive=d1,share-rw=on", "-device", "virtio-blk-pci,drive=d2,share-rw=on"],
                          capture_output=True, timeout=1000, stdin=subprocess.DEVNULL)
    text = done.stdout.decode(errors="replace")
    match = re.search(r"GUEST DONE (\d+)", text)
    if not match:
        print(text[-3000:], done.stderr.decode()[-2000:])
        sys.exit("the guest did not get to its end")
    return disk + ".first", log


def entries(log):
    """(offset, data, is a flush) of each write, in order."""
    with open(log, "rb") as file:
        magic, _, count, sector = struct.unpack("<QQQI", file.read(28))
        assert magic == 0x6A736677736872, "no log of writes"
        at = sector
        for _ in range(count):
            file.seek(at)
            where, sectors, flags, _ = struct.unpack("<QQQQ", file.read(32))
            at += sector
            data = b""
            if sectors and not flags & 4:
                file.seek(at)
                data = file.read(sectors * sector)
                at += len(data)
            yield where * sector, data, bool(flags & 1)


class Trouble(Exception):
    pass


def look(image, where, acked, taken):
    """What a channel makes of the disk after the cut."""
    files = where + "/files"
    shutil.rmtree(files, ignore_errors=True)
    os.mkdir(files)
    check = subprocess.run(["e2fsck", "-fy", image], capture_output=True)
    if check.returncode > 2:
        raise Trouble("the file system cannot be repaired: " + check.stdout.decode()[-300:])
    for name in ("data", "checkpoint") + (("out",) if DAEMON else ()):
        subprocess.run(["debugfs", "-R", f"rdump /{name} {files}", image], capture_output=True, check=True)
        os.makedirs(f"{files}/{name}", exist_ok=True)
    done = subprocess.run([CHANNEL, "drain", f"dataDirs={files}/data", f"checkpointDir={files}/checkpoint", "minimumRequiredSpace=1",
                           "penstock.segmentSize=2m", "penstock.io=pwrite"], capture_output=True, timeout=200)
    if done.returncode:
        raise Trouble("the channel does not open: " + done.stderr.decode()[-400:])
    if DAEMON:
        look_daemon(files + "/out", done.stdout, acked, taken)
        return
    numbers = []
    for line in done.stdout.decode().splitlines():
        match = re.fullmatch(r"event (\d+) ([a-z])\2*|event (\d+) ", line)
        if not match:
            raise Trouble(f"invented: {line[:80]}")
        numbers.append(int(match[1] or match[3]))
    if not numbers:
        if taken < acked:
            raise Trouble(f"nothing came out; {acked} were acknowledged and {taken} taken")
        return
    if numbers != list(range(numbers[0], numbers[-1] + 1)):
        raise Trouble("not in order")
    if numbers[0] > taken:
        raise Trouble(f"begins at {numbers[0]}, and only {taken} were taken")
    if numbers[-1] + 1 < acked:
        raise Trouble(f"ends at {numbers[-1]}, and {acked} were acknowledged")


def post_events(first):
    """Events of the request that begins with this number, as the guest makes them."""
    return 1 + (first * 2654435761 % (1 << 64) >> 7) % (1 << 32) % 6


def look_daemon(out, drained, lines, posted):
    """What was answered is in the sink's files or in the log."""
    there = {b"n": set(), b"h": set()}

    def event(line):
        match = re.fullmatch(rb"([nh]) (\d+) ([a-z]?)\3*", line)
        if not match or len(match[0]) - len(match[1] + match[2]) - 2 != int(match[2]) * 2654435761 % (1 << 64) % 4000:
            return None
        return match[1], int(match[2])

    newest = {b"n": -1, b"h": -1}
    begin = {}
    for line in drained.splitlines():
        found = event(line)
        if not found:
            raise Trouble(f"invented: {line[:80]}")
        kind, number = found
        if number > newest[kind]:			# what a client sends again comes again
            if kind in begin and number != newest[kind] + 1:
                raise Trouble(f"not in order: {kind} {number} behind {newest[kind]}")
            begin.setdefault(kind, number)
            newest[kind] = number
        there[kind].add(number)
    for name in sorted(n for n in os.listdir(out) if not n.startswith(".")):	# those are the sink's own
        rows = read(f"{out}/{name}").split(b"\n")
        for line in rows[:-1]:			# behind the last line feed: torn, not settled
            found = event(line)
            if found:
                there[found[0]].add(found[1])
            elif b"\0" not in line:			# of what was not synced any page may be missing
                raise Trouble(f"invented in {name}: {line[:80]}")
    for kind, promised in ((b"n", lines), (b"h", posted)):
        missing = [n for n in range(promised) if n not in there[kind]]
        if missing:
            raise Trouble(f"{len(missing)} of {promised} acknowledged are lost, from {kind} {missing[0]} on")
    first = 0
    while there[b"h"] and first <= max(there[b"h"]):
        count = post_events(first)
        if len({n in there[b"h"] for n in range(first, first + count)}) > 1:
            raise Trouble(f"of the request of {count} events from {first} on some are there and some are not")
        first += count


def replay(first, log, where, states, chance, find_one):
    """Looks at up to `states` crash states (0: every prefix, and two reordered ones at each); with find_one until there is trouble. Returns
    (states looked at, events that were acknowledged at most, troubles)."""
    writes = list(entries(log))
    points = list(range(len(writes) * 5 // 6 if find_one else 1, len(writes) + 1))	# late: much is acknowledged, and nothing was synced since the second opening
    plan = sorted(chance.sample(points, min(len(points), states // 2))) if states else points
    extra = 3 if find_one else 1 if states else 2	# what was not synced may be whole by chance
    now = bytearray(read(first))			# all writes so far
    flushed, since = bytes(now), []			# what the last flush holds, and the writes behind it
    acked = taken = done = 0			# of the daemon: lines, and events of requests
    troubles, wanted = [], set(plan)
    image = where + "/cut"
    for index, (offset, data, flush) in enumerate(writes, 1):
        if flush:
            flushed, since = bytes(now), []
        if data:
            now[offset:offset + len(data)] = data
            since.append((offset, data))
            if offset >= TOLD_AT and data[:4] == b"PSAK":
                acked, taken = struct.unpack_from("<QQ", data, 8)
        if index not in wanted or (find_one and troubles):
            continue
        for variant in range(1 + extra):
            disk = now
            if variant:
                disk = bytearray(flushed)
                for at, piece in chance.sample(since, chance.randrange(len(since) + 1)):
                    pages = len(piece) // 4096
                    if chance.randrange(4) == 0 and pages > 1:	# torn inside, but not within what ext4 counts on being whole
                        piece = piece[:4096 * chance.randrange(1, pages)]
                    disk[at:at + len(piece)] = piece
            with open(image, "wb") as file:
                file.write(disk[:FS_BYTES])
            done += 1
            try:
                look(image, where, acked, taken)
            except Trouble as trouble:
                troubles.append(f"write {index} of {len(writes)}, {'reordered' if variant else 'prefix'}: {trouble}")
    return done, acked + (taken if DAEMON else 0), troubles


def main():
    home = guest_home()
    print(f"seed {SEED}")
    with tempfile.TemporaryDirectory() as top:
        plan = [("true", 300 if LONG else 90, 0 if LONG else 24), ("false", 90, 200)]
        if DAEMON:			# a state takes half a second
            plan = [("true", 150, 0), ("false", 90, 200)] if LONG else [("true", 60, 12)]
        for sync, events, states in plan:
            where = f"{top}/{sync}"
            os.mkdir(where)
            begin = time.monotonic()
            first, log = boot(home, where, sync, events)
            booted = time.monotonic()
            done, acked, troubles = replay(first, log, where, states, random.Random(SEED), sync == "false")
            print(f"{'daemon, ' if DAEMON else ''}sync={sync}: {done} power cuts, up to {acked} acknowledged, {len(troubles)} violations; guest {booted - begin:.1f} s, "
                  f"replay {time.monotonic() - booted:.1f} s")
            for trouble in troubles[:5]:
                print("  " + trouble)
            if sync == "true" and troubles:
                sys.exit(f"acknowledged events were lost; again: {' '.join(sys.argv[:3] + MORE)} {SEED}")
            if sync == "false" and not troubles:
                sys.exit("a log that acknowledges without sync was not caught")


main()
