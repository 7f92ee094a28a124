package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

func (r run) admin() {
	cl := r.client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	admin := kadm.NewClient(cl)
	defer admin.Close()
	topic := r.prefix + "-admin"

	step("topics")
	r.createTopic(topic, 2, map[string]*string{"retention.ms": kadm.StringPtr("3600000")})
	_, err := admin.CreateTopic(within(), 2, 1, nil, topic)
	check(errors.Is(err, kerr.TopicAlreadyExists), "creating it again: %v", err)
	details, err := admin.ListTopics(within(), topic)
	must(err, "list topics")
	check(len(details[topic].Partitions) == 2, "%d partitions", len(details[topic].Partitions))
	id := details[topic].ID
	check(id != kadm.TopicID{}, "the topic has no id")
	grown, err := admin.UpdatePartitions(within(), 3, topic)
	must(err, "add a partition")
	must(grown.Error(), "add a partition")
	await("there are three partitions", func() bool {
		details, err := admin.ListTopics(within(), topic)
		must(err, "list topics")
		return len(details[topic].Partitions) == 3
	})

	step("configs")
	config := func(key string) string {
		configs, err := admin.DescribeTopicConfigs(within(), topic)
		must(err, "describe configs")
		rc, err := configs.On(topic, nil)
		must(err, "describe configs")
		i := slices.IndexFunc(rc.Configs, func(c kadm.Config) bool { return c.Key == key })
		check(i >= 0, "no config %s", key)
		return rc.Configs[i].MaybeValue()
	}
	check(config("retention.ms") == "3600000", "retention.ms is %s", config("retention.ms"))
	altered, err := admin.AlterTopicConfigs(within(), []kadm.AlterConfig{
		{Op: kadm.SetConfig, Name: "retention.ms", Value: kadm.StringPtr("7200000")}}, topic)
	must(err, "alter configs")
	must(altered[0].Err, "alter configs")
	await("the new value shows", func() bool { return config("retention.ms") == "7200000" })

	step("offsets")
	var records []*kgo.Record
	for i := range 90 {
		records = append(records, &kgo.Record{Topic: topic, Partition: int32(i % 3),
			Timestamp: base.Add(time.Duration(i/3) * time.Second), Value: fmt.Appendf(nil, "%d", i)})
	}
	must(cl.ProduceSync(within(), records...).FirstErr(), "produce")
	expect := func(what string, listed kadm.ListedOffsets, err error, want int64) {
		must(err, what)
		must(listed.Error(), what)
		listed.Each(func(o kadm.ListedOffset) {
			check(o.Offset == want, "%s of partition %d: %d, want %d", what, o.Partition, o.Offset, want)
		})
	}
	listed, err := admin.ListStartOffsets(within(), topic)
	expect("start", listed, err, 0)
	listed, err = admin.ListEndOffsets(within(), topic)
	expect("end", listed, err, 30)
	listed, err = admin.ListCommittedOffsets(within(), topic)
	expect("last stable offset", listed, err, 30)
	listed, err = admin.ListOffsetsAfterMilli(within(), base.UnixMilli()+7_001, topic)
	expect("by time", listed, err, 8)
	listed, err = admin.ListMaxTimestampOffsets(within(), topic)
	expect("newest", listed, err, 29)

	var below kadm.Offsets
	for p := range int32(3) {
		below.Add(kadm.Offset{Topic: topic, Partition: p, At: 10})
	}
	deleted, err := admin.DeleteRecords(within(), below)
	must(err, "delete records")
	must(deleted.Error(), "delete records")
	listed, err = admin.ListStartOffsets(within(), topic)
	expect("start", listed, err, 10)
	r.read(topic, 1, kgo.NewOffset().AtStart(), 20)

	step("a group's offsets")
	group := r.prefix + "-group"
	var commits kadm.Offsets
	commits.Add(kadm.Offset{Topic: topic, Partition: 0, At: 12, Metadata: "note"})
	commits.Add(kadm.Offset{Topic: topic, Partition: 1, At: 15})
	must(admin.CommitAllOffsets(within(), group, commits), "commit")
	fetched, err := admin.FetchOffsets(within(), group)
	must(err, "fetch offsets")
	got, _ := fetched.Lookup(topic, 0)
	check(got.At == 12 && got.Metadata == "note", "committed: %+v", got)
	_, err = admin.DeleteGroup(within(), group)
	must(err, "delete the group")

	step("epochs, log directories, brokers")
	req := kadm.OffsetForLeaderEpochRequest{}
	req.Add(topic, 0, 0)
	epochs, err := admin.OffsetForLeaderEpoch(within(), req)
	must(err, "offset for leader epoch")
	check(epochs[topic][0].Err == nil && epochs[topic][0].EndOffset == 30, "epoch 0 ends at %+v", epochs[topic][0])
	dirs, err := admin.DescribeAllLogDirs(within(), nil)
	must(err, "describe log directories")
	check(len(dirs) == 1, "log directories of %d brokers", len(dirs))
	brokers, err := admin.ListBrokers(within())
	must(err, "list brokers")
	check(len(brokers) == 1, "%d brokers", len(brokers))

	step("deletion and recreation under a consumer's eyes")
	_, err = admin.DeleteTopic(within(), topic)
	must(err, "delete the topic")
	await("it is gone", func() bool {
		details, err := admin.ListTopics(within())
		must(err, "list topics")
		return !details.Has(topic)
	})
	r.createTopic(topic, 1, nil)
	var again kadm.TopicDetails
	await("it is back", func() bool {
		again, err = admin.ListTopics(within(), topic)
		must(err, "list topics")
		return again[topic].Err == nil
	})
	check(again[topic].ID != id, "the new topic has the old id")
	fresh := r.client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	defer fresh.Close()
	must(fresh.ProduceSync(within(), &kgo.Record{Topic: topic, Value: []byte("new")}).FirstErr(), "produce")
	first := r.read(topic, 0, kgo.NewOffset().AtStart(), 1)[0]
	check(first.Offset == 0 && string(first.Value) == "new", "the new topic starts with %d %q", first.Offset, first.Value)
}
