package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const partitions = 6

// seen counts how often each record was consumed, over all members.
type seen struct {
	mu    sync.Mutex
	times map[string]int
}

func (s *seen) add(record *kgo.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.times[fmt.Sprintf("%d/%d", record.Partition, record.Offset)]++
}

func (s *seen) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.times)
}

// member is one consumer of a group in its own goroutine; it commits what it polled.
type member struct {
	cl   *kgo.Client
	mu   sync.Mutex
	held map[int32]bool
	lost int
	done chan struct{}
}

func (r run) join(topic, group string, balancer kgo.GroupBalancer, into *seen, opts ...kgo.Opt) *member {
	m := &member{held: map[int32]bool{}, done: make(chan struct{})}
	drop := func(_ context.Context, _ *kgo.Client, gone map[string][]int32) {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, p := range gone[topic] {
			delete(m.held, p)
			m.lost++
		}
	}
	opts = append(opts,
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.Balancers(balancer),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.HeartbeatInterval(200*time.Millisecond),
		kgo.SessionTimeout(10*time.Second), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, got map[string][]int32) {
			m.mu.Lock()
			defer m.mu.Unlock()
			for _, p := range got[topic] {
				m.held[p] = true
			}
		}),
		kgo.OnPartitionsRevoked(drop), kgo.OnPartitionsLost(drop),
	)
	m.cl = r.client(opts...)
	go func() {
		defer close(m.done)
		for {
			fetches := m.cl.PollRecords(context.Background(), 50)
			if fetches.IsClientClosed() {
				return
			}
			fetches.EachError(func(_ string, p int32, err error) { fail("partition %d: %v", p, err) })
			fetches.EachRecord(into.add)
			if err := m.cl.CommitUncommittedOffsets(context.Background()); err != nil &&
				!errors.Is(err, kerr.RebalanceInProgress) && !errors.Is(err, context.Canceled) {
				fail("commit: %v", err)
			}
			m.cl.AllowRebalance()
		}
	}()
	return m
}

func (m *member) size() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.held)
}

func (m *member) leave() {
	m.cl.CloseAllowingRebalance()
	<-m.done
}

func settle(members []*member, sizes ...int) {
	await(fmt.Sprintf("the members hold %v partitions", sizes), func() bool {
		for i, m := range members {
			if m.size() != sizes[i] {
				return false
			}
		}
		return true
	})
}

func (r run) produce(topic string, codec kgo.CompressionCodec) int {
	producer := r.client(kgo.ProducerBatchCompression(codec), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	defer producer.Close()
	var records []*kgo.Record
	for i := range 300 {
		records = append(records, &kgo.Record{Topic: topic, Partition: int32(i % partitions), Value: fmt.Appendf(nil, "%d", i)})
	}
	must(producer.ProduceSync(within(), records...).FirstErr(), "produce")
	return len(records)
}

func (r run) groups() {
	for _, balancer := range []kgo.GroupBalancer{kgo.RoundRobinBalancer(), kgo.StickyBalancer(), kgo.CooperativeStickyBalancer()} {
		step("%s", balancer.ProtocolName())
		r.joinAndLeave(balancer)
	}
}

func (r run) joinAndLeave(balancer kgo.GroupBalancer) {
	topic := r.prefix + "-" + balancer.ProtocolName()
	group := topic + "-group"
	r.createTopic(topic, partitions, nil)
	all := &seen{times: map[string]int{}}
	produced := 0
	consumed := func() {
		await(fmt.Sprintf("%d records were consumed", produced), func() bool { return all.len() == produced })
	}

	one := r.join(topic, group, balancer, all)
	settle([]*member{one}, 6)
	produced += r.produce(topic, kgo.NoCompression())
	two := r.join(topic, group, balancer, all)
	settle([]*member{one, two}, 3, 3)
	produced += r.produce(topic, kgo.ZstdCompression())
	three := r.join(topic, group, balancer, all, kgo.InstanceID("three"))
	settle([]*member{one, two, three}, 2, 2, 2)
	produced += r.produce(topic, kgo.SnappyCompression())
	consumed()
	if balancer.IsCooperative() {
		check(one.lost == 4, "the first member gave up %d partitions, not 4", one.lost)
	}

	admin := kadm.NewClient(r.client())
	defer admin.Close()
	described, err := admin.DescribeGroups(within(), group)
	must(err, "describe the group")
	d := described[group]
	check(d.State == "Stable" && d.Protocol == balancer.ProtocolName() && len(d.Members) == 3,
		"the group is %s, %s, %d members", d.State, d.Protocol, len(d.Members))
	_, err = admin.DeleteGroup(within(), group)
	check(errors.Is(err, kerr.NonEmptyGroup), "deleting a group with members: %v", err)

	// A static member only closes, and is then removed by name.
	three.leave()
	left, err := admin.LeaveGroup(within(), kadm.LeaveGroup(group).InstanceIDs("three"))
	must(err, "remove the static member")
	must(left.Error(), "remove the static member")
	settle([]*member{one, two}, 3, 3)
	one.leave()
	settle([]*member{two}, 6)
	produced += r.produce(topic, kgo.Lz4Compression())
	consumed()
	await("everything is committed", func() bool {
		lags, err := admin.Lag(within(), group)
		must(err, "lag")
		return lags[group].Lag.Total() == 0
	})
	two.leave()
	offsets, err := admin.FetchOffsets(within(), group)
	must(err, "fetch the group's offsets")
	offsets.Each(func(o kadm.OffsetResponse) {
		check(o.At == int64(produced/partitions), "partition %d is committed at %d", o.Partition, o.At)
	})
	_, err = admin.DeleteGroup(within(), group)
	must(err, "delete the group")
}
