// Allocates shipments by the Go client until its standard input is closed, each once, and prints what became of them.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"sync"
	"sync/atomic"
	"time"

	allocationv1 "github.com/allocation-gateway/allocation-gateway/clients/go/allocation/v1"
	"github.com/allocation-gateway/allocation-gateway/clients/go/gateway"
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"
)

// How often a call is asked for again whose outcome is unknown, each time for as long as the client repeats it by itself.
const asksAgain = 4

type result struct {
	Calls    int               `json:"calls"`
	Attempts int64             `json:"attempts"`
	Longest  float64           `json:"longest"`
	Doubtful int               `json:"doubtful"`
	Failed   map[string]string `json:"failed"`
}

// attempts counts what goes over the network: calls that are repeated count each time.
type attempts struct{ number atomic.Int64 }

func (a *attempts) HandleRPC(_ context.Context, event stats.RPCStats) {
	if _, ok := event.(*stats.Begin); ok {
		a.number.Add(1)
	}
}
func (a *attempts) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (a *attempts) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (a *attempts) HandleConn(context.Context, stats.ConnStats)                       {}

// security returns how the gateway is known, and how it knows this client.
func security(ca, certificate, key, serverName string) gateway.Option {
	if ca == "" {
		return gateway.WithPlaintext()
	}
	authorities, err := os.ReadFile(ca)
	if err != nil {
		log.Fatal(err)
	}
	config := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: serverName, MinVersion: tls.VersionTLS12}
	config.RootCAs.AppendCertsFromPEM(authorities)
	if certificate != "" {
		pair, err := tls.LoadX509KeyPair(certificate, key)
		if err != nil {
			log.Fatal(err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return gateway.WithTLS(config)
}

func main() {
	address := flag.String("address", "", "the gateway")
	first := flag.Int("first", 1, "the number of the first shipment")
	count := flag.Int("count", 1, "how many there are")
	workers := flag.Int("workers", 4, "how many calls are under way at once")
	pause := flag.Float64("pause", 0.1, "how many seconds a worker waits between two calls")
	ca := flag.String("ca", "", "the authorities to trust; none for plain text")
	certificate := flag.String("certificate", "", "the certificate of this client")
	key := flag.String("key", "", "its key")
	serverName := flag.String("server-name", "", "the name that the gateway's certificate has")
	flag.Parse()
	counted := &attempts{}
	client, err := gateway.NewClient(*address, security(*ca, *certificate, *key, *serverName), gateway.WithDialOptions(
		grpc.WithStatsHandler(counted)))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	var stopped atomic.Bool
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stopped.Store(true)
	}()
	var mu sync.Mutex
	told := result{Failed: map[string]string{}}
	var group sync.WaitGroup
	for range *workers {
		group.Add(1)
		go func() {
			defer group.Done()
			for !stopped.Load() {
				mu.Lock()
				number := *first + told.Calls
				if told.Calls == *count {
					mu.Unlock()
					return
				}
				told.Calls++
				mu.Unlock()
				reference := fmt.Sprintf("sp_%032d", number)
				begin := time.Now()
				_, err := client.Shipments.AllocateShipment(context.Background(),
					&allocationv1.AllocateShipmentRequest{ShipmentReference: reference})
				doubtful := 0
				var failure *gateway.Error
				for errors.As(err, &failure) && errors.Is(err, gateway.ErrUnknownOutcome) && doubtful < asksAgain {
					doubtful++
					_, err = client.Call(context.Background(), failure.Request)
				}
				took := time.Since(begin).Seconds()
				mu.Lock()
				told.Doubtful += min(doubtful, 1)
				told.Longest = max(told.Longest, took)
				if err != nil {
					told.Failed[reference] = err.Error()
				}
				mu.Unlock()
				time.Sleep(time.Duration(*pause * float64(time.Second)))
			}
		}()
	}
	group.Wait()
	told.Attempts = counted.number.Load()
	if err := json.NewEncoder(os.Stdout).Encode(told); err != nil {
		log.Fatal(err)
	}
}
