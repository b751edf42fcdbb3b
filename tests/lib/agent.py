"""agent: what the Python tests of a whole agent share; to be imported, with this directory on sys.path. As a program it prints free_port()."""
import fcntl, json, os, random, socket, subprocess, sys, time

PATIENCE_S = 120    # how long a test waits for what takes less than a second on a machine that is not in the way


def free_port():
    """A port of loopback that nothing has at the moment, for UDP and TCP. From below those that the kernel gives to whoever names none: else another's
    connection may sit on it before it is bound, or a client that tries again and again may meet itself there. And each time another one, whoever asks, until
    all had their turn: what was given out before may not be bound yet, or be of a server that is down to come back."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        first = int(file.read().split()[0])
    low = 12000    # those from 10000 on are those of tests/dataplane/stream_carriers.c
    if first < low + 1000:
        low, first = 1024, 65536    # the kernel keeps none free: what it gives away meanwhile is only unlikely then
    with os.fdopen(os.open(f"/tmp/penstock-test-ports-{os.getuid()}", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "r+") as last:
        fcntl.flock(last, fcntl.LOCK_EX)
        text = last.read(10)
        port = int(text) if text.isdecimal() else random.SystemRandom().randrange(low, first)
        for _ in range(first - low):
            port = port + 1 if low <= port < first - 1 else low
            with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
                try:
                    tcp.bind(("127.0.0.1", port))
                    udp.bind(("127.0.0.1", port))
                except OSError:
                    continue
            last.seek(0)
            last.truncate()
            last.write(str(port))
            return port
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
    print(*(free_port() for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 1)))
