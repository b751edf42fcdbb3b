# Sourced by ./check, ./quickstart and ./bench: installs Debian packages that are missing, and lends huge pages for the time of the run.

# setup_packages build|test: "test" installs those for building too. Says nothing when all are there.
setup_packages() {
	local want=$1 package use missing=() run=()
	while read -r package use; do
		case $package in ''|'#'*) continue ;; esac
		[ "$use" = test ] && [ "$want" = build ] && continue
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
	done < "$SETUP_ROOT/tools/packages.txt"
	[ ${#missing[@]} -eq 0 ] && return 0
	if [ "$(id -u)" -ne 0 ]; then
		if ! command -v sudo >/dev/null; then
			echo "missing packages, and neither root nor sudo: apt-get install ${missing[*]}" >&2
			return 1
		fi
		run=(sudo)
	fi
	echo "installing ${#missing[@]} packages: ${missing[*]}" >&2
	local log policy=/usr/sbin/policy-rc.d rc=0
	log=$(mktemp)
	# Packages that are servers (krb5-kdc) shall not start what they bring: Debian's way to say so, for the time of the installation.
	if [ -e $policy ]; then
		policy=
	else
		printf '#!/bin/sh\nexit 101\n' | "${run[@]}" tee $policy >/dev/null && "${run[@]}" chmod 755 $policy
	fi
	if ! { "${run[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -q &&
	       "${run[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
		tail -n 30 "$log" >&2
		rc=1
	fi
	[ -n "$policy" ] && "${run[@]}" rm -f $policy
	rm -f "$log"
	return $rc
}

# setup_huge PAGES: asks the kernel for that many 2 MiB pages where we may; setup_huge_back gives them back. Never fails.
SETUP_HUGE_FILE=/proc/sys/vm/nr_hugepages
SETUP_HUGE_BEFORE=
setup_huge() {
	[ -w $SETUP_HUGE_FILE ] || return 0
	local have
	have=$(cat $SETUP_HUGE_FILE) || return 0
	[ "$have" -ge "$1" ] && return 0
	SETUP_HUGE_BEFORE=$have
	echo "$1" > $SETUP_HUGE_FILE 2>/dev/null || true
}

setup_huge_back() {
	[ -n "$SETUP_HUGE_BEFORE" ] || return 0
	echo "$SETUP_HUGE_BEFORE" > $SETUP_HUGE_FILE 2>/dev/null || true
	SETUP_HUGE_BEFORE=
}

# setup_build DIR [meson option...]: configures once and builds; the log's tail when that fails.
setup_build() {
	local dir=$1 log
	shift
	mkdir -p "$SETUP_ROOT/$dir"
	log=$SETUP_ROOT/$dir/setup.log
	if [ ! -f "$SETUP_ROOT/$dir/build.ninja" ]; then
		if ! meson setup "$SETUP_ROOT/$dir" "$SETUP_ROOT" "$@" >"$log" 2>&1; then
			echo "meson setup $dir failed ($log):" >&2
			tail -n 30 "$log" >&2
			return 1
		fi
	fi
	if ! ninja -C "$SETUP_ROOT/$dir" >"$log" 2>&1; then
		echo "building $dir failed ($log):" >&2
		tail -n 60 "$log" >&2
		return 1
	fi
	# The programs stand in DIR itself, wherever meson made them.
	local path
	for path in "$SETUP_ROOT/$dir"/*/penstock "$SETUP_ROOT/$dir"/*/penstock[a-z-]* "$SETUP_ROOT/$dir"/tools/*/penstock*; do
		if [ -f "$path" ] && [ -x "$path" ] && [ ! -L "$path" ]; then
			ln -sfn "${path#"$SETUP_ROOT/$dir"/}" "$SETUP_ROOT/$dir/${path##*/}"
		fi
	done
}

# setup_promtool: Prometheus' checker on the PATH. Its package would start a server, so it is only unpacked, into a cache outside the clone.
setup_promtool() {
	local cache=${XDG_CACHE_HOME:-$HOME/.cache}/penstock/promtool
	command -v promtool >/dev/null && return 0
	if [ ! -x "$cache/usr/bin/promtool" ]; then
		mkdir -p "$cache"
		(cd "$cache" && apt-get download -q prometheus && dpkg -x prometheus_*.deb . && rm -f prometheus_*.deb) >/dev/null 2>&1 || return 0
	fi
	PATH=$PATH:$cache/usr/bin
}
