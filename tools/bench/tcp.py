"""Syslog lines over TCP: over memif into the synced log, acknowledged after the commit, many idle connections beside; kernel sockets beside rsyslog and Flume."""
import common
import peers
import ringlog
from common import Trouble
from udp import Wire

CONNECTIONS = 64
MANY, MANY_ACTIVE = 10_000, 100
SYSLOG = {"type": "syslogtcp", "host": "192.0.2.10", "port": 514}
FLUME = {	# name: (options, is it a stream, Flume's channel, penstock's)
    "kernel sockets, syslogtcp, synced": ({"type": "syslogtcp", "host": "127.0.0.1"}, True, "file"),
    "kernel sockets, syslogtcp, synced; Flume in memory": ({"type": "syslogtcp", "host": "127.0.0.1"}, True, "memory", "file"),
}


def memif_run(wire, source, options, seconds):
    """Events a second from the first to the last acknowledgement, with an agent of its own; every event must be acknowledged and in the log."""
    with common.Agent(common.agent_lines(source, common.file_channel()) + wire.port_lines()) as agent:
        generator = common.Generator([*wire.send_options(), *options, "--seconds", str(seconds), "--rate", "max"])
        try:
            sent = generator.report(seconds + 60)
            stored = agent.settled().get(("CHANNEL", "EventPutSuccessCount"), 0)
            even = (agent.ask("drops") or {}).get("even")
        finally:
            common.end(agent.child)		# the collector first: DPDK 22.11's memif server may crash when its client leaves
            generator.close()
    if not even:
        raise Trouble("the accounts are not even")
    if not sent["acked_events"] == sent["events"] == stored or sent["connections_lost"]:
        raise Trouble(f"{sent['events']:,} sent, {sent['acked_events']:,} acknowledged, {stored:,} stored, {sent['connections_lost']} connections lost")
    return sent["events_per_second"]


def many_beside_few(run, name, wire, source, options, seconds):
    """Those of 64 connections; and a row for 10,000 of which 100 send, by turns with them."""
    few, many = [], []
    for _ in range(run.rounds):
        few.append(memif_run(wire, source, [*options, "--sources", str(CONNECTIONS)], seconds))
        many.append(memif_run(wire, source, [*options, "--sources", str(MANY), "--active", str(MANY_ACTIVE)], seconds))
    run.row(f"{name}, {MANY:,} connections, {MANY_ACTIVE} of them send", "events/s", many, reference=f"the same with {CONNECTIONS} that all send",
            reference_values=few, goal=(">=", 0.8), goal_of="ratio")
    return few


def rsyslog(run, synced):
    seconds = run.seconds(3, 2)
    ours, theirs = [], []
    for _ in range(run.rounds):
        if synced:
            theirs.append(peers.queue_rsyslog(True, "max", run.seconds(4, 3), tcp=True))
        else:
            with peers.Rsyslog(False, tcp=True) as peer:
                theirs.append(peers.offered(peer, 0, seconds)[0])
        with peers.Penstock(True, tcp=True) as peer:
            ours.append(peers.offered(peer, 0, seconds)[0])
    run.row(f"kernel sockets, {CONNECTIONS} connections to disk, synced", "events/s", ours,
            reference="rsyslog imtcp, disk queue, synced" if synced else "rsyslog imtcp, memory queue, file, not synced", reference_values=theirs,
            goal=(">=", 300 if synced else 1), goal_of="ratio")


def memif(run):
    device = ringlog.Device()
    wire = Wire(device.cpu, device.other)	# the log's interrupts stay away from the data core
    few = many_beside_few(run, "memif, syslogtcp", wire, SYSLOG, ["--as", "syslog-tcp"], run.seconds(4, 2))
    run.row(f"memif to the synced log, acknowledged after the commit, {CONNECTIONS} connections", "M lines/s", [rate / 1e6 for rate in few], goal=(">=", 2.5),
            note="" if wire.huge else "no huge pages free")


def measure(run):
    for part in (memif, lambda r: rsyslog(r, False), lambda r: rsyslog(r, True), lambda r: peers.flume(r, FLUME, (">=", 50), 3)):
        try:
            part(run)
        except (Trouble, OSError) as trouble:
            run.missing("tcp", trouble)
        finally:
            common.end_all()
