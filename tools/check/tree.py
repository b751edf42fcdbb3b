"""What the checks share: the C files of the tree, and their text with comments and strings blanked."""
import os
import re

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ROOMS = ("base", "channel", "dataplane", "sinks", "ctrlplane", "camus", "tools", "tests")

TOKENS = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def c_files(rooms=ROOMS, root=ROOT):
    """Paths from the root, sorted."""
    found = []
    for room in rooms:
        for folder, folders, names in os.walk(os.path.join(root, room)):
            folders[:] = [name for name in folders if not name.startswith(".")]
            found += [os.path.relpath(os.path.join(folder, name), root) for name in names if name.endswith((".c", ".h"))]
    return sorted(found)


def read(path, root=ROOT):
    with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
        return file.read()


def code_only(text):
    """The text with comments and literals replaced by blanks; lines keep their numbers."""
    return TOKENS.sub(lambda m: re.sub(r"[^\n]", " ", m.group(0)), text)


def report(troubles):
    """troubles: (path, line, text). Returns the exit status."""
    for path, line, text in sorted(troubles):
        print(f"{path}:{line}: {text}")
    return 1 if troubles else 0
