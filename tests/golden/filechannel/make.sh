#!/bin/bash
# Makes the golden data directories of Flume's file channel with a real Flume 1.11, and what a Flume started on a copy of each delivers.
# usage: make.sh CASE... (killed inflight rolled stopped encrypted) or live DIR: the case `killed` in DIR, not packed
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../../lib/flume.sh"
flume_jars || exit $?

port=$(python3 "$FLUME_LIB/agent.py")

# Accepts connections and never answers: what a sink took for it stays taken and is not committed.
python3 -c 'import socket, time
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(9); print(s.getsockname()[1], flush=True)
keep = []
while True: keep.append(s.accept())' >"${TMPDIR:-/tmp}/mute.$$" &
mute_pid=$!
trap 'kill $mute_pid; rm -f "${TMPDIR:-/tmp}/mute.$$"' EXIT
while ! [ -s "${TMPDIR:-/tmp}/mute.$$" ]; do sleep 0.05; done
mute=$(cat "${TMPDIR:-/tmp}/mute.$$")

agent()	# directory, sink lines...: an HTTP source and a file channel
{
	local dir=$1
	shift
	cat <<-END
	a1.channels = c1
	a1.channels.c1.type = file
	a1.channels.c1.checkpointDir = $dir/checkpoint
	a1.channels.c1.dataDirs = $dir/data1,$dir/data2
	a1.channels.c1.capacity = 1000
	a1.channels.c1.transactionCapacity = 100
	a1.channels.c1.minimumRequiredSpace = 1048576
	${channel_options-}
	END
	if [ "$1" != drain ]; then
		printf '%s\n' "a1.sources = r1" "a1.sources.r1.type = http" "a1.sources.r1.bind = 127.0.0.1" "a1.sources.r1.port = $port" \
			"a1.sources.r1.channels = c1"
	fi
	case $1 in
	none) ;;
	null) printf '%s\n' "a1.sinks = k1" "a1.sinks.k1.type = null" "a1.sinks.k1.batchSize = 10" "a1.sinks.k1.channel = c1" ;;
	dead) printf '%s\n' "a1.sinks = k1" "a1.sinks.k1.type = avro" "a1.sinks.k1.hostname = 127.0.0.1" "a1.sinks.k1.port = 1" \
		"a1.sinks.k1.batch-size = 7" "a1.sinks.k1.channel = c1" ;;
	mute) printf '%s\n' "a1.sinks = k1" "a1.sinks.k1.type = avro" "a1.sinks.k1.hostname = 127.0.0.1" "a1.sinks.k1.port = $mute" \
		"a1.sinks.k1.batch-size = 7" "a1.sinks.k1.channel = c1" ;;
	drain) mkdir -p "$dir/out"
		printf '%s\n' "a1.sinks = k1" "a1.sinks.k1.type = file_roll" "a1.sinks.k1.sink.directory = $dir/out" "a1.sinks.k1.channel = c1" \
		"a1.sinks.k1.sink.rollInterval = 0" "a1.sinks.k1.sink.batchSize = 50" "a1.sinks.k1.sink.serializer = avro_event" ;;
	esac
}

post()	# first, count, batch: events named by number
{
	python3 - "$port" "$@" <<-'END'
	import json, sys, urllib.request
	port, first, count, batch = map(int, sys.argv[1:])
	for at in range(first, first + count, batch):
	    events = [{"headers": {"n": str(n), "größe": "x" * (n % 40), "host": "web-%d" % (n % 3)}, "body": "event %d ü %s" % (n, "y" * (n * 37 % 300))}
	              for n in range(at, min(at + batch, first + count))]
	    data = json.dumps(events, ensure_ascii=False).encode()
	    urllib.request.urlopen(urllib.request.Request("http://127.0.0.1:%d/" % port, data, {"Content-Type": "application/json; charset=UTF-8"})).read()
	END
}

start()	# directory, sink
{
	agent "$1" "$2" >"$1/agent.conf"
	if [ "$2" = drain ]; then flume_start "$1" "$1/agent.conf"; else flume_start "$1" "$1/agent.conf" "$port"; fi
}

# What Flume delivers out of a copy of the directory, a line of JSON an event.
delivered()	# directory
{
	local copy=$1.copy
	cp -a "$1" "$copy"
	start "$copy" drain
	flume_drained_all 120
	flume_stop || :
	python3 "$here/avro_lines.py" "$copy"/out/*
	rm -rf "$copy"
}

flume_drained_all()	# seconds: the queue is empty; what was put by an earlier run is not counted as put by this one
{
	local try
	for try in $(seq $(($1 * 5))); do
		[ "$(flume_metric CHANNEL.c1 ChannelSize)" = 0 ] && [ "$(flume_metric CHANNEL.c1 StartTime)" != 0 ] && return 0
		sleep 0.2
	done
	echo "Flume does not drain the channel" >&2
	return 1
}

make_killed()	# directory: delivered events, events that a sink took and never settled, then SIGKILL
{
	start "$1" null
	post 0 30 10
	flume_drained_all 120
	flume_stop || :
	start "$1" mute
	post 30 45 9
	sleep 2
	post 75 5 1
	flume_kill || :
}

make_inflight()	# the same with a checkpoint while takes are in flight, and rolled back ones before
{
	channel_options="a1.channels.c1.checkpointInterval = 1000"
	start "$1" dead
	post 0 40 20
	sleep 1
	flume_kill || :
	start "$1" mute
	post 40 30 10
	sleep 3
	flume_kill || :
}

make_stopped()	# an orderly end
{
	channel_options="a1.channels.c1.checkpointInterval = 1000"
	start "$1" dead
	post 0 60 20
	sleep 3
	flume_stop || :
}

make_rolled()	# small files, so that some have been deleted; the rest of the queue was put before and after a checkpoint
{
	channel_options="a1.channels.c1.checkpointInterval = 1000
a1.channels.c1.maxFileSize = 6000"
	start "$1" null
	for n in 0 1 2 3 4 5; do
		post $((n * 100)) 100 20
		sleep 1
	done
	flume_drained_all 30
	sleep 3
	flume_stop || :
	start "$1" none
	post 600 120 10
	flume_stop || :
	channel_options="$channel_options
a1.channels.c1.checkpointInterval = 100000"
	start "$1" none
	post 720 80 10
	flume_kill || :
}

make_encrypted()
{
	printf 'storepassword' >"$1/store.pw"
	keytool -genseckey -alias key-1 -keyalg AES -keysize 128 -keystore "$1/keys.jceks" -storetype JCEKS -storepass storepassword \
		-keypass storepassword 2>/dev/null
	channel_options="a1.channels.c1.encryption.activeKey = key-1
a1.channels.c1.encryption.cipherProvider = AESCTRNOPADDING
a1.channels.c1.encryption.keyProvider = JCEKSFILE
a1.channels.c1.encryption.keyProvider.keyStoreFile = $1/keys.jceks
a1.channels.c1.encryption.keyProvider.keyStorePasswordFile = $1/store.pw
a1.channels.c1.encryption.keyProvider.keys = key-1"
	start "$1" dead
	post 0 40 8
	sleep 1
	flume_kill || :
}

if [ "$1" = live ]; then
	make_killed "$2"
	delivered "$2" >"$2.delivered"
	exit 0
fi
for name; do
	top=$(mktemp -d)
	mkdir "$top/$name"
	channel_options=
	make_$name "$top/$name"
	delivered "$top/$name" >"$here/$name.delivered"
	(cd "$top" && rm -rf "$name"/flume.log "$name"/log4j2.xml "$name"/agent.conf "$name"/*/queueset* &&
		tar --sort=name --owner=0 --group=0 --mtime=@0 -cf - "$name" | gzip -9n >"$here/$name.tar.gz")
	rm -rf "$top"
	ls -l "$here/$name".*
done
