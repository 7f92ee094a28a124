package interop;

import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Entry point and what the cases share. Arguments: case, bootstrap address, name prefix, target (mainstem or kafka). */
public final class Interop {
    static final long TIMEOUT_S = 60;

    final String bootstrap;
    final String prefix;
    final boolean mainstem;

    private Interop(String bootstrap, String prefix, boolean mainstem) {
        this.bootstrap = bootstrap;
        this.prefix = prefix;
        this.mainstem = mainstem;
    }

    public static void main(String[] args) throws Exception {
        Interop run = new Interop(args[1], args[2], args[3].equals("mainstem"));
        switch (args[0]) {
            case "records" -> Records.run(run);
            case "groups" -> Groups.run(run);
            case "admin" -> Administration.run(run);
            case "streams" -> WordCount.run(run);
            case "across-send" -> Across.send(run);
            case "across-read" -> Across.read(run);
            case "across-bridged" -> Across.bridged(run);
            case "across-trim" -> Across.trim(run);
            case "across-together" -> Across.together(run);
            case "load" -> Load.run(run);
            case "delay" -> Delay.run(run);
            default -> throw new IllegalArgumentException(args[0]);
        }
        System.exit(0);
    }

    static void step(String what) {
        System.out.println("-- " + what);
    }

    static void check(boolean holds, String what, Object... arguments) {
        if (!holds) throw new AssertionError(String.format(what, arguments));
    }

    static void checkEqual(Object got, Object want, String what) {
        check(java.util.Objects.equals(got, want), "%s: got %s, want %s", what, got, want);
    }

    /** Waits until `done` holds; what it waits for is named in the failure. */
    static void await(String what, Callable<Boolean> done) throws Exception {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(TIMEOUT_S);
        while (!done.call()) {
            check(System.nanoTime() < end, "timed out waiting until %s", what);
            Thread.sleep(20);
        }
    }

    /** Runs a call that must fail and returns the cause. */
    static Throwable failure(String what, Callable<?> call) throws Exception {
        try {
            call.call();
        } catch (ExecutionException e) {
            return e.getCause();
        } catch (org.apache.kafka.common.KafkaException e) {
            return e;
        }
        throw new AssertionError(what + " must fail");
    }

    static void expect(Class<? extends Throwable> type, String what, Callable<?> call) throws Exception {
        Throwable cause = failure(what, call);
        check(type.isInstance(cause), "%s must fail with %s, got %s", what, type.getSimpleName(), cause);
    }

    Admin admin() {
        return Admin.create(Map.of("bootstrap.servers", bootstrap, "default.api.timeout.ms", "30000"));
    }

    String topic(Admin admin, String name, int partitions, Map<String, String> configs) throws Exception {
        String topic = prefix + "-" + name;
        admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1).configs(configs))).all()
            .get(TIMEOUT_S, TimeUnit.SECONDS);
        return topic;
    }

    KafkaProducer<byte[], byte[]> producer(Map<String, Object> overrides) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        properties.put("delivery.timeout.ms", "60000");
        properties.put("request.timeout.ms", "20000");
        properties.put("max.request.size", 4 << 20);
        properties.putAll(overrides);
        return new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer());
    }

    KafkaConsumer<byte[], byte[]> consumer(Map<String, Object> overrides) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        properties.put("auto.offset.reset", "earliest");
        properties.put("enable.auto.commit", "false");
        properties.put("heartbeat.interval.ms", "200");
        properties.put("session.timeout.ms", "10000");
        properties.putAll(overrides);
        return new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    static byte[] noise(int length, long seed) {
        byte[] bytes = new byte[length];
        new Random(seed).nextBytes(bytes);
        return bytes;
    }
}
