#!/bin/bash
# The generator's DPDK wire against the kernel: frames built by penstock-trafficgen on a TAP in a network namespace of its own go through the
# kernel's IP and UDP checks to a plain socket, and verify finds every one. $1: penstock-trafficgen
set -u
trafficgen=$(realpath "$1")
if [ "$(id -u)" -ne 0 ] || [ ! -c /dev/net/tun ]; then
	echo "SKIP: wants root and /dev/net/tun"
	exit 77
fi
ns=penstock-tg-$$
dir=$(mktemp -d)
receiver=
finish() {
	[ -n "$receiver" ] && kill "$receiver" 2>/dev/null
	ip netns del "$ns" 2>/dev/null
	rm -rf "$dir"
}
trap finish EXIT
ip netns add "$ns" || { echo "SKIP: no network namespaces here"; exit 77; }
ip -n "$ns" link set lo up
cat > "$dir/receive.py" <<'PY'
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, 33, 1 << 26)	# SO_RCVBUFFORCE
s.bind(("0.0.0.0", 5140))
open(sys.argv[1] + ".bound", "w").close()
s.settimeout(60)
want = int(sys.argv[2])
with open(sys.argv[1], "wb") as out:
    for _ in range(want):
        try:
            out.write(s.recv(65536) + b"\n")
        except TimeoutError:
            break
        s.settimeout(20)
PY
ip netns exec "$ns" python3 "$dir/receive.py" "$dir/out" 20000 &
receiver=$!
for _ in $(seq 2400); do	# what is sent before its socket is there is lost
	[ -e "$dir/out.bound" ] && break
	sleep 0.05
done
# The TAP appears when the generator starts; it gets its address then.
(for _ in $(seq 2400); do
	if ip -n "$ns" link show tgtap0 >/dev/null 2>&1; then
		ip -n "$ns" addr replace 192.0.2.1/24 dev tgtap0 && ip -n "$ns" link set tgtap0 up && break
	fi
	sleep 0.05
done) &
# Slowly: the kernel drops what waits for its softirq beyond net.core.netdev_max_backlog, on a machine that is busy.
ip netns exec "$ns" "$trafficgen" send --device net_tap0,iface=tgtap0 --no-huge --from 192.0.2.100/24 --to 192.0.2.1:5140 --as syslog-udp \
	--size 201 --sources 7 --count 20000 --rate 5k --report "$dir/sent.json" >"$dir/log" 2>&1 || { cat "$dir/log"; echo "send failed"; exit 1; }
wait "$receiver"
receiver=
"$trafficgen" verify --sent "$dir/sent.json" --seed 1 --require-all "file:$dir/out" || { cat "$dir/log"; exit 1; }
