package interop;

import static interop.Interop.await;
import static interop.Interop.check;
import static interop.Interop.checkEqual;
import static interop.Interop.noise;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import java.util.stream.StreamSupport;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;

/** Kafka's side of a topic that RocketMQ's clients use, too; the other side is in `rocketmq/`. */
final class Across {
    static final int MESSAGES = 50;
    static final List<String> CODECS = List.of("none", "gzip", "snappy", "lz4", "zstd");
    static final int LARGE = 600_000;

    static void send(Interop run) throws Exception {
        try (Admin admin = run.admin()) {
            String topic = run.topic(admin, "kafka", 1, Map.of());
            run.topic(admin, "together", 4, Map.of());
            for (String codec : CODECS) {
                Map<String, Object> config = Map.of("compression.type", codec, "linger.ms", "100", "batch.size", 1 << 20);
                try (KafkaProducer<byte[], byte[]> producer = run.producer(config)) {
                    List<Future<RecordMetadata>> pending = new ArrayList<>();
                    for (ProducerRecord<byte[], byte[]> record : records(topic)) pending.add(producer.send(record));
                    for (Future<RecordMetadata> sent : pending) sent.get(Interop.TIMEOUT_S, TimeUnit.SECONDS);
                }
            }
        }
    }

    /** Until its first messages are gone, RocketMQ has every new group begin at them, whatever it asks for. */
    static void trim(Interop run) throws Exception {
        try (Admin admin = run.admin()) {
            TopicPartition partition = new TopicPartition(run.prefix + "-kafka", 0);
            admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(10))).all().get(Interop.TIMEOUT_S, TimeUnit.SECONDS);
        }
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static List<ProducerRecord<byte[], byte[]>> records(String topic) {
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        for (int i = 0; i < 40; i++) {
            var record = new ProducerRecord<>(topic, 0, 1_700_000_000_000L + i, bytes("key " + i), bytes("body-" + i));
            record.headers().add("TAGS", bytes(i % 2 == 0 ? "even" : "odd")).add("number", bytes("" + i));
            records.add(record);
        }
        records.add(new ProducerRecord<>(topic, 0, null, bytes("null key")));
        records.add(new ProducerRecord<>(topic, 0, new byte[0], new byte[0]));
        records.add(new ProducerRecord<>(topic, 0, bytes("gone"), (byte[]) null));
        ProducerRecord<byte[], byte[]> headers = new ProducerRecord<>(topic, 0, bytes("h"), bytes("headers"));
        headers.headers().add("again", bytes("1")).add("other", null).add("", new byte[0]).add("odd", new byte[] {1, -1})
            .add("KEYS", bytes("no key")).add("again", bytes("2"));
        records.add(headers);
        records.add(new ProducerRecord<>(topic, 0, new byte[] {-1, 0, 1}, bytes("binary")));
        records.add(new ProducerRecord<>(topic, 0, bytes("large"), noise(LARGE, 1)));
        return records;
    }

    static List<ConsumerRecord<byte[], byte[]>> readAll(Interop run, String topic, int count, Map<String, Object> limits) {
        try (KafkaConsumer<byte[], byte[]> consumer = run.consumer(limits)) {
            TopicPartition at = new TopicPartition(run.prefix + topic, 0);
            consumer.assign(List.of(at));
            consumer.seekToBeginning(List.of(at));
            checkEqual(consumer.endOffsets(List.of(at)).get(at), (long) count, "the end of " + topic);
            List<ConsumerRecord<byte[], byte[]>> all = new ArrayList<>();
            while (all.size() < count) consumer.poll(Duration.ofSeconds(1)).forEach(all::add);
            for (int i = 0; i < count; i++) checkEqual(all.get(i).offset(), (long) i, "offset");
            return all;
        }
    }

    static List<String> values(ConsumerRecord<byte[], byte[]> record, String name) {
        return StreamSupport.stream(record.headers().headers(name).spliterator(), false).map(Across::text).toList();
    }

    static String text(Header header) {
        return header.value() == null ? null : new String(header.value(), StandardCharsets.ISO_8859_1);
    }

    /** What RocketMQ's side sent. */
    static void read(Interop run) {
        for (Map<String, Object> limits : List.<Map<String, Object>>of(
            Map.of(), Map.of("max.partition.fetch.bytes", "1000"), Map.of("fetch.max.bytes", "1"))) {
            List<ConsumerRecord<byte[], byte[]>> all = readAll(run, "-rocketmq", MESSAGES + 1, limits);
            for (int i = 0; i < MESSAGES; i++) {
                ConsumerRecord<byte[], byte[]> record = all.get(i);
                checkEqual(new String(record.value(), StandardCharsets.UTF_8), "body-" + i, "value");
                checkEqual(new String(record.key(), StandardCharsets.UTF_8), i % 10 == 9 ? "one two" : "key-" + i, "key");
                checkEqual(values(record, "TAGS"), List.of(i % 2 == 0 ? "even" : "odd"), "tag");
                checkEqual(values(record, "number"), List.of("" + i), "property");
                checkEqual(values(record, "mainstem-flag"), i == 0 ? List.of() : List.of("" + i), "flag");
                String last = new String(record.headers().lastHeader("gr\u00fc\u00dfe").value(), StandardCharsets.UTF_8);
                checkEqual(last, "w\u00e4hrend \ud83d\ude00", "UTF-8");
                check(values(record, "UNIQ_KEY").get(0).length() >= 32, "the client's id");
                long age = System.currentTimeMillis() - record.timestamp();
                check(age >= 0 && age < 600_000, "born %d ms ago", age);
            }
            ConsumerRecord<byte[], byte[]> large = all.get(MESSAGES);
            byte[] body = new byte[LARGE];
            Arrays.fill(body, (byte) 'x');
            check(large.key() == null && Arrays.equals(large.value(), body), "the large one, decompressed");
        }
    }

    /** What was sent here, was read by RocketMQ's side and sent on, is what it was. */
    static void bridged(Interop run) {
        List<ProducerRecord<byte[], byte[]>> sent = new ArrayList<>();
        for (String codec : CODECS) {
            sent.addAll(records(""));
        }
        List<ConsumerRecord<byte[], byte[]>> got = readAll(run, "-bridged", sent.size(), Map.of());
        for (int i = 0; i < sent.size(); i++) {
            ProducerRecord<byte[], byte[]> from = sent.get(i);
            check(Arrays.equals(got.get(i).key(), from.key()), "key of %d", i);
            check(Arrays.equals(got.get(i).value(), from.value()), "value of %d", i);
            for (Header header : from.headers()) {
                List<String> expected = StreamSupport.stream(from.headers().headers(header.key()).spliterator(), false)
                    .map(Across::text).toList();
                checkEqual(values(got.get(i), header.key()), expected, "header " + header.key() + " of " + i);
            }
            Set<String> made = new HashSet<>(List.of("UNIQ_KEY", "WAIT", "CLUSTER", "TRACE_ON", "MSG_REGION", "MIN_OFFSET", "MAX_OFFSET"));
            from.headers().forEach(header -> made.add(header.key()));
            got.get(i).headers().forEach(header -> check(made.contains(header.key()), "header %s", header.key()));
        }
    }

    /** Sends and consumes while RocketMQ's side does the same. */
    static void together(Interop run) throws Exception {
        String topic = run.prefix + "-together";
        Set<String> found = new HashSet<>();
        try (KafkaProducer<byte[], byte[]> producer = run.producer(Map.of("compression.type", "zstd"));
            KafkaConsumer<byte[], byte[]> consumer = run.consumer(Map.of())) {
            List<TopicPartition> all = IntStream.range(0, 4).mapToObj(p -> new TopicPartition(topic, p)).toList();
            consumer.assign(all);
            consumer.seekToBeginning(all);
            for (int i = 0; i < 500; i++) {
                producer.send(new ProducerRecord<>(topic, i % 4, null, bytes("kafka-" + i)));
                if (i % 20 == 0) producer.flush();
            }
            producer.flush();
            await("both sides' messages are there", () -> {
                consumer.poll(Duration.ofMillis(100))
                    .forEach(record -> found.add(new String(record.value(), StandardCharsets.UTF_8)));
                return found.size() >= 1_000;
            });
            checkEqual(found.size(), 1_000, "messages");
        }
    }
}
