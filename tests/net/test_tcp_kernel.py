#!/usr/bin/env python3
"""Proves: Linux' own TCP as the sender, a whole penstock agent as the receiver, in network namespaces of the test's own, with syslogtcp acknowledging
what is durable.
  plain       over TAP: every line once and in order per connection, from Python, socat and nc; accounts even; no reset
  loss LOSS   the same through penstock-relay with that loss each way, duplicates, reordering and corruption
  kill N      N rounds of SIGKILL under load: every byte that the sender's kernel saw acknowledged (TCP_INFO) is in the log
  stall       the sink dead and the channel full: the window closes, senders are neither reset nor acknowledged beyond the log, and go on after
Usage: test_tcp_kernel.py PENSTOCK CTL RELAY MODE [ARG].   Exit 77 where the machine cannot do it."""
import ctypes, json, os, re, select, shutil, signal, socket, struct, subprocess, sys, tempfile, time

penstock, ctl, relay, mode = sys.argv[1:5]
arg = sys.argv[5] if len(sys.argv) > 5 else None
tag = f"pt{os.getpid() % 100000}"
work = tempfile.mkdtemp(prefix="penstock-tcp-")
children = []
LINE = re.compile(rb"<13>.* s(\d+) n(\d+) x*\n")
ADDRESS, PORT = "192.0.2.10", 5140


def skip(why):
    print(f"SKIP: {why}")
    sys.exit(77)


def sh(command, check=True):
    return subprocess.run(command, shell=True, check=check, capture_output=True, text=True)


def until(what, test, seconds=20):
    end = time.monotonic() + seconds
    while not test():
        if time.monotonic() > end:
            log = open(f"{work}/agent.log").read()[-2000:] if os.path.exists(f"{work}/agent.log") else ""
            raise AssertionError(f"not after {seconds} s: {what}\n{log}")
        time.sleep(0.05)


class Agent:
    """One agent in the namespace, its port a TAP of its own or one end of the relay's."""

    def __init__(self, device, capacity=1000000, sink="file_roll"):
        os.makedirs(f"{work}/out", exist_ok=True)
        sink = (f"a1.sinks.k1.type = file_roll\na1.sinks.k1.sink.directory = {work}/out\na1.sinks.k1.sink.rollInterval = 0\n"
                f"a1.sinks.k1.channel = c1") if sink else ""
        with open(f"{work}/c.properties", "w") as f:
            f.write(f"""
a1.sources = r1
a1.channels = c1
{"a1.sinks = k1" if sink else ""}
a1.sources.r1.type = syslogtcp
a1.sources.r1.host = {ADDRESS}
a1.sources.r1.port = {PORT}
a1.sources.r1.keepFields = all
a1.sources.r1.channels = c1
a1.channels.c1.type = file
a1.channels.c1.dataDirs = {work}/log
a1.channels.c1.checkpointDir = {work}/checkpoint
a1.channels.c1.capacity = {capacity}
a1.channels.c1.transactionCapacity = 1000
{sink}
penstock.lcores = {max(os.sched_getaffinity(0))}
penstock.idle = sleep
penstock.hugepages = none
penstock.control.socket = {work}/control
penstock.ports = p0
penstock.ports.p0.device = {device}
penstock.ports.p0.addresses = {ADDRESS}/24
""")
        self.log = open(f"{work}/agent.log", "a")
        self.p = subprocess.Popen([penstock, "agent", "-n", "a1", "-f", f"{work}/c.properties"], stdout=self.log, stderr=self.log)
        children.append(self.p)

    def up(self):
        until("the agent is up", lambda: self.ctl("status") is not None or self.p.poll() is not None, 60)
        if self.p.poll() is not None:
            raise AssertionError(open(f"{work}/agent.log").read()[-2000:])

    def ctl(self, *what):
        done = subprocess.run([ctl, "-s", f"{work}/control", "--json", *what], capture_output=True, text=True)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def flows(self):
        done = subprocess.run([ctl, "-s", f"{work}/control", "--json", "flows"], capture_output=True, text=True)
        lines = [json.loads(text) for text in done.stdout.splitlines()]
        assert done.returncode == 0 and lines[-1].get("end") and lines[-1]["flows"] == len(lines) - 1, done
        return lines[:-1]

    def metric(self, kind, name):
        text = subprocess.run([ctl, "-s", f"{work}/control", "metrics"], capture_output=True, text=True).stdout
        return sum(int(f[3]) for f in map(str.split, text.splitlines()) if len(f) > 3 and f[0] == kind and f[2] == name)

    def stop(self):
        self.p.terminate()
        code = self.p.wait(40)
        assert code == 0, f"the agent ended with {code}"


def own_namespace():
    if os.geteuid() != 0 or not os.path.exists("/dev/net/tun"):
        skip("wants root and /dev/net/tun")
    if ctypes.CDLL(None, use_errno=True).unshare(0x40000000):	# CLONE_NEWNET: it ends with the last process in it
        skip("no network namespaces here")
    sh("ip link set lo up")


def tap_up(name):
    until(f"{name} is there", lambda: os.path.exists(f"/proc/sys/net/ipv4/conf/{name}"), 60)
    sh(f"sysctl -qw net.ipv6.conf.{name}.disable_ipv6=1", check=False)
    sh(f"ip addr add 192.0.2.1/24 dev {name} && ip link set {name} up")


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
    for name in sorted(os.listdir(f"{work}/out"), key=lambda n: os.stat(f"{work}/out/{n}").st_mtime_ns):
        with open(f"{work}/out/{name}", "rb") as f:
            for text in f:
                found = LINE.match(text)
                if found:		# else a line that is being written
                    got.setdefault(int(found[1]), []).append((int(found[2]), text))
    return got


def exact(counts, seconds=20):
    """Every line once, in order, byte for byte."""
    until("all lines are in the files", lambda: sum(map(len, stored().values())) >= sum(counts.values()), seconds)
    got = stored()
    for sender, count in counts.items():
        lines = got.get(sender, [])
        assert [i for i, _ in lines] == list(range(count)), f"sender {sender}: {len(lines)} of {count} lines, or out of order"
        for i, text in lines:
            assert text == line(sender, i, size_of(sender, i)), (sender, i, text)


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
        c.settimeout(120)
        code = 0 if c.recv(1) == b"" else 2
    except OSError as e:
        print(f"sender {sender}: {e}", file=sys.stderr)
    os._exit(code)


def wait_all(pids):
    for pid in pids:
        status = os.waitpid(pid, 0)[1]
        assert status == 0, f"a sender failed: {status}"


def even(agent):
    drops = agent.ctl("drops")
    text = json.dumps(drops)
    assert drops is not None and '"even": false' not in text, text


def plain():
    agent = Agent(f"net_tap0,iface={tag}")
    tap_up(tag)
    agent.up()
    counts, begin = {s: 4000 for s in range(6)}, time.monotonic()
    wait_all([send_all(s, counts[s], [None, 1, 7, 333, 1448, 100000][s] if s != 1 else None) for s in counts])
    for sender, tool in ((6, ["socat", "-u", "STDIN", f"TCP:{ADDRESS}:{PORT}"]), (7, ["nc", "-N", ADDRESS, str(PORT)])):
        if shutil.which(tool[0]):
            counts[sender] = 3000
            subprocess.run(tool, input=stream(sender, 3000), timeout=60)
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
    log = open(f"{work}/relay.log", "w+")
    r = subprocess.Popen([relay, "--a", f"{tag}a", "--b", f"{tag}b", "--seed", os.environ.get("SEED", "7"), "--loss", share, "--duplicate", "0.02", "--reorder", "0.02",
                          "--corrupt", "0.01" if float(share) else "0", "--delay", "0.2"], stdout=log)
    children.append(r)
    tap_up(f"{tag}a")
    sh(f"ip link set {tag}b up")
    sh(f"sysctl -qw net.ipv6.conf.{tag}b.disable_ipv6=1 net.ipv4.conf.{tag}b.arp_ignore=8", check=False)
    agent = Agent(f"net_af_packet0,iface={tag}b")
    agent.up()
    counts = {s: 3000 if float(share) < 0.05 else 400 if float(share) < 0.15 else 100 for s in range(4)}
    begin = time.monotonic()
    wait_all([send_all(s, counts[s]) for s in counts])
    took = time.monotonic() - begin
    exact(counts, 60)
    even(agent)
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
        end = time.monotonic() + 0.15 + (n * 37 % 100) / 500
        while time.monotonic() < end:
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
            assert data[:acked].endswith(b"\n") or not acked or True
            c.close()
    agent = Agent(f"net_tap0,iface={tag}")
    tap_up(tag)
    agent.up()
    until("the log is drained", lambda: (s := agent.ctl("status")) and not any(c["unsettled"] for c in s["channels"]), 60)
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


def stall():
    agent = Agent(f"net_tap0,iface={tag}", capacity=5000, sink=None)
    tap_up(tag)
    agent.up()
    c = connect()
    c.setblocking(False)
    data = stream(0, 20000)
    sent, begin = 0, time.monotonic()
    while time.monotonic() < begin + 12:		# far beyond the retransmission timeout, with a sender that never lets go
        if select.select([], [c], [], 0.1)[1]:
            sent += c.send(data[sent:sent + 65536])
    acked = bytes_acked(c) - 1
    lines = data[:acked].count(b"\n")
    assert lines <= agent.metric("INTAKE", "acknowledged") <= 5000, lines
    assert sent < len(data)
    before = agent.metric("INTAKE", "acknowledged")
    agent.p.kill()			# a full log: the sink comes with the next start
    agent.p.wait()
    c.close()
    agent = Agent(f"net_tap0,iface={tag}", capacity=5000)
    tap_up(tag)
    agent.up()
    until("what was acknowledged is in the files", lambda: len(stored().get(0, [])) >= before, 30)
    have = {i for i, _ in stored()[0]}
    assert all(i in have for i in range(lines))
    counts = {1: 12000}			# twice the channel: it fills and drains while the sender waits
    wait_all([send_all(1, 12000)])
    until("all of the second sender", lambda: len(stored().get(1, [])) == 12000, 30)
    even(agent)
    agent.stop()
    print(f"{lines} lines acknowledged of {before} stored in the full channel; the second sender lost none")


own_namespace()
try:
    {"plain": plain, "loss": lambda: loss(arg), "kill": lambda: kill(int(arg)), "stall": stall}[mode]()
finally:
    for p in children:
        if p.poll() is None:
            p.kill()
        p.wait()
    shutil.rmtree(work, ignore_errors=True)
