package interop;

import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** What was sent to a topic, what of it was acknowledged, and what came to whom. */
final class Ledger {
    /** One message; its body is its number and when it is due at the earliest. */
    static final class Entry {
        final int number;
        final long dueMs;
        /** Not acknowledged: nothing is promised, neither that it comes nor that it does not. */
        volatile long acknowledgedMs = Long.MAX_VALUE;
        volatile long position = -1;
        volatile boolean recalled;
        /** When it was last given back, in the group in which some are. */
        volatile long failedMs;

        Entry(int number, long dueMs) {
            this.number = number;
            this.dueMs = dueMs;
        }

        boolean acknowledged() {
            return acknowledgedMs != Long.MAX_VALUE;
        }

        void promiseNothing() {
            acknowledgedMs = Long.MAX_VALUE;
        }
    }

    final String topic;
    private final AtomicInteger numbers = new AtomicInteger();
    private final Map<Integer, Entry> entries = new ConcurrentHashMap<>();
    /** The message at each position, as the first reader saw it. */
    private final Map<Long, Integer> shown = new ConcurrentHashMap<>();
    /** The highest acknowledged offset of each queue. */
    private final Map<Integer, Long> highest = new ConcurrentHashMap<>();
    final AtomicInteger acknowledged = new AtomicInteger();

    Ledger(String topic) {
        this.topic = topic;
    }

    Entry next(long dueMs) {
        Entry entry = new Entry(numbers.getAndIncrement(), dueMs);
        entries.put(entry.number, entry);
        return entry;
    }

    Message message(Entry entry) {
        return new Message(topic, (entry.number + " " + entry.dueMs).getBytes(StandardCharsets.UTF_8));
    }

    void acknowledge(Entry entry, SendResult sent) {
        entry.acknowledgedMs = System.currentTimeMillis();
        int queue = sent.getMessageQueue().getQueueId();
        // A delayed message has its place in its topic once it is due.
        if (entry.dueMs == 0) {
            entry.position = position(queue, sent.getQueueOffset());
            highest.merge(queue, sent.getQueueOffset(), Math::max);
        }
        acknowledged.incrementAndGet();
    }

    static long position(int queue, long offset) {
        return (long) queue << 48 | offset;
    }

    Map<Integer, Long> highest() {
        return Map.copyOf(highest);
    }

    /** The entry of a message that came. Where a message is does not change. */
    Entry of(MessageExt message) {
        String[] words = Clients.text(message).split(" ");
        Entry entry = entries.get(Integer.parseInt(words[0]));
        Kill9.check(entry != null && Long.parseLong(words[1]) == entry.dueMs, "nobody sent " + message);
        return entry;
    }

    Entry of(MessageExt message, boolean inItsTopic) {
        Entry entry = of(message);
        if (inItsTopic) {
            long position = position(message.getQueueId(), message.getQueueOffset());
            Integer before = shown.putIfAbsent(position, entry.number);
            Kill9.check(before == null || before == entry.number, before + " was shown where now is " + message);
        }
        return entry;
    }

    Stream<Entry> promised() {
        return entries.values().stream().filter(Entry::acknowledged);
    }

    /** Promised messages that did not come to a reader; the first few of them. */
    List<Integer> missing(Set<Integer> came) {
        return promised().filter(entry -> !entry.recalled && !came.contains(entry.number)).map(entry -> entry.number)
            .limit(10).toList();
    }

    /** Each acknowledged message is where the answer said. */
    void checkPositions() {
        promised().filter(entry -> entry.position >= 0).forEach(entry -> {
            Integer there = shown.get(entry.position);
            Kill9.check(there != null && there == entry.number,
                entry.number + " was acknowledged at queue " + (entry.position >> 48) + ", offset "
                    + (entry.position & (1L << 48) - 1) + ", where " + there + " is");
        });
    }
}
