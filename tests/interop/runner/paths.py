"""Where things are. Everything built or written lands under target/interop."""

from pathlib import Path

SUITE = Path(__file__).resolve().parent.parent
ROOT = SUITE.parent.parent
BUILD = ROOT / "target" / "interop"
LOGS = BUILD / "logs"
DATA = BUILD / "data"

JAVA_CLASSPATH = f"{BUILD}/java/classes:{BUILD}/java/lib/*"
ROCKETMQ_CLASSPATH = f"{BUILD}/rocketmq/classes:{BUILD}/rocketmq/lib/*"
GO_BIN = BUILD / "go" / "interop"
GO_ROCKETMQ_BIN = BUILD / "rocketmq-go" / "interop"
PYTHON = BUILD / "venv" / "bin" / "python"
NODE_DIR = BUILD / "node"


def java(main, *args, heap="256m", log4j="client.xml", options=(), classpath=JAVA_CLASSPATH):
    """The command line of a JVM program: small, and quick to start rather than quick at its peak."""
    return [
        "java", f"-Xmx{heap}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData",
        f"-Dlog4j2.configurationFile={SUITE}/java/log4j/{log4j}", *options,
        "-cp", classpath, main, *map(str, args),
    ]  # fmt: skip
