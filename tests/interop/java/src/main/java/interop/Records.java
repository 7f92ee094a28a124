package interop;

import static interop.Interop.check;
import static interop.Interop.checkEqual;
import static interop.Interop.expect;
import static interop.Interop.noise;
import static interop.Interop.step;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.record.TimestampType;

/** What goes in comes out: every codec, odd and large records, headers, timestamps, seeking by offset and by time. */
final class Records {
    private static final int PARTITIONS = 3;
    private static final int SMALL = 500;
    /** Just under the default max.message.bytes (1 MiB + 12), with room for what a codec adds to noise. */
    private static final int LARGE = (1 << 20) - 1024;

    static void run(Interop run) throws Exception {
        try (Admin admin = run.admin()) {
            for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
                step("codec " + codec);
                roundTrip(run, run.topic(admin, codec, PARTITIONS, Map.of()), codec);
            }
            step("acks 0 and 1, no idempotence");
            acks(run, run.topic(admin, "acks", 1, Map.of()));
            step("append time");
            appendTime(run, run.topic(admin, "append-time", 1, Map.of("message.timestamp.type", "LogAppendTime")));
        }
    }

    private static List<ProducerRecord<byte[], byte[]>> records(String topic, long baseTime) {
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        records.add(new ProducerRecord<>(topic, 0, baseTime, null, bytes("null key")));
        records.add(new ProducerRecord<>(topic, 0, baseTime + 1, bytes("empty value"), new byte[0]));
        records.add(new ProducerRecord<>(topic, 0, baseTime + 2, bytes("null value"), (byte[]) null));
        records.add(new ProducerRecord<>(topic, 0, baseTime + 3, new byte[0], bytes("empty key")));
        records.add(new ProducerRecord<>(topic, 0, baseTime + 4, null, (byte[]) null));
        ProducerRecord<byte[], byte[]> headers = new ProducerRecord<>(topic, 0, baseTime + 5, bytes("h"), bytes("headers"));
        headers.headers().add("again", bytes("1")).add("other", null).add("again", bytes("2")).add("", new byte[0])
            .add("again", bytes("1")).add("grüße", noise(3000, 3));
        records.add(headers);
        records.add(new ProducerRecord<>(topic, 1, baseTime, bytes("noise"), noise(LARGE, 1)));
        records.add(new ProducerRecord<>(topic, 1, baseTime + 1, bytes("text"), new byte[LARGE]));
        records.add(new ProducerRecord<>(topic, 1, baseTime + 2, bytes("after"), bytes("small after large")));
        for (int i = 0; i < SMALL; i++) {
            // A second apart, so that a search by time has something to find.
            records.add(new ProducerRecord<>(topic, 2, baseTime + i * 1000L, bytes("k" + i), noise(i, i)));
        }
        return records;
    }

    private static void roundTrip(Interop run, String topic, String codec) throws Exception {
        long baseTime = System.currentTimeMillis() - SMALL * 1000L;
        List<ProducerRecord<byte[], byte[]>> sent = records(topic, baseTime);
        try (KafkaProducer<byte[], byte[]> producer =
            run.producer(Map.of("compression.type", codec, "linger.ms", "5", "acks", "all"))) {
            List<Future<RecordMetadata>> pending = new ArrayList<>();
            for (ProducerRecord<byte[], byte[]> record : sent) pending.add(producer.send(record));
            long[] next = new long[PARTITIONS];
            for (Future<RecordMetadata> future : pending) {
                RecordMetadata acked = future.get(Interop.TIMEOUT_S, TimeUnit.SECONDS);
                checkEqual(acked.offset(), next[acked.partition()]++, "offset in partition " + acked.partition());
            }
            expect(RecordTooLargeException.class, "a record of 3 MiB", () ->
                producer.send(new ProducerRecord<>(topic, 1, null, noise(3 << 20, 7))).get());
        }
        try (KafkaConsumer<byte[], byte[]> consumer = run.consumer(Map.of())) {
            for (int partition = 0; partition < PARTITIONS; partition++) {
                int wanted = partition;
                List<ProducerRecord<byte[], byte[]>> expected =
                    sent.stream().filter(record -> record.partition() == wanted).toList();
                TopicPartition at = new TopicPartition(topic, partition);
                List<ConsumerRecord<byte[], byte[]>> got = readAll(consumer, at, 0, expected.size());
                for (int i = 0; i < expected.size(); i++) same(got.get(i), expected.get(i), i);
            }
            seekAndSearch(consumer, topic, baseTime);
        }
        // A record larger than every limit of the fetch still comes, alone.
        try (KafkaConsumer<byte[], byte[]> consumer =
            run.consumer(Map.of("max.partition.fetch.bytes", "1", "fetch.max.bytes", "1", "max.poll.records", "1",
                "isolation.level", "read_committed"))) {
            readAll(consumer, new TopicPartition(topic, 1), 0, 3);
        }
    }

    private static void seekAndSearch(KafkaConsumer<byte[], byte[]> consumer, String topic, long baseTime) {
        TopicPartition at = new TopicPartition(topic, 2);
        for (int offset : new int[] {SMALL - 1, 0, SMALL / 2, 1}) {
            ConsumerRecord<byte[], byte[]> first = readAll(consumer, at, offset, 1).get(0);
            checkEqual(new String(first.key(), StandardCharsets.UTF_8), "k" + offset, "key at offset " + offset);
        }
        checkEqual(consumer.beginningOffsets(List.of(at)).get(at), 0L, "beginning");
        checkEqual(consumer.endOffsets(List.of(at)).get(at), (long) SMALL, "end");
        Map<Long, Long> searches = new HashMap<>();
        searches.put(baseTime - 1_000_000, 0L);
        searches.put(baseTime + 100 * 1000L, 100L);
        searches.put(baseTime + 100 * 1000L + 1, 101L);
        searches.put(baseTime + (SMALL - 1) * 1000L, SMALL - 1L);
        searches.put(baseTime + SMALL * 1000L + 1_000_000, null);
        searches.forEach((time, offset) -> {
            OffsetAndTimestamp found = consumer.offsetsForTimes(Map.of(at, time)).get(at);
            checkEqual(found == null ? null : found.offset(), offset, "offset for time base+" + (time - baseTime));
            if (offset != null && offset > 0) checkEqual(found.timestamp(), baseTime + offset * 1000, "its time");
        });
    }

    private static void acks(Interop run, String topic) throws Exception {
        for (String acks : List.of("0", "1")) {
            try (KafkaProducer<byte[], byte[]> producer = run.producer(Map.of("acks", acks, "enable.idempotence", "false"))) {
                for (int i = 0; i < 100; i++) producer.send(new ProducerRecord<>(topic, bytes(acks), bytes("" + i)));
                producer.flush();
            }
        }
        try (KafkaConsumer<byte[], byte[]> consumer = run.consumer(Map.of())) {
            readAll(consumer, new TopicPartition(topic, 0), 0, 200);
        }
        try (KafkaConsumer<byte[], byte[]> consumer = run.consumer(Map.of("auto.offset.reset", "none"))) {
            TopicPartition at = new TopicPartition(topic, 0);
            consumer.assign(List.of(at));
            consumer.seek(at, 1_000_000);
            expect(OffsetOutOfRangeException.class, "reading past the end", () -> {
                for (int i = 0; i < 100; i++) consumer.poll(Duration.ofMillis(200));
                return null;
            });
        }
    }

    private static void appendTime(Interop run, String topic) throws Exception {
        long before = System.currentTimeMillis();
        for (String codec : List.of("none", "lz4")) {
            try (KafkaProducer<byte[], byte[]> producer = run.producer(Map.of("compression.type", codec))) {
                RecordMetadata acked =
                    producer.send(new ProducerRecord<>(topic, 0, 1000L, null, bytes("old"))).get(Interop.TIMEOUT_S, TimeUnit.SECONDS);
                check(acked.timestamp() >= before, "the answer holds the append time, got %d", acked.timestamp());
            }
        }
        try (KafkaConsumer<byte[], byte[]> consumer = run.consumer(Map.of())) {
            for (ConsumerRecord<byte[], byte[]> record : readAll(consumer, new TopicPartition(topic, 0), 0, 2)) {
                checkEqual(record.timestampType(), TimestampType.LOG_APPEND_TIME, "timestamp type");
                check(record.timestamp() >= before, "append time %d is before %d", record.timestamp(), before);
            }
        }
    }

    /** Reads `count` records from `offset` on; their offsets must be consecutive. */
    static List<ConsumerRecord<byte[], byte[]>> readAll(
        KafkaConsumer<byte[], byte[]> consumer, TopicPartition at, long offset, int count) {
        consumer.assign(List.of(at));
        consumer.seek(at, offset);
        List<ConsumerRecord<byte[], byte[]>> got = new ArrayList<>();
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(Interop.TIMEOUT_S);
        while (got.size() < count) {
            check(System.nanoTime() < end, "%s from %d: %d of %d records came", at, offset, got.size(), count);
            for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200)).records(at)) {
                checkEqual(record.offset(), offset + got.size(), "offset in " + at);
                got.add(record);
            }
        }
        return got;
    }

    private static void same(ConsumerRecord<byte[], byte[]> got, ProducerRecord<byte[], byte[]> want, int index) {
        String where = got.topic() + "-" + got.partition() + "[" + index + "]";
        check(Arrays.equals(got.key(), want.key()), "%s: key differs", where);
        check(Arrays.equals(got.value(), want.value()), "%s: value differs", where);
        checkEqual(got.timestamp(), want.timestamp(), where + " timestamp");
        checkEqual(got.timestampType(), TimestampType.CREATE_TIME, where + " timestamp type");
        Header[] gotHeaders = got.headers().toArray();
        Header[] wantHeaders = want.headers().toArray();
        checkEqual(gotHeaders.length, wantHeaders.length, where + " number of headers");
        for (int i = 0; i < gotHeaders.length; i++) {
            checkEqual(gotHeaders[i].key(), wantHeaders[i].key(), where + " header name");
            check(Arrays.equals(gotHeaders[i].value(), wantHeaders[i].value()), "%s: header %d differs", where, i);
        }
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
