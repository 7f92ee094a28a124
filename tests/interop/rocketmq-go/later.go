package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

const (
	// level is the delay level of one second.
	level = 1
	// patience is how much later than a second something may come; levels that nobody asked for are longer.
	patience = 8 * time.Second
)

// kept is what a consumer was given, whole.
type kept struct {
	sync.Mutex
	messages []*primitive.MessageExt
}

func (k *kept) take(messages []*primitive.MessageExt) {
	k.Lock()
	defer k.Unlock()
	k.messages = append(k.messages, messages...)
}

func (k *kept) all() []*primitive.MessageExt {
	k.Lock()
	defer k.Unlock()
	return slices.Clone(k.messages)
}

func (k *kept) await(count int, what string) []*primitive.MessageExt {
	await(what, func() bool { return len(k.all()) >= count })
	return k.all()
}

// asASecond says whether it is a second from one time to another, in milliseconds, and not one of the longer delays.
func asASecond(from, to int64) bool {
	return to-from >= 1_000 && time.Duration(to-from)*time.Millisecond < time.Second+patience
}

// delayed: by level.
func (r run) delayed(p rocketmq.Producer) {
	topic, seen := r.prefix+"-delayed", &kept{}
	_, err := p.SendSync(context.Background(), primitive.NewMessage(topic, []byte("later")).WithDelayTimeLevel(level))
	must(err, "a delayed send")
	c := r.push("delayed", "one", topic, seen.take)
	message := seen.await(1, "the delayed one")[0]
	check(asASecond(message.BornTimestamp, message.StoreTimestamp), "delayed: %v", message)
	must(c.Shutdown(), "a consumer's end")
}

// failing: tried three times, a second from the first retry to the second, and then a dead letter.
func (r run) failing(p rocketmq.Producer) {
	topic, group := r.prefix+"-failing", r.prefix+"-failing"
	// The retry topic is made with the first heartbeat; clients ask where it is when they start, and then every 30 s.
	must(r.push("failing", "introduction", r.topic, newSeen().take).Shutdown(), "an introduction's end")
	sent, err := p.SendSync(context.Background(), primitive.NewMessage(topic, []byte("failing")))
	must(err, "a send")
	c, err := rocketmq.NewPushConsumer(
		consumer.WithNsResolver(primitive.NewPassthroughResolver([]string{r.namesrv})),
		consumer.WithGroupName(group),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
		consumer.WithMaxReconsumeTimes(2),
	)
	must(err, "a consumer")
	tries := &kept{}
	must(c.Subscribe(topic, consumer.MessageSelector{}, func(ctx context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		tries.take(messages)
		concurrently, _ := primitive.GetConcurrentlyCtx(ctx)
		concurrently.DelayLevelWhenNextConsume = level
		return consumer.ConsumeRetryLater, nil
	}), "a subscription")
	must(c.Start(), "a consumer's start")
	tried := tries.await(3, "tried three times")
	dead := &kept{}
	undertaker := r.push("undertaker", "one", "%DLQ%"+group, dead.take)
	letter := dead.await(1, "a dead letter")[0]
	check(letter.MsgId == sent.MsgID && letter.ReconsumeTimes == 3, "dead: %v", letter)
	for times, message := range tried {
		check(message.MsgId == sent.MsgID && message.ReconsumeTimes == int32(times), "try %d: %v", times, message)
	}
	check(asASecond(tried[1].StoreTimestamp, tried[2].StoreTimestamp), "the second retry: %v, %v", tried[1], tried[2])
	must(c.Shutdown(), "a consumer's end")
	must(undertaker.Shutdown(), "the undertaker's end")
}

// filtered: by a condition.
func (r run) filtered(p rocketmq.Producer) {
	topic := r.prefix + "-filtered"
	for i := range 10 {
		message := primitive.NewMessage(topic, fmt.Appendf(nil, "%d", i))
		message.WithProperty("n", fmt.Sprint(i))
		_, err := p.SendSync(context.Background(), message)
		must(err, "a send")
	}
	c, err := rocketmq.NewPushConsumer(
		consumer.WithNsResolver(primitive.NewPassthroughResolver([]string{r.namesrv})),
		consumer.WithGroupName(r.prefix+"-filtered"),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
	)
	must(err, "a consumer")
	seen := newSeen()
	where := consumer.MessageSelector{Type: consumer.SQL92, Expression: "n BETWEEN 3 AND 5 OR n = 9"}
	must(c.Subscribe(topic, where, func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		seen.take(messages)
		return consumer.ConsumeSuccess, nil
	}), "a subscription")
	must(c.Start(), "a consumer's start")
	await("what the condition lets through", func() bool { return seen.distinct("") == 4 })
	must(c.Shutdown(), "a consumer's end")
	slices.Sort(seen.bodies)
	check(slices.Equal(seen.bodies, []string{"3", "4", "5", "9"}), "let through: %v", seen.bodies)
}

// never is never asked: half messages are refused.
type never struct{}

func (never) ExecuteLocalTransaction(message *primitive.Message) primitive.LocalTransactionState {
	fail("half a message was taken: %v", message)
	return primitive.RollbackMessageState
}

func (never) CheckLocalTransaction(message *primitive.MessageExt) primitive.LocalTransactionState {
	fail("asked for half a message: %v", message)
	return primitive.RollbackMessageState
}

func (r run) transaction() {
	p, err := rocketmq.NewTransactionProducer(never{},
		producer.WithNsResolver(primitive.NewPassthroughResolver([]string{r.namesrv})),
		producer.WithGroupName(r.prefix+"-transactions"),
	)
	must(err, "a transactional producer")
	must(p.Start(), "a transactional producer's start")
	_, err = p.SendMessageInTransaction(context.Background(), r.message("mine-half"))
	check(err != nil && strings.Contains(err.Error(), "CODE: 16"), "half a message: %v", err)
	must(p.Shutdown(), "a transactional producer's end")
}

// requests: somebody asks, somebody else answers.
func (r run) requests(p rocketmq.Producer) {
	topic := r.prefix + "-ask"
	_, err := p.SendSync(context.Background(), primitive.NewMessage(topic, []byte("there is such a topic")))
	must(err, "a send")
	answering := r.push("answering", "one", topic, func(messages []*primitive.MessageExt) {
		for _, message := range messages {
			if consumer.GetReplyToClient(message) != "" {
				answer, err := consumer.CreateReplyMessage(message, nil)
				must(err, "an answer")
				// v2.1.2 takes what it is given for properties.
				answer.Body = append([]byte("re: "), message.Body...)
				_, err = p.SendSync(context.Background(), answer)
				must(err, "an answer's sending")
			}
		}
	})
	asking, err := rocketmq.NewProducer(
		producer.WithNsResolver(primitive.NewPassthroughResolver([]string{r.namesrv})),
		producer.WithGroupName(r.prefix+"-asking"),
		producer.WithInstanceName(r.prefix+"-asking"),
	)
	must(err, "who asks")
	must(asking.Start(), "the start of who asks")
	// Where there is no topic yet it introduces itself to the broker first; it is not answered before it has.
	_, err = asking.Request(context.Background(), time.Second, primitive.NewMessage(r.prefix+"-nobody", []byte("?")))
	check(err != nil, "nobody answered")
	for i := range 3 {
		question := fmt.Sprintf("question %d", i)
		answer, err := asking.Request(context.Background(), limit, primitive.NewMessage(topic, []byte(question)))
		must(err, question)
		check(string(answer.Body) == "re: "+question, "answered: %s", answer.Body)
	}
	must(asking.Shutdown(), "the end of who asks")
	must(answering.Shutdown(), "the end of who answers")
}
