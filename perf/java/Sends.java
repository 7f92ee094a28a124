import java.util.ArrayList;
import java.util.LinkedList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.LongAdder;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.remoting.protocol.body.ClusterInfo;
import org.apache.rocketmq.remoting.protocol.route.BrokerData;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/**
 * Synchronous sends from several threads, round robin over several topics of four queues, which it
 * creates. Prints the lines of RocketMQ's own benchmark.Producer, which knows one topic only, and
 * in each of them all messages acknowledged. When its input ends, it waits for the last answers,
 * prints one more line and ends.
 */
public class Sends {
    static final int CREATED_AT_ONCE = 500;
    static final long SETUP_LIMIT_MS = 300_000;
    static final LongAdder sent = new LongAdder(), failed = new LongAdder(), millis = new LongAdder();
    static final AtomicLong longest = new AtomicLong();
    static final LinkedList<long[]> snapshots = new LinkedList<>();
    static volatile boolean running = true;

    /** Name server, name's prefix, number of topics, threads, bytes of a message. */
    public static void main(String[] args) {
        try {
            run(args);
        } catch (Exception error) {
            // The client's threads would keep the program alive.
            error.printStackTrace();
            System.exit(1);
        }
    }

    static void run(String[] args) throws Exception {
        int topics = Integer.parseInt(args[2]), threads = Integer.parseInt(args[3]);
        byte[] body = new byte[Integer.parseInt(args[4])];
        List<String> names = new ArrayList<>();
        for (int i = 0; i < topics; i++) {
            names.add(String.format("%s_%05d", args[1], i));
        }
        long begun = System.currentTimeMillis();
        create(args[0], names, begun);

        DefaultMQProducer producer = new DefaultMQProducer("perf_sends");
        producer.setNamesrvAddr(args[0]);
        // A client asks for each topic's route again and again: its own work and the name server's,
        // which one system does in its broker's process and the other beside it.
        producer.setPollNameServerInterval(3_600_000);
        producer.setCompressMsgBodyOverHowmuch(Integer.MAX_VALUE);
        producer.start();
        // Every topic's first message comes before what is measured.
        AtomicInteger first = new AtomicInteger();
        CountDownLatch met = new CountDownLatch(threads);
        List<Thread> senders = new ArrayList<>();
        for (int i = 0; i < threads; i++) {
            int start = i * (topics / threads);
            Thread sender = new Thread(() -> {
                for (int t; (t = first.getAndIncrement()) < topics;) {
                    send(producer, new Message(names.get(t), body));
                }
                met.countDown();
                for (int t = start; running; t++) {
                    send(producer, new Message(names.get(t % topics), body));
                }
            });
            sender.start();
            senders.add(sender);
        }
        met.await();
        System.out.printf("%d topics ready after %d ms%n", topics, System.currentTimeMillis() - begun);
        ScheduledExecutorService reports = Executors.newSingleThreadScheduledExecutor();
        reports.scheduleAtFixedRate(Sends::report, 1000, 1000, TimeUnit.MILLISECONDS);
        while (System.in.read() >= 0) {
        }
        running = false;
        reports.shutdown();
        reports.awaitTermination(1, TimeUnit.MINUTES);
        for (Thread sender : senders) {
            sender.join();
        }
        snapshot();
        print();
        System.exit(0);
    }

    /** The broker's address, once it has told its name server that it is there. */
    static String broker(DefaultMQAdminExt admin, long begun) throws Exception {
        while (true) {
            ClusterInfo cluster = admin.examineBrokerClusterInfo();
            for (BrokerData broker : cluster.getBrokerAddrTable().values()) {
                return broker.selectBrokerAddr();
            }
            if (System.currentTimeMillis() - begun > SETUP_LIMIT_MS) {
                throw new IllegalStateException("the name server knows no broker");
            }
            Thread.sleep(50);
        }
    }

    static void create(String nameServer, List<String> names, long begun) throws Exception {
        DefaultMQAdminExt admin = new DefaultMQAdminExt();
        admin.setNamesrvAddr(nameServer);
        admin.start();
        String broker = broker(admin, begun);
        for (int made = 0; made < names.size();) {
            List<TopicConfig> chunk = new ArrayList<>();
            for (String name : names.subList(made, Math.min(names.size(), made + CREATED_AT_ONCE))) {
                chunk.add(new TopicConfig(name, 4, 4, 6));
            }
            try {
                admin.createAndUpdateTopicConfigList(broker, chunk);
            } catch (MQClientException unknown) {
                for (TopicConfig topic : chunk) {
                    admin.createAndUpdateTopicConfig(broker, topic);
                }
            }
            made += chunk.size();
            if (System.currentTimeMillis() - begun > SETUP_LIMIT_MS) {
                System.out.printf("setup took over 5 minutes: %d of %d topics are created%n", made, names.size());
                System.exit(1);
            }
        }
        admin.shutdown();
    }

    static void send(DefaultMQProducer producer, Message message) {
        long begun = System.currentTimeMillis();
        try {
            if (producer.send(message).getSendStatus() != SendStatus.SEND_OK) {
                throw new IllegalStateException("not stored");
            }
            sent.increment();
            long took = System.currentTimeMillis() - begun;
            millis.add(took);
            longest.accumulateAndGet(took, Math::max);
        } catch (Exception error) {
            if (failed.intValue() < 10) {
                error.printStackTrace();
            }
            failed.increment();
        }
    }

    static void report() {
        snapshot();
        if (snapshots.size() >= 10) {
            print();
            snapshots.removeFirst();
        }
    }

    static void snapshot() {
        snapshots.addLast(new long[] {System.currentTimeMillis(), sent.sum(), millis.sum()});
    }

    /** What came between the first snapshot kept and the last. */
    static void print() {
        long[] end = snapshots.getLast(), begin = snapshots.getFirst();
        long messages = end[1] - begin[1], took = Math.max(1, end[0] - begin[0]);
        System.out.printf(
            "Current Time: %d | Send TPS: %d | Max RT(ms): %d | Average RT(ms): %.3f | Send Failed: %d | Response Failed: 0 | Send Total: %d%n",
            end[0], messages * 1000 / took, longest.get(), (end[2] - begin[2]) / (double) messages, failed.sum(), end[1]);
    }
}
