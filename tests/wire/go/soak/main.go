// Command soak calls gateways for some time over many routes, and has each call that finds none tried again. It prints a
// line for each route.
//
// Usage: soak SECONDS PAUSE ATTEMPTS AUTHORITY ROUTE... A route is its name, = and its addresses, of which the next one is
// tried after a failure; TLS is used if the name begins with tls. A line has the name, and how many calls were made, tried
// again, and lost; then what the lost ones were told.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	allocationv1 "github.com/allocation-gateway/allocation-gateway/clients/go/allocation/v1"
)

const deadline = 10 * time.Second

func main() {
	if len(os.Args) < 6 {
		log.Fatal("too few arguments")
	}
	numbers := make([]int, 3)
	for index := range numbers {
		number, err := strconv.Atoi(os.Args[index+1])
		if err != nil {
			log.Fatal(err)
		}
		numbers[index] = number
	}
	end := time.Now().Add(time.Duration(numbers[0]) * time.Second)
	tls, err := credentials.NewClientTLSFromFile(os.Args[4], "")
	if err != nil {
		log.Fatal(err)
	}
	var group sync.WaitGroup
	for _, route := range os.Args[5:] {
		group.Go(func() { follow(route, tls, end, time.Duration(numbers[1])*time.Millisecond, numbers[2]) })
	}
	group.Wait()
}

func follow(route string, tls credentials.TransportCredentials, end time.Time, pause time.Duration, attempts int) {
	name, addresses, _ := strings.Cut(route, "=")
	security := insecure.NewCredentials()
	if strings.HasPrefix(name, "tls") {
		security = tls
	}
	var clients []allocationv1.ShipmentAllocationServiceClient
	for address := range strings.SplitSeq(addresses, ",") {
		connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(security))
		if err != nil {
			log.Fatal(err)
		}
		defer func() { _ = connection.Close() }()
		clients = append(clients, allocationv1.NewShipmentAllocationServiceClient(connection))
	}
	calls, again := 0, 0
	var lost []string
	for ; time.Now().Before(end); calls++ {
		for attempt := 1; ; attempt++ {
			err := call(clients[(calls+attempt)%len(clients)], calls)
			if err == nil {
				break
			}
			if status.Code(err) != codes.Unavailable || attempt == attempts {
				lost = append(lost, err.Error())
				break
			}
			again++
			time.Sleep(pause << attempt)
		}
		time.Sleep(pause)
	}
	fmt.Println("go", name, calls, again, len(lost), strings.Join(lost, " "))
}

func call(client allocationv1.ShipmentAllocationServiceClient, number int) error {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	request := &allocationv1.GetShipmentAllocationRequest{ShipmentReference: fmt.Sprintf("sp_%d", number)}
	_, err := client.GetShipmentAllocation(ctx, request)
	return err
}
