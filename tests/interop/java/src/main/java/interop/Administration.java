package interop;

import static interop.Interop.await;
import static interop.Interop.check;
import static interop.Interop.checkEqual;
import static interop.Interop.expect;
import static interop.Interop.failure;
import static interop.Interop.step;
import static interop.Records.bytes;

import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicCollection;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.OffsetOutOfRangeException;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicIdException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** What an operator does: topics, ids, configs, deletions, offsets, log directories, producers. */
final class Administration {
    static void run(Interop run) throws Exception {
        try (Admin admin = run.admin()) {
            step("cluster");
            checkEqual(admin.describeCluster().nodes().get().size(), 1, "nodes");
            check(!admin.describeCluster().clusterId().get().isEmpty(), "no cluster id");
            Node controller = admin.describeCluster().controller().get();
            checkEqual(controller.host() + ":" + controller.port(), run.bootstrap, "controller");
            topics(run, admin);
            configs(run, admin);
            offsets(run, admin);
            groupOffsets(run, admin);
            recreation(run, admin);
            producers(run, admin);
            logDirs(run, admin, controller);
            transactions(run, admin);
        }
    }

    private static void topics(Interop run, Admin admin) throws Exception {
        step("topics");
        String topic = run.prefix + "-made";
        NewTopic wanted = new NewTopic(topic, 2, (short) 1);
        admin.createTopics(List.of(wanted), new CreateTopicsOptions().validateOnly(true)).all().get();
        expect(UnknownTopicOrPartitionException.class, "describing what was only validated", () ->
            admin.describeTopics(List.of(topic)).allTopicNames().get());
        var created = admin.createTopics(List.of(wanted));
        created.all().get();
        checkEqual(created.numPartitions(topic).get(), 2, "partitions in the answer");
        Uuid id = created.topicId(topic).get();
        check(!id.equals(Uuid.ZERO_UUID), "the topic has no id");
        expect(TopicExistsException.class, "creating it again", () -> admin.createTopics(List.of(wanted)).all().get());
        expect(InvalidTopicException.class, "a bad name", () ->
            admin.createTopics(List.of(new NewTopic("no spaces", 1, (short) 1))).all().get());
        expect(InvalidPartitionsException.class, "no partitions", () ->
            admin.createTopics(List.of(new NewTopic(run.prefix + "-zero", 0, (short) 1))).all().get());

        TopicDescription byName = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
        checkEqual(byName.topicId(), id, "id by name");
        checkEqual(byName.partitions().size(), 2, "partitions");
        TopicDescription byId = admin.describeTopics(TopicCollection.ofTopicIds(List.of(id))).allTopicIds().get().get(id);
        checkEqual(byId.name(), topic, "name by id");
        expect(UnknownTopicIdException.class, "an unknown id", () ->
            admin.describeTopics(TopicCollection.ofTopicIds(List.of(Uuid.randomUuid()))).allTopicIds().get());
        check(admin.listTopics().names().get().contains(topic), "the topic is listed");

        admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(5))).all().get();
        await("it has five partitions", () ->
            admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size() == 5);
        expect(InvalidPartitionsException.class, "fewer partitions", () ->
            admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(4))).all().get());
        try (KafkaProducer<byte[], byte[]> producer = run.producer(Map.of())) {
            for (int p = 0; p < 5; p++) producer.send(new ProducerRecord<>(topic, p, null, bytes("" + p))).get();
        }
    }

    private static String config(Admin admin, ConfigResource resource, String key) throws Exception {
        return admin.describeConfigs(List.of(resource)).all().get().get(resource).get(key).value();
    }

    private static void alter(Admin admin, ConfigResource resource, String key, String value, AlterConfigOp.OpType op)
        throws Exception {
        Collection<AlterConfigOp> ops = List.of(new AlterConfigOp(new ConfigEntry(key, value), op));
        admin.incrementalAlterConfigs(Map.of(resource, ops)).all().get();
    }

    private static void configs(Interop run, Admin admin) throws Exception {
        step("configs");
        String topic = run.topic(admin, "configured", 1, Map.of("retention.ms", "3600000"));
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        checkEqual(config(admin, resource, "retention.ms"), "3600000", "retention.ms as created");
        alter(admin, resource, "retention.ms", "7200000", AlterConfigOp.OpType.SET);
        await("the new value shows", () -> "7200000".equals(config(admin, resource, "retention.ms")));
        ConfigEntry entry = admin.describeConfigs(List.of(resource)).all().get().get(resource).get("retention.ms");
        checkEqual(entry.source(), ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, "source");
        alter(admin, resource, "cleanup.policy", "compact", AlterConfigOp.OpType.APPEND);
        await("the list grew", () ->
            Set.of(config(admin, resource, "cleanup.policy").split(",")).equals(Set.of("compact", "delete")));
        alter(admin, resource, "cleanup.policy", "compact", AlterConfigOp.OpType.SUBTRACT);
        await("the list shrank", () -> "delete".equals(config(admin, resource, "cleanup.policy")));
        alter(admin, resource, "retention.ms", null, AlterConfigOp.OpType.DELETE);
        await("the default is back", () -> admin.describeConfigs(List.of(resource)).all().get().get(resource)
            .get("retention.ms").isDefault());
        expect(InvalidConfigurationException.class, "a bad value", () -> {
            alter(admin, resource, "retention.ms", "soon", AlterConfigOp.OpType.SET);
            return null;
        });
        expect(InvalidConfigurationException.class, "an unknown name", () -> {
            alter(admin, resource, "no.such.thing", "1", AlterConfigOp.OpType.SET);
            return null;
        });
        expect(InvalidConfigurationException.class, "creating a topic with a bad value", () ->
            run.topic(admin, "misconfigured", 1, Map.of("max.message.bytes", "-5")));

        alter(admin, resource, "max.message.bytes", "1000", AlterConfigOp.OpType.SET);
        await("the limit holds", () -> {
            try (KafkaProducer<byte[], byte[]> producer = run.producer(Map.of())) {
                return failureOrNull(() -> producer.send(new ProducerRecord<>(topic, null, new byte[2000])).get())
                    instanceof org.apache.kafka.common.errors.RecordTooLargeException;
            }
        });
        ConfigResource broker = new ConfigResource(ConfigResource.Type.BROKER,
            "" + admin.describeCluster().nodes().get().iterator().next().id());
        check(!admin.describeConfigs(List.of(broker)).all().get().get(broker).entries().isEmpty(), "no broker configs");
    }

    private static Throwable failureOrNull(java.util.concurrent.Callable<?> call) throws Exception {
        try {
            call.call();
            return null;
        } catch (java.util.concurrent.ExecutionException e) {
            return e.getCause();
        }
    }

    /** Recent, so that retention leaves it alone. */
    private static final long BASE_TIME = System.currentTimeMillis() - 3_600_000;

    private static void fill(Interop run, String topic, int count) throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = run.producer(Map.of("batch.size", "512"))) {
            for (int i = 0; i < count; i++) {
                // The newest time is not at the end.
                long time = BASE_TIME + (i == count / 2 ? 1_000_000 : i);
                producer.send(new ProducerRecord<>(topic, 0, time, bytes("k" + i), bytes("v" + i)));
            }
        }
    }

    private static long list(Admin admin, TopicPartition at, OffsetSpec spec) throws Exception {
        return admin.listOffsets(Map.of(at, spec)).partitionResult(at).get().offset();
    }

    private static void offsets(Interop run, Admin admin) throws Exception {
        step("listing offsets, deleting records");
        String topic = run.topic(admin, "offsets", 1, Map.of());
        TopicPartition at = new TopicPartition(topic, 0);
        checkEqual(list(admin, at, OffsetSpec.latest()), 0L, "end of nothing");
        checkEqual(list(admin, at, OffsetSpec.maxTimestamp()), -1L, "newest time of nothing");
        fill(run, topic, 100);
        checkEqual(list(admin, at, OffsetSpec.earliest()), 0L, "earliest");
        checkEqual(list(admin, at, OffsetSpec.latest()), 100L, "latest");
        checkEqual(list(admin, at, OffsetSpec.maxTimestamp()), 50L, "newest time");
        checkEqual(list(admin, at, OffsetSpec.forTimestamp(BASE_TIME + 10)), 10L, "by time");
        checkEqual(list(admin, at, OffsetSpec.forTimestamp(BASE_TIME + 2_000_000)), -1L, "past all times");

        var deleted = admin.deleteRecords(Map.of(at, RecordsToDelete.beforeOffset(40))).lowWatermarks().get(at).get();
        checkEqual(deleted.lowWatermark(), 40L, "low watermark");
        checkEqual(list(admin, at, OffsetSpec.earliest()), 40L, "earliest after the deletion");
        try (KafkaConsumer<byte[], byte[]> consumer = run.consumer(Map.of())) {
            Records.readAll(consumer, at, 40, 60);
            consumer.seekToBeginning(List.of(at));
            checkEqual(consumer.position(at), 40L, "beginning");
        }
        expect(OffsetOutOfRangeException.class, "deleting past the end", () ->
            admin.deleteRecords(Map.of(at, RecordsToDelete.beforeOffset(1000))).all().get());
        admin.deleteRecords(Map.of(at, RecordsToDelete.beforeOffset(-1))).all().get();
        checkEqual(list(admin, at, OffsetSpec.earliest()), 100L, "earliest once all is deleted");
    }

    private static void groupOffsets(Interop run, Admin admin) throws Exception {
        step("a group's offsets");
        String topic = run.topic(admin, "group-offsets", 2, Map.of());
        String group = topic + "-group";
        TopicPartition zero = new TopicPartition(topic, 0);
        TopicPartition one = new TopicPartition(topic, 1);
        admin.alterConsumerGroupOffsets(group, Map.of(zero, new OffsetAndMetadata(5, "note"), one, new OffsetAndMetadata(6)))
            .all().get();
        var committed = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
        checkEqual(committed.get(zero), new OffsetAndMetadata(5, "note"), "committed");
        try (KafkaConsumer<byte[], byte[]> consumer = run.consumer(Map.of("group.id", group))) {
            consumer.assign(List.of(zero, one));
            checkEqual(consumer.committed(Set.of(one)).get(one).offset(), 6L, "committed, as a consumer sees it");
            consumer.commitSync(Map.of(one, new OffsetAndMetadata(9)));
        }
        admin.deleteConsumerGroupOffsets(group, Set.of(zero)).all().get();
        committed = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
        check(committed.get(zero) == null, "partition 0 still has an offset");
        checkEqual(committed.get(one).offset(), 9L, "the other one");
        admin.deleteConsumerGroups(List.of(group)).all().get();
    }

    private static void recreation(Interop run, Admin admin) throws Exception {
        step("deletion and recreation");
        String topic = run.topic(admin, "again", 1, Map.of());
        TopicPartition at = new TopicPartition(topic, 0);
        Uuid before = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).topicId();
        fill(run, topic, 20);
        admin.deleteTopics(List.of(topic)).all().get();
        await("it is gone", () -> !admin.listTopics().names().get().contains(topic));
        expect(UnknownTopicOrPartitionException.class, "deleting it twice", () ->
            admin.deleteTopics(List.of(topic)).all().get());
        run.topic(admin, "again", 1, Map.of());
        await("it is back", () -> admin.listTopics().names().get().contains(topic));
        Uuid after = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).topicId();
        check(!after.equals(before), "the new topic has the old id");
        checkEqual(list(admin, at, OffsetSpec.latest()), 0L, "end of the new topic");
        fill(run, topic, 3);
        try (KafkaConsumer<byte[], byte[]> consumer = run.consumer(Map.of())) {
            Records.readAll(consumer, at, 0, 3);
        }
        admin.deleteTopics(TopicCollection.ofTopicIds(List.of(after))).all().get();
        await("it is gone again", () -> !admin.listTopics().names().get().contains(topic));
    }

    private static void producers(Interop run, Admin admin) throws Exception {
        step("producers");
        String topic = run.topic(admin, "producers", 1, Map.of());
        TopicPartition at = new TopicPartition(topic, 0);
        try (KafkaProducer<byte[], byte[]> producer = run.producer(Map.of("linger.ms", "0"))) {
            for (int i = 0; i < 7; i++) producer.send(new ProducerRecord<>(topic, null, bytes("" + i))).get();
            var active = admin.describeProducers(List.of(at)).partitionResult(at).get().activeProducers();
            checkEqual(active.size(), 1, "active producers");
            checkEqual(active.get(0).lastSequence(), 6, "last sequence");
            check(active.get(0).producerId() >= 0, "producer id");
        }
    }

    private static void logDirs(Interop run, Admin admin, Node node) throws Exception {
        step("log directories");
        String topic = run.topic(admin, "sized", 1, Map.of());
        try (KafkaProducer<byte[], byte[]> producer = run.producer(Map.of())) {
            producer.send(new ProducerRecord<>(topic, null, Interop.noise(100_000, 1))).get();
        }
        var dirs = admin.describeLogDirs(List.of(node.id())).allDescriptions().get().get(node.id());
        check(!dirs.isEmpty(), "no log directory");
        long size = dirs.values().stream().map(dir -> dir.replicaInfos().get(new TopicPartition(topic, 0)))
            .filter(java.util.Objects::nonNull).mapToLong(info -> info.size()).sum();
        check(size >= 100_000, "the partition's size is %d", size);
    }

    private static void transactions(Interop run, Admin admin) throws Exception {
        if (!run.mainstem) return;
        step("transactions are refused, clearly and at once");
        try (KafkaProducer<byte[], byte[]> producer =
            run.producer(Map.of("transactional.id", run.prefix, "max.block.ms", "10000"))) {
            Throwable refusal = failure("initTransactions", () -> {
                producer.initTransactions();
                return null;
            });
            check(!(refusal instanceof TimeoutException), "refused only by a timeout: %s", refusal);
            System.out.println("refused with " + refusal);
        }
    }
}
