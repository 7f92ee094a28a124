package interop;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** The other ways to consume: everybody everything, pulling by hand, and a group that changes under load. */
final class Modes {
    private final Clients clients;

    Modes(Clients clients) {
        this.clients = clients;
    }

    void run() throws Exception {
        broadcast();
        pull();
        assigned();
        changing();
    }

    /** Each of two members is given all. */
    private void broadcast() throws Exception {
        List<DefaultMQPushConsumer> members = new ArrayList<>();
        List<Queue<String>> seen = List.of(new ConcurrentLinkedQueue<>(), new ConcurrentLinkedQueue<>());
        for (int i = 0; i < seen.size(); i++) {
            DefaultMQPushConsumer member = clients.consumer("everybody", "member-" + i, clients.topic(), "*");
            // Its class has another package in 4.9 than in 5.
            var clustering = member.getMessageModel();
            member.setMessageModel(clustering.valueOf("BROADCASTING"));
            Queue<String> into = seen.get(i);
            member.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
                messages.forEach(message -> into.add(Clients.text(message)));
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            });
            member.start();
            members.add(member);
        }
        Clients.await("everybody has all", () -> seen.stream().allMatch(bodies -> Clients.count(bodies) >= Clients.ALL));
        members.forEach(DefaultMQPushConsumer::shutdown);
    }

    /** Queue by queue, with offsets kept at the broker. */
    private void pull() throws Exception {
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer(clients.prefix() + "-puller");
        consumer.setNamesrvAddr(clients.namesrv());
        consumer.start();
        List<String> found = new ArrayList<>();
        for (MessageQueue queue : consumer.fetchSubscribeMessageQueues(clients.topic())) {
            long end = consumer.maxOffset(queue);
            long next = consumer.minOffset(queue);
            long earliest = consumer.earliestMsgStoreTime(queue);
            while (next < end) {
                PullResult pulled = consumer.pull(queue, "*", next, 32);
                Clients.check(pulled.getPullStatus() == PullStatus.FOUND, "pulled: " + pulled);
                Clients.check(pulled.getMaxOffset() >= end && pulled.getMinOffset() == 0, "ends: " + pulled);
                for (MessageExt message : pulled.getMsgFoundList()) {
                    boolean isFirst = message.getQueueOffset() == 0;
                    Clients.check(!isFirst || message.getStoreTimestamp() == earliest, "the earliest: " + earliest + " " + message);
                    Clients.check(message.getQueueOffset() == next++, "offsets go on: " + message);
                    found.add(Clients.text(message));
                }
                Clients.check(next == pulled.getNextBeginOffset(), "goes on at: " + pulled);
            }
            PullResult nothing = consumer.pull(queue, "*", end, 32);
            Clients.check(nothing.getPullStatus() == PullStatus.NO_NEW_MSG, "past the end: " + nothing);
            PullResult moved = consumer.pull(queue, "*", end + 100, 32);
            Clients.check(moved.getPullStatus() == PullStatus.OFFSET_ILLEGAL, "far past the end: " + moved);
            consumer.updateConsumeOffset(queue, next);
            consumer.getOffsetStore().persist(queue);
            Clients.await("the offset is kept", () -> {
                try {
                    return consumer.fetchConsumeOffset(queue, true) == end;
                } catch (Exception error) {
                    throw new AssertionError(error);
                }
            });
        }
        Clients.check(found.stream().filter(body -> !body.startsWith("shared-")).count() == Clients.ALL, "pulled all");
        consumer.shutdown();
    }

    /** One queue, wherever its reader says. */
    private void assigned() throws Exception {
        String topic = clients.prefix() + "-assigned";
        DefaultMQProducer producer = clients.producer();
        producer.setDefaultTopicQueueNums(1);
        for (int i = 0; i < 10; i++) {
            producer.send(new Message(topic, new byte[] {(byte) i}));
        }
        DefaultLitePullConsumer consumer = new DefaultLitePullConsumer(topic);
        consumer.setNamesrvAddr(clients.namesrv());
        consumer.setAutoCommit(false);
        consumer.start();
        MessageQueue queue = consumer.fetchMessageQueues(topic).iterator().next();
        consumer.assign(List.of(queue));
        Clients.check(through(consumer, 9).getQueueOffset() == 0, "from the first, as nothing was committed");
        MessageExt third = sought(consumer, queue, 3);
        long at = consumer.offsetForTimestamp(queue, third.getStoreTimestamp());
        Clients.check(at <= 3 && sought(consumer, queue, at).getStoreTimestamp() == third.getStoreTimestamp(), "by time: " + at);
        Clients.check(at == 0 || sought(consumer, queue, at - 1).getStoreTimestamp() < third.getStoreTimestamp(), "the first: " + at);
        Clients.check(sought(consumer, () -> consumer.seekToBegin(queue)).getQueueOffset() == 0, "from the beginning");
        consumer.seekToEnd(queue);
        Clients.check(consumer.poll(100).isEmpty(), "nothing is behind the end");
        producer.send(new Message(topic, new byte[] {10}));
        Clients.check(through(consumer, 10).getQueueOffset() == 10, "from the end");
        producer.shutdown();
        consumer.shutdown();
    }

    /** The message at an offset, and all behind it is read too. */
    private static MessageExt sought(DefaultLitePullConsumer consumer, MessageQueue queue, long offset) throws Exception {
        MessageExt message = sought(consumer, () -> consumer.seek(queue, offset));
        Clients.check(message.getQueueOffset() == offset, "sought " + offset + ": " + message);
        return message;
    }

    /**
     * The first message behind a seek, which is said again while nothing comes: the pull a seek interrupts closes its
     * connection (NettyRemotingClient.invokeSync), and where the pull that follows is on it already, the client goes on
     * where it was (DefaultLitePullConsumerImpl forgets a seek when the pull behind it begins).
     */
    private static MessageExt sought(DefaultLitePullConsumer consumer, Seek seek) throws Exception {
        for (int attempt = 0; attempt < 10; attempt++) {
            seek.run();
            List<MessageExt> polled = polled(consumer, 9, TimeUnit.SECONDS.toNanos(6));
            if (!polled.isEmpty()) {
                return polled.get(0);
            }
        }
        throw new AssertionError("sought in vain");
    }

    private interface Seek {
        void run() throws Exception;
    }

    /**
     * The first message that comes, once the last one came too. The client gives what a pull from before a seek brings
     * to who polls after it, so that a seek is exact only where nothing is on its way.
     */
    private static MessageExt through(DefaultLitePullConsumer consumer, long last) {
        List<MessageExt> polled = polled(consumer, last, TimeUnit.SECONDS.toNanos(60));
        Clients.check(!polled.isEmpty(), "in vain: message " + last);
        return polled.get(0);
    }

    /** What comes up to a message; nothing if it does not come in time. */
    private static List<MessageExt> polled(DefaultLitePullConsumer consumer, long last, long patience) {
        List<MessageExt> polled = new ArrayList<>();
        long end = System.nanoTime() + patience;
        while (System.nanoTime() < end) {
            polled.addAll(consumer.poll(100));
            if (!polled.isEmpty() && polled.get(polled.size() - 1).getQueueOffset() == last) {
                return polled;
            }
        }
        return List.of();
    }

    /** Members come and go while somebody sends: nothing is passed over. */
    private void changing() throws Exception {
        String topic = clients.prefix() + "-changing";
        Set<String> sent = ConcurrentHashMap.newKeySet();
        Set<String> seen = ConcurrentHashMap.newKeySet();
        DefaultMQProducer producer = clients.producer();
        AtomicReference<Throwable> failed = new AtomicReference<>();
        // A client that is interrupted while it sends may send again and forget the interruption.
        AtomicBoolean enough = new AtomicBoolean();
        Thread load = new Thread(() -> {
            for (int i = 0; !enough.get(); i++) {
                try {
                    String body = "changing-" + i;
                    producer.send(new Message(topic, body.getBytes(StandardCharsets.UTF_8)));
                    sent.add(body);
                } catch (Exception error) {
                    failed.set(error);
                    return;
                }
            }
        });
        load.start();
        List<DefaultMQPushConsumer> members = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            members.add(member(topic, "member-" + i, seen));
            sharedBy(topic, members);
        }
        while (members.size() > 1) {
            members.remove(0).shutdown();
            sharedBy(topic, members);
        }
        enough.set(true);
        load.join();
        Clients.check(failed.get() == null, "the load failed: " + failed.get());
        Clients.await("nothing is passed over", () -> seen.containsAll(sent));
        members.forEach(DefaultMQPushConsumer::shutdown);
        producer.shutdown();
    }

    private DefaultMQPushConsumer member(String topic, String name, Set<String> into) throws Exception {
        DefaultMQPushConsumer member = clients.consumer("changing", name, topic, "*");
        member.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(message -> into.add(Clients.text(message)));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        member.start();
        return member;
    }

    /** Waits until the members have four queues between them, each some, and none twice. */
    private static void sharedBy(String topic, List<DefaultMQPushConsumer> members) throws InterruptedException {
        Clients.await(members.size() + " share the queues", () -> {
            Set<MessageQueue> held = new HashSet<>();
            int count = 0;
            for (DefaultMQPushConsumer member : members) {
                Set<MessageQueue> its = Clients.held(member, topic);
                if (its.isEmpty()) {
                    return false;
                }
                held.addAll(its);
                count += its.size();
            }
            return held.size() == 4 && count == 4;
        });
    }
}
