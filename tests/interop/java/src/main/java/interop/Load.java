package interop;

import static interop.Interop.await;
import static interop.Interop.check;
import static interop.Interop.checkEqual;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;

/**
 * Kafka's side of a topic under load: two producers and a group that grows and shrinks, until RocketMQ's side
 * (`rocketmq/`'s `Load`) has written what it sent. Then everything of both is read from the start.
 */
final class Load {
    private static final int PARTITIONS = 8;

    private final Interop run;
    private final String topic;
    private final Path dir = Path.of(System.getProperty("java.io.tmpdir"));
    private final Map<String, String> sent = new ConcurrentHashMap<>();
    private final Map<String, String> seen = new ConcurrentHashMap<>();
    private final AtomicReference<Throwable> failed = new AtomicReference<>();
    private volatile boolean stopping;

    private Load(Interop run) {
        this.run = run;
        topic = run.prefix + "-load";
    }

    static void run(Interop run) throws Exception {
        try (Admin admin = run.admin()) {
            run.topic(admin, "load", PARTITIONS, Map.of());
        }
        new Load(run).run();
    }

    private void run() throws Exception {
        List<Thread> producers = new ArrayList<>();
        for (String codec : List.of("none", "lz4")) {
            Thread producer = new Thread(() -> guarded(() -> produce(codec)));
            producer.start();
            producers.add(producer);
        }
        Member first = new Member();
        await("the first member reads", () -> !seen.isEmpty());
        Member second = new Member();
        await("both read", () -> second.read > 100);
        first.leave();
        Path theirs = dir.resolve("sent-rocketmq");
        await("RocketMQ's side has ended", () -> Files.exists(theirs));
        stopping = true;
        for (Thread producer : producers) producer.join();
        check(failed.get() == null, "under load: %s", failed.get());
        Path mine = dir.resolve("sent-kafka.new");
        Files.write(mine, sent.entrySet().stream().map(one -> one.getKey() + " " + one.getValue()).toList());
        Files.move(mine, dir.resolve("sent-kafka"), StandardCopyOption.ATOMIC_MOVE);

        List<String> lines = new ArrayList<>(Files.readAllLines(theirs));
        lines.addAll(Files.readAllLines(dir.resolve("sent-kafka")));
        Set<String> bodies = new HashSet<>();
        for (String line : lines) bodies.add(line.substring(0, line.indexOf(' ')));
        Map<String, String> places = readAll();
        check(new HashSet<>(places.values()).containsAll(bodies), "not all that was sent is there");
        check(bodies.containsAll(places.values()), "something is there that nobody sent");
        for (String line : lines) {
            String[] words = line.split(" ", 2);
            if (!words[1].isEmpty()) checkEqual(places.get(words[1]), words[0], "at " + words[1]);
        }
        await("the group has read all", () -> seen.equals(places) || failed.get() != null);
        check(failed.get() == null, "the group: %s", failed.get());
        second.leave();
        System.out.printf("%d records sent, %d of both sides in one sequence of offsets each%n", sent.size(), places.size());
    }

    private interface Work {
        void run() throws Exception;
    }

    private void guarded(Work work) {
        try {
            work.run();
        } catch (Throwable error) {
            failed.set(error);
        }
    }

    private void produce(String codec) throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = run.producer(Map.of("compression.type", codec, "linger.ms", "5"))) {
            for (int i = 0; !stopping; i++) {
                String body = "kafka-" + codec + "-" + i;
                var record = new ProducerRecord<byte[], byte[]>(topic, i % PARTITIONS, null, body.getBytes(StandardCharsets.UTF_8));
                producer.send(record, (at, error) -> {
                    if (error != null) failed.set(error);
                    else sent.put(body, at.partition() + " " + at.offset());
                });
                Thread.sleep(2);
            }
        }
    }

    private static String place(ConsumerRecord<byte[], byte[]> record) {
        return record.partition() + " " + record.offset();
    }

    private static String body(ConsumerRecord<byte[], byte[]> record) {
        return new String(record.value(), StandardCharsets.UTF_8);
    }

    private final class Member {
        private final Thread thread = new Thread(() -> guarded(this::read));
        private volatile boolean leaving;
        volatile int read;

        Member() {
            thread.start();
        }

        private void read() {
            try (KafkaConsumer<byte[], byte[]> consumer = run.consumer(Map.of("group.id", topic + "-kafka", "enable.auto.commit", "true",
                "auto.commit.interval.ms", "100"))) {
                consumer.subscribe(List.of(topic));
                while (!leaving) {
                    for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(100))) {
                        String before = seen.putIfAbsent(place(record), body(record));
                        check(before == null || before.equals(body(record)), "%s held %s, and then %s", place(record), before, body(record));
                        read++;
                    }
                }
            }
        }

        void leave() throws InterruptedException {
            leaving = true;
            thread.join();
        }
    }

    /** Everything from the start: no offset is missing. */
    private Map<String, String> readAll() {
        try (KafkaConsumer<byte[], byte[]> consumer = run.consumer(Map.of())) {
            List<TopicPartition> all = IntStream.range(0, PARTITIONS).mapToObj(p -> new TopicPartition(topic, p)).toList();
            consumer.assign(all);
            consumer.seekToBeginning(all);
            Map<TopicPartition, Long> ends = consumer.endOffsets(all);
            long[] next = new long[PARTITIONS];
            Map<String, String> places = new ConcurrentHashMap<>();
            while (!all.stream().allMatch(at -> next[at.partition()] == ends.get(at))) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofSeconds(1))) {
                    checkEqual(record.offset(), next[record.partition()]++, "offset in partition " + record.partition());
                    places.put(place(record), body(record));
                }
            }
            return places;
        }
    }
}
