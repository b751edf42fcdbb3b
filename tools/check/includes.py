#!/usr/bin/env python3
"""Rooms may include only what stands below them; libraries stay in the files that hide them."""
import re
import sys

import tree

# Room -> rooms whose headers it may include besides its own.
MAY_INCLUDE = {
    "base": (),
    "channel": ("base",),
    "dataplane": ("base", "channel"),
    "sinks": ("base", "channel"),
    "ctrlplane": ("base", "channel", "dataplane", "sinks"),
    "camus": ("base", "channel", "sinks"),
    "tools": ("base", "channel", "dataplane", "sinks"),
    "tests": ("base", "channel", "dataplane", "sinks", "ctrlplane", "camus", "tools"),
}

# Header -> the only files that may include it (tests too, where they say so).
ONLY_IN = (
    (re.compile(r"^rte_"), re.compile(r"^dataplane/dpdk/|^tests/dataplane/dpdk/")),
    (re.compile(r"^hs(/|\.h|_)"), re.compile(r"^dataplane/interceptor/hs\.[ch]$|^tests/")),
    (re.compile(r"^liburing"), re.compile(r"^channel/logio_uring\.c$|^tests/channel/|^ctrlplane/")),
    (re.compile(r"^librdkafka/"), re.compile(r"kafka")),
)

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)


def check(path, text):
    troubles = []
    room = path.split("/")[0]
    for match in INCLUDE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        quoted, name = match.group(1) == '"', match.group(2)
        for header, files in ONLY_IN:
            if header.search(name) and not files.search(path):
                troubles.append((path, line, f"{name} is hidden behind other files (see tools/check/includes.py)"))
        if not quoted:
            continue
        target = name.split("/")[0]
        if target == room or (room == "tests" and "/" not in name):  # tests may share a header in their folder
            continue
        if target not in MAY_INCLUDE:
            troubles.append((path, line, f'"{name}": include from the root ("{room}/...")'))
        elif target not in MAY_INCLUDE[room]:
            troubles.append((path, line, f"{room} may not include {target}"))
    return troubles


def main():
    troubles = []
    for path in tree.c_files():
        troubles += check(path, tree.read(path))
    return tree.report(troubles)


if __name__ == "__main__":
    sys.exit(main())
