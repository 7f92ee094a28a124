"""Input nobody's client would send. The broker answers with the protocol's error or closes the connection; it stays
up, its memory stays bounded, and a connection that behaves is served all the while.

Arguments: address [--pid PID] [--lenient]. With --lenient two weaknesses of Apache Kafka 4.3 pass: it is silent to a few
of these (its own error message fails on null records), and it reserves a frame's memory by the length it claims."""

import argparse
import os
import random
import socket
import struct
import threading
import time
import zlib

TIMEOUT_S = 15
# What the whole of this may make the broker grow by; a JVM's heap grows to its bound whatever comes.
GROWTH_LIMIT_BYTES = 256 << 20
LENIENT_GROWTH_LIMIT_BYTES = 640 << 20

UNSUPPORTED_VERSION = 35
CORRUPT_MESSAGE = 2


class Failed(Exception):
    pass


class Silence(Failed):
    pass


def check(holds, what):
    if not holds:
        raise Failed(what)


# ---- bytes


def string(text):
    data = text.encode()
    return struct.pack(">h", len(data)) + data


def header(key, version, correlation=7, client="hostile"):
    return struct.pack(">hhi", key, version, correlation) + string(client)


def frame(payload):
    return struct.pack(">i", len(payload)) + payload


def uvarint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def varint(value):
    return uvarint((value << 1) ^ (value >> 63))


CRC32C = []
for n in range(256):
    for _ in range(8):
        n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
    CRC32C.append(n)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ CRC32C[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def batch(value=b"value", magic=2, crc=None, count=1, last_delta=0, attributes=0, length=None, records=None, pid=-1):
    """One record batch, right unless told otherwise."""
    if records is None:
        record = b"\0" + varint(0) + varint(0) + varint(-1) + varint(len(value)) + value + varint(0)
        records = varint(len(record)) + record
    now = int(time.time() * 1000)
    tail = struct.pack(">hiqqqhii", attributes, last_delta, now, now, pid, -1, -1, count) + records
    sum = crc32c(tail) if crc is None else crc
    size = 9 + len(tail) if length is None else length
    return struct.pack(">qiibI", 0, size, 0, magic, sum) + tail


def old_message(magic):
    """A message of the formats before record batches."""
    body = struct.pack(">bb", magic, 0) + (struct.pack(">q", 1) if magic else b"") + struct.pack(">i", -1)
    body += struct.pack(">i", 1) + b"x"
    message = struct.pack(">I", zlib.crc32(body)) + body
    return struct.pack(">qi", 0, len(message)) + message


def produce(topic, records, version=3, acks=-1):
    """A Produce request of one partition."""
    body = struct.pack(">h", -1) + struct.pack(">hi", acks, 5000) + struct.pack(">i", 1) + string(topic)
    body += struct.pack(">ii", 1, 0) + struct.pack(">i", len(records)) + records
    return header(0, version) + body


def produce_error(answer, topic):
    """The partition's error code in a Produce v3 answer (after the correlation id)."""
    at = 4 + 4 + 2 + len(topic) + 4 + 4
    (error,) = struct.unpack_from(">h", answer, at)
    return error


# ---- connections


class Connection:
    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), TIMEOUT_S)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # Closed already, which receive() will tell.

    def receive(self):
        """The next answer, or None once the broker closed. Neither within the timeout is a failure."""
        try:
            data = self._exactly(4)
            if data is None:
                return None
            (length,) = struct.unpack(">i", data)
            check(4 <= length < 100 << 20, f"an answer of {length} bytes")
            return self._exactly(length)
        except ConnectionResetError:
            return None
        except socket.timeout:
            raise Silence("neither an answer nor a close") from None

    def _exactly(self, count):
        data = b""
        while len(data) < count:
            chunk = self.socket.recv(count - len(data))
            if not chunk:
                return None
            data += chunk
        return data

    def call(self, payload):
        self.send(frame(payload))
        return self.receive()


class Hostile:
    def __init__(self, address, pid, lenient):
        self.address, self.pid, self.lenient, self.silences = address, pid, lenient, 0
        # The witness has a topic of its own, so that the other's end tells what the attacks stored.
        self.topic = f"hostile-{random.randrange(1 << 32):08x}"
        self.witnessed = self.topic + "-witness"

    def connect(self):
        return Connection(self.address)

    def answer_or_close(self, what, data):
        """Raw bytes that must be answered or lead to a close."""
        print(f"-- {what}", flush=True)
        answer = self.outcome(data)
        print("   not answered" if answer is None else f"   answered with {len(answer)} bytes: {answer[:24].hex()}")
        return answer

    def outcome(self, data):
        with self.connect() as c:
            if self.lenient:
                c.socket.settimeout(1)
            c.send(data)
            try:
                return c.receive()
            except Silence:
                if not self.lenient:
                    raise
                self.silences += 1
                print("   silence")
                return None

    def end_offset(self):
        request = header(2, 1) + struct.pack(">i", -1) + struct.pack(">i", 1) + string(self.topic)
        request += struct.pack(">iiq", 1, 0, -1)
        with self.connect() as c:
            answer = c.call(request)
        check(answer is not None, "ListOffsets was not answered")
        return struct.unpack_from(">q", answer, len(answer) - 8)[0]

    def resident(self):
        with open(f"/proc/{self.pid}/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def check_growth(self):
        if self.pid:
            grown = self.resident() - self.before
            print(f"   resident: {self.before >> 20} MiB before, grown by {grown >> 20} MiB")
            limit = LENIENT_GROWTH_LIMIT_BYTES if self.lenient else GROWTH_LIMIT_BYTES
            check(grown < limit, f"resident memory grew by {grown >> 20} MiB")


class Witness(threading.Thread):
    """A connection that behaves: writes, over and over, on one socket."""

    def __init__(self, hostile):
        super().__init__(daemon=True)
        self.hostile, self.ended, self.rounds, self.slowest, self.failure = hostile, threading.Event(), 0, 0.0, None

    def run(self):
        try:
            with self.hostile.connect() as c:
                while not self.ended.is_set():
                    began = time.monotonic()
                    answer = c.call(produce(self.hostile.witnessed, batch(b"good")))
                    check(answer is not None, "the behaving connection was closed")
                    check(produce_error(answer, self.hostile.witnessed) == 0, "its record was refused")
                    self.slowest = max(self.slowest, time.monotonic() - began)
                    self.rounds += 1
                    time.sleep(0.01)
        except Exception as e:  # noqa: BLE001: told at the end
            self.failure = e


# ---- the attacks


def frames(h):
    h.answer_or_close("a length of 2^31-1", struct.pack(">i", 2**31 - 1) + b"x" * 100)
    h.answer_or_close("a length of 200 MiB, which comes in part", struct.pack(">i", 200 << 20) + b"x" * 65536)
    h.answer_or_close("a negative length", struct.pack(">i", -1) + b"x" * 100)
    h.answer_or_close("a length of zero", struct.pack(">i", 0))
    h.answer_or_close("an HTTP request", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    h.answer_or_close("a TLS hello", bytes.fromhex("16030100c8010000c40303") + b"\x11" * 190)
    h.answer_or_close("a header cut short", frame(b"\x00\x12"))
    h.answer_or_close("an unknown API", frame(header(999, 0)))
    h.answer_or_close("a negative API", frame(header(-5, 0)))
    h.answer_or_close("an API of controllers", frame(header(52, 0) + b"\0" * 20))
    h.answer_or_close("a client id longer than the frame", frame(struct.pack(">hhih", 3, 1, 7, 30000)))
    h.answer_or_close("a negative client id length", frame(struct.pack(">hhih", 3, 1, 7, -100)))
    print("-- a frame that never ends holds nobody up")
    with h.connect() as slow, h.connect() as other:
        slow.send(struct.pack(">i", 1000) + b"x")
        check(other.call(header(18, 0)) is not None, "another connection was closed")


def versions(h):
    answer = h.answer_or_close("ApiVersions of a version to come", frame(header(18, 99) + b"\0\0\0\0\0"))
    check(answer is not None, "ApiVersions must be answered in whatever version")
    (error,) = struct.unpack_from(">h", answer, 4)
    check(error == UNSUPPORTED_VERSION, f"ApiVersions v99 was answered with error {error}")
    for key in (0, 1, 3, 8, 11, 19):
        h.answer_or_close(f"API {key} of a version to come", frame(header(key, 99) + b"\0" * 64))
    h.answer_or_close("Produce v0", frame(header(0, 0) + struct.pack(">hii", -1, 1000, 0)))
    h.answer_or_close("Metadata of a negative version", frame(header(3, -1) + struct.pack(">i", -1)))


def counts(h):
    """Array and string lengths that no request can hold."""
    absurd = [0x7FFFFFFF, 0x10000000, -2, -(2**31)]
    for count in absurd:
        n = struct.pack(">i", count)
        ranges = f"{count} of them"
        h.answer_or_close(f"Metadata v1, topics: {ranges}", frame(header(3, 1) + n))
        h.answer_or_close(f"Produce v3, topics: {ranges}", frame(header(0, 3) + struct.pack(">hhi", -1, -1, 1000) + n))
        h.answer_or_close(f"Produce v3, records: {ranges}", frame(
            header(0, 3) + struct.pack(">hhi", -1, -1, 1000) + struct.pack(">i", 1) + string(h.topic)
            + struct.pack(">ii", 1, 0) + n))  # fmt: skip
        h.answer_or_close(f"Fetch v4, topics: {ranges}", frame(header(1, 4) + struct.pack(">iiiib", -1, 100, 1, 1 << 20, 0) + n))
        h.answer_or_close(f"ListOffsets v1, topics: {ranges}", frame(header(2, 1) + struct.pack(">i", -1) + n))
        h.answer_or_close(f"OffsetCommit v2, topics: {ranges}", frame(
            header(8, 2) + string("g") + struct.pack(">i", -1) + string("") + struct.pack(">q", -1) + n))  # fmt: skip
        h.answer_or_close(f"OffsetFetch v1, topics: {ranges}", frame(header(9, 1) + string("g") + n))
        h.answer_or_close(f"JoinGroup v0, protocols: {ranges}", frame(
            header(11, 0) + string("g") + struct.pack(">i", 6000) + string("") + string("consumer") + n))  # fmt: skip
        h.answer_or_close(f"SyncGroup v0, assignments: {ranges}", frame(
            header(14, 0) + string("g") + struct.pack(">i", 1) + string("m") + n))  # fmt: skip
        h.answer_or_close(f"DescribeGroups v0, groups: {ranges}", frame(header(15, 0) + n))
        h.answer_or_close(f"CreateTopics v2, topics: {ranges}", frame(header(19, 2) + n))
        h.answer_or_close(f"DeleteTopics v1, topics: {ranges}", frame(header(20, 1) + n))
        h.answer_or_close(f"DescribeConfigs v1, resources: {ranges}", frame(header(32, 1) + n))
    for length in (2**31 - 1, 2**32 - 1, 2**35 - 1):
        compact = uvarint(length)
        h.answer_or_close(f"Metadata v12, topics: compact {length}", frame(header(3, 12) + b"\0" + compact))
        h.answer_or_close(f"Fetch v12, topics: compact {length}", frame(
            header(1, 12) + b"\0" + struct.pack(">iiiibii", -1, 100, 1, 1 << 20, 0, 0, -1) + compact))  # fmt: skip
        h.answer_or_close(f"Metadata v12, tags: {length}", frame(header(3, 12) + b"\0" + b"\x01" + b"\0\0\0" + compact))
        h.answer_or_close(f"FindCoordinator v4, keys: compact {length}", frame(header(10, 4) + b"\0" + b"\0" + compact))
    h.answer_or_close("a varint that does not end", frame(header(3, 12) + b"\0" + b"\xff" * 100))


def truncated(h):
    """Every prefix of a good request, and good requests with bytes after their end."""
    print("-- requests cut at every byte")
    good = [
        produce(h.topic, batch()),
        header(1, 4) + struct.pack(">iiiib", -1, 0, 0, 1 << 20, 0) + struct.pack(">i", 1) + string(h.topic)
        + struct.pack(">iiqi", 1, 0, 0, 1 << 20),
        header(3, 12) + b"\0" + b"\x02" + b"\0" * 16 + uvarint(len(h.topic) + 1) + h.topic.encode() + b"\0" + b"\0\0\0",
        header(11, 0) + string("g") + struct.pack(">i", 6000) + string("nobody") + string("consumer")
        + struct.pack(">i", 1) + string("range") + struct.pack(">i", 4) + b"abcd",
    ]  # fmt: skip
    for request in good:
        for cut in range(8, len(request)):
            h.outcome(frame(request[:cut]))
    print("-- noise")
    noise = random.Random(1)
    for _ in range(300):
        key = noise.choice([0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19, 20, 21, 22, 32, 37, 44])
        h.outcome(frame(header(key, noise.randrange(0, 13)) + noise.randbytes(noise.randrange(0, 200))))


def records(h):
    """Record batches that must not be stored. None of them changes where the partition ends."""
    before = h.end_offset()
    wrong = [
        ("a wrong checksum", batch(crc=1), {CORRUPT_MESSAGE}),
        ("magic 0", old_message(0), None),
        ("magic 1", old_message(1), None),
        ("magic 7", batch(magic=7), None),
        ("a good batch, then magic 1", batch() + old_message(1), None),
        ("two batches", batch() + batch(), None),
        ("no batch at all", b"", None),
        ("half a batch", batch()[:40], None),
        ("a batch longer than what was sent", batch(length=5000), None),
        ("a batch of negative length", batch(length=-1), None),
        ("a batch of length 2^31-1", batch(length=2**31 - 1), None),
        ("no records", batch(count=0, records=b""), None),
        ("2^31-1 records", batch(count=2**31 - 1, last_delta=2**31 - 2), None),
        ("a negative count", batch(count=-1), None),
        ("a count other than the offsets say", batch(count=1, last_delta=4), None),
        ("a control batch", batch(attributes=0x20), None),
        ("garbage", random.Random(2).randbytes(500), None),
    ]
    for what, data, errors in wrong:
        answer = h.answer_or_close(f"Produce with {what}", frame(produce(h.topic, data)))
        if answer is not None:
            error = produce_error(answer, h.topic)
            check(error != 0, f"{what} was accepted")
            check(errors is None or error in errors, f"{what} was answered with error {error}")
    answer = h.answer_or_close("a good batch, to compare", frame(produce(h.topic, batch())))
    check(answer is not None and produce_error(answer, h.topic) == 0, "a good batch was refused")
    check(h.end_offset() == before + 1, f"the partition ends at {h.end_offset()}, not at {before + 1}")


def many(h):
    claim = 1 << 20 if h.lenient else 50 << 20
    print(f"-- 300 connections that say nothing, and 300 that stop in the middle of a frame of {claim >> 20} MiB")
    idle = [h.connect() for _ in range(300)]
    for _ in range(300):
        c = h.connect()
        c.send(struct.pack(">i", claim) + b"\0\3\0\1" + b"x" * 1000)
        idle.append(c)
    with h.connect() as c:
        check(c.call(header(18, 0)) is not None, "a new connection is not served")
    h.check_growth()
    for c in idle:
        c.socket.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("--pid", type=int)
    parser.add_argument("--lenient", action="store_true")
    options = parser.parse_args()
    h = Hostile(options.address, options.pid, options.lenient)

    create = header(19, 2) + struct.pack(">i", 2)
    for topic in (h.topic, h.witnessed):
        create += string(topic) + struct.pack(">ihii", 1, 1, 0, 0)
    create += struct.pack(">ib", 10000, 0)
    with h.connect() as c:
        check(c.call(create) is not None, "the topics could not be created")

    # The first writes, so that what the broker sets up once is not held against the attacks.
    for topic in (h.topic, h.witnessed):
        with h.connect() as c:
            end = time.monotonic() + TIMEOUT_S
            while produce_error(c.call(produce(topic, batch())), topic) != 0:
                check(time.monotonic() < end, "a good record is not accepted")
                time.sleep(0.05)
    h.before = h.resident() if h.pid else 0
    witness = Witness(h)
    witness.start()
    for attack in (frames, versions, counts, truncated, records, many):
        attack(h)
    # A fast broker is through with all of it before the witness has been answered often.
    end = time.monotonic() + TIMEOUT_S
    while witness.rounds <= 20 and witness.is_alive() and time.monotonic() < end:
        witness.join(0.01)
    witness.ended.set()
    witness.join(TIMEOUT_S)
    check(witness.failure is None, f"the behaving connection: {witness.failure}")
    check(witness.rounds > 20, f"the behaving connection had only {witness.rounds} answers")
    print(f"the behaving connection: {witness.rounds} answers, the slowest after {witness.slowest * 1000:.0f} ms")
    check(witness.slowest < 5, "the behaving connection was held up")
    if h.silences:
        print(f"silent to {h.silences} of them")
    h.check_growth()


main()
