import java.util.Arrays;
import java.util.BitSet;
import java.util.StringJoiner;
import java.util.concurrent.Semaphore;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Messages to be delivered later: many that stay pending, or some whose lateness is measured. */
public class Timers {
    static final int RATE = 1000;
    static final int IN_FLIGHT = 256;
    static final AtomicLong failed = new AtomicLong();

    /** Name server, the topics' prefix; `pending` and a number of them, or `lateness` and seconds. */
    public static void main(String[] args) {
        try {
            run(args);
        } catch (Exception error) {
            error.printStackTrace();
        }
        // The client's threads would keep the program alive.
        System.exit(0);
    }

    static void run(String[] args) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer("perf_timers");
        producer.setNamesrvAddr(args[0]);
        producer.setSendMsgTimeout(30_000);
        producer.start();
        int number = Integer.parseInt(args[3]);
        if (args[2].equals("pending")) {
            long tomorrow = System.currentTimeMillis() + 86_400_000L;
            Semaphore free = new Semaphore(IN_FLIGHT);
            for (int i = 0; i < number; i++) {
                send(producer, args[1] + "_pending", new byte[128], tomorrow + i % 1_000_000, free);
            }
            free.acquire(IN_FLIGHT);
            System.out.printf("{\"sent\":%d,\"failed\":%d}%n", number, failed.get());
        } else {
            lateness(producer, args[0], args[1] + "_late", number * RATE);
        }
    }

    static void send(DefaultMQProducer producer, String topic, byte[] body, long at, Semaphore free) throws Exception {
        Message message = new Message(topic, body);
        message.setDeliverTimeMs(at);
        free.acquire();
        producer.send(message, new SendCallback() {
            public void onSuccess(SendResult result) {
                free.release();
            }

            public void onException(Throwable error) {
                if (failed.incrementAndGet() < 10) {
                    error.printStackTrace();
                }
                free.release();
            }
        });
    }

    static void lateness(DefaultMQProducer producer, String nameServer, String topic, int messages) throws Exception {
        // What an earlier run left there is not this one's.
        String run = Long.toString(System.nanoTime(), 36) + " ";
        // Makes the topic.
        producer.send(new Message(topic, run.getBytes()));
        long[] late = new long[messages];
        BitSet come = new BitSet(messages);
        AtomicInteger received = new AtomicInteger(), doubled = new AtomicInteger(), met = new AtomicInteger();
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(topic + "_group");
        consumer.setNamesrvAddr(nameServer);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (batch, context) -> {
            long now = System.currentTimeMillis();
            for (MessageExt message : batch) {
                // Its number and the time to be delivered are in the body: servers may move the property.
                String body = new String(message.getBody());
                if (body.equals(run)) {
                    met.incrementAndGet();
                } else if (body.startsWith(run)) {
                    String[] number = body.substring(run.length()).split(" ");
                    synchronized (come) {
                        int i = Integer.parseInt(number[0]);
                        if (come.get(i)) {
                            doubled.incrementAndGet();
                        } else {
                            come.set(i);
                            late[received.getAndIncrement()] = now - Long.parseLong(number[1]);
                        }
                    }
                }
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        long patience = System.nanoTime() + 60_000_000_000L;
        while (met.get() == 0) {
            if (System.nanoTime() > patience) {
                throw new IllegalStateException("the first message did not come within a minute");
            }
            Thread.sleep(10);
        }
        Semaphore free = new Semaphore(IN_FLIGHT);
        long begun = System.nanoTime();
        for (int i = 0; i < messages; i++) {
            long due = begun + i * (1_000_000_000L / RATE);
            for (long wait; (wait = due - System.nanoTime()) > 0;) {
                Thread.sleep(wait / 1_000_000, (int) (wait % 1_000_000));
            }
            long at = System.currentTimeMillis() + ThreadLocalRandom.current().nextInt(500, 3001);
            send(producer, topic, (run + i + " " + at).getBytes(), at, free);
        }
        free.acquire(IN_FLIGHT);
        long deadline = System.currentTimeMillis() + 20_000;
        while (received.get() + failed.get() < messages && System.currentTimeMillis() < deadline) {
            Thread.sleep(20);
        }
        consumer.shutdown();
        long[] sorted;
        synchronized (come) {
            sorted = Arrays.copyOf(late, received.get());
        }
        Arrays.sort(sorted);
        long early = Arrays.stream(sorted).filter(l -> l < 0).count();
        System.out.printf(
            "{\"sent\":%d,\"failed\":%d,\"received\":%d,\"doubled\":%d,\"early\":%d,\"p50_ms\":%d,\"p99_ms\":%d,\"max_ms\":%d,\"late_ns\":%s}%n",
            messages, failed.get(), sorted.length, doubled.get(), early, at(sorted, 0.5), at(sorted, 0.99), at(sorted, 1), counts(sorted));
    }

    /** How often each value occurs, as results keep histograms: nanoseconds and counts. What came early is not late. */
    static String counts(long[] sorted) {
        StringJoiner pairs = new StringJoiner(",", "[", "]");
        for (int from = 0, to = 0; from < sorted.length; from = to) {
            long late = Math.max(0, sorted[from]);
            while (to < sorted.length && Math.max(0, sorted[to]) == late) {
                to++;
            }
            pairs.add(String.format("[%d,%d]", late * 1_000_000, to - from));
        }
        return pairs.toString();
    }

    static long at(long[] sorted, double quantile) {
        return sorted.length == 0 ? -1 : sorted[(int) Math.min(sorted.length - 1, sorted.length * quantile)];
    }
}
