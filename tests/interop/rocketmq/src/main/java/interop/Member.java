package interop;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** A client that does one thing for a case driven from outside: sends, is a member of a group, or may not be one. */
public final class Member {
    private final String namesrv;
    private final String topic;

    private Member(String namesrv, String topic) {
        this.namesrv = namesrv;
        this.topic = topic;
    }

    public static void main(String[] arguments) throws Exception {
        Member member = new Member(arguments[1], arguments[2]);
        try {
            switch (arguments[0]) {
                case "send" -> member.send(Integer.parseInt(arguments[3]));
                case "join" -> member.join(arguments[3], Integer.parseInt(arguments[4]));
                case "timed" -> member.timed(arguments[3]);
                case "refused" -> member.refused(arguments[3]);
                default -> throw new IllegalArgumentException(arguments[0]);
            }
        } catch (Throwable failure) {
            // The clients' threads would go on.
            failure.printStackTrace();
            System.exit(1);
        }
        System.exit(0);
    }

    private void send(int count) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer("producers");
        producer.setNamesrvAddr(namesrv);
        producer.start();
        for (int i = 0; i < count; i++) {
            producer.send(new Message(topic, String.valueOf(i).getBytes(StandardCharsets.UTF_8)));
        }
        producer.shutdown();
    }

    /** Says when it has consumed so many messages and told the broker so; leaves when its stdin is closed. */
    private void join(String group, int count) throws Exception {
        Set<String> seen = ConcurrentHashMap.newKeySet();
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(group);
        consumer.setNamesrvAddr(namesrv);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setPersistConsumerOffsetInterval(100);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(message -> seen.add(message.getMsgId()));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        Clients.await("all is consumed", () -> seen.size() == count);
        Clients.await("nothing is left to do", () -> consumer.getDefaultMQPushConsumerImpl().getRebalanceImpl()
            .getProcessQueueTable().values().stream().allMatch(queue -> queue.getMsgCount().get() == 0));
        System.out.println("consumed");
        while (System.in.read() >= 0) {
            // Nothing is said to it.
        }
        consumer.shutdown();
        Clients.check(seen.size() == count, "consumed " + seen.size());
    }

    /** Consumes what is delayed, each message's number and when it is due; on stdin it hears how many there are in the end. */
    private void timed(String group) throws Exception {
        Map<String, Integer> places = new ConcurrentHashMap<>();
        AtomicReference<String> failed = new AtomicReference<>();
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(group);
        consumer.setNamesrvAddr(namesrv);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        // Soon back after the kill.
        consumer.setHeartbeatBrokerInterval(500);
        consumer.setPollNameServerInterval(500);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            for (MessageExt message : messages) {
                String[] words = Clients.text(message).split(" ");
                if (Math.min(System.currentTimeMillis(), message.getStoreTimestamp()) < Long.parseLong(words[1])) {
                    failed.set("early: " + message);
                }
                places.put(message.getQueueId() + " " + message.getQueueOffset(), Integer.parseInt(words[0]));
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        int count = Integer.parseInt(new BufferedReader(new InputStreamReader(System.in)).readLine());
        Clients.await("all " + count + " have come", () -> places.size() >= count || failed.get() != null);
        Clients.check(failed.get() == null, failed.get());
        Clients.check(places.size() == count && Set.copyOf(places.values()).size() == count, places.size() + " places of " + count);
        System.out.println("all have come");
    }

    /** Does not pull in a group that the other dialect's clients hold. */
    private void refused(String group) throws Exception {
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer(group);
        consumer.setNamesrvAddr(namesrv);
        consumer.start();
        MessageQueue queue = consumer.fetchSubscribeMessageQueues(topic).iterator().next();
        try {
            consumer.pull(queue, "*", 0, 1);
            throw new AssertionError("pulled in a group of the other dialect");
        } catch (MQBrokerException refused) {
            System.out.println("refused: " + refused.getResponseCode() + " " + refused.getErrorMessage());
        }
    }
}
