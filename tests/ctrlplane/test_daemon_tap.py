#!/usr/bin/env python3
"""The whole daemon on a TAP in a network namespace of its own, under a mix of good and bad frames of known numbers: ARP, ICMP, IGMP, whole datagrams over IPv4
and IPv6, multicast groups (on the port, and over a kernel socket), fragments whole and never complete, wrong checksums, wrong lengths, wrong port, forbidden
senders, filtered and unrouted events. Every number in `penstockctl drops` is exact, both accounts are even.
Usage: test_daemon_tap.py PENSTOCK CTL"""
import ctypes, os, shutil, socket, struct, subprocess, sys, tempfile, time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from agent import PATIENCE_S, drops, wait_for

penstock, ctl = sys.argv[1:3]
tag = f"pt{os.getpid() % 100000}"
PORT4, PEER4, PORT6, PEER6 = "10.98.0.1", "10.98.0.2", "fd00:98::1", "fd00:98::2"
GROUP, KERNEL_GROUP = "239.1.1.1", "239.2.2.2"
children = []

AGENT = f"""\
penstock.lcores = {sorted(os.sched_getaffinity(0))[-1]}
penstock.memory = 128m
penstock.hugepages = none
penstock.ports = p0
penstock.ports.p0.device = net_tap0,iface={tag}
penstock.ports.p0.addresses = {PORT4}/24 {PORT6}/64
penstock.ports.p0.groups = {GROUP} 239.1.1.9
a1.sources = r1 r2 r3
a1.channels = c1
a1.sinks = k1
a1.sources.r1.type = syslogudp
a1.sources.r1.port = 514
a1.sources.r1.host = {PORT4}
a1.sources.r1.penstock.allow = 10.98.0.0/24
a1.sources.r1.channels = c1
a1.sources.r1.interceptors = i1
a1.sources.r1.interceptors.i1.type = regex_filter
a1.sources.r1.interceptors.i1.regex = unwanted
a1.sources.r1.interceptors.i1.excludeEvents = true
a1.sources.r2.type = netcatudp
a1.sources.r2.bind = {GROUP}
a1.sources.r2.port = 515
a1.sources.r2.channels = c1
a1.sources.r3.type = syslogudp
a1.sources.r3.host = {KERNEL_GROUP}
a1.sources.r3.port = 516
a1.sources.r3.penstock.interface = lo
a1.sources.r3.channels = c1
a1.channels.c1.type = memory
a1.channels.c1.capacity = 100000
a1.sinks.k1.type = null
a1.sinks.k1.channel = c1
"""


class Skip(Exception):
    pass


def sum16(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def a4(text):
    return socket.inet_aton(text)


def a6(text):
    return socket.inet_pton(socket.AF_INET6, text)


class Wire:
    def __init__(self):
        self.s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.s.bind((tag, 0))
        self.peer = self.s.getsockname()[4]
        self.port = None
        self.id = 0

    def frame(self, payload, to=None, kind=0x0800):
        self.s.send((to or self.port) + self.peer + struct.pack("!H", kind) + payload)

    def ip(self, payload, to=PORT4, sender=PEER4, protocol=17, flags=0, offset=0, number=None, mac=None, bad=False, length=None):
        if number is None:
            self.id += 1
            number = self.id
        head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, length or 20 + len(payload), number & 0xffff, flags << 13 | offset // 8, 64, protocol, 0, a4(sender), a4(to))
        check = sum16(head) ^ (0x0101 if bad else 0)
        self.frame(head[:10] + struct.pack("!H", check) + head[12:] + payload, mac)

    @staticmethod
    def udp(payload, to=514, bad=False, sender=PEER4, dest=PORT4, length=None):
        head = struct.pack("!HHHH", 40000, to, length or 8 + len(payload), 0)
        pseudo = a4(sender) + a4(dest) + struct.pack("!BBH", 0, 17, 8 + len(payload))
        check = sum16(pseudo + head + payload) ^ (0x0101 if bad else 0)
        return head[:6] + struct.pack("!H", check) + payload

    def udp6(self, payload, to=514):
        head = struct.pack("!HHHH", 40000, to, 8 + len(payload), 0)
        pseudo = a6(PEER6) + a6(PORT6) + struct.pack("!II", 8 + len(payload), 17)
        head = head[:6] + struct.pack("!H", sum16(pseudo + head + payload)) + payload
        self.frame(struct.pack("!IHBB", 6 << 28, len(head), 17, 64) + a6(PEER6) + a6(PORT6) + head, kind=0x86dd)


def run(*args):
    subprocess.run(args, check=True)


def agent(work):
    with open(f"{work}/a.properties", "w", encoding="utf-8") as file:
        file.write(AGENT + f"penstock.control.socket = {work}/a1.sock\n")
    with open(f"{work}/log", "wb") as log:
        child = subprocess.Popen([penstock, "agent", "-n", "a1", "-f", f"{work}/a.properties"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    children.append(child)

    def is_up():
        if child.poll() is not None:
            words = open(f"{work}/log", encoding="utf-8", errors="replace").read()
            if "DPDK does not start" in words or "cannot be used" in words:
                raise Skip(words[-300:])
            raise AssertionError(words[-2000:])
        return drops(ctl, f"{work}/a1.sock")

    wait_for(is_up, "the agent is up")
    return child


def traffic(wire):
    """Sends everything; what each counter must grow by."""
    arp = struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, wire.peer, a4(PEER4), bytes(6), a4(PORT4))
    for _ in range(10):
        wire.frame(arp, b"\xff" * 6, 0x0806)
    for n in range(20):
        echo = struct.pack("!BBHHH", 8, 0, 0, 7, n) + b"ping"
        wire.ip(echo[:2] + struct.pack("!H", sum16(echo)) + echo[4:], protocol=1)
    for n in range(100):
        wire.ip(wire.udp(b"<13>wanted %d" % n))
    for n in range(25):
        wire.ip(wire.udp(b"<13>unwanted %d" % n))
    for n in range(11):
        wire.udp6(b"<13>over IPv6 %d" % n, 9)       # nobody listens on that address
    group = b"\x01\x00\x5e\x01\x01\x01"
    for n in range(12):
        wire.ip(wire.udp(b"to the group %d" % n, 515, dest=GROUP), to=GROUP, mac=group)
    for n in range(3):
        wire.ip(wire.udp(b"to a group without a source %d" % n, 515, dest="239.1.1.9"), to="239.1.1.9", mac=b"\x01\x00\x5e\x01\x01\x09")
    query = struct.pack("!BBH4s", 0x11, 100, 0, bytes(4))
    for _ in range(2):
        wire.ip(query[:2] + struct.pack("!H", sum16(query)) + query[4:], to="224.0.0.1", protocol=2, mac=b"\x01\x00\x5e\x00\x00\x01")
    for n in range(10):                             # whole datagrams in three fragments
        whole = wire.udp(b"<13>" + b"long %d " % n * 400)[:2952]
        whole = wire.udp(whole[8:])
        wire.id += 1
        for at in (0, 984, 1968):
            wire.ip(whole[at:at + 984], flags=0 if at == 1968 else 1, offset=at, number=wire.id)
    for n in range(5):                              # never complete
        wire.ip(wire.udp(b"x" * 1000), flags=1)
    for n in range(30):
        wire.ip(wire.udp(b"nobody", 9))
    for n in range(15):
        wire.ip(wire.udp(b"<13>bad", bad=True))
    for n in range(7):
        wire.ip(wire.udp(b"<13>bad"), bad=True)
    for n in range(4):
        wire.ip(wire.udp(b"<13>cut off"), length=400)
    for n in range(3):
        wire.ip(wire.udp(b"<13>says more than is there", length=300))
    for n in range(6):
        wire.ip(wire.udp(b"<13>another", dest="10.98.0.77"), to="10.98.0.77")
    for n in range(3):
        wire.frame(b"neither IP nor ARP" * 4, kind=0x88b5)
    for n in range(9):
        wire.ip(wire.udp(b"<13>forbidden", sender="198.51.100.7"), sender="198.51.100.7")
    for n in range(8):
        wire.ip(b"some protocol", protocol=99)
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("4s4si", bytes(4), bytes(4), socket.if_nametoindex("lo")))
    for n in range(5):
        s.sendto(b"<13>to the kernel's group %d" % n, (KERNEL_GROUP, 516))
    return {
        ("frames", "p0"): {"frames_in": 10 + 20 + 125 + 11 + 12 + 3 + 2 + 30 + 5 + 30 + 15 + 7 + 4 + 3 + 6 + 3 + 9 + 8, "arp": 10, "icmp": 20, "igmp": 2,
                           "fragment_joined": 20, "fragment_held": 5, "to_source": 100 + 25 + 12 + 10, "drop_no_listener": 30 + 11 + 3, "drop_checksum_udp": 15,
                           "drop_checksum_ip": 7, "drop_not_for_us": 6, "drop_not_ip": 3, "drop_sender_not_allowed": 9, "drop_protocol": 8,
                           "lengths": 7},
        ("events", "r1"): {"events_parsed": 100 + 25 + 10, "filtered": 25, "routed": 110},
        ("events", "r2"): {"events_parsed": 12, "routed": 12},
        ("events", "r3"): {"events_parsed": 5, "routed": 5},
        ("channel", "c1"): {"offered": 127, "stored": 127},
    }


def main(work):
    run("ip", "link", "set", "lo", "up")
    daemon = agent(work)
    for name in ("disable_ipv6",):                  # the kernel says nothing of its own
        with open(f"/proc/sys/net/ipv6/conf/{tag}/{name}", "w", encoding="ascii") as file:
            file.write("1")
    run("ip", "link", "set", tag, "arp", "off", "up")
    run("ip", "address", "add", f"{PEER4}/24", "dev", tag)
    wire = Wire()
    wire.port = wire.peer                           # the TAP's MAC is the port's
    wire.peer = b"\x02\x00\x00\x00\x00\x77"
    time.sleep(0.3)                                 # what the kernel might say of itself comes before the count begins
    _, before = drops(ctl, f"{work}/a1.sock")
    want = traffic(wire)
    end = time.monotonic() + PATIENCE_S
    while True:
        even, after = drops(ctl, f"{work}/a1.sock")
        grown = {key: {name: value - before.get(key, {}).get(name, 0) for name, value in figures.items()} for key, figures in after.items()}
        frames = grown["frames", "p0"]
        frames["lengths"] = sum(frames.pop(name, 0) for name in ("drop_truncated", "drop_bad_length"))
        wrong = {(key, name): (grown[key].get(name), value) for key, figures in want.items() for name, value in figures.items() if grown[key].get(name) != value}
        if not wrong and even:
            break
        assert time.monotonic() < end, f"have, want: {wrong}, even: {even}, frames: { {k: v for k, v in frames.items() if v} }"
        time.sleep(0.2)
    unexpected = {name: value for name, value in frames.items() if value and name not in want["frames", "p0"]}
    assert not unexpected, unexpected
    daemon.terminate()
    assert daemon.wait(PATIENCE_S) == 0
    print("exact:", {name: value for name, value in frames.items() if value})


if os.geteuid() != 0 or not shutil.which("ip") or subprocess.run(["ip", "netns", "add", tag]).returncode:
    print("SKIP: needs root, iproute2 and network namespaces")
    sys.exit(77)
place = tempfile.TemporaryDirectory(prefix="penstock-tap-")
try:
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/run/netns/{tag}", encoding="ascii") as netns:
        if libc.setns(netns.fileno(), 0x40000000):
            raise OSError(ctypes.get_errno(), "setns")
    main(place.name)
except Skip as skip:
    print("SKIP:", skip)
    sys.exit(77)
finally:
    for one in children:
        if one.poll() is None:
            one.kill()
            one.wait()
    place.cleanup()
    subprocess.run(["ip", "netns", "del", tag])
