"""kafka-python: records and groups. Arguments: case, address, prefix, target."""

import sys
import threading

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.errors import CommitFailedError, KafkaError, MessageSizeTooLargeError, RebalanceInProgressError, TopicAlreadyExistsError
from shared import BASE_MS, CODECS, LIMIT_S, Seen, check, noise, odd_records, step, wait

CASE, ADDRESS, PREFIX, TARGET = sys.argv[1:5]


def create(topic, partitions=1):
    admin = KafkaAdminClient(bootstrap_servers=ADDRESS)
    admin.create_topics([NewTopic(topic, partitions, 1)])
    try:
        admin.create_topics([NewTopic(topic, partitions, 1)])
        raise AssertionError("creating it twice must fail")
    except TopicAlreadyExistsError:
        pass
    admin.close()
    return topic


def read(topic, offset, count, **overrides):
    consumer = KafkaConsumer(bootstrap_servers=ADDRESS, **overrides)
    at = TopicPartition(topic, 0)
    consumer.assign([at])
    consumer.seek(at, offset)
    got = []

    def enough():
        for messages in consumer.poll(200).values():
            got.extend(messages)
        return len(got) >= count

    wait(f"{count} records of {topic} came", enough)
    consumer.close()
    return got


def records():
    for codec in CODECS:
        step(f"codec {codec}")
        topic = create(f"{PREFIX}-{codec}")
        producer = KafkaProducer(
            bootstrap_servers=ADDRESS, acks="all", linger_ms=5, max_request_size=4 << 20,
            compression_type=None if codec == "none" else codec,
        )  # fmt: skip
        # This client knows no null header values.
        rows = [(k, v, [(n, b"" if x is None else x) for n, x in h], t) for k, v, h, t in odd_records()]
        sent = [producer.send(topic, value, key, headers, 0, timestamp) for key, value, headers, timestamp in rows]
        for i, future in enumerate(sent):
            check(future.get(LIMIT_S).offset == i, f"offset of record {i}")
        for i, (message, (key, value, headers, timestamp)) in enumerate(zip(read(topic, 0, len(rows)), rows)):
            check(message.offset == i, f"offset {message.offset} in place {i}")
            check(message.key == key and message.value == value, f"record {i} differs")
            check(list(message.headers) == headers, f"headers of record {i} differ")
            check(message.timestamp == timestamp, f"timestamp of record {i} differs")
        check(read(topic, 250, 1)[0].offset == 250, "reading from the middle")
        consumer, at = KafkaConsumer(bootstrap_servers=ADDRESS), TopicPartition(topic, 0)
        check(consumer.offsets_for_times({at: BASE_MS + 99_500})[at].offset == 100, "offset by time")
        check(consumer.beginning_offsets([at])[at] == 0, "beginning")
        check(consumer.end_offsets([at])[at] == len(rows), "end")
        consumer.close()
        read(topic, 0, 10, max_partition_fetch_bytes=1000, fetch_max_bytes=1000)
        producer.close()
    step("a record that is too large")
    producer = KafkaProducer(bootstrap_servers=ADDRESS, max_request_size=8 << 20)
    try:
        producer.send(f"{PREFIX}-none", noise(2 << 20, 9), partition=0).get(LIMIT_S)
        raise AssertionError("it must be refused")
    except MessageSizeTooLargeError:
        pass
    producer.close()


class Member(threading.Thread):
    """One consumer of a group; commits after every poll."""

    def __init__(self, topic, group, assignor, seen):
        super().__init__(daemon=True)
        self.topic, self.group, self.assignor, self.seen = topic, group, assignor, seen
        self.held, self.leaving, self.failure = set(), threading.Event(), None
        self.start()

    def run(self):
        consumer = KafkaConsumer(
            self.topic, bootstrap_servers=ADDRESS, group_id=self.group, auto_offset_reset="earliest",
            enable_auto_commit=False, heartbeat_interval_ms=200, session_timeout_ms=10000,
            partition_assignment_strategy=[self.assignor],
        )  # fmt: skip
        try:
            while not self.leaving.is_set():
                got = consumer.poll(100)
                self.held = {at.partition for at in consumer.assignment()}
                for messages in got.values():
                    for message in messages:
                        self.seen.add(message.partition, message.offset)
                if got:
                    try:
                        consumer.commit()
                    except (CommitFailedError, RebalanceInProgressError):
                        pass  # What was not committed is read again.
        except Exception as e:  # noqa: BLE001: told by whoever waits for the member
            self.failure = e
        finally:
            consumer.close()

    def leave(self):
        self.leaving.set()
        self.join(LIMIT_S)
        check(self.failure is None, f"a member failed: {self.failure}")


def settle(members, *sizes):
    def settled():
        for member in members:
            check(member.failure is None, f"a member failed: {member.failure}")
        held = [m.held for m in members]
        return [len(h) for h in held] == list(sizes) and len(set().union(*held)) == 6

    wait(f"the members hold {sizes}", settled)


def groups():
    for assignor in (RangePartitionAssignor, RoundRobinPartitionAssignor):
        step(assignor.name)
        topic = create(f"{PREFIX}-{assignor.name}", 6)
        group, seen, produced = topic + "-group", Seen(), 0

        def produce(codec):
            nonlocal produced
            producer = KafkaProducer(bootstrap_servers=ADDRESS, compression_type=codec, linger_ms=5)
            for i in range(300):
                producer.send(topic, b"v%d" % i, partition=i % 6)
            producer.flush(LIMIT_S)
            producer.close()
            produced += 300

        def consumed():
            wait(f"{produced} records were consumed", lambda: len(seen.times) == produced)

        one = Member(topic, group, assignor, seen)
        settle([one], 6)
        produce(None)
        two = Member(topic, group, assignor, seen)
        settle([one, two], 3, 3)
        produce("lz4")
        three = Member(topic, group, assignor, seen)
        settle([one, two, three], 2, 2, 2)
        produce("zstd")
        consumed()
        admin = KafkaAdminClient(bootstrap_servers=ADDRESS)
        one.leave()
        settle([two, three], 3, 3)
        produce("gzip")
        two.leave()
        settle([three], 6)
        consumed()
        three.leave()
        offsets = admin.list_group_offsets([group])[group]
        got = {at.partition: offset.offset for at, offset in offsets.items()}
        check(got == {p: produced // 6 for p in range(6)}, f"committed are {got}")
        admin.close()


{"records": records, "groups": groups}[CASE]()
