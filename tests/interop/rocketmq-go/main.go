// Command interop drives a RocketMQ broker with rocketmq-client-go.
//
//	interop before|after NAMESRV PREFIX HOME
package main

import (
	"context"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
	"github.com/apache/rocketmq-client-go/v2/rlog"
)

const (
	limit   = 60 * time.Second
	syncs   = 200
	async   = 100
	oneWay  = 50
	batch   = 32
	all     = syncs + async + oneWay + batch
	ordered = 60
	queues  = 4
)

type run struct {
	namesrv, prefix, topic string
}

func main() {
	if len(os.Args) != 5 {
		fail("usage: interop before|after NAMESRV PREFIX HOME")
	}
	rlog.SetLogLevel("warn")
	r := run{os.Args[2], os.Args[3], os.Args[3] + "-topic"}
	switch os.Args[1] {
	case "before":
		r.before()
	case "after":
		r.after()
	default:
		fail("no phase %q", os.Args[1])
	}
}

func fail(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "FAILED: "+format+"\n", args...)
	os.Exit(1)
}

func must(err error, what string) {
	if err != nil {
		fail("%s: %v", what, err)
	}
}

func check(holds bool, format string, args ...any) {
	if !holds {
		fail(format, args...)
	}
}

func await(what string, done func() bool) {
	for end := time.Now().Add(limit); !done(); time.Sleep(20 * time.Millisecond) {
		check(time.Now().Before(end), "in vain: %s", what)
	}
	fmt.Println("--", what)
}

// seen is what one or more consumers were given.
type seen struct {
	sync.Mutex
	bodies []string
	queues map[int]int
}

func (s *seen) take(messages []*primitive.MessageExt) {
	s.Lock()
	defer s.Unlock()
	for _, message := range messages {
		s.bodies = append(s.bodies, string(message.Body))
		s.queues[message.Queue.QueueId]++
	}
}

func (s *seen) distinct(prefix string) int {
	s.Lock()
	defer s.Unlock()
	found := map[string]bool{}
	for _, body := range s.bodies {
		if strings.HasPrefix(body, prefix) {
			found[body] = true
		}
	}
	return len(found)
}

// holds says how many queues have given something, and forgets it.
func (s *seen) holds() int {
	s.Lock()
	defer s.Unlock()
	held := len(s.queues)
	s.queues = map[int]int{}
	return held
}

func (r run) producer() rocketmq.Producer {
	p, err := rocketmq.NewProducer(
		producer.WithNsResolver(primitive.NewPassthroughResolver([]string{r.namesrv})),
		producer.WithGroupName(r.prefix+"-producers"),
		producer.WithQueueSelector(producer.NewHashQueueSelector()),
	)
	must(err, "a producer")
	must(p.Start(), "a producer's start")
	return p
}

func (r run) message(body string) *primitive.Message {
	message := primitive.NewMessage(r.topic, []byte(body))
	return message.WithTag("tag-" + strconv.Itoa(len(body)%2)).WithKeys([]string{body})
}

func (r run) send(p rocketmq.Producer) {
	ctx := context.Background()
	for i := range syncs {
		sent, err := p.SendSync(ctx, r.message(fmt.Sprintf("mine-sync-%d", i)))
		must(err, "a send")
		check(sent.Status == primitive.SendOK && len(sent.OffsetMsgID) == 32, "sent: %v", sent)
	}
	var answered sync.WaitGroup
	for i := range async {
		answered.Add(1)
		must(p.SendAsync(ctx, func(_ context.Context, _ *primitive.SendResult, err error) {
			must(err, "an asynchronous send")
			answered.Done()
		}, r.message(fmt.Sprintf("mine-async-%d", i))), "an asynchronous send")
	}
	answered.Wait()
	for i := range oneWay {
		must(p.SendOneWay(ctx, r.message(fmt.Sprintf("mine-oneway-%d", i))), "a one-way send")
	}
	var messages []*primitive.Message
	for i := range batch {
		messages = append(messages, r.message(fmt.Sprintf("mine-batch-%d", i)))
	}
	sent, err := p.SendSync(ctx, messages...)
	must(err, "a batch")
	check(sent.Status == primitive.SendOK, "batch: %v", sent)
}

func (r run) push(group, name, topic string, into func([]*primitive.MessageExt), options ...consumer.Option) rocketmq.PushConsumer {
	options = append([]consumer.Option{
		consumer.WithNsResolver(primitive.NewPassthroughResolver([]string{r.namesrv})),
		consumer.WithGroupName(r.prefix + "-" + group),
		consumer.WithInstance(r.prefix + group + name),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
	}, options...)
	c, err := rocketmq.NewPushConsumer(options...)
	must(err, "a consumer")
	must(c.Subscribe(topic, consumer.MessageSelector{}, func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		into(messages)
		return consumer.ConsumeSuccess, nil
	}), "a subscription")
	must(c.Start(), "a consumer's start")
	return c
}

func newSeen() *seen {
	return &seen{queues: map[int]int{}}
}

func (r run) before() {
	p := r.producer()
	r.send(p)
	r.ordered(p)
	r.clustering(p)
	r.broadcasting()
	r.tagged()
	r.transaction()
	r.pulling("puller")
	r.delayed(p)
	r.failing(p)
	r.filtered(p)
	r.requests(p)
	must(p.Shutdown(), "the producer's end")
}

// clustering: two members share the queues under load; one goes, and the other takes over what was its.
func (r run) clustering(p rocketmq.Producer) {
	one, two := newSeen(), newSeen()
	first := r.push("push", "one", r.topic, one.take)
	await("one member has all", func() bool { return one.distinct("mine-") == all })
	second := r.push("push", "two", r.topic, two.take)
	sent := 0
	load := func() {
		for range 40 {
			_, err := p.SendSync(context.Background(), r.message(fmt.Sprintf("shared-%d", sent)).WithShardingKey(strconv.Itoa(sent)))
			must(err, "a send under load")
			sent++
		}
	}
	await("both have queues", func() bool {
		one.holds()
		two.holds()
		load()
		time.Sleep(100 * time.Millisecond)
		return one.holds() == queues/2 && two.holds() == queues/2
	})
	must(first.Shutdown(), "a member's end")
	await("the other took over", func() bool {
		two.holds()
		load()
		time.Sleep(100 * time.Millisecond)
		return two.holds() == queues
	})
	both := newSeen()
	await("nothing was passed over", func() bool {
		both.bodies = append(append([]string{}, one.bodies...), two.bodies...)
		return both.distinct("shared-") == sent
	})
	must(second.Shutdown(), "the other member's end")
}

func (r run) broadcasting() {
	model := consumer.WithConsumerModel(consumer.BroadCasting)
	one, two := newSeen(), newSeen()
	first := r.push("everybody", "one", r.topic, one.take, model)
	second := r.push("everybody", "two", r.topic, two.take, model)
	await("everybody has all", func() bool { return one.distinct("mine-") == all && two.distinct("mine-") == all })
	must(first.Shutdown(), "a member's end")
	must(second.Shutdown(), "a member's end")
}

func (r run) tagged() {
	c, err := rocketmq.NewPushConsumer(
		consumer.WithNsResolver(primitive.NewPassthroughResolver([]string{r.namesrv})),
		consumer.WithGroupName(r.prefix+"-tagged"),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
	)
	must(err, "a consumer")
	of, want := newSeen(), 0
	for i := range syncs {
		want += len(fmt.Sprintf("mine-sync-%d", i)) % 2
	}
	must(c.Subscribe(r.topic, consumer.MessageSelector{Type: consumer.TAG, Expression: "tag-1 || other"}, func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		for _, message := range messages {
			check(message.GetTags() == "tag-1", "another tag: %v", message)
		}
		of.take(messages)
		return consumer.ConsumeSuccess, nil
	}), "a subscription")
	must(c.Start(), "a consumer's start")
	await("all of a tag", func() bool { return of.distinct("mine-sync-") == want })
	must(c.Shutdown(), "a consumer's end")
}

// ordered: messages of one queue, each in its turn.
func (r run) ordered(p rocketmq.Producer) {
	topic := r.prefix + "-ordered"
	for i := range ordered {
		message := primitive.NewMessage(topic, []byte(strconv.Itoa(i))).WithShardingKey(strconv.Itoa(i % queues))
		_, err := p.SendSync(context.Background(), message)
		must(err, "an ordered send")
	}
	var lock sync.Mutex
	seen := map[int][]int{}
	take := func(messages []*primitive.MessageExt) {
		lock.Lock()
		defer lock.Unlock()
		for _, message := range messages {
			number, err := strconv.Atoi(string(message.Body))
			must(err, "a body")
			seen[message.Queue.QueueId] = append(seen[message.Queue.QueueId], number)
		}
	}
	// One alone: v2.1.2 does not unlock what it hands over, so that another one waits for the lock's end.
	member := r.push("orderly", "one", topic, take, consumer.WithConsumerOrder(true))
	await("all in order", func() bool {
		lock.Lock()
		defer lock.Unlock()
		count := 0
		for _, numbers := range seen {
			count += len(numbers)
		}
		return count >= ordered
	})
	must(member.Shutdown(), "the member's end")
	for queue, numbers := range seen {
		check(sort.IntsAreSorted(numbers), "queue %d: %v", queue, numbers)
	}
}

// pulling: queue by queue, from the first offset.
func (r run) pulling(group string) {
	c, err := rocketmq.NewPullConsumer(
		consumer.WithNsResolver(primitive.NewPassthroughResolver([]string{r.namesrv})),
		consumer.WithGroupName(r.prefix+"-"+group),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
	)
	must(err, "a pull consumer")
	must(c.Subscribe(r.topic, consumer.MessageSelector{Type: consumer.TAG, Expression: "*"}), "a subscription")
	must(c.Start(), "a pull consumer's start")
	of := newSeen()
	await("all pulled", func() bool {
		request, err := c.Poll(context.Background(), time.Second)
		if err == consumer.ErrNoNewMsg {
			return false
		}
		must(err, "a poll")
		of.take(request.GetMsgList())
		c.ACK(context.Background(), request, consumer.ConsumeSuccess)
		return of.distinct("mine-") == all
	})
	must(c.PersistOffset(context.Background(), r.topic), "the offsets")
	must(c.Shutdown(), "a pull consumer's end")
}

// after: everything is still there, and the group goes on where it was.
func (r run) after() {
	r.pulling("later")
	of := newSeen()
	c := r.push("push", "again", r.topic, of.take)
	p := r.producer()
	for i := range 10 {
		_, err := p.SendSync(context.Background(), r.message(fmt.Sprintf("later-%d", i)))
		must(err, "a send")
	}
	await("the new ones", func() bool { return of.distinct("later-") == 10 })
	check(len(of.bodies) == 10, "consumed once more: %v", of.bodies)
	must(p.Shutdown(), "the producer's end")
	must(c.Shutdown(), "the consumer's end")
}
