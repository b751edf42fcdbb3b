# guest.sh: the kernel of an emulated machine (QEMU without KVM) for tests; to be sourced.
#
#   guest_fetch     fetches Debian's cloud kernel once into GUEST_HOME (vmlinuz, modules/); 77 when that cannot be (reason on stderr)

GUEST_HOME="${PENSTOCK_CACHE:-$HOME/.cache/penstock}/guest"

guest_fetch()
{
	local tool
	for tool in qemu-system-x86_64 mke2fs debugfs e2fsck; do
		command -v "$tool" >/dev/null 2>&1 || PATH=$PATH:/usr/sbin:/sbin command -v "$tool" >/dev/null 2>&1 ||
			{ echo "skipped: no $tool (apt-get install qemu-system-x86 e2fsprogs)" >&2; return 77; }
	done
	[ -e "$GUEST_HOME/complete" ] && return 0
	mkdir -p "$GUEST_HOME" || return 1
	(
		exec 9>"$GUEST_HOME/lock"
		flock 9
		[ -e "$GUEST_HOME/complete" ] && exit 0
		cd "$GUEST_HOME" || exit 1
		package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | awk '/Depends: linux-image/ { print $2; exit }')
		[ -n "$package" ] && timeout 300 apt-get download -q "$package" >download.log 2>&1 && dpkg -x "$package"_*.deb unpacked &&
			cp unpacked/boot/vmlinuz-* vmlinuz && mkdir -p modules &&
			find unpacked/lib/modules -name 'virtio*.ko' -exec cp {} modules/ \; && rm -rf unpacked "$package"_*.deb && : >complete
	) || { echo "skipped: a kernel for the emulated machine could not be fetched (apt-get download; see $GUEST_HOME/download.log)" >&2; return 77; }
}
