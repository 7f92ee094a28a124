"""A fleet of RocketMQ's brokers and ours, and name servers of both kinds: clients find all of them at each."""

import re
import shutil
import signal
import subprocess

from . import processes
from .brokers import free_port
from .paths import BUILD, DATA, ROCKETMQ_CLASSPATH, java
from .rocketmq import started

SERVER_CLASSPATH = f"{BUILD}/rocketmq-server/lib/*"
# What RocketMQ's server reaches into.
OPENED = ("--add-exports=java.base/sun.nio.ch=ALL-UNNAMED", "--add-opens=java.base/java.nio=ALL-UNNAMED")


def fleet(case, kind):
    data_dir = DATA / case.name
    shutil.rmtree(data_dir, ignore_errors=True)
    kind.prepare(data_dir / "ours", 0)
    theirs, ours = free_port(), free_port()
    running = []

    def clients(namesrv, phase, brokers):
        case.drive(java(
            "interop.Fleet", f"127.0.0.1:{namesrv}", f"{case.prefix}-{phase}", brokers,
            classpath=ROCKETMQ_CLASSPATH, options=[f"-Duser.home={case.dir}"],
        ), timeout_s=120)  # fmt: skip

    try:
        running.append(namesrv(case, data_dir / "namesrv", theirs))
        ports = {"rocketmq": free_port(), "namesrv": ours}
        settings = [f"rocketmq.register_with=127.0.0.1:{theirs}"]
        mainstem = started(case, kind, data_dir / "ours", ports, settings=settings)
        running.append(mainstem)
        apache = broker(case, data_dir / "broker", f"127.0.0.1:{theirs};127.0.0.1:{ours}")
        running.append(apache)
        clients(theirs, "theirs", "broker-a,mainstem")
        clients(ours, "ours", "broker-a,mainstem")
        # Each goes, and its name is gone from the other's name server.
        mainstem.send_signal(signal.SIGTERM)
        mainstem.wait(30)
        clients(theirs, "without-ours", "broker-a")
        mainstem = started(case, kind, data_dir / "ours", ports, settings=settings)
        running.append(mainstem)
        processes.kill(apache)
        clients(ours, "without-theirs", "mainstem")
        clients(theirs, "again", "mainstem")
    finally:
        for process in running:
            processes.kill(process)
    shutil.rmtree(data_dir)


def namesrv(case, home, port):
    settings = {"listenPort": port, "bindAddress": "127.0.0.1", "kvConfigPath": home / "kv.json"}
    return server(case, home, "org.apache.rocketmq.namesrv.NamesrvStartup", settings, "Name Server boot success")


def broker(case, home, name_servers):
    settings = {
        "brokerName": "broker-a", "brokerClusterName": "DefaultCluster", "brokerId": 0, "brokerIP1": "127.0.0.1",
        "listenPort": free_port(), "namesrvAddr": name_servers, "autoCreateTopicEnable": "true",
        "storePathRootDir": home / "store", "storePathCommitLog": home / "store" / "commitlog",
        "mappedFileSizeCommitLog": 16 << 20, "mappedFileSizeConsumeQueue": 60_000, "diskMaxUsedSpaceRatio": 95,
        "haListenPort": free_port(),
    }  # fmt: skip
    return server(case, home, "org.apache.rocketmq.broker.BrokerStartup", settings, "boot success")


def server(case, home, main, settings, ready):
    home.mkdir(parents=True)
    file = home / "server.properties"
    file.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    command = java(
        main, "-c", file, heap="512m", classpath=SERVER_CLASSPATH,
        options=[*OPENED, f"-Duser.home={home}", f"-Drocketmq.home.dir={home}", "-XX:MaxDirectMemorySize=512m"],
    )  # fmt: skip
    log = open(case.dir / f"apache-{home.name}.log", "w")
    process = processes.start(command, stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL, text=True)
    for line in process.stdout:
        log.write(line)
        log.flush()
        if re.search(ready, line):
            return process
    processes.kill(process)
    raise RuntimeError(f"{main} did not become ready")
