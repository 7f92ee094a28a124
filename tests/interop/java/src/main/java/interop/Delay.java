package interop;

import static interop.Interop.await;
import static interop.Interop.check;
import static interop.Interop.checkEqual;
import static interop.Interop.step;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.InvalidRecordException;
import org.apache.kafka.common.TopicPartition;

/**
 * Records delayed by their headers, sent by idempotent producers through a kill of the broker: it says `sending` on stdout,
 * hears on stdin that the broker is back, and judges. A record's value is its number and when it is due at the earliest.
 */
final class Delay {
    private static final int PARTITIONS = 2;
    private static final int SOON = 200;
    private static final int AFTER = 200;
    /** What is sent around the kill is due long after it: nothing is being delivered then, so nothing may come twice. */
    private static final int FAR_MS = 6_000;

    private final Interop run;
    private final String topic;
    private final AtomicInteger numbers = new AtomicInteger();
    private final Set<Integer> acknowledged = ConcurrentHashMap.newKeySet();
    private final Map<Integer, String> places = new ConcurrentHashMap<>();
    private final AtomicReference<Throwable> failed = new AtomicReference<>();
    private final AtomicInteger waiting = new AtomicInteger();
    private volatile boolean stopping;

    private Delay(Interop run) {
        this.run = run;
        topic = run.prefix + "-delay";
    }

    static void run(Interop run) throws Exception {
        try (Admin admin = run.admin()) {
            run.topic(admin, "delay", PARTITIONS, Map.of("mainstem.delay", "true"));
            run.topic(admin, "undelayed", 1, Map.of());
        }
        new Delay(run).run();
    }

    private void run() throws Exception {
        Thread reader = new Thread(this::read);
        reader.setDaemon(true);
        reader.start();
        refusals();
        try (KafkaProducer<byte[], byte[]> plain = producer("none"); KafkaProducer<byte[], byte[]> packed = producer("lz4")) {
            List<KafkaProducer<byte[], byte[]>> both = List.of(plain, packed);
            for (int i = 0; i < SOON; i++) send(both.get(i % 2), i, 50 + 5 * i);
            await("what is due soon is there", () -> places.size() == SOON || failed.get() != null);
            Thread far = new Thread(() -> {
                for (int i = 0; !stopping; i++) {
                    send(both.get(i % 2), i, FAR_MS + i);
                    pause();
                }
            });
            far.start();
            await("records wait", () -> waiting.get() > SOON);
            step("sending");
            System.out.flush();
            check(System.in.read() >= 0, "the broker is not back");
            int before = acknowledged.size();
            await("it goes on", () -> acknowledged.size() > before + AFTER || failed.get() != null);
            stopping = true;
            far.join();
        }
        int sent = numbers.get();
        checkEqual(acknowledged.size(), sent, "acknowledged");
        await("all are there", () -> places.size() == sent || failed.get() != null);
        check(failed.get() == null, "%s", failed.get());
        System.out.printf("-- sent %d%n", sent);
    }

    private KafkaProducer<byte[], byte[]> producer(String codec) {
        return run.producer(Map.of("compression.type", codec, "linger.ms", "5", "reconnect.backoff.max.ms", "100",
            "retry.backoff.ms", "20", "retry.backoff.max.ms", "100"));
    }

    private static void pause() {
        try {
            Thread.sleep(1);
        } catch (InterruptedException never) {
            throw new AssertionError(never);
        }
    }

    /** Of four records one is due at once: their batches are divided. */
    private void send(KafkaProducer<byte[], byte[]> producer, int count, long delay) {
        int number = numbers.getAndIncrement();
        long due = count % 4 == 0 ? 0 : System.currentTimeMillis() + delay;
        var record = new ProducerRecord<>(topic, number % PARTITIONS, bytes("key"), bytes(number + " " + due));
        switch (count % 4) {
            case 0 -> { }
            case 1 -> record.headers().add("mainstem-delay-ms", bytes("" + delay));
            default -> record.headers().add("mainstem-deliver-at-ms", bytes("" + due));
        }
        if (due != 0) waiting.incrementAndGet();
        producer.send(record, (at, error) -> {
            if (error == null) acknowledged.add(number);
            else failed.set(error);
        });
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /** A time that is none is refused; where delays are not asked for, the header is one as any other. */
    private void refusals() throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = producer("none")) {
            var odd = new ProducerRecord<byte[], byte[]>(topic, bytes("odd"));
            odd.headers().add("mainstem-delay-ms", bytes("soon"));
            Throwable error = Interop.failure("a delay that is no number", () -> producer.send(odd).get());
            check(error instanceof InvalidRecordException, "refused with %s", error);
        }
        try (KafkaProducer<byte[], byte[]> producer = producer("none");
            KafkaConsumer<byte[], byte[]> consumer = run.consumer(Map.of())) {
            String other = run.prefix + "-undelayed";
            var record = new ProducerRecord<byte[], byte[]>(other, bytes("at once"));
            record.headers().add("mainstem-delay-ms", bytes("3600000"));
            producer.send(record).get();
            consumer.assign(List.of(new TopicPartition(other, 0)));
            consumer.seekToBeginning(consumer.assignment());
            await("it is there at once", () -> !consumer.poll(Duration.ofMillis(100)).isEmpty());
        }
    }

    /** Reads all from the start, through the kill: in the order of offsets, nothing early, and nothing twice. */
    private void read() {
        try (KafkaConsumer<byte[], byte[]> consumer = run.consumer(Map.of("reconnect.backoff.max.ms", "100"))) {
            consumer.assign(IntStream.range(0, PARTITIONS).mapToObj(p -> new TopicPartition(topic, p)).toList());
            consumer.seekToBeginning(consumer.assignment());
            long[] next = new long[PARTITIONS];
            while (true) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(100))) {
                    String[] words = new String(record.value(), StandardCharsets.UTF_8).split(" ");
                    long late = System.currentTimeMillis() - Long.parseLong(words[1]);
                    check(late >= 0, "%s was early by %d ms", words[0], -late);
                    checkEqual(record.offset(), next[record.partition()]++, "offset in partition " + record.partition());
                    String place = record.partition() + " " + record.offset();
                    String before = places.put(Integer.valueOf(words[0]), place);
                    check(before == null, "%s is at %s and at %s", words[0], before, place);
                }
            }
        } catch (Throwable error) {
            failed.set(error);
        }
    }
}
