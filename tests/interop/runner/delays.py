"""Kafka's producers delay records by headers, the broker is killed, and both dialects' consumers get them in time."""

import shutil
import subprocess

from . import processes
from .brokers import free_port
from .cases import check
from .paths import DATA, ROCKETMQ_CLASSPATH, java
from .rocketmq import started


def delays(case, kind):
    data_dir = DATA / case.name
    shutil.rmtree(data_dir, ignore_errors=True)
    kind.prepare(data_dir, 0)
    port, ports = free_port(), {"rocketmq": free_port(), "namesrv": free_port()}
    broker = started(case, kind, data_dir, ports, port)
    programs = []

    def program(command):
        programs.append(case.start(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        return programs[-1]

    try:
        producers = program(java("interop.Interop", "delay", f"127.0.0.1:{port}", case.prefix, "mainstem"))
        said(case, producers, "-- sending")
        member = program(java(
            "interop.Member", "timed", f"127.0.0.1:{ports['namesrv']}", f"{case.prefix}-delay", f"{case.prefix}-group",
            classpath=ROCKETMQ_CLASSPATH, options=[f"-Duser.home={case.dir}"],
        ))  # fmt: skip
        processes.kill(broker)
        broker = started(case, kind, data_dir, ports, port)
        tell(producers, "back")
        count = said(case, producers, "-- sent").split()[-1]
        tell(member, count)
        said(case, member, "all have come")
        for ended in programs:
            check(ended.wait(30) == 0, f"exit status {ended.returncode}")
    finally:
        for process in (*programs, broker):
            processes.kill(process)
    shutil.rmtree(data_dir)


def said(case, program, start):
    """Waits for a line that starts so; programs end by themselves when they wait in vain."""
    for line in program.stdout:
        case.log(line.decode(errors="replace").rstrip())
        if line.startswith(start.encode()):
            return line.decode()
    raise RuntimeError(f"a program ended before it said {start!r}")


def tell(program, line):
    program.stdin.write(f"{line}\n".encode())
    program.stdin.flush()
