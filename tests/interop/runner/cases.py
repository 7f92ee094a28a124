"""The cases. A case is a function of one `Case`; it fails by raising. Names are `<client>.<what>`."""

import json
import os
import re
import signal
import subprocess
import time

from . import processes, wire
from .paths import GO_BIN, LOGS, NODE_DIR, PYTHON, ROCKETMQ_CLASSPATH, ROOT, SUITE, java


class Failed(Exception):
    pass


class Case:
    """One run of one case: the broker to talk to, a prefix no other case uses for its names, and a log."""

    def __init__(self, name, broker, target, prefix, rounds):
        self.name, self.broker, self.target, self.prefix, self.rounds = name, broker, target, prefix, rounds
        self.address = broker.address if broker else None
        self.dir = LOGS / name
        self.dir.mkdir(parents=True, exist_ok=True)
        self.log_path = self.dir / "log"
        self.log_file = open(self.log_path, "w")

    def log(self, text):
        self.log_file.write(text + "\n")
        self.log_file.flush()

    def start(self, command, stdin=subprocess.DEVNULL, stdout=None):
        """Starts a program in a session of its own, its output in the case's log unless `stdout` says where."""
        self.log("$ " + " ".join(map(str, command)))
        env = dict(os.environ, NODE_PATH=str(NODE_DIR / "node_modules"), PYTHONUNBUFFERED="1")
        return processes.start(
            list(map(str, command)), stdin=stdin, stdout=stdout or self.log_file, stderr=self.log_file,
            cwd=self.dir, env=env,
        )  # fmt: skip

    def drive(self, command, timeout_s=150):
        """Runs a program that judges by itself, its output going to the log as it comes."""
        self.drive_all([command], timeout_s)

    def drive_all(self, commands, timeout_s=150):
        """Runs programs that judge by themselves, side by side."""
        running = [(command, self.start(command)) for command in commands]
        end = time.monotonic() + timeout_s
        try:
            for command, process in running:
                try:
                    status = process.wait(max(0, end - time.monotonic()))
                except subprocess.TimeoutExpired:
                    raise Failed(f"{describe(command)}: no end after {timeout_s} s") from None
                if status != 0:
                    raise Failed(f"{describe(command)}: exit status {status}")
        finally:
            for _, process in running:
                processes.kill(process)

    def run(self, command, timeout_s=90, status=0):
        """Runs a program to its end and returns what it wrote on stdout (logged afterwards)."""
        process = self.start(command, stdout=subprocess.PIPE)
        try:
            out, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            processes.kill(process)
            out, _ = process.communicate()
            self.log(out.decode(errors="replace"))
            raise Failed(f"{describe(command)}: no end after {timeout_s} s") from None
        text = out.decode(errors="replace")
        self.log(text)
        if process.returncode != status:
            raise Failed(f"{describe(command)}: exit status {process.returncode}, want {status}")
        return text

    def wait(self, what, done, timeout_s=60):
        """Polls until `done()` is true; what is awaited is named in the failure."""
        end = time.monotonic() + timeout_s
        while True:
            result = done()
            if result:
                return result
            if time.monotonic() > end:
                raise Failed(f"timed out after {timeout_s} s waiting until {what}")
            time.sleep(0.05)


def describe(command):
    """The command's first words, without the paths."""
    words = [str(word) for word in command]
    if words[0] == "java":
        words = words[words.index("-cp") + 2 :]
    return " ".join(word.rsplit("/", 1)[-1] for word in words[:2])


def check(holds, what):
    if not holds:
        raise Failed(what)


# ---- programs of the suite's own, one per client


def program(*command):
    def case(c):
        c.drive([*command, c.address, c.prefix, c.target])

    return case


def java_program(name):
    def case(c):
        c.drive(java("interop.Interop", name, c.address, c.prefix, c.target, options=[f"-Djava.io.tmpdir={c.dir}"]))

    return case


# ---- the tools of Kafka's own distribution


def java_compatibility(c):
    served = wire.api_versions(c.address)
    output = c.run(java(
        "org.apache.kafka.tools.ClientCompatibilityTest", "--bootstrap-server", c.address,
        "--topic", f"{c.prefix}-compat", "--num-cluster-nodes", 1,
        "--offsets-for-times-supported", "true", "--cluster-id-supported", "true",
        "--expect-record-too-large-exception", "false", "--create-topics-supported", "true",
        # A broker may leave rights out, but then has to say so.
        "--describe-acls-supported", "true" if 29 in served else "false",
        "--describe-configs-supported", "true", "--idempotent-producer-supported", "true",
    ))  # fmt: skip
    check("SUCCESS" in output, "the tool did not report success")


def json_lines(path, name):
    with open(path) as lines:
        return [event for line in lines if line.startswith("{") for event in [json.loads(line)] if event.get("name") == name]


def java_verifiable(c):
    """One producer, three consumers of one group that come and go; every acknowledged message is consumed."""
    topic, group, count, rate = f"{c.prefix}-verifiable", f"{c.prefix}-group", 6000, 600
    tools = "org.apache.kafka.tools."
    c.run(java(tools + "TopicCommand", "--bootstrap-server", c.address, "--create", "--topic", topic, "--partitions", 6))
    started, outputs = [], {}

    def start(name, main, *args):
        path = c.dir / f"{name}.json"
        path.unlink(missing_ok=True)
        with open(path, "wb") as out:
            process = c.start(java(tools + main, "--bootstrap-server", c.address, "--topic", topic, *args), stdout=out)
        started.append(process)
        outputs[name] = path
        return process

    def consumer(name):
        return start(name, "VerifiableConsumer", "--group-id", group, "--session-timeout", 10000, "--reset-policy", "earliest")

    def assigned(name):
        """The partitions a consumer holds, from its latest assignment or revocation."""
        held = set()
        with open(outputs[name]) as lines:
            for line in lines:
                if not line.endswith("\n"):
                    break
                event = json.loads(line)
                partitions = {p["partition"] for p in event.get("partitions", []) if "partition" in p}
                if event["name"] == "partitions_assigned":
                    held |= partitions
                elif event["name"] == "partitions_revoked":
                    held -= partitions
        return held

    def leave(process):
        process.send_signal(signal.SIGTERM)
        process.wait(30)

    try:
        one = consumer("one")
        c.wait("one has all", lambda: len(assigned("one")) == 6)
        producer = start("producer", "VerifiableProducer", "--max-messages", count, "--throughput", rate, "--acks", -1)
        two = consumer("two")
        c.wait("one and two share", lambda: len(assigned("one")) == len(assigned("two")) == 3)
        three = consumer("three")
        c.wait("three share", lambda: all(len(assigned(n)) == 2 for n in ("one", "two", "three")))
        leave(one)
        c.wait("two and three share", lambda: len(assigned("two")) == len(assigned("three")) == 3)
        check(producer.wait(60) == 0, "the producer failed")
        sent = json_lines(outputs["producer"], "producer_send_success")
        check(len(sent) == count, f"{len(sent)} of {count} messages were acknowledged")
        check(len({(s["partition"], s["offset"]) for s in sent}) == count, "two messages have one offset")
        ends = {}
        for message in sent:
            ends[message["partition"]] = max(ends.get(message["partition"], 0), message["offset"] + 1)

        def committed():
            reached = {}
            for name in ("one", "two", "three"):
                for event in json_lines(outputs[name], "offsets_committed"):
                    for offset in event["offsets"]:
                        reached[offset["partition"]] = max(reached.get(offset["partition"], 0), offset["offset"])
            return reached == ends

        c.wait("the group committed everything", committed)
        leave(three)
        c.wait("two has all", lambda: len(assigned("two")) == 6)
        leave(two)
    finally:
        for process in started:
            processes.kill(process)


def java_performance_tools(c):
    """The tools' figures are of no interest here; that they run to their end with the right counts is."""
    topic, count = f"{c.prefix}-perf", 50_000
    tools = "org.apache.kafka.tools."
    c.run(java(tools + "TopicCommand", "--bootstrap-server", c.address, "--create", "--topic", topic, "--partitions", 4))
    output = c.run(java(
        tools + "ProducerPerformance", "--bootstrap-server", c.address, "--topic", topic, "--num-records", count,
        "--record-size", 500, "--throughput", -1, "--command-property", "acks=all", "compression.type=lz4",
    ))  # fmt: skip
    check(re.search(rf"^{count} records sent", output, re.M), "not all records were sent")
    output = c.run(java(
        tools + "ConsumerPerformance", "--bootstrap-server", c.address, "--topic", topic, "--num-records", count,
        "--group", f"{c.prefix}-group", "--hide-header",
    ))  # fmt: skip
    consumed = int(output.strip().splitlines()[-1].split(",")[4])
    check(consumed >= count, f"{consumed} of {count} records were consumed")


def java_commands(c):
    tools = "org.apache.kafka.tools."
    at = ["--bootstrap-server", c.address]
    topic, group = f"{c.prefix}-commands", f"{c.prefix}-group"

    def topics(*args, **more):
        return c.run(java(tools + "TopicCommand", *at, *args), **more)

    def configs(*args):
        return c.run(java("kafka.admin.ConfigCommand", *at, "--entity-type", "topics", "--entity-name", topic, *args))

    def groups(*args):
        return c.run(java(tools + "consumer.group.ConsumerGroupCommand", *at, *args))

    topics("--create", "--topic", topic, "--partitions", 2, "--config", "retention.ms=3600000")
    topics("--create", "--topic", topic, status=1)
    check(topic in topics("--list").split(), "the topic is not listed")
    topics("--alter", "--topic", topic, "--partitions", 3)
    described = topics("--describe", "--topic", topic)
    check("PartitionCount: 3" in described and "retention.ms=3600000" in described, "the description is wrong")
    configs("--alter", "--add-config", "retention.ms=7200000,cleanup.policy=[compact,delete]")
    check("retention.ms=7200000" in configs("--describe"), "the altered config does not show")
    configs("--alter", "--delete-config", "retention.ms")
    check("retention.ms=" not in configs("--describe"), "the deleted config still shows")

    producer = c.start(
        java(tools + "ConsoleProducer", *at, "--topic", topic, "--property", "parse.key=true"), stdin=subprocess.PIPE
    )
    producer.communicate("".join(f"k{i}\tv{i}\n" for i in range(30)).encode(), timeout=60)
    check(producer.returncode == 0, "the console producer failed")
    output = c.run(java(
        tools + "consumer.ConsoleConsumer", *at, "--topic", topic, "--group", group, "--from-beginning",
        "--max-messages", 30, "--timeout-ms", 30000,
    ))  # fmt: skip
    check(sorted(output.split()) == sorted(f"v{i}" for i in range(30)), "the console consumer read something else")
    check(group in groups("--list").split(), "the group is not listed")
    check(re.search(r"Empty", groups("--describe", "--state", "--group", group)), "the group is not empty")
    described = groups("--describe", "--group", group)
    lags = [line.split()[5] for line in described.splitlines() if line.startswith(group)]
    check(lags == ["0"] * 3, f"lags are {lags}")
    groups("--reset-offsets", "--group", group, "--topic", topic, "--to-earliest", "--execute")
    described = groups("--describe", "--group", group)
    reset = [line.split()[3] for line in described.splitlines() if line.startswith(group)]
    check(reset == ["0"] * 3, f"offsets are {reset} after the reset")
    groups("--delete", "--group", group)
    check(group not in groups("--list").split(), "the deleted group is listed")

    output = c.run(java(tools + "GetOffsetShell", *at, "--topic", topic))
    ends = [int(line.split(":")[2]) for line in output.split() if line.startswith(topic)]
    check(len(ends) == 3 and sum(ends) == 30, f"the offsets are {ends}")
    topics("--delete", "--topic", topic)
    c.wait("the topic is gone", lambda: topic not in topics("--list").split())


def java_connect(c):
    """File to topic to file, then more lines after a restart of the worker."""
    source, sink, topic = c.dir / "source.txt", c.dir / "sink.txt", f"{c.prefix}-connect"
    for path in (source, sink, c.dir / "offsets"):
        path.unlink(missing_ok=True)
    converters = "".join(
        f"{side}.converter=org.apache.kafka.connect.storage.StringConverter\n" for side in ("key", "value")
    )
    (c.dir / "worker.properties").write_text(
        f"bootstrap.servers={c.address}\n{converters}offset.storage.file.filename={c.dir}/offsets\n"
        "offset.flush.interval.ms=500\nlisteners=http://127.0.0.1:0\nplugin.discovery=service_load\n"
        "consumer.heartbeat.interval.ms=300\n"
    )
    (c.dir / "source.properties").write_text(
        f"name={c.prefix}-source\nconnector.class=FileStreamSource\ntasks.max=1\nfile={source}\ntopic={topic}\n"
    )
    (c.dir / "sink.properties").write_text(
        f"name={c.prefix}-sink\nconnector.class=FileStreamSink\ntasks.max=1\nfile={sink}\ntopics={topic}\n"
    )
    lines = []
    for round in range(2):
        more = [f"round {round} line {i}" for i in range(500)]
        lines += more
        with open(source, "a") as out:
            out.write("".join(line + "\n" for line in more))
        worker = c.start(java(
            "org.apache.kafka.connect.cli.ConnectStandalone", c.dir / "worker.properties",
            c.dir / "source.properties", c.dir / "sink.properties",
        ))  # fmt: skip
        try:
            def arrived():
                check(worker.poll() is None, "the worker ended")
                return sink.exists() and len(sink.read_text().splitlines()) >= len(lines)

            c.wait("all lines arrived", arrived, 90)
            worker.send_signal(signal.SIGTERM)
            try:
                worker.wait(60)
            except subprocess.TimeoutExpired:
                # Where its threads stand goes into the log: its own two shutdown hooks may race.
                worker.send_signal(signal.SIGQUIT)
                c.wait("the worker's threads are told", lambda: "Full thread dump" in (c.dir / "log").read_text(), 10)
                raise
        finally:
            processes.kill(worker)
        check(sink.read_text().splitlines() == lines, "the sink holds other lines than the source")


# ---- kcat (librdkafka of Debian)


def kcat_records(c):
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        topic = f"{c.prefix}-{codec}"
        lines = [f"k{i}:value {i} of {codec}" for i in range(2000)] + [f"empty-{i}:" for i in range(3)]
        source = c.dir / "lines"
        source.write_text("".join(line + "\n" for line in lines))
        # The topic is made by asking for it.
        headers = ["-H", "again=1", "-H", "other=x", "-H", "again=2"]
        c.run(["kcat", "-b", c.address, "-P", "-t", topic, "-z", codec, "-K:", "-l", *headers, "-X", "acks=all",
               "-X", "enable.idempotence=true", source])  # fmt: skip
        output = c.run(["kcat", "-b", c.address, "-C", "-t", topic, "-e", "-q", "-o", "beginning", "-f", r"%h|%k:%s\n"])
        want = [f"again=1,other=x,again=2|{line}" for line in lines]
        check(sorted(output.splitlines()) == sorted(want), f"{codec}: other lines came back")

    topic = f"{c.prefix}-odd"
    large = c.dir / "large"
    large.write_bytes(os.urandom(500_000).hex().encode()[:999_000])
    empty = c.dir / "empty"
    empty.write_bytes(b"")
    c.run(["kcat", "-b", c.address, "-P", "-t", topic, "-p", 0, large])
    c.run(["kcat", "-b", c.address, "-P", "-t", topic, "-p", 0, empty])
    c.run(["kcat", "-b", c.address, "-P", "-t", topic, "-p", 0, "-k", "null-value", "-Z", empty])
    output = c.run(["kcat", "-b", c.address, "-C", "-t", topic, "-e", "-q", "-o", "beginning", "-f", r"%o %K %S\n"])
    lengths = output.splitlines()
    check(lengths[0] == "0 -1 999000", f"the large record came back as {lengths[0]}")
    check(all(line.split()[2] in ("0", "-1") for line in lengths[1:]), f"the others as {lengths[1:]}")
    output = c.run(["kcat", "-b", c.address, "-C", "-t", topic, "-o", 0, "-c", 1, "-q", "-D", ""])
    check(output.strip() == large.read_text(), "the large record's bytes differ")

    metadata = json.loads(c.run(["kcat", "-b", c.address, "-L", "-J", "-t", topic]))
    check(len(metadata["brokers"]) == 1 and metadata["topics"][0]["topic"] == topic, "the metadata is wrong")
    output = c.run(["kcat", "-b", c.address, "-Q", "-t", f"{topic}:0:-1"])
    check(f"offset {len(lengths)}" in output, "the queried end is wrong")


def kcat_groups(c):
    """Two members of a group, one of which dies without a word: the other takes over after the session's end."""
    topic, group = f"{c.prefix}-shared", f"{c.prefix}-group"
    c.run([GO_BIN, "create-topic", c.address, topic, 4])
    started = []

    def member(name):
        path = c.dir / f"{name}.out"
        with open(path, "wb") as out:
            process = c.start([
                "kcat", "-b", c.address, "-u", "-f", r"%p %o %s\n", "-X", "session.timeout.ms=6000",
                "-X", "heartbeat.interval.ms=300", "-X", "auto.offset.reset=earliest",
                "-X", "auto.commit.interval.ms=200", "-G", group, topic,
            ], stdout=out)  # fmt: skip
        started.append(process)
        return process, path

    def values(path):
        return [line.split()[2] for line in path.read_text().splitlines() if len(line.split()) == 3]

    def produce(label):
        source = c.dir / label
        source.write_text("".join(f"{label}-{i}\n" for i in range(400)))
        for partition in range(4):
            c.run(["kcat", "-b", c.address, "-P", "-t", topic, "-p", partition, "-l", source])

    def of(label, path):
        return sum(value.startswith(label + "-") for value in values(path))

    try:
        first, first_out = member("first")
        produce("alone")
        c.wait("the first member read all", lambda: of("alone", first_out) == 1600)
        second, second_out = member("second")
        shared = 0

        def both_read():
            # Until the second has its share, everything still goes to the first.
            nonlocal shared
            shared += 1
            produce(f"shared{shared}")
            c.wait("all was read", lambda: of(f"shared{shared}", first_out) + of(f"shared{shared}", second_out) >= 1600)
            return of(f"shared{shared}", second_out) == 800 and of(f"shared{shared}", first_out) == 800

        c.wait("both read half", both_read)
        os.kill(second.pid, signal.SIGKILL)
        produce("after")
        c.wait("the first took over", lambda: of("after", first_out) == 1600)
        first.send_signal(signal.SIGTERM)
        first.wait(30)
    finally:
        for process in started:
            processes.kill(process)


# ---- cases with a broker of their own


def hostile_input(c):
    command = [PYTHON, SUITE / "hostile" / "hostile.py", c.address]
    if c.broker.pid:
        command += ["--pid", c.broker.pid]
    if c.target == "kafka":
        command.append("--lenient")
    c.drive(command, timeout_s=180)


# ---- cases without a broker


def golden(main, file, name_of):
    """RocketMQ's own classes still print what `cargo test` holds the broker to."""
    def case(c):
        golden = (ROOT / file).read_text().splitlines()
        printed = c.run(java(main, classpath=ROCKETMQ_CLASSPATH)).splitlines()
        differing = {name_of(line) for line in set(golden) ^ set(printed)}
        check(not differing, f"not as in the golden file: {', '.join(sorted(differing))}")
        check(printed == golden, "the order differs from the golden file")

    return case


ALONE = {
    "rocketmq.frames": ("rocketmq", golden(
        "interop.Frames", "tests/wire_golden/rocketmq-5.5.0.txt", lambda line: line.split(" ")[0],
    )),
    "rocketmq.filters": ("rocketmq", golden(
        "interop.Filters", "tests/filter_golden/rocketmq-5.5.0.txt", lambda line: line.partition("\t")[2],
    )),
}  # fmt: skip

SHARED = {
    "java.records": ("java", java_program("records")),
    "java.groups": ("java", java_program("groups")),
    "java.admin": ("java", java_program("admin")),
    "java.compatibility-tool": ("java", java_compatibility),
    "java.verifiable-tools": ("java", java_verifiable),
    "java.performance-tools": ("java", java_performance_tools),
    "java.commands": ("java", java_commands),
    "java.streams": ("java", java_program("streams")),
    "java.connect": ("java", java_connect),
    "go.records": ("go", program(GO_BIN, "records")),
    "go.groups": ("go", program(GO_BIN, "groups")),
    "go.admin": ("go", program(GO_BIN, "admin")),
    "sarama.all": ("go", program(GO_BIN, "sarama")),
    "confluent.records": ("python", program(PYTHON, SUITE / "python/confluent.py", "records")),
    "confluent.groups": ("python", program(PYTHON, SUITE / "python/confluent.py", "groups")),
    "confluent.admin": ("python", program(PYTHON, SUITE / "python/confluent.py", "admin")),
    "kafka-python.records": ("python", program(PYTHON, SUITE / "python/kafkapython.py", "records")),
    "kafka-python.groups": ("python", program(PYTHON, SUITE / "python/kafkapython.py", "groups")),
    "kafkajs.records": ("node", program("node", SUITE / "node/interop.js", "records")),
    "kafkajs.groups": ("node", program("node", SUITE / "node/interop.js", "groups")),
    "kcat.records": ("kcat", kcat_records),
    "kcat.groups": ("kcat", kcat_groups),
}
