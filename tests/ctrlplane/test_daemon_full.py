#!/usr/bin/env python3
"""A disk that is full, under the log and under a file_roll sink, and directories that cannot be written. The disks are small tmpfs in a mount namespace of the
test's own. While they are full the daemon lives, what finds no room is counted as channel_full and nothing else is, another route of the same daemon loses nothing; when
there is room again all that was stored comes out, whole and once. Then: each directory that is not there or not writable ends the start with its name.
Usage: test_daemon_full.py PENSTOCK CTL"""
import ctypes, json, os, re, socket, subprocess, sys, tempfile, time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from agent import PATIENCE_S, drops, free_port, wait_for

penstock, ctl = map(os.path.abspath, sys.argv[1:3])
children = []

AGENT = """\
penstock.control.socket = {work}/a1.sock
a1.sources = r1 r2
a1.channels = c1 c2
a1.sinks = k1 k2
a1.sources.r1.type = netcatudp
a1.sources.r1.bind = 127.0.0.1
a1.sources.r1.port = {port1}
a1.sources.r1.channels = c1
a1.sources.r2.type = netcatudp
a1.sources.r2.bind = 127.0.0.1
a1.sources.r2.port = {port2}
a1.sources.r2.channels = c2
a1.channels.c1.type = file
a1.channels.c1.checkpointDir = {checkpoint}
a1.channels.c1.dataDirs = {data}
a1.channels.c1.minimumRequiredSpace = 1048576
a1.channels.c1.penstock.segmentSize = 1m
a1.channels.c2.type = memory
a1.sinks.k1.type = file_roll
a1.sinks.k1.sink.directory = {out1}
a1.sinks.k1.sink.rollInterval = 0
a1.sinks.k1.channel = c1
a1.sinks.k2.type = file_roll
a1.sinks.k2.sink.directory = {out2}
a1.sinks.k2.sink.rollInterval = 0
a1.sinks.k2.channel = c2
"""


def start(work, **places):
    with open(f"{work}/a.properties", "w", encoding="utf-8") as file:
        file.write(AGENT.format(work=work, **places))
    log = open(f"{work}/agent.log", "wb")
    child = subprocess.Popen([penstock, "agent", "-n", "a1", "-f", f"{work}/a.properties"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    log.close()
    children.append(child)
    wait_for(lambda: child.poll() is not None or drops(ctl, f"{work}/a1.sock"), lambda: f"the agent is up or ends: {words(f'{work}/agent.log')}")
    return child


def words(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def lines(directory):
    names = sorted((name for name in os.listdir(directory) if name[0] != "."), key=lambda name: int(name.rsplit("-")[-1]))
    text = "".join(words(f"{directory}/{name}") for name in names)
    return text.splitlines()


def full_disks(work):
    for name, size in (("log", "6m"), ("out1", "1m")):
        os.mkdir(f"{work}/{name}")
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "penstock-test", f"{work}/{name}"], check=True)
    os.mkdir(f"{work}/out2")
    ports = free_port(), free_port()
    daemon = start(work, port1=ports[0], port2=ports[1], checkpoint=f"{work}/log/checkpoint", data=f"{work}/log/data", out1=f"{work}/out1", out2=f"{work}/out2")
    assert daemon.poll() is None, words(f"{work}/agent.log")
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sent = others = refused = 0
    end = time.monotonic() + PATIENCE_S
    while refused < 500:        # until the log has found no room for a while
        for _ in range(200):
            s.sendto(b"%08d " % sent + b"x" * 500 + b" %08d" % sent, ("127.0.0.1", ports[0]))
            sent += 1
        s.sendto(b"other %d" % others, ("127.0.0.1", ports[1]))
        others += 1
        time.sleep(0.01)
        assert daemon.poll() is None, words(f"{work}/agent.log")[-2000:]
        _, now = drops(ctl, f"{work}/a1.sock")
        refused = now["channel", "c1"]["channel_full"]
        assert time.monotonic() < end, now
    wait_for(lambda: len(lines(f"{work}/out2")) >= others, lambda: f"{len(lines(f'{work}/out2'))} of {others} events of the other route")
    assert lines(f"{work}/out2") == [f"other {n}" for n in range(others)]
    for name in ("log", "out1"):
        subprocess.run(["mount", "-o", "remount,size=64m", f"{work}/{name}"], check=True)
    before = sent
    end = time.monotonic() + PATIENCE_S
    while not any(int(line[:8]) >= before for line in lines(f"{work}/out1")[-50:] if len(line) > 8):       # intake goes on
        for _ in range(20):
            s.sendto(b"%08d " % sent + b"x" * 500 + b" %08d" % sent, ("127.0.0.1", ports[0]))
            sent += 1
        assert time.monotonic() < end, f"no intake after there is room: {drops(ctl, work + '/a1.sock')}"
        time.sleep(0.05)
    end = time.monotonic() + PATIENCE_S
    while True:                 # until all that was sent has been read from the socket, and all that was stored has come out
        even, now = drops(ctl, f"{work}/a1.sock")
        if even and now["datagrams", "r1"]["datagrams_in"] == sent and now["channel", "c1"]["offered"] == now["events", "r1"]["routed"] and \
                len(lines(f"{work}/out1")) >= now["channel", "c1"]["stored"]:
            break
        assert time.monotonic() < end, (even, now, len(lines(f"{work}/out1")))
        time.sleep(0.2)
    channel, listen = now["channel", "c1"], now["datagrams", "r1"]
    assert channel["failed"] == 0 and channel["too_large"] == 0, channel
    assert channel["stored"] + channel["channel_full"] + listen["drop_rcvbuf"] == sent, (channel, listen, sent)
    got = lines(f"{work}/out1")
    numbers = [int(re.fullmatch(r"(\d{8}) x{500} \1", line).group(1)) for line in got]
    assert len(numbers) == channel["stored"] and numbers == sorted(set(numbers)), "torn, doubled or out of order"
    daemon.terminate()
    assert daemon.wait(PATIENCE_S) == 0, words(f"{work}/agent.log")[-2000:]
    print(f"full: {sent} sent, {channel['stored']} stored and delivered, {channel['channel_full']} refused while full, {others} of another route delivered")


def bad_directories(work):
    with open(f"{work}/file", "w", encoding="utf-8"):
        pass
    os.mkdir(f"{work}/ro")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=1m", "penstock-test", f"{work}/ro"], check=True)
    good = {"port1": free_port(), "port2": free_port(), "checkpoint": f"{work}/b/checkpoint", "data": f"{work}/b/data", "out1": f"{work}/out2", "out2": f"{work}/out2"}
    for key, place in (("out1", f"{work}/missing"), ("out1", f"{work}/ro"), ("out2", f"{work}/file"), ("data", f"{work}/ro/data"), ("checkpoint", f"{work}/file/checkpoint"),
                       ("checkpoint", f"{work}/ro")):
        child = start(work, **{**good, key: place})
        assert child.poll() in (1, 2), f"{key} = {place}: the agent runs"
        said = words(f"{work}/agent.log")
        assert place in said and len([line for line in said.splitlines() if place in line]) == 1, f"{key} = {place}: {said}"
    print("bad directories: each is named")


libc = ctypes.CDLL(None, use_errno=True)
if os.geteuid() != 0 or libc.unshare(0x20000) or subprocess.run(["mount", "--make-rprivate", "/"]).returncode:
    print("SKIP: needs root and mount namespaces")
    sys.exit(77)
with tempfile.TemporaryDirectory(prefix="penstock-full-") as place:
    try:
        full_disks(place)
        bad_directories(place)
    finally:
        for one in children:
            if one.poll() is None:
                one.kill()
                one.wait()
        for name in ("log", "out1", "ro"):
            subprocess.run(["umount", f"{place}/{name}"], stderr=subprocess.DEVNULL)
