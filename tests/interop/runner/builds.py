"""Installs and builds the clients, by package name, once: a stamp holds the digest of what each was built from."""

import hashlib
import shutil
import subprocess
import sys

from .paths import BUILD, GO_BIN, GO_ROCKETMQ_BIN, LOGS, NODE_DIR, ROOT, SUITE

BUILD_TIMEOUT_S = 900


def run(name, command, cwd=SUITE):
    log = LOGS / f"build-{name}.log"
    with open(log, "a") as out:
        done = subprocess.run(
            list(map(str, command)), cwd=cwd, stdout=out, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, timeout=BUILD_TIMEOUT_S,
        )  # fmt: skip
    if done.returncode != 0:
        tail = log.read_text(errors="replace").splitlines()[-30:]
        raise RuntimeError("\n".join([f"cannot build {name}: {' '.join(map(str, command))}", *tail]))


def maven(name, folder=None, options=()):
    run(name, [
        "mvn", "-q", "-B", "-Dmaven.wagon.http.retryHandler.count=3", "-f", SUITE / (folder or name) / "pom.xml",
        f"-DbuildDirectory={BUILD}/{name}", *options, "compile",
        "dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={BUILD}/{name}/lib",
    ])  # fmt: skip


def java():
    maven("java")


def rocketmq():
    maven("rocketmq")


def rocketmq_server():
    maven("rocketmq-server")


def rocketmq_version(version):
    """RocketMQ's clients of another version than the one in the pom."""
    name = f"rocketmq-{version}"
    return name, lambda: maven(name, "rocketmq", ["-Pclients-only", f"-Drocketmq.version={version}"])


def go():
    go_program("go", GO_BIN)


def rocketmq_go():
    go_program("rocketmq-go", GO_ROCKETMQ_BIN)


def go_program(name, binary):
    binary.parent.mkdir(parents=True, exist_ok=True)
    run(name, ["go", "build", "-o", binary, "."], cwd=SUITE / name)


def python():
    run("python", [sys.executable, "-m", "venv", BUILD / "venv"])
    run("python", [BUILD / "venv/bin/pip", "install", "-q", "-r", SUITE / "python/requirements.txt"])


def node():
    NODE_DIR.mkdir(parents=True, exist_ok=True)
    shutil.copy(SUITE / "node/package.json", NODE_DIR)
    run("node", ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"], cwd=NODE_DIR)


def kcat():
    if shutil.which("kcat"):
        return
    run("kcat", ["apt-get", "update"])
    run("kcat", ["apt-get", "install", "-y", "--no-install-recommends", "kcat"])


def mainstem():
    """Always asked for: cargo knows best whether there is anything to do."""
    run("mainstem", ["cargo", "build", "--release"], cwd=ROOT)


ROCKETMQ_OLD = dict(map(rocketmq_version, ("5.3.3", "4.9.8")))
CLIENTS = {
    "java": java, "rocketmq": rocketmq, **ROCKETMQ_OLD, "rocketmq-server": rocketmq_server, "rocketmq-go": rocketmq_go,
    "go": go, "python": python,
    "node": node, "kcat": kcat,
}  # fmt: skip


def digest(name):
    """What a client is built from. Scripts that run as they are do not count."""
    def of_maven(folder):
        return [f"{folder}/pom.xml", *sorted(str(p.relative_to(SUITE)) for p in SUITE.glob(f"{folder}/src/**/*.java"))]

    def of_go(folder):
        return [f"{folder}/go.mod", f"{folder}/go.sum", *sorted(str(p.relative_to(SUITE)) for p in SUITE.glob(f"{folder}/*.go"))]

    sources = {
        "java": of_maven("java"),
        **{name: of_maven("rocketmq") for name in ("rocketmq", *ROCKETMQ_OLD)},
        "rocketmq-server": of_maven("rocketmq-server"),
        "rocketmq-go": of_go("rocketmq-go"),
        "go": of_go("go"),
        "python": ["python/requirements.txt"],
        "node": ["node/package.json"],
        "kcat": [],
    }[name]
    sums = hashlib.sha256()
    for source in sources:
        sums.update(source.encode() + b"\0" + (SUITE / source).read_bytes() + b"\0")
    return sums.hexdigest()


def client(name):
    stamp = BUILD / f"{name}.stamp"
    want = digest(name)
    if name != "kcat" and stamp.exists() and stamp.read_text() == want:
        return
    CLIENTS[name]()
    stamp.write_text(want)
