package interop;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.body.CMResult;
import org.apache.rocketmq.remoting.protocol.subscription.SubscriptionGroupConfig;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;
import org.apache.rocketmq.tools.command.MQAdminStartup;

/** mqadmin's commands, judged by what they print: `before` the broker is killed, and `after`, when it allows changes of configs. */
public final class Mqadmin {
    static final String CLUSTER = "DefaultCluster";
    static final String BROKER = "mainstem";
    static final int SENT = 40;

    private final String namesrv;
    private final String address;
    private final String topic;
    private final String group;
    private final Queue<String> received = new ConcurrentLinkedQueue<>();

    private Mqadmin(String namesrv, String address, String prefix) {
        this.namesrv = namesrv;
        this.address = address;
        this.topic = prefix + "-orders";
        this.group = prefix + "-group";
    }

    public static void main(String[] arguments) throws Exception {
        Mqadmin mqadmin = new Mqadmin(arguments[1], arguments[2], arguments[3]);
        try {
            switch (arguments[0]) {
                case "before" -> mqadmin.before();
                case "after" -> mqadmin.after();
                default -> throw new IllegalArgumentException(arguments[0]);
            }
        } catch (Throwable failed) {
            // The clients' threads would keep it alive.
            failed.printStackTrace();
            System.exit(1);
        }
        System.exit(0);
    }

    /** What a command prints. */
    String run(String... arguments) {
        String[] all = new String[arguments.length + 2];
        System.arraycopy(arguments, 0, all, 0, arguments.length);
        all[arguments.length] = "-n";
        all[arguments.length + 1] = namesrv;
        PrintStream out = System.out;
        PrintStream err = System.err;
        ByteArrayOutputStream printed = new ByteArrayOutputStream();
        PrintStream to = new PrintStream(printed, true, StandardCharsets.UTF_8);
        System.setOut(to);
        System.setErr(to);
        try {
            MQAdminStartup.main0(all, null);
        } finally {
            System.setOut(out);
            System.setErr(err);
        }
        String text = printed.toString(StandardCharsets.UTF_8);
        out.println("$ mqadmin " + String.join(" ", arguments) + "\n" + text);
        return text;
    }

    /** Runs a command that has to print all of this, between any white space. */
    void expect(String[] command, String... parts) {
        String printed = run(command).replaceAll("\\s+", " ");
        for (String part : parts) {
            Clients.check(printed.contains(part), String.join(" ", command) + ": no " + part);
        }
    }

    static String[] command(String... words) {
        return words;
    }

    void before() throws Exception {
        topics();
        DefaultMQProducer producer = producer();
        DefaultMQPushConsumer consumer = consumer();
        SendResult last = null;
        for (int i = 0; i < SENT; i++) {
            last = producer.send(message("m" + i));
        }
        Clients.await("all is consumed", () -> received.size() == SENT);
        consumer.getDefaultMQPushConsumerImpl().persistConsumerOffset();
        figures();
        messages();
        queries(last);
        connections();
        permissions(producer);
        groups(producer);
        tools(consumer, last);
        offsets(consumer);
        leads();
        producer.shutdown();
        configsRefused();
    }

    /** What dashboards and the rarer commands ask. */
    void tools(DefaultMQPushConsumer consumer, SendResult last) throws Exception {
        DefaultMQAdminExt admin = new DefaultMQAdminExt();
        admin.setNamesrvAddr(namesrv);
        admin.setInstanceName("tools");
        admin.start();
        try {
            TopicConfig one = new TopicConfig(topic + "-one", 2, 3, 6);
            one.getAttributes().put("+message.type", "FIFO");
            admin.createAndUpdateTopicConfigList(address, List.of(one, new TopicConfig(topic + "-two")));
            TopicConfig told = admin.examineTopicConfig(address, topic + "-one");
            Clients.check(told.getWriteQueueNums() == 3 && told.getAttributes().get("message.type").equals("FIFO"), "a list of topics: " + told);
            for (String more : List.of("-one", "-two")) {
                expect(command("deleteTopic", "-c", CLUSTER, "-t", topic + more), "success");
            }
            SubscriptionGroupConfig strict = new SubscriptionGroupConfig();
            strict.setGroupName(group + "-strict");
            strict.setRetryMaxTimes(2);
            admin.createAndUpdateSubscriptionGroupConfigList(address, List.of(strict));
            Clients.check(admin.examineSubscriptionGroupConfig(address, group + "-strict").getRetryMaxTimes() == 2, "a list of groups");
            Clients.check(admin.queryConsumeTimeSpan(topic, group).stream()
                .allMatch(span -> span.getMinTimeStamp() > 0 && span.getConsumeTimeStamp() == span.getMaxTimeStamp() && span.getDelayTime() == 0),
                "times of what is consumed");
            Clients.check(admin.querySubscription(group, topic).getSubString().equals("*"), "what a group consumes");
            expect(command("producer", "-b", address), "producer group (" + group + "-producers)");
            String id = consumer.getDefaultMQPushConsumerImpl().getmQClientFactory().getClientId();
            expect(command("consumerStatus", "-g", group, "-i", id), "#Consumer Subscription#", topic);
            var direct = admin.consumeMessageDirectly(group, id, topic, last.getOffsetMsgId());
            Clients.check(direct.getConsumeResult() == CMResult.CR_SUCCESS, "consumed once more: " + direct);
            Clients.check(received.stream().filter(("m" + (SENT - 1))::equals).count() == 2, "by the consumer itself");
            expect(command("wipeWritePerm", "-b", BROKER), "wipe write perm of broker[" + BROKER + "] in name server[" + namesrv + "] OK");
            expect(command("topicRoute", "-t", topic), "\"perm\":4");
            expect(command("addWritePerm", "-b", BROKER), "add write perm of broker[" + BROKER + "] in name server[" + namesrv + "] OK");
            expect(command("topicRoute", "-t", topic), "\"perm\":6");
        } finally {
            admin.shutdown();
        }
    }

    void topics() {
        expect(command("updateTopic", "-c", CLUSTER, "-t", topic, "-r", "2", "-w", "2", "-a", "+message.type=NORMAL"),
            "create topic to " + address + " success");
        expect(command("topicList"), topic);
        expect(command("topicRoute", "-t", topic), "\"perm\":6, \"readQueueNums\":2", "\"writeQueueNums\":2", address);
        expect(command("updateTopic", "-c", CLUSTER, "-t", topic, "-r", "4", "-w", "4", "-o", "true"), "success");
        expect(command("topicRoute", "-t", topic), "\"readQueueNums\":4", "\"orderTopicConf\":\"" + BROKER + ":4\"");
        expect(command("updateTopic", "-b", address, "-t", topic, "-r", "4", "-w", "4"), "success");
        expect(command("updateTopic", "-c", CLUSTER, "-t", topic + "-no", "-a", "+queue.type=BatchCQ"),
            "attribute queue.type is not served");
        expect(command("updateTopic", "-c", CLUSTER, "-t", topic, "-p", "1"), "perm 1");
        expect(command("topicRoute", "-t", topic + "-no"), "No topic route info");
    }

    DefaultMQProducer producer() throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer(group + "-producers");
        producer.setNamesrvAddr(namesrv);
        producer.setHeartbeatBrokerInterval(500);
        producer.start();
        return producer;
    }

    DefaultMQPushConsumer consumer() throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(group);
        consumer.setNamesrvAddr(namesrv);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(message -> received.add(Clients.text(message)));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        return consumer;
    }

    Message message(String body) {
        return new Message(topic, "tag", body, body.getBytes(StandardCharsets.UTF_8));
    }

    void figures() {
        expect(command("clusterList"), CLUSTER + " " + BROKER + " 0 " + address + " Mainstem_", "true");
        // In and out, of yesterday and of today: midnight may have been just now.
        String[] more = run("clusterList", "-m").split(BROKER)[1].trim().split("\\s+");
        for (int way = 0; way < 2; way++) {
            int count = Integer.parseInt(more[way]) + Integer.parseInt(more[way + 2]);
            Clients.check(count == SENT, "counted: " + count);
        }
        expect(command("brokerStatus", "-b", address), "msgPutTotalTodayNow : " + SENT, "putTps : ", "brokerActive : true");
        String status = run("topicStatus", "-t", topic);
        int sum = 0;
        for (String line : status.split("\n")) {
            String[] words = line.trim().split("\\s+");
            if (words[0].equals(BROKER)) {
                Clients.check(words.length == 6 && words[2].equals("0"), "minimum and time: " + line);
                sum += Integer.parseInt(words[3]);
            }
        }
        Clients.check(sum == SENT, "the queues hold " + sum);
        expect(command("consumerProgress", "-g", group), topic + " " + BROKER + " 3 ", "Consume Diff Total: 0");
        expect(command("consumerProgress"), group + " 1 ", "PUSH CLUSTERING");
        String stats = run("statsAll", "-t", topic).replaceAll("\\s+", " ");
        String expected = topic + " " + group + " 0 [0-9.]+ [0-9.]+ " + SENT + " " + SENT;
        Clients.check(stats.matches(".*" + expected + ".*"), "statsAll: " + stats);
    }

    void messages() {
        expect(command("queryMsgByOffset", "-t", topic, "-b", BROKER, "-i", "0", "-o", "0"), "Queue Offset: 0", "Topic: " + topic);
        expect(command("printMsg", "-t", topic, "-d", "true"), "BODY: m0", "BODY: m" + (SENT - 1));
        expect(command("consumeMessage", "-t", topic, "-g", group + "-other", "-b", BROKER, "-i", "1", "-o", "0", "-c", "2"),
            "Consume ok", "queueOffset=0", "queueOffset=1");
        expect(command("sendMessage", "-t", topic, "-p", "by-hand", "-b", BROKER, "-i", "2"), "SEND_OK");
    }

    /** The last message by its key and its ids. */
    void queries(SendResult last) {
        String key = "m" + (SENT - 1);
        expect(command("queryMsgByKey", "-t", topic, "-k", key), last.getMsgId());
        expect(command("queryMsgByKey", "-t", topic, "-k", "nobody"), "but no message");
        expect(command("queryMsgByUniqueKey", "-t", topic, "-i", last.getMsgId()), "Keys: [" + key + "]", "Topic: " + topic);
        expect(command("queryMsgById", "-t", topic, "-i", last.getOffsetMsgId()), "Keys: [" + key + "]", "Queue Offset: " + last.getQueueOffset());
    }

    void connections() throws InterruptedException {
        expect(command("consumerConnection", "-g", group), "JAVA", topic + " *", "ConsumeType: CONSUME_PASSIVELY", "MessageModel: CLUSTERING");
        Clients.await("the producer has told of itself",
            () -> run("producerConnection", "-g", group + "-producers", "-t", topic).contains("JAVA"));
        expect(command("producerConnection", "-g", "nobody", "-t", topic), "the producer group[nobody] not exist");
        expect(command("consumerConnection", "-g", "nobody"), "No topic route info in name server for the topic: %RETRY%nobody");
    }

    /** A topic that may only be read. */
    void permissions(DefaultMQProducer producer) throws Exception {
        expect(command("updateTopic", "-c", CLUSTER, "-t", topic, "-r", "4", "-w", "3", "-p", "4"), "success");
        expect(command("topicRoute", "-t", topic), "\"perm\":4", "\"writeQueueNums\":3");
        refused(producer, new MessageQueue(topic, BROKER, 0), 16);
        expect(command("updateTopic", "-c", CLUSTER, "-t", topic, "-r", "4", "-w", "3"), "success");
        refused(producer, new MessageQueue(topic, BROKER, 4), 29);
        // Who has not heard of it yet still writes what is read.
        producer.send(message("again"), new MessageQueue(topic, BROKER, 3));
        expect(command("updateTopic", "-c", CLUSTER, "-t", topic, "-r", "4", "-w", "4"), "success");
    }

    void refused(DefaultMQProducer producer, MessageQueue queue, int code) throws Exception {
        try {
            producer.send(message("refused"), queue);
        } catch (MQBrokerException e) {
            Clients.check(e.getResponseCode() == code, "refused with " + e.getResponseCode());
            return;
        }
        throw new AssertionError("not refused: " + queue);
    }

    /** A group that may not consume. */
    void groups(DefaultMQProducer producer) throws Exception {
        expect(command("updateSubGroup", "-c", CLUSTER, "-g", group, "-s", "false", "-r", "7"), "success");
        expect(command("getConsumerConfig", "-g", group), "consumeEnable = false", "retryMaxTimes = 7");
        Clients.await("what was sent by hand has come", () -> received.contains("by-hand") && received.contains("again"));
        var pull = new org.apache.rocketmq.client.consumer.DefaultMQPullConsumer(group);
        pull.setNamesrvAddr(namesrv);
        pull.setInstanceName("pull");
        pull.start();
        try {
            pull.pull(new MessageQueue(topic, BROKER, 0), "*", 0, 1);
            throw new AssertionError("a group that may not consume has pulled");
        } catch (MQBrokerException e) {
            Clients.check(e.getResponseCode() == 16, "refused with " + e.getResponseCode());
        }
        expect(command("updateSubGroup", "-c", CLUSTER, "-g", group, "-s", "true", "-r", "7"), "success");
        Clients.check(!pull.pull(new MessageQueue(topic, BROKER, 0), "*", 0, 1).getMsgFoundList().isEmpty(), "may pull again");
        pull.shutdown();
        expect(command("updateSubGroup", "-c", CLUSTER, "-g", "a.b"), "is invalid");
    }

    /** Offsets of a group that is online, then of one that is not. */
    void offsets(DefaultMQPushConsumer consumer) throws Exception {
        expect(command("cloneGroupOffset", "-s", group, "-d", group + "-clone", "-t", topic), "clone group offset success");
        received.clear();
        expect(command("resetOffsetByTime", "-g", group, "-t", topic, "-s", "0", "-f", "true"), BROKER + " 0 0", BROKER + " 3 0");
        Clients.await("the group has consumed everything again", () -> received.size() == SENT + 2);
        consumer.shutdown();
        expect(command("resetOffsetByTime", "-g", group, "-t", topic, "-s", "0", "-f", "true"), BROKER + " 0 0");
        expect(command("consumerProgress", "-g", group), "Consume Diff Total: " + (SENT + 2));
        expect(command("resetOffsetByTime", "-g", group, "-t", topic, "-s", "now", "-f", "true"), BROKER + " 0 10");
        expect(command("consumerProgress", "-g", group), "Consume Diff Total: 0");
        expect(command("resetOffsetByTime", "-g", group, "-t", topic, "-b", address, "-q", "1", "-s", "now", "-o", "3"),
            "reset consumer offset to 3");
        expect(command("consumerProgress", "-g", group), topic + " " + BROKER + " 1 10 3 7", "Consume Diff Total: 7");
    }

    /** A consumer that pulls by itself goes on where its group was set, whatever it was about to commit. */
    void leads() throws Exception {
        String pullers = group + "-pullers";
        DefaultLitePullConsumer consumer = new DefaultLitePullConsumer(pullers);
        consumer.setNamesrvAddr(namesrv);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(topic, "*");
        consumer.start();
        pulls(consumer, SENT + 2);
        expect(command("resetOffsetByTime", "-g", pullers, "-t", topic, "-s", "0", "-f", "true"), BROKER + " 0 0", BROKER + " 3 0");
        pulls(consumer, SENT + 2);
        consumer.shutdown();
    }

    private static void pulls(DefaultLitePullConsumer consumer, int messages) throws Exception {
        List<MessageExt> pulled = new ArrayList<>();
        Clients.await(messages + " are pulled", () -> {
            pulled.addAll(consumer.poll(100));
            return pulled.size() >= messages;
        });
        Clients.check(pulled.size() == messages, "pulled " + pulled.size() + " of " + messages);
    }

    void configsRefused() {
        expect(command("getBrokerConfig", "-b", address), "brokerName = " + BROKER, "brokerClusterName = " + CLUSTER);
        expect(command("updateBrokerConfig", "-b", address, "-k", "log.retention.ms", "-v", "3600000"),
            "CODE: 16", "rocketmq.allow_config_update");
    }

    void after() {
        expect(command("getConsumerConfig", "-g", group), "retryMaxTimes = 7");
        expect(command("topicRoute", "-t", topic), "\"readQueueNums\":4");
        expect(command("queryMsgByKey", "-t", topic, "-k", "m7"), "#Message ID");
        expect(command("updateBrokerConfig", "-b", address, "-k", "log.retention.ms", "-v", "3600000"), "success");
        expect(command("getBrokerConfig", "-b", address), "log.retention.ms = 3600000");
        expect(command("updateBrokerConfig", "-b", address, "-k", "brokerName", "-v", "other"), "CODE: 16");
        expect(command("updateBrokerConfig", "-b", address, "-k", "log.dirs", "-v", "/"), "CODE: 16");
        expect(command("deleteSubGroup", "-c", CLUSTER, "-g", group, "-r", "true"), "success");
        expect(command("consumerProgress", "-g", group, "-t", topic), "offset table is empty");
        expect(command("deleteTopic", "-c", CLUSTER, "-t", topic), "delete topic [" + topic + "] from cluster [" + CLUSTER + "] success");
        Clients.check(!run("topicList").contains(topic), "the topic is listed no more");
    }
}
