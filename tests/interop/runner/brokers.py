"""Starts and stops the broker under test: our own binary, or the real Kafka the suite is proven against."""

import base64
import random
import re
import shutil
import signal
import socket
import subprocess
import threading
import uuid

from . import processes
from .paths import DATA, LOGS, ROOT, java

READY_TIMEOUT_S = 60
STOP_TIMEOUT_S = 60


def free_port():
    """A free port below the ephemeral range, where a client's redialing cannot connect to itself."""
    while True:
        port = random.randrange(20000, 30000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


class Mainstem:
    target = "mainstem"
    ready = r"^ready kafka=(\S+)"

    def command(self, data_dir, port, rocketmq=0, namesrv=0):
        """The command line of a broker on `data_dir`, listening on these ports (0: any)."""
        settings = {
            "kafka.auto_create_topics": "true",
            "groups.initial_rebalance_delay_ms": "0",
            "log.segment_bytes": "16MiB",
        }
        sets = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        return [
            str(ROOT / "target/release/mainstem"), "serve", "--data-dir", str(data_dir),
            "--kafka", f"127.0.0.1:{port}", "--admin", "127.0.0.1:0",
            "--rocketmq", f"127.0.0.1:{rocketmq}", "--namesrv", f"127.0.0.1:{namesrv}", *sets,
        ]  # fmt: skip

    def prepare(self, data_dir, port):
        data_dir.mkdir(parents=True)


class RealKafka:
    """Apache Kafka from the same jars as its tools: what a good suite passes first."""

    target = "kafka"
    ready = r"Kafka Server started"

    def command(self, data_dir, port):
        # The default heap, by name: the machine may be small.
        return java("kafka.Kafka", data_dir / "server.properties", heap="512m", log4j="broker.xml")

    def prepare(self, data_dir, port):
        data_dir.mkdir(parents=True)
        controller = free_port()
        properties = f"""
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={data_dir}/log
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.heartbeat.interval.ms=300
broker.session.timeout.ms=1000
"""
        (data_dir / "server.properties").write_text(properties)
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        subprocess.run(
            java("kafka.tools.StorageTool", "format", "-t", cluster, "-c", data_dir / "server.properties"),
            check=True, stdout=subprocess.DEVNULL, timeout=60,
        )  # fmt: skip


class Running:
    """One broker process that is ready. `address` is where Kafka's clients reach it."""

    def __init__(self, kind, name):
        self.kind = kind
        self.log_path = LOGS / f"broker-{name}.log"
        self.data_dir = DATA / name
        shutil.rmtree(self.data_dir, ignore_errors=True)
        port = free_port()
        kind.prepare(self.data_dir, port)
        self.address = f"127.0.0.1:{port}"
        self._settled = threading.Event()
        self.ready_line = None
        self._log = open(self.log_path, "w")
        self.process = processes.start(
            kind.command(self.data_dir, port),
            stdout=subprocess.PIPE, stderr=self._log, stdin=subprocess.DEVNULL, text=True, errors="replace",
        )  # fmt: skip
        threading.Thread(target=self._watch_stdout, daemon=True).start()
        self._settled.wait(READY_TIMEOUT_S)
        if self.ready_line is None:
            self.kill()
            raise RuntimeError("the broker did not become ready")

    def _watch_stdout(self):
        for line in self.process.stdout:
            self._log.write(line)
            self._log.flush()
            if re.search(self.kind.ready, line):
                self.ready_line = line
                self._settled.set()
        self._settled.set()

    @property
    def pid(self):
        return self.process.pid

    def alive(self):
        return self.process.poll() is None

    def stop(self):
        """Asks it to end, as an operator would; returns its exit status."""
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise RuntimeError(f"the broker did not stop within {STOP_TIMEOUT_S} s of SIGTERM")
        finally:
            shutil.rmtree(self.data_dir, ignore_errors=True)

    def kill(self):
        processes.kill(self.process)


class External:
    """A broker somebody else runs: what needs its process is skipped."""

    pid = None
    log_path = None

    def __init__(self, address):
        self.address = address

    def alive(self):
        return True
