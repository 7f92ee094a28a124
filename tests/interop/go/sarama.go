package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

const (
	saramaPartitions = 3
	saramaEach       = 200
)

// sarama does what Sarama's users do, in the protocol versions it takes by default and in the newest it has.
func (r run) sarama() {
	for _, version := range []sarama.KafkaVersion{sarama.DefaultVersion, sarama.MaxVersion} {
		step("as for Kafka %v", version)
		s := saramaRun{r, fmt.Sprintf("%s-sarama-%v", r.prefix, version), version}
		s.topic()
		s.produce()
		s.consume()
		s.group()
		s.admin()
	}
}

type saramaRun struct {
	run
	name    string
	version sarama.KafkaVersion
}

func (s saramaRun) config() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = s.version
	config.ClientID = "sarama"
	config.Producer.Return.Successes = true
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Consumer.Return.Errors = true
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	return config
}

func (s saramaRun) clusterAdmin() sarama.ClusterAdmin {
	admin, err := sarama.NewClusterAdmin([]string{s.addr}, s.config())
	must(err, "cluster admin")
	return admin
}

func (s saramaRun) topic() {
	admin := s.clusterAdmin()
	defer admin.Close()
	detail := &sarama.TopicDetail{NumPartitions: saramaPartitions, ReplicationFactor: 1}
	must(admin.CreateTopic(s.name, detail, false), "create topic")
	err := admin.CreateTopic(s.name, detail, false)
	var refused *sarama.TopicError
	check(errors.As(err, &refused) && refused.Err == sarama.ErrTopicAlreadyExists, "created twice: %v", err)
	topics, err := admin.DescribeTopics([]string{s.name})
	must(err, "describe topic")
	check(len(topics[0].Partitions) == saramaPartitions, "%d partitions", len(topics[0].Partitions))
}

// value says where a record was sent and which it is.
func (s saramaRun) value(partition int32, number int) string {
	return fmt.Sprintf("%d/%d %s", partition, number, strings.Repeat("v", number))
}

var saramaCodecs = []sarama.CompressionCodec{
	sarama.CompressionNone, sarama.CompressionGZIP, sarama.CompressionSnappy, sarama.CompressionLZ4, sarama.CompressionZSTD,
}

// produce sends saramaEach records to each partition, with every codec in turn, the first half by an
// idempotent producer.
func (s saramaRun) produce() {
	sent := 0
	for at, codec := range saramaCodecs {
		config := s.config()
		config.Producer.Compression = codec
		config.Producer.RequiredAcks = sarama.WaitForAll
		if at%2 == 0 {
			config.Producer.Idempotent = true
			config.Net.MaxOpenRequests = 1
		}
		producer, err := sarama.NewSyncProducer([]string{s.addr}, config)
		must(err, "producer")
		var messages []*sarama.ProducerMessage
		for range saramaEach / len(saramaCodecs) {
			for partition := range int32(saramaPartitions) {
				messages = append(messages, &sarama.ProducerMessage{
					Topic:     s.name,
					Partition: partition,
					Key:       sarama.StringEncoder(fmt.Sprint(sent)),
					Value:     sarama.StringEncoder(s.value(partition, sent)),
					Headers:   []sarama.RecordHeader{{Key: []byte("h"), Value: []byte("1")}, {Key: []byte("h"), Value: nil}},
					Timestamp: base.Add(time.Duration(sent) * time.Second),
				})
			}
			sent++
		}
		must(producer.SendMessages(messages), "send "+codec.String())
		must(producer.Close(), "close")
	}
}

// consume reads every partition from its beginning, and asks for offsets.
func (s saramaRun) consume() {
	client, err := sarama.NewClient([]string{s.addr}, s.config())
	must(err, "client")
	defer client.Close()
	consumer, err := sarama.NewConsumerFromClient(client)
	must(err, "consumer")
	for partition := range int32(saramaPartitions) {
		oldest, err := client.GetOffset(s.name, partition, sarama.OffsetOldest)
		must(err, "oldest")
		newest, err := client.GetOffset(s.name, partition, sarama.OffsetNewest)
		must(err, "newest")
		check(oldest == 0 && newest == saramaEach, "offsets %d to %d", oldest, newest)
		half := base.Add(saramaEach / 2 * time.Second).UnixMilli()
		at, err := client.GetOffset(s.name, partition, half)
		must(err, "offset by time")
		check(at == saramaEach/2, "offset %d by time", at)

		records, err := consumer.ConsumePartition(s.name, partition, sarama.OffsetOldest)
		must(err, "consume")
		for number := range saramaEach {
			select {
			case record := <-records.Messages():
				right := record.Offset == int64(number) && string(record.Key) == fmt.Sprint(number) &&
					string(record.Value) == s.value(partition, number) && len(record.Headers) == 2 &&
					record.Timestamp.Equal(base.Add(time.Duration(number)*time.Second))
				check(right, "record %d of %d: %+v", number, partition, record)
			case err := <-records.Errors():
				fail("consume: %v", err)
			case <-time.After(limit):
				fail("record %d of %d does not come", number, partition)
			}
		}
		must(records.Close(), "close")
	}
	_, err = consumer.ConsumePartition(s.name, 0, saramaEach+1)
	check(errors.Is(err, sarama.ErrOffsetOutOfRange), "behind the end: %v", err)
}

// saramaMember counts what a member of a group is given.
type saramaMember struct {
	seen  *saramaSeen
	ready chan struct{}
	once  sync.Once
}

type saramaSeen struct {
	sync.Mutex
	times map[string]int
}

func (m *saramaMember) Setup(sarama.ConsumerGroupSession) error {
	m.once.Do(func() { close(m.ready) })
	return nil
}

func (m *saramaMember) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (m *saramaMember) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case record, open := <-claim.Messages():
			if !open {
				return nil
			}
			m.seen.Lock()
			m.seen.times[fmt.Sprintf("%d/%d", record.Partition, record.Offset)]++
			m.seen.Unlock()
			session.MarkMessage(record, "by sarama")
		case <-session.Context().Done():
			return nil
		}
	}
}

// member joins the group until it is stopped, which commits.
func (s saramaRun) member(seen *saramaSeen) (stop func()) {
	group, err := sarama.NewConsumerGroup([]string{s.addr}, s.name, s.config())
	must(err, "group")
	ctx, cancel := context.WithCancel(context.Background())
	member := &saramaMember{seen: seen, ready: make(chan struct{})}
	var running sync.WaitGroup
	running.Go(func() {
		for ctx.Err() == nil {
			if err := group.Consume(ctx, []string{s.name}, member); err != nil && ctx.Err() == nil {
				fail("consume in the group: %v", err)
			}
		}
	})
	running.Go(func() {
		for err := range group.Errors() {
			fail("group: %v", err)
		}
	})
	select {
	case <-member.ready:
	case <-time.After(limit):
		fail("the member does not join")
	}
	return func() {
		cancel()
		must(group.Close(), "leave")
		running.Wait()
	}
}

// group consumes all by two members, one after the other and together, and nothing again afterwards.
func (s saramaRun) group() {
	seen := &saramaSeen{times: make(map[string]int)}
	count := func() int {
		seen.Lock()
		defer seen.Unlock()
		return len(seen.times)
	}
	stopFirst := s.member(seen)
	await("the group has everything", func() bool { return count() == saramaPartitions*saramaEach })
	stopSecond := s.member(seen)

	admin := s.clusterAdmin()
	defer admin.Close()
	await("two members have joined", func() bool {
		groups, err := admin.DescribeConsumerGroups([]string{s.name})
		must(err, "describe group")
		return groups[0].State == "Stable" && len(groups[0].Members) == 2
	})
	stopFirst()
	stopSecond()
	offsets, err := admin.ListConsumerGroupOffsets(s.name, map[string][]int32{s.name: {0, 1, 2}})
	must(err, "group's offsets")
	for partition := range int32(saramaPartitions) {
		block := offsets.GetBlock(s.name, partition)
		right := block != nil && block.Err == sarama.ErrNoError && block.Offset == saramaEach && block.Metadata == "by sarama"
		check(right, "offset of %d: %+v", partition, block)
	}

	stop := s.member(seen)
	s.sendOne("one more")
	await("the group has one more", func() bool { return count() == saramaPartitions*saramaEach+1 })
	stop()
	for record, times := range seen.times {
		check(times == 1, "%s came %d times", record, times)
	}
}

func (s saramaRun) sendOne(value string) {
	producer, err := sarama.NewSyncProducer([]string{s.addr}, s.config())
	must(err, "producer")
	partition, offset, err := producer.SendMessage(&sarama.ProducerMessage{Topic: s.name, Value: sarama.StringEncoder(value)})
	must(err, "send")
	check(partition == 0 && offset == saramaEach, "went to %d/%d", partition, offset)
	must(producer.Close(), "close")
}

// admin changes, shows and removes.
func (s saramaRun) admin() {
	admin := s.clusterAdmin()
	defer admin.Close()
	retention := "3600000"
	entries := map[string]sarama.IncrementalAlterConfigsEntry{
		"retention.ms": {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &retention},
	}
	must(admin.IncrementalAlterConfig(sarama.TopicResource, s.name, entries, false), "alter config")
	resource := sarama.ConfigResource{Type: sarama.TopicResource, Name: s.name, ConfigNames: []string{"retention.ms"}}
	configs, err := admin.DescribeConfig(resource)
	must(err, "describe config")
	check(len(configs) == 1 && configs[0].Value == retention, "retention.ms: %+v", configs)

	must(admin.CreatePartitions(s.name, saramaPartitions+1, nil, false), "create partitions")
	topics, err := admin.ListTopics()
	must(err, "list topics")
	check(topics[s.name].NumPartitions == saramaPartitions+1, "topic: %+v", topics[s.name])
	groups, err := admin.ListConsumerGroups()
	must(err, "list groups")
	check(groups[s.name] == "consumer", "groups: %v", groups)
	brokers, controller, err := admin.DescribeCluster()
	must(err, "describe cluster")
	check(len(brokers) == 1 && brokers[0].ID() == controller, "brokers: %v, %d", brokers, controller)

	must(admin.DeleteRecords(s.name, map[int32]int64{0: 10}), "delete records")
	must(admin.DeleteConsumerGroupOffset(s.name, s.name, 0), "delete an offset")
	must(admin.DeleteConsumerGroup(s.name), "delete group")
	must(admin.DeleteTopic(s.name), "delete topic")
}
