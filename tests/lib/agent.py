"""agent: what the Python tests of a whole agent share; to be imported, with this directory on sys.path. As a program it prints free_port()."""
import json, random, socket, subprocess, sys, time

PATIENCE_S = 120    # how long a test waits for what takes less than a second on a machine that is not in the way


def free_port():
    """A port of loopback that nothing has at the moment, for UDP and TCP. From below those that the kernel gives to whoever names none: else another's
    connection may sit on it before it is bound, or a client that tries again and again may meet itself there."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        first = int(file.read().split()[0])
    for _ in range(1000):
        with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            try:
                port = random.SystemRandom().randrange(10000, first) if first > 11000 else 0
                tcp.bind(("127.0.0.1", port))
                udp.bind(("127.0.0.1", tcp.getsockname()[1]))
                return tcp.getsockname()[1]
            except OSError:
                pass
    raise AssertionError("no port is free")


def wait_for(check, what, seconds=PATIENCE_S, pause=0.05):
    """The first answer of check() that is true. What was waited for is told when none comes; `what` may be a function."""
    end = time.monotonic() + seconds
    while not (answer := check()):
        assert time.monotonic() < end, f"not within {seconds} s: {what() if callable(what) else what}"
        time.sleep(pause)
    return answer


def drops(ctl, control):
    """`penstockctl drops` of the agent behind that control socket: (even, {(account, component): {name: value}}), or None when it does not answer."""
    done = subprocess.run([ctl, "-s", control, "--json", "drops"], capture_output=True, text=True, timeout=PATIENCE_S)
    answer = json.loads(done.stdout or "{}")
    if "accounts" not in answer:
        return None
    figures = {}
    for account in answer["accounts"]:
        place = figures.setdefault((account["account"], account["component"]), {})
        place[account["in"]["name"]] = account["in"]["value"]
        for part in account["out"]:
            place[part["name"]] = part["value"]
    return answer["even"], figures


if __name__ == "__main__":
    ports = set()    # different ones
    while len(ports) < (int(sys.argv[1]) if len(sys.argv) > 1 else 1):
        ports.add(free_port())
    print(*ports)
