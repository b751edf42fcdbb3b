#!/usr/bin/env python3
"""Proves: the senders that people have, over Linux' TCP, against one agent whose sources stand on a data port: each one's messages are in the log, once and in
order where it sends each once, and counted against what it was answered; no connection is reset; no answer of ours is what a sender waits for.
  sources   syslogtcp (lines and octet counts), syslogtcp with TLS, netcat, http
  senders   rsyslogd (omfwd: lines, octet counts, TLS), loggen (the same three), logger, nc and socat (syslogtcp and netcat), curl, ab, wrk, h2load (HTTP/1)
  wire      tap: a TAP of the agent's own; veth: a pair of them; a number: penstock-relay with that loss each way, duplicates and reordering
Stalls are judged from a capture on the agent's side, in retransmissions of the sender's: a segment that is the next one and comes more than twice beyond its
first time (two RTOs) before it is acknowledged is one, and so is an unacknowledged byte of ours that we do not send again within two RTOs, as the longest time
that the peer's ACKs took so far on that connection allows them (RFC 6298 2: three times the first one; a second before there is one). A stall of the machine (its
disk, its CPUs) is none of the agent's: a control beside it, which writes and syncs, tells when there was one.
CHECK_LONG=1 sends ten times as much.   Usage: test_tcp_peers.py PENSTOCK CTL RELAY WIRE.   Exit 77 where the machine cannot do it."""
import collections, json, os, re, shutil, signal, socket, struct, subprocess, sys, time

from tcp_rig import ADDRESS, PORT, Agent, Control, children, delivered, even, finish, found, mode, on_relay, own_namespace, sh, skip, tag, tap_up, until, work

TLS, NETCAT, HTTP = 5141, 5142, 8080
loss = 0.0 if mode in ("tap", "veth") else float(mode)
scale = 10 if os.environ.get("CHECK_LONG") else 1


def wire():
    """The agent's device and the interface on its side."""
    if mode == "tap":
        return f"net_tap0,iface={tag}", tag
    if mode == "veth":
        sh(f"ip link add {tag}a type veth peer name {tag}b && ip link set {tag}b up")
        tap_up(f"{tag}a")
        sh(f"sysctl -qw net.ipv6.conf.{tag}b.disable_ipv6=1 net.ipv4.conf.{tag}b.arp_ignore=8", check=False)
        import ctypes, fcntl		# checksums of a veth are left to hardware that it has not: ETHTOOL_STXCSUM, SIOCETHTOOL
        value = ctypes.create_string_buffer(struct.pack("II", 0x17, 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            fcntl.ioctl(s, 0x8946, struct.pack("16sP16x", f"{tag}a".encode(), ctypes.addressof(value)))
        device = f"net_af_packet0,iface={tag}b"
    else:
        device = on_relay("--loss", mode, *(["--duplicate", "0.01", "--reorder", "0.01"] if loss else []), "--delay", "0.2")
    return device + ",qdisc_bypass=0", f"{tag}b"		# else a capture does not see what the agent sends


class Segment:
    __slots__ = ("at", "ours", "peer", "port", "id", "seq", "ack", "flags", "length", "window")


def segments(capture):
    raw = open(capture, "rb").read()
    nano = raw[:4] == b"\x4d\x3c\xb2\xa1"
    at = 24
    while at + 16 <= len(raw):
        sec, part, size = struct.unpack_from("<III", raw, at)
        f = raw[at + 16:at + 16 + size]
        at += 16 + size
        if len(f) < 54 or f[12:14] != b"\x08\x00" or f[23] != 6:
            continue
        header = (f[14] & 15) * 4
        s = Segment()
        source, to, s.seq, s.ack, offset, s.flags, s.window = struct.unpack_from(">HHIIBBH", f, 14 + header)
        s.at = sec + part / (1e9 if nano else 1e6)
        s.ours = f[26:30] == socket.inet_aton(ADDRESS)
        s.port, s.peer = (source, to) if s.ours else (to, source)
        s.id = struct.unpack_from(">H", f, 18)[0]
        s.length = struct.unpack_from(">H", f, 16)[0] - header - (offset >> 4) * 4
        yield s


def after(a, b):
    return ((a - b) & 0xffffffff) - (a - b & 0x80000000) * 2 > 0


def judge(capture, control):
    """Resets of ours and stalls, by connection."""
    flows = {}
    resets, stalls, late, excused, longest, longest_ours = [], [], [], [], 0.0, 0.0
    for s in segments(capture):
        key = (s.port, s.peer)
        if not s.ours and s.flags & 2 and not (key in flows and flows[key]["next"] == (s.seq + 1) & 0xffffffff):		# that SYN again is none
            flows[key] = f = collections.Counter()
            f["next"], f["begin"] = (s.seq + 1) & 0xffffffff, s.at
            f["ids"], f["times"] = set(), collections.deque()		# times: of what we sent, its end and when it went for the first time
            continue
        f = flows.get(key)
        if f is None:
            continue
        if s.ours:
            if s.flags & 4:
                if not f["done"]:
                    resets.append((key, s.at - f["begin"]))
                continue
            if after(s.ack, f["next"]):
                if f["since"]:
                    longest = max(longest, s.at - f["since"])
                f["next"], f["since"] = s.ack, 0
                f["ids"] = set()
            f["window"] = s.window
            length = s.length + (s.flags & 1) + (s.flags >> 1 & 1)
            if length:
                if not f["una"] and not f["sent"]:
                    f["una"] = s.seq
                if s.seq == f["una"]:			# the head: the first time or again
                    if f["head"]:
                        gap = s.at - f["head"] - control.held(f["head"], s.at)
                        if f["tries"] == 0:
                            longest_ours = max(longest_ours, gap)
                            if gap > 2 * max(1, 3 * f["rtt"]) + 0.1:		# and the timers' ticks
                                late.append((key, gap, f["rtt"]))
                        f["tries"] += 1
                    f["head"] = s.at
                if not f["sent"] or after(s.seq + length & 0xffffffff, f["sent"]):
                    f["sent"] = s.seq + length & 0xffffffff
                    f["times"].append((f["sent"], s.at))
            continue
        if s.flags & 5:
            f["done"] = 1
        if s.flags & 4:
            f["sent"] = f["una"]
            f["head"] = 0
            continue
        if f["sent"] and after(s.ack, f["una"]):
            f["una"], f["head"], f["tries"] = s.ack, 0, 0
            while f["times"] and not after(f["times"][0][0], s.ack):
                f["rtt"] = max(f["rtt"], s.at - f["times"].popleft()[1])
            if after(f["sent"], s.ack):
                f["head"] = s.at
        if s.length and not after(s.seq, f["next"]) and after(s.seq + s.length & 0xffffffff, f["next"]) and f["window"]:
            f["since"] = f["since"] or s.at
            # Not the relay's doing, and behind a timeout, which is 200 ms at least: the parts of a burst with a hole in it are sent again within milliseconds.
            if s.id not in f["ids"] and (not f["ids"] or s.at - f["last"] > 0.15):
                f["ids"].add(s.id)
                f["last"] = s.at
                # The first time and two RTOs; a tail probe may come between.
                if len(f["ids"]) == 4:
                    held = control.held(f["since"], s.at)
                    (excused if held > (s.at - f["since"]) / 2 else stalls).append((key, s.at - f["since"], held))
    return resets, stalls, late, excused, longest, longest_ours, len(flows)


for tool in ("tcpdump", "openssl", "curl", "ab", "wrk", "h2load", "nc", "socat", "logger"):
    if not shutil.which(tool):
        skip(f"no {tool}")
rsyslogd = found("rsyslog.sh", "rsyslog_find && echo $RSYSLOGD")
loggen = found("unpacked.sh", "unpacked loggen usr/bin/loggen syslog-ng-core libivykis0 libnet1 libwrap0 && echo $PROGRAM_PATH")
own_namespace()
try:
    sh(f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout {work}/key.pem -out {work}/cert.pem && "
       f"openssl pkcs12 -export -in {work}/cert.pem -inkey {work}/key.pem -passout pass:secret1 -out {work}/store.p12")
    device, side = wire()
    sources = {
        "r1": {"type": "syslogtcp", "host": ADDRESS, "port": PORT, "keepFields": "all"},
        "r2": {"type": "syslogtcp", "host": ADDRESS, "port": TLS, "keepFields": "all", "ssl": "true", "keystore": f"{work}/store.p12", "keystore-type": "PKCS12",
               "keystore-password": "secret1"},
        "r3": {"type": "netcat", "bind": ADDRESS, "port": NETCAT, "max-line-length": 4096},
        "r4": {"type": "http", "bind": ADDRESS, "port": HTTP}}
    for options in sources.values():			# four losses in a row are half a minute of a sender's backing off
        options |= {"penstock.idle.timeout": "300s", "penstock.frame.timeout": "300s"}
    agent = Agent(device, sources=sources)
    if mode == "tap":
        tap_up(tag)
    agent.up()
    dump = subprocess.Popen(["tcpdump", "-i", side, "-s", "120", "-B", "32768", "-U", "-w", f"{work}/capture", "tcp"], stderr=subprocess.PIPE, text=True)
    children.append(dump)
    until("tcpdump listens", lambda: os.path.exists(f"{work}/capture") and os.path.getsize(f"{work}/capture"))
    begin, control = time.monotonic(), Control()

    # rsyslogd: one message each way, the same ones
    messages = (2000 if loss == 0 else 600 if loss < 0.1 else 60) * scale
    os.makedirs(f"{work}/queue")
    actions = ""
    for name, port, more in (("lf", PORT, ""), ("oct", PORT, 'TCP_Framing="octet-counted"'),
                             ("tls", TLS, 'TCP_Framing="octet-counted" StreamDriver="ossl" StreamDriverMode="1" StreamDriverAuthMode="anon"')):
        actions += f"""template(name="t{name}" type="string" string="<%PRI%>Nov 21 16:00:00 host rsyslog-{name}:%msg%\\n")
action(type="omfwd" target="{ADDRESS}" port="{port}" protocol="tcp" {more} template="t{name}" action.resumeRetryCount="-1" action.resumeInterval="1"
       queue.type="LinkedList" queue.size="100000")
"""
    with open(f"{work}/rsyslog.conf", "w") as f:
        f.write(f"""global(workDirectory="{work}/queue" localHostname="sender.example" DefaultNetstreamDriverCAFile="{work}/cert.pem")
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="{work}/log.sock" RateLimit.Interval="0")
{actions}""")
    daemon = subprocess.Popen([rsyslogd, "-n", "-f", f"{work}/rsyslog.conf", "-i", f"{work}/rsyslog.pid"], stdout=open(f"{work}/rsyslog.log", "w"), stderr=subprocess.STDOUT)
    children.append(daemon)

    # Every other sender at the same time.
    running = {}

    def start(name, command, data=None):
        with open(f"{work}/in-{name}", "wb") as f:
            f.write(data or b"")
        p = subprocess.Popen(command, stdin=open(f"{work}/in-{name}"), stdout=open(f"{work}/out-{name}", "wb"), stderr=subprocess.STDOUT)
        children.append(p)
        running[name] = p

    def lines(name, count):
        return b"".join(b"<13>Nov 21 16:00:00 host %s: n%d %s\n" % (name.encode(), i, b"x" * (i * 7919 % 900)) for i in range(count))

    few = (1000 if loss == 0 else 200 if loss < 0.1 else 30) * scale
    start("nc", ["nc", "-N", ADDRESS, str(PORT)], lines("nc", few))
    start("socat", ["socat", "-u", "STDIN", f"TCP:{ADDRESS}:{PORT}"], lines("socat", few))
    # Records of 16 KiB, more than Linux' first congestion window, at once behind the handshake, with lines from record to record.
    with open(f"{work}/tls.py", "w") as f:
        f.write(f"""import socket, ssl, sys
context = ssl.create_default_context(cafile="{work}/cert.pem")
context.check_hostname = False
c = context.wrap_socket(socket.create_connection(("{ADDRESS}", {TLS})))
c.sendall(sys.stdin.buffer.read())
c.unwrap().shutdown(socket.SHUT_RDWR)
""")
    start("python", [sys.executable, f"{work}/tls.py"], lines("python", few * 2))
    start("logger", ["logger", "-n", ADDRESS, "-P", str(PORT), "-T", "--rfc3164", "--octet-count", "-t", "logger", "-f", "/dev/stdin"], b"".join(b"n%d \n" % i for i in range(few)))
    start("ncok", ["nc", "-N", ADDRESS, str(NETCAT)], lines("ncok", few))
    start("socatok", ["socat", "-t", "100", "-", f"TCP:{ADDRESS}:{NETCAT}"], lines("socatok", few))
    os.environ["SYSLOGNG_PREFIX"] = os.path.dirname(loggen) + "/usr"
    for name, how, port in (("loggen", ["-i", "-S"], PORT), ("loggenoct", ["-i", "-S", "-P"], PORT), ("loggentls", ["-U", "-P"], TLS)):
        start(name, [loggen, *how, "--rate", "50000", "--size", "200", "--interval", "100", "--number", str(messages), ADDRESS, str(port)])
    url = f"http://{ADDRESS}:{HTTP}/"
    for name in ("ab", "h2load", "curl"):
        with open(f"{work}/body-{name}", "w") as f:
            f.write(json.dumps([{"body": f"{name}: n0 "}]))
    with open(f"{work}/wrk.lua", "w") as f:
        f.write("""local n = 0
request = function() n = n + 1; return wrk.format("POST", "/", nil, '[{"body":"wrk: n' .. n .. ' "}]') end
done = function(s, l, r) io.write(string.format("DONE %d %d %d %d %d %d\\n", s.requests, s.errors.connect, s.errors.read, s.errors.write, s.errors.status, s.errors.timeout)) end
""")
    requests = (2000 if loss == 0 else 400 if loss < 0.1 else 60) * scale
    start("ab", ["ab", "-q", "-k", "-n", str(requests), "-c", "4", "-s", "100", "-T", "application/json", "-p", f"{work}/body-ab", url])
    start("h2load", ["h2load", "--h1", "-n", str(requests), "-c", "4", "-d", f"{work}/body-h2load", url])
    start("wrk", ["wrk", "-t", "1", "-c", "8", "-d", f"{3 * scale}s", "--timeout", "100s", "-s", f"{work}/wrk.lua", url])
    curls = max(10, few // 10)
    start("curl", ["curl", "-sS", "-w", "%{http_code}\n", "--data-binary", f"@{work}/body-curl", *[url] * curls])

    until("rsyslogd listens", lambda: os.path.exists(f"{work}/log.sock"))
    log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    log.connect(f"{work}/log.sock")
    for i in range(messages):
        log.send(b"<13>Nov 21 16:00:00 app: n%d " % i + b"x" * (i * 7919 % 300))

    for name, p in running.items():
        try:
            p.wait(400)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{name} does not end: {open(f'{work}/out-{name}').read()[-500:]}\n{agent.flows()}")
        assert p.returncode == 0, (name, p.returncode, open(f"{work}/out-{name}").read()[-1000:])
        if os.environ.get("KEEP"):
            print(f"{time.monotonic() - begin:6.1f} s {name}")
    said = {name: open(f"{work}/out-{name}").read() for name in running}
    # Senders without a reply have closed and gone; what their kernel still has comes when it comes.
    last = [b"rsyslog-%s: n%d " % (name, messages - 1) for name in (b"lf", b"oct", b"tls")] + [b"%s: n%d " % (name, few - 1) for name in (b"nc", b"socat", b"logger")]
    until("the last messages", lambda: all(b in delivered() for b in last) and delivered().count(b", thread: ") == 3 * messages, 300)
    sending = time.monotonic() - begin
    daemon.terminate()
    daemon.wait(100)
    control.over = True
    until("the log is drained", lambda: (s := agent.ctl("status")) and not any(c["unsettled"] for c in s["channels"]), 120)
    text = delivered()
    even(agent)
    counted = {name: agent.metric("TCP", name) for name in ("resets_sent", "timeouts", "retransmits", "out_of_order", "duplicates")}
    agent.stop()
    dump.send_signal(signal.SIGINT)
    told = dump.communicate()[1]
    assert "0 packets dropped by kernel" in told, told

    def numbers(name):
        return [int(n) for n in re.findall(rb"(?m)^.*?\b%s: n(\d+) " % name.encode(), text)]

    def once(name, count, have=None):
        have = numbers(name) if have is None else have
        assert have == list(range(count)), f"{name}: {len(have)} of {count}, or not in order: {have[:5]}"

    for name in ("lf", "oct", "tls"):
        once("rsyslog-" + name, messages)
    for name in ("nc", "socat", "ncok", "socatok", "python"):
        count = few * (2 if name == "python" else 1)
        once(name, count)
        exact = lines(name, count)
        have = [t for t in text.split(b"\n") if b" host %s: " % name.encode() in t]
        wrong = [(t, e) for t, e in zip(have, exact.split(b"\n")) if t != e]
        assert len(have) == count and not wrong, f"{name}: not byte for byte: {len(wrong)} lines, {wrong[:1]}"
    once("logger", few)
    for name in ("ncok", "socatok"):
        assert said[name] == "OK\n" * few, (name, len(said[name]))
    threads = collections.Counter()
    for n in re.findall(rb"seq: (\d+), thread: ", text):
        threads[int(n)] += 1
    assert threads == {i: 3 for i in range(messages)}, [(i, threads[i]) for i in range(messages) if threads[i] != 3][:5]
    for name in ("loggen", "loggenoct", "loggentls"):
        assert f"count={messages}" in said[name], said[name]
    assert len(numbers("ab")) == requests and f"Complete requests:      {requests}" in said["ab"] and "Failed requests:        0" in said["ab"], (len(numbers("ab")), said["ab"])
    assert "Non-2xx" not in said["ab"]
    assert len(numbers("h2load")) == requests and f"status codes: {requests} 2xx" in said["h2load"], (len(numbers("h2load")), said["h2load"])
    assert said["curl"].split() == ["200"] * curls and len(numbers("curl")) == curls, said["curl"]
    answered, *errors = map(int, said["wrk"].split("DONE ")[1].split())
    have = numbers("wrk")
    assert errors == [0] * 5 and len(set(have)) == len(have) and answered <= len(have) <= answered + 8, (answered, len(have), said["wrk"])
    resets, stalls, late, excused, longest, ours, connections = judge(f"{work}/capture", control)
    print(f"{mode}: {connections} connections in {sending:.1f} s, {text.count(10)} events; the next segment waited at most {longest * 1000:.0f} ms for its ACK, "
          f"our first retransmission came within {ours * 1000:.0f} ms; wrk {answered} requests; {counted}; "
          f"{len(excused)} times the machine stood still for longer than a sender waits")
    assert not resets, resets
    assert counted["timeouts"] == 0, counted
    assert not stalls, stalls
    assert not late, late
    if loss:
        assert counted["out_of_order"] > 0 and counted["retransmits"] > 0
finally:
    finish()
