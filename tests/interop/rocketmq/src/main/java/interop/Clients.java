package interop;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.consumer.store.OffsetStore;
import org.apache.rocketmq.client.consumer.store.ReadOffsetType;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** RocketMQ's own producers and consumers: `before` the broker is killed, and `after`. */
public final class Clients {
    static final int SYNC = 200;
    static final int ASYNC = 100;
    static final int ONE_WAY = 50;
    static final int BATCH = 32;
    static final int ALL = SYNC + ASYNC + ONE_WAY + BATCH;
    static final int ORDERED = 60;

    private final String namesrv;
    private final String prefix;

    private Clients(String namesrv, String prefix) {
        this.namesrv = namesrv;
        this.prefix = prefix;
    }

    public static void main(String[] arguments) throws Exception {
        Clients clients = new Clients(arguments[1], arguments[2]);
        try {
            switch (arguments[0]) {
                case "before" -> clients.before();
                case "after" -> clients.after();
                default -> throw new IllegalArgumentException(arguments[0]);
            }
        } catch (Throwable failure) {
            // The clients' threads would go on.
            failure.printStackTrace();
            System.exit(1);
        }
        System.exit(0);
    }

    static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    static void await(String what, BooleanSupplier done) throws InterruptedException {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
        while (!done.getAsBoolean()) {
            check(System.nanoTime() < end, "in vain: " + what);
            Thread.sleep(20);
        }
    }

    String namesrv() {
        return namesrv;
    }

    String prefix() {
        return prefix;
    }

    String topic() {
        return prefix + "-topic";
    }

    Message message(String body) {
        String tag = body.hashCode() % 2 == 0 ? "even" : "odd";
        return new Message(topic(), tag, body, body.getBytes(StandardCharsets.UTF_8));
    }

    static String text(MessageExt message) {
        return new String(message.getBody(), StandardCharsets.UTF_8);
    }

    DefaultMQProducer producer() throws Exception {
        return producer("producers");
    }

    DefaultMQProducer producer(String group) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer(prefix + "-" + group);
        producer.setNamesrvAddr(namesrv);
        producer.start();
        return producer;
    }

    void before() throws Exception {
        DefaultMQProducer producer = producer();
        send(producer);
        ordered(producer);
        producer.shutdown();
        push();
        tagged();
        new Modes(this).run();
        new Extras(this).run();
        check(litePull("lite").size() == ALL, "the lite pull consumer has all");
    }

    void send(DefaultMQProducer producer) throws Exception {
        for (int i = 0; i < SYNC; i++) {
            SendResult sent = producer.send(message("sync-" + i));
            check(sent.getSendStatus() == SendStatus.SEND_OK, "sent: " + sent);
            check(sent.getOffsetMsgId().length() == 32 && sent.getTransactionId() != null, "ids: " + sent);
        }
        check(producer.fetchPublishMessageQueues(topic()).size() == 4, "four queues");
        CountDownLatch answered = new CountDownLatch(ASYNC);
        Queue<Throwable> failed = new ConcurrentLinkedQueue<>();
        for (int i = 0; i < ASYNC; i++) {
            producer.send(message("async-" + i), new SendCallback() {
                @Override
                public void onSuccess(SendResult sent) {
                    answered.countDown();
                }

                @Override
                public void onException(Throwable error) {
                    failed.add(error);
                    answered.countDown();
                }
            });
        }
        check(answered.await(60, TimeUnit.SECONDS) && failed.isEmpty(), "asynchronous sends: " + failed);
        for (int i = 0; i < ONE_WAY; i++) {
            producer.sendOneway(message("oneway-" + i));
        }
        List<Message> batch = new ArrayList<>();
        for (int i = 0; i < BATCH; i++) {
            batch.add(message("batch-" + i));
        }
        SendResult sent = producer.send(batch);
        check(sent.getSendStatus() == SendStatus.SEND_OK, "batch: " + sent);
        check(sent.getOffsetMsgId().split(",").length == BATCH, "an id each: " + sent);
    }

    /** Messages of one queue, each in its turn, by two orderly consumers. */
    void ordered(DefaultMQProducer producer) throws Exception {
        String topic = prefix + "-ordered";
        for (int i = 0; i < ORDERED; i++) {
            Message message = new Message(topic, String.valueOf(i).getBytes(StandardCharsets.UTF_8));
            producer.send(message, (queues, sent, key) -> queues.get((Integer) key % queues.size()), i);
        }
        Map<Integer, Queue<Integer>> seen = new ConcurrentHashMap<>();
        List<DefaultMQPushConsumer> members = new ArrayList<>();
        for (String name : List.of("one", "two")) {
            DefaultMQPushConsumer consumer = consumer("orderly", name, topic, "*");
            consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
                for (MessageExt message : messages) {
                    seen.computeIfAbsent(message.getQueueId(), queue -> new ConcurrentLinkedQueue<>())
                        .add(Integer.parseInt(text(message)));
                }
                return ConsumeOrderlyStatus.SUCCESS;
            });
            consumer.start();
            members.add(consumer);
        }
        await("all in order", () -> seen.values().stream().mapToInt(Collection::size).sum() >= ORDERED);
        members.forEach(DefaultMQPushConsumer::shutdown);
        seen.forEach((queue, values) -> {
            List<Integer> sorted = values.stream().sorted().toList();
            check(sorted.equals(List.copyOf(values)), "queue " + queue + ": " + values);
        });
    }

    DefaultMQPushConsumer consumer(String group, String name, String topic, String tags) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(prefix + "-" + group);
        consumer.setNamesrvAddr(namesrv);
        consumer.setInstanceName(name);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(topic, tags);
        return consumer;
    }

    /** A consumer that is given its messages. */
    DefaultMQPushConsumer started(String group, String name, String tags, Queue<String> into) throws Exception {
        DefaultMQPushConsumer consumer = consumer(group, name, topic(), tags);
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(message -> into.add(text(message)));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        return consumer;
    }

    /** Two members share the queues; one goes and the other takes over what was its. */
    void push() throws Exception {
        Queue<String> one = new ConcurrentLinkedQueue<>();
        Queue<String> two = new ConcurrentLinkedQueue<>();
        DefaultMQPushConsumer first = started("push", "one", "*", one);
        DefaultMQPushConsumer second = started("push", "two", "*", two);
        await("all consumed", () -> one.size() + two.size() >= ALL);
        DefaultMQProducer producer = producer();
        await("both have queues", () -> {
            try {
                producer.send(message("shared-" + System.nanoTime()));
                return queues(first) == 2 && queues(second) == 2;
            } catch (Exception error) {
                throw new AssertionError(error);
            }
        });
        first.shutdown();
        await("the other took over", () -> queues(second) == 4);
        producer.shutdown();
        second.shutdown();
        settle("push");
    }

    /**
     * Brings a group's offsets to the ends of its queues. A member that is given a queue before the one that had it has
     * committed consumes again what that one did, and its offset is the group's from then on: `after` is to find an end.
     */
    private void settle(String group) throws Exception {
        DefaultMQPushConsumer alone = started(group, "alone", "*", new ConcurrentLinkedQueue<>());
        OffsetStore offsets = alone.getDefaultMQPushConsumerImpl().getOffsetStore();
        await("it consumed to the ends", () -> queues(alone) == 4 && held(alone, topic()).stream().allMatch(queue -> {
            try {
                return offsets.readOffset(queue, ReadOffsetType.MEMORY_FIRST_THEN_STORE) == alone.maxOffset(queue);
            } catch (MQClientException error) {
                throw new AssertionError(error);
            }
        }));
        alone.shutdown();
    }

    int queues(DefaultMQPushConsumer consumer) {
        return held(consumer, topic()).size();
    }

    /** The queues of a topic that a consumer has. */
    static Set<MessageQueue> held(DefaultMQPushConsumer consumer, String topic) {
        return consumer.getDefaultMQPushConsumerImpl().getRebalanceImpl().getProcessQueueTable().keySet()
            .stream().filter(queue -> queue.getTopic().equals(topic)).collect(Collectors.toSet());
    }

    void tagged() throws Exception {
        Queue<String> even = new ConcurrentLinkedQueue<>();
        Queue<String> odd = new ConcurrentLinkedQueue<>();
        DefaultMQPushConsumer first = started("even", "even", "even", even);
        DefaultMQPushConsumer second = started("odd", "odd", "odd || other", odd);
        await("all tags", () -> count(even) + count(odd) == ALL);
        check(even.stream().allMatch(body -> body.hashCode() % 2 == 0), "even: " + even);
        check(odd.stream().noneMatch(body -> body.hashCode() % 2 == 0), "odd: " + odd);
        first.shutdown();
        second.shutdown();
    }

    static long count(Queue<String> bodies) {
        return bodies.stream().filter(body -> !body.startsWith("shared-")).count();
    }

    /** Everything but the messages sent to see who is there. */
    List<String> litePull(String group) throws Exception {
        DefaultLitePullConsumer consumer = new DefaultLitePullConsumer(prefix + "-" + group);
        consumer.setNamesrvAddr(namesrv);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(topic(), "*");
        consumer.start();
        Queue<String> found = new ConcurrentLinkedQueue<>();
        await("all pulled", () -> {
            consumer.poll(200).forEach(message -> found.add(text(message)));
            return count(found) >= ALL;
        });
        consumer.commitSync();
        consumer.shutdown();
        return found.stream().filter(body -> !body.startsWith("shared-")).distinct().toList();
    }

    /** Everything is still there, and the group goes on where it was. */
    void after() throws Exception {
        check(litePull("later").size() == ALL, "a new group finds all");
        Queue<String> more = new ConcurrentLinkedQueue<>();
        DefaultMQPushConsumer consumer = started("push", "again", "*", more);
        DefaultMQProducer producer = producer();
        for (int i = 0; i < 10; i++) {
            producer.send(message("later-" + i));
        }
        await("the new ones", () -> more.stream().filter(body -> body.startsWith("later-")).count() == 10);
        check(more.size() == 10, "consumed once more: " + more);
        producer.shutdown();
        consumer.shutdown();
    }
}
