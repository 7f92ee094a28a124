package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Kill -9 under load. Idempotent producers, a consumer group that commits and an auditor that reads everything run
// through all rounds; each round kills the broker at a random moment after it said it was ready, some kill it again
// while it recovers. What is promised afterwards:
//
//   - every acknowledged record is at its offset with its bytes,
//   - each producer's sequence in each partition is there once, in order, without a gap,
//   - what a consumer was shown before a kill is what it is shown afterwards,
//   - a group's committed offset is never below one that was acknowledged, nor below one that was fetched.
//
// A run whose kills met no load proves nothing, and is rejected.
const (
	k9Topic      = "kill9"
	k9Group      = "kill9-group"
	k9Partitions = 6
	k9Producers  = 3
	k9Members    = 2
	// So many records of a producer wait for their answers at any time: enough that a kill always finds some, however
	// fast the broker, and few enough that this stays a load and not a benchmark.
	k9InFlight = 24
	readyLimit = 60 * time.Second
	// Every so many rounds the broker is killed while it recovers as well, or a member of the group is replaced.
	recoveryKillEvery = 5
	memberSwapEvery   = 7
)

type options struct {
	addr, brokerLog, acks string
	ready                 *regexp.Regexp
	rounds                int
	killAfter, killWithin time.Duration
	seed                  int64
	command, beside       []string
}

func kill9(args []string) int {
	var o options
	flags := flag.NewFlagSet("kill9", flag.ExitOnError)
	flags.StringVar(&o.addr, "addr", "", "the address the broker will listen on, in every round")
	flags.StringVar(&o.brokerLog, "broker-log", "broker.log", "where the broker's output goes")
	flags.StringVar(&o.acks, "acks", "acks.tsv", "where acknowledgements are listed: round, partition, offset, producer, sequence")
	ready := flags.String("ready", "^ready ", "what a line of the broker's stdout matches once it accepts connections")
	flags.IntVar(&o.rounds, "rounds", 50, "kills that have to hit load")
	flags.DurationVar(&o.killAfter, "kill-after", 50*time.Millisecond, "the soonest kill after readiness")
	flags.DurationVar(&o.killWithin, "kill-within", 600*time.Millisecond, "the latest")
	flags.Int64Var(&o.seed, "seed", time.Now().UnixNano(), "for the random moments")
	must(flags.Parse(args), "flags")
	o.ready = regexp.MustCompile(*ready)
	o.command = flags.Args()
	if at := slices.Index(o.command, "--"); at >= 0 {
		o.command, o.beside = o.command[:at], o.command[at+1:]
	}
	check(len(o.command) > 0 && o.addr != "", "usage: interop kill9 -addr ADDR [flags] -- BROKER COMMAND... [-- COMMAND BESIDE...]")

	fmt.Printf("seed %d\n", o.seed)
	b := &brokerProcess{o: o}
	defer b.kill()
	l := newLoad(o)
	err := l.torture(b)
	l.acksFile.Flush()
	if err != nil {
		b.kill()
		fail("%v", err)
	}
	return 0
}

// brokerProcess is the broker that is started, killed and started again.
type brokerProcess struct {
	o       options
	cmd     *exec.Cmd
	startup time.Duration
	readyAt time.Time
}

// spawn starts the broker; the channel yields nil once it is ready, or why it is not.
func (b *brokerProcess) spawn() (<-chan error, error) {
	log, err := os.OpenFile(b.o.brokerLog, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	b.cmd = exec.Command(b.o.command[0], b.o.command[1:]...)
	b.cmd.Stderr = log
	stdout, err := b.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := b.cmd.Start(); err != nil {
		return nil, err
	}
	ready := make(chan error, 1)
	go func() {
		defer log.Close()
		lines := bufio.NewScanner(stdout)
		lines.Buffer(nil, 1<<20)
		said := false
		for lines.Scan() {
			fmt.Fprintln(log, lines.Text())
			if !said && b.o.ready.MatchString(lines.Text()) {
				said = true
				ready <- nil
			}
		}
		if !said {
			ready <- errors.New("the broker ended before it was ready")
		}
	}()
	return ready, nil
}

func (b *brokerProcess) start() error {
	began := time.Now()
	ready, err := b.spawn()
	if err != nil {
		return err
	}
	select {
	case err = <-ready:
	case <-time.After(readyLimit):
		err = fmt.Errorf("the broker was not ready after %v", readyLimit)
	}
	b.readyAt = time.Now()
	b.startup = b.readyAt.Sub(began)
	return err
}

func (b *brokerProcess) kill() {
	if b.cmd != nil && b.cmd.ProcessState == nil {
		_ = b.cmd.Process.Kill()
		_ = b.cmd.Wait()
	}
}

// alive tells a broker that ended by itself, which no kill may hide.
func (b *brokerProcess) alive() error {
	var status syscall.WaitStatus
	if pid, _ := syscall.Wait4(b.cmd.Process.Pid, &status, syscall.WNOHANG, nil); pid != 0 {
		return fmt.Errorf("the broker ended by itself, status %v", status)
	}
	return nil
}

// stop is an orderly end, after which nothing may be missing either.
func (b *brokerProcess) stop() error {
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() { _ = b.cmd.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-time.After(readyLimit):
		return errors.New("the broker did not stop after SIGTERM")
	}
}

// ---- what is written

// mix is splitmix64: the payload's bytes follow from who wrote it and its number alone.
func mix(x *uint64) uint64 {
	*x += 0x9e3779b97f4a7c15
	z := *x
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func payload(producer, partition int, seq int64) []byte {
	state := uint64(producer)<<56 | uint64(partition)<<48 | uint64(seq)
	size := 50 + int(mix(&state)%2000)
	if seq%499 == 250 {
		size = 200_000
	}
	value := make([]byte, 0, size+8)
	for len(value) < size {
		word := mix(&state)
		for shift := 0; shift < 64; shift += 8 {
			value = append(value, byte(word>>shift))
		}
	}
	return value[:size]
}

func key(producer, partition int, seq int64) string {
	return fmt.Sprintf("%d/%d/%d", producer, partition, seq)
}

// id is a record's writer and number in one word, for the tables.
func id(producer int, seq int64) int64 { return int64(producer)<<48 | seq }

// ---- the load

type load struct {
	o        options
	acksFile *bufio.Writer

	mu      sync.Mutex
	failure error
	acked   [k9Partitions]map[int64]int64 // offset → id
	highest [k9Partitions]int64           // highest acknowledged offset, -1 before the first
	commits [k9Partitions]int64           // highest acknowledged commit
	fetched [k9Partitions]int64           // highest commit that was fetched
	written [k9Producers][k9Partitions]int64

	round, inFlight, acks, syncs, checks atomic.Int64
	lastAck                              atomic.Int64 // in Unix nanoseconds
	stopping                             atomic.Bool
	producing                            sync.WaitGroup
}

func newLoad(o options) *load {
	acks, err := os.Create(o.acks)
	must(err, "acks file")
	l := &load{o: o, acksFile: bufio.NewWriter(acks)}
	for p := range k9Partitions {
		l.acked[p] = map[int64]int64{}
		l.highest[p] = -1
	}
	return l
}

func (l *load) fail(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failure == nil {
		l.failure = fmt.Errorf(format, args...)
	}
}

func (l *load) failed() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failure
}

func (l *load) client(opts ...kgo.Opt) *kgo.Client {
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(l.o.addr), kgo.AlwaysRetryEOF(), kgo.DialTimeout(time.Second),
		kgo.RetryBackoffFn(func(int) time.Duration { return 30 * time.Millisecond }),
		kgo.RequestRetries(1 << 30), kgo.RetryTimeout(readyLimit), kgo.MetadataMinAge(50 * time.Millisecond),
	}, opts...)...)
	must(err, "client")
	return cl
}

// produce is one idempotent producer over all partitions; it never gives up on a record.
func (l *load) produce(producer int) {
	defer l.producing.Done()
	cl := l.client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxBufferedRecords(k9InFlight),
		kgo.ProducerLinger(time.Millisecond), kgo.UnknownTopicRetries(-1),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProducerOnDataLossDetected(func(_ string, p int32) {
			l.fail("producer %d detected data loss in partition %d", producer, p)
		}))
	defer cl.Close()
	random := rand.New(rand.NewSource(l.o.seed + int64(producer)))
	for !l.stopping.Load() && l.failed() == nil {
		p := random.Intn(k9Partitions)
		seq := l.written[producer][p] // Only this goroutine writes it until it ends.
		l.written[producer][p]++
		l.inFlight.Add(1)
		cl.Produce(context.Background(), &kgo.Record{Topic: k9Topic, Partition: int32(p),
			Key: []byte(key(producer, p, seq)), Value: payload(producer, p, seq)},
			func(r *kgo.Record, err error) { l.answered(producer, p, seq, r, err) })
	}
	ctx, cancel := context.WithTimeout(context.Background(), readyLimit)
	defer cancel()
	if err := cl.Flush(ctx); err != nil {
		l.fail("producer %d: %d records were never answered: %v", producer, cl.BufferedProduceRecords(), err)
	}
}

func (l *load) answered(producer, p int, seq int64, r *kgo.Record, err error) {
	l.inFlight.Add(-1)
	if err != nil {
		l.fail("producer %d, partition %d, sequence %d: %v", producer, p, seq, err)
		return
	}
	l.lastAck.Store(time.Now().UnixNano())
	l.acks.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if before, twice := l.acked[p][r.Offset]; twice && l.failure == nil {
		l.failure = fmt.Errorf("partition %d offset %d was acknowledged twice: %x, then %x", p, r.Offset, before, id(producer, seq))
	}
	l.acked[p][r.Offset] = id(producer, seq)
	l.highest[p] = max(l.highest[p], r.Offset)
	fmt.Fprintf(l.acksFile, "%d\t%d\t%d\t%d\t%d\n", l.round.Load(), p, r.Offset, producer, seq)
}

// k9Member is one member of the group.
type k9Member struct {
	cl   *kgo.Client
	done chan struct{}
}

func (l *load) join() *k9Member {
	m := &k9Member{done: make(chan struct{})}
	m.cl = l.client(kgo.ConsumerGroup(k9Group), kgo.ConsumeTopics(k9Topic), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.HeartbeatInterval(100*time.Millisecond),
		kgo.SessionTimeout(10*time.Second), kgo.BlockRebalanceOnPoll(), kgo.FetchMaxWait(100*time.Millisecond))
	go func() {
		defer close(m.done)
		for {
			fetches := m.cl.PollRecords(context.Background(), 500)
			if fetches.IsClientClosed() {
				return
			}
			l.fetchErrors("a member", fetches)
			l.commit(m.cl)
			m.cl.AllowRebalance()
		}
	}()
	return m
}

func (m *k9Member) leave() {
	m.cl.CloseAllowingRebalance()
	<-m.done
}

// commit remembers what the broker acknowledged, and nothing else.
func (l *load) commit(cl *kgo.Client) {
	uncommitted := cl.UncommittedOffsets()
	if len(uncommitted) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cl.CommitOffsetsSync(ctx, uncommitted, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, answer *kmsg.OffsetCommitResponse, err error) {
		if err != nil {
			return // Not acknowledged: nothing is promised.
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, topic := range answer.Topics {
			for _, p := range topic.Partitions {
				if p.ErrorCode == 0 {
					at := uncommitted[k9Topic][p.Partition].Offset
					l.commits[p.Partition] = max(l.commits[p.Partition], at)
					l.syncs.Add(1)
				}
			}
		}
	})
}

func (l *load) fetchErrors(who string, fetches kgo.Fetches) {
	fetches.EachError(func(_ string, p int32, err error) {
		var loss *kgo.ErrDataLoss
		if errors.As(err, &loss) || errors.Is(err, kerr.OffsetOutOfRange) || errors.Is(err, kerr.CorruptMessage) {
			l.fail("%s, partition %d: %v", who, p, err)
		}
	})
}

// ---- the checks

// ledger is what a reader saw from offset 0 on, checked as it comes.
type ledger struct {
	ids  [k9Partitions][]int64
	next [k9Partitions][k9Producers]int64
}

func (g *ledger) take(r *kgo.Record) error {
	p := int(r.Partition)
	if r.Offset != int64(len(g.ids[p])) {
		return fmt.Errorf("partition %d: offset %d after %d", p, r.Offset, len(g.ids[p])-1)
	}
	var producer, partition int
	var seq int64
	if _, err := fmt.Sscanf(string(r.Key), "%d/%d/%d", &producer, &partition, &seq); err != nil ||
		partition != p || producer < 0 || producer >= k9Producers {
		return fmt.Errorf("partition %d offset %d: a key nobody wrote here: %q", p, r.Offset, r.Key)
	}
	if want := g.next[p][producer]; seq != want {
		what := "missing"
		if seq < want {
			what = "there twice, or out of order"
		}
		return fmt.Errorf("partition %d offset %d: producer %d's sequence %d where %d belongs: something is %s",
			p, r.Offset, producer, seq, want, what)
	}
	if !bytes.Equal(r.Value, payload(producer, p, seq)) {
		return fmt.Errorf("partition %d offset %d: producer %d's sequence %d has other bytes", p, r.Offset, producer, seq)
	}
	g.next[p][producer]++
	g.ids[p] = append(g.ids[p], id(producer, seq))
	return nil
}

// read fills a ledger until done says so.
func (l *load) read(who string, g *ledger, done func() bool) {
	start := map[int32]kgo.Offset{}
	for p := range int32(k9Partitions) {
		start[p] = kgo.NewOffset().At(0)
	}
	cl := l.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{k9Topic: start}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.FetchMaxWait(100*time.Millisecond))
	defer cl.Close()
	for !done() && l.failed() == nil {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		fetches := cl.PollFetches(ctx)
		cancel()
		l.fetchErrors(who, fetches)
		fetches.EachRecord(func(r *kgo.Record) {
			if l.failed() == nil {
				if err := g.take(r); err != nil {
					l.fail("%s: %v", who, err)
				}
			}
		})
	}
}

// observe asks, over and over, for end offsets and committed offsets: neither may be below what was acknowledged
// before the question. It returns whether the broker answered for every partition.
func (l *load) observe(admin *kadm.Client) bool {
	l.mu.Lock()
	highest, commits := l.highest, l.commits
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	answered := 0
	if ends, err := admin.ListEndOffsets(ctx, k9Topic); err == nil {
		ends.Each(func(o kadm.ListedOffset) {
			if o.Err == nil {
				answered++
				if o.Offset <= highest[o.Partition] {
					l.fail("partition %d ends at %d, below the acknowledged offset %d", o.Partition, o.Offset, highest[o.Partition])
				}
			}
		})
	}
	if offsets, err := admin.FetchOffsets(ctx, k9Group); err == nil {
		for p := range int32(k9Partitions) {
			o, found := offsets.Lookup(k9Topic, p)
			if found && o.Err != nil {
				continue
			}
			answered++
			least := max(commits[p], l.fetched[p])
			if at := max(o.At, 0); at < least {
				l.fail("partition %d: the group's offset went back from %d to %d", p, least, at)
			} else {
				l.fetched[p] = at // Only the observer, then the end, use it.
			}
		}
	}
	return answered == 2*k9Partitions
}

// torture runs the rounds and then checks everything again.
func (l *load) torture(b *brokerProcess) error {
	if err := b.start(); err != nil {
		return err
	}
	r := run{addr: l.o.addr}
	r.createTopic(k9Topic, k9Partitions, nil)
	beside, err := startBeside(l.o.beside, func(status error) {
		if status != nil {
			l.fail("the load beside: %v", status)
		}
	})
	if err != nil {
		return err
	}
	for producer := range k9Producers {
		l.producing.Add(1)
		go l.produce(producer)
	}
	members := make([]*k9Member, k9Members)
	for i := range members {
		members[i] = l.join()
	}
	auditor := &ledger{}
	var end atomic.Pointer[[k9Partitions]int64]
	audited := make(chan struct{})
	go func() {
		defer close(audited)
		l.read("the auditor", auditor, func() bool { return reached(auditor, end.Load()) })
	}()
	admin := kadm.NewClient(l.client())
	defer admin.Close()
	observed := make(chan struct{})
	go func() {
		defer close(observed)
		for !l.stopping.Load() && l.failed() == nil {
			if l.observe(admin) {
				l.checks.Add(1)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()

	// Not a kill before the load runs at all: the first connections and the group need their time.
	began := time.Now()
	for l.acks.Load() == 0 || l.syncs.Load() == 0 {
		if err := l.failed(); err != nil {
			return err
		}
		if time.Since(began) > readyLimit {
			return errors.New("the load never started")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := beside.awaitLoaded(); err != nil {
		return err
	}
	b.readyAt = time.Now()
	evidence, err := l.rounds(b, beside, members)
	if err != nil {
		return err
	}

	l.stopping.Store(true)
	l.producing.Wait()
	<-observed
	if err := l.failed(); err != nil {
		return err
	}
	var total int64
	var last [k9Partitions]int64
	for p := range k9Partitions {
		for producer := range k9Producers {
			last[p] += l.written[producer][p]
		}
		total += last[p]
	}
	end.Store(&last)
	if err := l.ends("the auditor", audited, auditor, last); err != nil {
		return err
	}
	began = time.Now()
	for l.observe(admin); l.fetched != last; l.observe(admin) {
		if time.Since(began) > readyLimit {
			return fmt.Errorf("the group did not commit everything: %v of %v", l.fetched, last)
		}
		time.Sleep(50 * time.Millisecond)
	}
	for _, m := range members {
		m.leave()
	}

	// One more kill, without load of these clients, and everything once more from the start.
	b.kill()
	beside.killed()
	if err := b.start(); err != nil {
		return err
	}
	beside.stop()
	again := &ledger{}
	reread := make(chan struct{})
	go func() {
		defer close(reread)
		l.read("the second reading", again, func() bool { return reached(again, &last) })
	}()
	if err := l.ends("the second reading", reread, again, last); err != nil {
		return err
	}
	for p := range k9Partitions {
		if !slices.Equal(auditor.ids[p], again.ids[p]) {
			return fmt.Errorf("partition %d: what was shown before a kill is not what is there now", p)
		}
		for offset, want := range l.acked[p] {
			if offset >= int64(len(again.ids[p])) || again.ids[p][offset] != want {
				return fmt.Errorf("partition %d: the record acknowledged at offset %d is not there", p, offset)
			}
		}
	}
	if l.observe(admin); l.fetched != last {
		return fmt.Errorf("the group's offsets are %v after the last kill, want %v", l.fetched, last)
	}
	if err := errors.Join(l.failed(), beside.verdict()); err != nil {
		return err
	}
	if err := b.stop(); err != nil {
		return err
	}
	fmt.Printf("%d records, all acknowledged, at their offsets with their bytes, none twice; %d commits; %d checks between the kills\n",
		total, l.syncs.Load(), l.checks.Load())
	return evidence.verdict(l)
}

func reached(g *ledger, end *[k9Partitions]int64) bool {
	if end == nil {
		return false
	}
	for p, want := range end {
		if int64(len(g.ids[p])) < want {
			return false
		}
	}
	return true
}

// ends waits for a reader and compares how far it came with what was written.
func (l *load) ends(who string, done <-chan struct{}, g *ledger, last [k9Partitions]int64) error {
	select {
	case <-done:
	case <-time.After(readyLimit):
		return fmt.Errorf("%s did not reach the end in %v", who, readyLimit)
	}
	if err := l.failed(); err != nil {
		return err
	}
	for p, want := range last {
		if got := int64(len(g.ids[p])); got != want {
			return fmt.Errorf("%s: partition %d has %d records, %d were written", who, p, got, want)
		}
	}
	return nil
}

// ---- the rounds

// evidence shows what the kills hit.
type evidence struct {
	kills, loaded, early, midRecovery int
	inFlight, acks                    []int64
	startups, resumed                 []time.Duration
}

// rounds kills until enough kills hit running load, or too many did not.
func (l *load) rounds(b *brokerProcess, beside *beside, members []*k9Member) (*evidence, error) {
	random := rand.New(rand.NewSource(l.o.seed))
	e := &evidence{}
	for e.loaded < l.o.rounds && e.kills < l.o.rounds+l.o.rounds/2+2 {
		l.round.Add(1)
		acksBefore := l.acks.Load() // Answers from before the kill have all come in by now.
		moment := l.o.killAfter + time.Duration(random.Int63n(int64(l.o.killWithin-l.o.killAfter)))
		first := time.Duration(0)
		for time.Since(b.readyAt) < moment {
			if first == 0 && l.acks.Load() > acksBefore {
				first = time.Since(b.readyAt)
			}
			time.Sleep(time.Millisecond)
		}
		if err := errors.Join(l.failed(), b.alive()); err != nil {
			return e, fmt.Errorf("round %d: %w", e.kills+1, err)
		}
		inFlight, acks := l.inFlight.Load(), l.acks.Load()-acksBefore
		quiet := time.Since(time.Unix(0, l.lastAck.Load()))
		b.kill()
		beside.killed()
		e.kills++
		e.inFlight = append(e.inFlight, inFlight)
		e.acks = append(e.acks, acks)
		if first > 0 {
			e.resumed = append(e.resumed, first)
		}
		// Load is: records were acknowledged since the start, the last one just now, and others wait for their answer.
		// (A producer may count one more, which waits for room.)
		if acks > 0 && inFlight > k9Producers && quiet < 200*time.Millisecond {
			e.loaded++
		} else {
			e.early++
		}
		if e.kills%recoveryKillEvery == 0 {
			if _, err := b.spawn(); err != nil {
				return e, err
			}
			time.Sleep(time.Duration(random.Int63n(int64(b.startup) + 1)))
			b.kill()
			e.midRecovery++
		}
		if e.kills%memberSwapEvery == 0 {
			// One leaves and another joins while the broker is down: the group changes across the restart.
			i := random.Intn(len(members))
			go members[i].leave()
			members[i] = l.join()
		}
		if err := b.start(); err != nil {
			return e, fmt.Errorf("after kill %d: %w", e.kills, err)
		}
		e.startups = append(e.startups, b.startup)
		fmt.Printf("kill %d after %v: %d acknowledged in the round, %d in flight, last answer %v before; ready again in %v\n",
			e.kills, moment.Round(time.Millisecond), acks, inFlight, quiet.Round(time.Millisecond), b.startup.Round(time.Millisecond))
	}
	return e, l.failed()
}

// verdict rejects a run whose kills did not meet load, and one that was hardly checked in between.
func (e *evidence) verdict(l *load) error {
	fmt.Printf("%d kills: %d under load, %d before it had resumed; %d more during recovery\n", e.kills, e.loaded, e.early, e.midRecovery)
	fmt.Printf("median of a round: %d acknowledged, %d in flight at the kill, ready in %v, first answer after %v\n",
		median(e.acks), median(e.inFlight), median(e.startups), median(e.resumed))
	switch {
	case e.loaded < l.o.rounds:
		return fmt.Errorf("rejected: only %d of %d kills met load", e.loaded, e.kills)
	case l.acks.Load() < int64(100*l.o.rounds):
		return fmt.Errorf("rejected: only %d acknowledgements", l.acks.Load())
	case l.syncs.Load() < int64(l.o.rounds):
		return fmt.Errorf("rejected: only %d acknowledged commits", l.syncs.Load())
	case l.checks.Load() < int64(l.o.rounds)/2:
		return fmt.Errorf("rejected: only %d checks between the kills", l.checks.Load())
	}
	return nil
}

func median[T int64 | time.Duration](values []T) T {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	return sorted[len(sorted)/2]
}
