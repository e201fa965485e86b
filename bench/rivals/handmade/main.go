// Command handmade is the gateway that a Go team would write by hand for just these rpcs: grpc-go, net/http, JSON into
// typed structs, exact money. It checks that what it needs is there, passes the deadline on, and turns a refusal into a
// status. It has none of the rest: no claims, retries, limits, breaker, service groups, error details or telemetry.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	allocationv1 "github.com/allocation-gateway/allocation-gateway/clients/go/allocation/v1"
)

const (
	// The largest number of calls in flight that is measured: neither side may be what limits it.
	maxInFlight  = 8192
	maxBodyBytes = 4 << 20
)

type gateway struct {
	allocationv1.UnimplementedShipmentAllocationServiceServer
	base   string
	client *http.Client
}

func (g *gateway) AllocateShipmentWithServiceGroup(
	ctx context.Context, request *allocationv1.AllocateShipmentWithServiceGroupRequest,
) (*allocationv1.AllocateShipmentWithServiceGroupResponse, error) {
	if request.ShipmentReference == "" || request.ServiceGroup == "" {
		return nil, status.Error(codes.InvalidArgument, "shipment_reference and service_group must not be empty")
	}
	path := "/shipments/" + url.PathEscape(request.ShipmentReference) + "/allocate/service_group/" +
		url.PathEscape(request.ServiceGroup)
	var result allocateResult
	if err := g.put(ctx, path, nil, &result); err != nil {
		return nil, err
	}
	allocation, err := result.allocation()
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	if allocation.ShipmentReference != request.ShipmentReference {
		return nil, status.Error(codes.Internal, "the answer is for another shipment")
	}
	return &allocationv1.AllocateShipmentWithServiceGroupResponse{Allocation: allocation}, nil
}

func (g *gateway) AllocateShipmentsWithServiceGroup(
	ctx context.Context, request *allocationv1.AllocateShipmentsWithServiceGroupRequest,
) (*allocationv1.AllocateShipmentsWithServiceGroupResponse, error) {
	if len(request.Shipments) == 0 || request.ServiceGroup == "" {
		return nil, status.Error(codes.InvalidArgument, "shipments and service_group must not be empty")
	}
	var result bulkResult
	body := bulkRequest{Shipments: request.Shipments, ServiceGroup: request.ServiceGroup}
	if err := g.put(ctx, "/shipments/allocate/service_group", body, &result); err != nil {
		return nil, err
	}
	return result.response(request.Shipments), nil
}

// put makes one request, and reads its answer into result.
func (g *gateway) put(ctx context.Context, path string, body, result any) error {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return status.Error(codes.Internal, err.Error())
		}
		content = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, g.base+path, content)
	if err != nil {
		return status.Error(codes.Internal, err.Error())
	}
	request.Header.Set("x-api-key", "bench")
	request.Header.Set("x-api-version", "1.1")
	request.Header.Set("Accept", "application/json")
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	answer, err := g.client.Do(request)
	if err != nil {
		return status.Error(codes.Unavailable, err.Error())
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxBodyBytes))
	if err != nil {
		return status.Error(codes.Unavailable, err.Error())
	}
	if answer.StatusCode >= http.StatusMultipleChoices {
		return refusal(answer.StatusCode, text)
	}
	if err := json.Unmarshal(text, result); err != nil {
		return status.Error(codes.Internal, err.Error())
	}
	return nil
}

func refusal(httpStatus int, text []byte) error {
	var told struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	_ = json.Unmarshal(text, &told)
	code := codes.Internal
	switch httpStatus {
	case http.StatusBadRequest:
		code = codes.InvalidArgument
	case http.StatusNotFound:
		code = codes.NotFound
	case http.StatusConflict:
		code = codes.FailedPrecondition
	case http.StatusTooManyRequests:
		code = codes.ResourceExhausted
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		code = codes.Unavailable
	}
	return status.Error(code, told.Message)
}

func main() {
	address := flag.String("listen", "127.0.0.1:0", "where to listen")
	upstream := flag.String("upstream", "", "the URL of the REST API")
	authorities := flag.String("ca", "", "the authorities that vouch for it, PEM")
	flag.Parse()
	transport := &http.Transport{MaxIdleConnsPerHost: maxInFlight}
	if *authorities != "" {
		text, err := os.ReadFile(*authorities)
		if err != nil {
			log.Fatal(err)
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(text)
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer(grpc.MaxConcurrentStreams(maxInFlight))
	allocationv1.RegisterShipmentAllocationServiceServer(server, &gateway{
		base: *upstream, client: &http.Client{Transport: transport},
	})
	log.Fatal(server.Serve(listener))
}
