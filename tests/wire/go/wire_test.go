// Package wire calls a running gateway by grpc-go, in the ways in which its server could fail a client.
//
// What upstream answers depends on how the reference begins: large_, slow_, missing_, or anything else.
package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	allocationv1 "github.com/allocation-gateway/allocation-gateway/clients/go/allocation/v1"
)

const (
	addressVariable = "ALLOCATION_GATEWAY_ADDRESS"
	patience        = 20 * time.Second
	large           = 200_000
)

func dial(t *testing.T) *grpc.ClientConn {
	t.Helper()
	address := os.Getenv(addressVariable)
	if address == "" {
		t.Fatalf("%s is not set", addressVariable)
	}
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	return connection
}

func connect(t *testing.T) (context.Context, allocationv1.ShipmentAllocationServiceClient) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx, allocationv1.NewShipmentAllocationServiceClient(dial(t))
}

func read(reference string) *allocationv1.GetShipmentAllocationRequest {
	return &allocationv1.GetShipmentAllocationRequest{ShipmentReference: reference}
}

// weighty returns a read with a field that nobody knows, of so many bytes.
func weighty(reference string, size int) *allocationv1.GetShipmentAllocationRequest {
	request := read(reference)
	field := protowire.AppendTag(nil, 1000, protowire.BytesType)
	request.ProtoReflect().SetUnknown(protowire.AppendBytes(field, make([]byte, size)))
	return request
}

func TestMetadataGoesBothWays(t *testing.T) {
	ctx, client := connect(t)
	ctx = metadata.AppendToOutgoingContext(ctx, "x-text", "a", "x-text", " b ", "x-some-bin", "\x00\xff")
	var headers, trailers metadata.MD
	request := &allocationv1.AllocateShipmentRequest{ShipmentReference: fmt.Sprintf("sp_%d", time.Now().UnixNano())}
	if _, err := client.AllocateShipment(ctx, request, grpc.Header(&headers), grpc.Trailer(&trailers)); err != nil {
		t.Fatal(err)
	}
	if len(headers.Get("allocation-request-id")) != 1 {
		t.Errorf("headers: got %v", headers)
	}
}

func TestDeadlineIsKept(t *testing.T) {
	_, client := connect(t)
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	_, err := client.GetShipmentAllocation(ctx, read("slow_1"))
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("got %v", err)
	}
}

func TestCancelledCallLeavesTheConnection(t *testing.T) {
	ctx, client := connect(t)
	for range 50 {
		brief, cancel := context.WithCancel(ctx)
		time.AfterFunc(10*time.Millisecond, cancel)
		if _, err := client.GetShipmentAllocation(brief, read("slow_2")); status.Code(err) != codes.Canceled {
			t.Fatalf("got %v", err)
		}
	}
	if _, err := client.GetShipmentAllocation(ctx, read("sp_1")); err != nil {
		t.Error(err)
	}
}

func TestDetailsOfAFailure(t *testing.T) {
	ctx, client := connect(t)
	_, err := client.GetShipmentAllocation(ctx, read("missing_\u00fc"))
	failure := status.Convert(err)
	if failure.Code() != codes.NotFound || len(failure.Details()) == 0 {
		t.Fatalf("got %v", err)
	}
	if info, ok := failure.Details()[0].(*errdetails.ErrorInfo); !ok || info.GetReason() != "RESOURCE_NOT_FOUND" {
		t.Errorf("details: got %v", failure.Details())
	}
}

func TestLargeMessagesGoBothWays(t *testing.T) {
	ctx, client := connect(t)
	for _, options := range [][]grpc.CallOption{nil, {grpc.UseCompressor(gzip.Name)}} {
		for range 5 {
			response, err := client.GetShipmentAllocation(ctx, weighty("large_1", large), options...)
			if err != nil {
				t.Fatal(err)
			}
			if got := len(response.GetAllocation().GetStateText()); got != large {
				t.Fatalf("state: got %d bytes", got)
			}
		}
	}
	_, err := client.GetShipmentAllocation(ctx, weighty("sp_1", 300_000))
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("beyond the limit: got %v", err)
	}
	_, err = client.GetShipmentAllocation(ctx, weighty("sp_1", 300_000), grpc.UseCompressor(gzip.Name))
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("beyond the limit once unpacked: got %v", err)
	}
}

// TestManyCalls has one connection carry many calls of some size, at the same time: it is a client, and no attacker.
func TestManyCalls(t *testing.T) {
	_, client := connect(t)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var group sync.WaitGroup
	failures := make(chan error, 32)
	for caller := range 32 {
		group.Go(func() {
			for number := range 250 {
				reference := fmt.Sprintf("sp_%d_%d", caller, number)
				if number%2 == 0 {
					reference = "large_" + reference
				}
				if _, err := client.GetShipmentAllocation(ctx, read(reference)); err != nil {
					failures <- err
					return
				}
			}
		})
	}
	group.Wait()
	close(failures)
	for err := range failures {
		t.Error(err)
	}
}

func TestHealthIsWatched(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	watch, err := grpc_health_v1.NewHealthClient(dial(t)).Watch(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if told, err := watch.Recv(); err != nil || told.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Errorf("got %v, %v", told, err)
	}
}

func TestReflectionAnswersOneByOne(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	stream, err := grpc_reflection_v1alpha.NewServerReflectionClient(dial(t)).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		question := &grpc_reflection_v1alpha.ServerReflectionRequest{
			MessageRequest: &grpc_reflection_v1alpha.ServerReflectionRequest_ListServices{},
		}
		if err := stream.Send(question); err != nil {
			t.Fatal(err)
		}
		answer, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if names := fmt.Sprint(answer.GetListServicesResponse()); !strings.Contains(names, "ShipmentAllocationService") {
			t.Errorf("got %s", names)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("end: got %v", err)
	}
}
