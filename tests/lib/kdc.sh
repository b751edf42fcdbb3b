# kdc.sh: a Kerberos KDC of the tests' own on loopback; to be sourced.
#
#   kdc_start DIR PRINCIPAL...   realm TEST.LOCAL, database and krb5.conf in DIR, all keys in DIR/all.keytab; exports KRB5_CONFIG; sets KDC_PID.
#                                77 when there is no KDC to run. KDC_LIFE: life of tickets (default 1h)
#   kdc_stop, kdc_run            the process alone
KDC_PID=

kdc_run()
{
	krb5kdc -n >>"$KDC_DIR/kdc.log" 2>&1 &
	KDC_PID=$!
	for _ in $(seq 1200); do
		(exec 3<>"/dev/tcp/127.0.0.1/$KDC_PORT") 2>/dev/null && return 0
		sleep 0.05
	done
	return 1
}

kdc_stop()
{
	[ -n "$KDC_PID" ] && kill "$KDC_PID" 2>/dev/null && wait "$KDC_PID" 2>/dev/null
	KDC_PID=
}

kdc_start()
{
	PATH=$PATH:/usr/sbin
	command -v krb5kdc >/dev/null && command -v kadmin.local >/dev/null || { echo "SKIP: no KDC (apt-get install krb5-kdc krb5-admin-server krb5-user)" >&2; return 77; }
	KDC_DIR=$1
	shift
	mkdir -p "$KDC_DIR"
	KDC_PORT=$(python3 "$(dirname "${BASH_SOURCE[0]}")/agent.py") || return 1
	cat >"$KDC_DIR/krb5.conf" <<-CONF
	[libdefaults]
	 default_realm = TEST.LOCAL
	 dns_lookup_kdc = false
	 dns_lookup_realm = false
	 dns_canonicalize_hostname = false
	 rdns = false
	 udp_preference_limit = 1
	 ticket_lifetime = ${KDC_LIFE:-1h}
	 default_ccache_name = FILE:$KDC_DIR/cc
	[realms]
	 TEST.LOCAL = {
	  kdc = 127.0.0.1:$KDC_PORT
	 }
	[domain_realm]
	 localhost = TEST.LOCAL
	CONF
	cat >"$KDC_DIR/kdc.conf" <<-CONF
	[kdcdefaults]
	 kdc_listen = 127.0.0.1:$KDC_PORT
	 kdc_tcp_listen = 127.0.0.1:$KDC_PORT
	[realms]
	 TEST.LOCAL = {
	  database_name = $KDC_DIR/principal
	  key_stash_file = $KDC_DIR/stash
	  acl_file = $KDC_DIR/acl
	  supported_enctypes = aes256-cts:normal aes128-cts:normal
	 }
	CONF
	export KRB5_CONFIG="$KDC_DIR/krb5.conf" KRB5_KDC_PROFILE="$KDC_DIR/kdc.conf"
	kdb5_util create -s -r TEST.LOCAL -P master >"$KDC_DIR/kdc.log" 2>&1 || return 1
	for p in "$@"; do
		kadmin.local -r TEST.LOCAL -q "addprinc -randkey $p" >>"$KDC_DIR/kdc.log" 2>&1 || return 1
		kadmin.local -r TEST.LOCAL -q "ktadd -k $KDC_DIR/all.keytab $p" >>"$KDC_DIR/kdc.log" 2>&1 || return 1
	done
	kdc_run
}
