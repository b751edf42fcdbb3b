#!/bin/sh
# Prometheus' own checker reads the text of /metrics/prometheus and finds nothing to say. 77: no promtool here.
# usage: test_promtool.sh CTL_SERVER
set -eu
command -v promtool >/dev/null || { echo "no promtool (Debian: prometheus)"; exit 77; }
work=$(mktemp -d)
"$1" "$work/a1.sock" "$work/port" &
server=$!
trap 'kill $server 2>/dev/null || true; rm -rf "$work"' EXIT
for i in $(seq 1000); do
	[ -s "$work/port" ] && break
	sleep 0.1
done
python3 -c 'import sys, urllib.request; sys.stdout.write(urllib.request.urlopen(sys.argv[1]).read().decode())' \
	"http://127.0.0.1:$(cat "$work/port")/metrics/prometheus" >"$work/text"
said=$(promtool check metrics <"$work/text" 2>&1) || { echo "$said"; exit 1; }
[ -z "$said" ] || { echo "$said"; exit 1; }
