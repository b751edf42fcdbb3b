# rsyslog.sh: a real rsyslogd for tests; to be sourced.
#
#   rsyslog_find          sets RSYSLOGD to a command line (with its OpenSSL driver); 77 when there is none and none can be had (reason on stdout)
#   rsyslog_start CONF DIR   starts an instance of its own (own pid file, reads nothing of the machine's); sets RSYSLOG_PID
#   rsyslog_ready SOCKET  waits until it has made that socket; 1 when it ended before, or does not in two minutes
#   rsyslog_stop          SIGTERM, waits for the end
# The Debian package would start a server at installation and at every boot, so it is only unpacked, into a cache outside the clone.

RSYSLOG_HOME="${PENSTOCK_CACHE:-$HOME/.cache/penstock}/rsyslog"
RSYSLOG_PID=

rsyslog_find()
{
	if command -v rsyslogd >/dev/null 2>&1; then
		RSYSLOGD=rsyslogd
		return 0
	fi
	if [ ! -x "$RSYSLOG_HOME/rsyslogd-tls" ]; then
		mkdir -p "$RSYSLOG_HOME" || return 1
		(
			exec 9>"$RSYSLOG_HOME/lock"
			flock 9
			[ -x "$RSYSLOG_HOME/rsyslogd-tls" ] && exit 0
			cd "$RSYSLOG_HOME" && apt-get download -q rsyslog rsyslog-openssl libestr0 libfastjson4 liblognorm5 || exit 1
			for deb in ./*.deb; do dpkg -x "$deb" . || exit 1; done
			rm -f ./*.deb
			modules=$(find "$PWD/usr/lib" -name imuxsock.so -printf '%h')
			[ -n "$modules" ] || exit 1
			printf '#!/bin/sh\nLD_LIBRARY_PATH="%s" exec "%s" -M "%s" "$@"\n' "${modules%/*}" "$PWD/usr/sbin/rsyslogd" "$modules" >run
			chmod +x run && mv run rsyslogd-tls
		) >"$RSYSLOG_HOME/fetch.log" 2>&1 || { echo "SKIP: no rsyslogd, and the package could not be fetched (see $RSYSLOG_HOME/fetch.log)"; return 77; }
	fi
	RSYSLOGD=$RSYSLOG_HOME/rsyslogd-tls
}

rsyslog_start()
{
	"$RSYSLOGD" -n -f "$1" -i "$2/rsyslog.pid" >"$2/rsyslog.log" 2>&1 &
	RSYSLOG_PID=$!
}

rsyslog_ready()
{
	local end=$((SECONDS + 120))
	until [ -S "$1" ]; do
		kill -0 "$RSYSLOG_PID" 2>/dev/null && [ $SECONDS -lt $end ] || return 1
		sleep 0.05
	done
}

rsyslog_stop()
{
	kill "$RSYSLOG_PID"
	wait "$RSYSLOG_PID"
	RSYSLOG_PID=
}
