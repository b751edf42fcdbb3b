#!/bin/bash
# test_fs_real.sh TEST_FS: the conformance body of the file systems over a real HDFS; two sizes of what a file may be.
set -u
test_fs=$(realpath "$1")
. "$(dirname "$0")/../../lib/hadoop.sh"
hadoop_jars || exit $?
dir=$(mktemp -d /tmp/penstock-hdfs-XXXXXX)
trap 'hadoop_stop; rm -rf "$dir"' EXIT
hadoop_start "$dir/hadoop" 1 || exit 1
"$test_fs" "$HADOOP_RPC/" /conformance "$HADOOP_DIR/conf" || exit 1
