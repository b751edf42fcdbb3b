#!/usr/bin/env python3
"""Proves: senders that break every rule hurt only themselves. Frames made by hand on a veth, a whole agent at its other end, good senders (the kernel's) beside
them all the time: no crash, each drop under its name, no byte acknowledged that is not in the log, and the good senders' lines all there and none reset.
Usage: test_tcp_hostile.py PENSTOCK CTL RELAY hostile.   Exit 77 where the machine cannot do it."""
import ctypes, fcntl, gzip, json, os, re, socket, ssl, struct, threading, time, traceback

from hostile import ACK, FIN, PATIENCE, PSH, RST, SYN, URG, Peer, Wire, checksum
from tcp_rig import ADDRESS, PORT, Agent, delivered, even, finish, own_namespace, sh, tag, tap_up, until, work

HTTP, NETCAT, MULTI, LATIN, TLS, MUTUAL, SLOW, SLOW_LINES, SLOW_TLS = range(5141, 5150)
expected, tests = [], []		# bodies that must be in the log once each at the end


def test(function):
    tests.append(function)
    return function


def body(name, n=0, size=0):
    return f"<13>Nov 21 16:00:00 host app: {name} {n} ".encode() + b"x" * size


def acknowledged(line):
    """That line was acknowledged (or answered): it is in the log once."""
    expected.append(line)


def dropped(name):
    """The counter of that drop, over all ports."""
    answer = agent.ctl("drops")
    assert answer, "no answer to drops"
    return sum(map(int, re.findall(rf'"drop_{name}", "value": (\d+)', json.dumps(answer))))


def connected(port):
    return socket.create_connection((ADDRESS, port), PATIENCE)


def counts(name, least=1):
    """with counts("tcp_window"): the drop of that name grows by so much."""
    class Counts:
        def __enter__(self):
            self.before = dropped(name)

        def __exit__(self, *error):
            if error[0] is None:
                until(f"{name} counts {least}", lambda: dropped(name) >= self.before + least)
    return Counts()


def refused(port, data, name):
    """The bytes end their connection, with RST or FIN, and nothing of them is acknowledged as an event. Returns what was answered."""
    with connected(port) as s:
        got = b""
        try:
            s.sendall(data)
        except ConnectionError:		# refused before all was sent; the answer stands in front of that
            pass
        try:
            while True:
                more = s.recv(65536)
                if not more:
                    return got
                got += more
        except ConnectionError:
            return got
        except TimeoutError:
            raise AssertionError(f"{name}: the connection stays, answered {got[:200]}")


# ---- segments ----

@test
def overlaps_with_other_contents():
    """The first copy of a byte is the one that counts, however the later ones overlap it; the line is stored once."""
    p = Peer(wire, PORT).open()
    line = body("overlap", 1, 40)
    base, other = p.seq, bytes(b ^ 1 for b in line)
    p.raw(ACK, line[20:40], seq=base + 20)
    p.raw(ACK, other[10:30], seq=base + 10)		# its bytes from 20 on are there already
    p.raw(ACK, other[5:60], seq=base + 5)
    p.raw(ACK, line[:10] + b"", seq=base)
    p.raw(ACK, other[:60], seq=base)
    p.quiet(0.2)
    p.raw(ACK | PSH, line[60:] + b"\n", seq=base + 60)
    p.seq = base + len(line) + 1
    p.acked_all()
    # The first to come: 20 to 40 of the line itself, then 5 to 20 and 40 to 60 of the other.
    acknowledged(line[:5] + other[5:20] + line[20:40] + other[40:60] + line[60:])


@test
def single_bytes_with_holes():
    """Each second byte alone, backwards, more holes than a connection may have chunks: what is missing still finds room, and the stream goes on."""
    p = Peer(wire, PORT, window=65535).open()
    line = body("holes", 2, 2200) + b"\n"
    base = p.seq
    for i in range(1, len(line), 2):
        p.raw(ACK, line[i:i + 1], seq=base + i)
        if i % 200 == 1:
            p.quiet(0.003)
    p.seq = base + len(line)

    def again():			# as a sender would: what is acknowledged or known to be missing
        for i in range(0, len(line), 1400):
            p.raw(ACK | PSH, line[i:i + 1400], seq=base + i)
    again()
    p.acked_all(again=again)
    acknowledged(line[:-1])


@test
def beyond_the_window():
    p = Peer(wire, PORT).open()
    with counts("tcp_window", 2):
        p.raw(ACK, b"far away\n", seq=p.seq + (8 << 20))
        p.raw(ACK, b"far away\n", seq=p.seq + (1 << 30))
        p.quiet(0.2)
    line = body("beyond", 3)
    p.send(line + b"\n").acked_all()
    acknowledged(line)


@test
def acknowledging_what_was_never_sent():
    p = Peer(wire, PORT).open()
    line = body("ack", 4)
    with counts("tcp_ack", 3):
        for wrong in (1, 100000, 1 << 30):
            p.raw(ACK | PSH, line + b"\n", ack=p.ack + wrong)
        p.quiet(0.1)
    assert p.acked == p.seq & 0xffffffff, p.seen
    p.send(line + b"\n").acked_all()
    acknowledged(line)


@test
def flags_without_sense():
    """No flag, all flags, SYN with FIN, FIN without ACK, to a listener and to a connection."""
    for flags in (0, 63, SYN | FIN, FIN, PSH, URG, SYN | RST, SYN | ACK | FIN | RST | PSH | URG, SYN | URG | PSH):
        Peer(wire, PORT).raw(flags, b"nonsense\n")
    p = Peer(wire, PORT).open()
    with counts("tcp_flags", 3):
        for flags in (0, FIN, PSH, URG, SYN | FIN, SYN | ACK):
            p.raw(flags, b"nonsense\n")
        p.quiet(0.1)
    line = body("flags", 5)
    p.send(line + b"\n").acked_all()
    acknowledged(line)


@test
def urgent_data():
    """The urgent pointer has no meaning: the bytes stay in line, wherever it points."""
    p = Peer(wire, PORT).open()
    line = body("urgent", 6)
    for i, urgent in ((0, 1), (10, 65535), (20, 0)):
        p.raw(ACK | URG, line[i:i + 10], seq=p.seq + i, urgent=urgent)
    p.raw(ACK | PSH | URG, line[30:] + b"\n", seq=p.seq + 30, urgent=3)
    p.seq += len(line) + 1
    p.acked_all()
    acknowledged(line)


@test
def options_that_lie():
    """Lengths of 0, 1, 255 and beyond the header, option lists without an end, header lengths that the segment does not have."""
    bad = [b"\x02\x00", b"\x02\x01\x05\xb4", b"\x02\xff\x05\xb4", b"\x08\x0a\x00", b"\x03", b"\x05\xff" + b"\xee" * 30, b"\xfe" * 40, b"\x01" * 40,
           b"\x02\x04\x00\x00", b"\x02\x04\x00\x01\x03\x03\xff", b"\x05\x0a" + b"\0" * 8, b"\x08\x0a" * 20]
    for i, options in enumerate(bad):
        p = Peer(wire, PORT, options=options).open()
        line = body("options", 70 + i)
        p.raw(ACK | PSH, line + b"\n", options=options)
        p.seq += len(line) + 1
        p.acked_all()
        acknowledged(line)
    p = Peer(wire, PORT).open()
    with counts("bad_length", 3):
        for offset in (0, 4, 15):
            p.raw(ACK, b"x\n", options=b"", offset=offset)
        p.quiet(0.1)
    line = body("options", 7)
    p.send(line + b"\n").acked_all()
    acknowledged(line)


@test
def timestamps_wrap_and_lie():
    """The peer's clock wraps within the connection; one segment's timestamp is of yesterday, one has none."""
    p = Peer(wire, PORT, timestamps=True).open()
    for i in range(4):
        line = body("wrapped", i)
        p.send(line + b"\n").acked_all()
        acknowledged(line)
        time.sleep(0.01)
    line = body("wrapped", 9)
    with counts("tcp_paws", 2):
        p.raw(ACK | PSH, b"old " + line, options=b"\x01\x01\x08\x0a" + struct.pack(">II", (p.ts_now() - 100000) & 0xffffffff, 0))
        p.raw(ACK | PSH, b"none" + line, options=b"")
        p.quiet(0.1)
    p.send(line + b"\n").acked_all()
    acknowledged(line)


@test
def checksums_and_lengths():
    p = Peer(wire, PORT).open()
    frame = struct.pack(">HHIIBBHHH", p.port, PORT, p.seq & 0xffffffff, p.ack, 5 << 4, ACK, 1000, 0x1234, 0) + b"x\n"
    with counts("checksum_tcp"):
        ip = bytearray(struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(frame), 0, 0, 64, 6, 0, socket.inet_aton(p.ip), socket.inet_aton(ADDRESS)))
        struct.pack_into(">H", ip, 10, checksum(bytes(ip)))
        wire.send_raw(wire.mac(p.ip), 0x800, bytes(ip) + frame)
    for length in (0, 19, 20, 25, 39, 60000):
        ip = bytearray(struct.pack(">BBHHHBBH4s4s", 0x45, 0, length, 0, 0, 64, 6, 0, socket.inet_aton(p.ip), socket.inet_aton(ADDRESS)))
        struct.pack_into(">H", ip, 10, checksum(bytes(ip)))
        wire.send_raw(wire.mac(p.ip), 0x800, bytes(ip) + frame)
    line = body("sums", 8)
    p.send(line + b"\n").acked_all()
    acknowledged(line)


# ---- states ----

@test
def resets_and_syns_by_strangers():
    """RFC 5961: into an open connection; what is not exact costs nothing, what is exact ends it."""
    p = Peer(wire, PORT).open()
    line = body("blind", 10)
    p.send(line + b"\n").acked_all()
    acknowledged(line)
    with counts("tcp_window", 2):
        p.raw(RST, seq=p.seq + 1000)			# in the window, not exact: a challenge
        p.raw(RST, seq=p.seq - 100000)
        p.quiet(0.1)
    p.raw(SYN, seq=p.seq + 77)
    p.raw(SYN | ACK, seq=p.seq)
    new = p.quiet(0.2)
    assert not p.reset and all(s.ack == p.seq & 0xffffffff for s in new), new
    line = body("blind", 11)
    p.send(line + b"\n").acked_all()
    assert not p.reset, p.seen
    acknowledged(line)
    p.raw(RST, seq=p.seq)
    p.quiet(0.1)
    with counts("tcp_stranger"):
        p.send(b"late\n")
        p.until("a reset, for it is gone", lambda: p.reset, again=p.resend)


@test
def half_open_connections():
    p = Peer(wire, PORT)
    p.raw(SYN, options=b"\x02\x04\x05\xb4")
    p.until("SYN-ACK", lambda: p.ack, again=lambda: p.raw(SYN, options=b"\x02\x04\x05\xb4"))
    with counts("tcp_ack"):
        p.raw(ACK, b"x\n", seq=p.seq + 1, ack=p.ack + 5)
        p.until("a reset for the wrong ACK", lambda: p.reset, again=lambda: p.raw(ACK, b"x\n", seq=p.seq + 1, ack=p.ack + 5))
    p.reset = False
    p.raw(RST, seq=p.seq + 500)				# not exact
    p.raw(SYN, seq=p.seq + 4000)				# another SYN: ours again
    p.quiet(0.3)
    p.seq += 1
    line = body("half open", 12)
    first = p.seq
    p.raw(ACK | PSH | FIN, line + b"\n")			# all in the handshake's last
    p.seq += len(line) + 2
    p.acked_all(again=lambda: p.raw(ACK | PSH | FIN, line + b"\n", seq=first))
    acknowledged(line)
    p.until("FIN", lambda: p.fin)
    p.raw(ACK)
    q = Peer(wire, PORT)
    q.raw(SYN, options=b"\x02\x04\x05\xb4")
    q.until("SYN-ACK", lambda: q.ack, again=lambda: q.raw(SYN, options=b"\x02\x04\x05\xb4"))
    q.raw(RST, seq=q.seq + 1)
    q.quiet(0.1)
    q.raw(ACK, b"x\n", seq=q.seq + 1)
    q.until("nobody is there any more", lambda: q.reset, again=lambda: q.raw(ACK, b"x\n", seq=q.seq + 1))


@test
def data_behind_a_fin():
    """Bytes behind a FIN, a FIN again at another place, a FIN in front of bytes that came before it: the promise holds for what stands in front of the first."""
    p = Peer(wire, PORT).open()
    a, b = body("fin", 13), body("fin", 14)
    p.raw(ACK | PSH, b + b"\n", seq=p.seq + len(a) + 1)
    p.raw(ACK | FIN, b"", seq=p.seq + len(a) + 1)		# contradicts the bytes behind it
    p.raw(ACK | PSH, a + b"\n")
    p.seq += len(a) + len(b) + 2
    p.acked_all()
    acknowledged(a)
    acknowledged(b)
    p.raw(ACK | FIN, seq=p.seq)
    p.raw(ACK | PSH, b"behind it\n", seq=p.seq + 1)
    p.raw(ACK | FIN, seq=p.seq + 11)
    p.seq += 1
    p.until("FIN and its ACK", lambda: p.fin and p.acked == p.seq & 0xffffffff)
    p.raw(RST, seq=p.seq + 3)
    p.raw(ACK)
    p.raw(ACK | PSH, b"after all\n")
    p.quiet(0.2)
    assert p.acked == p.seq & 0xffffffff, p.seen


@test
def both_close_at_once():
    p = Peer(wire, HTTP).open()
    p.send(b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 23\r\n\r\n" + b'[{"body":"at once 15"}]')
    p.raw(FIN | ACK)						# before the answer and its FIN are acknowledged
    p.until("answer and FIN", lambda: p.fin and p.data.startswith(b"HTTP/1.1 200"), again=lambda: (p.resend(), p.raw(FIN | ACK)))
    acknowledged(b"at once 15")
    p.seq += 1
    p.raw(FIN | ACK, seq=p.seq - 1)
    p.raw(ACK)
    p.acked_all()
    seen = len(p.seen)
    p.raw(FIN | ACK, seq=p.seq - 1)				# TIME-WAIT: heard again
    p.raw(SYN, seq=p.seq - 5000)				# of the past
    p.quiet(0.2)
    assert not p.reset, p.seen[seen:]
    p.seq, p.ack = p.seq + 100000, 0				# a new life of the same ports
    p.seen.clear()
    p.fin = False
    p.data = b""
    p.open(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 23\r\n\r\n" + b'[{"body":"at once 16"}]')
    p.until("answer", lambda: b"200" in p.data, again=p.resend)
    acknowledged(b"at once 16")


# ---- the window of the peer ----

@test
def window_shrinks_and_shuts():
    """The peer's window goes to 1, 0 and back while replies are under way: they arrive byte for byte. Of another the window stays shut and its close is asked for:
    that connection ends by our doing, its memory with it."""
    p = Peer(wire, HTTP, window=200).open()
    one = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 22\r\n\r\n" + b'[{"body":"shrunk %d"}]'
    for i in range(10, 30):
        p.send(one % i)
    for window in (200, 1, 0, 50, 0, 1, 300, 65535):
        p.window = window
        p.quiet(0.1)
        p.raw(ACK)
    p.until("all answers", lambda: p.data.count(b"HTTP/1.1 200 OK\r\n") == 20, again=lambda: (p.raw(ACK), p.resend()))
    for i in range(10, 30):
        acknowledged(b"shrunk %d" % i)


@test
def out_of_order_flood():
    """More connections with more holes than the pool has chunks: dropped under its name, and the good senders go on."""
    peers = [Peer(wire, PORT, own_ip=f"192.0.2.{100 + i}").open() for i in range(20)]
    before, end = dropped("tcp_no_memory"), time.monotonic() + 60
    while dropped("tcp_no_memory") == before:			# frames get lost on such a wire: as many rounds as it takes
        assert time.monotonic() < end, "the pool lasts"
        for j in range(1, 2000, 2):
            for p in peers:
                p.raw(ACK, b"y", seq=p.seq + 1000 + j)
            wire.pump(0.001 if j % 10 == 1 else 0)
    for i, p in enumerate(peers):
        line = body("flood", i) + b"\n"
        start, p.seq = p.seq, p.seq + len(line)
        p.raw(ACK | PSH, line, seq=start)
        p.acked_all(again=lambda: p.raw(ACK | PSH, line, seq=start))
        acknowledged(line[:-1])
        p.raw(RST, seq=p.acked)


# ---- syslog ----

@test
def octet_counts_that_lie():
    """Huge, negative, with leading zeros, too short and too long for what follows: each becomes events or is counted; the connection after it works."""
    for i, data in enumerate((b"999999999 <13>", b"99999999999999999999 <13>huge\n", b"-5 <13>negative\n", b"007 <13>bond\n", b"0 <13>none\n", b"5 <13>more than five\n",
                              b"4294967297 <13>wrapped\n", b" 12 <13>blank\n", b"12  <13>two blanks\n", b"1" * 1200 + b"\n", b"20\n<13>no blank\n")):
        p = Peer(wire, PORT).open()
        p.send(data)
        p.quiet(0.1)
        p.raw(FIN | ACK)
        p.seq += 1
        p.until("FIN", lambda: p.fin, again=lambda: (p.resend(), p.raw(FIN | ACK, seq=p.seq - 1)))
        p.raw(ACK)
    with connected(PORT) as s:
        line = body("counted", 20)
        s.sendall(b"%d %s" % (len(line), line) + b"%d %s\n" % (len(line) + 1, line[:-1] + b"z"))
        acknowledged(line)
        acknowledged(line[:-1] + b"z")


@test
def lines_beyond_event_size_and_odd_bytes():
    with connected(MULTI) as s:
        s.sendall(body("long", 21, 100000) + b"\n" + body("nul", 22) + b"\0\0\0\n" + body("bytes", 23) + bytes(range(128, 256)) + b"\n" + b"\n\n\0\n<\n<>\n<99999>\n<-1>x\n"
                  + body("after", 24) + b"\n")
        acknowledged(body("after", 24))
        acknowledged(body("nul", 22) + b"\0\0\0")
    with connected(LATIN) as s:
        s.sendall(body("latin", 25) + b"gr\xfc\xdfe\n")
        acknowledged(body("latin", 25) + b"gr\xfc\xdfe")


# ---- http ----

@test
def requests_that_break_the_rules():
    ok = b'[{"body":"never"}]'
    for name, data, status in (
            ("both lengths", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 18\r\nTransfer-Encoding: chunked\r\n\r\n" + ok, b"400"),
            ("two lengths", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 18\r\nContent-Length: 19\r\n\r\n" + ok, b"400"),
            ("negative length", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n" + ok, b"400"),
            ("plus", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +18\r\n\r\n" + ok, b"400"),
            ("huge length", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n" + ok, b"4"),
            ("hex length", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x12\r\n\r\n" + ok, b"400"),
            ("bare line feeds", b"POST / HTTP/1.1\nHost: x\nContent-Length: 18\n\n" + ok, b"400"),
            ("blank before colon", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length : 18\r\n\r\n" + ok, b"400"),
            ("folded", b"POST / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\nContent-Length: 18\r\n\r\n" + ok, b"400"),
            ("no host", b"POST / HTTP/1.1\r\nContent-Length: 18\r\n\r\n" + ok, b"400"),
            ("chunk -1", b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n" + ok, b"400"),
            ("chunk huge", b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n" + ok, b"4"),
            ("chunk wraps", b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n" + ok, b"4"),
            ("chunk 0x", b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0x12\r\n" + ok, b"400"),
            ("chunk without end", b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n12\r\n" + ok + b"xx0\r\n\r\n", b"400"),
            ("chunk extension", b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"e" * 100000, b"400"),
            ("trailers", b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * 50000, b"4"),
            ("identity", b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", b"501"),
            ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"505"),
            ("HTTP/0.9", b"GET /\r\n\r\n", b""),
            ("nul", b"POST / HTTP/1.1\r\nHost: x\0y\r\nContent-Length: 18\r\n\r\n" + ok, b"400"),
            ("long line", b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"414"),
            ("long field", b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 100000 + b"\r\n\r\n", b"431"),
            ("many fields", b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 20000 + b"\r\n", b"431"),
            ("garbage", bytes(range(256)) * 40, b"400"),
            ("TLS hello", bytes.fromhex("16030100a5010000a10303") + b"x" * 200, b"400"),
            ("body too long", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n", b"413")):
        got = refused(HTTP, data, name)
        assert got.startswith(b"HTTP/1.1 " + status) and b" 200 " not in got[:20], f"{name}: {got[:150]}"


def post(data, *fields):
    with connected(HTTP) as s:
        got = b""
        try:
            s.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + b"".join(f + b"\r\n" for f in fields) + b"Content-Length: %d\r\n\r\n" % len(data) + data)
        except ConnectionError:		# refused before all was sent; the answer stands in front of that
            pass
        try:
            while more := s.recv(65536):
                got += more
        except ConnectionResetError:
            pass
        return got


@test
def bodies_that_burst():
    """gzip of much more than a body may be, a chain of empty members, cut off, not gzip; JSON without an end, nested deeply, with numbers and escapes that are none."""
    bomb = gzip.compress(b"[" + b" " * (64 << 20) + b"]")
    assert post(bomb, b"Content-Encoding: gzip")[9:12] == b"413"
    assert post(gzip.compress(bomb), b"Content-Encoding: gzip")[9:12] == b"400"
    assert post(gzip.compress(b"") * 20000 + gzip.compress(b'[{"body":"members 26"}]'), b"Content-Encoding: gzip")[9:12] == b"200"
    acknowledged(b"members 26")
    assert post(gzip.compress(b'[{"body":"never"}]')[:-5], b"Content-Encoding: gzip")[9:12] == b"400"
    assert post(b"nothing", b"Content-Encoding: gzip")[9:12] == b"400"
    assert post(b"nothing", b"Content-Encoding: br")[9:12] == b"415"
    for data in (b"[" * 500000, b'{"a":' * 100000, b'[{"body":"\\ud800"}', b'[{"body":1e99999}', b'[{"body":"never"}', b"\xff\xfe", b"[{}", b'[{"headers":{"a":' + b"[" * 9000):
        got = post(data)
        assert got[9:10] in (b"4", b"5"), f"{data[:30]}: {got[:100]}"
    many = b"[" + b",".join(b'{"headers":{%s},"body":"never"}' % b",".join(b'"h%d":"v"' % i for i in range(2000)) for _ in range(3)) + b"]"
    assert post(many)[9:12] == b"413"


@test
def slow_senders():
    """A head, a body, a chunk, a line and a handshake that come a byte at a time end at penstock.frame.timeout (1 s here, 60 s by itself), whatever drips; so does
    a peer that leaves its answers unread."""
    before = agent.metric("STREAMS", "closed_frame")
    drips = [(SLOW, b"POST / HTTP/1.1\r\nA: "), (SLOW, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"),
             (SLOW, b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n"),
             (SLOW, b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"), (SLOW_LINES, b"<13>an unfinished "), (SLOW_TLS, b"\x16\x03\x01\x02\x00")]
    open_ones = []
    for port, data in drips:
        s = connected(port)
        s.sendall(data)
        open_ones.append((s, port, data, 0))
    end = time.monotonic() + PATIENCE
    left = list(open_ones)
    while left and time.monotonic() < end:
        for entry in list(left):
            s, port, data, _ = entry
            try:
                s.sendall(b"1\r\nx\r\n" if data.endswith(b"chunked\r\n\r\n") else b"x")
            except ConnectionError:
                left.remove(entry)
        time.sleep(0.1)
    assert not left, f"still open: {[(e[1], e[2]) for e in left]}"
    until("closed_frame counts them", lambda: agent.metric("STREAMS", "closed_frame") >= before + len(drips))


@test
def answers_left_unread():
    """Requests without end and a window that is shut: the connection ends as reset_send, asked for its close or not."""
    before = agent.metric("STREAMS", "reset_send")
    p = Peer(wire, SLOW, window=0)
    p.open()
    get = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    sent = 0
    end, due = time.monotonic() + PATIENCE, 0
    while not p.reset and time.monotonic() < end:
        if (p.seq - p.acked) & 0xffffffff < 8000 and sent < 400000:
            p.send(get * 50)
            sent += len(get) * 50
        p.take(0.05)
        p.ack = (p.theirs + 1) & 0xffffffff		# nothing is taken
        p.raw(ACK)
        if time.monotonic() > due:
            p.resend()
            due = time.monotonic() + 0.2
    assert p.reset, "it stays for ever"
    until("reset_send", lambda: agent.metric("STREAMS", "reset_send") > before)


# ---- TLS ----

def tls_context(certificate=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if certificate:
        context.load_cert_chain(f"{work}/{certificate}.pem", f"{work}/{certificate}.key")
    return context


@test
def tls_in_pieces():
    """The handshake and the records a byte at a time, and records in one segment with others."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = tls_context().wrap_bio(incoming, outgoing)
    with connected(TLS) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def flush(step):
            data = outgoing.read()
            for i in range(0, len(data), step):
                s.sendall(data[i:i + step])
        while True:
            try:
                session.do_handshake()
                break
            except ssl.SSLWantReadError:
                flush(1)
                incoming.write(s.recv(65536))
        flush(1)
        for i in range(5):
            session.write(body("tls pieces", i) + b"\n")
            acknowledged(body("tls pieces", i))
        flush(1)
        for i in range(5, 100):
            session.write(body("tls pieces", i) + b"\n")
            acknowledged(body("tls pieces", i))
        flush(1 << 20)
        until("they are there", lambda: body("tls pieces", 99) in delivered())


@test
def tls_that_is_none():
    before = agent.metric("STREAMS", "reset_tls")
    bad = (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"x" * 7000, b"\x17\x03\x03\x00\x10" + b"x" * 16, b"\x80\x2e\x01\x03\x01" + b"\0" * 60, b"\x15\x03\x03\x00\x02\x02\x28",
           b"\x14\x03\x03\x00\x01\x01", b"\x16\x03\x01\x00\x00" * 100, b"\x18\x03\x02\x00\x03\x01\x40\x00", bytes(range(256)))
    for data in bad:
        refused(TLS, data, f"TLS {data[:8]}")
    with connected(TLS) as s:		# a good handshake, then no record
        with tls_context().wrap_socket(s, suppress_ragged_eofs=False) as t:
            t.sendall(body("tls garbage", 27) + b"\n")
            acknowledged(body("tls garbage", 27))
            until("it is there", lambda: body("tls garbage", 27) in delivered())
            raw = socket.socket(fileno=os.dup(t.fileno()))
            raw.sendall(b"\x17\x03\x03\x00\x20" + b"not encrypted at all, is it....." * 1)
            try:
                t.recv(100)
            except (ssl.SSLError, OSError):
                pass
            raw.close()
    until("reset_tls counts", lambda: agent.metric("STREAMS", "reset_tls") >= before + 8)


@test
def client_certificates():
    """None, and one that another authority signed: refused, nothing stored; the right one: heard."""
    for certificate in (None, "other"):
        try:
            with connected(MUTUAL) as s, tls_context(certificate).wrap_socket(s) as t:
                t.sendall(body("never") + b"\n")
                assert t.recv(10) == b"", "it was let in"
        except (ssl.SSLError, ConnectionError):
            pass
    with connected(MUTUAL) as s, tls_context("client").wrap_socket(s) as t:
        t.sendall(body("mutual", 28) + b"\n")
        acknowledged(body("mutual", 28))
        until("it is there", lambda: body("mutual", 28) in delivered())


@test
def netcat_lines():
    with connected(NETCAT) as s:
        s.sendall(b"\n\n\0\n" + b"netcat 29\n" + b"\xff\xfe\n")
        got = b""
        while got.count(b"\n") < 5:
            got += s.recv(100) or b"(the end)\n" * 5
        assert got == b"OK\n" * 5, got
        acknowledged(b"netcat 29")
    assert b"FAILED" in refused(NETCAT, b"x" * 100000, "long line")


@test
def the_wire_goes_down():
    """A sender whose wire is cut with bytes under way, and whose kernel has forgotten it when it is back: its next segment has no answer of ours but ACKs; a
    new connection from the same port is a SYN to an open one, challenged, reset, and begun again."""
    p = Peer(wire, PORT).open()
    line = body("before the cut", 30)
    p.send(line + b"\n")
    sh(f"ip link set {tag}a down")
    time.sleep(0.3)
    sh(f"ip link set {tag}a up")
    p.acked_all()				# sent again
    acknowledged(line)
    p.raw(SYN, seq=777777, ack=0, options=b"\x02\x04\x05\xb4")
    p.seen.clear()
    p.until("a challenge", lambda: any(s.flags == ACK for s in p.seen), again=lambda: p.raw(SYN, seq=777777, ack=0, options=b"\x02\x04\x05\xb4"))
    p.raw(RST, seq=[s for s in p.seen if s.flags == ACK][-1].ack)
    p.quiet(0.1)
    p.seq, p.seen, p.sent = 777777, [], []
    p.open(body("after the cut", 31) + b"\n").acked_all()
    acknowledged(body("after the cut", 31))


# ---- the good ones ----

class Good(threading.Thread):
    def __init__(self, number):
        super().__init__(daemon=True)
        self.number, self.sent, self.requests, self.stop, self.error = number, 0, 0, False, None

    def run(self):
        try:
            s, h = connected(PORT), connected(HTTP)
            s.settimeout(60)
            h.settimeout(60)
            while not self.stop:
                s.sendall(b"".join(body(f"good {self.number}", self.sent + i) + b"\n" for i in range(20)))
                self.sent += 20
                text = b'[{"body":"good http %d %d"}]' % (self.number, self.requests)
                h.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(text) + text)
                got = b""
                while b"\r\n\r\n" not in got:
                    more = h.recv(4096)
                    assert more, "http ended"
                    got += more
                assert got.startswith(b"HTTP/1.1 200"), got
                self.requests += 1
                time.sleep(0.02)
            s.close()
            h.close()
        except Exception as error:		# told at the end
            self.error = repr(error)


def certificates():
    sh(f"""cd {work} && for who in ca other server; do openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=$who -keyout $who.key -out $who.pem; done
           openssl req -newkey rsa:2048 -nodes -subj /CN=client -keyout client.key -out client.csr
           openssl x509 -req -in client.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out client.pem
           openssl pkcs12 -export -in server.pem -inkey server.key -passout pass:secret1 -out store.p12
           cp ca.pem trust.pem""")


def veth():
    sh(f"ip link add {tag}a type veth peer name {tag}b && ip link set {tag}b up")
    tap_up(f"{tag}a")
    sh(f"sysctl -qw net.ipv6.conf.{tag}b.disable_ipv6=1 net.ipv4.conf.{tag}b.arp_ignore=8", check=False)
    value = ctypes.create_string_buffer(struct.pack("II", 0x17, 0))		# checksums in software: ETHTOOL_STXCSUM, SIOCETHTOOL
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        fcntl.ioctl(s, 0x8946, struct.pack("16sP16x", f"{tag}a".encode(), ctypes.addressof(value)))
    return f"net_af_packet0,iface={tag}b,framecnt=8192,blocksz=65536"		# what comes while the agent waits for its CPU is not lost


own_namespace()
try:
    certificates()
    device = veth()
    tls = {"ssl": "true", "keystore": f"{work}/store.p12", "keystore-type": "PKCS12", "keystore-password": "secret1"}
    syslog = {"type": "syslogtcp", "host": ADDRESS, "keepFields": "all"}
    sources = {
        "r1": {**syslog, "port": PORT, "penstock.idle.timeout": "60s"},
        "r2": {"type": "http", "bind": ADDRESS, "port": HTTP},
        "r3": {"type": "netcat", "bind": ADDRESS, "port": NETCAT},
        "r4": {"type": "multiport_syslogtcp", "host": ADDRESS, "ports": f"{MULTI} {LATIN}", "keepFields": "all", f"charset.port.{LATIN}": "ISO-8859-1",
               "eventSize": 2000},
        "r5": {**syslog, "port": TLS, **tls},
        "r6": {**syslog, "port": MUTUAL, **tls, "penstock.client.certificate": "needed", "truststore": f"{work}/trust.pem", "truststore-type": "PEM"},
        # Of good senders none comes here: on a slow machine they would need longer, too.
        "r7": {"type": "http", "bind": ADDRESS, "port": SLOW, "penstock.frame.timeout": "1s", "penstock.idle.timeout": "2s"},
        "r8": {"type": "multiport_syslogtcp", "host": ADDRESS, "ports": SLOW_LINES, "keepFields": "all", "penstock.frame.timeout": "1s"},
        "r9": {**syslog, "port": SLOW_TLS, **tls, "penstock.frame.timeout": "1s"}}
    agent = Agent(device, sources=sources)
    agent.up()
    wire = Wire(f"{tag}a", ADDRESS)
    good = [Good(i) for i in range(3)]
    for g in good:
        g.start()
    failed = 0
    only = os.environ.get("ONLY", "")
    for function in tests:
        if only and only not in function.__name__:
            continue
        began = time.monotonic()
        try:
            function()
            assert agent.p.poll() is None, f"the agent ended with {agent.p.poll()}: " + open(f"{work}/agent.log").read()[-3000:]
            for g in good:
                assert not g.error, f"a good sender: {g.error}"
            print(f"{function.__name__}: {time.monotonic() - began:.1f} s", flush=True)
        except Exception:
            failed += 1
            print(f"{function.__name__}: FAILED", flush=True)
            traceback.print_exc()
            if agent.p.poll() is not None:
                break
    for g in good:
        g.stop = True
    for g in good:
        g.join(100)
        assert not g.is_alive() and not g.error and g.sent and g.requests, f"a good sender: {g.error}"
        for i in range(g.sent):
            acknowledged(body(f"good {g.number}", i))
        for i in range(g.requests):
            acknowledged(b"good http %d %d" % (g.number, i))

    def missing():
        lines = {}
        for text in delivered().split(b"\n"):
            lines[text] = lines.get(text, 0) + 1
        return [(text, lines.get(text.rstrip(b"\n"), 0)) for text in expected if lines.get(text, 0) != 1]
    try:
        until("all that was acknowledged is in the log, once", lambda: not missing())
    except AssertionError:
        raise AssertionError(f"of {len(expected)}: {missing()[:5]}")
    assert b"never" not in delivered()
    even(agent)

    print(f"{len(expected)} acknowledged; of good senders {sum(g.sent for g in good)} lines and {sum(g.requests for g in good)} requests")
    agent.stop()
    assert not failed, f"{failed} failed"
finally:
    finish()
