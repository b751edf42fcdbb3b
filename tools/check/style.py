#!/usr/bin/env python3
"""What can be said about style by a machine: tabs, line ends, length of files and lines, guards, a first comment, private paths."""
import re
import sys

import tree

LINE_COLUMNS = 200
FILE_LINES = 1200
PRIVATE = re.compile(re.escape(tree.ROOT + "/") + r"|\.\./shared")	# of this checkout, and of a folder no clone has


def check(path, text):
    troubles = []
    lines = text.split("\n")
    if text and not text.endswith("\n"):
        troubles.append((path, len(lines), "no line feed at the end of the file"))
    if len(lines) > FILE_LINES:
        troubles.append((path, len(lines), f"longer than {FILE_LINES} lines: a file is a noun or a direction"))
    if path.endswith(".h") and not path.startswith("tests/"):
        if not text.startswith("/*"):
            troubles.append((path, 1, "begin a header with a comment that says what it is"))
        last = re.sub(r"\W", "_", path.split("/")[-1]).upper()
        if not re.search(rf"^#ifndef (PENSTOCK_\w*{last})\n#define \1$", text, re.M):
            troubles.append((path, 1, f"include guard should be PENSTOCK_..._{last}"))
    for number, line in enumerate(lines, 1):
        if line != line.rstrip():
            troubles.append((path, number, "blanks at the end of the line"))
        if len(line.expandtabs(8)) > LINE_COLUMNS:
            troubles.append((path, number, f"longer than {LINE_COLUMNS} columns"))
        if re.match(r" {4,}\S", line) and not re.match(r" +\*", line):
            troubles.append((path, number, "indented with blanks: use tabs"))
        if PRIVATE.search(line):
            troubles.append((path, number, "a path of one particular machine"))
    return troubles


def main():
    troubles = []
    for path in tree.c_files():
        troubles += check(path, tree.read(path))
    return tree.report(troubles)


if __name__ == "__main__":
    sys.exit(main())
