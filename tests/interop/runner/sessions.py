"""Clients that have fetch sessions (KIP-227) use them: the broker counts the fetches that name only what has changed."""

import re
import urllib.request

from .brokers import Running
from .cases import check, java_performance_tools, program
from .paths import GO_BIN, PYTHON, SUITE

CLIENTS = {
    "java": java_performance_tools,
    "franz-go": program(GO_BIN, "records"),
    "kafka-python": program(PYTHON, SUITE / "python/kafkapython.py", "records"),
}


def sessions(case, kind):
    broker = Running(kind, case.name)
    try:
        admin = re.search(r" admin=(\S+)", broker.ready_line)[1]
        case.address, prefix = broker.address, case.prefix
        for client, drive in CLIENTS.items():
            before = metric(admin, "kafka_incremental_fetches_total")
            case.prefix = f"{prefix}-{client}"
            drive(case)
            fetches = metric(admin, "kafka_incremental_fetches_total") - before
            case.log(f"-- {client}: {fetches} fetches in sessions")
            check(fetches > 0, f"{client} fetched without a session")
        case.wait("no session is left", lambda: metric(admin, "kafka_fetch_sessions") == 0)
        check(metric(admin, "kafka_fetch_session_bytes") == 0, "memory of sessions is left")
        check(broker.stop() == 0, "the broker did not stop well")
    finally:
        broker.kill()


def metric(admin, name):
    with urllib.request.urlopen(f"http://{admin}/metrics", timeout=10) as page:
        return int(float(re.search(rf"^mainstem_{name} (\S+)$", page.read().decode(), re.M)[1]))
