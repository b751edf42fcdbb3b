#!/usr/bin/env python3
"""Measures penstock beside this machine's floors and beside its peers, in one run. Medians of five rounds; a comparison's rounds alternate."""
import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import camus
import common
import core
import floors
import hdfs
import peers
import ringlog
import tcp
import udp
import web
from common import Trouble

GROUPS = {"floors": floors.measure, "core": core.measure, "udp": udp.measure, "peers": peers.measure, "ringlog": ringlog.measure, "hdfs": hdfs.measure,
          "tcp": tcp.measure, "http": web.measure, "camus": camus.measure}
PARTS = {"hdfs": hdfs.PARTS, "camus": camus.PARTS}


def main():
    parser = argparse.ArgumentParser(prog="./bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="of " + ", ".join(GROUPS) + "; all when none is given. GROUP:PART[,PART]: only "
                        "these of its parts: " + "; ".join(f"{name} {', '.join(parts)}" for name, parts in PARTS.items()))
    parser.add_argument("--quick", action="store_true", help="two rounds and shorter runs: shows that everything works, its figures are rough")
    parser.add_argument("--markdown", action="store_true", help="the table once more as Markdown at the end")
    parser.add_argument("--into", metavar="FILE", help="put that table into FILE too, between the lines <!-- bench --> and <!-- /bench -->; "
                        "a group's rows between <!-- bench NAME --> and <!-- /bench NAME --> where the file has these")
    args = parser.parse_args()
    for name in args.names:
        group, _, parts = name.partition(":")
        if group not in GROUPS or (parts and not set(parts.split(",")) <= set(PARTS.get(group, ()))):
            parser.error(f"{name}: not known: {', '.join(GROUPS)}; {'; '.join(one + ':' + ','.join(its) for one, its in PARTS.items())}")
    run = common.Run(args.quick)

    def interrupted(number, _frame):
        raise KeyboardInterrupt(f"signal {number}")
    signal.signal(signal.SIGTERM, interrupted)
    shutil.rmtree(common.WORK, ignore_errors=True)
    os.makedirs(common.WORK)
    began = time.monotonic()
    print(common.HEAD)
    try:
        for name in args.names or GROUPS:
            common.say(f"{name} ...")
            run.group, _, parts = name.partition(":")
            try:
                GROUPS[run.group](run, *([parts.split(",")] if parts else []))
            except (common.Trouble, OSError, subprocess.SubprocessError) as trouble:
                run.missing(name, trouble)
            finally:
                common.end_all()
    except KeyboardInterrupt as stop:
        common.say(f"bench: stopped: {stop}")
        return 1
    finally:
        common.end_all()
        shutil.rmtree(common.WORK, ignore_errors=True)
        with open(os.path.join(common.BUILD, "bench.json"), "w", encoding="ascii") as file:
            json.dump(run.rows, file, indent=1)
            file.write("\n")
    if args.into:
        with open(args.into, encoding="utf-8") as file:
            text = file.read()
        try:
            text = common.put_tables(text, run.rows, f"{time.strftime('%Y-%m-%d')}, {common.machine()}.")
        except Trouble as trouble:
            common.say(f"bench: {args.into}: {trouble}")
            return 2
        with open(args.into, "w", encoding="utf-8") as file:
            file.write(text)
    if args.markdown:
        print("\n" + common.markdown(run.rows))
    common.say(f"{time.monotonic() - began:.0f} s; build/bench.json")
    return 0 if all(row["value"] is not None for row in run.rows) else 1


if __name__ == "__main__":
    sys.exit(main())
