#!/bin/bash
# test_format_real.sh TEST_FORMAT: files of every format, read record for record by Hadoop's own readers (`hadoop fs -text`), zstd by its own
# program and a reader of the tests' own, Avro's codecs by Hadoop's Avro where it has them.
set -u
test_format=$(realpath "$1")
. "$(dirname "$0")/../../lib/hadoop.sh"
hadoop_jars || exit $?
dir=$(mktemp -d /tmp/penstock-format-XXXXXX)
trap 'rm -rf "$dir"' EXIT
HADOOP_DIR=$dir
mkdir -p "$dir/conf"
printf 'log4j.rootLogger=ERROR, e\nlog4j.appender.e=org.apache.log4j.ConsoleAppender\nlog4j.appender.e.Target=System.err\nlog4j.appender.e.layout=org.apache.log4j.PatternLayout\n' >"$dir/conf/log4j.properties"
TZ=UTC HADOOP_CONF_DIR=/nonexistent "$test_format" "$dir" || exit 1
python3 - >"$dir/want" <<'EOP'
for i in range(20000):
    print("line %d %s" % (i, "".join(chr(97 + (i * 31 + k * k) % 26) for k in range(i % 97))))
EOP
bad=0
trouble() { echo "FAILED: $*"; bad=1; }
same() { cmp -s "$1" "$dir/want" || trouble "$2: $(cmp "$1" "$dir/want" 2>&1) ($(wc -l <"$1") lines)"; }
export HADOOP_FILES=$dir
# One JVM for all: -text prints them one behind the other, so each is read by a call of its own inside.
cat >"$dir/Read.java" <<'EOP'
import java.io.*;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FsShell;
import org.apache.hadoop.util.ToolRunner;
public class Read {
	public static void main(String[] args) throws Exception {
		for (String name : args) {
			String[] part = name.split("=", 2);
			PrintStream out = new PrintStream(new BufferedOutputStream(new FileOutputStream(part[1])));
			System.setOut(out);
			int rc = ToolRunner.run(new FsShell(new Configuration()), new String[] { "-text", "file://" + part[0] });
			out.close();
			if (rc != 0)
				System.err.println("FAILED " + rc + " " + part[0]);
		}
	}
}
EOP
args=()
for name in text-gzip text-bzip2 text-snappy text-lz4 text-deflate seq-none seq-gzip seq-bzip2 seq-snappy seq-lz4 seq-deflate avro-null avro-deflate \
	avro-snappy avro-bzip2 rec-gzip rec-bzip2 rec-snappy rec-lz4 rec-deflate bytes-none; do
	file=$(echo "$dir/$name/"*)
	args+=("$file=$dir/$name.out")
done
hadoop_java "$dir/Read.java" "${args[@]}" || trouble "the reader"
for name in text-gzip text-bzip2 text-snappy text-lz4 text-deflate; do
	same "$dir/$name.out" $name
done
for name in seq-none seq-gzip seq-bzip2 seq-snappy seq-lz4 seq-deflate rec-gzip rec-bzip2 rec-snappy rec-lz4 rec-deflate; do
	cut -f 2- "$dir/$name.out" >"$dir/$name.cut"
	same "$dir/$name.cut" $name
	[ "$(cut -f 1 "$dir/$name.out" | sort -u)" = 1065910455003 ] || trouble "$name: keys"
done
for name in avro-null avro-deflate avro-snappy avro-bzip2; do
	python3 -c 'import json, sys
for line in sys.stdin:
    e = json.loads(line)
    assert e["headers"] == {"timestamp": "1065910455003", "h": "v"}, e
    print(e["body"])' <"$dir/$name.out" >"$dir/$name.cut" || trouble "$name: json"
	same "$dir/$name.cut" $name
done
# Writable: the bytes, as two hexadecimal digits each.
python3 -c 'import sys
for line in sys.stdin:
    print(bytes.fromhex(line.split("\t")[1]).decode())' <"$dir/bytes-none.out" >"$dir/bytes-none.cut" || trouble "bytes-none"
same "$dir/bytes-none.cut" bytes-none
for name in seq-zstd rec-zstd avro-zstandard; do
	"$(dirname "$0")/read_zstd.py" "$dir/$name/"* >"$dir/$name.out" || trouble "$name"
	same "$dir/$name.out" $name
done
zstd -q -d -c "$dir"/text-zstd/* >"$dir/zstd.out" && same "$dir/zstd.out" text-zstd || trouble "zstd -d"
[ $bad = 0 ] && echo "21 files read by Hadoop, 4 with zstd by other readers"
exit $bad
