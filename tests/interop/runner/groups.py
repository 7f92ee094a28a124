"""Each dialect's groups in the other's tools: Kafka's consumer-groups on RocketMQ's, mqadmin on Kafka's."""

import re
import shutil
import subprocess

from . import processes
from .brokers import free_port
from .cases import check
from .paths import DATA, ROCKETMQ_CLASSPATH, java
from .rocketmq import started

TOOLS = "org.apache.kafka.tools."
SENT = 60


def groups(case, kind):
    data_dir = DATA / case.name
    shutil.rmtree(data_dir, ignore_errors=True)
    kind.prepare(data_dir, 0)
    port, ports = free_port(), {"rocketmq": free_port(), "namesrv": free_port()}
    broker = started(case, kind, data_dir, ports, port)
    try:
        rocketmqs(case, Tools(case, port, ports["namesrv"]))
        kafkas(case, Tools(case, port, ports["namesrv"]))
    finally:
        processes.kill(broker)
    shutil.rmtree(data_dir)


class Tools:
    """The commands, and members that stay until they are told to leave."""

    def __init__(self, case, kafka, namesrv):
        self.case, self.kafka, self.namesrv = case, f"127.0.0.1:{kafka}", f"127.0.0.1:{namesrv}"

    def consumer_groups(self, *args):
        return self.case.run(java(TOOLS + "consumer.group.ConsumerGroupCommand", "--bootstrap-server", self.kafka, *args))

    def member(self, *args):
        return self.rocketmq("interop.Member", args[0], self.namesrv, *args[1:])

    def mqadmin(self, *args):
        output = self.case.run(self.rocketmq("org.apache.rocketmq.tools.command.MQAdminStartup", *args, "-n", self.namesrv))
        return " ".join(output.split())

    def rocketmq(self, *args):
        home = self.case.dir
        return java(*args, classpath=ROCKETMQ_CLASSPATH, options=[f"-Duser.home={home}", f"-Drocketmq.home.dir={home}"])

    def join(self, topic, group, count):
        """A member that has consumed so many messages."""
        process = self.case.start(self.member("join", topic, group, count), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        line = process.stdout.readline()
        check(line == b"consumed\n", f"the member said {line}")
        return process

    def console_consumer(self, topic, group, *args):
        return java(
            TOOLS + "consumer.ConsoleConsumer", "--bootstrap-server", self.kafka, "--topic", topic, "--group", group,
            "--command-property", "heartbeat.interval.ms=300", "--from-beginning", *args,
        )  # fmt: skip


def leave(process):
    process.stdin.close()
    check(process.wait(30) == 0, "the member did not leave")


def rows(described, group, *columns):
    """These columns of a group's lines."""
    lines = [line.split() for line in described.splitlines() if line.startswith(group)]
    return sorted(tuple(words[column] for column in columns) for words in lines)


def rocketmqs(case, tools):
    """A group of RocketMQ's, by Kafka's tools."""
    topic, group = f"{case.prefix}-orders", f"{case.prefix}-rocketmq"
    of_group = ("--describe", "--group", group)
    case.run(tools.member("send", topic, SENT))
    member = tools.join(topic, group, SENT)
    try:
        stable = rows(tools.consumer_groups("--list", "--state", "stable"), group, 1)
        check(stable == [("Stable",)], f"listed as {stable}")
        state = tools.consumer_groups(*of_group, "--state")
        check(re.search(rf"^{group} .*\bStable +1\b", state, re.M), "not stable, or other than one member")
        check(len(rows(tools.consumer_groups(*of_group, "--members"), group, 0)) == 1, "no member is described")
        ended = [(topic, str(queue), "15", "15", "0") for queue in range(4)]
        case.wait("its offsets are at the ends", lambda: [
            row for row in rows(tools.consumer_groups(*of_group, "--offsets"), group, 1, 2, 3, 4, 5) if row[0] == topic
        ] == ended)  # fmt: skip
        # Nobody of the other dialect comes in, nor may its offsets be moved.
        case.run(tools.console_consumer(topic, group, "--timeout-ms", 20000))
        said = case.log_path.read_text(errors="replace")
        check("InconsistentGroupProtocolException" in said, "Kafka's consumer was not refused as it should be")
        reset = tools.consumer_groups("--reset-offsets", "--group", group, "--topic", topic, "--to-earliest", "--execute")
        check("inactive" in reset, "offsets of a group with members were reset")
        leave(member)
    finally:
        processes.kill(member)
    state = tools.consumer_groups(*of_group, "--state")
    check(re.search(rf"^{group} .*\bEmpty +0\b", state, re.M), "not empty")
    # What one dialect's tool set, the other's members go by.
    tools.consumer_groups("--reset-offsets", "--group", group, "--topic", topic, "--to-offset", 5, "--execute")
    lags = rows(tools.consumer_groups(*of_group), group, 1, 3, 4, 5)
    check([row for row in lags if row[0] == topic] == [(topic, "5", "15", "10")] * 4, f"after the reset {lags}")
    member = tools.join(topic, group, SENT - 4 * 5)
    leave(member)
    tools.consumer_groups("--delete", "--group", group)
    check(group not in tools.consumer_groups("--list").split(), "the deleted group is listed")


def kafkas(case, tools):
    """A group of Kafka's, by mqadmin."""
    topic, group = f"{case.prefix}-orders", f"{case.prefix}-kafka"
    member = case.start(tools.console_consumer(topic, group))
    try:
        case.wait("the group has consumed all", lambda: rows(
            tools.consumer_groups("--describe", "--group", group), group, 3, 5
        ) == [("15", "0")] * 4)  # fmt: skip
        progress = tools.mqadmin("consumerProgress", "-g", group)
        check("Consume Diff Total: 0" in progress, "mqadmin does not show the group's progress")
        for queue in range(4):
            check(f"{topic} mainstem {queue} 15 15 0" in progress, f"queue {queue} is not shown")
        refused = case.run(tools.member("refused", topic, group))
        check("the group" in refused, f"RocketMQ's consumer heard {refused}")
    finally:
        processes.kill(member)
