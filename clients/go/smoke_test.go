// Package smoke_test calls a running gateway through the generated stubs.
package smoke_test

import (
	"context"
	"flag"
	"os"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	allocationv1 "github.com/allocation-gateway/allocation-gateway/clients/go/allocation/v1"
)

const addressVariable = "ALLOCATION_GATEWAY_ADDRESS"

var (
	shipment = flag.String("shipment", "sp_00794403010635468411384028069888", "the shipment to allocate")
	group    = flag.String("group", "valuableGoods", "the service group to allocate it to")
)

// connect returns a client of the gateway under test. A missing address is a failure: a smoke test that skips proves nothing.
func connect(t *testing.T) (context.Context, allocationv1.ShipmentAllocationServiceClient) {
	t.Helper()
	address := os.Getenv(addressVariable)
	if address == "" {
		t.Fatalf("%s is not set: start a gateway and put its host:port there", addressVariable)
	}
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatalf("%s=%q: %v", addressVariable, address, err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx, allocationv1.NewShipmentAllocationServiceClient(connection)
}

// TestAllocatesWithServiceGroup makes the documented allocation and reads its typed answer.
func TestAllocatesWithServiceGroup(t *testing.T) {
	ctx, client := connect(t)
	response, err := client.AllocateShipmentWithServiceGroup(ctx, &allocationv1.AllocateShipmentWithServiceGroupRequest{
		ShipmentReference: *shipment,
		ServiceGroup:      *group,
	}, grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	allocation := response.GetAllocation()
	if got := allocation.GetState(); got != allocationv1.ShipmentState_SHIPMENT_STATE_ALLOCATED {
		t.Errorf("state: got %v", got)
	}
	want := &money.Money{CurrencyCode: "GBP", Units: 2, Nanos: 0}
	for name, got := range map[string]*money.Money{"net": allocation.GetPrice().GetNet(), "gross": allocation.GetPrice().GetGross()} {
		if !proto.Equal(got, want) {
			t.Errorf("%s price: got %v, want %v", name, got, want)
		}
	}
	if got := allocation.GetCarrier().GetName(); got != "Lineten" {
		t.Errorf("carrier: got %q", got)
	}
	if got := allocation.GetTrackingDetails().GetShipment().GetTrackingReferences(); len(got) != 1 || got[0] != "43765709" {
		t.Errorf("tracking references: got %q", got)
	}
	if got := len(allocation.GetExcludedServices()); got != 4 {
		t.Errorf("excluded services: got %d, want 4", got)
	}
}

// TestReadsErrorDetails asks for a shipment that upstream does not know and reads the reason by its type.
func TestReadsErrorDetails(t *testing.T) {
	ctx, client := connect(t)
	_, err := client.AllocateShipmentWithServiceGroup(ctx, &allocationv1.AllocateShipmentWithServiceGroupRequest{
		ShipmentReference: "sp_00000000000000000000000000000000",
		ServiceGroup:      *group,
	}, grpc.WaitForReady(true))
	failure := status.Convert(err)
	if failure.Code() != codes.NotFound {
		t.Fatalf("status: got %v", err)
	}
	var info *errdetails.ErrorInfo
	for _, detail := range failure.Details() {
		if found, ok := detail.(*errdetails.ErrorInfo); ok {
			info = found
		}
	}
	if info.GetReason() != "SHIPMENT_NOT_FOUND" || info.GetDomain() != "allocation.v1" {
		t.Errorf("ErrorInfo: got %v", info)
	}
}
