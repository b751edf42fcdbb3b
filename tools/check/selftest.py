#!/usr/bin/env python3
"""The checks find what they are for, and nothing in code that is right."""
import sys

import forbidden
import includes
import style

RIGHT = '/* right: a file. */\n#include "base/err.h"\n\nint\nright_run(void)\n{\n\treturn 0;\n}\n'
CASES = (
    (includes, "channel/a.c", RIGHT, 0),
    (includes, "channel/a.c", '#include "sinks/sink.h"\n', 1),
    (includes, "dataplane/source/a.c", "#include <rte_mbuf.h>\n", 1),
    (includes, "dataplane/dpdk/a.c", "#include <rte_mbuf.h>\n", 0),
    (includes, "base/a.c", '#include "err.h"\n', 1),
    (includes, "sinks/a.c", '#include "ctrlplane/main.h"\n', 1),
    (forbidden, "base/a.c", RIGHT, 0),
    (forbidden, "base/a.c", "/* strcpy(a, b) */ const char *s = \"sprintf(\"; snprintf(s);\n", 0),
    (forbidden, "base/a.c", "\tstrcpy(a, b);\n", 1),
    (forbidden, "dataplane/source/a.c", "\tclock_gettime(CLOCK_REALTIME, &t);\n", 1),
    (forbidden, "ctrlplane/a.c", "\tx->system(1);\n\tobj.time(2);\n", 0),
    (style, "base/a.c", RIGHT, 0),
    (style, "base/a.c", "/* a */\n    int a;\n", 1),
    (style, "base/a.c", "/* a */\nint a; \n", 1),
    (style, "base/a.h", "#ifndef PENSTOCK_BASE_A_H\n#define PENSTOCK_BASE_A_H\n#endif\n", 1),
    (style, "base/a.h", "/* a */\n#ifndef WRONG_H\n#define WRONG_H\n#endif\n", 1),
    (style, "base/a.h", "/* a */\n#ifndef PENSTOCK_BASE_A_H\n#define PENSTOCK_BASE_A_H\n#endif\n", 0),
)


def main():
    failed = 0
    for module, path, text, want in CASES:
        found = module.check(path, text)
        if len(found) != want:
            failed += 1
            print(f"{module.__name__} {path} {text!r}: found {found}, want {want}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
