#!/usr/bin/env python3
"""Calls that have no place in this tree, each with what to use instead."""
import re
import sys

import tree

# Function -> (where it is forbidden, what to use instead).
EVERYWHERE = re.compile(r"")
PRODUCT = re.compile(r"^(base|channel|dataplane|sinks|ctrlplane|camus|tools)/")
HOT = re.compile(r"^(dataplane/(net|source|selector)/)")
FORBIDDEN = {
    "gets": (EVERYWHERE, "fgets"),
    "strcpy": (PRODUCT, "memcpy with a length, or snprintf"),
    "strcat": (PRODUCT, "snprintf"),
    "sprintf": (EVERYWHERE, "snprintf"),
    "vsprintf": (EVERYWHERE, "vsnprintf"),
    "strtok": (EVERYWHERE, "strtok_r or strsep"),
    "atoi": (PRODUCT, "strtol with a check"),
    "atol": (PRODUCT, "strtol with a check"),
    "alloca": (EVERYWHERE, "an array with a bound"),
    "system": (PRODUCT, "posix_spawn"),
    "popen": (PRODUCT, "posix_spawn"),
    "mktemp": (EVERYWHERE, "mkstemp"),
    "tmpnam": (EVERYWHERE, "mkstemp"),
    "gethostbyname": (EVERYWHERE, "getaddrinfo, on control"),
    "rand": (EVERYWHERE, "a seeded generator of one's own"),
    "localtime": (EVERYWHERE, "localtime_r"),
    "gmtime": (EVERYWHERE, "gmtime_r"),
    "ctime": (EVERYWHERE, "strftime"),
    "time": (HOT, "the worker's clock"),
    "clock_gettime": (HOT, "the worker's clock"),
    "printf": (HOT, "a counter"),
    "usleep": (HOT, "the worker's turn: it never sleeps in the middle"),
}

CALL = re.compile(r"(?<![\w.>])(" + "|".join(FORBIDDEN) + r")[ \t]*\(")


def check(path, text):
    code = tree.code_only(text)
    troubles = []
    for match in CALL.finditer(code):
        name = match.group(1)
        where, instead = FORBIDDEN[name]
        if where.search(path):
            troubles.append((path, code.count("\n", 0, match.start()) + 1, f"{name}(): use {instead}"))
    return troubles


def main():
    troubles = []
    for path in tree.c_files():
        troubles += check(path, tree.read(path))
    return tree.report(troubles)


if __name__ == "__main__":
    sys.exit(main())
