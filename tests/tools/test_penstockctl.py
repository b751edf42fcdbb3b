#!/usr/bin/env python3
"""penstockctl against a real control socket: tables, --json, streams, a captured file, exit statuses, and where it looks for sockets.
usage: test_penstockctl.py PENSTOCKCTL CTL_SERVER"""
import json, os, signal, socket, subprocess, sys, tempfile, time, urllib.error, urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from agent import PATIENCE_S

ctl, server = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
work = tempfile.mkdtemp(prefix="penstockctl-")
env = dict(os.environ, XDG_RUNTIME_DIR=work, HOME=work + "/home")
path = work + "/penstock/a1.sock"
failed = []


def check(what, good, got=""):
    if not good:
        failed.append(what)
        print(f"FAILED {what}: {got!r}")


def run(*words):
    done = subprocess.run([ctl, *words], env=env, capture_output=True, text=True, timeout=PATIENCE_S)
    return done.returncode, done.stdout, done.stderr


def start(sock, name):
    process = subprocess.Popen([server, sock, f"{work}/{name}"], env=env)
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end and process.poll() is None:
        if os.path.exists(f"{work}/{name}") and open(f"{work}/{name}").read().endswith("\n"):
            return process
        time.sleep(0.01)
    raise SystemExit("the server did not start")


def fetch(path, **headers):
    try:
        with urllib.request.urlopen(urllib.request.Request(url + path, headers=headers), timeout=PATIENCE_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


rc, out, err = run("-s", work + "/none.sock", "status")
check("no socket", rc == 1 and "none.sock" in err, err)
process = start(path, "port")
url = "http://127.0.0.1:" + open(work + "/port").read().strip()
second = None
try:
    for words, expect in [((), 2), (("nonsense",), 2), (("trace",), 2), (("capture", "p0"), 2), (("status", "-n", "3"), 2),
                          (("trace", "r1", "-n", "x"), 2), (("--help",), 0), (("--version",), 0), (("--nonsense",), 2)]:
        rc, out, err = run(*words)
        check(f"exit status of {words}", rc == expect, (rc, err))
    sock = [] if os.geteuid() != 0 or not os.path.isdir("/run/penstock") else ["-s", path]
    rc, out, err = run(*sock, "status")
    check("status", rc == 0 and "syslogudp" in out and "c1" in out, (out, err))
    sock = ["-s", path]
    rc, out, err = run(*sock, "--json", "status")
    check("status --json", json.loads(out)["ok"] is True and json.loads(out)["components"][0]["name"] == "r1", out)
    rc, out, err = run(*sock, "metrics")
    check("metrics", "frames_in" in out and "10" in out, out)
    rc, out, err = run(*sock, "drops")
    check("drops even", rc == 0 and "frames p0: even" in out and "drop_checksum" in out, out)
    rc, out, err = run(*sock, "flows")
    check("the server's error", rc == 1 and "unknown command" in err, err)
    rc, out, err = run(*sock, "loglevel", "loud")
    check("loglevel", rc == 1 and "want error, warn" in err, err)
    rc, out, err = run(*sock, "trace", "r1", "-n", "3")
    check("trace", rc == 0 and out.count("body=hello") == 3, out)
    rc, out, err = run(*sock, "trace", "r9")
    check("trace of nothing", rc == 1 and 'no source "r9"' in err, err)
    rc, out, err = run(*sock, "--json", "trace", "r1", "-n", "2")
    lines = [json.loads(line) for line in out.splitlines()]
    check("trace --json", len(lines) == 3 and lines[-1] == {"end": True, "dropped": 0}, out)
    rc, out, err = run(*sock, "capture", "p0", "-w", work + "/x.pcap", "-n", "4")
    check("capture", rc == 0 and open(work + "/x.pcap").read() == "frame;" * 4, err)
    # Ended by Ctrl-C the stream ends in order, and the file is whole.
    endless = [ctl, *sock, "capture", "p0", "-w", work + "/y.pcap"]
    process2 = subprocess.Popen(endless, env=env, stderr=subprocess.DEVNULL)
    end = time.monotonic() + PATIENCE_S
    while subprocess.run([ctl, *sock, "trace", "r1", "-n", "1"], env=env, capture_output=True).returncode != 1 and time.monotonic() < end:
        time.sleep(0.01)    # one at a time: then the capture runs
        if process2.poll() is not None:     # or the trace was in its way
            process2 = subprocess.Popen(endless, env=env, stderr=subprocess.DEVNULL)
    process2.send_signal(signal.SIGINT)
    check("capture, interrupted", process2.wait(PATIENCE_S) == 0, process2.returncode)
    text = open(work + "/y.pcap").read()
    check("capture, interrupted: whole", len(text) % 6 == 0, text[-20:])
    rc, out, err = run(*sock, "top", "-n", "2")
    check("top", rc == 0 and out.count("RATE/S") == 2, out)

    # A script with a plain socket.
    raw = socket.socket(socket.AF_UNIX)
    raw.connect(path)
    raw.sendall(b"metrics\ndrops\n")
    lines = raw.makefile()
    check("two answers", json.loads(lines.readline())["ok"] and json.loads(lines.readline())["even"])
    raw.close()

    status, text = fetch("/metrics", Accept="*/*")
    flume = json.loads(text)
    check("Flume's JSON", sorted(flume) == ["CHANNEL.c1", "SINK.k1", "SOURCE.r1"] and
          all(isinstance(v, str) for c in flume.values() for v in c.values()), text)
    status, text = fetch("/metrics", Accept="application/openmetrics-text; version=1.0.0,text/plain;version=0.0.4;q=0.3,*/*;q=0.1")
    check("Prometheus text", "penstock_port_frames_in_total{component=\"p0\"} 10" in text, text)
    check("health", fetch("/health") == (200, "ok\n"))
    raw = socket.socket(socket.AF_UNIX)
    raw.connect(path)
    raw.sendall(b"upset\n")
    raw.makefile().readline()
    raw.close()
    for word, instead in (("reload", "restart"), ("load", "restart"), ("rollback", "restart"), ("config", "penstock print"), ("drain", "penstockctl stop")):
        rc, out, err = run(*sock, word)
        check(word, rc == 2 and "not there yet" in err and instead in err, err)
        check(f"{word} is not in --help", f" {word} " not in run("--help")[1])
    rc, out, err = run(*sock, "drops")
    check("drops uneven", rc == 1 and "NOT EVEN: 1 unexplained" in out, out)
    check("health, ill", fetch("/health") == (503, "channel c1: the disk is full\n"))

    if os.geteuid() != 0 or not os.path.isdir("/run/penstock"):
        second = start(work + "/penstock/a2.sock", "port2")
        rc, out, err = run("status")
        check("two running", rc == 2 and "a1.sock" in err and "a2.sock" in err, err)
        run("-s", work + "/penstock/a2.sock", "stop")
        check("second stopped", second.wait(PATIENCE_S) == 0)
    rc, out, err = run(*sock, "stop")
    check("stop", rc == 0, err)
    check("server's exit", process.wait(PATIENCE_S) == 0)
    check("socket removed", not os.path.exists(path))
finally:
    for p in (process, second):
        if p and p.poll() is None:
            p.kill()
    subprocess.run(["rm", "-rf", work])
print("ok" if not failed else f"{len(failed)} failed")
sys.exit(1 if failed else 0)
