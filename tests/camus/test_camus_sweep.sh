#!/bin/bash
# test_camus_sweep.sh PENSTOCK_CAMUS: many small files to few on this machine's files: text and Avro, days and single folders, what comes later, records of
# one key, kills at each step; no Kafka is asked.
set -u
tried=
CAMUS=$(realpath "$1")
/usr/bin/python3 -c 'import avro' 2>/dev/null || { echo "SKIP: no avro for Python (apt-get install python3-avro)"; exit 77; }
dir=$(mktemp -d)
double=
trap '[ -n "$double" ] && kill $double 2>/dev/null; rm -rf "$dir"' EXIT
fail() { echo "FAILED: $*"; cat "$dir/log"; (cd "$dir/out" && find . -type f | sort | head -50); exit 1; }
# The loader's zone, if it is not told of another; else one in which no hour, and no day, ends within this test.
zone=America/Los_Angeles
[ "$(date +%-M)" -lt 45 ] || zone=Asia/Kolkata
day() { TZ=$zone date -d "$1 days ago" +%Y/%m/%d; }
cat >"$dir/job.properties" <<EOF
etl.destination.path=$dir/out
etl.execution.base.path=$dir/base
etl.execution.history.path=$dir/base/history
kafka.brokers=127.0.0.1:1
etl.record.writer.provider.class=StringRecordWriterProvider
camus.message.decoder.class=JsonStringMessageDecoder
camus.sweeper.source.subdir=hourly
camus.sweeper.dest.subdir=daily
EOF
[ $zone = America/Los_Angeles ] || echo "camus.default.timezone=$zone" >>"$dir/job.properties"
sweep() { { "$CAMUS" sweep -P "$dir/job.properties" "$@" >"$dir/log" 2>&1; } 2>/dev/null; }
n=0
put() { mkdir -p "$dir/out/$1"; for _ in $(seq "$2"); do n=$((n + 1)); printf 'line %d\nsecond of %d\n' $n $n >"$dir/out/$1/t.0.$n.2.$n.1700000000000"; printf 'line %d\nsecond of %d\n' $n $n >>"$dir/want.$3"; done; }
same() { cat "$dir/out/$1"/part-r-* | sort >"$dir/got"; sort "$dir/$2" | cmp -s - "$dir/got" || fail "$3: $(wc -l <"$dir/got") lines"; }

# Days, by Camus's planner: yesterday and the day before.
for hour in 00 07 23; do put "t/hourly/$(day 1)/$hour" 5 one; done
put "deep/topic/hourly/$(day 2)/03" 4 deep
put "t/hourly/$(day 3)/03" 3 old
put "t/hourly/$(day 0)/03" 3 new
printf 'no line feed' >"$dir/out/t/hourly/$(day 1)/07/t.0.x.1.1.1"; printf 'no line feed\n' >>"$dir/want.one"
touch "$dir/out/t/hourly/$(day 1)/07/_SUCCESS"
sweep --dry-run || fail "dry run"
[ ! -e "$dir/out/t/daily" ] || fail "a dry run sweeps"
sweep || fail "sweep"
grep -q '^2 folders swept, 0 not' "$dir/log" || fail "not two folders"
same "t/daily/$(day 1)" want.one "a day"
same "deep/topic/daily/$(day 2)" want.deep "a topic with a dot"
[ "$(ls "$dir/out/t/daily/$(day 1)" | grep -c part-r-)" = 1 ] || fail "more than one file"
[ ! -e "$dir/out/t/daily/$(day 3)" ] && [ ! -e "$dir/out/t/daily/$(day 0)" ] || fail "a day outside the window"
[ "$(ls "$dir/out/t/hourly/$(day 1)/07" | wc -l)" = 7 ] || fail "sources are touched"
sweep || fail "again"
grep -q '^0 folders swept' "$dir/log" || fail "swept again without need"
# A file that cannot be read is in the way of its folder only.
mkdir -p "$dir/out/broken/hourly/$(day 1)/00"
ln -s "$dir/nowhere" "$dir/out/broken/hourly/$(day 1)/00/t.0.1.2.1.1"
put "zz/hourly/$(day 1)/00" 2 zz
sweep && fail "a file that cannot be read"
grep -q '^1 folders swept, 1 not' "$dir/log" || fail "one file stops the sweep of all"
grep -q 'hourly/.*t.0.1.2.1.1: cannot be read' "$dir/log" || fail "the file is not named"
same "zz/daily/$(day 1)" want.zz "a day behind one that cannot be swept"
rm -r "$dir/out/broken"
# What comes later is added, nothing twice; also when the sources are gone meanwhile.
put "t/hourly/$(day 1)/08" 2 one
rm -r "$dir/out/t/hourly/$(day 1)/00"
mkdir -p "$dir/out/t/hourly/$(day 1)/08/_late"
echo "late one" | tee -a "$dir/want.one" >"$dir/out/t/hourly/$(day 1)/08/_late/t.0.1.1.1.1"
sweep || fail "later files"
same "t/daily/$(day 1)" want.one "later files"
# Killed at each step, then finished by the next sweep.
for point in before-manifest manifest-renamed swap swap-aside published done; do
	put "t/hourly/$(day 1)/09" 1 one
	PENSTOCK_CAMUS_KILL_AT=$point sweep
	[ $? = 137 ] || fail "not killed at $point"
	sweep || fail "after a kill at $point"
	same "t/daily/$(day 1)" want.one "killed at $point"
done
# What killed runs left goes when nobody has touched it for a day.
put "t/hourly/$(day 1)/10" 1 one
sweep || fail "after all kills"
find "$dir/out/_penstock" -mindepth 1 -maxdepth 1 -type d -exec touch -d '2 days ago' {} +
sweep || fail "leftovers"
[ -z "$(find "$dir/out/_penstock" -type f 2>/dev/null)" ] || fail "left behind: $(find "$dir/out/_penstock" -type f | head -3)"
# More than one file by size.
sweep -D camus.sweeper.max.days.ago=3 -D camus.sweeper.target.file.size=40 -D max.files=2 || fail "two files"
[ "$(ls "$dir/out/t/daily/$(day 3)" | grep -c part-r-)" = 2 ] || fail "not two files"
same "t/daily/$(day 3)" want.old "two files"
# A folder there that is not ours; kinds that cannot be swept.
put "u/hourly/$(day 1)/01" 2 u
mkdir -p "$dir/out/u/daily/$(day 1)"; echo x >"$dir/out/u/daily/$(day 1)/x"
sweep && fail "sweeps into a folder it does not know"
grep -q 'not swept by us' "$dir/log" || fail "not told"
rm -r "$dir/out/u"
put "v/hourly/$(day 1)/01" 2 v
for file in "$dir/out/v/hourly/$(day 1)/01/"t.*; do mv "$file" "$file.zip"; done
sweep; [ $? = 1 ] || fail "a kind that is not known"
grep -q 'files "\*.zip" are not swept' "$dir/log" || fail "a kind that is not known: not told"
rm -r "$dir/out/v"

# Compressed text: unpacked by Hadoop's framing, and compressed anew; later files too. One that is cut short leaves the folder alone.
cat >"$dir/pack.py" <<'EOF'
import sys, os, gzip, bz2, zlib, glob, subprocess, struct
how, folder = sys.argv[1:]
def blocks(raw):	# snappy without compression: one literal a piece, as Hadoop's BlockCompressorStream frames it
    out = b""
    for i in range(0, len(raw), 50):
        part = raw[i:i + 50]
        n, head = len(part), b""
        packed = bytes([n]) + bytes([(n - 1) << 2]) + part
        out += struct.pack(">II", n, len(packed)) + packed
    return out
def unblocks(data):
    raw, at = b"", 0
    while at < len(data):
        (left,) = struct.unpack_from(">I", data, at); at += 4
        while left:
            (n,) = struct.unpack_from(">I", data, at); at += 4
            sys.path.insert(0, os.path.dirname(__file__))
            piece = snappy(data[at:at + n]); at += n; left -= len(piece); raw += piece
    return raw
def snappy(data):	# a small decoder of our own: the loader's shall not judge itself
    at = n = shift = 0
    while True:
        n |= (data[at] & 127) << shift; shift += 7; at += 1
        if data[at - 1] < 128: break
    out = bytearray()
    while at < len(data):
        tag = data[at]; at += 1
        if tag & 3 == 0:
            size = tag >> 2
            if size >= 60:
                extra = size - 59; size = int.from_bytes(data[at:at + extra], "little"); at += extra
            out += data[at:at + size + 1]; at += size + 1
            continue
        if tag & 3 == 1: size, back = 4 + (tag >> 2 & 7), (tag >> 5) << 8 | data[at]; at += 1
        elif tag & 3 == 2: size, back = (tag >> 2) + 1, int.from_bytes(data[at:at + 2], "little"); at += 2
        else: size, back = (tag >> 2) + 1, int.from_bytes(data[at:at + 4], "little"); at += 4
        for _ in range(size): out.append(out[-back])
    assert len(out) == n
    return bytes(out)
zstd = lambda raw, *flags: subprocess.run(["zstd", "-q", "-c", *flags], input=raw, capture_output=True, check=True).stdout
pack = {".gz": gzip.compress, ".bz2": bz2.compress, ".deflate": zlib.compress, ".snappy": blocks, ".zst": zstd}
unpack = {".gz": gzip.decompress, ".bz2": bz2.decompress, ".deflate": zlib.decompress, ".snappy": unblocks, ".zst": lambda raw: zstd(raw, "-d")}
for path in sorted(glob.glob(folder + "/*")):
    if how.startswith("."):
        with open(path, "rb") as file: raw = file.read()
        if "." + path.rsplit(".", 1)[1] in pack: continue
        half = len(raw) // 2	# two members
        with open(path + how, "wb") as file:
            file.write(pack[how](raw[:half]) + pack[how](raw[half:]) if how in (".gz", ".bz2", ".zst") else pack[how](raw))
        os.remove(path)
    elif "part-r-" in path:
        with open(path, "rb") as file: sys.stdout.buffer.write(unpack["." + path.rsplit(".", 1)[1]](file.read()))
EOF
kinds=".gz .bz2 .deflate .snappy"
command -v zstd >/dev/null && kinds="$kinds .zst"
for kind in $kinds; do
	put "z/hourly/$(day 1)/01" 3 z
	/usr/bin/python3 "$dir/pack.py" $kind "$dir/out/z/hourly/$(day 1)/01" || fail "$kind: no files"
	sweep || fail "$kind"
	[ "$(ls "$dir/out/z/daily/$(day 1)" | grep -c "part-r-.*\\$kind$")" = 1 ] || fail "$kind: not one file"
	put "z/hourly/$(day 1)/02" 1 z
	/usr/bin/python3 "$dir/pack.py" $kind "$dir/out/z/hourly/$(day 1)/02" || fail "$kind: no later file"
	sweep || fail "$kind: later file"
	/usr/bin/python3 "$dir/pack.py" read "$dir/out/z/daily/$(day 1)" | sort >"$dir/got" || fail "$kind: cannot be read"
	sort "$dir/want.z" | cmp -s - "$dir/got" || fail "$kind: $(wc -l <"$dir/got") lines"
	put "z/hourly/$(day 1)/03" 1 cut
	/usr/bin/python3 "$dir/pack.py" $kind "$dir/out/z/hourly/$(day 1)/03" || fail "$kind: no file to cut"
	for file in "$dir/out/z/hourly/$(day 1)/03/"t.*; do truncate -s -3 "$file"; done
	sweep; [ $? = 1 ] || fail "$kind: half a file is taken"
	/usr/bin/python3 "$dir/pack.py" read "$dir/out/z/daily/$(day 1)" | sort | cmp -s - "$dir/got" || fail "$kind: what was swept is changed by half a file"
	rm -r "$dir/out/z" "$dir/want.z"
done

# A folder that cannot be swept is told, and no other one waits for it or gets anything of it; nor is a line lost that memory has no room for.
rm -rf "$dir/out" "$dir/base" "$dir"/want.*
put "a/hourly/$(day 1)/01" 2 a
mkdir -p "$dir/out/a/daily/$(day 1)"; echo x >"$dir/out/a/daily/$(day 1)/x"
put "b/hourly/$(day 1)/01" 30 cut
/usr/bin/python3 "$dir/pack.py" .gz "$dir/out/b/hourly/$(day 1)/01"
truncate -s -3 "$(ls "$dir/out/b/hourly/$(day 1)/01/"t.* | tail -1)"
mkdir -p "$dir/out/c/hourly/$(day 1)/01" && truncate -s 200M "$dir/out/c/hourly/$(day 1)/01/t.0.1.1.1.1"
put "d/hourly/$(day 1)/01" 3 d
prlimit --as=260000000 "$CAMUS" sweep -P "$dir/job.properties" >"$dir/log" 2>&1
[ $? = 1 ] || fail "three folders of four are swept"
grep -q '^1 folders swept, 3 not' "$dir/log" || fail "not one folder"
grep -q 'not swept by us' "$dir/log" && grep -q 'ends before' "$dir/log" && grep -q 'a line that memory' "$dir/log" || fail "reasons are not told"
[ -e "$dir/out/b/daily" ] || [ -e "$dir/out/c/daily" ] && fail "half a folder is swept"
same "d/daily/$(day 1)" want.d "behind three bad folders"
[ "$(ls "$dir/out/d/daily/$(day 1)" | grep -vc _sources)" = 1 ] || fail "leftovers of another folder"

# Single folders, in place: few files in the hour's own folder, its mark kept.
rm -rf "$dir/out" "$dir/base" "$dir"/want.*
hour=$(TZ=$zone date -d "1 hour ago" +%Y/%m/%d/%H)
put "t/hourly/$hour" 6 hour
touch "$dir/out/t/hourly/$hour/_SUCCESS"
single="-D camus.sweeper.planner.class=CamusSingleFolderSweeperPlanner -D camus.sweeper.dest.subdir=hourly"
sweep $single || fail "single folder"
same "t/hourly/$hour" want.hour "single folder"
[ "$(find "$dir/out/t/hourly/$hour" -type f | grep -vc '/_')" = 1 ] || fail "old files stay"
[ -e "$dir/out/t/hourly/$hour/_SUCCESS" ] || fail "the mark is lost"
sweep $single || fail "single folder again"
grep -q '^0 folders swept' "$dir/log" || fail "one file is swept again"
put "t/hourly/$hour" 1 hour
sweep $single || fail "late file in place"
same "t/hourly/$hour" want.hour "late file in place"

# Plain text in HDFS, in place: put together by CONCAT, nothing read or written; killed between any two calls, answers lost, refused, taken away meanwhile.
coproc DOUBLE { exec python3 "$(dirname "$0")/../lib/webhdfs_double.py" 2>"$dir/double.log"; }
double=$DOUBLE_PID
read -r hdfs <&"${DOUBLE[0]}" || fail "no WebHDFS double"
sed "s|=$dir/|=webhdfs://127.0.0.1:$hdfs/s/|" "$dir/job.properties" >"$dir/hdfs.properties"
single="$single -D camus.sweeper.target.file.size=1000000"
ask() { curl -sf "http://127.0.0.1:$hdfs/$1" || fail "double: $1"; }
here() { ask tree | python3 -c 'import json, sys; print("\n".join(p for p in json.load(sys.stdin) if p.startswith("/s/out/t/hourly/'$hour'/")))'; }
far() {	# count [name-prefix]: files of two lines each
	for _ in $(seq "$1"); do
		n=$((n + 1))
		printf 'line %d\nsecond of %d\n' $n $n | tee -a "$dir/want.far" | curl -sf -T - "http://127.0.0.1:$hdfs/dn/s/out/t/hourly/$hour/${2-}t.0.$n.2.$n.1?op=CREATE" >/dev/null || fail "a file for the double"
	done
}
farsweep() { { "$CAMUS" sweep -P "$dir/hdfs.properties" $single "$@" >"$dir/log" 2>&1; } 2>/dev/null; }
farsame() {	# words [files]
	here | grep -v '/_' >"$dir/files"
	python3 - "$hdfs" "$dir/files" <<-'END' | sort >"$dir/got"
		import sys, urllib.parse, urllib.request
		for path in open(sys.argv[2]).read().splitlines():
		    sys.stdout.write(urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/dn{urllib.parse.quote(path)}?op=OPEN").read().decode())
	END
	sort "$dir/want.far" | cmp -s - "$dir/got" || fail "$1: $(wc -l <"$dir/got") lines of $(wc -l <"$dir/want.far")"
	[ "$(wc -l <"$dir/files")" = "${2-1}" ] || fail "$1: $(wc -l <"$dir/files") files"
}
far 8
far 1 "a%20b%2525"	# a name that has to be escaped
farsweep --dry-run && farsame "a dry run" 9
farsweep || fail "CONCAT"
grep -q '9 files, .* to 1 files by CONCAT' "$dir/log" || fail "not by CONCAT"
farsame "CONCAT"
[ "$(ask "count?op=CONCAT")" = 1 ] || fail "not one CONCAT"
farsweep && grep -q '^0 folders swept' "$dir/log" || fail "one file is swept again"
far 3; farsweep || fail "later files by CONCAT"
farsame "later files by CONCAT"
grep -q '/part-r-00000$' "$dir/files" || fail "the file's name"
# more than one file by size
far 9
farsweep -D camus.sweeper.target.file.size=150 -D max.files=3 || fail "three files by CONCAT"
farsame "three files by CONCAT" 3
for point in before-manifest manifest-written manifest-renamed concat published done; do
	far 4
	PENSTOCK_CAMUS_KILL_AT=$point farsweep
	[ $? = 137 ] || fail "CONCAT: not killed at $point"
	far 1
	farsweep || fail "CONCAT: after a kill at $point"
	farsweep || fail "CONCAT: what came while it was dead"
	farsame "CONCAT, killed at $point"
done
# many names: several calls, killed between them, a consumer that takes a file that waits
long=$(printf 'x%.0s' $(seq 150))
far 60 "$long"
PENSTOCK_CAMUS_KILL_AT=concat:2 farsweep
[ $? = 137 ] || fail "not killed between two calls"
taken=$(here | grep "$long" | tail -1)
curl -sf "http://127.0.0.1:$hdfs/dn$taken?op=OPEN" >"$dir/taken" || fail "the file to be taken"
curl -sf -X DELETE "http://127.0.0.1:$hdfs/webhdfs/v1$taken?op=DELETE" >/dev/null || fail "a file cannot be taken"
grep -vxFf "$dir/taken" "$dir/want.far" >"$dir/want.rest"; mv "$dir/want.rest" "$dir/want.far"
farsweep || fail "after a kill between two calls"
farsame "several calls, one file taken away"
for kind in lost_before lost_after retriable; do
	far 3
	ask "fault?op=CONCAT&kind=$kind&count=1&path=/" >/dev/null
	farsweep || fail "CONCAT: $kind: $(cat "$dir/log")"
	farsame "CONCAT: $kind"
	grep -q 'by CONCAT' "$dir/log" || fail "CONCAT: $kind: not repeated"
	ask calm >/dev/null
done
# refused (an encryption zone, a quota), a last line without its end, another folder: read and written anew
far 3
ask "fault?op=CONCAT&kind=denied&count=9&path=/" >/dev/null
farsweep || fail "CONCAT refused"
grep -q 'not put together by CONCAT' "$dir/log" && grep -q ' records, 0 duplicates' "$dir/log" || fail "a refusal is not told"
farsame "CONCAT refused"
ask calm >/dev/null
far 2
printf 'no end' | curl -sf -T - "http://127.0.0.1:$hdfs/dn/s/out/t/hourly/$hour/t.0.x.1.1.1?op=CREATE" >/dev/null; echo 'no end' >>"$dir/want.far"
PENSTOCK_LOG_LEVEL=info farsweep || fail "a last line without its end"
grep -q 'by CONCAT' "$dir/log" && fail "a line is joined to the next"
farsame "a last line without its end"
far 2 "_late/"
farsweep || fail "late files beside a swept one"
here | grep -v '/_sources' >"$dir/files"
farsame "late files in the folder"
far 4
farsweep -D penstock.camus.sweep_concat=false || fail "CONCAT is not wanted"
grep -q ' records, 0 duplicates' "$dir/log" || fail "CONCAT though it is not wanted"
farsame "CONCAT is not wanted"

# Avro: two schemas, one key; the newer schema, the older record.
rm -rf "$dir/out" "$dir/base"
cat >"$dir/judge.py" <<'EOF'
import sys, json, os, avro.schema, avro.datafile, avro.io
old = avro.schema.parse('{"type":"record","name":"E","fields":[{"name":"id","type":"long"},{"name":"text","type":"string"}]}')
new = avro.schema.parse('{"type":"record","name":"E","fields":[{"name":"id","type":"long"},{"name":"text","type":"string"},{"name":"more","type":"int","default":7}]}')
if sys.argv[1] == "make":
    folder = sys.argv[2]
    os.makedirs(folder)
    for f, (schema, ids, codec, stamp) in enumerate([(old, range(0, 100), "null", 1000), (old, range(50, 150), "deflate", 2000), (new, range(140, 200), os.environ.get("AVRO_CODEC", "deflate"), 3000)]):
        path = "%s/t.0.0.%d.%d.1.avro" % (folder, len(ids), f)
        with avro.datafile.DataFileWriter(open(path, "wb"), avro.io.DatumWriter(), schema, codec=codec) as out:
            for i in ids:
                out.append({"id": i, "text": "of file %d" % f, **({"more": i} if schema is new else {})})
        os.utime(path, (1700000000 + stamp, 1700000000 + stamp))
else:
    rows = []
    for name in sorted(os.listdir(sys.argv[2])):
        if name.startswith("part-r-"):
            reader = avro.datafile.DataFileReader(open(sys.argv[2] + "/" + name, "rb"), avro.io.DatumReader())
            rows += list(reader)
    if sys.argv[1] == "keyed":
        assert sorted(r["id"] for r in rows) == list(range(200)), len(rows)
        by = {r["id"]: r for r in rows}
        assert by[60]["text"] == "of file 0" and by[145]["text"] == "of file 1" and by[145]["more"] == 7 and by[199]["more"] == 199, by[145]
    else:
        assert len(rows) == 260 and all("more" in r for r in rows), len(rows)
EOF
/usr/bin/python3 "$dir/judge.py" make "$dir/out/t/hourly/$(day 1)/05" || fail "avro files"
sweep || fail "avro"
/usr/bin/python3 "$dir/judge.py" all "$dir/out/t/daily/$(day 1)" >>"$dir/log" 2>&1 || fail "avro, no key"
rm -rf "$dir/out/t/daily" "$dir/base"
sweep -D 'camus.sweeper.avro.key.schema={"type":"record","name":"E","fields":[{"name":"id","type":"long"}]}' || fail "avro by key"
/usr/bin/python3 "$dir/judge.py" keyed "$dir/out/t/daily/$(day 1)" >>"$dir/log" 2>&1 || fail "avro by key: records"
grep -q '200 records, 60 duplicates out' "$dir/log" || fail "avro by key: counts"
rm -rf "$dir/out/t/daily" "$dir/base"
sweep -D 't.camus.sweeper.avro.key.schema={"type":"record","name":"E","fields":[{"name":"nowhere","type":"long"}]}' || fail "a key that is not there"
/usr/bin/python3 "$dir/judge.py" all "$dir/out/t/daily/$(day 1)" >>"$dir/log" 2>&1 || fail "a key that is not there: records"
# Blocks compressed by what libavro does not read (those that Python's writer has here).
for codec in snappy zstandard bzip2; do
	rm -rf "$dir/out" "$dir/base"
	AVRO_CODEC=$codec /usr/bin/python3 "$dir/judge.py" make "$dir/out/t/hourly/$(day 1)/05" 2>/dev/null || { tried="$tried (not $codec: Python cannot write it)"; continue; }
	grep -q "$codec" "$dir/out/t/hourly/$(day 1)/05/"*.2.1.avro || fail "avro, $codec: not so written"
	sweep || fail "avro, $codec"
	/usr/bin/python3 "$dir/judge.py" all "$dir/out/t/daily/$(day 1)" >>"$dir/log" 2>&1 || fail "avro, $codec: records"
done
# zstandard: written by one sweep, read by the next, which writes deflate.
rm -rf "$dir/out" "$dir/base"
/usr/bin/python3 "$dir/judge.py" make "$dir/made" && mkdir -p "$dir/out/t/hourly/$(day 1)/05" "$dir/out/t/hourly/$(day 1)/06" || fail "avro files"
mv "$dir/made/"*.[01].1.avro "$dir/out/t/hourly/$(day 1)/05"
sweep -D etl.record.writer.provider.class=AvroRecordWriterProvider -D camus.message.decoder.class=AvroMessageDecoder -D mapred.output.compress=true \
	-D etl.output.codec=zstandard -D schema.registry.url=http://127.0.0.1:1 || fail "avro into zstandard"
grep -q zstandard "$dir/out/t/daily/$(day 1)/"part-r-* || fail "not zstandard"
mv "$dir/made/"*.avro "$dir/out/t/hourly/$(day 1)/06"
touch -d '1 hour' "$dir/out/t/hourly/$(day 1)/06/"*	# its schema is the newest
sweep || fail "avro out of zstandard"
grep -q zstandard "$dir/out/t/daily/$(day 1)/"part-r-* && fail "zstandard still"
/usr/bin/python3 "$dir/judge.py" all "$dir/out/t/daily/$(day 1)" >>"$dir/log" 2>&1 || fail "zstandard: records"
echo "text and Avro, days and single folders, later files, kills, compressed$tried"
