"""What the measurements share: processes, the collector, the generator, rows of the table."""
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, "build")
WORK = os.path.join(BUILD, "bench")
CACHE = os.environ.get("PENSTOCK_CACHE") or os.path.expanduser("~/.cache/penstock")
CPUS = sorted(os.sched_getaffinity(0))
EVENT_BYTES = 200
LOAD = os.getloadavg()[0]


class Trouble(Exception):
    """Ends one measurement with its text; the others go on."""


class Run:
    """One run of ./bench: how long each thing may take, and the rows found."""

    def __init__(self, quick):
        self.quick = quick
        self.rounds = 2 if quick else 5
        self.rows = []
        self.group = None		# whose rows come now

    def seconds(self, full, quick):
        return quick if self.quick else full

    def row(self, name, unit, values, reference=None, reference_values=None, goal=None, goal_of="value", note=""):
        """One line of the table. values: one a round, the median counts. reference_values: measured by turns with them, in pairs; the
        ratio is then the median of the pairs' ratios. goal: (">=", 2.0) or ("<=", 120), of the value or of the ratio."""
        values = list(values) if isinstance(values, (list, tuple)) else [values]
        value, other, ratio = statistics.median(values), None, None
        if reference_values is not None:
            others = list(reference_values) if isinstance(reference_values, (list, tuple)) else [reference_values]
            other = statistics.median(others)
            pairs = [a / b for a, b in zip(values, others) if b] if len(others) == len(values) else [value / other] if other else []
            ratio = statistics.median(pairs) if pairs else None
        met = None
        judged = value if goal_of == "value" else ratio
        if goal and judged is not None:
            met = judged >= goal[1] if goal[0] == ">=" else judged <= goal[1]
        row = {"group": self.group, "name": name, "unit": unit, "value": value, "reference": reference, "reference_value": other, "ratio": ratio,
               "least": min(values), "most": max(values), "rounds": len(values), "goal": f"{goal_of} {goal[0]} {goal[1]:g}" if goal else None,
               "met": met, "note": note}
        self.rows.append(row)
        print(text_line(row), flush=True)

    def missing(self, name, reason):
        row = {"group": self.group, "name": name, "unit": "", "value": None, "reference": None, "reference_value": None, "ratio": None, "least": None, "most": None,
               "rounds": 0, "goal": None, "met": None, "note": f"not measured: {reason}"}
        self.rows.append(row)
        print(text_line(row), flush=True)


def figure(value):
    if value is None:
        return ""
    if value >= 10_000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 1000 else f"{value:.1f}" if value >= 100 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def goal_text(row):
    if not row["goal"]:
        return ""
    return row["goal"].replace("value ", "") + (": met" if row["met"] else ": missed" if row["met"] is False else "")


HEAD = f"{'work':<62}{'penstock':>12} {'unit':<12}{'peer or limit':>14}{'ratio':>9}  {'goal':<22}least to most; beside what"


def text_line(row):
    spread = f"{figure(row['least'])} to {figure(row['most'])}" if row["rounds"] > 1 else ""
    rest = "; ".join(part for part in (spread, row["reference"] or "", row["note"]) if part)
    ratio = figure(row["ratio"]) if row["ratio"] is not None else ""
    return f"{row['name']:<62}{figure(row['value']):>12} {row['unit']:<12}{figure(row['reference_value']):>14}{ratio:>9}  {goal_text(row):<22}{rest}"


def markdown(rows):
    lines = ["| work | penstock | least to most | beside | its figure | ratio | goal |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        note = f" ({row['note']})" if row["note"] else ""
        value = f"{figure(row['value'])} {row['unit']}" if row["value"] is not None else ""
        spread = f"{figure(row['least'])} to {figure(row['most'])}" if row["rounds"] > 1 else ""
        lines.append(f"| {row['name']}{note} | {value} | {spread} | {row['reference'] or ''} | {figure(row['reference_value'])} | "
                     f"{figure(row['ratio'])} | {goal_text(row)} |")
    return "\n".join(lines)


def put_tables(text, rows, head):
    """The text of a document with these rows in it: a group's where the document has a place for that group, the others in the one for all."""
    places = {}
    for row in rows:
        own = f"bench {row['group']}"
        places.setdefault(own if f"<!-- {own} -->\n" in text else "bench", []).append(row)
    for place, its in places.items():
        before, mark, rest = text.partition(f"<!-- {place} -->\n")
        _, end, after = rest.partition(f"<!-- /{place} -->")
        if not mark or not end:
            raise Trouble(f"no lines <!-- {place} --> and <!-- /{place} --> in it")
        text = f"{before}{mark}\n{head}\n\n{markdown(its)}\n\n{end}{after}"
    return text


def machine():
    """What it was measured on, in a few words."""
    model = "an unknown CPU"
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return f"{len(CPUS)} CPUs ({model}), Linux {os.uname().release}, load average before {LOAD:.1f}"


def say(text):
    print(text, file=sys.stderr, flush=True)


def program(name):
    for folder, _, files in os.walk(BUILD):
        path = os.path.join(folder, name)
        if name in files and os.access(path, os.X_OK) and not os.path.islink(path):
            return path
    raise Trouble(f"{name} is not built: ninja -C build")


def fresh(name):
    """An empty directory on the disk of the clone."""
    path = os.path.join(WORK, name)
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    return path


def free_port(kind=socket.SOCK_DGRAM):
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Servers:
    """What a script of tests/lib starts, until end(): the script ends with an echo of `count` words, which come as self.words."""

    def __init__(self, script, count, what):
        self.shell = subprocess.Popen(["bash", "-c", script + "; read line"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.words = self.shell.stdout.readline().split()
        if len(self.words) != count:
            raise Trouble(f"no {what}: see tests/lib")

    def end(self):
        try:
            self.shell.communicate("\n", timeout=60)
        except subprocess.TimeoutExpired:
            self.shell.kill()


RUNNING = []


def start(argv, log, env=None, stdin=subprocess.DEVNULL, stdout=None):
    os.makedirs(WORK, exist_ok=True)
    with open(log, "ab") as out:
        child = subprocess.Popen(argv, stdin=stdin, stdout=stdout or out, stderr=out, start_new_session=True, cwd=WORK, env=env)
    RUNNING.append(child)
    return child


def end(child, seconds=30):
    """SIGTERM, SIGKILL when that takes too long. Its exit status."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    if child in RUNNING:
        RUNNING.remove(child)
    return child.returncode


def end_all():
    for child in list(RUNNING):
        end(child, 5)


def tail(path, lines=6):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return "".join([line for line in file if line.strip()][-lines:]).strip()
    except OSError:
        return ""


def wait_for(what, seconds, why):
    """what() until it answers something true; then that."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = what()
        if answer:
            return answer
        time.sleep(0.02)
    raise Trouble(why)


def huge_pages():
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            figures = dict(line.split(":", 1) for line in file)
        return int(figures["HugePages_Free"]) * int(figures["Hugepagesize"].split()[0]) >= 512 << 10
    except (OSError, KeyError, ValueError, IndexError):
        return False


class Agent:
    """penstock agent a1 of those lines, in a fresh directory; ends with the block."""

    def __init__(self, lines, name="agent"):
        self.dir = fresh(name)
        self.socket = os.path.join(self.dir, "penstock.sock")
        self.log = os.path.join(self.dir, "penstock.log")
        file = os.path.join(self.dir, "a.properties")
        with open(file, "w", encoding="ascii") as out:
            out.write("\n".join(lines).replace("{dir}", self.dir) + f"\npenstock.control.socket = {self.socket}\n")
        self.child = start([program("penstock"), "agent", "-n", "a1", "-f", file], self.log)

    def __enter__(self):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self.child.poll() is None:
            if os.path.exists(self.socket) and (self.ask("status") or {}).get("ok"):
                return self
            time.sleep(0.05)
        said = tail(self.log)
        self.__exit__()
        raise Trouble(f"penstock does not start: {said}")

    def __exit__(self, *_):
        end(self.child)
        shutil.rmtree(self.dir, ignore_errors=True)

    def ask(self, *words):
        run = subprocess.run([program("penstockctl"), "-s", self.socket, "--json", *words], stdin=subprocess.DEVNULL, capture_output=True,
                             text=True, check=False, timeout=20)
        try:
            return json.loads(run.stdout.strip().splitlines()[-1])
        except (ValueError, IndexError):
            return None

    def metrics(self):
        """(kind, name) -> sum over all components."""
        total = {}
        for metric in (self.ask("metrics") or {}).get("metrics", []):
            key = (metric["kind"], metric["name"])
            total[key] = total.get(key, 0) + metric["value"]
        return total

    def settled(self, seconds=60):
        """Waits until nothing moves; then the metrics."""
        before, deadline = None, time.monotonic() + seconds
        while time.monotonic() < deadline:
            now = self.metrics()
            if not now:
                raise Trouble(f"penstock ended: {tail(self.log)}")
            state = [now.get(key, 0) for key in (("INTAKE", "offered"), ("CHANNEL", "EventPutSuccessCount"), ("LISTEN", "datagrams_in"))]
            if state == before and not now.get(("INTAKE", "in_flight"), 0):
                return now
            before = state
            time.sleep(0.1)
        raise Trouble("it does not come to rest")

    def cpu_seconds(self):
        """Of all threads, as the scheduler counts it in ns."""
        return cpu_seconds(self.child.pid)


def cpu_seconds(pid):
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as file:
            total += int(file.read().split()[0])
    return total / 1e9


def file_channel(**more):
    options = {"type": "file", "checkpointDir": "{dir}/checkpoint", "dataDirs": "{dir}/data", "capacity": 10_000_000,
               "transactionCapacity": 10_000, **more}
    return [f"a1.channels.c1.{key} = {value}" for key, value in options.items()]


def memory_channel():
    return ["a1.channels.c1.type = memory", "a1.channels.c1.capacity = 1000000", "a1.channels.c1.transactionCapacity = 10000"]


def null_sink():
    return ["a1.sinks.k1.type = null", "a1.sinks.k1.channel = c1", "a1.sinks.k1.batchSize = 10000"]


def agent_lines(source, channel):
    """One source of those options, one channel, the null sink."""
    lines = ["a1.sources = r1", "a1.channels = c1", "a1.sinks = k1"]
    lines += [f"a1.sources.r1.{key} = {value}" for key, value in source.items()] + ["a1.sources.r1.channels = c1"]
    return lines + channel + null_sink()


class Generator:
    """penstock-trafficgen send with those options; report() when it has sent."""

    def __init__(self, options):
        self.path = os.path.join(WORK, "sent.json")
        self.log = os.path.join(WORK, "trafficgen.log")
        if os.path.exists(self.path):
            os.unlink(self.path)
        if os.path.exists(self.log):
            os.unlink(self.log)
        argv = [program("penstock-trafficgen"), "send", "--as", "syslog-udp", "--size", str(EVENT_BYTES), "--sources", "64", "--quiet",
                "--report", self.path, *options]
        self.child = start(argv, self.log)

    def report(self, seconds):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            ended = self.child.poll() is not None
            try:
                with open(self.path, encoding="ascii") as file:
                    return json.load(file)
            except (OSError, ValueError):
                if ended:
                    break
            time.sleep(0.05)
        raise Trouble(f"the generator does not end: {tail(self.log)}")

    def close(self):
        end(self.child)
