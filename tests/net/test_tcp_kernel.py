#!/usr/bin/env python3
"""Proves: Linux' own TCP as the sender, a whole penstock agent as the receiver, in network namespaces of the test's own, with syslogtcp acknowledging
what is durable.
  plain       over TAP: every line once and in order per connection, from Python, socat and nc; accounts even; no reset
  loss LOSS   the same through penstock-relay with that loss each way, duplicates, reordering and corruption
  kill N      N rounds of SIGKILL under load: every byte that the sender's kernel saw acknowledged (TCP_INFO) is in the log
  restart N   SIGKILL and a new start N times under the same senders, over the relay and over a TAP that goes with the process: they see a long packet loss,
              no reset, and in the end every line is there once and in order
  generator N N rounds of SIGKILL and a new start on one log under penstock-trafficgen's TCP load: every event it reports as acknowledged is there
  replies N   N rounds of SIGKILL and a new start on one log under netcat and http load: every line answered with OK, every request answered with 200 is
              in the log; connections of these sources end with a reset, at the next segment that the sender sends
  rsyslog N   the same under a real rsyslogd with a disk queue, judged from a capture on the TAP: each connection's bytes up to the last ACK seen are in the
              log. Every second start resets the connections (the source has another name): what rsyslog itself loses then is printed
  flood N     N SYNs from as many addresses, 50,000 a second: senders with a rate keep 90 % of it, and every line of theirs is there.
              By hand, on an idle machine: the rate of four processes that sleep is measured (test_tcp.c flood_of_syns has a million on a clock of its own)
  allow       penstock.ports.NAME.allow and penstock.allow of a source: only a sender in both is heard, over TCP and UDP; the others are counted
  stall       the sink dead and the channel full: the window closes, senders are neither reset nor acknowledged beyond the log, and go on after;
              meanwhile a new http connection to that channel is answered with 503, and a source of another channel is not held up
Usage: test_tcp_kernel.py PENSTOCK CTL RELAY MODE [ARG [GENERATOR]].   Exit 77 where the machine cannot do it."""
import io, json, os, re, select, shutil, signal, socket, struct, subprocess, sys, time

from tcp_rig import ADDRESS, PORT, Agent, children, ctl, delivered, even, finish, found, mode, on_relay, own_namespace, sh, skip, tag, tap_up, until, work

arg = sys.argv[5] if len(sys.argv) > 5 else None
trafficgen = sys.argv[6] if len(sys.argv) > 6 else None
LINE = re.compile(rb"<13>.* s(\d+) n(\d+) x*\n")


def line(sender, i, size):
    text = f"<13>Nov 21 16:00:00 host app: s{sender} n{i} "
    return (text + "x" * max(0, size - len(text) - 1) + "\n").encode()


def size_of(sender, i):
    return 60 + (i * 7919 + sender * 104729) % 900


def stream(sender, lines):
    return b"".join(line(sender, i, size_of(sender, i)) for i in range(lines))


def connect():
    c = socket.socket()
    c.settimeout(60)
    c.connect((ADDRESS, PORT))
    return c


def stored():
    """Lines by sender, in the order of the files."""
    got = {}
    for text in io.BytesIO(delivered()):
        found = LINE.match(text)
        if found:		# else a line that is being written
            got.setdefault(int(found[1]), []).append((int(found[2]), text))
    return got


def exact(counts, seconds=120):
    """Every line once, in order, byte for byte."""
    until("all lines are in the files", lambda: sum(map(len, stored().values())) >= sum(counts.values()), seconds)
    got = stored()
    for sender, count in counts.items():
        lines = got.get(sender, [])
        assert [i for i, _ in lines] == list(range(count)), f"sender {sender}: {len(lines)} of {count} lines, or out of order"
        for i, text in lines:
            assert text == line(sender, i, size_of(sender, i)), (sender, i, text)


def drained(agent):
    until("the log is drained", lambda: (s := agent.ctl("status")) and not any(c["unsettled"] for c in s["channels"]), 120)


def send_all(sender, lines, piece=None):
    """A forked sender; it ends when the agent has closed, which it does when all is durable."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        c = connect()
        data = stream(sender, lines)
        if piece:
            c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, sender & 1)
            for at in range(0, len(data), piece):
                c.sendall(data[at:at + piece])
        else:
            c.sendall(data)
        c.shutdown(socket.SHUT_WR)
        c.settimeout(200)
        code = 0 if c.recv(1) == b"" else 2
    except OSError as e:
        print(f"sender {sender}: {e}", file=sys.stderr)
    os._exit(code)


def wait_all(pids):
    for pid in pids:
        status = os.waitpid(pid, 0)[1]
        assert status == 0, f"a sender failed: {status}"


def plain():
    agent = Agent(f"net_tap0,iface={tag}")
    tap_up(tag)
    agent.up()
    counts, begin = {s: 4000 for s in range(6)}, time.monotonic()
    wait_all([send_all(s, counts[s], [None, 1, 7, 333, 1448, 100000][s] if s != 1 else None) for s in counts])
    for sender, tool in ((6, ["socat", "-u", "STDIN", f"TCP:{ADDRESS}:{PORT}"]), (7, ["nc", "-N", ADDRESS, str(PORT)])):
        if shutil.which(tool[0]):
            counts[sender] = 3000
            subprocess.run(tool, input=stream(sender, 3000), timeout=200)
    counts[8] = 200
    wait_all([send_all(8, 200, 1)])		# byte by byte
    c = connect()
    c.sendall(b"<13>no end")
    until("flows shows it and its edges", lambda: any(
        f["state"] == "established" and f["peer"] == f"192.0.2.1:{c.getsockname()[1]}" and f["local"] == f"{ADDRESS}:{PORT}" and
        (f["source"], f["ack"], f["received"], f["durable"], f["acked"]) == ("r1", "durable", 10, 10, 10) and f["window"] > 1000
        for f in agent.flows()))
    assert "PEER" in subprocess.run([ctl, "-s", f"{work}/control", "flows"], capture_output=True, text=True).stdout
    c.close()
    print(f"{sum(counts.values())} lines in {time.monotonic() - begin:.1f} s")
    exact(counts)
    even(agent)
    assert agent.metric("TCP", "resets_sent") == 0
    agent.stop()


def loss(share):
    device = on_relay("--loss", share, "--duplicate", "0.02", "--reorder", "0.02", "--corrupt", "0.01" if float(share) else "0", "--delay", "0.2")
    # Some losses in a row are a minute of a sender's backing off.
    agent = Agent(device, sources={"r1": {"type": "syslogtcp", "host": ADDRESS, "port": PORT, "keepFields": "all", "penstock.frame.timeout": "300s"}})
    agent.up()
    counts = {s: 3000 if float(share) < 0.05 else 400 if float(share) < 0.15 else 100 for s in range(4)}
    begin = time.monotonic()
    tools = []
    for sender, tool in ((4, ["socat", "-u", "STDIN", f"TCP:{ADDRESS}:{PORT}"]), (5, ["nc", "-N", ADDRESS, str(PORT)]),
                         (6, ["logger", "-n", ADDRESS, "-P", str(PORT), "-T", "--rfc3164", "-f", "/dev/stdin"])):
        if shutil.which(tool[0]):
            lines = 40 if float(share) >= 0.15 else 400
            p = subprocess.Popen(tool, stdin=subprocess.PIPE)
            children.append(p)
            p.stdin.write(stream(sender, lines) if sender != 6 else b"".join(b"logger %d\n" % i for i in range(lines)))
            p.stdin.close()
            tools.append((p, lines))
            if sender != 6:
                counts[sender] = lines
    wait_all([send_all(s, counts[s]) for s in range(4)])
    for p, _ in tools:
        assert p.wait(200) == 0, p.args
    took = time.monotonic() - begin
    exact(counts)
    if len(tools) == 3:		# logger writes lines of its own
        def logged():
            return re.findall(rb": logger (\d+)\n", delivered())
        until("logger's lines", lambda: len(logged()) >= tools[2][1])
        assert [int(n) for n in logged()] == list(range(tools[2][1]))
    even(agent)
    assert agent.metric("TCP", "resets_sent") == 0 and agent.metric("TCP", "timeouts") == 0
    print(f"{sum(counts.values())} lines through {share} loss in {took:.1f} s, {agent.metric('TCP', 'out_of_order')} segments out of order, "
          f"{agent.metric('TCP', 'duplicates')} twice")
    if float(share):
        assert agent.metric("TCP", "out_of_order") > 0
    agent.stop()


def bytes_acked(c):
    info = c.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    return struct.unpack_from("Q", info, 120)[0]		# tcpi_bytes_acked; the SYN counts as one


def kill(rounds):
    expected = {}
    for n in range(rounds):
        agent = Agent(f"net_tap0,iface={tag}")
        tap_up(tag)
        agent.up()
        socks = {}
        for k in range(3):
            c = connect()
            c.setblocking(False)
            socks[n * 10 + k] = [c, stream(n * 10 + k, 30000), 0]
        # Under load, that is with something acknowledged already, whatever the disk takes for it.
        limit, end = time.monotonic() + 60, None
        while not end or time.monotonic() < end:
            if not end and sum(bytes_acked(s[0]) for s in socks.values()) > 100000:
                end = time.monotonic() + 0.1 + (n * 37 % 100) / 500
            assert time.monotonic() < limit, "nothing is acknowledged"
            ready = select.select([], [s[0] for s in socks.values()], [], 0.01)[1]
            for s in socks.values():
                if s[0] in ready:
                    s[2] += s[0].send(s[1][s[2]:s[2] + 65536])
        agent.p.kill()
        agent.p.wait()
        time.sleep(0.05)
        for sender, (c, data, sent) in socks.items():
            acked = max(0, bytes_acked(c) - 1)
            assert acked <= sent
            expected[sender] = data[:acked].count(b"\n")
            c.close()
    agent = Agent(f"net_tap0,iface={tag}")
    tap_up(tag)
    agent.up()
    drained(agent)
    agent.stop()
    got = stored()
    total = 0
    for sender, count in expected.items():
        have = {i for i, _ in got.get(sender, [])}
        lost = [i for i in range(count) if i not in have]
        assert not lost, f"sender {sender}: {len(lost)} of {count} acknowledged lines are not in the log, the first is {lost[0]}"
        total += count
    assert total > rounds * 100, total
    print(f"{rounds} rounds, {total} acknowledged lines, none lost")


def slow_sender(sender, until_file):
    """Sends lines until the file is there, then tells their number by its own file; it ends well when the agent has closed."""
    pid = os.fork()
    if pid:
        return pid
    code, i = 1, 0
    try:
        c = connect()
        c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, sender & 1)
        c.settimeout(float(os.environ.get("LIMIT", "100")))
        while not os.path.exists(until_file):
            burst = [1, 40, 300][sender % 3]
            data = b"".join(line(sender, k, size_of(sender, k)) for k in range(i, i + burst))
            i += burst
            half = len(data) * 2 // 3		# in the middle of a line, for a while
            c.sendall(data[:half])
            time.sleep(0.05)
            c.sendall(data[half:])
            time.sleep([0.002, 0.02, 0.01][sender % 3])
        c.shutdown(socket.SHUT_WR)
        code = 0 if c.recv(1) == b"" else 2
        with open(f"{work}/sent{sender}", "w") as f:
            f.write(str(i))
    except OSError as e:
        print(f"sender {sender}: {e}", file=sys.stderr)
    os._exit(code)


def restart(rounds):
    for wire in ("relay", "tap"):
        shutil.rmtree(f"{work}/log", ignore_errors=True)
        shutil.rmtree(f"{work}/checkpoint", ignore_errors=True)
        shutil.rmtree(f"{work}/out", ignore_errors=True)
        device = on_relay() if wire == "relay" else f"net_tap0,iface={tag}"

        def start(sink=None):
            agent = Agent(device, sink=sink)
            if wire == "tap":
                tap_up(tag)
            agent.up()
            return agent

        agent = start()
        stop_file = f"{work}/stop-{wire}"
        pids = [slow_sender(s, stop_file) for s in range(24)]

        def recorded():
            # One of which nothing was acknowledged may not be in the log: it is no connection of the next process, and none that was promised anything.
            return sum(f["state"] == "established" and f["acked"] > 0 for f in agent.flows())

        resumed = 0
        for n in range(rounds):
            until("all connections are in the log", lambda: recorded() == len(pids))
            time.sleep((n * 37 % 100) / 200)
            if n % 4 == 3:
                agent.stop()		# an orderly stop leaves them open, too
            else:
                agent.p.kill()
                agent.p.wait()
            agent = start()
            said = {m: agent.metric("TCP", m) for m in ("resumed", "opened", "resets_sent")}
            assert said == {"resumed": len(pids), "opened": 0, "resets_sent": 0}, (wire, n, said)
            resumed += len(pids)
        time.sleep(0.5)
        open(stop_file, "w").close()
        wait_all(pids)
        assert agent.metric("TCP", "resets_sent") == 0
        counts = {s: int(open(f"{work}/sent{s}").read()) for s in range(len(pids))}
        agent.stop()
        agent = start("file_roll")
        exact(counts)
        agent.stop()
        print(f"{wire}: {rounds} restarts, {resumed} times a connection went on, {sum(counts.values())} lines once each")
        for p in children:			# the relay
            if p.poll() is None:
                p.kill()
                p.wait()


def generator(rounds):
    device = on_relay()
    agent = Agent(device, capacity=5000000, sink=None)
    agent.up()
    with open(f"{work}/report", "w") as report:
        g = subprocess.Popen([trafficgen, "send", "--kernel", "--to", f"{ADDRESS}:{PORT}", "--as", "syslog-tcp", "--sources", "8", "--rate", "8k", "--seed", "3",
                              "--report", f"{work}/report", "--quiet"], stdout=report)
    children.append(g)
    resumed = 0
    for n in range(rounds):
        # Under load, that is with something of this start's in the log, whatever the disk takes for it.
        until("something is acknowledged", lambda: agent.metric("INTAKE", "acknowledged") > 800 or g.poll() is not None)
        time.sleep((n * 37 % 100) / 400)
        agent.p.kill()
        agent.p.wait()
        assert g.poll() is None, "the generator ended"
        agent = Agent(device, capacity=5000000, sink=None)
        agent.up()
        resumed += agent.metric("TCP", "resumed")
    time.sleep(0.5)
    g.terminate()
    assert g.wait(120) == 0
    assert agent.metric("TCP", "resets_sent") == 0
    agent.stop()
    agent = Agent(device, capacity=5000000)
    agent.up()
    drained(agent)
    agent.stop()
    done = subprocess.run([trafficgen, "verify", "--seed", "3", "--sources", "8", "--sent", f"{work}/report", f"file_roll:{work}/out"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    judged = json.loads(done.stdout)
    print(f"{rounds} kills, {resumed} times a connection went on; " + ", ".join(f"{k} {v}" for k, v in judged.items() if isinstance(v, int)))
    assert resumed >= 4 * rounds, resumed


def replies(rounds):
    """By sender: how many of its events were answered. netcat: 40 lines at a time; http: four requests of one event at a time."""
    sources = {"r1": {"type": "netcat", "bind": ADDRESS, "port": 5142}, "r2": {"type": "http", "bind": ADDRESS, "port": 8080}}
    device, answered, resets = on_relay(), {}, 0

    def sender(name, port, http, code):
        """A forked one: writes the number of answers behind each read, until the connection ends."""
        pid = os.fork()
        if pid:
            return pid
        how = 3
        with open(f"{work}/answered-{name}", "w") as f:
            sent = got = 0
            rest = b""
            try:
                c = socket.create_connection((ADDRESS, port), timeout=60)
                for _ in range(20000):
                    batch = b""
                    for _ in range(4 if http else 40):
                        event = b"%s n%d" % (name.encode(), sent)
                        body = b'[{"body":"%s"}]' % event
                        batch += b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body) if http else event + b"\n"
                        sent += 1
                    c.settimeout(60)
                    c.sendall(batch)
                    c.settimeout(0.5)
                    while got < sent:
                        try:
                            more = c.recv(65536)
                        except socket.timeout:		# all it sent was received; the next segment is reset
                            break
                        if not more:
                            raise ConnectionResetError
                        rest += more
                        got += rest.count(code)
                        rest = rest[rest.rfind(code) + len(code):] if code in rest else rest
                        f.write(f"{got}\n")
                        f.flush()
                    time.sleep(0.002)		# else most of the time goes into reading the log again
            except ConnectionResetError:
                how = 0
            except OSError as e:
                print(f"{name}: {e}", file=sys.stderr)
        os._exit(how)

    def answers(name):
        try:
            text = open(f"{work}/answered-{name}").read().rpartition("\n")[0].split()
        except FileNotFoundError:
            return 0
        return int(text[-1]) if text else 0

    agent = Agent(device, capacity=5000000, sink=None, sources=sources)
    agent.up()
    for n in range(rounds):
        pids = [sender(f"q{n}-{k}", 8080 if k & 1 else 5142, k & 1, b"HTTP/1.1 200 OK\r\n" if k & 1 else b"OK\n") for k in range(4)]
        # Under load, that is with answers to each, whatever the disk takes for them.
        until("each has its answers", lambda: all(answers(f"q{n}-{k}") >= (4 if k & 1 else 100) for k in range(4)))
        time.sleep((n * 37 % 100) / 400)
        agent.p.kill()
        agent.p.wait()
        agent = Agent(device, capacity=5000000, sink=None, sources=sources)
        agent.up()
        wait_all(pids)			# each was reset, with the next segment it sent
        resets += agent.metric("TCP", "resets_sent")
    agent.stop()
    agent = Agent(device, capacity=5000000, sources=sources)
    agent.up()
    drained(agent)
    agent.stop()
    have = set(delivered().split(b"\n"))
    for n in range(rounds):
        for k in range(4):
            answered[f"q{n}-{k}"] = answers(f"q{n}-{k}")
    lost = [(name, i) for name, count in answered.items() for i in range(count) if b"%s n%d" % (name.encode(), i) not in have]
    print(f"{rounds} kills, {sum(answered.values())} answered events, {len(lost)} of them not in the log; {len(have)} stored; {resets} resets told")
    assert not lost, lost[:5]
    assert sum(answered.values()) > 100 * rounds and resets >= rounds


def acknowledged_lines(capture):
    """By connection, the lines below the last ACK seen, from a capture of raw Ethernet frames."""
    data, acks, first = {}, {}, {}
    raw = open(capture, "rb").read()
    at = 24
    while at + 16 <= len(raw):
        size = struct.unpack_from("<I", raw, at + 8)[0]
        frame = raw[at + 16:at + 16 + size]
        at += 16 + size
        if frame[12:14] != b"\x08\x00" or frame[23] != 6:
            continue
        ip = frame[14:14 + struct.unpack_from(">H", frame, 16)[0]]
        tcp = ip[(ip[0] & 15) * 4:]
        source, to, seq, ack, offset, flags = struct.unpack_from(">HHIIBB", tcp)
        payload = tcp[(offset >> 4) * 4:]
        if to == PORT:
            if flags & 2:
                first[source] = (seq + 1) & 0xffffffff
                data.setdefault((source, first[source]), {})
            if payload and source in first:
                key = (source, first[source])
                data[key][(seq - first[source]) & 0xffffffff] = payload
        elif source == PORT and to in first and flags & 16 and not flags & 6:
            key = (to, first[to])
            acks[key] = max(acks.get(key, 0), (ack - first[to]) & 0xffffffff)
    lines = []
    for key, pieces in data.items():
        stream, end = bytearray(), 0
        for at in sorted(pieces):
            if at > end:
                break				# never seen: it was not acknowledged either, or the capture has a hole
            stream[at:at + len(pieces[at])] = pieces[at]
            end = len(stream)
        acked = acks.get(key, 0)
        if acked == len(stream) + 1:		# the FIN
            acked -= 1
        assert acked <= len(stream), f"the capture misses bytes of {key}: {acked} acknowledged, {len(stream)} seen"
        lines += bytes(stream[:acked]).split(b"\n")[:-1]
    return lines, len(data)


def rsyslog(rounds):
    if not shutil.which("tcpdump"):
        skip("no tcpdump")
    device = on_relay()
    os.makedirs(f"{work}/queue")
    with open(f"{work}/rsyslog.conf", "w") as f:
        f.write(f"""global(workDirectory="{work}/queue" localHostname="sender.example")
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="{work}/log.sock" RateLimit.Interval="0" UseSysTimeStamp="on" UsePIDFromSystem="off")
action(type="omfwd" target="{ADDRESS}" port="{PORT}" protocol="tcp" template="RSYSLOG_TraditionalForwardFormat" action.resumeRetryCount="-1"
       action.resumeInterval="1" queue.type="Disk" queue.filename="q" queue.saveOnShutdown="on" queue.size="1000000")
""")
    dump = subprocess.Popen(["tcpdump", "-i", f"{tag}a", "-s", "0", "-B", "32768", "-U", "-w", f"{work}/capture", f"tcp port {PORT}"], stderr=subprocess.PIPE, text=True)
    children.append(dump)
    sources = ["r1", "r2"]
    agent = Agent(device)
    agent.up()
    until("tcpdump listens", lambda: os.path.exists(f"{work}/capture") and os.path.getsize(f"{work}/capture"))
    daemon = subprocess.Popen([rsyslogd, "-n", "-f", f"{work}/rsyslog.conf", "-i", f"{work}/rsyslog.pid"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    children.append(daemon)
    until("rsyslogd listens", lambda: os.path.exists(f"{work}/log.sock"))
    log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    log.connect(f"{work}/log.sock")
    sent = 0

    def write_for(seconds):
        nonlocal sent
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for _ in range(20):
                log.send(b"<13>Nov 21 16:00:00 app: n%d " % sent + b"x" * (sent * 7919 % 300))
                sent += 1
            time.sleep(0.01)

    name = went_on = 0
    for n in range(rounds):
        write_for(0.4)
        # Under load, that is with something of this start's in the log: rsyslogd connects when it likes, and the disk takes its time.
        until("something is acknowledged", lambda: write_for(0.1) or agent.metric("INTAKE", "acknowledged") > 100)
        write_for(0.3)
        agent.p.kill()
        agent.p.wait()
        name ^= n & 1
        agent = Agent(device, source=sources[name])
        agent.up()
        went_on += agent.metric("TCP", "resumed")
    write_for(1.0)
    numbers = re.compile(rb" n(\d+) ")

    def read_all():
        return delivered().split(b"\n")

    last = b" n%d " % (sent - 1)
    until("the last message has come", lambda: any(last in t for t in read_all()), 120)
    time.sleep(0.5)
    daemon.terminate()
    daemon.wait(100)
    drained(agent)
    agent.stop()
    dump.send_signal(signal.SIGINT)
    told = dump.communicate()[1]
    assert "0 packets dropped by kernel" in told, told
    have = set(read_all())
    lines, connections = acknowledged_lines(f"{work}/capture")
    lost = [t for t in lines if t not in have]
    came = {int(m[1]) for m in map(numbers.search, have) if m}
    missing = [i for i in range(sent) if i not in came]
    print(f"{rounds} kills, {connections} connections, {went_on} times one went on; {len(lines)} lines acknowledged on the wire, {len(lost)} of them not in the log; "
          f"of {sent} messages rsyslog's own loss at resets is {len(missing)}")
    assert not lost, lost[:3]
    assert len(lines) > 50 * rounds and went_on >= rounds // 4


def stall():
    agent = Agent(f"net_tap0,iface={tag}", capacity=5000, sink=None, sources={
        "r1": {"type": "syslogtcp", "host": ADDRESS, "port": PORT, "keepFields": "all"},
        "r2": {"type": "syslogtcp", "host": ADDRESS, "port": 5141, "keepFields": "all", "channels": "c2"},
        "r3": {"type": "http", "bind": ADDRESS, "port": 8080}}, more=f"""
a1.channels.c1.keep-alive = 0
a1.channels.c2.type = file
a1.channels.c2.dataDirs = {work}/log2
a1.channels.c2.checkpointDir = {work}/checkpoint2
""")
    tap_up(tag)
    agent.up()

    def post():
        with socket.create_connection((ADDRESS, 8080), timeout=60) as h:
            h.sendall(b'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 14\r\n\r\n[{"body":"x"}]')
            return h.recv(1000)[9:12]

    assert post() == b"200"
    c = connect()
    c.setblocking(False)
    data = stream(0, 20000)
    sent, grown, before = 0, time.monotonic(), None
    limit = grown + 100
    while time.monotonic() < grown + 12:		# far beyond the retransmission timeout, with a sender that never lets go
        if select.select([], [c], [], 0.1)[1]:
            sent += c.send(data[sent:sent + 65536])
        if before != (before := agent.metric("INTAKE", "acknowledged")):
            assert time.monotonic() < limit, "it does not fill"
            grown = time.monotonic()
    acked = bytes_acked(c) - 1
    lines = data[:acked].count(b"\n")
    assert agent.metric("INTAKE", "acknowledged") == before
    assert lines <= before <= 5000, lines
    assert sent < len(data)
    assert post() == post() == b"503"
    other = socket.create_connection((ADDRESS, 5141), timeout=100)
    other.sendall(stream(2, 5000))
    other.shutdown(socket.SHUT_WR)
    assert other.recv(1) == b""
    assert agent.metric("INTAKE", "acknowledged") == before + 5000
    assert agent.metric("TCP", "resets_sent") == 0
    agent.p.kill()			# a full log: the sink comes with the next start
    agent.p.wait()
    c.close()
    agent = Agent(f"net_tap0,iface={tag}", capacity=5000)
    tap_up(tag)
    agent.up()
    # One of them was posted. (The connection may go on from there: its kernel sends the rest until it gives up.)
    until("what was acknowledged is in the files", lambda: len(stored().get(0, [])) >= before - 1)
    have = {i for i, _ in stored()[0]}
    assert all(i in have for i in range(lines))
    counts = {1: 12000}			# twice the channel: it fills and drains while the sender waits
    wait_all([send_all(1, 12000)])
    until("all of the second sender", lambda: len(stored().get(1, [])) == 12000)
    even(agent)
    agent.stop()
    print(f"{lines} lines acknowledged of {before} stored in the full channel; the second sender lost none")


def flood(syns):
    agent = Agent(f"net_tap0,iface={tag}")
    tap_up(tag)
    agent.up()
    sh(f"ip link set {tag} txqueuelen 20000")	# what a busy machine's agent is late with is not lost
    stop_file, senders = f"{work}/stop", 4
    pids = [slow_sender(3 * s + 1, stop_file) for s in range(senders)]		# the middle one: 40 lines each 70 ms
    until("all send", lambda: sum(f["acked"] > 10000 for f in agent.flows()) == senders)

    def stored_lines():
        return agent.metric("INTAKE", "acknowledged"), time.monotonic()

    own = bytes.fromhex(re.search(r"link/ether (\S+)", sh(f"ip -o link show {tag}").stdout)[1].replace(":", ""))
    agents = bytes.fromhex(re.search(r"lladdr (\S+)", sh(f"ip neigh show {ADDRESS} dev {tag}").stdout)[1].replace(":", ""))
    to = socket.inet_aton(ADDRESS)

    def fold(total):
        total = (total & 0xffff) + (total >> 16)
        return ~((total & 0xffff) + (total >> 16)) & 0xffff

    def words(data):
        return sum(struct.unpack(f">{len(data) // 2}H", data))

    ip_sum = words(struct.pack(">BBHHHBBH", 0x45, 0, 44, 0, 0, 64, 6, 0)) + words(to)
    tcp_sum = words(struct.pack(">HHIIBBHHHBBH", 40000, PORT, 0, 0, 0x60, 2, 64000, 0, 0, 2, 4, 1460)) + words(to) + 6 + 24
    head = agents + own + b"\x08\x00"
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    wire.bind((tag, 0))
    lines, begin = stored_lines()
    time.sleep(3)
    now, at = stored_lines()
    alone = (now - lines) / (at - begin)
    lines, begin = now, at
    os.nice(10)			# it is the agent that is tried, not the scheduler
    for i in range(syns):
        if i % 500 == 0:
            time.sleep(max(0, begin + i / 50000 - time.monotonic()))	# 50,000 a second
        high, low = 0x0a00 + (i >> 16), i & 0xffff
        frame = head + struct.pack(">BBHHHBBHHH4sHHIIBBHHHBBH", 0x45, 0, 44, 0, 0, 64, 6, fold(ip_sum + high + low), high, low, to,
                                   40000, PORT, i, 0, 0x60, 2, 64000, fold(tcp_sum + high + low + (i >> 16) + low), 0, 2, 4, 1460)
        try:
            wire.send(frame)
        except OSError:			# the device's queue is full
            pass
    now, at = stored_lines()
    under = (now - lines) / (at - begin)
    seen = agent.metric("TCP", "cookies_sent") + agent.metric("TCP", "opened") - senders
    print(f"{syns} SYNs in {at - begin:.1f} s, {seen} of them answered; {alone:.0f} lines/s before them, {under:.0f} lines/s meanwhile")
    open(stop_file, "w").close()
    wait_all(pids)
    exact({3 * s + 1: int(open(f"{work}/sent{3 * s + 1}").read()) for s in range(senders)})
    even(agent)
    assert seen > syns // 2
    assert under >= 0.9 * alone, (alone, under)
    agent.stop()


def allow():
    agent = Agent(f"net_tap0,iface={tag}", more="penstock.ports.p0.allow = 192.0.2.1/32 192.0.2.3/32", sources={
        "r1": {"type": "syslogtcp", "host": ADDRESS, "port": PORT, "keepFields": "all"},
        "r2": {"type": "syslogtcp", "host": ADDRESS, "port": 5141, "keepFields": "all", "penstock.allow": "192.0.2.2/31"},	# .2 and .3
        "r3": {"type": "syslogudp", "host": ADDRESS, "port": 5142, "keepFields": "all"}})
    tap_up(tag)
    for last in (2, 3):
        subprocess.run(f"ip addr add 192.0.2.{last}/24 dev {tag}", shell=True, check=True)
    agent.up()

    def speaks(last, port):
        nonlocal longest
        with socket.socket() as c:
            c.bind((f"192.0.2.{last}", 0))
            # As long as it takes to be heard, and twice as long as any that was for those that are not.
            c.settimeout(max(1, 2 * longest) if (last, port) not in those else 60)
            began = time.monotonic()
            try:
                c.connect((ADDRESS, port))
                c.sendall(b"<13>from %d to %d\n" % (last, port))
                c.shutdown(socket.SHUT_WR)
                return c.recv(1) == b""
            except OSError:
                return False
            finally:
                if (last, port) in those:
                    longest = max(longest, time.monotonic() - began)

    those, longest = {(1, PORT), (3, PORT), (3, 5141)}, 0
    heard = {(last, port): speaks(last, port) for last in (1, 3, 2) for port in (PORT, 5141)}
    assert heard == {(last, port): (last, port) in those for last in (1, 2, 3) for port in (PORT, 5141)}, heard
    for last in (1, 2, 3):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as c:
            c.bind((f"192.0.2.{last}", 0))
            for i in range(10):
                c.sendto(b"<13>udp %d from %d" % (i, last), (ADDRESS, 5142))

    until("20 datagrams and 3 lines", lambda: delivered().count(b"\n") == 23)
    assert sorted(set(re.findall(rb"from (\d+)", delivered()))) == [b"1", b"3"], delivered()
    drops = json.dumps(agent.ctl("drops"))
    assert re.search(r'sender_not_allowed\D*[1-9]', drops), drops
    even(agent)
    agent.stop()
    print("heard: " + ", ".join(f"{last}->{port}" for (last, port), ok in heard.items() if ok))


rsyslogd = found("rsyslog.sh", "rsyslog_find && echo $RSYSLOGD") if mode == "rsyslog" else None
own_namespace()
try:
    {"plain": plain, "loss": lambda: loss(arg), "kill": lambda: kill(int(arg)), "restart": lambda: restart(int(arg)), "stall": stall, "allow": allow, "flood": lambda: flood(int(arg)),
     "replies": lambda: replies(int(arg)),
     "generator": lambda: generator(int(arg)), "rsyslog": lambda: rsyslog(int(arg))}[mode]()
finally:
    finish()
