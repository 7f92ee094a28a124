package interop;

import static interop.Interop.await;
import static interop.Interop.check;
import static interop.Interop.step;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Properties;
import java.util.Random;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;

/** A Streams application, at least once: repartition topic, compacted changelog, and a restart without its local state. */
final class WordCount {
    private static final int PARTITIONS = 3;
    private static final int LINES = 400;
    private static final String WORDS = "alpha bravo charlie delta echo foxtrot golf hotel india juliett kilo lima mike";

    static void run(Interop run) throws Exception {
        try (Admin admin = run.admin()) {
            String input = run.topic(admin, "lines", PARTITIONS, Map.of());
            String output = run.topic(admin, "counts", PARTITIONS, Map.of());
            Map<String, Long> expected = new HashMap<>();
            Map<String, Long> counted = new HashMap<>();
            try (KafkaConsumer<byte[], byte[]> reader = run.consumer(Map.of())) {
                List<TopicPartition> all = java.util.stream.IntStream.range(0, PARTITIONS)
                    .mapToObj(p -> new TopicPartition(output, p)).toList();
                reader.assign(all);
                reader.seekToBeginning(all);
                for (int round = 0; round < 2; round++) {
                    step(round == 0 ? "first run" : "second run, its state restored from the changelog");
                    feed(run, input, round, expected);
                    Path state = Files.createTempDirectory(Path.of(System.getProperty("java.io.tmpdir")), "streams");
                    KafkaStreams streams = streams(run, input, output, state);
                    streams.start();
                    await("the counts are right", () -> {
                        check(streams.state() != KafkaStreams.State.ERROR, "the application failed");
                        for (ConsumerRecord<byte[], byte[]> record : reader.poll(Duration.ofMillis(200))) {
                            counted.put(text(record.key()), Long.parseLong(text(record.value())));
                        }
                        // Stopped cleanly, so that nothing is counted twice; more than expected never becomes right.
                        return counted.equals(expected);
                    });
                    check(streams.close(Duration.ofSeconds(30)), "the application did not close");
                }
            }
            String changelog = run.prefix + "-app-counts-changelog";
            var resource = new org.apache.kafka.common.config.ConfigResource(
                org.apache.kafka.common.config.ConfigResource.Type.TOPIC, changelog);
            Interop.checkEqual(admin.describeConfigs(List.of(resource)).all().get().get(resource).get("cleanup.policy").value(),
                "compact", "the changelog's cleanup.policy");
        }
    }

    private static void feed(Interop run, String input, int round, Map<String, Long> expected) {
        String[] words = WORDS.split(" ");
        Random random = new Random(round);
        try (KafkaProducer<byte[], byte[]> producer = run.producer(Map.of("compression.type", "lz4"))) {
            for (int i = 0; i < LINES; i++) {
                String[] line = random.ints(6, 0, words.length).mapToObj(w -> words[w]).toArray(String[]::new);
                for (String word : line) expected.merge(word, 1L, Long::sum);
                producer.send(new ProducerRecord<>(input, i % PARTITIONS, null, String.join(" ", line).getBytes(StandardCharsets.UTF_8)));
            }
        }
    }

    private static KafkaStreams streams(Interop run, String input, String output, Path state) {
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(input, Consumed.with(Serdes.ByteArray(), Serdes.String()))
            .flatMapValues(line -> Arrays.asList(line.toLowerCase(Locale.ROOT).split(" ")))
            .groupBy((key, word) -> word, Grouped.with(Serdes.String(), Serdes.String()))
            .count(Materialized.<String, Long, org.apache.kafka.streams.state.KeyValueStore<org.apache.kafka.common.utils.Bytes, byte[]>>as("counts")
                .withKeySerde(Serdes.String()).withValueSerde(Serdes.Long()))
            .toStream()
            .mapValues(count -> Long.toString(count))
            .to(output, Produced.with(Serdes.String(), Serdes.String()));
        Properties properties = new Properties();
        properties.put("application.id", run.prefix + "-app");
        properties.put("bootstrap.servers", run.bootstrap);
        properties.put("processing.guarantee", "at_least_once");
        properties.put("num.stream.threads", "2");
        properties.put("state.dir", state.toString());
        properties.put("commit.interval.ms", "500");
        properties.put("statestore.cache.max.bytes", "0");
        properties.put("consumer.auto.offset.reset", "earliest");
        // Streams closes without leaving its group: the next run gets its share when the session ends.
        properties.put("consumer.session.timeout.ms", "6000");
        properties.put("consumer.heartbeat.interval.ms", "300");
        return new KafkaStreams(builder.build(), properties);
    }

    private static String text(byte[] bytes) {
        return new String(bytes, StandardCharsets.UTF_8);
    }
}
