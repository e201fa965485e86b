// Command caller allocates shipments in one of several ways, for bench/saving.py to see what that takes.
//
// Usage: caller WAY ADDRESS PREFIX GROUP IN_FLIGHT WARM_UP CALLS
//
// References are the prefix and twelve digits. It says "ready" when it is warm, makes its calls when a line has come, and says
// "done" with the carrier and the price of one of them. Then it waits until its input ends.
package main

import (
	"bufio"
	"context"
	"fmt"
	"log"
	"os"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/shopspring/decimal"
)

// allocate allocates a shipment, and returns the name of its carrier and the exact price.
type allocate func(ctx context.Context, shipment, group string) (string, decimal.Decimal, error)

var ways = map[string]func(address string) (allocate, error){"client": byClient, "stub": byStub, "direct": directly}

func main() {
	way, address, prefix, group := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	inFlight, warmUp, calls := number(os.Args[5]), number(os.Args[6]), number(os.Args[7])
	one, err := ways[way](address)
	if err != nil {
		log.Fatal(err)
	}
	var last atomic.Int64
	var carrier, price atomic.Value
	run := func(count int) {
		var workers sync.WaitGroup
		var taken atomic.Int64
		for range inFlight {
			workers.Go(func() {
				for taken.Add(1) <= int64(count) {
					name, gross, err := one(context.Background(), fmt.Sprintf("%s%012d", prefix, last.Add(1)), group)
					if err != nil {
						log.Fatal(err)
					}
					carrier.Store(name)
					price.Store(gross.String())
				}
			})
		}
		workers.Wait()
	}
	input := bufio.NewScanner(os.Stdin)
	run(warmUp)
	fmt.Println("ready")
	input.Scan()
	run(calls)
	fmt.Println("done", carrier.Load(), price.Load())
	input.Scan()
}

func number(text string) int {
	read, err := strconv.Atoi(text)
	if err != nil {
		log.Fatal(err)
	}
	return read
}
