package interop;

import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyContext;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.admin.OffsetWrapper;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/**
 * The groups of {@link Kill9}, and who watches their offsets.
 *
 * `single` has one member, so its offsets only rise; `shared` has two, and messages that fail; `orderly` passes none over;
 * `again` reads all once more when the last kill is over; `timed` has the delayed messages.
 */
final class Kill9Groups {
    static final List<String> OF_PLAIN = List.of("single", "shared", "orderly", "again");
    /** One in so many fails once, another one always. */
    private static final int FAILING = 20;
    private static final int HOPELESS = 100;
    private static final int RETRY_MS = 1_000;

    private final String namesrv;
    private final String prefix;
    private final Ledger plain;
    private final Ledger delayed;
    private final Map<String, Set<Integer>> came = new ConcurrentHashMap<>();
    private final Map<Integer, Long> ordered = new ConcurrentHashMap<>();
    private final Set<Integer> suspended = ConcurrentHashMap.newKeySet();
    private final AtomicInteger retried = new AtomicInteger();
    private final AtomicInteger dead = new AtomicInteger();
    private final ConcurrentLinkedQueue<Long> lateness = new ConcurrentLinkedQueue<>();
    private final DefaultMQAdminExt admin;
    private final Map<Integer, Long> committed = new ConcurrentHashMap<>();
    private final AtomicInteger samples = new AtomicInteger();
    private final AtomicInteger rises = new AtomicInteger();
    private volatile boolean atEnd;

    Kill9Groups(String namesrv, String prefix, Ledger plain, Ledger delayed) throws Exception {
        this.namesrv = namesrv;
        this.prefix = prefix;
        this.plain = plain;
        this.delayed = delayed;
        admin = new DefaultMQAdminExt(1_000);
        admin.setNamesrvAddr(namesrv);
        admin.setInstanceName("watch");
        admin.start();
        start("single");
        DefaultMQPushConsumer timed = consumer("timed", "one", delayed.topic);
        timed.registerMessageListener((MessageListenerConcurrently) (messages, context) -> due(messages));
        timed.start();
        for (String name : List.of("one", "two")) {
            DefaultMQPushConsumer member = consumer("shared", name, plain.topic);
            member.setMaxReconsumeTimes(1);
            member.registerMessageListener((MessageListenerConcurrently) this::sometimesFails);
            member.start();
        }
        DefaultMQPushConsumer undertaker = consumer("undertaker", "one", "%DLQ%" + prefix + "-shared");
        undertaker.registerMessageListener((MessageListenerConcurrently) (messages, context) -> bury(messages));
        undertaker.start();
        DefaultMQPushConsumer orderly = consumer("orderly", "one", plain.topic);
        orderly.setSuspendCurrentQueueTimeMillis(20);
        orderly.registerMessageListener((MessageListenerOrderly) (messages, context) -> inOrder(messages));
        orderly.start();
        Thread watch = new Thread(this::watch);
        watch.setDaemon(true);
        watch.start();
    }

    /** Consumers that are soon back after a kill: the rounds are short. */
    private DefaultMQPushConsumer consumer(String group, String name, String topic) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(prefix + "-" + group);
        consumer.setNamesrvAddr(namesrv);
        consumer.setInstanceName(group + "-" + name);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setPollNameServerInterval(1_000);
        consumer.setHeartbeatBrokerInterval(200);
        consumer.setPersistConsumerOffsetInterval(100);
        consumer.setPullTimeDelayMillsWhenException(50);
        consumer.setConsumeThreadMin(4);
        consumer.setConsumeThreadMax(4);
        consumer.subscribe(topic, "*");
        return consumer;
    }

    Set<Integer> came(String group) {
        return came.computeIfAbsent(group, any -> ConcurrentHashMap.newKeySet());
    }

    /** A group of one that is content with everything. */
    void start(String group) throws Exception {
        DefaultMQPushConsumer consumer = consumer(group, "one", plain.topic);
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(message -> came(group).add(plain.of(message, true).number));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
    }

    private ConsumeConcurrentlyStatus due(List<MessageExt> messages) {
        long now = System.currentTimeMillis();
        for (MessageExt message : messages) {
            Ledger.Entry entry = delayed.of(message, true);
            long late = Math.min(now, message.getStoreTimestamp()) - entry.dueMs;
            Kill9.check(late >= 0, "early by " + -late + " ms: " + message);
            Kill9.check(!entry.recalled, "recalled, and came: " + message);
            lateness.add(late);
            came("timed").add(entry.number);
        }
        return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
    }

    /** One at a time, as consumers have it if not told otherwise. */
    private ConsumeConcurrentlyStatus sometimesFails(List<MessageExt> messages, ConsumeConcurrentlyContext context) {
        MessageExt message = messages.get(0);
        Ledger.Entry entry = plain.of(message);
        if (message.getReconsumeTimes() > 0) {
            retried.incrementAndGet();
            // A consumer that cannot give one back tries it again by itself, as it was stored the first time.
            long again = message.getStoreTimestamp();
            long waited = (again > entry.failedMs ? again : System.currentTimeMillis()) - entry.failedMs;
            Kill9.check(entry.failedMs > 0 && waited >= RETRY_MS, "tried again after " + waited + " ms: " + message);
        }
        boolean hopeless = entry.number % HOPELESS == 13;
        if (hopeless || entry.number % FAILING == 7 && message.getReconsumeTimes() == 0) {
            // It may have been given back before: the first time is what its first retry waited from.
            if (entry.failedMs == 0) {
                entry.failedMs = System.currentTimeMillis();
            }
            context.setDelayLevelWhenNextConsume(1);
            return ConsumeConcurrentlyStatus.RECONSUME_LATER;
        }
        came("shared").add(entry.number);
        return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
    }

    private ConsumeConcurrentlyStatus bury(List<MessageExt> messages) {
        for (MessageExt message : messages) {
            Ledger.Entry entry = plain.of(message);
            Kill9.check(entry.number % HOPELESS == 13 && message.getReconsumeTimes() > 1, "not to be dead: " + message);
            dead.incrementAndGet();
            came("shared").add(entry.number);
        }
        return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
    }

    /** Messages may come again, but none is passed over, and none comes before one that failed. */
    private ConsumeOrderlyStatus inOrder(List<MessageExt> messages) {
        for (MessageExt message : messages) {
            Ledger.Entry entry = plain.of(message, true);
            long next = ordered.getOrDefault(message.getQueueId(), 0L);
            Kill9.check(message.getQueueOffset() <= next, "in order: offset " + next + " was passed over before " + message);
            if (entry.number % FAILING == 3 && suspended.add(entry.number)) {
                return ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT;
            }
            ordered.put(message.getQueueId(), Math.max(next, message.getQueueOffset() + 1));
            came("orderly").add(entry.number);
        }
        return ConsumeOrderlyStatus.SUCCESS;
    }

    private void watch() {
        while (true) {
            Map<Integer, Long> highest = plain.highest();
            try {
                Map<MessageQueue, OffsetWrapper> table = admin.examineConsumeStats(prefix + "-single", plain.topic).getOffsetTable();
                table.forEach((queue, offsets) -> judge(queue, offsets, highest.getOrDefault(queue.getQueueId(), -1L)));
                atEnd = table.values().stream().allMatch(offsets -> offsets.getConsumerOffset() == offsets.getBrokerOffset());
                samples.incrementAndGet();
            } catch (Exception killed) {
                // Asked again at once.
            }
            try {
                Thread.sleep(20);
            } catch (InterruptedException never) {
                return;
            }
        }
    }

    private void judge(MessageQueue queue, OffsetWrapper offsets, long acknowledged) {
        if (!queue.getTopic().equals(plain.topic)) {
            return;
        }
        long end = offsets.getBrokerOffset();
        Kill9.check(end > acknowledged, queue + " ends at " + end + ", and " + acknowledged + " was acknowledged");
        Long before = committed.put(queue.getQueueId(), offsets.getConsumerOffset());
        if (before != null) {
            Kill9.check(offsets.getConsumerOffset() >= before,
                queue + ": the group's offset went back from " + before + " to " + offsets.getConsumerOffset());
            rises.addAndGet(offsets.getConsumerOffset() > before ? 1 : 0);
        }
    }

    /** Whether everything has happened once. */
    boolean run() {
        return samples.get() > 0 && rises.get() > 0 && retried.get() > 0 && dead.get() > 0 && !came("timed").isEmpty()
            && !came("orderly").isEmpty();
    }

    boolean committedAll() {
        return atEnd;
    }

    String figures() {
        long[] late = lateness.stream().mapToLong(Long::longValue).sorted().toArray();
        return String.format("%d retries, %d dead letters, %d suspended in order; offsets asked for %d times, risen %d times; "
            + "delayed ones late by %d ms in the middle, %d ms (99 %%), %d ms at most (the broker was gone meanwhile)",
            retried.get(), dead.get(), suspended.size(), samples.get(), rises.get(), late[late.length / 2],
            late[late.length * 99 / 100], late[late.length - 1]);
    }

    void checkFigures(int kills) {
        Kill9.check(retried.get() >= kills && dead.get() > kills / 5, "rejected: hardly a retry met a kill");
        // A client that waits for a broker that is gone commits nothing meanwhile: it does not in every round.
        Kill9.check(samples.get() >= kills && rises.get() >= kills / 5, "rejected: the offsets were hardly watched");
    }
}
