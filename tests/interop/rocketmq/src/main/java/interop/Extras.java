package interop;

import java.nio.charset.StandardCharsets;
import java.util.Queue;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueAveragely;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.RequestCallback;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.MQVersion;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.RPCHook;

/** Requests that are replied to, transactions, traces, namespaces, and the largest messages. */
final class Extras {
    private static final String TRACES = "RMQ_SYS_TRACE_TOPIC";

    /** 5.3.3, whose requests end once they are sent, without an answer. */
    private static final int STOPS_WAITING = 479;

    private final Clients clients;

    Extras(Clients clients) {
        this.clients = clients;
    }

    void run() throws Exception {
        DefaultMQProducer producer = clients.producer();
        large(producer);
        if (MQVersion.CURRENT_VERSION != STOPS_WAITING) {
            request(producer);
        }
        producer.shutdown();
        transaction();
        traced();
        namespace();
    }

    /** Nearly as large as clients let through: they deflate, which makes noise larger. And properties beyond what a record can hold. */
    private void large(DefaultMQProducer producer) throws Exception {
        byte[] body = new byte[(4 << 20) - (64 << 10)];
        new Random(1).nextBytes(body);
        String topic = clients.prefix() + "-large";
        SendStatus status = producer.send(new Message(topic, body), 20_000).getSendStatus();
        Clients.check(status == SendStatus.SEND_OK, "a large message: " + status);
        Message wordy = new Message(topic, "body".getBytes(StandardCharsets.UTF_8));
        wordy.putUserProperty("long", "x".repeat(40_000));
        try {
            producer.send(wordy);
            throw new AssertionError("too many properties were taken");
        } catch (MQBrokerException expected) {
            Clients.check(expected.getResponseCode() == 13, "refused: " + expected);
        }
    }

    /** Somebody asks, somebody else answers. */
    private void request(DefaultMQProducer producer) throws Exception {
        String topic = clients.prefix() + "-ask";
        producer.send(new Message(topic, "there is such a topic".getBytes(StandardCharsets.UTF_8)));
        // One that does not know the topic introduces itself to the brokers that have it; any other would be
        // known to them, and could be answered, after up to 30 s.
        DefaultMQProducer asking = clients.producer("asking");
        DefaultMQProducer replying = clients.producer("replying");
        DefaultMQPushConsumer answering = clients.consumer("answering", "answering", topic, "*");
        answering.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            for (MessageExt message : messages) {
                try {
                    if (message.getProperty("REPLY_TO_CLIENT") != null) {
                        byte[] answer = ("re: " + Clients.text(message)).getBytes(StandardCharsets.UTF_8);
                        replying.send(MessageUtil.createReplyMessage(message, answer), 3_000);
                    }
                } catch (InterruptedException end) {
                    // Whoever asked had the answer before this one heard so.
                } catch (Exception error) {
                    error.printStackTrace();
                    return ConsumeConcurrentlyStatus.RECONSUME_LATER;
                }
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        answering.start();
        Clients.await("somebody may answer", () -> Clients.held(answering, topic).size() == 4);
        for (int i = 0; i < 10; i++) {
            Message question = new Message(topic, ("question " + i).getBytes(StandardCharsets.UTF_8));
            CompletableFuture<Message> answered = new CompletableFuture<>();
            if (i % 2 == 0) {
                answered.complete(asking.request(question, 30_000));
            } else {
                // Without a selector the client calls back once the question is sent, answered or not.
                asking.request(question, (queues, message, chosen) -> queues.get((int) chosen), 0, new RequestCallback() {
                    @Override
                    public void onSuccess(Message answer) {
                        answered.complete(answer);
                    }

                    @Override
                    public void onException(Throwable failure) {
                        answered.completeExceptionally(failure);
                    }
                }, 30_000);
            }
            String text = new String(answered.get(60, TimeUnit.SECONDS).getBody(), StandardCharsets.UTF_8);
            Clients.check(text.equals("re: question " + i), "answered: " + text);
        }
        answering.shutdown();
        replying.shutdown();
        asking.shutdown();
    }

    /** Half messages are refused, and nobody gets them as whole ones. */
    private void transaction() throws Exception {
        TransactionMQProducer producer = new TransactionMQProducer(clients.prefix() + "-transactions");
        producer.setNamesrvAddr(clients.namesrv());
        producer.setTransactionListener(new TransactionListener() {
            @Override
            public LocalTransactionState executeLocalTransaction(Message message, Object argument) {
                throw new AssertionError("half a message was taken");
            }

            @Override
            public LocalTransactionState checkLocalTransaction(MessageExt message) {
                throw new AssertionError("asked for half a message");
            }
        });
        producer.start();
        MessageQueue queue = producer.fetchPublishMessageQueues(clients.topic()).get(0);
        try {
            producer.sendMessageInTransaction(clients.message("half"), null);
            throw new AssertionError("half a message was taken");
        } catch (MQClientException expected) {
            Throwable cause = expected;
            while (cause != null && !(cause instanceof MQBrokerException)) {
                cause = cause.getCause();
            }
            Clients.check(cause instanceof MQBrokerException refusal && refusal.getResponseCode() == 16, "refused: " + expected);
        }
        Clients.check(producer.maxOffset(queue) > 0, "the broker still answers");
        producer.shutdown();
    }

    /** The topic of traces is there once somebody traces, with one queue; both sides write to it. */
    private void traced() throws Exception {
        String topic = clients.prefix() + "-traced";
        DefaultMQProducer producer = new DefaultMQProducer(topic, (RPCHook) null, true, null);
        producer.setNamesrvAddr(clients.namesrv());
        producer.start();
        producer.send(new Message(topic, new byte[] {1}));
        DefaultMQPushConsumer consumer =
            new DefaultMQPushConsumer(topic + "-consumer", (RPCHook) null, new AllocateMessageQueueAveragely(), true, null);
        consumer.setNamesrvAddr(clients.namesrv());
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> ConsumeConcurrentlyStatus.CONSUME_SUCCESS);
        consumer.start();
        DefaultMQPullConsumer reader = new DefaultMQPullConsumer(clients.prefix() + "-tracer");
        reader.setNamesrvAddr(clients.namesrv());
        reader.start();
        StringBuilder traces = new StringBuilder();
        Clients.await("traces of both sides", () -> {
            try {
                read(reader, traces);
            } catch (Exception notYet) {
                return false;
            }
            String group = "\u0001DefaultRegion\u0001" + topic + "-consumer\u0001";
            return Stream.of("Pub\u0001", "SubBefore\u0001", "SubAfter\u0001").allMatch(kind -> traces.indexOf(kind) >= 0)
                && traces.indexOf(group) >= 0;
        });
        reader.shutdown();
        consumer.shutdown();
        producer.shutdown();
    }

    /** All that there is in the topic of traces. */
    private static void read(DefaultMQPullConsumer reader, StringBuilder into) throws Exception {
        MessageQueue[] queues = reader.fetchSubscribeMessageQueues(TRACES).toArray(new MessageQueue[0]);
        Clients.check(queues.length == 1, "one queue of traces");
        into.setLength(0);
        for (long next = 0, end = reader.maxOffset(queues[0]); next < end;) {
            PullResult pulled = reader.pull(queues[0], "*", next, 32);
            pulled.getMsgFoundList().forEach(message -> into.append(Clients.text(message)));
            next = pulled.getNextBeginOffset();
        }
    }

    /** The same names in another namespace are other topics and groups. */
    private void namespace() throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer(clients.prefix() + "-producers");
        producer.setNamesrvAddr(clients.namesrv());
        producer.setInstanceName("elsewhere");
        producer.setNamespace("elsewhere");
        producer.start();
        producer.send(clients.message("elsewhere"));
        Queue<String> seen = new ConcurrentLinkedQueue<>();
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(clients.prefix() + "-push");
        consumer.setNamesrvAddr(clients.namesrv());
        consumer.setInstanceName("elsewhere");
        consumer.setNamespace("elsewhere");
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(clients.topic(), "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            for (MessageExt message : messages) {
                seen.add(message.getTopic() + " " + Clients.text(message));
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        Clients.await("what is in the namespace", () -> !seen.isEmpty());
        String all = String.join(",", seen);
        Clients.check(all.equals(clients.topic() + " elsewhere"), "in the namespace: " + all);
        consumer.shutdown();
        producer.shutdown();
    }
}
