"""RocketMQ's own clients and mqadmin: they write and read, the broker is killed, and they find everything again."""

import re
import shutil
import subprocess

from . import processes
from .brokers import free_port
from .paths import BUILD, DATA, GO_ROCKETMQ_BIN, ROCKETMQ_CLASSPATH, java

# How the headers of requests are written: the first half of a client's life, and the second.
HEADERS = (("JSON", "ROCKETMQ"), ("ROCKETMQ", "JSON"))


def java_clients(build, *options):
    """Two of them at a time, with one kind of header each, which they change when the broker is back."""
    def commands(case, phase, namesrv):
        for headers in HEADERS:
            header = headers[phase == "after"]
            yield java(
                "interop.Clients", phase, namesrv, f"{case.prefix}-{headers[0].lower()}",
                classpath=f"{BUILD}/{build}/classes:{BUILD}/{build}/lib/*",
                options=[f"-Duser.home={case.dir}", f"-Drocketmq.serialize.type={header}", *options],
            )  # fmt: skip

    return lambda case, kind: clients(case, kind, commands)


def go_clients(case, kind):
    def commands(case, phase, namesrv):
        yield [GO_ROCKETMQ_BIN, phase, namesrv, case.prefix, case.dir]

    clients(case, kind, commands)


def clients(case, kind, commands):
    data_dir = DATA / case.name
    shutil.rmtree(data_dir, ignore_errors=True)
    kind.prepare(data_dir, 0)
    ports = {"rocketmq": free_port(), "namesrv": free_port()}
    # Old clients, and tools, know the broker by fixed ports: it comes back where it was.
    for phase in ("before", "after"):
        broker = started(case, kind, data_dir, ports)
        try:
            case.drive_all(commands(case, phase, f"127.0.0.1:{ports['namesrv']}"), timeout_s=180)
        finally:
            processes.kill(broker)
    shutil.rmtree(data_dir)


def killed_between(case, kind, program):
    """Runs a program's phase `before`, kills the broker, and runs its phase `after`."""
    data_dir = DATA / case.name
    shutil.rmtree(data_dir, ignore_errors=True)
    kind.prepare(data_dir, 0)
    ports = {"rocketmq": free_port(), "namesrv": free_port()}
    # Old clients, and tools, know the broker by fixed ports: it comes back where it was.
    for phase, header in (("before", "JSON"), ("after", "ROCKETMQ")):
        broker = started(case, kind, data_dir, ports)
        try:
            case.drive(java(
                program, phase, f"127.0.0.1:{ports['namesrv']}", case.prefix,
                classpath=ROCKETMQ_CLASSPATH, options=[f"-Duser.home={case.dir}", f"-Drocketmq.serialize.type={header}"],
            ), timeout_s=180)  # fmt: skip
        finally:
            processes.kill(broker)
    shutil.rmtree(data_dir)


def across(case, kind):
    """Kafka's and RocketMQ's Java clients on the same topics, in a JVM each: what one writes the other reads."""
    data_dir = DATA / "across"
    shutil.rmtree(data_dir, ignore_errors=True)
    kind.prepare(data_dir, 0)
    port, ports = free_port(), {"rocketmq": free_port(), "namesrv": free_port()}

    def kafka(step):
        return java("interop.Interop", f"across-{step}", f"127.0.0.1:{port}", case.prefix, "mainstem")

    def rocketmq(step, *arguments, classpath=ROCKETMQ_CLASSPATH):
        return java(
            "interop.Across", step, f"127.0.0.1:{ports['namesrv']}", case.prefix, *arguments,
            classpath=classpath, options=[f"-Duser.home={case.dir}"],
        )  # fmt: skip

    def push(version):
        build = f"{BUILD}/rocketmq-{version}"
        return rocketmq("push", version, classpath=f"{build}/classes:{build}/lib/*")

    broker = started(case, kind, data_dir, ports, port)
    try:
        for command in (kafka("send"), rocketmq("send"), kafka("read"), rocketmq("read"), push("5.3.3"), push("4.9.8")):
            case.drive(command)
        # Again, from the segments.
        processes.kill(broker)
        broker = started(case, kind, data_dir, ports, port)
        last = (kafka("trim"), rocketmq("from"))
        for command in (kafka("read"), rocketmq("read"), rocketmq("bridge"), kafka("bridged"), *last):
            case.drive(command)
        other = case.start(rocketmq("together"))
        try:
            case.drive(kafka("together"))
            status = other.wait(90)
        finally:
            processes.kill(other)
        if status != 0:
            raise RuntimeError(f"RocketMQ's side ended with {status}")
    finally:
        processes.kill(broker)
    shutil.rmtree(data_dir)


def load(case, kind):
    """Both dialects' clients on one topic, in a JVM each and more for members that are killed: groups change under load."""
    data_dir = DATA / "load"
    shutil.rmtree(data_dir, ignore_errors=True)
    kind.prepare(data_dir, 0)
    for side in ("kafka", "rocketmq"):
        (case.dir / f"sent-{side}").unlink(missing_ok=True)
    port, ports = free_port(), {"rocketmq": free_port(), "namesrv": free_port()}
    broker = started(case, kind, data_dir, ports, port)
    try:
        case.drive_all([
            java(
                "interop.Load", "run", f"127.0.0.1:{ports['namesrv']}", case.prefix, case.dir,
                classpath=ROCKETMQ_CLASSPATH, options=[f"-Duser.home={case.dir}"],
            ),
            java(
                "interop.Interop", "load", f"127.0.0.1:{port}", case.prefix, "mainstem",
                options=[f"-Djava.io.tmpdir={case.dir}"],
            ),
        ], timeout_s=180)  # fmt: skip
    finally:
        processes.kill(broker)
    shutil.rmtree(data_dir)


def mqadmin(case, kind):
    data_dir = DATA / "mqadmin"
    shutil.rmtree(data_dir, ignore_errors=True)
    kind.prepare(data_dir, 0)
    ports = {"rocketmq": free_port(), "namesrv": free_port()}
    for phase, settings in (("before", []), ("after", ["rocketmq.allow_config_update=true"])):
        broker = started(case, kind, data_dir, ports, settings=settings)
        try:
            case.drive(java(
                "interop.Mqadmin", phase, f"127.0.0.1:{ports['namesrv']}", f"127.0.0.1:{ports['rocketmq']}", case.prefix,
                classpath=ROCKETMQ_CLASSPATH, options=[f"-Duser.home={case.dir}", f"-Drocketmq.home.dir={case.dir}"],
            ), timeout_s=180)  # fmt: skip
        finally:
            processes.kill(broker)
    shutil.rmtree(data_dir)


def started(case, kind, data_dir, ports, port=0, settings=()):
    log = open(case.dir / "broker.log", "a")
    command = kind.command(data_dir, port, **ports) + [word for setting in settings for word in ("--set", setting)]
    broker = processes.start(command, stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL, text=True)
    line = broker.stdout.readline()
    if not re.search(kind.ready, line):
        processes.kill(broker)
        raise RuntimeError(f"the broker did not become ready: {line!r}")
    return broker


# Cases that start our own broker themselves: what has to be built, and what is run.
CASES = {
    "rocketmq.clients.5.5.0": ({"rocketmq"}, java_clients("rocketmq")),
    "rocketmq.clients.5.3.3": ({"rocketmq-5.3.3"}, java_clients("rocketmq-5.3.3")),
    # By the VIP channel, as clients did by themselves before 4.5.
    "rocketmq.clients.4.9.8": (
        {"rocketmq-4.9.8"}, java_clients("rocketmq-4.9.8", "-Dcom.rocketmq.sendMessageWithVIPChannel=true"),
    ),
    "rocketmq.clients.go": ({"rocketmq-go"}, go_clients),
    "rocketmq.later": ({"rocketmq"}, lambda case, kind: killed_between(case, kind, "interop.Later")),
    "rocketmq.across": ({"rocketmq", "rocketmq-5.3.3", "rocketmq-4.9.8", "java"}, across),
    "rocketmq.load": ({"rocketmq", "java"}, load),
    "rocketmq.mqadmin": ({"rocketmq"}, mqadmin),
}  # fmt: skip
