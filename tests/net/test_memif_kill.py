#!/usr/bin/env python3
"""A memif client that is killed while the daemon polls it does the daemon no harm. Generators at full load are killed: some at a random moment, some
while the data core stands still in the middle of a burst (stopped there by ptrace, as when it is torn from its CPU for a while). Then one runs to its
end, nothing of it is lost, and both accounts are even. Usage: test_memif_kill.py PENSTOCK CTL GEN [KILLS [SEED]]"""
import ctypes, json, os, random, subprocess, sys, tempfile, time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from agent import PATIENCE_S, wait_for

penstock, ctl, gen = sys.argv[1:4]
kills = int(sys.argv[4]) if len(sys.argv) > 4 else 24
seed = int(sys.argv[5]) if len(sys.argv) > 5 else 1
cpus = sorted(os.sched_getaffinity(0))
children = []

AGENT = """\
penstock.lcores = {lcore}
penstock.memory = 128m
penstock.hugepages = none
penstock.ports = p0
penstock.ports.p0.device = net_memif0,role=server,socket={work}/memif.sock,socket-abstract=no
penstock.ports.p0.addresses = 192.0.2.10/24
penstock.control.socket = {work}/a1.sock
a1.sources = r1
a1.channels = c1
a1.sinks = k1
a1.sources.r1.type = syslogudp
a1.sources.r1.host = 192.0.2.10
a1.sources.r1.port = 514
a1.sources.r1.channels = c1
a1.channels.c1.type = memory
a1.channels.c1.capacity = 1000000
a1.channels.c1.transactionCapacity = 10000
a1.sinks.k1.type = null
a1.sinks.k1.batchSize = 10000
a1.sinks.k1.channel = c1
"""


def start(argv, log):
    with open(log, "ab") as out:
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    children.append(child)
    return child


def words(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()[-1500:]


class Daemon:
    def __init__(self, work):
        self.work = work
        with open(f"{work}/a.properties", "w", encoding="utf-8") as file:
            file.write(AGENT.format(work=work, lcore=cpus[-1]))
        command = [penstock, "agent", "-n", "a1", "-f", f"{work}/a.properties"]
        self.child = start([*os.environ.get("WRAP", "").split(), *command], f"{work}/agent.log")
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            if self.child.poll() is not None:
                if "DPDK does not start" in words(f"{work}/agent.log"):
                    print("SKIP: DPDK does not start here")
                    sys.exit(77)
                raise AssertionError(words(f"{work}/agent.log"))
            if self.ask("status"):
                return
            time.sleep(0.05)
        raise AssertionError("the agent is not up")

    def ask(self, *request):
        done = subprocess.run([ctl, "-s", f"{self.work}/a1.sock", "--json", *request], capture_output=True, text=True, timeout=PATIENCE_S)
        return json.loads(done.stdout) if done.stdout else None

    def parsed(self, when):
        """Events the source has read."""
        answer = self.ask("drops")
        assert self.child.poll() is None and answer, f"the daemon ended with {self.child.poll()} {when}: {words(self.work + '/agent.log')}"
        return sum(a["in"]["value"] for a in answer["accounts"] if a["account"] == "events")

    def generator(self, *options):
        return start([gen, "send", "--device", f"net_memif0,role=client,socket={self.work}/memif.sock,socket-abstract=no", "--no-huge",
                      "--cpu", str(cpus[0]), "--from", "192.0.2.100/24", "--to", "192.0.2.10:514", "--as", "syslog-udp", *map(str, options)],
                     f"{self.work}/generator.log")


class Tracer:
    """Stops the data core's thread inside the memif driver."""

    def __init__(self, pid):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        names = {tid: words(f"/proc/{pid}/task/{tid}/comm") for tid in os.listdir(f"/proc/{pid}/task")}
        self.tid = int(next(tid for tid, name in names.items() if name.startswith(("rte-worker", "lcore-worker"))))
        self.ranges = []
        with open(f"/proc/{pid}/maps", encoding="utf-8") as maps:
            for line in maps:
                if "net_memif" in line and "x" in line.split()[1]:
                    self.ranges.append([int(x, 16) for x in line.split()[0].split("-")])
        self.works = bool(self.ranges)

    def call(self, request, data=None):
        return self.libc.ptrace(request, self.tid, None, data) == 0

    def stop_in_burst(self):
        """True: it stands in there until go()."""
        for _ in range(2000 if self.works else 0):
            if not self.call(0x4206):  # PTRACE_SEIZE
                self.works = False
                break
            self.call(0x4207)  # PTRACE_INTERRUPT
            os.waitpid(self.tid, 0x40000000)  # __WALL
            registers = (ctypes.c_ulonglong * 27)()
            self.call(12, registers)  # PTRACE_GETREGS
            if any(low <= registers[16] < high for low, high in self.ranges):  # rip
                return True
            self.go()
        return False

    def go(self):
        self.call(17)  # PTRACE_DETACH


def main(work):
    dice = random.Random(seed)
    daemon = Daemon(work)
    tracer = Tracer(daemon.child.pid)
    before = inside = 0
    for kill in range(kills):
        child = daemon.generator()
        end = time.monotonic() + PATIENCE_S
        while daemon.parsed(f"at kill {kill}") == before:
            assert child.poll() is None and time.monotonic() < end, "the generator does not send: " + words(f"{work}/generator.log")
        stopped = kill % 2 and tracer.stop_in_burst()
        time.sleep(dice.random() * 0.02)
        child.kill()
        child.wait()
        time.sleep(0.05)
        if stopped:
            tracer.go()
            inside += 1
        before = daemon.parsed(f"at kill {kill}")
    daemon.generator("--count", 50000).wait(PATIENCE_S)  # leaves of itself
    count, left = 100000, -1
    while left != (before := daemon.parsed("when a generator left")):  # until nothing of it comes any more
        left = before
        time.sleep(0.5)
    child = daemon.generator("--count", count, "--rate", 50000, "--hold", "--report", f"{work}/report")
    end = time.monotonic() + PATIENCE_S
    while (came := daemon.parsed("before a generator stays to the end") - before) < count:
        assert time.monotonic() < end, f"{came} of {count}: {words(work + '/report')} {daemon.ask('drops')}"
        time.sleep(0.05)
    child.terminate()
    child.wait(PATIENCE_S)
    daemon.parsed("when a generator stayed to the end")
    wait_for(lambda: daemon.ask("drops")["even"], lambda: f"an account is uneven: {daemon.ask('drops')}", 30)
    daemon.child.terminate()
    assert daemon.child.wait(PATIENCE_S) == 0, f"exit status {daemon.child.returncode}: {words(f'{work}/agent.log')}"
    print(f"{kills} kills survived, {inside} of them in the middle of a burst, {before + came} events")


with tempfile.TemporaryDirectory(prefix="penstock-memif-") as place:
    try:
        main(place)
    finally:
        for one in children:
            if one.poll() is None:
                one.kill()
                one.wait()
