# unpacked.sh: programs of Debian packages for tests, unpacked and not installed (an installed one would start a server); to be sourced.
#
#   unpacked NAME PROGRAM PACKAGE...   sets PROGRAM_PATH to a command that runs PROGRAM (a path inside the packages, without the leading slash) with
#                                      the libraries of those packages; 1 when they cannot be had. A cache outside the clone keeps them.
unpacked()
{
	local name=$1 program=$2 home="${PENSTOCK_CACHE:-$HOME/.cache/penstock}/$1"
	shift 2
	PROGRAM_PATH=$home/run-${program##*/}
	[ -x "$PROGRAM_PATH" ] && return 0
	mkdir -p "$home" || return 1
	(
		exec 9>"$home/lock"
		flock 9
		[ -x "$PROGRAM_PATH" ] && exit 0
		cd "$home" || exit 1
		apt-get download -q "$@" || exit 1
		for deb in ./*.deb; do dpkg -x "$deb" . || exit 1; done
		rm -f ./*.deb
		[ -x "$program" ] || exit 1
		libraries=$(find "$PWD" -name '*.so*' -printf '%h\n' | sort -u | tr '\n' ':')
		printf '#!/bin/sh\nLD_LIBRARY_PATH="%s" exec "%s" "$@"\n' "$libraries" "$PWD/$program" >run.new
		chmod +x run.new && mv run.new "$PROGRAM_PATH"
	) >"$home/fetch.log" 2>&1
}
