// Reads a shipment by the Go client: a call for each line of standard input, a line of standard output for each.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"google.golang.org/grpc/metadata"

	allocationv1 "github.com/allocation-gateway/allocation-gateway/clients/go/allocation/v1"
	"github.com/allocation-gateway/allocation-gateway/clients/go/gateway"
)

const shipment = "sp_00794403010635468411384028069888"

type told struct {
	Address    string
	Plaintext  bool
	CA         string
	Cert       string
	Key        string
	ServerName string
	TokenFile  string
	Metadata   map[string]string
	TimeoutMs  int
}

func main() {
	var about told
	check(json.Unmarshal([]byte(os.Args[1]), &about))
	client, err := gateway.NewClient(about.Address, options(about)...)
	check(err)
	defer func() { _ = client.Close() }()
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var call told
		check(json.Unmarshal(lines.Bytes(), &call))
		fmt.Println(read(client, call))
	}
	check(lines.Err())
}

func options(about told) []gateway.Option {
	found := []gateway.Option{gateway.WithMetadata(about.Metadata)}
	if about.Plaintext {
		found = append(found, gateway.WithPlaintext())
	} else {
		found = append(found, gateway.WithTLS(trusting(about)))
	}
	if about.TokenFile != "" {
		found = append(found, gateway.WithTokenFile(about.TokenFile))
	}
	if about.TimeoutMs > 0 {
		found = append(found, gateway.WithTimeout(milliseconds(about.TimeoutMs)))
	}
	return found
}

// trusting returns how TLS is done: by the system's authorities if no other is told.
func trusting(about told) *tls.Config {
	config := &tls.Config{ServerName: about.ServerName}
	if about.CA != "" {
		pem, err := os.ReadFile(about.CA)
		check(err)
		config.RootCAs = x509.NewCertPool()
		config.RootCAs.AppendCertsFromPEM(pem)
	}
	if about.Cert != "" {
		// Read for each connection: what has been renewed counts.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(about.Cert, about.Key)
			return &pair, err
		}
	}
	return config
}

func read(client *gateway.Client, call told) string {
	ctx := context.Background()
	if call.TimeoutMs > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, milliseconds(call.TimeoutMs))
		defer cancel()
	}
	for name, value := range call.Metadata {
		ctx = metadata.AppendToOutgoingContext(ctx, name, value)
	}
	answer, err := client.Shipments.GetShipmentAllocation(
		ctx, &allocationv1.GetShipmentAllocationRequest{ShipmentReference: shipment},
	)
	var failure *gateway.Error
	if errors.As(err, &failure) {
		return failure.Kind.Error()
	}
	check(err)
	return answer.GetAllocation().GetShipmentReference()
}

func milliseconds(count int) time.Duration { return time.Duration(count) * time.Millisecond }

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
