"""tcp_rig: one penstock agent and Linux' own TCP beside it in a network namespace of the test's own, for the tests of this directory; to be imported.
The test's arguments begin with PENSTOCK CTL RELAY MODE."""
import ctypes, json, os, shutil, subprocess, sys, tempfile, threading, time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from agent import wait_for

penstock, ctl, relay, mode = sys.argv[1:5]
tag = f"pt{os.getpid() % 100000}"
work = tempfile.mkdtemp(prefix="penstock-tcp-")
children = []
ADDRESS, PORT = "192.0.2.10", 5140


def skip(why):
    print(f"SKIP: {why}")
    sys.exit(77)


def found(script, what):
    """What the shell function prints that finds or fetches a program (before own_namespace, where nothing can be fetched); else the test is skipped."""
    lib = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib")
    done = subprocess.run(["bash", "-c", f"cd {lib} && . ./{script} && {what}"], capture_output=True, text=True)
    if done.returncode:
        skip((done.stdout.strip() or what.split()[1] + " could not be fetched").removeprefix("SKIP: "))
    return done.stdout.strip()


def sh(command, check=True):
    return subprocess.run(command, shell=True, check=check, capture_output=True, text=True)


def until(what, test, seconds=60):
    """The bounds are against tests that hang, not a speed that is asked for: machines are slow, and disks pause."""
    wait_for(test, lambda: what + "\n" + (open(f"{work}/agent.log").read()[-2000:] if os.path.exists(f"{work}/agent.log") else ""), seconds)


class Agent:
    """One agent in the namespace, its port a TAP of its own or one end of the relay's."""

    def __init__(self, device, capacity=1000000, sink="file_roll", source="r1", sources=None, more=""):
        """source: the name of one syslogtcp; or sources: name -> its options."""
        syslog = {"type": "syslogtcp", "host": ADDRESS, "port": PORT, "keepFields": "all"}
        sources = "".join(f"a1.sources.{name}.{key} = {value}\n" for name, options in (sources or {source: syslog}).items()
                          for key, value in {"channels": "c1", **options}.items())
        names = sorted({row.split(".")[2] for row in sources.splitlines()})
        channels = sorted({row.split()[2] for row in sources.splitlines() if ".channels = " in row})
        os.makedirs(f"{work}/out", exist_ok=True)
        sink = (f"a1.sinks.k1.type = file_roll\na1.sinks.k1.sink.directory = {work}/out\na1.sinks.k1.sink.rollInterval = 0\n"
                f"a1.sinks.k1.channel = c1") if sink else ""
        with open(f"{work}/c.properties", "w") as f:
            f.write(f"""
a1.sources = {" ".join(names)}
a1.channels = {" ".join(channels)}
{"a1.sinks = k1" if sink else ""}
{sources}
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
{more}
""")
        self.log = open(f"{work}/agent.log", "a")
        self.p = subprocess.Popen([penstock, "agent", "-n", "a1", "-f", f"{work}/c.properties"], stdout=self.log, stderr=self.log)
        children.append(self.p)

    def up(self):
        until("the agent is up", lambda: self.ctl("status") is not None or self.p.poll() is not None, 120)
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
        done = subprocess.run([ctl, "-s", f"{work}/control", "metrics"], capture_output=True, text=True)
        assert done.returncode == 0, done
        text = done.stdout
        return sum(int(f[3]) for f in map(str.split, text.splitlines()) if len(f) > 3 and f[0] == kind and f[2] == name)

    def stop(self):
        self.p.terminate()
        code = self.p.wait(120)
        assert code == 0, f"the agent ended with {code}"


def delivered():
    """What the file_roll sink has written, in the order of its files; a name with a dot in front is the sink's own."""
    names = [f"{work}/out/{n}" for n in os.listdir(f"{work}/out") if n[0] != "."]
    return b"".join(open(n, "rb").read() for n in sorted(names, key=lambda n: os.stat(n).st_mtime_ns))


def own_namespace():
    if os.geteuid() != 0 or not os.path.exists("/dev/net/tun"):
        skip("wants root and /dev/net/tun")
    if ctypes.CDLL(None, use_errno=True).unshare(0x40000000):	# CLONE_NEWNET: it ends with the last process in it
        skip("no network namespaces here")
    sh("ip link set lo up")
    # Senders that lose much send again every five seconds at least, where the kernel can be told so: else some losses in a row are minutes.
    # And they do not give up meanwhile: a closed one has but one try once it has backed off to that, if nothing else is said.
    sh("sysctl -qw net.ipv4.tcp_orphan_retries=60 net.ipv4.tcp_retries2=60 net.ipv4.tcp_rto_max_ms=5000", check=False)


def there(name):
    until(f"{name} is there", lambda: os.path.exists(f"/proc/sys/net/ipv4/conf/{name}"), 120)


def tap_up(name):
    there(name)
    sh(f"sysctl -qw net.ipv6.conf.{name}.disable_ipv6=1", check=False)
    sh(f"ip addr add 192.0.2.1/24 dev {name} && ip link set {name} up")


def even(agent):
    """When what is under way (a last ACK, a frame in a burst) has come."""
    drops = None

    def so():
        nonlocal drops
        drops = agent.ctl("drops")
        return drops is not None and '"even": false' not in json.dumps(drops)
    try:
        until("the accounts are even", so)
    except AssertionError:
        raise AssertionError(f"not even: {json.dumps(drops)}")


def on_relay(*how):
    """A relay, without loss unless told: the sender's wire stays when the agent dies. Returns the agent's device."""
    children.append(subprocess.Popen([relay, "--a", f"{tag}a", "--b", f"{tag}b", "--seed", os.environ.get("SEED", "7"), *how], stdout=subprocess.DEVNULL))
    tap_up(f"{tag}a")
    there(f"{tag}b")
    sh(f"ip link set {tag}b up")
    sh(f"sysctl -qw net.ipv6.conf.{tag}b.disable_ipv6=1 net.ipv4.conf.{tag}b.arp_ignore=8", check=False)
    return f"net_af_packet0,iface={tag}b"


class Control(threading.Thread):
    """What the machine itself is late with while a test looks at times: waits 20 ms, writes a byte beside the agent's log and syncs it, over and over. Where that
    stands still, so may the agent."""

    def __init__(self):
        super().__init__(daemon=True)
        self.steps, self.over = [], False		# (begin, end) of those that took long, of the clock of captures
        self.start()

    def run(self):
        with open(f"{work}/control-of-time", "wb", 0) as f:
            while not self.over:
                begin = time.time()
                time.sleep(0.02)
                f.write(b"x")
                os.fdatasync(f.fileno())
                end = time.time()
                if end - begin > 0.1:
                    self.steps.append((begin, end))

    def held(self, begin, end):
        """The seconds between these two in which it stood still."""
        return sum(max(0, min(end, e) - max(begin, b)) for b, e in self.steps)


def finish():
    """What is still running, by its id, and the directory (KEEP=1 keeps it)."""
    for p in children:
        if p.poll() is None:
            p.kill()
        p.wait()
    if os.environ.get("KEEP"):
        print(f"kept: {work}")
    else:
        shutil.rmtree(work, ignore_errors=True)
