package interop;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.common.message.MessageVersion;
import org.apache.rocketmq.common.sysflag.MessageSysFlag;
import org.apache.rocketmq.remoting.CommandCustomHeader;
import org.apache.rocketmq.remoting.annotation.CFNotNull;
import org.apache.rocketmq.remoting.protocol.DataVersion;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.RemotingSerializable;
import org.apache.rocketmq.remoting.protocol.RequestCode;
import org.apache.rocketmq.remoting.protocol.ResponseCode;
import org.apache.rocketmq.remoting.protocol.SerializeType;
import org.apache.rocketmq.remoting.protocol.admin.ConsumeStats;
import org.apache.rocketmq.remoting.protocol.admin.OffsetWrapper;
import org.apache.rocketmq.remoting.protocol.admin.TopicOffset;
import org.apache.rocketmq.remoting.protocol.admin.TopicStatsTable;
import org.apache.rocketmq.remoting.protocol.body.ClusterInfo;
import org.apache.rocketmq.remoting.protocol.body.LockBatchRequestBody;
import org.apache.rocketmq.remoting.protocol.body.LockBatchResponseBody;
import org.apache.rocketmq.remoting.protocol.body.RegisterBrokerBody;
import org.apache.rocketmq.remoting.protocol.body.ResetOffsetBody;
import org.apache.rocketmq.remoting.protocol.body.TopicConfigAndMappingSerializeWrapper;
import org.apache.rocketmq.remoting.protocol.header.GetConsumerListByGroupResponseBody;
import org.apache.rocketmq.remoting.protocol.header.PullMessageRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.PullMessageResponseHeader;
import org.apache.rocketmq.remoting.protocol.header.SendMessageRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.SendMessageRequestHeaderV2;
import org.apache.rocketmq.remoting.protocol.header.SendMessageResponseHeader;
import org.apache.rocketmq.remoting.protocol.header.UpdateConsumerOffsetRequestHeader;
import org.apache.rocketmq.remoting.protocol.heartbeat.ConsumeType;
import org.apache.rocketmq.remoting.protocol.heartbeat.ConsumerData;
import org.apache.rocketmq.remoting.protocol.heartbeat.HeartbeatData;
import org.apache.rocketmq.remoting.protocol.heartbeat.MessageModel;
import org.apache.rocketmq.remoting.protocol.heartbeat.ProducerData;
import org.apache.rocketmq.remoting.protocol.heartbeat.SubscriptionData;
import org.apache.rocketmq.remoting.protocol.route.BrokerData;
import org.apache.rocketmq.remoting.protocol.route.QueueData;
import org.apache.rocketmq.remoting.protocol.route.TopicRouteData;
import org.apache.rocketmq.remoting.protocol.subscription.SubscriptionGroupConfig;

/** Prints what RocketMQ's own classes write, one `name hex` a line: the golden file of the broker's codec. */
public final class Frames {
    private static final long BORN_MS = 1_700_000_000_123L;
    private static final long STORED_MS = 1_700_000_000_456L;

    /** Every class of `protocol.header` that the broker has a table for. */
    private static final String[] HEADERS = """
        SendMessageRequestHeader SendMessageRequestHeaderV2 SendMessageResponseHeader ReplyMessageRequestHeader
        RecallMessageRequestHeader RecallMessageResponseHeader EndTransactionRequestHeader PullMessageRequestHeader
        PullMessageResponseHeader QueryConsumerOffsetRequestHeader UpdateConsumerOffsetRequestHeader
        QueryConsumerOffsetResponseHeader SearchOffsetResponseHeader GetMaxOffsetResponseHeader
        GetMinOffsetResponseHeader ConsumerSendMsgBackRequestHeader UnregisterClientRequestHeader
        GetConsumerListByGroupRequestHeader NotifyConsumerIdsChangedRequestHeader
        GetConsumerConnectionListRequestHeader GetConsumerRunningInfoRequestHeader
        ConsumeMessageDirectlyResultRequestHeader ResetOffsetRequestHeader GetConsumerStatusRequestHeader
        GetMinOffsetRequestHeader GetEarliestMsgStoretimeRequestHeader GetMaxOffsetRequestHeader
        SearchOffsetRequestHeader GetEarliestMsgStoretimeResponseHeader QueryMessageRequestHeader
        QueryMessageResponseHeader ViewMessageRequestHeader CreateTopicRequestHeader GetTopicStatsInfoRequestHeader
        DeleteTopicRequestHeader QueryTopicConsumeByWhoRequestHeader GetTopicConfigRequestHeader
        DeleteSubscriptionGroupRequestHeader GetProducerConnectionListRequestHeader
        QueryTopicsByConsumerRequestHeader GetSubscriptionGroupConfigRequestHeader QueryConsumeTimeSpanRequestHeader
        QuerySubscriptionByConsumerRequestHeader GetConsumeStatsRequestHeader CloneGroupOffsetRequestHeader
        ViewBrokerStatsDataRequestHeader GetBrokerConfigResponseHeader QueryConsumeQueueRequestHeader
        namesrv.GetRouteInfoRequestHeader namesrv.RegisterBrokerRequestHeader namesrv.RegisterBrokerResponseHeader
        namesrv.UnRegisterBrokerRequestHeader namesrv.QueryDataVersionRequestHeader
        namesrv.QueryDataVersionResponseHeader namesrv.BrokerHeartbeatRequestHeader ExchangeHAInfoRequestHeader
        ExchangeHAInfoResponseHeader GetBrokerMemberGroupRequestHeader namesrv.PutKVConfigRequestHeader
        namesrv.GetKVConfigRequestHeader namesrv.DeleteKVConfigRequestHeader namesrv.GetKVConfigResponseHeader
        namesrv.GetKVListByNamespaceRequestHeader namesrv.DeleteTopicFromNamesrvRequestHeader
        GetTopicsByClusterRequestHeader namesrv.WipeWritePermOfBrokerRequestHeader
        namesrv.AddWritePermOfBrokerRequestHeader namesrv.WipeWritePermOfBrokerResponseHeader
        namesrv.AddWritePermOfBrokerResponseHeader
        """.trim().split("\\s+");

    public static void main(String[] args) throws Exception {
        for (SerializeType type : SerializeType.values()) {
            String name = type == SerializeType.JSON ? "json" : "binary";
            print(name + ".send", frame(type, RequestCode.SEND_MESSAGE, send(), "body"));
            print(name + ".send-v2", frame(type, RequestCode.SEND_MESSAGE_V2,
                SendMessageRequestHeaderV2.createSendMessageRequestHeaderV2(send()), "body"));
            print(name + ".pull", frame(type, RequestCode.PULL_MESSAGE, pull(), null));
            print(name + ".one-way", oneWay(type));
            print(name + ".send-answer", answer(type, ResponseCode.SUCCESS, null, sent(), null));
            print(name + ".refusal", answer(type, ResponseCode.TOPIC_NOT_EXIST, "no \"topic\" \u00e9\u0001", null, null));
            print(name + ".pull-answer", answer(type, ResponseCode.SUCCESS, "FOUND", pulled(), records()));
        }
        for (String header : HEADERS) {
            print("fields." + header, fields(Class.forName("org.apache.rocketmq.remoting.protocol.header." + header)));
        }
        print("record.v1", record(false));
        print("record.v1-ipv6", record(true));
        print("record.v2", second(record(true)));
        print("batch", MessageDecoder.encodeMessages(List.of(message("a", "one"), message("b", "two"))));
        print("message-id", MessageDecoder.createMessageId(new InetSocketAddress("127.0.0.1", 10911), 4779)
            .getBytes(StandardCharsets.US_ASCII));

        print("body.heartbeat", heartbeat().encode());
        print("body.route", route().encode());
        readsQuotedIds();
        print("body.cluster", cluster().encode());
        print("body.lock", lock().encode());
        LockBatchResponseBody locked = new LockBatchResponseBody();
        locked.setLockOKMQSet(Set.of(new MessageQueue("topic", "broker-a", 1)));
        print("body.locked", locked.encode());
        GetConsumerListByGroupResponseBody members = new GetConsumerListByGroupResponseBody();
        members.setConsumerIdList(List.of("10.0.0.1@1#2", "10.0.0.2@3#4"));
        print("body.members", members.encode());
        print("body.topic", RemotingSerializable.encode(topic()));
        print("body.group", RemotingSerializable.encode(group()));
        print("body.register", register().encode(false));
        print("body.consume-stats", consumeStats().encode());
        print("body.topic-stats", topicStats().encode());
        ResetOffsetBody reset = new ResetOffsetBody();
        reset.setOffsetTable(new HashMap<>(java.util.Map.of(new MessageQueue("topic", "broker-a", 1), 7L)));
        print("body.reset", reset.encode());
    }

    private static void print(String name, byte[] bytes) {
        System.out.println(name + " " + java.util.HexFormat.of().formatHex(bytes));
    }

    private static byte[] frame(SerializeType type, int code, CommandCustomHeader header, String body) {
        RemotingCommand command = RemotingCommand.createRequestCommand(code, header);
        command.setOpaque(42);
        return encoded(type, command, body == null ? null : body.getBytes(StandardCharsets.UTF_8));
    }

    private static byte[] oneWay(SerializeType type) {
        UpdateConsumerOffsetRequestHeader header = new UpdateConsumerOffsetRequestHeader();
        header.setConsumerGroup("group");
        header.setTopic("topic");
        header.setQueueId(3);
        header.setCommitOffset(5L);
        RemotingCommand command = RemotingCommand.createRequestCommand(RequestCode.UPDATE_CONSUMER_OFFSET, header);
        command.setOpaque(42);
        command.markOnewayRPC();
        return encoded(type, command, null);
    }

    /** A header's own fields with their types, those that must not be null with a star: `*topic String,...`. */
    private static byte[] fields(Class<?> header) {
        List<String> fields = new ArrayList<>();
        for (Field field : header.getDeclaredFields()) {
            if (Modifier.isStatic(field.getModifiers())) continue;
            String star = field.isAnnotationPresent(CFNotNull.class) ? "*" : "";
            fields.add(star + field.getName() + " " + field.getType().getSimpleName());
        }
        return String.join(",", fields).getBytes(StandardCharsets.UTF_8);
    }

    private static byte[] answer(SerializeType type, int code, String remark, CommandCustomHeader header, byte[] body) {
        RemotingCommand command = RemotingCommand.createResponseCommandWithHeader(code, header);
        command.setRemark(remark);
        command.setOpaque(42);
        return encoded(type, command, body);
    }

    /** As NettyEncoder does it. */
    private static byte[] encoded(SerializeType type, RemotingCommand command, byte[] body) {
        command.setSerializeTypeCurrentRPC(type);
        command.setVersion(479);
        command.setBody(body);
        ByteBuf out = Unpooled.buffer();
        command.fastEncodeHeader(out);
        if (body != null) out.writeBytes(body);
        byte[] bytes = new byte[out.readableBytes()];
        out.readBytes(bytes);
        return bytes;
    }

    private static SendMessageRequestHeader send() {
        SendMessageRequestHeader header = new SendMessageRequestHeader();
        header.setProducerGroup("group");
        header.setTopic("topic");
        header.setDefaultTopic("TBW102");
        header.setDefaultTopicQueueNums(4);
        header.setQueueId(3);
        header.setSysFlag(0);
        header.setBornTimestamp(BORN_MS);
        header.setFlag(7);
        header.setProperties(MessageDecoder.messageProperties2String(message("t", "body").getProperties()));
        header.setReconsumeTimes(0);
        header.setUnitMode(false);
        header.setBatch(false);
        header.setBrokerName("broker-a");
        return header;
    }

    private static SendMessageResponseHeader sent() {
        SendMessageResponseHeader header = new SendMessageResponseHeader();
        header.setMsgId("7F00000100002A9F00000000000012AB");
        header.setQueueId(3);
        header.setQueueOffset(1L << 40);
        header.setTransactionId("7F0000011F9018B4AAC2549F3D0F0001");
        return header;
    }

    private static PullMessageRequestHeader pull() {
        PullMessageRequestHeader header = new PullMessageRequestHeader();
        header.setConsumerGroup("group");
        header.setTopic("topic");
        header.setQueueId(3);
        header.setQueueOffset(5L);
        header.setMaxMsgNums(32);
        header.setSysFlag(7);
        header.setCommitOffset(4L);
        header.setSuspendTimeoutMillis(15000L);
        header.setSubscription("a || b");
        header.setSubVersion(BORN_MS);
        header.setExpressionType("TAG");
        return header;
    }

    private static PullMessageResponseHeader pulled() {
        PullMessageResponseHeader header = new PullMessageResponseHeader();
        header.setSuggestWhichBrokerId(0L);
        header.setNextBeginOffset(7L);
        header.setMinOffset(0L);
        header.setMaxOffset(9L);
        return header;
    }

    private static Message message(String tag, String body) {
        Message message = new Message("topic", tag, "key1 key2", body.getBytes(StandardCharsets.UTF_8));
        message.setFlag(7);
        message.putUserProperty("user", "v\u00e4lue");
        return message;
    }

    private static byte[] records() throws Exception {
        ByteBuffer both = ByteBuffer.allocate(4096);
        both.put(record(false)).put(second(record(true))).put(record(true));
        byte[] bytes = new byte[both.position()];
        both.flip().get(bytes);
        return bytes;
    }

    private static byte[] record(boolean ipv6) throws Exception {
        MessageExt message = new MessageExt();
        message.setTopic("topic");
        message.setBody("body".getBytes(StandardCharsets.UTF_8));
        message.setFlag(7);
        MessageDecoder.string2messageProperties(
            MessageDecoder.messageProperties2String(message("t", "body").getProperties()))
            .forEach((name, value) -> org.apache.rocketmq.common.message.MessageAccessor.putProperty(message, name, value));
        message.setBodyCRC(org.apache.rocketmq.common.UtilAll.crc32(message.getBody()));
        message.setQueueId(3);
        message.setQueueOffset(5);
        message.setCommitLogOffset(4779);
        message.setBornTimestamp(BORN_MS);
        message.setStoreTimestamp(STORED_MS);
        message.setReconsumeTimes(2);
        message.setPreparedTransactionOffset(11);
        message.setBornHost(new InetSocketAddress(ipv6 ? "2001:db8::1" : "10.0.0.1", 50000));
        message.setStoreHost(new InetSocketAddress(ipv6 ? "2001:db8::2" : "127.0.0.1", 10911));
        message.setSysFlag(ipv6 ? MessageSysFlag.BORNHOST_V6_FLAG | MessageSysFlag.STOREHOSTADDRESS_V6_FLAG : 0);
        return MessageDecoder.encode(message, false);
    }

    /** The client's jar writes V1 only, but reads both: a V1 record as V2, read back to see that it is one. */
    private static byte[] second(byte[] first) {
        MessageExt read = MessageDecoder.decode(ByteBuffer.wrap(first));
        MessageVersion version = MessageVersion.MESSAGE_VERSION_V2;
        int topicAt = first.length - 2 - MessageDecoder.messageProperties2String(read.getProperties())
            .getBytes(StandardCharsets.UTF_8).length - read.getTopic().length() - 1;
        ByteBuffer lifted = ByteBuffer.allocate(first.length + 1);
        lifted.putInt(first.length + 1).putInt(version.getMagicCode()).put(first, 8, topicAt - 8);
        version.putTopicLength(lifted, read.getTopic().length());
        lifted.put(first, topicAt + 1, first.length - topicAt - 1);
        MessageExt again = MessageDecoder.decode(ByteBuffer.wrap(lifted.array()));
        if (again == null || !again.toString().equals(read.toString().replace("storeSize=" + first.length, "storeSize=" + lifted.capacity())))
            throw new AssertionError("V2 reads as " + again);
        return lifted.array();
    }

    private static HeartbeatData heartbeat() {
        SubscriptionData subscription = new SubscriptionData("topic", "a");
        subscription.setTagsSet(Set.of("a"));
        subscription.setCodeSet(Set.of("a".hashCode()));
        subscription.setSubVersion(BORN_MS);
        ConsumerData consumer = new ConsumerData();
        consumer.setGroupName("consumers");
        consumer.setConsumeType(ConsumeType.CONSUME_PASSIVELY);
        consumer.setMessageModel(MessageModel.CLUSTERING);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET);
        consumer.setSubscriptionDataSet(Set.of(subscription));
        ProducerData producer = new ProducerData();
        producer.setGroupName("producers");
        HeartbeatData heartbeat = new HeartbeatData();
        heartbeat.setClientID("10.0.0.1@1234#567");
        heartbeat.setProducerDataSet(Set.of(producer));
        heartbeat.setConsumerDataSet(Set.of(consumer));
        return heartbeat;
    }

    private static BrokerData broker() {
        HashMap<Long, String> addresses = new HashMap<>();
        addresses.put(0L, "127.0.0.1:10911");
        addresses.put(1L, "127.0.0.1:10921");
        return new BrokerData("DefaultCluster", "broker-a", addresses);
    }

    private static TopicRouteData route() {
        QueueData queues = new QueueData();
        queues.setBrokerName("broker-a");
        queues.setReadQueueNums(8);
        queues.setWriteQueueNums(4);
        queues.setPerm(6);
        TopicRouteData route = new TopicRouteData();
        route.setQueueDatas(new ArrayList<>(List.of(queues)));
        route.setBrokerDatas(new ArrayList<>(List.of(broker())));
        route.setFilterServerTable(new HashMap<>());
        return route;
    }

    /** The broker writes ids with quotes, as the standard has them. */
    private static void readsQuotedIds() {
        String quoted = new String(route().encode(), StandardCharsets.UTF_8).replace("{0:", "{\"0\":").replace(",1:", ",\"1\":");
        TopicRouteData read = TopicRouteData.decode(quoted.getBytes(StandardCharsets.UTF_8), TopicRouteData.class);
        if (!quoted.contains("\"1\":") || !read.equals(route())) throw new AssertionError(quoted + " reads as " + read);
    }

    private static ClusterInfo cluster() {
        ClusterInfo cluster = new ClusterInfo();
        cluster.setBrokerAddrTable(new HashMap<>(java.util.Map.of("broker-a", broker())));
        cluster.setClusterAddrTable(new HashMap<>(java.util.Map.of("DefaultCluster", Set.of("broker-a"))));
        return cluster;
    }

    private static LockBatchRequestBody lock() {
        LockBatchRequestBody lock = new LockBatchRequestBody();
        lock.setConsumerGroup("consumers");
        lock.setClientId("10.0.0.1@1234#567");
        lock.setMqSet(Set.of(new MessageQueue("topic", "broker-a", 1)));
        return lock;
    }

    private static TopicConfig topic() {
        TopicConfig topic = new TopicConfig("topic", 8, 4, 6);
        topic.setAttributes(new HashMap<>(java.util.Map.of("message.type", "NORMAL")));
        return topic;
    }

    private static SubscriptionGroupConfig group() {
        SubscriptionGroupConfig group = new SubscriptionGroupConfig();
        group.setGroupName("consumers");
        return group;
    }

    private static RegisterBrokerBody register() {
        DataVersion version = new DataVersion();
        version.setTimestamp(BORN_MS);
        TopicConfigAndMappingSerializeWrapper topics = new TopicConfigAndMappingSerializeWrapper();
        topics.setTopicConfigTable(new ConcurrentHashMap<>(java.util.Map.of("topic", topic())));
        topics.setDataVersion(version);
        topics.setMappingDataVersion(version);
        RegisterBrokerBody body = new RegisterBrokerBody();
        body.setTopicConfigSerializeWrapper(topics);
        body.setFilterServerList(new ArrayList<>());
        return body;
    }

    private static ConsumeStats consumeStats() {
        OffsetWrapper offset = new OffsetWrapper();
        offset.setBrokerOffset(9);
        offset.setConsumerOffset(5);
        offset.setPullOffset(7);
        offset.setLastTimestamp(STORED_MS);
        ConsumeStats stats = new ConsumeStats();
        stats.setOffsetTable(new ConcurrentHashMap<>(java.util.Map.of(new MessageQueue("topic", "broker-a", 1), offset)));
        stats.setConsumeTps(1.5);
        return stats;
    }

    private static TopicStatsTable topicStats() {
        TopicOffset offset = new TopicOffset();
        offset.setMinOffset(1);
        offset.setMaxOffset(9);
        offset.setLastUpdateTimestamp(STORED_MS);
        TopicStatsTable stats = new TopicStatsTable();
        stats.setOffsetTable(new ConcurrentHashMap<>(java.util.Map.of(new MessageQueue("topic", "broker-a", 1), offset)));
        return stats;
    }
}
