// Command wave is the loop that a Go team would write by hand around upstream's bulk calls: a hundred shipments at a
// time, some calls at once, then reading each shipment until it is allocated. It has none of what the promise needs: no
// claims, no reading back of what was not answered, no repetition, limits, breaker or budgets. It ends at the first
// answer that it does not expect.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// What one bulk call may have.
	bulk = 100
	// As many bulk calls as a stream has under way, and as many readings as are under way at once while upstream is quick.
	calls    = 8
	readings = 16
	// How long a shipment is left alone before it is read, and read again.
	interval     = time.Second
	maxBodyBytes = 4 << 20
	microsecond  = 1e-6
)

type wave struct {
	base, key string
	client    *http.Client
	bulkCalls atomic.Int64
	readings  atomic.Int64
}

// told is what the program says at its end.
type told struct {
	Seconds   float64 `json:"seconds"`
	CPU       float64 `json:"cpu"`
	MostKB    int64   `json:"most_kb"`
	Done      int     `json:"done"`
	BulkCalls int64   `json:"bulk_calls"`
	Readings  int64   `json:"readings"`
}

// due is a shipment that is to be read.
type due struct {
	reference string
	at        time.Time
}

// do makes a request, and reads its answer into result.
func (w *wave) do(method, path string, body, result any) {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			log.Fatal(err)
		}
		content = bytes.NewReader(text)
	}
	request, err := http.NewRequest(method, w.base+path, content)
	if err != nil {
		log.Fatal(err)
	}
	request.Header.Set("x-api-key", w.key)
	request.Header.Set("x-api-version", "1.1")
	request.Header.Set("Accept", "application/json")
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	answer, err := w.client.Do(request)
	if err != nil {
		log.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxBodyBytes))
	if err != nil {
		log.Fatal(err)
	}
	if answer.StatusCode >= http.StatusMultipleChoices {
		log.Fatalf("%s %s: %s: %s", method, path, answer.Status, text)
	}
	if err := json.Unmarshal(text, result); err != nil {
		log.Fatal(err)
	}
}

// queue has upstream queue some shipments.
func (w *wave) queue(references []string) {
	var answer struct {
		Queued []string `json:"queued"`
	}
	w.do(http.MethodPut, "/shipments/allocate", map[string]any{"shipments": references}, &answer)
	w.bulkCalls.Add(1)
	if len(answer.Queued) != len(references) {
		log.Fatalf("upstream has queued %d of %d shipments", len(answer.Queued), len(references))
	}
}

// isAllocated reads a shipment once.
func (w *wave) isAllocated(reference string) bool {
	var shipment struct {
		State string `json:"state"`
	}
	w.do(http.MethodGet, "/shipments/"+reference, nil, &shipment)
	w.readings.Add(1)
	return strings.EqualFold(shipment.State, "allocated")
}

// queueAll queues all shipments by bulk calls, and gives those that are queued to whoever waits for them.
func (w *wave) queueAll(references []string, queued func([]string)) {
	batches := make(chan []string)
	var workers sync.WaitGroup
	for range calls {
		workers.Go(func() {
			for batch := range batches {
				w.queue(batch)
				queued(batch)
			}
		})
	}
	for len(references) > 0 {
		size := min(bulk, len(references))
		batches <- references[:size]
		references = references[size:]
	}
	close(batches)
	workers.Wait()
}

// await reads shipments until so many are allocated: each when it is due, and again after the interval.
func (w *wave) await(waiting chan due, count int) {
	var left sync.WaitGroup
	left.Add(count)
	for range readings {
		go func() {
			for one := range waiting {
				time.Sleep(time.Until(one.at))
				if w.isAllocated(one.reference) {
					left.Done()
				} else {
					waiting <- due{one.reference, time.Now().Add(interval)}
				}
			}
		}()
	}
	left.Wait()
	close(waiting)
}

// allocate queues all shipments, and waits until they are allocated if that is asked for.
func (w *wave) allocate(references []string, waits bool) {
	if !waits {
		w.queueAll(references, func([]string) {})
		return
	}
	// It has room for all: whoever reads a shipment too early puts it back.
	waiting := make(chan due, len(references))
	go w.queueAll(references, func(batch []string) {
		at := time.Now().Add(interval)
		for _, reference := range batch {
			waiting <- due{reference, at}
		}
	})
	w.await(waiting, len(references))
}

// watch reads shipments that somebody else allocates, until all are.
func (w *wave) watch(references []string) {
	waiting := make(chan due, len(references))
	for _, reference := range references {
		waiting <- due{reference, time.Now()}
	}
	w.await(waiting, len(references))
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		log.Fatal(err)
	}
	seconds := func(used syscall.Timeval) float64 { return float64(used.Sec) + float64(used.Usec)*microsecond }
	return seconds(usage.Utime) + seconds(usage.Stime)
}

// mostKB returns the most memory that this program has had. That of getrusage is of whoever started it, too.
func mostKB() int64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		log.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var most int64
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &most); err == nil {
			return most
		}
	}
	log.Fatal("/proc/self/status does not tell VmHWM")
	return 0
}

func main() {
	upstream := flag.String("upstream", "", "the URL of the REST API")
	key := flag.String("key", "", "its key")
	until := flag.String("until", "queued", "queued, allocated, or watched: somebody else has them allocated")
	flag.Parse()
	// One reference in each line.
	var references []string
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		references = append(references, lines.Text())
	}
	transport := &http.Transport{MaxIdleConnsPerHost: calls + readings}
	w := &wave{base: *upstream, key: *key, client: &http.Client{Transport: transport}}
	begun := time.Now()
	before := cpuSeconds()
	if *until == "watched" {
		w.watch(references)
	} else {
		w.allocate(references, *until == "allocated")
	}
	seconds := time.Since(begun).Seconds()
	used := cpuSeconds() - before
	text, err := json.Marshal(told{
		Seconds: seconds, CPU: used, MostKB: mostKB(), Done: len(references),
		BulkCalls: w.bulkCalls.Load(), Readings: w.readings.Load(),
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(text))
}
