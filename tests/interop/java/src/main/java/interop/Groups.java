package interop;

import static interop.Interop.await;
import static interop.Interop.check;
import static interop.Interop.checkEqual;
import static interop.Interop.expect;
import static interop.Interop.step;
import static interop.Records.bytes;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.FencedInstanceIdException;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.GroupNotEmptyException;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.errors.WakeupException;

/** Groups whose members join and leave while records flow: eager, cooperative and static members. */
final class Groups {
    private static final int PARTITIONS = 6;
    private static final int PER_STEP = 300;

    static void run(Interop run) throws Exception {
        try (Admin admin = run.admin()) {
            for (Class<?> assignor : List.of(RangeAssignor.class, CooperativeStickyAssignor.class)) {
                step(assignor.getSimpleName());
                joinAndLeave(run, admin, assignor);
            }
            step("static members");
            staticMembers(run, admin);
        }
    }

    /** A member in its own thread: polls, remembers what it saw, commits after every poll. */
    private static final class Member implements ConsumerRebalanceListener, AutoCloseable {
        final KafkaConsumer<byte[], byte[]> consumer;
        final Set<TopicPartition> assigned = ConcurrentHashMap.newKeySet();
        final AtomicInteger revocations = new AtomicInteger();
        final AtomicInteger revokedPartitions = new AtomicInteger();
        final Map<String, Integer> seen;
        final Thread thread;
        volatile Throwable failure;
        volatile boolean closing;

        Member(Interop run, String topic, Map<String, Object> configs, Map<String, Integer> seen) {
            this.seen = seen;
            consumer = run.consumer(configs);
            consumer.subscribe(List.of(topic), this);
            thread = new Thread(this::loop);
            thread.start();
        }

        private void loop() {
            try {
                while (!closing) {
                    var records = consumer.poll(Duration.ofMillis(100));
                    for (ConsumerRecord<byte[], byte[]> record : records) {
                        seen.merge(record.partition() + "/" + record.offset(), 1, Integer::sum);
                    }
                    try {
                        if (!records.isEmpty()) consumer.commitSync();
                    } catch (RebalanceInProgressException e) {
                        // The next poll rejoins; what was not committed is read again.
                    }
                }
            } catch (WakeupException e) {
                check(closing, "woken without reason");
            } catch (Throwable e) {
                failure = e;
            } finally {
                consumer.close();
            }
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            assigned.addAll(partitions);
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            if (!partitions.isEmpty() && !closing) {
                revocations.incrementAndGet();
                revokedPartitions.addAndGet(partitions.size());
            }
            assigned.removeAll(partitions);
        }

        /** Leaves the group (a static member only closes). */
        @Override
        public void close() throws InterruptedException {
            closing = true;
            consumer.wakeup();
            thread.join();
        }
    }

    private static void settle(String what, List<Member> members, int... sizes) throws Exception {
        await(what, () -> {
            Set<TopicPartition> all = new HashSet<>();
            List<Integer> counts = new ArrayList<>();
            for (Member member : members) {
                if (member.failure != null) throw new AssertionError("a member failed", member.failure);
                counts.add(member.assigned.size());
                all.addAll(member.assigned);
            }
            List<Integer> wanted = new ArrayList<>();
            for (int size : sizes) wanted.add(size);
            return all.size() == PARTITIONS && counts.equals(wanted);
        });
    }

    private static void produce(Interop run, String topic, String codec) {
        try (KafkaProducer<byte[], byte[]> producer = run.producer(Map.of("compression.type", codec))) {
            for (int i = 0; i < PER_STEP; i++) {
                producer.send(new ProducerRecord<>(topic, i % PARTITIONS, bytes("k"), bytes("v" + i)));
            }
        }
    }

    private static void consumed(Map<String, Integer> seen, int want) throws Exception {
        await("all " + want + " records were consumed", () -> seen.size() == want);
    }

    private static void joinAndLeave(Interop run, Admin admin, Class<?> assignor) throws Exception {
        String topic = run.topic(admin, assignor.getSimpleName(), PARTITIONS, Map.of());
        String group = topic + "-group";
        Map<String, Object> configs = Map.of("group.id", group, "partition.assignment.strategy", assignor.getName());
        Map<String, Integer> seen = new ConcurrentHashMap<>();
        int produced = 0;

        Member first = new Member(run, topic, configs, seen);
        settle("the first member has all", List.of(first), 6);
        produce(run, topic, "none");
        consumed(seen, produced += PER_STEP);
        Member second = new Member(run, topic, configs, seen);
        settle("two members share", List.of(first, second), 3, 3);
        produce(run, topic, "gzip");
        Member third = new Member(run, topic, configs, seen);
        settle("three members share", List.of(first, second, third), 2, 2, 2);
        produce(run, topic, "lz4");
        consumed(seen, produced += 2 * PER_STEP);

        ConsumerGroupDescription described = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
        checkEqual(described.groupState(), GroupState.STABLE, "state");
        checkEqual(described.members().size(), 3, "members");
        Set<TopicPartition> all = new HashSet<>();
        described.members().forEach(member -> all.addAll(member.assignment().topicPartitions()));
        checkEqual(all.size(), PARTITIONS, "partitions in the description");
        check(admin.listGroups().all().get().stream().anyMatch(g -> g.groupId().equals(group)), "the group is listed");
        expect(GroupNotEmptyException.class, "deleting a group with members", () ->
            admin.deleteConsumerGroups(List.of(group)).all().get());

        third.close();
        settle("two members remain", List.of(first, second), 3, 3);
        produce(run, topic, "zstd");
        first.close();
        settle("one member remains", List.of(second), 6);
        consumed(seen, produced += PER_STEP);
        if (assignor == CooperativeStickyAssignor.class) {
            // The others' joining took partitions from it, one or two at a time; it never gave up everything at once.
            checkEqual(first.revokedPartitions.get(), 4, "partitions the first member gave up");
        }
        Map<TopicPartition, OffsetAndMetadata> ends = new HashMap<>();
        for (int p = 0; p < PARTITIONS; p++) {
            ends.put(new TopicPartition(topic, p), new OffsetAndMetadata(produced / PARTITIONS));
        }
        await("all was committed", () -> {
            var committed = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
            return ends.entrySet().stream().allMatch(e ->
                committed.get(e.getKey()) != null && committed.get(e.getKey()).offset() == e.getValue().offset());
        });
        second.close();

        // A new member goes on where the group left off: nothing old comes again.
        Map<String, Integer> later = new ConcurrentHashMap<>();
        Member late = new Member(run, topic, configs, later);
        settle("the late member has all", List.of(late), 6);
        produce(run, topic, "snappy");
        consumed(later, PER_STEP);
        late.close();
        await("the group is empty", () ->
            admin.describeConsumerGroups(List.of(group)).all().get().get(group).groupState() == GroupState.EMPTY);
        admin.deleteConsumerGroups(List.of(group)).all().get();
        expect(GroupIdNotFoundException.class, "deleting a group twice", () ->
            admin.deleteConsumerGroups(List.of(group)).all().get());
    }

    private static void staticMembers(Interop run, Admin admin) throws Exception {
        String topic = run.topic(admin, "static", PARTITIONS, Map.of());
        String group = topic + "-group";
        Map<String, Integer> seen = new ConcurrentHashMap<>();
        Map<String, Object> a = Map.of("group.id", group, "group.instance.id", "a", "session.timeout.ms", "30000");
        Map<String, Object> b = Map.of("group.id", group, "group.instance.id", "b", "session.timeout.ms", "30000");
        Member first = new Member(run, topic, a, seen);
        settle("the first member has all", List.of(first), 6);
        Member second = new Member(run, topic, b, seen);
        settle("two members share", List.of(first, second), 3, 3);
        int before = first.revocations.get();

        step("a static member returns within its session: nobody is rebalanced");
        Set<TopicPartition> kept = Set.copyOf(second.assigned);
        second.close();
        second = new Member(run, topic, b, seen);
        settle("the member is back", List.of(first, second), 3, 3);
        checkEqual(second.assigned, kept, "assignment after the return");
        produce(run, topic, "none");
        consumed(seen, PER_STEP);
        checkEqual(first.revocations.get(), before, "revocations of the other member");

        step("a second one of the same name fences the first");
        Member twin = new Member(run, topic, b, seen);
        Member fenced = second;
        await("the older twin is fenced", () -> fenced.failure != null);
        check(fenced.failure instanceof FencedInstanceIdException, "fenced with %s", fenced.failure);
        settle("the newer twin took over", List.of(first, twin), 3, 3);
        Set<String> names = new HashSet<>();
        admin.describeConsumerGroups(List.of(group)).all().get().get(group).members()
            .forEach(member -> names.add(member.groupInstanceId().orElse("")));
        checkEqual(names, Set.of("a", "b"), "instance ids");
        twin.close();
        admin.removeMembersFromConsumerGroup(group, new org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions(
            List.of(new org.apache.kafka.clients.admin.MemberToRemove("b")))).all().get();
        settle("the removed member's partitions went over", List.of(first), 6);
        first.close();
    }
}
