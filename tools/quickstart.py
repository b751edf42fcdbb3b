#!/usr/bin/env python3
"""The main job on embedded defaults, with a reckoning. Run by ./quickstart, which installs and builds first."""
import argparse
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
WORK = os.path.join(ROOT, "build", "quickstart")
SOURCES = 64
EVENT_BYTES = 200
PROBE_SECONDS = 4
SHARE = 0.6			# of the rate found, to be paced at
RATE_LEAST = 30_000
ATTEMPTS = 3			# each at half the rate of the one before

AGENT = """\
# Written by ./quickstart: datagrams to a durable log to files.
a1.sources = r1
a1.channels = c1
a1.sinks = k1

a1.sources.r1.type = syslogudp
a1.sources.r1.host = {bind}
a1.sources.r1.port = {port}
a1.sources.r1.channels = c1
a1.sources.r1.interceptors = i1
a1.sources.r1.interceptors.i1.type = timestamp

a1.channels.c1.type = file
a1.channels.c1.checkpointDir = {work}/log/checkpoint
a1.channels.c1.dataDirs = {work}/log/data
a1.channels.c1.capacity = 10000000
a1.channels.c1.transactionCapacity = 10000

a1.sinks.k1.type = file_roll
a1.sinks.k1.channel = c1
a1.sinks.k1.sink.directory = {work}/out
a1.sinks.k1.sink.rollInterval = 0
a1.sinks.k1.sink.batchSize = 5000

penstock.control.socket = {work}/penstock.sock
"""

PORT = """\
penstock.lcores = {lcore}
penstock.hugepages = {pages}
penstock.ports = p0
penstock.ports.p0.device = net_memif0,role=server,socket={work}/memif.sock,socket-abstract=no
penstock.ports.p0.addresses = 192.0.2.10/24
"""


class Trouble(Exception):
    """Ends the run with its text."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def program(name):
    """build/NAME, or where the build puts it."""
    found = [os.path.join(ROOT, "build", name)] + sorted(glob.glob(os.path.join(ROOT, "build", "*", "**", name), recursive=True))
    for path in found:
        if os.access(path, os.X_OK) and os.path.isfile(path):
            return path
    raise Trouble(f"build/{name} is not there: run ./quickstart, which builds it")


class Children:
    """Every process started here, ended by its own id whatever happens."""

    def __init__(self):
        self.running = []

    def start(self, argv, log):
        with open(log, "ab") as out:
            child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, cwd=WORK)
        self.running.append(child)
        return child

    def end(self, child, seconds=30):
        """SIGTERM and its exit status; SIGKILL when that takes too long (None)."""
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(seconds)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
                return None
        return child.returncode

    def end_all(self):
        for child in self.running:
            self.end(child, 5)


class Way:
    """How datagrams get from the generator to the collector."""

    def __init__(self, name, lcore=None, generator_cpu=0, pages="auto"):
        self.name, self.lcore, self.generator_cpu, self.pages = name, lcore, generator_cpu, pages

    def agent_file(self):
        text = AGENT.format(work=WORK, bind="192.0.2.10" if self.lcore is not None else "127.0.0.1", port=514 if self.lcore is not None else 15514)
        if self.lcore is not None:
            text += PORT.format(work=WORK, lcore=self.lcore, pages=self.pages)
        return text

    def send_options(self):
        if self.lcore is None:
            return ["--kernel", "--to", "127.0.0.1:15514"]
        options = ["--device", f"net_memif0,role=client,socket={WORK}/memif.sock,socket-abstract=no", "--from", "192.0.2.100/24",
                   "--to", "192.0.2.10:514", "--cpu", str(self.generator_cpu)]
        # --hold: what is in the rings when a memif client leaves is lost; so the generator leaves last.
        return options + ["--hold"] + (["--no-huge"] if self.pages == "none" else [])


def small_buffer(way):
    """Bytes of the largest socket buffer an ordinary user gets, when that is too few to wait out a pause of the collector; else 0."""
    if way.lcore is not None or os.geteuid() == 0:
        return 0
    try:
        with open("/proc/sys/net/core/rmem_max", encoding="ascii") as file:
            most = int(file.read())
    except (OSError, ValueError):
        return 0
    return most if most < 4 << 20 else 0


def free_huge_bytes():
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            figures = dict(line.split(":", 1) for line in file)
        return int(figures["HugePages_Free"]) * int(figures["Hugepagesize"].split()[0]) * 1024
    except (OSError, KeyError, ValueError, IndexError):
        return 0


def ways():
    """Best first; each is tried when the one before does not start."""
    cpus = sorted(os.sched_getaffinity(0))
    found = []
    if os.geteuid() == 0:
        if free_huge_bytes() >= 512 << 20:
            found.append(Way("DPDK over memif, huge pages", cpus[-1], cpus[0]))
        found.append(Way("DPDK over memif, no huge pages (--no-huge)", cpus[-1], cpus[0], "none"))
    found.append(Way("kernel sockets on loopback"))
    return found


class Agent:
    """One run of the collector in a fresh work directory."""

    def __init__(self, children, way):
        self.children, self.way = children, way
        self.log = os.path.join(WORK, "penstock.log")
        for part in ("log", "out", "memif.sock", "penstock.sock"):
            path = os.path.join(WORK, part)
            if os.path.isdir(path):
                shutil.rmtree(path)
            elif os.path.lexists(path):
                os.unlink(path)
        for part in ("out", "log/checkpoint", "log/data"):
            os.makedirs(os.path.join(WORK, part))
        config = os.path.join(WORK, "agent.properties")
        with open(config, "w", encoding="ascii") as file:
            file.write(way.agent_file())
        self.child = children.start([program("penstock"), "agent", "-n", "a1", "-f", config], self.log)

    def ask(self, *words):
        """penstockctl's answer, or None."""
        argv = [program("penstockctl"), "-s", os.path.join(WORK, "penstock.sock"), "--json", *words]
        run = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=20)
        try:
            return json.loads(run.stdout.strip().splitlines()[-1])
        except (ValueError, IndexError):
            return None

    def wait_ready(self, seconds=30):
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.child.poll() is None:
            answer = self.ask("status") if os.path.exists(os.path.join(WORK, "penstock.sock")) else None
            if answer and answer.get("ok", True):
                return True
            time.sleep(0.1)
        return False

    def figures(self):
        """received, stored, delivered so far."""
        answer = self.ask("metrics")
        total = {"received": 0, "stored": 0, "delivered": 0}
        names = {("SOURCE", "EventReceivedCount"): "received", ("CHANNEL", "EventPutSuccessCount"): "stored",
                 ("SINK", "EventDrainSuccessCount"): "delivered"}
        for metric in (answer or {}).get("metrics", []):
            key = names.get((metric["kind"], metric["name"]))
            if key:
                total[key] += metric["value"]
        return total

    def accounts(self):
        """Drops by name, and the sum of what an account cannot explain."""
        drops, unexplained = {}, 0
        answer = self.ask("drops") or {}
        for account in answer.get("accounts", []):
            unexplained += abs(account.get("difference", 0))
            for part in account.get("out", []):
                if part["value"] and (part["name"].startswith("drop_") or part["name"] in ("channel_full", "failed", "filtered", "unrouted")):
                    name = part["name"].removeprefix("drop_")
                    drops[name] = drops.get(name, 0) + part["value"]
        if "accounts" not in answer:
            raise Trouble("penstockctl drops gave no account")
        return drops, unexplained

    def tail(self):
        try:
            with open(self.log, encoding="utf-8", errors="replace") as file:
                return "".join(file.readlines()[-12:])
        except OSError:
            return ""


def progress(text, last=False):
    if sys.stderr.isatty():
        print(f"\r{text:<100}", end="\n" if last else "", file=sys.stderr, flush=True)
    elif last or time.monotonic() - progress.told > 4:
        progress.told = time.monotonic()
        say(text)


progress.told = 0.0


def send(children, way, report, options):
    if os.path.exists(report):
        os.unlink(report)
    argv = [program("penstock-trafficgen"), "send", *way.send_options(), "--as", "syslog-udp", "--size", str(EVENT_BYTES),
            "--sources", str(SOURCES), "--quiet", "--report", report, *options]
    return children.start(argv, os.path.join(WORK, "trafficgen.log"))


def reported(child, report):
    """The report, as soon as it stands there whole; None while the generator sends."""
    ended = child.poll() is not None  # asked first: what it wrote before it ended is there then
    try:
        with open(report, encoding="ascii") as file:
            return json.load(file)
    except (OSError, ValueError):
        if not ended:
            return None
        with open(os.path.join(WORK, "trafficgen.log"), encoding="utf-8", errors="replace") as file:
            raise Trouble("the generator failed:\n" + "".join(file.readlines()[-5:])) from None


def settle(agent, sent, what, seconds=90):
    """Waits until nothing moves any more and all that is stored is delivered. False: it was still on its way."""
    end, still = time.monotonic() + seconds, 0
    before = None
    while time.monotonic() < end:
        if agent.child.poll() is not None:
            raise Trouble(f"the collector ended with status {agent.child.returncode}:\n" + agent.tail())
        now = agent.figures()
        progress(f"{what}: {now['received']:,} received, {now['stored']:,} stored, {now['delivered']:,} delivered of {sent:,} sent")
        still = still + 1 if now == before else 0
        if now["delivered"] >= now["stored"] and now["stored"] > 0 and (still >= 2 or now["stored"] >= sent):
            return True
        if still >= 25:
            return False
        before = now
        time.sleep(0.2)
    return False


def start(children):
    """The collector by the first way that works."""
    for way in ways():
        agent = Agent(children, way)
        if agent.wait_ready():
            say(f"running: {way.name}")
            return agent
        children.end(agent.child, 5)
        say(f"does not start: {way.name}")
        say(agent.tail().rstrip())
    raise Trouble("the collector starts in no way; its log is above")


def find_rate(children):
    """Full load for some seconds: what came to be stored of it a second."""
    agent = start(children)
    report = os.path.join(WORK, "probe.json")
    child = send(children, agent.way, report, ["--seconds", str(PROBE_SECONDS), "--seed", "7"])
    best, last = 0.0, None
    while not (sent := reported(child, report)):
        now = (time.monotonic(), agent.figures())
        if last and now[1]["stored"] > last[1]["stored"]:
            seconds = now[0] - last[0]
            # The slower of log and files: what the log takes alone would only pile up in it.
            best = max(best, min(now[1]["stored"] - last[1]["stored"], max(now[1]["delivered"] - last[1]["delivered"], 1)) / seconds)
        if not last or now[0] - last[0] > 1:
            last = now
        progress(f"finding a rate: {now[1]['stored']:,} stored")
        time.sleep(0.25)
    average = agent.figures()["stored"] / max(sent["seconds"], 0.1)
    children.end(agent.child)
    children.end(child)
    rate = average if best <= 0 else min(best, average)
    if rate < 1:
        raise Trouble("nothing was stored while finding a rate:\n" + agent.tail())
    progress(f"finding a rate: {sent['events_per_second']:,.0f}/s offered, {rate:,.0f}/s taken", last=True)
    return agent.way, rate


def main_run(children, way, rate, count):
    agent = Agent(children, way)
    if not agent.wait_ready():
        raise Trouble("the collector did not start again:\n" + agent.tail())
    report = os.path.join(WORK, "sent.json")
    began = time.monotonic()
    child = send(children, way, report, ["--count", str(count), "--rate", str(int(rate)), "--seed", "1"])
    while not (sent := reported(child, report)):
        if agent.child.poll() is not None:
            raise Trouble(f"the collector ended with status {agent.child.returncode}:\n" + agent.tail())
        now = agent.figures()
        left = (count - now["received"]) / rate
        progress(f"paced at {rate:,.0f}/s: {now['received']:,} received, {now['stored']:,} stored, {now['delivered']:,} delivered, {left:.0f} s left")
        time.sleep(0.5)
    drained = settle(agent, sent["events"], "draining")
    seconds = time.monotonic() - began
    figures = agent.figures()
    drops, unexplained = agent.accounts()
    status = children.end(agent.child)
    children.end(child)
    progress("verifying" if drained else "not everything drained; verifying", last=True)
    argv = [program("penstock-trafficgen"), "verify", "--seed", "1", "--sources", str(SOURCES), "--sent", report, "--require-all",
            "--report", os.path.join(WORK, "verify.json"), f"file_roll:{WORK}/out"]
    run = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if not os.path.exists(os.path.join(WORK, "verify.json")):
        raise Trouble("verify failed: " + run.stderr.strip())
    with open(os.path.join(WORK, "verify.json"), encoding="ascii") as file:
        verified = json.load(file)
    os.unlink(os.path.join(WORK, "verify.json"))
    return {"sent": sent, "figures": figures, "drops": drops, "unexplained": unexplained, "verified": verified, "status": status,
            "seconds": seconds}


def table(way, rate, found, run):
    sent, verified = run["sent"], run["verified"]
    rows = [("sent", sent["events"]), ("stored in the log", run["figures"]["stored"]), ("delivered to files", verified["unique"])]
    rows += [(f"dropped: {name}", value) for name, value in sorted(run["drops"].items())] or [("dropped", 0)]
    rows += [("lost", verified["lost"]), ("twice", verified["duplicated"]), ("corrupted", verified["corrupted"]), ("not ours", verified["phantom"]),
             ("unexplained in the accounts", run["unexplained"])]
    print(f"\n  {way.name}, {EVENT_BYTES} bytes an event, paced at {rate:,.0f}/s ({rate / found:.0%} of the rate found)\n")
    for name, value in rows:
        print(f"  {name:<32}{value:>16,}")
    print(f"  {'events a second':<32}{sent['events_per_second']:>16,.0f}")


def quickstart(children, args):
    os.makedirs(WORK, exist_ok=True)
    for name in ("penstock.log", "trafficgen.log"):
        with open(os.path.join(WORK, name), "w", encoding="ascii"):
            pass
    disk = shutil.disk_usage(WORK).free
    if disk < args.events * EVENT_BYTES * 4:
        raise Trouble(f"{WORK}: {disk >> 20} MiB free, {args.events * EVENT_BYTES * 4 >> 20} MiB wanted: make room, or give --events")
    way, found = find_rate(children)
    buffer = small_buffer(way)
    share = SHARE / 2 if buffer else SHARE
    if buffer:
        say(f"an ordinary user's socket buffer holds {buffer >> 10} KiB: a gentler pace, and a busy machine may lose some all the same "
            "(sysctl -w net.core.rmem_max=33554432 mends it)")
    rate = max(found * share, RATE_LEAST)
    attempts = []
    while True:
        run = main_run(children, way, rate, args.events)
        attempts.append({"rate": int(rate), "lost": run["verified"]["lost"]})
        if run["verified"]["lost"] == 0 or len(attempts) == ATTEMPTS or time.time() - args.began + args.events / rate * 2 > 200:
            break
        say(f"{run['verified']['lost']:,} lost at {rate:,.0f}/s ({', '.join(run['drops']) or 'no drop named'}): once more at half the rate")
        rate /= 2
    table(way, rate, found, run)
    for attempt in attempts[:-1]:
        print(f"  an attempt at {attempt['rate']:,}/s before lost {attempt['lost']:,}")
    result = {
        "events_sent": run["sent"]["events"], "events_stored": run["figures"]["stored"], "events_delivered": run["verified"]["unique"],
        "events_lost": run["verified"]["lost"], "frames_unexplained": run["unexplained"],
        "events_per_second": round(run["sent"]["events_per_second"]), "seconds": round(time.time() - args.began, 1), "way": way.name,
        "rate_found": round(found), "attempts": attempts, "drops": run["drops"], "verify": run["verified"],
    }
    with open(os.path.join(ROOT, "build", "quickstart.json"), "w", encoding="ascii") as file:
        json.dump(result, file, indent=1)
        file.write("\n")
    good = (run["verified"]["lost"] == 0 and run["unexplained"] == 0 and run["verified"]["corrupted"] == 0 and run["verified"]["phantom"] == 0
            and run["status"] == 0)
    if run["status"] != 0:
        print(f"  the collector ended with status {run['status']}:\n{Agent.tail(argparse.Namespace(log=os.path.join(WORK, 'penstock.log')))}")
    print(f"  {'seconds in all':<32}{result['seconds']:>16,.0f}\n")
    print("Run it yourself:     build/penstock agent -n a1 -f examples/syslog-to-files.properties")
    print("Send it something:   logger -n 127.0.0.1 -P 5140 -d hello")
    print("See and go on:       build/penstockctl status; README.md; the agent file of this run: build/quickstart/agent.properties")
    return 0 if good else 1


def clean():
    """The data goes (gigabytes); configuration, logs and reports stay."""
    for part in ("log", "out"):
        shutil.rmtree(os.path.join(WORK, part), ignore_errors=True)
    for part in ("memif.sock", "penstock.sock"):
        if os.path.lexists(os.path.join(WORK, part)):
            os.unlink(os.path.join(WORK, part))


def main():
    parser = argparse.ArgumentParser(prog="./quickstart", description=__doc__)
    parser.add_argument("--events", type=int, default=5_000_000, help="to send (default 5000000)")
    parser.add_argument("--keep", action="store_true", help="leave the log and the files in build/quickstart")
    parser.add_argument("--began", type=float, default=time.time(), help=argparse.SUPPRESS)
    args = parser.parse_args()
    children = Children()

    def interrupted(number, _frame):
        raise Trouble(f"stopped by signal {number}")
    signal.signal(signal.SIGINT, interrupted)
    signal.signal(signal.SIGTERM, interrupted)
    try:
        return quickstart(children, args)
    except Trouble as trouble:
        say(f"quickstart: {trouble}")
        return 1
    finally:
        children.end_all()
        if not args.keep:
            clean()


if __name__ == "__main__":
    sys.exit(main())
