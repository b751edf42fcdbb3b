#!/usr/bin/env python3
"""What test_crash.c asks of the WebHDFS double's files. crash_tree.py ADDRESS move | check COUNT | state

move: a consumer takes all files that have their final names elsewhere. check: nothing is in use, and each event stands once. state: exit status 1 for
files in use, 2 for final ones, 3 for both."""
import json
import sys
import urllib.parse
import urllib.request


def ask(path, method="GET"):
    with urllib.request.urlopen(urllib.request.Request(f"http://{sys.argv[1]}{path}", method=method), timeout=20) as answer:
        return answer.read()


files = sorted(json.loads(ask("/tree")))
if sys.argv[2] == "move":
    ask("/webhdfs/v1/taken?op=MKDIRS", "PUT")
    for name in files:
        if not name.endswith(".tmp"):
            ask(f"/webhdfs/v1{urllib.parse.quote(name)}?op=RENAME&destination=/taken/{urllib.parse.quote(name.rpartition('/')[2])}", "PUT")
    sys.exit(0)
in_use = [name for name in files if name.endswith(".tmp")]
if sys.argv[2] == "state":
    sys.exit((1 if in_use else 0) + (2 if len(in_use) < len(files) else 0))
seen = {}
for name in files:
    for line in ask("/get?path=" + urllib.parse.quote(name)).decode().splitlines():
        number = int(line.rpartition(" ")[2].partition(".")[0])    # headers, if any, stand in front
        seen.setdefault(number, []).append(name)
lost = [n for n in range(int(sys.argv[3])) if n not in seen]
twice = {n: names for n, names in seen.items() if len(names) > 1}
if in_use or lost or twice:
    print(f"in use {in_use}, lost {lost}, twice {twice}", file=sys.stderr)
    sys.exit(1)
