"""What both Python clients' cases use: the odd records, and ways to wait and to fail."""

import hashlib
import time

LIMIT_S = 60
# Just under the default max.message.bytes (1 MiB + 12), with room for what a codec adds to noise.
LARGE = (1 << 20) - 1024
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
# Recent, so that retention leaves it alone.
BASE_MS = int(time.time() - 3600) * 1000


def step(what):
    print(f"-- {what}", flush=True)


def check(holds, what):
    if not holds:
        raise AssertionError(what)


def wait(what, done, limit_s=LIMIT_S):
    end = time.monotonic() + limit_s
    while not done():
        check(time.monotonic() < end, f"timed out waiting until {what}")


def noise(length, seed):
    return hashlib.shake_128(str(seed).encode()).digest(length)


def odd_records():
    """(key, value, headers, timestamp): null and empty ones, large ones, repeated header names, many small ones."""
    rows = [
        (None, b"null key", []),
        (b"empty value", b"", []),
        (b"null value", None, []),
        (b"", b"empty key", []),
        (b"headers", b"h", [("again", b"1"), ("other", None), ("again", b"2"), ("again", b"1"), ("grüße", noise(3000, 3))]),
        (b"noise", noise(LARGE, 1), []),
        (b"zeroes", bytes(LARGE), []),
        *[(b"k%d" % i, noise(i, i), []) for i in range(500)],
    ]
    return [(key, value, headers, BASE_MS + i * 1000) for i, (key, value, headers) in enumerate(rows)]


class Seen:
    """How often each record was consumed, over all members of a group."""

    def __init__(self):
        self.times = {}

    def add(self, partition, offset):
        self.times[partition, offset] = self.times.get((partition, offset), 0) + 1
