"""Kill -9 under load: gives the load program a broker to start, to kill and to start again."""

import shutil

from .brokers import free_port
from .paths import DATA, GO_BIN, ROCKETMQ_CLASSPATH, java

ROUND_LIMIT_S = 15


def load(case, kind):
    data_dir = DATA / "kill9"
    shutil.rmtree(data_dir, ignore_errors=True)
    port = free_port()
    (case.dir / "broker.log").unlink(missing_ok=True)
    kind.prepare(data_dir, port)
    ports, beside = {}, []
    if kind.target == "mainstem":
        ports = {"rocketmq": free_port(), "namesrv": free_port()}
        beside = ["--", *java(
            "interop.Kill9", f"127.0.0.1:{ports['namesrv']}", case.prefix,
            classpath=ROCKETMQ_CLASSPATH, options=[f"-Duser.home={case.dir}"],
        )]  # fmt: skip
    try:
        case.drive([
            GO_BIN, "kill9", "-addr", f"127.0.0.1:{port}", "-ready", kind.ready, "-rounds", case.rounds,
            "-broker-log", case.dir / "broker.log", "-acks", case.dir / "acks.tsv",
            "--", *kind.command(data_dir, port, **ports), *beside,
        ], timeout_s=120 + ROUND_LIMIT_S * case.rounds)  # fmt: skip
    except Exception:
        case.log(f"the data directory is kept: {data_dir}")
        raise
    shutil.rmtree(data_dir)
