// Command interop drives a Kafka broker with franz-go and with Sarama.
//
//	interop records|groups|admin|sarama ADDR PREFIX TARGET
//	interop create-topic ADDR TOPIC PARTITIONS
//	interop kill9 [flags] -- BROKER COMMAND... [-- COMMAND BESIDE...]
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// limit bounds every wait for the broker.
const limit = 60 * time.Second

// base is a recent time in whole milliseconds: retention leaves it alone.
var base = time.UnixMilli(time.Now().Add(-time.Hour).UnixMilli())

// run is what every case is given: where the broker is and a prefix for its names.
type run struct {
	addr, prefix, target string
}

func main() {
	args := os.Args[1:]
	if len(args) > 0 && args[0] == "kill9" {
		os.Exit(kill9(args[1:]))
	}
	if len(args) != 4 {
		fail("usage: interop CASE ADDR PREFIX TARGET")
	}
	r := run{args[1], args[2], args[3]}
	switch args[0] {
	case "records":
		r.records()
	case "groups":
		r.groups()
	case "admin":
		r.admin()
	case "sarama":
		r.sarama()
	case "create-topic":
		partitions, err := strconv.Atoi(args[3])
		must(err, "partitions")
		r.createTopic(args[2], partitions, nil)
	default:
		fail("no case %q", args[0])
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

func step(format string, args ...any) {
	fmt.Printf("-- "+format+"\n", args...)
}

// within is a context that ends at the limit.
func within() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	_ = cancel // The process ends soon after.
	return ctx
}

// await polls until done holds.
func await(what string, done func() bool) {
	end := time.Now().Add(limit)
	for !done() {
		check(time.Now().Before(end), "timed out waiting until %s", what)
		time.Sleep(20 * time.Millisecond)
	}
}

func (r run) client(opts ...kgo.Opt) *kgo.Client {
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(r.addr)}, opts...)...)
	must(err, "client")
	return cl
}

func (r run) createTopic(topic string, partitions int, configs map[string]*string) {
	cl := r.client()
	defer cl.Close()
	_, err := kadm.NewClient(cl).CreateTopic(within(), int32(partitions), 1, configs, topic)
	must(err, "create topic "+topic)
}
