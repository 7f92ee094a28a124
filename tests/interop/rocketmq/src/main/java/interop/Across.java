package interop;

import static interop.Clients.await;
import static interop.Clients.check;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ConcurrentSkipListMap;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.UtilAll;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** RocketMQ's side of a topic that Kafka's clients use, too; the other side is in `java/`. */
public final class Across {
    static final int MESSAGES = 50;
    static final List<String> CODECS = List.of("none", "gzip", "snappy", "lz4", "zstd");
    /** What Kafka's side sends with each codec. */
    static final int RECORDS = 46;
    static final int LARGE = 600_000;

    private final String namesrv;
    private final String prefix;

    private Across(String namesrv, String prefix) {
        this.namesrv = namesrv;
        this.prefix = prefix;
    }

    public static void main(String[] arguments) throws Exception {
        Across across = new Across(arguments[1], arguments[2]);
        switch (arguments[0]) {
            case "send" -> across.send();
            case "read" -> across.read();
            case "push" -> across.push(arguments[3]);
            case "bridge" -> across.bridge();
            case "from" -> across.from();
            case "together" -> across.together();
            default -> throw new IllegalArgumentException(arguments[0]);
        }
        System.exit(0);
    }

    DefaultMQProducer producer() throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer(prefix + "-producers");
        producer.setNamesrvAddr(namesrv);
        // The last message is compressed by the client, and so stored.
        producer.setCompressMsgBodyOverHowmuch(100_000);
        producer.start();
        return producer;
    }

    /** To the one queue of `<prefix>-rocketmq`, which RocketMQ's clients make by sending. */
    void send() throws Exception {
        DefaultMQProducer producer = producer();
        producer.setDefaultTopicQueueNums(1);
        for (int i = 0; i < MESSAGES; i++) {
            byte[] body = ("body-" + i).getBytes(StandardCharsets.UTF_8);
            Message message = new Message(prefix + "-rocketmq", i % 2 == 0 ? "even" : "odd", "key-" + i, body);
            message.putUserProperty("number", String.valueOf(i));
            message.putUserProperty("gr\u00fc\u00dfe", "w\u00e4hrend \ud83d\ude00");
            message.setFlag(i);
            if (i % 10 == 9) {
                message.setKeys(List.of("one", "two"));
            }
            check(producer.send(message).getMessageQueue().getQueueId() == 0, "one queue");
        }
        byte[] large = new byte[LARGE];
        Arrays.fill(large, (byte) 'x');
        producer.send(new Message(prefix + "-rocketmq", "large", "", large));
        producer.shutdown();
    }

    Map<Long, MessageExt> pull(String topic, String expression, int each, int count) throws Exception {
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer(prefix + "-pullers");
        consumer.setNamesrvAddr(namesrv);
        consumer.start();
        MessageQueue queue = consumer.fetchSubscribeMessageQueues(topic).iterator().next();
        Map<Long, MessageExt> found = new TreeMap<>();
        long offset = 0;
        while (offset < consumer.maxOffset(queue)) {
            PullResult result = consumer.pull(queue, expression, offset, each);
            check(result.getPullStatus() != PullStatus.OFFSET_ILLEGAL, "pulled: " + result);
            if (result.getMsgFoundList() != null) {
                check(result.getMsgFoundList().size() <= each, "no more than asked for");
                result.getMsgFoundList().forEach(message -> found.put(message.getQueueOffset(), message));
            }
            offset = result.getNextBeginOffset();
        }
        check(found.size() == count, topic + " " + expression + ": " + found.size() + " of " + count);
        consumer.shutdown();
        return found;
    }

    /** What Kafka's side sent, message by message. */
    void read() throws Exception {
        String topic = prefix + "-kafka";
        for (int each : List.of(1, 7, 32)) {
            Map<Long, MessageExt> all = pull(topic, "*", each, RECORDS * CODECS.size());
            long expected = 0;
            for (Map.Entry<Long, MessageExt> one : all.entrySet()) {
                check(one.getKey() == expected++, "each offset, in order: " + one.getKey());
                same(one.getValue(), (int) (one.getKey() % RECORDS));
            }
        }
        // The tag of each record by itself.
        pull(topic, "even", 32, 20 * CODECS.size());
        pull(topic, "odd || none", 32, 20 * CODECS.size());
        condition(topic, "number BETWEEN 10 AND 19 AND TAGS = 'even'", 5 * CODECS.size());
        condition(prefix + "-rocketmq", "number >= 40 AND TAGS = 'odd' OR TAGS = 'large'", 6);
        refused(topic);
    }

    static void same(MessageExt message, int number) {
        String at = number + ": " + message;
        Map<String, String> properties = message.getProperties();
        byte[] body = message.getBody();
        if (number < 40) {
            check(("body-" + number).equals(Clients.text(message)), at);
            check(("key " + number).equals(message.getKeys()), at);
            check((number % 2 == 0 ? "even" : "odd").equals(message.getTags()), at);
            check(String.valueOf(number).equals(message.getUserProperty("number")), at);
            check(message.getBornTimestamp() == 1_700_000_000_000L + number, at);
            check(message.getStoreTimestamp() > 1_700_000_000_000L + 40, at);
            return;
        }
        switch (number) {
            case 40 -> check(message.getKeys() == null && body.length == 8, at);
            case 41 -> check("=".equals(properties.get("mainstem-key")) && "true".equals(properties.get("mainstem-empty")) && noBody(body), at);
            case 42 -> check("true".equals(properties.get("mainstem-tombstone")) && noBody(body), at);
            case 43 -> check("2".equals(properties.get("again")) && properties.containsKey("mainstem-headers"), at);
            case 44 -> check("_wAB".equals(properties.get("mainstem-key")) && message.getKeys() == null, at);
            default -> check(body.length == LARGE, at);
        }
    }

    void condition(String topic, String expression, int count) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(prefix + "-conditions-" + System.nanoTime());
        consumer.setNamesrvAddr(namesrv);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(topic, MessageSelector.bySql(expression));
        Queue<MessageExt> found = new ConcurrentLinkedQueue<>();
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            found.addAll(messages);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        await(expression, () -> found.size() >= count);
        consumer.shutdown();
        check(found.size() == count, expression + " let " + found.size() + " through");
    }

    void refused(String topic) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(prefix + "-refused");
        consumer.setNamesrvAddr(namesrv);
        consumer.subscribe(topic, MessageSelector.bySql("number > > 3"));
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> null);
        try {
            consumer.start();
            throw new AssertionError("an expression that does not parse was taken");
        } catch (MQClientException expected) {
            check(expected.getResponseCode() == 23, "refused: " + expected);
            check(expected.getErrorMessage().contains("at character 10"), "refused: " + expected);
        }
    }

    static boolean noBody(byte[] body) {
        return body.length == 1 && body[0] == 0;
    }

    /** What Kafka's side sent, by a push consumer. Those before 5.3.2 stop for good at a message without a body. */
    void push(String version) throws Exception {
        Map<Long, MessageExt> found = new ConcurrentSkipListMap<>();
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(prefix + "-push-" + version.replace('.', '_'));
        consumer.setNamesrvAddr(namesrv);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(prefix + "-kafka", "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(message -> found.put(message.getQueueOffset(), message));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        await("all messages", () -> found.size() == RECORDS * CODECS.size());
        found.forEach((offset, message) -> same(message, (int) (offset % RECORDS)));
        consumer.shutdown();
    }

    /** Sends what it reads on, as it is: Kafka's side looks whether it is what it was. */
    void bridge() throws Exception {
        DefaultMQProducer producer = producer();
        producer.setDefaultTopicQueueNums(1);
        for (MessageExt from : pull(prefix + "-kafka", "*", 32, RECORDS * CODECS.size()).values()) {
            Message to = new Message(prefix + "-bridged", from.getBody());
            to.setFlag(from.getFlag());
            from.getProperties().forEach((name, value) -> to.getProperties().put(name, value));
            producer.send(to);
        }
        producer.shutdown();
    }

    /** Groups that begin at a queue's end, and at a time. */
    void from() throws Exception {
        String topic = prefix + "-kafka";
        // The time is said in seconds.
        Thread.sleep(1_100);
        String now = UtilAll.timeMillisToHumanString3(System.currentTimeMillis());
        Queue<String> atEnd = new ConcurrentLinkedQueue<>();
        Queue<String> atTime = new ConcurrentLinkedQueue<>();
        DefaultMQPushConsumer last = beginning(ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET, now, atEnd);
        await("it has the queue", () -> !Clients.held(last, topic).isEmpty());
        DefaultMQProducer producer = producer();
        producer.send(new Message(topic, "one".getBytes(StandardCharsets.UTF_8)));
        DefaultMQPushConsumer timed = beginning(ConsumeFromWhere.CONSUME_FROM_TIMESTAMP, now, atTime);
        await("what is new", () -> !atEnd.isEmpty() && !atTime.isEmpty());
        producer.send(new Message(topic, "two".getBytes(StandardCharsets.UTF_8)));
        await("what comes then", () -> atEnd.size() > 1 && atTime.size() > 1);
        for (Queue<String> found : List.of(atEnd, atTime)) {
            check(List.copyOf(found).equals(List.of("one", "two")), "found " + found);
        }
        producer.shutdown();
        last.shutdown();
        timed.shutdown();
    }

    DefaultMQPushConsumer beginning(ConsumeFromWhere where, String time, Queue<String> into) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(prefix + "-" + where);
        consumer.setNamesrvAddr(namesrv);
        consumer.setInstanceName(where.name());
        consumer.setConsumeFromWhere(where);
        consumer.setConsumeTimestamp(time);
        consumer.subscribe(prefix + "-kafka", "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(message -> into.add(Clients.text(message)));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        return consumer;
    }

    /** Sends and consumes while Kafka's side does the same: each side's messages come to both. */
    void together() throws Exception {
        String topic = prefix + "-together";
        Map<String, Boolean> found = new ConcurrentHashMap<>();
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(prefix + "-together");
        consumer.setNamesrvAddr(namesrv);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(message -> found.put(Clients.text(message), true));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        DefaultMQProducer producer = producer();
        for (int i = 0; i < 500; i++) {
            producer.send(new Message(topic, ("rocketmq-" + i).getBytes(StandardCharsets.UTF_8)));
        }
        await("both sides' messages", () -> found.size() >= 1_000);
        check(found.size() == 1_000, "found " + found.size());
        producer.shutdown();
        consumer.shutdown();
    }
}
