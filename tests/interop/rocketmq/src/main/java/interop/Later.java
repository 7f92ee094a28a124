package interop;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.consumer.store.ReadOffsetType;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** What comes later: delays, recalls, retries and dead letters; `before` the broker is killed, and `after`. */
public final class Later {
    static final int TIMED = 200;
    /** Messages that wait while the broker is killed, 10 ms apart. */
    static final int OVER_THE_KILL = 300;
    static final int KILL_MS = 12_000;
    /** Generous: the machine may be busy. */
    static final long LATE_MS = 3_000;

    private final String namesrv;
    private final String prefix;

    private Later(String namesrv, String prefix) {
        this.namesrv = namesrv;
        this.prefix = prefix;
    }

    public static void main(String[] arguments) throws Exception {
        Later later = new Later(arguments[1], arguments[2]);
        switch (arguments[0]) {
            case "before" -> later.before();
            case "after" -> later.after();
            default -> throw new IllegalArgumentException(arguments[0]);
        }
        System.exit(0);
    }

    static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    static void await(String what, BooleanSupplier done) throws InterruptedException {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(90);
        while (!done.getAsBoolean()) {
            check(System.nanoTime() < end, "in vain: " + what);
            Thread.sleep(10);
        }
    }

    static String text(MessageExt message) {
        return new String(message.getBody(), StandardCharsets.UTF_8);
    }

    Message message(String topic, String body) {
        return new Message(prefix + "-" + topic, "tag", body, body.getBytes(StandardCharsets.UTF_8));
    }

    DefaultMQProducer producer() throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer(prefix + "-producers");
        producer.setNamesrvAddr(namesrv);
        producer.start();
        return producer;
    }

    DefaultMQPushConsumer consumer(String group, String topic) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(prefix + "-" + group);
        consumer.setNamesrvAddr(namesrv);
        consumer.setInstanceName(group);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(topic, "*");
        return consumer;
    }

    /**
     * Lets the broker make a group's retry topic, with the first heartbeat: clients ask where it is when they start,
     * and then every 30 s. To a broker that none of its topics has led it to a client sends no heartbeat.
     */
    void introduce(DefaultMQProducer producer, String group) throws Exception {
        send(producer, message("other", "makes its topic"));
        DefaultMQPushConsumer consumer = consumer(group, prefix + "-other");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) ->
            ConsumeConcurrentlyStatus.CONSUME_SUCCESS);
        consumer.setInstanceName("introduction");
        consumer.start();
        consumer.shutdown();
    }

    DefaultMQPushConsumer reading(String group, String topic, Queue<MessageExt> into) throws Exception {
        DefaultMQPushConsumer consumer = consumer(group, topic);
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            into.addAll(messages);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        return consumer;
    }

    static SendResult send(DefaultMQProducer producer, Message message) throws Exception {
        SendResult sent = producer.send(message);
        check(sent.getSendStatus() == SendStatus.SEND_OK, "sent: " + sent);
        return sent;
    }

    void before() throws Exception {
        DefaultMQProducer producer = producer();
        refusals(producer);
        timed(producer);
        deadLetters(producer);
        inOrder(producer);
        overTheKill(producer);
        patient(producer);
        producer.shutdown();
    }

    void refusals(DefaultMQProducer producer) throws Exception {
        Message far = message("timed", "far");
        far.setDelayTimeSec(TimeUnit.DAYS.toSeconds(4));
        try {
            producer.send(far);
            throw new AssertionError("a delay of four days was taken");
        } catch (MQBrokerException expected) {
            check(expected.getResponseCode() == 13, "refused: " + expected);
        }
    }

    /** Levels and times; the body is when the message is due at the earliest. */
    void timed(DefaultMQProducer producer) throws Exception {
        send(producer, message("timed", "0 at once"));
        Queue<MessageExt> came = new ConcurrentLinkedQueue<>();
        DefaultMQPushConsumer consumer = reading("timed", prefix + "-timed", came);
        List<String> recalled = new ArrayList<>();
        for (int i = 0; i < TIMED; i++) {
            long now = System.currentTimeMillis();
            long delay = i % 4 == 0 ? 1_000 : i % 4 == 1 ? 2_000 : 300 + 7L * i;
            Message message = message("timed", (now + delay) + " " + i);
            switch (i % 4) {
                case 0 -> message.setDelayTimeLevel(1);
                case 1 -> message.setDelayTimeSec(2);
                case 2 -> message.setDelayTimeMs(delay);
                default -> message.setDeliverTimeMs(now + delay);
            }
            SendResult sent = send(producer, message);
            if (i % 40 == 39) {
                String id = producer.recallMessage(prefix + "-timed", sent.getRecallHandle());
                check(id.equals(sent.getMsgId()), "recalled " + id + " of " + sent);
                recalled.add(text(message));
            }
        }
        await("all in their time", () -> came.size() >= TIMED + 1 - recalled.size());
        long[] late = came.stream().filter(message -> !text(message).startsWith("0 ")).mapToLong(Later::late)
            .sorted().toArray();
        check(late[0] >= 0, "early by " + late[0] + " ms");
        check(late[late.length - 1] < LATE_MS, "late by " + late[late.length - 1] + " ms");
        check(came.stream().noneMatch(message -> recalled.contains(text(message))), "recalled ones came");
        check(came.stream().allMatch(message -> message.getDelayTimeLevel() == 0), "delayed again");
        long told = came.stream().filter(message -> message.getDeliverTimeMs() > 0).count();
        check(told >= TIMED / 4 - recalled.size(), "told when: " + told);
        System.out.printf("late by %d ms in the middle, %d ms (99 %%), %d ms at most%n",
            late[late.length / 2], late[late.length * 99 / 100], late[late.length - 1]);
        consumer.shutdown();
    }

    static String text(Message message) {
        return new String(message.getBody(), StandardCharsets.UTF_8);
    }

    /** How long after it was due a message was stored. */
    static long late(MessageExt message) {
        return message.getStoreTimestamp() - Long.parseLong(text(message).split(" ")[0]);
    }

    void overTheKill(DefaultMQProducer producer) throws Exception {
        long first = System.currentTimeMillis() + KILL_MS;
        for (int i = 0; i < OVER_THE_KILL; i++) {
            Message message = message("kept", (first + 10L * i) + " " + i);
            message.setDeliverTimeMs(first + 10L * i);
            SendResult sent = send(producer, message);
            if (i % 100 == 99) {
                producer.recallMessage(prefix + "-kept", sent.getRecallHandle());
            }
        }
    }

    /** A group that never can: three times, and then to its dead letters. */
    void deadLetters(DefaultMQProducer producer) throws Exception {
        Map<String, Queue<MessageExt>> tries = new ConcurrentHashMap<>();
        introduce(producer, "failing");
        List<String> ids = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            ids.add(send(producer, message("failing", "failing-" + i)).getMsgId());
        }
        DefaultMQPushConsumer failing = consumer("failing", prefix + "-failing");
        failing.setMaxReconsumeTimes(2);
        failing.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(message -> tries.computeIfAbsent(message.getMsgId(), id -> new ConcurrentLinkedQueue<>())
                .add(message));
            context.setDelayLevelWhenNextConsume(1);
            return ConsumeConcurrentlyStatus.RECONSUME_LATER;
        });
        failing.start();
        await("tried three times", () -> ids.stream().allMatch(id -> tries.containsKey(id) && tries.get(id).size() >= 3));
        Queue<MessageExt> dead = new ConcurrentLinkedQueue<>();
        DefaultMQPushConsumer undertaker = reading("undertaker", "%DLQ%" + prefix + "-failing", dead);
        await("dead letters", () -> dead.size() >= ids.size());
        tries.values().forEach(of -> triedAsAsked(List.copyOf(of)));
        for (MessageExt message : dead) {
            check(ids.contains(message.getMsgId()), "dead: " + message);
            check(message.getReconsumeTimes() == 3, "dead after " + message.getReconsumeTimes());
            check((prefix + "-failing").equals(message.getProperty("RETRY_TOPIC")), "of: " + message.getProperties());
        }
        check(dead.size() == ids.size(), dead.size() + " dead letters");
        failing.shutdown();
        undertaker.shutdown();
    }

    /** Each retry after the second that its level means, not after the 10 s and 30 s of those that ask for nothing. */
    static void triedAsAsked(List<MessageExt> tries) {
        check(tries.stream().map(MessageExt::getReconsumeTimes).toList().equals(List.of(0, 1, 2)), "tried: " + tries);
        for (MessageExt one : tries) {
            check(one.getBornTimestamp() == tries.get(0).getBornTimestamp(), "sent anew: " + one);
        }
        long between = tries.get(2).getStoreTimestamp() - tries.get(1).getStoreTimestamp();
        check(between >= 1_000 && between < 10_000, "the second retry came " + between + " ms after the first");
    }

    /** One that consumes in order tries by itself, and then gives a message up. */
    void inOrder(DefaultMQProducer producer) throws Exception {
        String id = send(producer, message("orderly", "out of order")).getMsgId();
        DefaultMQPushConsumer failing = consumer("orderly", prefix + "-orderly");
        failing.setMaxReconsumeTimes(1);
        failing.setSuspendCurrentQueueTimeMillis(50);
        failing.registerMessageListener((MessageListenerOrderly) (messages, context) ->
            ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT);
        failing.start();
        Queue<MessageExt> dead = new ConcurrentLinkedQueue<>();
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
        while (producerSeesNo(producer, "%DLQ%" + prefix + "-orderly")) {
            check(System.nanoTime() < end, "in vain: a topic of dead letters");
            Thread.sleep(50);
        }
        DefaultMQPushConsumer undertaker = reading("second-undertaker", "%DLQ%" + prefix + "-orderly", dead);
        await("a dead letter", () -> !dead.isEmpty());
        check(dead.peek().getMsgId().equals(id), "dead: " + dead);
        failing.shutdown();
        undertaker.shutdown();
    }

    static boolean producerSeesNo(DefaultMQProducer producer, String topic) {
        try {
            return producer.fetchPublishMessageQueues(topic).isEmpty();
        } catch (Exception none) {
            return true;
        }
    }

    /** Fails at first, with RocketMQ's own delay of 10 s; the broker is killed meanwhile. */
    void patient(DefaultMQProducer producer) throws Exception {
        Queue<String> failed = new ConcurrentLinkedQueue<>();
        introduce(producer, "patient");
        SendResult sent = send(producer, message("patient", String.valueOf(System.currentTimeMillis())));
        DefaultMQPushConsumer failing = consumer("patient", prefix + "-patient");
        failing.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(message -> failed.add(text(message)));
            return ConsumeConcurrentlyStatus.RECONSUME_LATER;
        });
        failing.start();
        await("the first try", () -> !failed.isEmpty());
        // The offset moves last of all; what is shut down before that gets the message itself again.
        await("it is sent back", () -> failing.getDefaultMQPushConsumerImpl().getOffsetStore()
            .readOffset(sent.getMessageQueue(), ReadOffsetType.READ_FROM_MEMORY) > sent.getQueueOffset());
        failing.shutdown();
    }

    void after() throws Exception {
        Queue<MessageExt> kept = new ConcurrentLinkedQueue<>();
        Queue<MessageExt> again = new ConcurrentLinkedQueue<>();
        DefaultMQPushConsumer keeper = reading("keeper", prefix + "-kept", kept);
        DefaultMQPushConsumer patient = reading("patient", prefix + "-patient", again);
        int expected = OVER_THE_KILL - OVER_THE_KILL / 100;
        await("all that waited", () -> distinct(kept).size() >= expected);
        await("another try", () -> !again.isEmpty());
        check(distinct(kept).size() == expected, "recalled ones came too");
        check(kept.stream().mapToLong(Later::late).min().orElse(0) >= 0, "some came early");
        MessageExt retried = again.peek();
        check(retried.getReconsumeTimes() == 1, "tried " + retried.getReconsumeTimes() + " times");
        check(late(retried) >= 10_000, "tried again after " + late(retried) + " ms");
        check((prefix + "-patient").equals(retried.getTopic()), "in " + retried.getTopic());
        keeper.shutdown();
        patient.shutdown();
    }

    static Set<String> distinct(Queue<MessageExt> messages) {
        Set<String> bodies = new HashSet<>();
        messages.forEach(message -> bodies.add(text(message)));
        return bodies;
    }
}
