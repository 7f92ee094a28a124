package interop;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.TimeZone;
import org.apache.rocketmq.common.UtilAll;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageVersion;
import org.apache.rocketmq.common.producer.RecallMessageHandle;
import org.apache.rocketmq.common.sysflag.MessageSysFlag;
import org.apache.rocketmq.remoting.CommandCustomHeader;
import org.apache.rocketmq.remoting.annotation.CFNotNull;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.RequestCode;
import org.apache.rocketmq.remoting.protocol.ResponseCode;
import org.apache.rocketmq.remoting.protocol.SerializeType;
import org.apache.rocketmq.remoting.protocol.header.PullMessageRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.PullMessageResponseHeader;
import org.apache.rocketmq.remoting.protocol.header.SendMessageRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.SendMessageRequestHeaderV2;
import org.apache.rocketmq.remoting.protocol.header.SendMessageResponseHeader;
import org.apache.rocketmq.remoting.protocol.header.UpdateConsumerOffsetRequestHeader;

/** Prints what RocketMQ's own classes write, one `name hex` a line: the golden file of the broker's codec. */
public final class Frames {
    static final long BORN_MS = 1_700_000_000_123L;
    static final long STORED_MS = 1_700_000_000_456L;

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
        // Some bodies have times as text.
        TimeZone.setDefault(TimeZone.getTimeZone("UTC"));
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
        print("recall-handle", RecallMessageHandle.HandleV1.buildHandle(
            "topic", "broker-a", String.valueOf(BORN_MS), "7F0000011F9018B4AAC2549F3D0F0001").getBytes(StandardCharsets.US_ASCII));
        Bodies.print();
    }

    static void print(String name, byte[] bytes) {
        System.out.println(name + " " + HexFormat.of().formatHex(bytes));
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
            .forEach((name, value) -> MessageAccessor.putProperty(message, name, value));
        message.setBodyCRC(UtilAll.crc32(message.getBody()));
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
}
