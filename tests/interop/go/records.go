package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// large is just under the default max.message.bytes (1 MiB + 12), with room for what a codec adds to noise.
const large = 1<<20 - 1024

func noise(n int, seed int64) []byte {
	b := make([]byte, n)
	rand.New(rand.NewSource(seed)).Read(b)
	return b
}

// oddRecords are records at the edges: nil and empty keys and values, large values, repeated header names.
func oddRecords() []*kgo.Record {
	records := []*kgo.Record{
		{Key: nil, Value: []byte("nil key")},
		{Key: []byte("empty value"), Value: []byte{}},
		{Key: []byte("nil value"), Value: nil},
		{Key: []byte{}, Value: []byte("empty key")},
		{Key: []byte("headers"), Value: []byte("h"), Headers: []kgo.RecordHeader{
			{Key: "again", Value: []byte("1")}, {Key: "other", Value: nil}, {Key: "again", Value: []byte("2")},
			{Key: "", Value: []byte{}}, {Key: "again", Value: []byte("1")}, {Key: "grüße", Value: noise(3000, 3)},
		}},
		{Key: []byte("noise"), Value: noise(large, 1)},
		{Key: []byte("zeroes"), Value: make([]byte, large)},
	}
	for i := range 500 {
		records = append(records, &kgo.Record{Key: fmt.Appendf(nil, "k%d", i), Value: noise(i, int64(i))})
	}
	for i, record := range records {
		record.Timestamp = base.Add(time.Duration(i) * time.Second)
	}
	return records
}

func same(got, want *kgo.Record) error {
	switch {
	case !bytes.Equal(got.Key, want.Key) || (got.Key == nil) != (want.Key == nil):
		return fmt.Errorf("key %q, want %q", got.Key, want.Key)
	case !bytes.Equal(got.Value, want.Value) || (got.Value == nil) != (want.Value == nil):
		return fmt.Errorf("value differs (%d bytes, want %d)", len(got.Value), len(want.Value))
	case !got.Timestamp.Equal(want.Timestamp):
		return fmt.Errorf("timestamp %v, want %v", got.Timestamp, want.Timestamp)
	case len(got.Headers) != len(want.Headers):
		return fmt.Errorf("%d headers, want %d", len(got.Headers), len(want.Headers))
	}
	for i, h := range got.Headers {
		w := want.Headers[i]
		if h.Key != w.Key || !bytes.Equal(h.Value, w.Value) || (h.Value == nil) != (w.Value == nil) {
			return fmt.Errorf("header %d is %q", i, h.Key)
		}
	}
	return nil
}

func (r run) records() {
	codecs := []struct {
		name  string
		codec kgo.CompressionCodec
	}{
		{"none", kgo.NoCompression()}, {"gzip", kgo.GzipCompression()}, {"snappy", kgo.SnappyCompression()},
		{"lz4", kgo.Lz4Compression()}, {"zstd", kgo.ZstdCompression()},
	}
	for _, c := range codecs {
		step("codec %s", c.name)
		topic := r.prefix + "-" + c.name
		r.createTopic(topic, 1, nil)
		r.roundTrip(topic, c.codec)
	}
	r.weakAcks()
	r.tooLarge()
	r.longPoll()
}

// longPoll: a fetch that waits is answered as soon as something comes, and not before.
func (r run) longPoll() {
	step("a waiting fetch")
	topic := r.prefix + "-wait"
	r.createTopic(topic, 1, nil)
	producer := r.client(kgo.DefaultProduceTopic(topic))
	defer producer.Close()
	consumer := r.client(kgo.ConsumeTopics(topic), kgo.FetchMaxWait(30*time.Second),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer consumer.Close()
	for i := range 5 {
		time.AfterFunc(500*time.Millisecond, func() {
			producer.Produce(context.Background(), kgo.StringRecord(time.Now().Format(time.RFC3339Nano)), nil)
		})
		fetches := consumer.PollFetches(within())
		must(fetches.Err(), "poll")
		sent, err := time.Parse(time.RFC3339Nano, string(fetches.Records()[0].Value))
		must(err, "the sending time")
		check(time.Since(sent) < 3*time.Second, "record %d came %v after it was sent", i, time.Since(sent))
	}
}

func (r run) roundTrip(topic string, codec kgo.CompressionCodec) {
	producer := r.client(kgo.ProducerBatchCompression(codec), kgo.ProducerBatchMaxBytes(1<<20+12),
		kgo.DefaultProduceTopic(topic))
	defer producer.Close()
	want := oddRecords()
	must(producer.ProduceSync(within(), want...).FirstErr(), "produce")
	for i, record := range want {
		check(record.Offset == int64(i), "record %d was acknowledged at offset %d", i, record.Offset)
	}

	for i, got := range r.read(topic, 0, kgo.NewOffset().At(0), len(want)) {
		must(same(got, want[i]), fmt.Sprintf("record %d", i))
	}
	// From the middle, from a time, and with fetches smaller than a record.
	first := r.read(topic, 0, kgo.NewOffset().At(250), 1)[0]
	check(first.Offset == 250, "the first record from 250 on is %d", first.Offset)
	first = r.read(topic, 0, kgo.NewOffset().AfterMilli(base.UnixMilli()+99_500), 1)[0]
	check(first.Offset == 100, "the first record after 99.5 s is %d", first.Offset)
	r.read(topic, 0, kgo.NewOffset().At(0), 10, kgo.FetchMaxBytes(1), kgo.FetchMaxPartitionBytes(1))
}

// read returns the first records from an offset on; their offsets have to be consecutive.
func (r run) read(topic string, partition int32, from kgo.Offset, count int, opts ...kgo.Opt) []*kgo.Record {
	opts = append(opts, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: from}}))
	consumer := r.client(opts...)
	defer consumer.Close()
	var got []*kgo.Record
	ctx := within()
	for len(got) < count {
		fetches := consumer.PollFetches(ctx)
		must(fetches.Err(), fmt.Sprintf("reading %s, %d of %d records came", topic, len(got), count))
		got = append(got, fetches.Records()...)
	}
	for i, record := range got {
		check(record.Offset == got[0].Offset+int64(i), "offset %d follows %d", record.Offset, got[0].Offset+int64(i)-1)
	}
	return got
}

func (r run) weakAcks() {
	step("acks 0 and 1")
	topic := r.prefix + "-acks"
	r.createTopic(topic, 1, nil)
	for _, acks := range []kgo.Acks{kgo.NoAck(), kgo.LeaderAck()} {
		producer := r.client(kgo.RequiredAcks(acks), kgo.DisableIdempotentWrite(), kgo.DefaultProduceTopic(topic))
		for i := range 100 {
			producer.Produce(context.Background(), kgo.StringRecord(fmt.Sprint(i)), nil)
		}
		must(producer.Flush(within()), "flush")
		producer.Close()
	}
	r.read(topic, 0, kgo.NewOffset().At(0), 200)
}

func (r run) tooLarge() {
	step("a record that is too large")
	topic := r.prefix + "-large"
	r.createTopic(topic, 1, nil)
	producer := r.client(kgo.ProducerBatchMaxBytes(8<<20), kgo.DefaultProduceTopic(topic),
		kgo.ProducerBatchCompression(kgo.NoCompression()))
	defer producer.Close()
	err := producer.ProduceSync(within(), &kgo.Record{Value: noise(2<<20, 1)}).FirstErr()
	check(errors.Is(err, kerr.MessageTooLarge), "a record of 2 MiB: %v", err)
}
