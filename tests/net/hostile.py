"""hostile: a TCP peer of hand-made frames on one interface, beside the kernel's own, for test_tcp_hostile.py. It answers ARP for its addresses and keeps no rule
that its user does not keep."""
import errno, select, socket, struct, time

FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
MAC = bytes.fromhex("02aabbccdd01")
PATIENCE = 20		# seconds that something may take which comes in milliseconds: machines are slow, and disks pause; below the agent's idle timeout of 30 s for http


def checksum(data):
    if len(data) & 1:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xffff)
    return ~(total + (total >> 16)) & 0xffff


class Segment:
    def __init__(self, f):
        ip = (f[14] & 15) * 4
        length = struct.unpack_from(">H", f, 16)[0]
        self.peer_port, self.port, self.seq, self.ack, offset, self.flags, self.window = struct.unpack_from(">HHIIBBH", f, 14 + ip)
        offset = (offset >> 4) * 4
        self.to = socket.inet_ntoa(f[30:34])
        self.options = f[14 + ip + 20:14 + ip + offset]
        self.data = f[14 + ip + offset:14 + length]

    def __repr__(self):
        names = "".join(n for bit, n in ((SYN, "S"), (ACK, "."), (FIN, "F"), (RST, "R"), (PSH, "P")) if self.flags & bit)
        return f"<{names} seq {self.seq} ack {self.ack} win {self.window} {len(self.data)} bytes>"


class Wire:
    def __init__(self, interface, to_ip):
        self.s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.s.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)		# SO_RCVBUFFORCE: what comes while the test waits for its CPU is not lost
        self.s.bind((interface, 0))
        self.to_ip, self.to_mac, self.got, self.ours = to_ip, None, {}, set()

    def mac(self, own_ip):
        end = time.monotonic() + PATIENCE
        while not self.to_mac:
            assert time.monotonic() < end, "nobody answers ARP"
            self.send_raw(b"\xff" * 6, 0x0806, struct.pack(">HHBBH6s4s6s4s", 1, 0x800, 6, 4, 1, MAC, socket.inet_aton(own_ip), bytes(6), socket.inet_aton(self.to_ip)))
            self.pump(0.2)
        return self.to_mac

    def send_raw(self, to, kind, payload):
        self.s.send((to + MAC + struct.pack(">H", kind) + payload).ljust(60, b"\0"))

    def pump(self, seconds):
        """Takes what comes; returns after the first frames, or when the time is over."""
        end = time.monotonic() + seconds
        some = False
        while True:
            ready = select.select([self.s], [], [], 0 if some else max(0, end - time.monotonic()))[0]
            if not ready:
                return
            try:
                f, address = self.s.recvfrom(65536)
            except OSError as error:		# the interface was down; said once
                if error.errno != errno.ENETDOWN:
                    raise
                continue
            if address[2] == socket.PACKET_OUTGOING:
                continue
            if f[12:14] == b"\x08\x06" and len(f) >= 42:
                op, who, whose, asked = struct.unpack_from(">H", f, 20)[0], f[22:28], f[28:32], f[38:42]
                if socket.inet_ntoa(whose) == self.to_ip and op == 2:
                    self.to_mac = who
                if op == 1 and socket.inet_ntoa(asked) in self.ours:
                    self.send_raw(who, 0x0806, struct.pack(">HHBBH6s4s6s4s", 1, 0x800, 6, 4, 2, MAC, asked, who, whose))
            elif f[12:14] == b"\x08\x00" and len(f) >= 54 and f[23] == 6 and socket.inet_ntoa(f[30:34]) in self.ours:
                s = Segment(f)
                self.got.setdefault((s.to, s.port, s.peer_port), []).append(s)
                some = True

    def tcp(self, own_ip, tcp):
        own, to = socket.inet_aton(own_ip), socket.inet_aton(self.to_ip)
        ip = bytearray(struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 0, 0x4000, 64, 6, 0, own, to))
        struct.pack_into(">H", ip, 10, checksum(bytes(ip)))
        tcp = bytearray(tcp)
        struct.pack_into(">H", tcp, 16, 0)
        struct.pack_into(">H", tcp, 16, checksum(own + to + struct.pack(">HH", 6, len(tcp)) + bytes(tcp)))
        self.send_raw(self.mac(own_ip), 0x800, bytes(ip) + bytes(tcp))


class Peer:
    """One connection's sender: `seq` counts what it has sent in order, `ack` what it acknowledges; every other number is its user's."""
    number = 0

    def __init__(self, wire, port, own_ip="192.0.2.66", isn=1000, timestamps=False, window=65535, options=b""):
        Peer.number += 1
        self.wire, self.to_port, self.ip, self.port = wire, port, own_ip, 20000 + Peer.number
        self.isn, self.seq, self.ack, self.window, self.ts, self.ts_base = isn, isn, 0, window, timestamps, None
        self.acked, self.data, self.reset, self.fin, self.seen, self.syn_options, self.shift = isn, b"", False, False, [], options, 0
        self.sent = []				# (seq, data) of send() and open()
        wire.ours.add(own_ip)

    def raw(self, flags, data=b"", seq=None, ack=None, window=None, options=None, urgent=0, offset=None):
        if options is None:
            options = b""
            if self.ts:
                options = b"\x01\x01\x08\x0a" + struct.pack(">II", (self.ts_now()) & 0xffffffff, 0)
        options = options.ljust((len(options) + 3) // 4 * 4, b"\0")
        head = struct.pack(">HHIIBBHHH", self.port, self.to_port, (self.seq if seq is None else seq) & 0xffffffff, (self.ack if ack is None else ack) & 0xffffffff,
                           ((5 + len(options) // 4) if offset is None else offset) << 4, flags, self.window if window is None else window, 0, urgent)
        self.wire.tcp(self.ip, head + options + data)

    def ts_now(self):
        if self.ts_base is None:
            self.ts_base = 0xfffffff0		# it wraps in 16 ms
            self.ts_from = time.monotonic()
        return self.ts_base + int((time.monotonic() - self.ts_from) * 1000)

    def take(self, seconds=0.3):
        """What has come, in order; after the first or the time."""
        key = (self.ip, self.port, self.to_port)
        if not self.wire.got.get(key):
            self.wire.pump(seconds)
        new = self.wire.got.pop(key, [])
        for s in new:
            self.seen.append(s)
            if s.flags & RST:
                self.reset = True
                continue
            if s.flags & ACK and (s.ack - self.acked) & 0xffffffff < 1 << 31:
                self.acked = s.ack
            if s.flags & SYN:
                self.theirs = s.seq
                self.ack = (s.seq + 1) & 0xffffffff
            elif s.data and s.seq == self.ack:
                self.data += s.data
                self.ack = (self.ack + len(s.data)) & 0xffffffff
            if s.flags & FIN and (s.seq + len(s.data)) & 0xffffffff == self.ack:
                self.fin = True
                self.ack = (self.ack + 1) & 0xffffffff
        return new

    def until(self, what, test, seconds=PATIENCE, again=None):
        """again: called every 200 ms meanwhile, as a sender does whose segment was lost."""
        end, due = time.monotonic() + seconds, time.monotonic() + 0.2
        while not test():
            assert time.monotonic() < end, f"not after {seconds} s: {what}: {self.seen[-5:]}"
            self.take(0.05)
            if again and time.monotonic() > due:
                again()
                due = time.monotonic() + 0.2
        return self

    def quiet(self, seconds=0.3):
        """Whatever still comes; returns it."""
        end, new = time.monotonic() + seconds, []
        while time.monotonic() < end:
            new += self.take(end - time.monotonic())
        return new

    def open(self, data=b""):
        options = self.syn_options or b"\x02\x04\x05\xb4"
        if self.ts:
            options += b"\x01\x01\x08\x0a" + struct.pack(">II", self.ts_now() & 0xffffffff, 0)
        self.raw(SYN, options=options)
        self.until("SYN-ACK", lambda: any(s.flags & SYN for s in self.seen), again=lambda: self.raw(SYN, options=options))
        self.seq += 1
        if data:
            return self.send(data)
        self.raw(ACK)
        return self

    def send(self, data):
        self.sent.append((self.seq, data))
        self.raw(ACK | PSH, data)
        self.seq += len(data)
        return self

    def resend(self):
        """What send() sent and nothing has acknowledged."""
        self.sent = [(seq, data) for seq, data in self.sent if 0 < (seq + len(data) - self.acked) & 0xffffffff < 1 << 31]
        for seq, data in self.sent:
            self.raw(ACK | PSH, data, seq=seq)

    def acked_all(self, seconds=PATIENCE, again=None):
        return self.until(f"all up to {self.seq & 0xffffffff} acknowledged", lambda: self.acked == self.seq & 0xffffffff, seconds, again or self.resend)
