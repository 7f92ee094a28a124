package interop;

import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Sends to and consumes from the brokers that a name server knows: exactly those that are named. */
public final class Fleet {
    private static final int MESSAGES = 100;

    public static void main(String[] arguments) throws Exception {
        try {
            run(arguments[0], arguments[1], List.of(arguments[2].split(",")));
        } catch (Throwable failure) {
            // The clients' threads would go on.
            failure.printStackTrace();
            System.exit(1);
        }
        System.exit(0);
    }

    private static void run(String namesrv, String prefix, List<String> brokers) throws Exception {
        String topic = prefix + "-fleet";
        Set<String> expected = new TreeSet<>(brokers);
        DefaultMQProducer producer = new DefaultMQProducer(prefix + "-producers");
        producer.setNamesrvAddr(namesrv);
        producer.start();
        // A new topic is made where this one is, by the first message there.
        Clients.await("topics can be made at " + expected, () -> brokers(producer, "TBW102").equals(expected));
        Clients.await("the topic is at " + expected, () -> {
            try {
                producer.send(new Message(topic, "first".getBytes(StandardCharsets.UTF_8)));
            } catch (Exception error) {
                throw new AssertionError(error);
            }
            return brokers(producer, topic).equals(expected);
        });
        // From here on, with a route that has them all.
        DefaultMQProducer sender = new DefaultMQProducer(prefix + "-senders");
        sender.setNamesrvAddr(namesrv);
        sender.setInstanceName("sender");
        sender.start();
        Map<String, String> sent = new ConcurrentHashMap<>();
        for (int i = 0; i < MESSAGES; i++) {
            SendResult result = sender.send(new Message(topic, ("fleet-" + i).getBytes(StandardCharsets.UTF_8)));
            sent.put("fleet-" + i, result.getMessageQueue().getBrokerName());
        }
        Clients.check(new TreeSet<>(sent.values()).equals(expected), "sent to " + new TreeSet<>(sent.values()));
        Map<String, String> seen = new ConcurrentHashMap<>();
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(prefix + "-consumers");
        consumer.setNamesrvAddr(namesrv);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            for (MessageExt message : messages) {
                seen.put(Clients.text(message), message.getBrokerName());
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        Clients.await("all from everywhere", () -> seen.keySet().containsAll(sent.keySet()));
        sent.forEach((body, broker) ->
            Clients.check(seen.get(body).equals(broker), body + " of " + broker + " came from " + seen.get(body)));
        consumer.shutdown();
        sender.shutdown();
        producer.shutdown();
    }

    private static Set<String> brokers(DefaultMQProducer producer, String topic) {
        Set<String> found = new TreeSet<>();
        try {
            producer.fetchPublishMessageQueues(topic).forEach(queue -> found.add(queue.getBrokerName()));
        } catch (Exception nowhere) {
            System.err.println(topic + ": " + nowhere);
        }
        return found;
    }
}
