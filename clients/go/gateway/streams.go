package gateway

import (
	"context"
	"iter"

	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	allocationv1 "github.com/allocation-gateway/allocation-gateway/clients/go/allocation/v1"
)

// toldOutcome is what became of an item, as it was told.
type toldOutcome[A Allocated] struct {
	reference, requestID string
	kind                 OutcomeKind
	allocation           A
	why                  *status.Status
}

// AllocateShipmentStream allocates any number of shipments, which may still be coming, and tells of each what became of it: a
// job, docs/waves.md. The context needs a deadline, which is that of all of it. Items are taken as they come, by a goroutine: a
// sequence that waits for them should end when the context does.
func (c *Client) AllocateShipmentStream(
	ctx context.Context, items iter.Seq[*allocationv1.ShipmentItem], options ...JobOption,
) *ShipmentJob {
	kind := jobKind[*allocationv1.ShipmentItem, *allocationv1.Allocation]{
		open: func(ctx context.Context) (jobStream[*allocationv1.ShipmentItem, *allocationv1.Allocation], error) {
			stream, err := c.Shipments.AllocateShipmentStream(ctx)
			return shipmentStream{stream}, err
		},
		request: func(job *allocationv1.AllocationJob) proto.Message {
			return &allocationv1.AllocateShipmentStreamRequest{Job: job}
		},
		reference: (*allocationv1.ShipmentItem).GetShipmentReference,
		selector:  (*allocationv1.ShipmentItem).GetSelector,
		call:      shipmentCall,
	}
	return newJob(ctx, c.caller, kind, items, options)
}

// AllocateConsignmentStream allocates any number of consignments, as AllocateShipmentStream does shipments.
func (c *Client) AllocateConsignmentStream(
	ctx context.Context, items iter.Seq[*allocationv1.ConsignmentItem], options ...JobOption,
) *ConsignmentJob {
	kind := jobKind[*allocationv1.ConsignmentItem, *allocationv1.ConsignmentAllocation]{
		open: func(ctx context.Context) (jobStream[*allocationv1.ConsignmentItem, *allocationv1.ConsignmentAllocation], error) {
			stream, err := c.Consignments.AllocateConsignmentStream(ctx)
			return consignmentStream{stream}, err
		},
		request: func(job *allocationv1.AllocationJob) proto.Message {
			return &allocationv1.AllocateConsignmentStreamRequest{Job: job}
		},
		reference: (*allocationv1.ConsignmentItem).GetConsignmentReference,
		selector:  (*allocationv1.ConsignmentItem).GetSelector,
		call:      consignmentCall,
	}
	return newJob(ctx, c.caller, kind, items, options)
}

// ShipmentItems returns items of a job that have no selector of their own.
func ShipmentItems(references ...string) iter.Seq[*allocationv1.ShipmentItem] {
	return func(yield func(*allocationv1.ShipmentItem) bool) {
		for _, reference := range references {
			if !yield(&allocationv1.ShipmentItem{ShipmentReference: reference}) {
				return
			}
		}
	}
}

// ConsignmentItems returns items of a job that have no selector of their own.
func ConsignmentItems(references ...string) iter.Seq[*allocationv1.ConsignmentItem] {
	return func(yield func(*allocationv1.ConsignmentItem) bool) {
		for _, reference := range references {
			if !yield(&allocationv1.ConsignmentItem{ConsignmentReference: reference}) {
				return
			}
		}
	}
}

// WatchShipmentAllocations yields how up to 1,000 shipments stand: all of them at first, then each change, until all are final.
// A stream that is lost is begun again with those that are not final; one of them may be told again then. The context needs a
// deadline, which is that of all of it. The last pair has an *Error if it was over before: ErrTryAgain when the time is over,
// whose Request names those that are not final.
func (c *Client) WatchShipmentAllocations(
	ctx context.Context, references []string,
) iter.Seq2[Standing[*allocationv1.Allocation], error] {
	return watch(ctx, c.caller, references, watchKind[*allocationv1.WatchShipmentAllocationsResponse, *allocationv1.Allocation]{
		open: func(ctx context.Context, references []string) (
			receiver[*allocationv1.WatchShipmentAllocationsResponse], error,
		) {
			return c.Shipments.WatchShipmentAllocations(
				ctx, &allocationv1.WatchShipmentAllocationsRequest{ShipmentReferences: references},
			)
		},
		request: func(references []string) proto.Message {
			return &allocationv1.WatchShipmentAllocationsRequest{ShipmentReferences: references}
		},
		read: func(response *allocationv1.WatchShipmentAllocationsResponse) []toldStanding[*allocationv1.Allocation] {
			told := make([]toldStanding[*allocationv1.Allocation], 0, len(response.GetShipments()))
			for _, one := range response.GetShipments() {
				read := &allocationv1.GetShipmentAllocationRequest{ShipmentReference: one.GetShipmentReference()}
				told = append(told, toldStanding[*allocationv1.Allocation]{
					one.GetShipmentReference(), one.GetAllocation(), one.GetError(), one.GetFinal(), read,
				})
			}
			return told
		},
	})
}

// WatchConsignmentAllocations yields how up to 1,000 consignments stand, as WatchShipmentAllocations does of shipments.
func (c *Client) WatchConsignmentAllocations(
	ctx context.Context, references []string,
) iter.Seq2[Standing[*allocationv1.ConsignmentAllocation], error] {
	type response = allocationv1.WatchConsignmentAllocationsResponse
	return watch(ctx, c.caller, references, watchKind[*response, *allocationv1.ConsignmentAllocation]{
		open: func(ctx context.Context, references []string) (receiver[*response], error) {
			return c.Consignments.WatchConsignmentAllocations(
				ctx, &allocationv1.WatchConsignmentAllocationsRequest{ConsignmentReferences: references},
			)
		},
		request: func(references []string) proto.Message {
			return &allocationv1.WatchConsignmentAllocationsRequest{ConsignmentReferences: references}
		},
		read: func(response *response) []toldStanding[*allocationv1.ConsignmentAllocation] {
			told := make([]toldStanding[*allocationv1.ConsignmentAllocation], 0, len(response.GetConsignments()))
			for _, one := range response.GetConsignments() {
				read := &allocationv1.GetConsignmentAllocationRequest{ConsignmentReference: one.GetConsignmentReference()}
				told = append(told, toldStanding[*allocationv1.ConsignmentAllocation]{
					one.GetConsignmentReference(), one.GetAllocation(), one.GetError(), one.GetFinal(), read,
				})
			}
			return told
		},
	})
}

type shipmentStream struct {
	grpc.BidiStreamingClient[allocationv1.AllocateShipmentStreamRequest, allocationv1.AllocateShipmentStreamResponse]
}

func (s shipmentStream) begin(job *allocationv1.AllocationJob) error {
	return s.Send(&allocationv1.AllocateShipmentStreamRequest{Job: job})
}

func (s shipmentStream) send(items []*allocationv1.ShipmentItem) error {
	return s.Send(&allocationv1.AllocateShipmentStreamRequest{Items: items})
}

func (s shipmentStream) receive() (jobMessage[*allocationv1.Allocation], error) {
	told, err := s.Recv()
	outcomes := make([]toldOutcome[*allocationv1.Allocation], 0, len(told.GetResults().GetResults()))
	for _, one := range told.GetResults().GetResults() {
		kind, why := OutcomeUnknown, one.GetUnknown()
		switch one.GetOutcome().(type) {
		case *allocationv1.ShipmentOutcome_Allocation:
			kind = OutcomeAllocated
		case *allocationv1.ShipmentOutcome_Queued:
			kind = OutcomeQueued
		case *allocationv1.ShipmentOutcome_Refusal:
			kind, why = OutcomeRefused, one.GetRefusal()
		}
		outcomes = append(outcomes, toldOutcome[*allocationv1.Allocation]{
			one.GetShipmentReference(), one.GetRequestId(), kind, one.GetAllocation(), why,
		})
	}
	return jobMessage[*allocationv1.Allocation]{
		told.GetJob() != nil, told.GetSummary() != nil, outcomes, told.GetProgress(), told.GetRefused(),
	}, err
}

type consignmentStream struct {
	grpc.BidiStreamingClient[allocationv1.AllocateConsignmentStreamRequest, allocationv1.AllocateConsignmentStreamResponse]
}

func (s consignmentStream) begin(job *allocationv1.AllocationJob) error {
	return s.Send(&allocationv1.AllocateConsignmentStreamRequest{Job: job})
}

func (s consignmentStream) send(items []*allocationv1.ConsignmentItem) error {
	return s.Send(&allocationv1.AllocateConsignmentStreamRequest{Items: items})
}

func (s consignmentStream) receive() (jobMessage[*allocationv1.ConsignmentAllocation], error) {
	told, err := s.Recv()
	outcomes := make([]toldOutcome[*allocationv1.ConsignmentAllocation], 0, len(told.GetResults().GetResults()))
	for _, one := range told.GetResults().GetResults() {
		kind, why := OutcomeUnknown, one.GetUnknown()
		switch one.GetOutcome().(type) {
		case *allocationv1.ConsignmentOutcome_Allocation:
			kind = OutcomeAllocated
		case *allocationv1.ConsignmentOutcome_Queued:
			kind = OutcomeQueued
		case *allocationv1.ConsignmentOutcome_Refusal:
			kind, why = OutcomeRefused, one.GetRefusal()
		}
		outcomes = append(outcomes, toldOutcome[*allocationv1.ConsignmentAllocation]{
			one.GetConsignmentReference(), one.GetRequestId(), kind, one.GetAllocation(), why,
		})
	}
	return jobMessage[*allocationv1.ConsignmentAllocation]{
		told.GetJob() != nil, told.GetSummary() != nil, outcomes, told.GetProgress(), told.GetRefused(),
	}, err
}

// shipmentCall returns the request that an item is: a bulk call of one.
func shipmentCall(reference, requestID string, selector *allocationv1.AllocationSelector) proto.Message {
	shipments, capabilities := []string{reference}, selector.GetCapabilities()
	switch scope := selector.GetScope().(type) {
	case *allocationv1.AllocationSelector_ServiceGroup:
		return &allocationv1.AllocateShipmentsWithServiceGroupRequest{
			Shipments: shipments, RequestId: requestID, ServiceGroup: scope.ServiceGroup, Capabilities: capabilities,
		}
	case *allocationv1.AllocationSelector_CarrierServiceReference:
		return &allocationv1.AllocateShipmentsWithCarrierServiceRequest{
			Shipments: shipments, RequestId: requestID, CarrierServiceReference: scope.CarrierServiceReference,
			Capabilities: capabilities,
		}
	}
	return &allocationv1.AllocateShipmentsRequest{Shipments: shipments, RequestId: requestID, Capabilities: capabilities}
}

// consignmentCall returns the request that an item is: a bulk call of one.
func consignmentCall(reference, requestID string, selector *allocationv1.AllocationSelector) proto.Message {
	consignments := []string{reference}
	switch scope := selector.GetScope().(type) {
	case *allocationv1.AllocationSelector_ServiceGroup:
		return &allocationv1.AllocateConsignmentsWithServiceGroupRequest{
			Consignments: consignments, RequestId: requestID, ServiceGroup: scope.ServiceGroup,
		}
	case *allocationv1.AllocationSelector_CarrierServiceReference:
		return &allocationv1.AllocateConsignmentsWithCarrierServiceRequest{
			Consignments: consignments, RequestId: requestID, CarrierServiceReference: scope.CarrierServiceReference,
		}
	}
	return &allocationv1.AllocateConsignmentsRequest{Consignments: consignments, RequestId: requestID}
}
