#!/usr/bin/env python3
"""test_json.py PENSTOCK CONFIG_DIR: check, print and kinds with --json say what they say to people, in values a program can take."""
import json
import subprocess
import sys

penstock, configs = sys.argv[1:]


def run(*args):
    done = subprocess.run([penstock, *args], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def wanted(what, is_so, text=""):
    if not is_so:
        sys.exit(f"FAILED: {what}\n{text}")


# check: the messages of the lines, in their order, with the same exit status.
for name in ("mistakes", "routes", "ports", "bad_escape", "empty"):
    file = f"{configs}/{name}.in"
    status, out, err = run("check", "-f", file)
    json_status, json_out, json_err = run("check", "-f", file, "--json")
    said = json.loads(json_out)
    wanted(f"{name}: status", status == json_status and json_err == "", json_err)
    lines = []
    for message in said["messages"]:
        line = ": ".join(part for part in (message["origin"], message["key"], message["text"]) if part)
        lines.append(("warning: " if message["severity"] == "warning" else "") + line)
    wanted(f"{name}: messages", lines == err.splitlines(), "\n".join(lines) + "\n---\n" + err)
    if out:
        wanted(f"{name}: counts", out == f"{said['errors']} errors, {said['warnings']} warnings\n", out)
    wanted(f"{name}: errors", said["errors"] == sum(m["severity"] == "error" for m in said["messages"]), json_out)

# print: every property with its value and origin.
file = f"{configs}/routes.in"
status, out, err = run("print", "-f", file, "-n", "a1")
json_status, json_out, json_err = run("print", "--json", "-f", file, "-n", "a1")
said = json.loads(json_out)
wanted("print: status", status == json_status == 0, err)
if status == 0:
    keys = [line.split(" = ")[0] for line in out.splitlines() if line and line[0] != "#"]
    wanted("print: keys", keys and list(said["properties"]) == keys, json_out)
    wanted("print: origins", all(value["comments"] for value in said["properties"].values()), json_out)
    wanted("print: secrets", "very private" not in json_out)
status, json_out, json_err = run("print", "--json", "-f", f"{configs}/mistakes.in", "-n", "a1")
said = json.loads(json_out)
wanted("print of mistakes", status == 2 and said["properties"] is None and said["errors"] > 0 and said["messages"], json_out)

# kinds: all of docs/options.md.
status, out, err = run("kinds", "--json")
kinds = json.loads(out)
markdown = run("kinds", "--markdown")[1]
wanted("kinds", status == 0 and len(kinds) == sum(line.startswith("### ") for line in markdown.splitlines()), out[:200])
for kind in kinds:
    wanted(f"kind {kind}", f"### {kind['kind']} {kind['type']}\n" in markdown)
    for option in kind["options"]:
        wanted(f"option {option}", f"| `{option['name']}" in markdown and option["type"] and option["effect"] in ("full", "none", "refused"))
status, out, err = run("kinds", "sinks", "kafka", "--json")
kafka, = json.loads(out)
options = {option["name"]: option for option in kafka["options"]}
wanted("kafka", kafka["kind"] == "sink" and options["kafka.bootstrap.servers"]["required"] and options["flumeBatchSize"]["default"] == "100" and
       options["flumeBatchSize"]["max"] == 100000 and options["penstock.kafka.audit.window"]["type"] == "duration", out)
status, out, err = run("kinds", "--json", "sinks", "nothing")
wanted("no such kind", status == 2 and not out and "nothing" in err, err)
print("ok")
