#!/usr/bin/env python3
"""Proves the five wires: memif and virtio-user between two processes, nothing lost; TAP, af_packet and af_xdp in network
namespaces of the test's own against the kernel: ARP, ping, UDP over IPv4 and IPv6 (fragments too), and an unreachable port.
Usage: test_wires.py WIRE memif|virtio|tap|af_packet|af_xdp.   Exit 77 where the machine cannot do it."""
import ctypes, fcntl, json, os, select, shutil, socket, struct, subprocess, sys, tempfile, time

wire, kind = sys.argv[1:3]
tag = f"pw{os.getpid() % 100000}"
cpus = sorted(os.sched_getaffinity(0))
children = []


class Skip(Exception):
    pass


class End:
    """One wire process."""

    def __init__(self, *args, netns=None, env={}):
        command = (["ip", "netns", "exec", netns] if netns else []) + [wire, *map(str, args)]
        self.p = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **env})
        children.append(self.p)

    def line(self, seconds=120):
        if not select.select([self.p.stdout], [], [], seconds)[0]:
            raise AssertionError("no word from wire")
        text = self.p.stdout.readline().strip()
        if not text:
            code = self.p.wait(120)
            if code == 77:
                raise Skip("EAL does not start here (or huge pages are missing)")
            raise AssertionError(f"wire ended with {code}")
        return text

    def ready(self):
        text = self.line()
        assert text.startswith("ready "), text
        return text.split()[1]

    def counts(self):
        self.p.stdin.write("?\n")
        self.p.stdin.flush()
        return [int(x) for x in self.line().split()]

    def until(self, taken, seconds=60):
        end = time.monotonic() + seconds
        while self.counts()[1] < taken:
            assert time.monotonic() < end, f"not {taken} datagrams: {self.stop()}"
            time.sleep(0.02)

    def stop(self):
        self.p.stdin.write("stop\n")
        self.p.stdin.flush()
        report = json.loads(self.line())
        self.p.wait(120)
        assert report["even"], report
        return report


def pair(one, other, env={}):
    count = 300000
    receiver = End(one, "10.99.0.1/24", cpus[0], env=env)
    receiver.ready()
    sender = End(other, "10.99.0.2/24", cpus[-1], "send", count, 6000, "10.99.0.1", 514, env={**env, "WIRE_IP6": "fd00::2/64"})
    sender.ready()
    sent = int(sender.line(200).split()[1])
    assert sent == count, sent
    receiver.until(count)
    ours, theirs = receiver.stop(), sender.stop()
    assert ours["to_source"] == count and ours["payload"] == count * 200, ours
    assert ours["nic_missed"] == 0 and ours["no_mbuf"] == 0, ours
    assert ours["arp"] >= 1 and theirs["arp"] >= 1, (ours, theirs)
    print(f"{kind}: {count} datagrams, none lost: {ours}")


def run(*args):
    subprocess.run(args, check=True)


def inside(netns):
    """From here on this process lives in the namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/run/netns/{netns}") as f:
        if libc.setns(f.fileno(), 0x40000000):
            raise OSError(ctypes.get_errno(), "setns")


def checksums_in_software(name):
    """The kernel leaves checksums to the "hardware" of a veth, which has none (ethtool -K NAME tx off)."""
    value = ctypes.create_string_buffer(struct.pack("II", 0x17, 0))     # ETHTOOL_STXCSUM
    request = struct.pack("16sP16x", name.encode(), ctypes.addressof(value))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        fcntl.ioctl(s, 0x8946, request)                                 # SIOCETHTOOL


def sum16(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def ping(family, to, size=56):
    v4 = family == socket.AF_INET
    s = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_ICMP if v4 else socket.IPPROTO_ICMPV6)
    s.settimeout(1)
    end = time.monotonic() + 60
    sequence = 0
    while time.monotonic() < end:
        sequence += 1
        body = struct.pack("!HH", os.getpid() & 0xffff, sequence) + bytes(range(size))
        head = struct.pack("!BB", 8 if v4 else 128, 0)
        s.sendto(head + struct.pack("!H", sum16(head + b"\0\0" + body) if v4 else 0) + body, (to, 0))
        try:
            while True:
                answer = s.recv(4096)
                if v4:
                    answer = answer[(answer[0] & 15) * 4:]
                if answer[0] == (0 if v4 else 129) and answer[4:] == body:
                    return
        except socket.timeout:
            pass
    raise AssertionError(f"{to} does not answer ping")


def talk(end):
    """The kernel's side: this process is in the namespace of the kernel's end of the wire."""
    ping(socket.AF_INET, "10.99.0.1")
    ping(socket.AF_INET6, "fd00::1")
    taken = 0
    for family, to in ((socket.AF_INET, "10.99.0.1"), (socket.AF_INET6, "fd00::1")):
        s = socket.socket(family, socket.SOCK_DGRAM)
        s.connect((to, 514))
        for i in range(200):
            s.send(b"<13>hello %d" % i)
            if i % 20 == 0:
                end.until(taken + i + 1 - 20)
        taken += 200
        for size in (3000, 9000):       # comes in fragments
            s.send(b"x" * size)
            taken += 1
        end.until(taken)
        s = socket.socket(family, socket.SOCK_DGRAM)
        s.connect((to, 9))
        s.settimeout(60)
        s.send(b"nobody there")
        try:
            s.recv(10)
            raise AssertionError("an answer from a port where nobody listens")
        except ConnectionRefusedError:
            pass
    report = end.stop()
    assert report["to_source"] == taken, report
    assert report["arp"] >= 1 and report["icmp"] >= 3, report
    assert report["drop_no_listener"] == 2, report
    if kind != "af_packet":             # there the kernel joins fragments before it hands them over
        assert report["fragment_joined"] >= 14, report
    bad = [k for k in report if k.startswith("drop_") and k not in ("drop_no_listener", "drop_not_for_us", "drop_not_ip")]
    assert not bad, report
    print(f"{kind}: {taken} datagrams of the kernel's, none lost: {report}")


def namespaces():
    if os.geteuid() != 0 or not shutil.which("ip"):
        raise Skip("needs root and iproute2")
    if subprocess.run(["ip", "netns", "add", tag]).returncode:
        raise Skip("no network namespaces here")
    try:
        if kind == "tap":
            end = End(f"net_tap0,iface={tag}", "10.99.0.1/24", cpus[0], netns=tag)
            end.ready()
            kernel, name = tag, tag
        else:
            kernel, name = tag + "k", tag + "v"
            run("ip", "netns", "add", kernel)
            run("ip", "link", "add", name, "netns", kernel, "type", "veth", "peer", "name", tag, "netns", tag)
            run("ip", "-n", tag, "link", "set", tag, "up")
            device = f"net_af_packet0,iface={tag},framesz=16384,blocksz=65536,framecnt=512" if kind == "af_packet" else f"net_af_xdp0,iface={tag},force_copy=1"
            end = End(device, "10.99.0.1/24", cpus[0], netns=tag)
            end.ready()
        run("ip", "-n", kernel, "link", "set", "lo", "up")
        run("ip", "-n", kernel, "link", "set", name, "up")
        run("ip", "-n", kernel, "address", "add", "10.99.0.2/24", "dev", name)
        run("ip", "-n", kernel, "address", "add", "fd00::2/64", "dev", name, "nodad")
        inside(kernel)
        if kind != "tap":
            checksums_in_software(name)
        talk(end)
    finally:
        for p in children:
            if p.poll() is None:
                p.kill()
                p.wait()
        subprocess.run(["ip", "netns", "del", tag])
        if kind != "tap":
            subprocess.run(["ip", "netns", "del", tag + "k"], stderr=subprocess.DEVNULL)


try:
    with tempfile.TemporaryDirectory() as scratch:
        path = f"{scratch}/wire.sock"
        if kind == "memif":
            common = f"socket={path},socket-abstract=no"
            pair(f"net_memif0,role=server,{common}", f"net_memif0,role=client,{common}")
        elif kind == "virtio":
            pair(f"net_vhost0,iface={path}", f"net_virtio_user0,path={path}", {"WIRE_HUGE": "1"})
        else:
            namespaces()
except Skip as reason:
    print(f"skipped: {reason}")
    sys.exit(77)
finally:
    for p in children:
        if p.poll() is None:
            p.kill()
