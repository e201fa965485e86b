package main

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	allocationv1 "github.com/allocation-gateway/allocation-gateway/clients/go/allocation/v1"
)

// byStub calls the gateway by the generated stub, once, and never again.
func byStub(address string) (allocate, error) {
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	stub := allocationv1.NewShipmentAllocationServiceClient(connection)
	return func(ctx context.Context, shipment, group string) (string, decimal.Decimal, error) {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		response, err := stub.AllocateShipmentWithServiceGroup(ctx, &allocationv1.AllocateShipmentWithServiceGroupRequest{
			ShipmentReference: shipment,
			RequestId:         uuid.NewString(),
			ServiceGroup:      group,
		})
		if err != nil {
			return "", decimal.Zero, err
		}
		gross := response.GetAllocation().GetPrice().GetGross()
		amount := decimal.New(gross.GetUnits(), 0).Add(decimal.New(int64(gross.GetNanos()), -9))
		return response.GetAllocation().GetCarrier().GetName(), amount, nil
	}, nil
}
