// Command load calls a gRPC gateway, and tells what the calls took and what the processes behind them used meanwhile.
//
// It sends frames that are made in advance, so that it costs little beside what it measures. Three kinds of load:
//
//	closed  a fixed number of calls in flight, each answer followed by the next call
//	open    calls that begin at random times of a given rate, whatever becomes of those before; a latency counts from
//	        the time at which a call should have begun, so that a stall is charged to all calls that it delays
//	burst   a number of calls at once, and the next burst when all of them are answered; the latency is the burst's
//
// The result is one line of JSON.
package main

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// The deadline that every call carries: far beyond what any of them takes, so that it ends none.
	timeout = "60S"
	// Calls in flight at which an open load is given up: the gateway does not keep up with it.
	hopeless  = 20_000
	drainTime = 5 * time.Second
)

// generator makes the calls of one run.
type generator struct {
	connections []*connection
	number      atomic.Uint64
	counting    atomic.Bool
	stopped     atomic.Bool
	isClosed    bool
	burst       *sync.WaitGroup
	from, to    atomic.Int64
	ended       atomic.Uint64
	late        histogram
	overran     bool
	// Closed when no further call is begun by the clock.
	arrived chan struct{}
}

func (g *generator) next() uint64 { return g.number.Add(1) }

// finished takes note of an answer. The connection's lock is held.
func (g *generator) finished(c *connection, done call) {
	at := now()
	if g.isClosed && !g.stopped.Load() {
		c.begin(call{intended: at, number: g.next()})
	}
	// Loaded once: if counting ended between two loads, an answer would be in one of the numbers alone.
	isCounting := g.counting.Load()
	if isCounting {
		g.ended.Add(1)
	}
	if g.counts(done, isCounting) {
		c.statuses[done.status]++
		c.latencies.add(at - done.intended)
	}
	if g.burst != nil {
		g.burst.Done()
	}
}

// counts tells whether an answer belongs to the window: by its end where answers drive the load; by its beginning where a
// clock does, so that slow answers are not left out.
func (g *generator) counts(done call, isCounting bool) bool {
	if g.isClosed || g.burst != nil {
		return isCounting
	}
	from, to := g.from.Load(), g.to.Load()
	return from > 0 && done.intended >= from && (to == 0 || done.intended < to)
}

func (g *generator) inFlight() (total int64) {
	for _, c := range g.connections {
		total += c.inFlight.Load()
	}
	return total
}

func (g *generator) beginOn(index int, intended int64) {
	c := g.connections[index%len(g.connections)]
	c.lock.Lock()
	c.begin(call{intended: intended, number: g.next()})
	err := c.flush()
	c.lock.Unlock()
	if err != nil {
		log.Fatal(err)
	}
}

// fill begins the calls of a closed load, spread over a time so that their answers are spread too.
func (g *generator) fill(calls int, over time.Duration) {
	for index := range calls {
		g.beginOn(index, now())
		if over > 0 {
			time.Sleep(over / time.Duration(calls))
		}
	}
}

// arrive begins the calls of an open load. It sleeps in the kernel: the runtime's own timers are up to a millisecond late.
func (g *generator) arrive(rate float64, seed uint64) {
	defer close(g.arrived)
	runtime.LockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	random := rand.New(rand.NewPCG(seed, seed))
	due := float64(now())
	for index := 0; !g.stopped.Load(); index++ {
		due += random.ExpFloat64() / rate * 1e9
		if wait := int64(due) - now(); wait > 0 {
			rest := syscall.NsecToTimespec(wait)
			_ = syscall.Nanosleep(&rest, nil)
		}
		if g.inFlight() > hopeless {
			g.overran = true
			return
		}
		if g.counting.Load() {
			g.late.add(now() - int64(due))
		}
		g.beginOn(index, int64(due))
	}
}

// repeat makes bursts until it is stopped, and returns how long those took that ended within the window.
func (g *generator) repeat(calls int, walls *histogram) {
	for !g.stopped.Load() {
		start := now()
		g.burst.Add(calls)
		for index := range calls {
			c := g.connections[index%len(g.connections)]
			c.lock.Lock()
			c.begin(call{intended: start, number: g.next()})
			c.lock.Unlock()
		}
		for _, c := range g.connections {
			c.lock.Lock()
			err := c.flush()
			c.lock.Unlock()
			if err != nil {
				log.Fatal(err)
			}
		}
		g.burst.Wait()
		if g.counting.Load() {
			walls.add(now() - start)
		}
	}
}

func (g *generator) connect(address string, security *tls.Config, count int, template *request) {
	for range count {
		c, err := dial(address, security, template, g.finished)
		if err != nil {
			log.Fatal(err)
		}
		g.connections = append(g.connections, c)
		go func() {
			if err := c.run(); !g.stopped.Load() {
				log.Fatal("connection lost: ", err)
			}
		}()
		select {
		case <-c.ready:
		case <-time.After(drainTime):
			log.Fatal("the gateway does not speak HTTP/2")
		}
	}
}

func pidsOf(text string) map[string]int {
	pids := map[string]int{"load": os.Getpid()}
	for part := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(part, "=")
		if pid, err := strconv.Atoi(value); err == nil {
			pids[name] = pid
		}
	}
	return pids
}

func main() {
	address := flag.String("address", "", "the gateway, host:port")
	method := flag.String("method", "", "the path of the rpc")
	message := flag.String("message", "", "the request in base64; each long run of # is filled with digits of its own")
	mode := flag.String("mode", "closed", "closed, open or burst")
	calls := flag.Int("calls", 64, "calls in flight, or of a burst")
	connections := flag.Int("connections", 8, "connections that the calls are spread over")
	rate := flag.Float64("rate", 1000, "calls per second of an open load")
	ramp := flag.Duration("ramp", 0, "the time over which a closed load begins")
	warmup := flag.Duration("warmup", time.Second, "the time before the window, after the ramp")
	duration := flag.Duration("duration", 3*time.Second, "the length of the window")
	first := flag.Uint64("first", 0, "the number of the first call; no two runs may share one")
	pids := flag.String("pids", "", "the processes to watch, as name=pid,name=pid")
	stats := flag.String("stats", "", "where upstream tells its counts")
	authorities := flag.String("ca", "", "the authorities that vouch for the gateway, PEM; set, the calls are made over TLS")
	certificate := flag.String("certificate", "", "the certificate of the client, PEM")
	key := flag.String("key", "", "its private key, PEM")
	tokenFile := flag.String("token", "", "the file that holds a bearer token, which every call carries")
	flag.Parse()

	bytes, err := base64.StdEncoding.DecodeString(*message)
	if err != nil {
		log.Fatal(err)
	}
	g := &generator{isClosed: *mode == "closed", arrived: make(chan struct{})}
	g.number.Store(*first)
	if *mode == "burst" {
		g.burst = &sync.WaitGroup{}
	}
	security, err := clientTLS(*authorities, *certificate, *key)
	if err != nil {
		log.Fatal(err)
	}
	metadata, err := bearer(*tokenFile)
	if err != nil {
		log.Fatal(err)
	}
	scheme := "http"
	if security != nil {
		scheme = "https"
	}
	g.connect(*address, security, *connections, newRequest(scheme, *address, *method, metadata, bytes))
	walls := &histogram{}
	switch *mode {
	case "closed":
		g.fill(*calls, *ramp)
	case "open":
		go g.arrive(*rate, *first+1)
	case "burst":
		go g.repeat(*calls, walls)
	default:
		log.Fatal("no such mode: ", *mode)
	}
	time.Sleep(*warmup)

	var begun, ended int64
	seen, err := watch(pidsOf(*pids), *stats, time.Now().Add(*duration),
		func() { begun = now(); g.from.Store(begun); g.counting.Store(true) },
		func() { g.counting.Store(false); ended = now(); g.to.Store(ended) })
	if err != nil {
		log.Fatal(err)
	}
	inFlight := g.inFlight()
	g.stopped.Store(true)
	if *mode == "open" {
		// A call that is begun after the look at what is in flight would be taken for one that nobody answered.
		<-g.arrived
		for end := time.Now().Add(drainTime); g.inFlight() > 0 && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
	}

	statuses, latencies := map[string]uint64{}, histogram{}
	for _, c := range g.connections {
		c.lock.Lock()
		for status, count := range c.statuses {
			statuses[strconv.Itoa(status)] += count
		}
		latencies.merge(&c.latencies)
		c.lock.Unlock()
	}
	answered, unanswered := latencies.total, int64(0)
	switch *mode {
	case "open":
		unanswered = g.inFlight()
	case "burst":
		latencies = *walls
	}
	result := map[string]any{
		"seconds": float64(ended-begun) / 1e9, "ended": g.ended.Load(), "begun": g.number.Load() - *first,
		"answered": answered, "unanswered": unanswered, "overran": g.overran, "statuses": statuses, "in_flight": inFlight,
		"latency_ms": latencies.summary(), "late_ms": g.late.summary(), "seen": seen,
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
