"""The batch loader on one core, beside a bare librdkafka consumer on that core, with a real Kafka on this machine; and into a real HDFS."""
import json
import os
import shutil
import subprocess
import time

import common
import hdfs
from common import Trouble

LIB = os.path.join(common.ROOT, "tests", "lib", "kafka.sh")
RECORD = 200
PARTITIONS = 4
PARTS = ("text", "json", "avro", "idle", "hdfs")
SCHEMA = ('{"type":"record","name":"E","fields":[{"name":"schemaID","type":"string"},{"name":"timestamp","type":"long"},{"name":"text","type":"string"}]}')


class Broker(common.Servers):
    """One Kafka broker (tests/lib/kafka.sh), until end()."""

    def __init__(self, directory):
        self.directory = directory
        super().__init__(f'. "{LIB}"; kafka_jars || exit 1; trap kafka_kill EXIT; kafka_start "{directory}" || exit 1; echo "$KAFKA_BS $KAFKA_HOME"', 2, "Kafka")
        self.address, self.home = self.words

    def topic(self, name, partitions):
        subprocess.run(["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", f"{self.directory}/tools:{self.home}/libs/*",
                        "org.apache.kafka.tools.TopicCommand", "--bootstrap-server", self.address, "--create", "--topic", name, "--partitions",
                        str(partitions)], check=True, timeout=300, stdout=subprocess.DEVNULL)

    def fill(self, topic, line, count):
        """`count` records; line(i) is the i-th one's text of RECORD bytes."""
        feed = subprocess.Popen(["kcat", "-P", "-b", self.address, "-t", topic, "-X", "linger.ms=50", "-X", "batch.size=1000000", "-X",
                                 "sticky.partitioning.linger.ms=10", "-X", "queue.buffering.max.messages=1000000"], stdin=subprocess.PIPE)
        for begin in range(0, count, 10000):
            feed.stdin.write("".join(line(i) + "\n" for i in range(begin, min(begin + 10000, count))).encode())
        feed.stdin.close()
        if feed.wait(timeout=600):
            raise Trouble("kcat does not get the records into Kafka")


def one_core(argv):
    return ["taskset", "-c", str(common.CPUS[-1]), *argv]


def padded(text, tail):
    return text + "x" * (RECORD - len(text) - len(tail)) + tail


class Loader:
    """penstock-camus on one core; each run from the first record on, into folders of its own."""

    def __init__(self, directory, broker, destination=None):
        self.directory, self.broker, self.turn, self.destination = directory, broker, 0, destination

    def run(self, topic, more, fresh=True):
        """The run's report."""
        if fresh:
            self.turn += 1
        folder = os.path.join(self.directory, f"load-{self.turn}")
        os.makedirs(folder, exist_ok=True)
        root = f"{self.destination}/load-{self.turn}" if self.destination else folder
        conf = os.path.join(folder, "job.properties")
        with open(conf, "w", encoding="ascii") as file:
            file.write(f"""etl.destination.path={root}/out
etl.execution.base.path={root}/base
etl.execution.history.path={root}/base/history
kafka.brokers={self.broker.address}
kafka.whitelist.topics={topic}
penstock.camus.tasks=1
mapred.map.tasks=1
etl.default.timezone=UTC
""" + "".join(f"{key}={value}\n" for key, value in more.items()))
        began = time.monotonic()
        done = subprocess.run(one_core([common.program("penstock-camus"), "run", "-P", conf, "--json", "--quiet"]), capture_output=True, text=True,
                              timeout=600, check=False)
        took = time.monotonic() - began
        if done.returncode:
            raise Trouble("penstock-camus: " + done.stderr.strip()[-300:])
        report = json.loads(done.stdout)
        report["all_seconds"] = took
        return report

    def rate(self, topic, count, more):
        report = self.run(topic, more)
        if report["records"] != count or report["written"] != count:
            raise Trouble(f"{report['written']} of {count} records written")
        if not self.destination:
            shutil.rmtree(os.path.join(self.directory, f"load-{self.turn}"))
        return count / (report["pull_seconds"] + report["commit_seconds"]) / 1e6


def floor(broker, topic, count):
    done = subprocess.run(one_core([common.program("kafka_floor"), broker.address, topic, str(count)]), capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise Trouble("kafka_floor: " + (done.stderr or done.stdout)[-300:])
    return count / json.loads(done.stdout)["seconds"] / 1e6


TEXT = {"camus.message.decoder.class": "string", "etl.record.writer.provider.class": "StringRecordWriterProvider"}
JSON = {"camus.message.decoder.class": "JsonStringMessageDecoder", "camus.message.timestamp.format": "unix_milliseconds",
        "etl.record.writer.provider.class": "StringRecordWriterProvider"}


def measure(run, parts=PARTS):
    count = run.seconds(5_000_000, 1_000_000)
    directory = common.fresh("camus")
    broker = Broker(os.path.join(directory, "kafka"))
    cluster = None
    try:
        lines = {"text": lambda i: padded(f"{i} ", "."), "json": lambda i: padded(f'{{"schemaID":"1","timestamp":{1_700_000_000_000 + i},"text":"', '"}'),
                 "twenty": lambda i: padded(f"{i} ", ".")}
        for topic, wanted in (("text", ("text", "hdfs")), ("json", ("json", "avro")), ("twenty", ("idle",))):
            if set(wanted) & set(parts):
                broker.topic(topic, 20 if topic == "twenty" else PARTITIONS)
                broker.fill(topic, lines[topic], 2000 if topic == "twenty" else count)
                if topic != "twenty":
                    floor(broker, topic, count)		# into the page cache
        schemas = os.path.join(directory, "schemas", "json")
        os.makedirs(schemas)
        with open(os.path.join(schemas, "1.avsc"), "w", encoding="ascii") as file:
            file.write(SCHEMA)
        avro = {"camus.message.decoder.class": "JSONToAvroMessageDecoder", "etl.schema.registry.url": "",
                "kafka.message.coder.schema.registry.class": "FileSchemaRegistry", "penstock.camus.schemas": os.path.dirname(schemas),
                "etl.record.writer.provider.class": "AvroRecordWriterProvider"}
        del avro["etl.schema.registry.url"]
        loader = Loader(directory, broker)
        for part, name, topic, more, goal in (("text", "text pass-through to file://, one core", "text", TEXT, 0.9),
                                              ("json", "JSON times, text to file://, one core", "json", JSON, 0.5),
                                              ("avro", "JSON to Avro files, file://, one core", "json", avro, 0.5)):
            ours, bare = [], []
            if part not in parts:
                continue
            try:
                for _ in range(run.rounds):
                    bare.append(floor(broker, topic, count))
                    ours.append(loader.rate(topic, count, more))
                run.row(f"camus, {name}", "M records/s", ours, "librdkafka alone, each payload byte touched", bare, (">=", goal), "ratio")
            except Trouble as trouble:
                run.missing(f"camus, {name}", str(trouble))
        if "idle" in parts:
            loader.run("twenty", TEXT)
            run.row("camus, a run with nothing new, 20 partitions", "s", [loader.run("twenty", TEXT, fresh=False)["all_seconds"] for _ in range(run.rounds)],
                    goal=("<=", 2))
        if "hdfs" not in parts:
            return
        cluster = hdfs.Cluster(os.path.join(directory, "hadoop"))
        file = os.path.join(directory, "file")
        with open(file, "wb") as out:
            for _ in range(count // 5000):
                out.write((b"y" * (RECORD - 1) + b"\n") * 5000)
        into, ours, lower = Loader(directory, broker, f"webhdfs://{cluster.http.split('//')[1]}/camus"), [], []
        hdfs.timed([cluster.curl(file, "/warm")])
        for _ in range(run.rounds):
            curl = count / hdfs.timed([cluster.curl(file, "/b/curl")]) / 1e6
            lower.append(min(curl, floor(broker, "text", count)))
            ours.append(into.rate("text", count, TEXT))
            cluster.remove("/camus")
        run.row("camus, text into HDFS, one core", "M records/s", ours, "the lower of that consumer and one curl CREATE", lower, (">=", 0.8), "ratio")
    finally:
        if cluster:
            cluster.end()
        broker.end()
