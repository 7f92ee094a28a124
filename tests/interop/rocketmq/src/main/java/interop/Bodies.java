package interop;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.DataVersion;
import org.apache.rocketmq.remoting.protocol.LanguageCode;
import org.apache.rocketmq.remoting.protocol.RemotingSerializable;
import org.apache.rocketmq.remoting.protocol.admin.ConsumeStats;
import org.apache.rocketmq.remoting.protocol.admin.OffsetWrapper;
import org.apache.rocketmq.remoting.protocol.admin.TopicOffset;
import org.apache.rocketmq.remoting.protocol.admin.TopicStatsTable;
import org.apache.rocketmq.remoting.protocol.body.BrokerMemberGroup;
import org.apache.rocketmq.remoting.protocol.body.CheckClientRequestBody;
import org.apache.rocketmq.remoting.protocol.body.ClusterInfo;
import org.apache.rocketmq.remoting.protocol.body.Connection;
import org.apache.rocketmq.remoting.protocol.body.ConsumerConnection;
import org.apache.rocketmq.remoting.protocol.body.GetBrokerMemberGroupResponseBody;
import org.apache.rocketmq.remoting.protocol.body.GetConsumerStatusBody;
import org.apache.rocketmq.remoting.protocol.body.GroupList;
import org.apache.rocketmq.remoting.protocol.body.KVTable;
import org.apache.rocketmq.remoting.protocol.body.LockBatchRequestBody;
import org.apache.rocketmq.remoting.protocol.body.LockBatchResponseBody;
import org.apache.rocketmq.remoting.protocol.body.ProducerConnection;
import org.apache.rocketmq.remoting.protocol.body.QueryConsumeTimeSpanBody;
import org.apache.rocketmq.remoting.protocol.body.QuerySubscriptionResponseBody;
import org.apache.rocketmq.remoting.protocol.body.QueueTimeSpan;
import org.apache.rocketmq.remoting.protocol.body.RegisterBrokerBody;
import org.apache.rocketmq.remoting.protocol.body.ResetOffsetBody;
import org.apache.rocketmq.remoting.protocol.body.SubscriptionGroupWrapper;
import org.apache.rocketmq.remoting.protocol.body.TopicConfigAndMappingSerializeWrapper;
import org.apache.rocketmq.remoting.protocol.body.TopicConfigSerializeWrapper;
import org.apache.rocketmq.remoting.protocol.body.TopicList;
import org.apache.rocketmq.remoting.protocol.header.GetConsumerListByGroupResponseBody;
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

/** The bodies that are JSON. */
final class Bodies {
    static void print() {
        Frames.print("body.heartbeat", heartbeat().encode());
        Frames.print("body.route", route().encode());
        readsQuotedIds();
        Frames.print("body.cluster", cluster().encode());
        Frames.print("body.lock", lock().encode());
        LockBatchResponseBody locked = new LockBatchResponseBody();
        locked.setLockOKMQSet(Set.of(new MessageQueue("topic", "broker-a", 1)));
        Frames.print("body.locked", locked.encode());
        GetConsumerListByGroupResponseBody members = new GetConsumerListByGroupResponseBody();
        members.setConsumerIdList(List.of("10.0.0.1@1#2", "10.0.0.2@3#4"));
        Frames.print("body.members", members.encode());
        Frames.print("body.topic", RemotingSerializable.encode(topic()));
        Frames.print("body.group", RemotingSerializable.encode(group()));
        Frames.print("body.register", register().encode(false));
        Frames.print("body.consume-stats", consumeStats().encode());
        Frames.print("body.topic-stats", topicStats().encode());
        ResetOffsetBody reset = new ResetOffsetBody();
        reset.setOffsetTable(new HashMap<>(Map.of(new MessageQueue("topic", "broker-a", 1), 7L)));
        Frames.print("body.reset", reset.encode());
        for (RemotingSerializable body : List.of(consumers(), producers(), groups(), table(), topics(), spans(), replicas(),
            allTopics(), allGroups(), subscription(), question(), status())) {
            Frames.print("body." + body.getClass().getSimpleName(), body.encode());
        }
    }

    private static SubscriptionData tags() {
        SubscriptionData subscription = new SubscriptionData("topic", "a");
        subscription.setTagsSet(Set.of("a"));
        subscription.setCodeSet(Set.of("a".hashCode()));
        subscription.setSubVersion(Frames.BORN_MS);
        return subscription;
    }

    private static HeartbeatData heartbeat() {
        ConsumerData consumer = new ConsumerData();
        consumer.setGroupName("consumers");
        consumer.setConsumeType(ConsumeType.CONSUME_PASSIVELY);
        consumer.setMessageModel(MessageModel.CLUSTERING);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET);
        consumer.setSubscriptionDataSet(Set.of(tags()));
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
        cluster.setBrokerAddrTable(new HashMap<>(Map.of("broker-a", broker())));
        cluster.setClusterAddrTable(new HashMap<>(Map.of("DefaultCluster", Set.of("broker-a"))));
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
        topic.setAttributes(new HashMap<>(Map.of("message.type", "NORMAL")));
        return topic;
    }

    private static Connection connection() {
        Connection connection = new Connection();
        connection.setClientId("10.0.0.1@1234#567");
        connection.setClientAddr("10.0.0.1:50000");
        connection.setLanguage(LanguageCode.GO);
        connection.setVersion(317);
        return connection;
    }

    private static ConsumerConnection consumers() {
        ConsumerConnection consumers = new ConsumerConnection();
        consumers.setConnectionSet(new HashSet<>(Set.of(connection())));
        consumers.setConsumeType(ConsumeType.CONSUME_ACTIVELY);
        consumers.setMessageModel(MessageModel.BROADCASTING);
        consumers.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_TIMESTAMP);
        consumers.setSubscriptionTable(new ConcurrentHashMap<>(Map.of("topic", tags())));
        return consumers;
    }

    private static ProducerConnection producers() {
        ProducerConnection producers = new ProducerConnection();
        producers.setConnectionSet(new HashSet<>(Set.of(connection())));
        return producers;
    }

    private static GroupList groups() {
        GroupList groups = new GroupList();
        groups.setGroupList(new HashSet<>(Set.of("consumers")));
        return groups;
    }

    private static KVTable table() {
        KVTable table = new KVTable();
        table.setTable(new HashMap<>(Map.of("name", "value")));
        return table;
    }

    private static TopicList topics() {
        TopicList topics = new TopicList();
        topics.setTopicList(Set.of("topic"));
        return topics;
    }

    private static QueryConsumeTimeSpanBody spans() {
        QueueTimeSpan span = new QueueTimeSpan();
        span.setMessageQueue(new MessageQueue("topic", "broker-a", 1));
        span.setMinTimeStamp(1);
        span.setMaxTimeStamp(4);
        span.setConsumeTimeStamp(2);
        span.setDelayTime(3);
        QueryConsumeTimeSpanBody spans = new QueryConsumeTimeSpanBody();
        spans.setConsumeTimeSpanSet(List.of(span));
        return spans;
    }

    private static GetBrokerMemberGroupResponseBody replicas() {
        BrokerMemberGroup group = new BrokerMemberGroup("DefaultCluster", "broker-a");
        group.setBrokerAddrs(broker().getBrokerAddrs());
        GetBrokerMemberGroupResponseBody replicas = new GetBrokerMemberGroupResponseBody();
        replicas.setBrokerMemberGroup(group);
        return replicas;
    }

    private static TopicConfigSerializeWrapper allTopics() {
        TopicConfigSerializeWrapper topics = new TopicConfigSerializeWrapper();
        topics.setTopicConfigTable(new ConcurrentHashMap<>(Map.of("topic", topic())));
        topics.getDataVersion().setTimestamp(Frames.BORN_MS);
        return topics;
    }

    private static SubscriptionGroupWrapper allGroups() {
        SubscriptionGroupWrapper groups = new SubscriptionGroupWrapper();
        groups.setSubscriptionGroupTable(new ConcurrentHashMap<>(Map.of("consumers", group())));
        groups.getDataVersion().setTimestamp(Frames.BORN_MS);
        return groups;
    }

    private static QuerySubscriptionResponseBody subscription() {
        QuerySubscriptionResponseBody subscription = new QuerySubscriptionResponseBody();
        subscription.setGroup("consumers");
        subscription.setTopic("topic");
        subscription.setSubscriptionData(tags());
        return subscription;
    }

    private static CheckClientRequestBody question() {
        CheckClientRequestBody question = new CheckClientRequestBody();
        question.setClientId("10.0.0.1@1234#567");
        question.setGroup("consumers");
        question.setNamespace("space");
        question.setSubscriptionData(tags());
        return question;
    }

    private static GetConsumerStatusBody status() {
        GetConsumerStatusBody status = new GetConsumerStatusBody();
        status.setMessageQueueTable(new HashMap<>(Map.of(new MessageQueue("topic", "broker-a", 1), 7L)));
        return status;
    }

    private static SubscriptionGroupConfig group() {
        SubscriptionGroupConfig group = new SubscriptionGroupConfig();
        group.setGroupName("consumers");
        return group;
    }

    private static RegisterBrokerBody register() {
        DataVersion version = new DataVersion();
        version.setTimestamp(Frames.BORN_MS);
        TopicConfigAndMappingSerializeWrapper topics = new TopicConfigAndMappingSerializeWrapper();
        topics.setTopicConfigTable(new ConcurrentHashMap<>(Map.of("topic", topic())));
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
        offset.setLastTimestamp(Frames.STORED_MS);
        ConsumeStats stats = new ConsumeStats();
        stats.setOffsetTable(new ConcurrentHashMap<>(Map.of(new MessageQueue("topic", "broker-a", 1), offset)));
        stats.setConsumeTps(1.5);
        return stats;
    }

    private static TopicStatsTable topicStats() {
        TopicOffset offset = new TopicOffset();
        offset.setMinOffset(1);
        offset.setMaxOffset(9);
        offset.setLastUpdateTimestamp(Frames.STORED_MS);
        TopicStatsTable stats = new TopicStatsTable();
        stats.setOffsetTable(new ConcurrentHashMap<>(Map.of(new MessageQueue("topic", "broker-a", 1), offset)));
        return stats;
    }
}
