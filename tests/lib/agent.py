"""agent: what the Python tests of a whole agent share; to be imported, with this directory on sys.path."""
import json, socket, subprocess


def free_port(kind=socket.SOCK_STREAM):
    """A port of loopback that nothing has at the moment, for TCP unless kind is SOCK_DGRAM."""
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def drops(ctl, control):
    """`penstockctl drops` of the agent behind that control socket: (even, {(account, component): {name: value}}), or None when it does not answer."""
    done = subprocess.run([ctl, "-s", control, "--json", "drops"], capture_output=True, text=True, timeout=30)
    if not done.stdout:
        return None
    answer = json.loads(done.stdout)
    figures = {}
    for account in answer["accounts"]:
        place = figures.setdefault((account["account"], account["component"]), {})
        place[account["in"]["name"]] = account["in"]["value"]
        for part in account["out"]:
            place[part["name"]] = part["value"]
    return answer["even"], figures
