"""confluent-kafka (librdkafka): records, groups, admin. Arguments: case, address, prefix, target."""

import sys
import threading

from confluent_kafka import (
    Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, Producer, TopicPartition,
)  # fmt: skip
from confluent_kafka.admin import (
    AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic, OffsetSpec, ResourceType,
)  # fmt: skip
from shared import BASE_MS, CODECS, LIMIT_S, Seen, check, noise, odd_records, step, wait

CASE, ADDRESS, PREFIX, TARGET = sys.argv[1:5]


def client(**overrides):
    return {"bootstrap.servers": ADDRESS} | {key.replace("_", "."): value for key, value in overrides.items()}


def create(admin, topic, partitions=1, **config):
    config = {key.replace("_", "."): value for key, value in config.items()}
    for future in admin.create_topics([NewTopic(topic, partitions, 1, config=config)]).values():
        future.result(LIMIT_S)
    return topic


def error_of(call):
    """The error code a call fails with."""
    try:
        call()
    except KafkaException as e:
        return e.args[0].code()
    raise AssertionError("the call must fail")


# ---- records


def read(topic, partition, offset, count, **overrides):
    consumer = Consumer(client(group_id=PREFIX + "-reader", enable_auto_commit=False, **overrides))
    consumer.assign([TopicPartition(topic, partition, offset)])
    got = []

    def enough():
        for message in consumer.consume(500, 0.2):
            check(not message.error(), f"reading: {message.error()}")
            got.append(message)
        return len(got) >= count

    wait(f"{count} records of {topic} came", enough)
    consumer.close()
    return got


def records():
    admin = AdminClient(client())
    for codec in CODECS:
        step(f"codec {codec}")
        topic = create(admin, f"{PREFIX}-{codec}")
        producer = Producer(client(
            compression_type=codec, acks="all", enable_idempotence=True, message_max_bytes=4 << 20, linger_ms=5,
        ))  # fmt: skip
        rows, offsets = odd_records(), []

        def delivered(error, message):
            check(error is None, f"delivery: {error}")
            offsets.append(message.offset())

        for key, value, headers, timestamp in rows:
            producer.produce(
                topic, value, key, partition=0, on_delivery=delivered, timestamp=timestamp, headers=headers
            )
        check(producer.flush(LIMIT_S) == 0, "not everything was delivered")
        check(offsets == list(range(len(rows))), "offsets are not consecutive")
        for i, (message, (key, value, headers, timestamp)) in enumerate(zip(read(topic, 0, 0, len(rows)), rows)):
            check(message.offset() == i, f"offset {message.offset()} in place {i}")
            check(message.key() == key and message.value() == value, f"record {i} differs")
            check((message.headers() or []) == headers, f"headers of record {i} differ")
            check(message.timestamp()[1] == timestamp, f"timestamp of record {i} differs")
        check(read(topic, 0, 250, 1)[0].offset() == 250, "reading from the middle")
        consumer = Consumer(client(group_id=PREFIX + "-times"))
        (found,) = consumer.offsets_for_times([TopicPartition(topic, 0, BASE_MS + 99_500)], LIMIT_S)
        check(found.offset == 100, f"offset by time is {found.offset}")
        check(consumer.get_watermark_offsets(TopicPartition(topic, 0), LIMIT_S) == (0, len(rows)), "watermarks")
        consumer.close()
        read(topic, 0, 0, 10, fetch_message_max_bytes=1000, fetch_max_bytes=1000, message_max_bytes=1000)
    step("a record that is too large")
    errors = []
    producer = Producer(client(message_max_bytes=8 << 20))
    producer.produce(f"{PREFIX}-none", noise(2 << 20, 9), partition=0, on_delivery=lambda e, _: errors.append(e))
    producer.flush(LIMIT_S)
    check(errors and errors[0] and errors[0].code() == KafkaError.MSG_SIZE_TOO_LARGE, f"it got {errors}")


# ---- groups


class Member(threading.Thread):
    """One consumer of a group; commits what it consumed."""

    def __init__(self, topic, group, strategy, seen, **overrides):
        super().__init__(daemon=True)
        self.seen, self.held, self.leaving, self.failure = seen, set(), threading.Event(), None
        self.cooperative = strategy == "cooperative-sticky"
        self.consumer = Consumer(client(
            group_id=group, partition_assignment_strategy=strategy, auto_offset_reset="earliest",
            enable_auto_commit=False, heartbeat_interval_ms=200, session_timeout_ms=10000, **overrides,
        ))  # fmt: skip
        self.consumer.subscribe([topic], on_assign=self.assigned, on_revoke=self.revoked, on_lost=self.revoked)
        self.start()

    def assigned(self, consumer, partitions):
        self.held |= {p.partition for p in partitions}

    def revoked(self, consumer, partitions):
        self.held -= {p.partition for p in partitions}

    def run(self):
        try:
            while not self.leaving.is_set():
                message = self.consumer.poll(0.1)
                if message is None:
                    continue
                check(not message.error(), f"consuming: {message.error()}")
                self.seen.add(message.partition(), message.offset())
                self.consumer.commit(message, asynchronous=True)
            try:
                self.consumer.commit(asynchronous=False)
            except KafkaException as e:
                check(e.args[0].code() in (KafkaError._NO_OFFSET, KafkaError.REBALANCE_IN_PROGRESS), f"commit: {e}")
        except Exception as e:  # noqa: BLE001: told by whoever waits for the member
            self.failure = e
        finally:
            self.consumer.close()

    def leave(self):
        self.leaving.set()
        self.join(LIMIT_S)
        check(self.failure is None, f"a member failed: {self.failure}")


def settle(members, *sizes):
    def settled():
        for member in members:
            check(member.failure is None, f"a member failed: {member.failure}")
        return [len(m.held) for m in members] == list(sizes)

    wait(f"the members hold {sizes}", settled)


def groups():
    admin = AdminClient(client())
    for strategy in ("range", "roundrobin", "cooperative-sticky"):
        step(strategy)
        topic = create(admin, f"{PREFIX}-{strategy}", 6)
        group, seen, produced = topic + "-group", Seen(), 0

        def produce(codec):
            nonlocal produced
            producer = Producer(client(compression_type=codec, linger_ms=5))
            for i in range(300):
                producer.produce(topic, f"v{i}", partition=i % 6)
            check(producer.flush(LIMIT_S) == 0, "not everything was delivered")
            produced += 300

        def consumed():
            wait(f"{produced} records were consumed", lambda: len(seen.times) == produced)

        one = Member(topic, group, strategy, seen)
        settle([one], 6)
        produce("none")
        two = Member(topic, group, strategy, seen)
        settle([one, two], 3, 3)
        produce("lz4")
        three = Member(topic, group, strategy, seen, group_instance_id="three")
        settle([one, two, three], 2, 2, 2)
        produce("zstd")
        consumed()
        described = admin.describe_consumer_groups([group])[group].result(LIMIT_S)
        check(described.state.name == "STABLE" and len(described.members) == 3, f"the group is {described.state}")
        one.leave()
        settle([two, three], 3, 3)
        produce("snappy")
        two.leave()
        settle([three], 6)
        consumed()
        three.leave()
        ends = {p: produced // 6 for p in range(6)}
        offsets = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result(LIMIT_S)
        got = {p.partition: p.offset for p in offsets.topic_partitions}
        check(got == ends, f"committed are {got}")


# ---- admin


def admin():
    admin = AdminClient(client())
    step("topics and configs")
    topic = create(admin, f"{PREFIX}-topic", 2, retention_ms="3600000")
    code = error_of(lambda: create(admin, topic))
    check(code == KafkaError.TOPIC_ALREADY_EXISTS, f"creating it again: {code}")
    check(len(admin.list_topics(topic, LIMIT_S).topics[topic].partitions) == 2, "two partitions")
    admin.create_partitions([NewPartitions(topic, 4)])[topic].result(LIMIT_S)
    wait("there are four", lambda: len(admin.list_topics(topic, LIMIT_S).topics[topic].partitions) == 4)
    resource = ConfigResource(ResourceType.TOPIC, topic)

    def config(key):
        (future,) = admin.describe_configs([resource]).values()
        return future.result(LIMIT_S)[key].value

    check(config("retention.ms") == "3600000", "retention.ms as created")
    change = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[
        ConfigEntry("retention.ms", "7200000", incremental_operation=AlterConfigOpType.SET)])  # fmt: skip
    (future,) = admin.incremental_alter_configs([change]).values()
    future.result(LIMIT_S)
    wait("the new value shows", lambda: config("retention.ms") == "7200000")

    step("offsets and deletions")
    producer = Producer(client())
    for i in range(100):
        producer.produce(topic, f"v{i}", partition=0)
    check(producer.flush(LIMIT_S) == 0, "not everything was delivered")
    at = TopicPartition(topic, 0)

    def listed(spec):
        return admin.list_offsets({at: spec})[at].result(LIMIT_S).offset

    check(listed(OffsetSpec.latest()) == 100, "latest")
    deleted = admin.delete_records([TopicPartition(topic, 0, 40)])[at].result(LIMIT_S)
    check(deleted.low_watermark == 40, f"low watermark {deleted.low_watermark}")
    check(listed(OffsetSpec.earliest()) == 40, "earliest")
    group = f"{PREFIX}-group"
    wanted = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0, 55)])
    admin.alter_consumer_group_offsets([wanted])[group].result(LIMIT_S)
    offsets = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result(LIMIT_S)
    check([p.offset for p in offsets.topic_partitions] == [55], "committed")
    check(any(g.group_id == group for g in admin.list_consumer_groups().result(LIMIT_S).valid), "the group is listed")
    admin.delete_consumer_groups([group])[group].result(LIMIT_S)
    admin.delete_topics([topic])[topic].result(LIMIT_S)
    wait("the topic is gone", lambda: topic not in admin.list_topics(timeout=LIMIT_S).topics)

    if TARGET == "mainstem":
        step("transactions are refused, clearly and at once")
        producer = Producer(client(transactional_id=PREFIX))
        code = error_of(lambda: producer.init_transactions(20))
        check(code != KafkaError._TIMED_OUT, "refused only by a timeout")
        print(f"refused with {code}")


{"records": records, "groups": groups, "admin": admin}[CASE]()
