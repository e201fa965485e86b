package main

import (
	"context"

	"github.com/shopspring/decimal"

	allocationv1 "github.com/allocation-gateway/allocation-gateway/clients/go/allocation/v1"
	"github.com/allocation-gateway/allocation-gateway/clients/go/gateway"
)

// byClient calls the gateway by its client.
func byClient(address string) (allocate, error) {
	client, err := gateway.NewClient(address, gateway.WithPlaintext())
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, shipment, group string) (string, decimal.Decimal, error) {
		response, err := client.Shipments.AllocateShipmentWithServiceGroup(ctx, &allocationv1.AllocateShipmentWithServiceGroupRequest{
			ShipmentReference: shipment,
			ServiceGroup:      group,
		})
		if err != nil {
			return "", decimal.Zero, err
		}
		gross, err := gateway.MoneyOf(response.GetAllocation().GetPrice().GetGross())
		return response.GetAllocation().GetCarrier().GetName(), gross.Amount, err
	}, nil
}
