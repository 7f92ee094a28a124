package interop;

import static interop.Clients.await;
import static interop.Clients.check;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * Members join and leave a group, some without a word, while producers of all kinds send, and Kafka's clients do the same
 * with the same topic (`java/`'s `Load`, which makes it). Each side writes what it sent into a file when it has ended, a
 * line a message: its body, and its queue and offset if the answer told; each side reads all of both.
 */
public final class Load {
    static final int QUEUES = 8;
    private static final int BATCH = 8;
    /** What has to flow between one change of the group and the next. */
    private static final int BETWEEN = 300;

    private final String namesrv;
    private final String prefix;
    private final Path dir;
    private final Map<String, String> sent = new ConcurrentHashMap<>();
    /** The body that a member was given, by its place. */
    private final Map<String, String> seen = new ConcurrentHashMap<>();
    private final AtomicReference<Throwable> failed = new AtomicReference<>();
    private volatile boolean stopping;

    private Load(String namesrv, String prefix, Path dir) {
        this.namesrv = namesrv;
        this.prefix = prefix;
        this.dir = dir;
    }

    public static void main(String[] arguments) throws Exception {
        try {
            Load load = new Load(arguments[1], arguments[2], Path.of(arguments[3]));
            switch (arguments[0]) {
                case "run" -> load.run();
                case "member" -> load.member(arguments[4]);
                default -> throw new IllegalArgumentException(arguments[0]);
            }
        } catch (Throwable failure) {
            // The clients' threads would go on.
            failure.printStackTrace();
            System.exit(1);
        }
        System.exit(0);
    }

    private String topic() {
        return prefix + "-load";
    }

    private void run() throws Exception {
        DefaultMQProducer first = producer("first");
        await("Kafka's side has made the topic", () -> queues(first) == QUEUES);
        List<Thread> senders = new ArrayList<>();
        for (Sender sender : List.<Sender>of(this::sync, this::sync, this::async, this::oneWay, this::batch)) {
            int number = senders.size();
            DefaultMQProducer producer = producer("sender-" + number);
            senders.add(new Thread(() -> send(producer, sender, "rocketmq-" + number + "-")));
        }
        senders.forEach(Thread::start);
        List<Member> members = changes();
        stopping = true;
        for (Thread sender : senders) {
            sender.join();
        }
        check(failed.get() == null, "a sender failed: " + failed.get());
        Path mine = dir.resolve("sent-rocketmq.new");
        Files.write(mine, sent.entrySet().stream().map(one -> one.getKey() + " " + one.getValue()).toList());
        Files.move(mine, dir.resolve("sent-rocketmq"), StandardCopyOption.ATOMIC_MOVE);
        Path theirs = dir.resolve("sent-kafka");
        await("Kafka's side has ended", () -> Files.exists(theirs));
        Set<String> bodies = new HashSet<>(sent.keySet());
        List<String> lines = Files.readAllLines(theirs);
        lines.forEach(line -> bodies.add(line.substring(0, line.indexOf(' '))));
        await("each message is consumed", () -> Set.copyOf(seen.values()).containsAll(bodies));
        Stream.concat(lines.stream(), sent.entrySet().stream().map(one -> one.getKey() + " " + one.getValue()))
            .map(line -> line.split(" ", 2)).filter(line -> !line[1].isEmpty())
            .forEach(line -> check(line[0].equals(seen.get(line[1])), line[0] + " is not at " + line[1]));
        System.out.printf("%d messages sent, %d of Kafka's side, %d places read%n", sent.size(), lines.size(), seen.size());
        for (Member member : members) {
            member.leave();
        }
    }

    private static int queues(DefaultMQProducer producer, String topic) {
        try {
            return producer.fetchPublishMessageQueues(topic).size();
        } catch (Exception notYet) {
            return 0;
        }
    }

    private int queues(DefaultMQProducer producer) {
        return queues(producer, topic());
    }

    // ---- who sends

    private DefaultMQProducer producer(String name) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer(prefix + "-producers");
        producer.setNamesrvAddr(namesrv);
        producer.setInstanceName(name);
        producer.start();
        return producer;
    }

    private interface Sender {
        /** Sends the `count`th message, or messages. */
        void send(DefaultMQProducer producer, String prefix, int count) throws Exception;
    }

    private void send(DefaultMQProducer producer, Sender sender, String prefix) {
        try {
            for (int i = 0; !stopping; i++) {
                sender.send(producer, prefix, i);
                Thread.sleep(3);
            }
            // What is still under way is answered before its client ends.
            await("all answers", () -> sent.values().stream().noneMatch(place -> place.equals("?")));
            producer.shutdown();
        } catch (Throwable error) {
            failed.set(error);
        }
    }

    private Message message(String body) {
        return new Message(topic(), body.getBytes(StandardCharsets.UTF_8));
    }

    private static String place(SendResult result, int at) {
        return result.getMessageQueue().getQueueId() + " " + (result.getQueueOffset() + at);
    }

    private void sync(DefaultMQProducer producer, String prefix, int count) throws Exception {
        sent.put(prefix + count, place(producer.send(message(prefix + count)), 0));
    }

    private void async(DefaultMQProducer producer, String prefix, int count) throws Exception {
        sent.put(prefix + count, "?");
        producer.send(message(prefix + count), new SendCallback() {
            @Override
            public void onSuccess(SendResult result) {
                sent.put(prefix + count, place(result, 0));
            }

            @Override
            public void onException(Throwable error) {
                failed.set(error);
                sent.remove(prefix + count);
            }
        });
    }

    private void oneWay(DefaultMQProducer producer, String prefix, int count) throws Exception {
        producer.sendOneway(message(prefix + count));
        sent.put(prefix + count, "");
    }

    private void batch(DefaultMQProducer producer, String prefix, int count) throws Exception {
        List<Message> messages = new ArrayList<>();
        for (int i = 0; i < BATCH; i++) {
            messages.add(message(prefix + count + "." + i));
        }
        SendResult result = producer.send(messages);
        for (int i = 0; i < BATCH; i++) {
            sent.put(prefix + count + "." + i, place(result, i));
        }
    }

    // ---- who consumes

    /** A member of the group, here or in a JVM of its own. */
    private interface Member {
        Set<Integer> held();

        void leave() throws Exception;
    }

    private void see(String place, String body) {
        String before = seen.putIfAbsent(place, body);
        if (before != null && !before.equals(body)) {
            failed.set(new AssertionError(place + " held " + before + ", and then " + body));
        }
    }

    private interface Sink {
        void take(String place, String body);
    }

    private DefaultMQPushConsumer consumer(String name, Sink sink) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(prefix + "-load");
        consumer.setNamesrvAddr(namesrv);
        consumer.setInstanceName(name);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(topic(), "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(message -> sink.take(message.getQueueId() + " " + message.getQueueOffset(), Clients.text(message)));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        return consumer;
    }

    private static Set<Integer> held(DefaultMQPushConsumer consumer, String topic) {
        return Clients.held(consumer, topic).stream().map(MessageQueue::getQueueId).collect(Collectors.toSet());
    }

    private Member here(String name) throws Exception {
        DefaultMQPushConsumer consumer = consumer(name, this::see);
        return new Member() {
            @Override
            public Set<Integer> held() {
                return Load.held(consumer, topic());
            }

            @Override
            public void leave() {
                consumer.shutdown();
            }
        };
    }

    /** One that leaves by being killed. */
    private Member elsewhere(String name) throws IOException {
        Process process = new ProcessBuilder(ProcessHandle.current().info().command().orElseThrow(), "-Xmx96m",
            "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Duser.home=" + dir, "-cp", System.getProperty("java.class.path"),
            "interop.Load", "member", namesrv, prefix, dir.toString(), name)
            .redirectError(ProcessBuilder.Redirect.INHERIT).start();
        AtomicReference<Set<Integer>> held = new AtomicReference<>(Set.of());
        Thread reader = new Thread(() -> {
            try (BufferedReader lines = new BufferedReader(new InputStreamReader(process.getInputStream()))) {
                for (String line; (line = lines.readLine()) != null;) {
                    String[] words = line.split(" ");
                    if (words[0].equals("held")) {
                        held.set(Stream.of(words).skip(1).map(Integer::valueOf).collect(Collectors.toSet()));
                    } else if (words.length == 4 && words[0].equals("saw")) {
                        see(words[1] + " " + words[2], words[3]);
                    }
                }
            } catch (IOException killed) {
                // In the middle of a line.
            }
        });
        reader.start();
        return new Member() {
            @Override
            public Set<Integer> held() {
                return held.get();
            }

            @Override
            public void leave() throws Exception {
                process.destroyForcibly().waitFor();
                reader.join();
            }
        };
    }

    /** In a JVM of its own: says what it sees and has, until it is killed or whoever started it has ended. */
    private void member(String name) throws Exception {
        DefaultMQPushConsumer consumer = consumer(name, (place, body) -> System.out.println("saw " + place + " " + body));
        Thread says = new Thread(() -> {
            try {
                for (Set<Integer> said = Set.of();; Thread.sleep(20)) {
                    Set<Integer> now = held(consumer, topic());
                    if (!now.equals(said)) {
                        System.out.println("held " + now.stream().map(String::valueOf).collect(Collectors.joining(" ")));
                    }
                    said = now;
                }
            } catch (InterruptedException never) {
                throw new AssertionError(never);
            }
        });
        says.setDaemon(true);
        says.start();
        while (System.in.read() >= 0) {
            // Nothing is said to it.
        }
    }

    /** Four come one by one; one leaves, two are killed, and another comes in between. Returns who is there at the end. */
    private List<Member> changes() throws Exception {
        List<Member> members = new ArrayList<>();
        members.add(here("one"));
        shared(members);
        members.add(here("two"));
        shared(members);
        members.add(elsewhere("three"));
        shared(members);
        members.add(elsewhere("four"));
        shared(members);
        for (int leaving : List.of(1, 1)) {
            members.remove(leaving).leave();
            shared(members);
        }
        // Both at once.
        members.remove(1).leave();
        members.add(here("five"));
        shared(members);
        members.add(here("six"));
        shared(members);
        return members;
    }

    /** Waits until the members share the queues evenly, none held twice, and some more messages came through them. */
    private void shared(List<Member> members) throws InterruptedException {
        long began = System.nanoTime();
        await(members.size() + " members share the queues evenly", () -> {
            List<Set<Integer>> held = members.stream().map(Member::held).toList();
            Set<Integer> all = held.stream().flatMap(Set::stream).collect(Collectors.toSet());
            int least = QUEUES / members.size();
            int most = (QUEUES + members.size() - 1) / members.size();
            return all.size() == QUEUES && held.stream().mapToInt(Set::size).sum() == QUEUES
                && held.stream().allMatch(its -> its.size() >= least && its.size() <= most);
        });
        System.out.printf("%d members share the queues after %d ms%n", members.size(), (System.nanoTime() - began) / 1_000_000);
        int before = seen.size();
        await("messages go on", () -> seen.size() >= before + BETWEEN || failed.get() != null);
        check(failed.get() == null, "under load: " + failed.get());
    }
}
