package interop;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.remoting.exception.RemotingException;

/**
 * RocketMQ's clients on a broker that is killed again and again, beside Kafka's (`go/kill9.go`, which does the killing).
 * It says `loaded` once everything runs, is told of each kill on stdin, and ends its load when stdin is closed. What is
 * promised then:
 *
 * - every acknowledged message is at its offset, and came to every group; one that failed came again, after its delay
 *   and not before, and one that always fails is among the dead letters;
 * - every acknowledged delayed message came, none early, and none that was recalled;
 * - a group's offset, once seen, was never seen lower, and a queue never ended below what was acknowledged.
 */
public final class Kill9 {
    private static final int SENDERS = 2;
    private static final long LIMIT_MS = 60_000;

    private final String namesrv;
    private final String prefix;
    private final Ledger plain;
    private final Ledger delayed;
    private final Queue<Long> kills = new ConcurrentLinkedQueue<>();
    private final Set<Integer> refusals = ConcurrentHashMap.newKeySet();
    private final AtomicInteger recalled = new AtomicInteger();
    private volatile boolean stopping;

    private Kill9(String namesrv, String prefix) {
        this.namesrv = namesrv;
        this.prefix = prefix;
        plain = new Ledger(prefix + "-plain");
        delayed = new Ledger(prefix + "-delayed");
    }

    public static void main(String[] arguments) throws Exception {
        try {
            new Kill9(arguments[0], arguments[1]).run();
        } catch (Throwable failure) {
            fail(failure.toString());
        }
        end(0);
    }

    /** The clients swallow what their listeners throw. */
    static void check(boolean holds, String what) {
        if (!holds) {
            fail(what);
        }
    }

    static void fail(String what) {
        System.out.println("FAILED: RocketMQ's clients: " + what);
        end(1);
    }

    /** Without the hooks: clients would wait for a broker that is gone. */
    private static void end(int status) {
        System.out.flush();
        Runtime.getRuntime().halt(status);
    }

    private void run() throws Exception {
        List<Thread> senders = new ArrayList<>();
        for (int i = 0; i < SENDERS; i++) {
            DefaultMQProducer producer = producer("plain-" + i);
            senders.add(new Thread(() -> sendPlain(producer)));
        }
        DefaultMQProducer later = producer("delayed");
        // Sent twice, it would come once, though recalled.
        later.setRetryTimesWhenSendFailed(0);
        senders.add(new Thread(() -> sendDelayed(later)));
        senders.forEach(Thread::start);
        await("the first acknowledgements", () -> plain.acknowledged.get() > 0 && delayed.acknowledged.get() > 0);
        Kill9Groups groups = new Kill9Groups(namesrv, prefix, plain, delayed);
        await("everything runs", groups::run);
        System.out.println("loaded");
        System.out.flush();
        rounds();
        stopping = true;
        for (Thread sender : senders) {
            sender.join();
        }
        groups.start("again");
        for (String group : Kill9Groups.OF_PLAIN) {
            complete(group, plain, groups.came(group));
        }
        complete("timed", delayed, groups.came("timed"));
        plain.checkPositions();
        await("the offsets are at the ends", groups::committedAll);
        verdict(groups);
    }

    private DefaultMQProducer producer(String name) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer(prefix + "-producers");
        producer.setNamesrvAddr(namesrv);
        producer.setInstanceName(name);
        producer.start();
        return producer;
    }

    private interface Condition {
        boolean holds() throws Exception;
    }

    private static void await(String what, Condition done) throws Exception {
        long end = System.currentTimeMillis() + LIMIT_MS;
        while (!done.holds()) {
            check(System.currentTimeMillis() < end, "in vain: " + what);
            Thread.sleep(20);
        }
    }

    private static void complete(String who, Ledger ledger, Set<Integer> came) throws Exception {
        long end = System.currentTimeMillis() + LIMIT_MS;
        for (List<Integer> missing; !(missing = ledger.missing(came)).isEmpty(); Thread.sleep(50)) {
            check(System.currentTimeMillis() < end, who + ": acknowledged, but these never came: " + missing);
        }
    }

    private void rounds() throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = in.readLine()) != null;) {
            kills.add(Long.parseLong(line));
        }
    }

    private void sendPlain(DefaultMQProducer producer) {
        while (!stopping) {
            Ledger.Entry entry = plain.next(0);
            send(producer, plain, entry, plain.message(entry));
        }
    }

    private void sendDelayed(DefaultMQProducer producer) {
        Random random = new Random();
        for (int i = 0; !stopping; i++) {
            long delay = switch (i % 6) {
                case 0 -> 1_000;
                case 1 -> 2_000;
                case 2 -> 100 + random.nextInt(400);
                case 3 -> 500 + random.nextInt(2_500);
                default -> 2_000 + random.nextInt(6_000);
            };
            long now = System.currentTimeMillis();
            Ledger.Entry entry = delayed.next(now + delay);
            Message message = delayed.message(entry);
            switch (i % 6) {
                case 0 -> message.setDelayTimeLevel(1);
                case 1 -> message.setDelayTimeSec(2);
                case 2, 3 -> message.setDelayTimeMs(delay);
                default -> message.setDeliverTimeMs(now + delay);
            }
            SendResult sent = send(producer, delayed, entry, message);
            if (sent != null && i % 24 == 5) {
                recall(producer, entry, sent);
            }
        }
    }

    /** Sends and notes an acknowledgement; failures are what kills make. */
    private SendResult send(DefaultMQProducer producer, Ledger ledger, Ledger.Entry entry, Message message) {
        try {
            Thread.sleep(1);
            SendResult sent = producer.send(message);
            check(sent.getSendStatus() == SendStatus.SEND_OK, "answered: " + sent);
            ledger.acknowledge(entry, sent);
            return sent;
        } catch (MQBrokerException refused) {
            refusals.add(refused.getResponseCode());
        } catch (MQClientException | RemotingException killed) {
            // Not acknowledged.
        } catch (InterruptedException never) {
            throw new AssertionError(never);
        }
        return null;
    }

    private void recall(DefaultMQProducer producer, Ledger.Entry entry, SendResult sent) {
        try {
            producer.recallMessage(delayed.topic, sent.getRecallHandle());
            entry.recalled = true;
            recalled.incrementAndGet();
        } catch (MQBrokerException refused) {
            check(System.currentTimeMillis() >= entry.dueMs, "not recalled: " + refused);
        } catch (Exception killed) {
            // Recalled or not, the answer is lost: it may come or not.
            entry.promiseNothing();
        }
    }

    /** What the kills met; a load that they did not meet proves nothing. */
    private void verdict(Kill9Groups groups) {
        long rounds = 0;
        long before = 0;
        for (long kill : kills) {
            long since = before;
            rounds += plain.promised().anyMatch(entry -> entry.acknowledgedMs > since && entry.acknowledgedMs < kill) ? 1 : 0;
            before = kill;
        }
        long waiting = delayed.promised().filter(entry ->
            kills.stream().anyMatch(kill -> entry.acknowledgedMs < kill && kill < entry.dueMs)).count();
        System.out.printf("RocketMQ: %d kills, %d of them after acknowledgements; %d messages acknowledged, all at their "
            + "offsets and in every group; refused with %s%n", kills.size(), rounds, plain.acknowledged.get(), refusals);
        System.out.printf("RocketMQ: %d delayed messages, all came, none early, %d waited while the broker was killed; "
            + "%d recalled%n", delayed.acknowledged.get(), waiting, recalled.get());
        System.out.println("RocketMQ: " + groups.figures());
        check(rounds * 2 >= kills.size(), "rejected: only " + rounds + " kills met its load");
        check(waiting >= kills.size() && recalled.get() > 0, "rejected: hardly a timer met a kill");
        groups.checkFigures(kills.size());
    }
}
