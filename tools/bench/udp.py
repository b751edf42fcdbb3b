"""Syslog datagrams of 200 bytes into the synced log: the rate at which nothing is lost, what the generator can do, what idling costs."""
import os
import subprocess
import time

import common
from common import Trouble

SEARCH_SECONDS = 3
STEP_DOWN = 0.95
LOST_MOST = 6		# runs that lost something, before the search gives up


class Wire:
    """A memif socket of its own: the far side listens, the generator joins and leaves last. The data core has `cpu`, all the rest `other`."""

    def __init__(self, cpu=common.CPUS[-1], other=common.CPUS[0]):
        self.cpu, self.other = cpu, other
        self.socket = os.path.join(common.WORK, "memif.sock")
        self.huge = common.huge_pages()

    def port_lines(self, **more):
        if os.path.exists(self.socket):
            os.unlink(self.socket)
        options = {"lcores": self.cpu, "hugepages": "auto" if self.huge else "none", "ports": "p0",
                   "ports.p0.device": f"net_memif0,role=server,socket={self.socket},socket-abstract=no", "ports.p0.addresses": "192.0.2.10/24", **more}
        return [f"penstock.{key} = {value}" for key, value in options.items()]

    def send_options(self):
        options = ["--device", f"net_memif0,role=client,socket={self.socket},socket-abstract=no", "--from", "192.0.2.100/24", "--to", "192.0.2.10:514",
                   "--cpu", str(self.other), "--hold"]
        return options + ([] if self.huge else ["--no-huge"])


def memif_run(wire, rate, seconds):
    """One run: what was sent a second, how many of it were not stored, the collector's metrics."""
    lines = common.agent_lines({"type": "syslogudp", "host": "192.0.2.10", "port": 514}, common.file_channel()) + wire.port_lines()
    with common.Agent(lines) as agent:
        generator = common.Generator([*wire.send_options(), "--seconds", str(seconds), "--rate", str(int(rate)) if rate else "max"])
        try:
            sent = generator.report(seconds + 40)
            metrics = agent.settled()
            even = (agent.ask("drops") or {}).get("even")
        finally:
            common.end(agent.child)		# the collector first: DPDK 22.11's memif server may crash when its client leaves
            generator.close()
    if not even:
        raise Trouble("the accounts are not even")
    return sent["events_per_second"], sent["events"] - metrics.get(("CHANNEL", "EventPutSuccessCount"), 0), metrics


def no_drop(run, wire):
    offered, lost, _ = memif_run(wire, 0, SEARCH_SECONDS)
    common.say(f"  as fast as it goes: {offered:,.0f}/s offered, {lost:,} lost")
    rate = 0 if lost == 0 else offered
    searched = 0
    while rate and searched < 12:		# short runs: down until nothing is lost
        rate *= STEP_DOWN
        searched += 1
        offered, lost, _ = memif_run(wire, rate, SEARCH_SECONDS)
        common.say(f"  {rate:,.0f}/s: {offered:,.0f}/s sent, {lost:,} lost")
        if lost == 0:
            break
        rate = min(rate, offered)
    rates, ratios, losing = [], [], 0
    while len(rates) < run.rounds:
        offered, lost, metrics = memif_run(wire, rate, run.seconds(10, 4))
        common.say(f"  {'max' if not rate else f'{rate:,.0f}/s'}: {offered:,.0f}/s sent, {lost:,} lost")
        if lost == 0:
            rates.append(offered / 1e6)
            ratios.append(metrics[("CHANNEL", "log_bytes")] / (metrics[("CHANNEL", "EventPutSuccessCount")] * common.EVENT_BYTES))
            continue
        losing += 1
        rate = (rate or offered) * STEP_DOWN
        rates, ratios = [], []			# all rounds at one rate
        if losing == LOST_MOST:
            raise Trouble(f"something is lost at {rate:,.0f}/s still")
    return rates, ratios, losing


def generator_alone(run, wire):
    """The generator on a core of its own against a receiver that drops everything."""
    rates = []
    for _ in range(run.rounds):
        if os.path.exists(wire.socket):
            os.unlink(wire.socket)
        log = os.path.join(common.WORK, "drop_receiver.log")
        argv = [common.program("drop_receiver"), f"net_memif0,role=server,socket={wire.socket},socket-abstract=no", "192.0.2.10/24", str(common.CPUS[-1])]
        receiver = common.start(argv + ([] if wire.huge else ["no-huge"]), log)
        try:
            common.wait_for(lambda: os.path.exists(wire.socket) or receiver.poll() is not None, 20, "the receiver does not start")
            generator = common.Generator([*wire.send_options(), "--seconds", str(run.seconds(3, 2)), "--rate", "max"])
            try:
                rates.append(generator.report(60)["events_per_second"] / 1e6)
            finally:
                common.end(receiver)
                generator.close()
        finally:
            common.end(receiver)
    return rates


def idle(run, wire):
    """Share of a core while no packets come."""
    lines = common.agent_lines({"type": "syslogudp", "host": "192.0.2.10", "port": 514}, common.file_channel()) + wire.port_lines(idle="sleep")
    shares = []
    with common.Agent(lines) as agent:
        time.sleep(run.seconds(4, 3))	# the log's first segments are zeroed, naps get long
        for _ in range(run.rounds):
            before, began = agent.cpu_seconds(), time.monotonic()
            time.sleep(run.seconds(4, 2))
            shares.append((agent.cpu_seconds() - before) / (time.monotonic() - began) * 100)
    return shares


def full_blocks(run):
    """Log bytes for each byte of payload, blocks full: bodies of 200 bytes with two headers."""
    directory = common.fresh("blocks")
    out = subprocess.run([common.program("run_channel"), "uring", str(run.seconds(3_000_000, 500_000)), "1", "1", directory], capture_output=True,
                         text=True, check=True).stdout
    common.fresh("blocks")
    return float(out.split("groups,")[1].split()[0])


def measure(run):
    wire = Wire()
    note = "" if wire.huge else "no huge pages free"
    best = None
    try:
        rates, ratios, losing = no_drop(run, wire)
        best = sorted(rates)[len(rates) // 2]
        run.row(f"(a) memif to the synced log, {run.seconds(10, 4)} s, 0 lost", "M events/s", rates, goal=(">=", 2),
                note="; ".join(part for part in (note, f"{losing} runs at higher rates lost some" if losing else "") if part))
        run.row("log bytes for each byte of datagrams in (a)", "bytes", ratios)
    except Trouble as trouble:
        run.missing("(a) memif to the synced log, 0 lost", trouble)
    run.row("log bytes for each byte of payload, full blocks", "bytes", full_blocks(run), goal=("<=", 1.05))
    try:
        alone = generator_alone(run, wire)
        run.row("generator alone against a receiver that drops", "M events/s", alone, reference="(a)", reference_values=best,
                goal=(">=", 1.5), goal_of="ratio")
    except Trouble as trouble:
        run.missing("generator alone against a receiver that drops", trouble)
    try:
        run.row("idle, penstock.idle = sleep, memif port", "% of a core", idle(run, wire), goal=("<=", 2))
    except Trouble as trouble:
        run.missing("idle, penstock.idle = sleep, memif port", trouble)
