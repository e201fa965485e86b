package main

import (
	"context"
	"iter"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	allocationv1 "github.com/allocation-gateway/allocation-gateway/clients/go/allocation/v1"
	"github.com/allocation-gateway/allocation-gateway/clients/go/gateway"
)

const lastingTimeout = time.Minute

var outcomeNames = map[gateway.OutcomeKind]string{
	gateway.OutcomeAllocated: "allocation",
	gateway.OutcomeQueued:    "queued",
	gateway.OutcomeRefused:   "refusal",
	gateway.OutcomeUnknown:   "unknown",
}

// outcomes is what was told of items, by their references.
type outcomes map[string][]map[string]string

// giving is how a case has its caller give the items of a job. A sequence of Go's does not fail: it ends, and its caller knows why.
type giving struct {
	asked  asked
	taken  atomic.Int64
	failed atomic.Bool
}

func given[Item any](items []Item, by *giving) iter.Seq[Item] {
	return func(yield func(Item) bool) {
		for number, item := range items {
			if by.asked.Throw != nil && number == *by.asked.Throw {
				by.failed.Store(true)
				return
			}
			if by.asked.Hold != nil && number == *by.asked.Hold {
				lines.Scan()
			}
			by.taken.Add(1)
			if !yield(item) {
				return
			}
		}
	}
}

// lasting carries out a call that lasts, and returns what was told. The second value is false if it is no such call.
func lasting(ctx context.Context, client *gateway.Client, request proto.Message, by *giving) (outcomes, bool, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, lastingTimeout)
		defer cancel()
	}
	var found outcomes
	var err error
	switch asked := request.(type) {
	case *allocationv1.AllocateShipmentStreamRequest:
		job := client.AllocateShipmentStream(ctx, given(asked.GetItems(), by), about(asked.GetJob())...)
		found, err = ofJob(job.Outcomes())
	case *allocationv1.AllocateConsignmentStreamRequest:
		job := client.AllocateConsignmentStream(ctx, given(asked.GetItems(), by), about(asked.GetJob())...)
		found, err = ofJob(job.Outcomes())
	case *allocationv1.WatchShipmentAllocationsRequest:
		found, err = ofWatch(client.WatchShipmentAllocations(ctx, asked.GetShipmentReferences()))
	case *allocationv1.WatchConsignmentAllocationsRequest:
		found, err = ofWatch(client.WatchConsignmentAllocations(ctx, asked.GetConsignmentReferences()))
	default:
		return nil, false, nil
	}
	return found, true, err
}

func about(job *allocationv1.AllocationJob) []gateway.JobOption {
	return []gateway.JobOption{
		gateway.WithJobID(job.GetJobId()),
		gateway.WithSelector(job.GetSelector()),
		gateway.WithWaitFor(job.GetWaitFor()),
	}
}

func ofJob[A gateway.Allocated](told iter.Seq2[gateway.Outcome[A], error]) (outcomes, error) {
	found := outcomes{}
	for one, err := range told {
		if err != nil {
			return nil, err
		}
		gross, err := one.Gross()
		found[one.Reference] = append(found[one.Reference], described(outcomeNames[one.Kind], gross, err, one.Err))
	}
	return found, nil
}

func ofWatch[A gateway.Allocated](told iter.Seq2[gateway.Standing[A], error]) (outcomes, error) {
	found := outcomes{}
	for one, err := range told {
		if err != nil {
			return nil, err
		}
		if !one.Final {
			continue
		}
		name := "allocation"
		if one.Err != nil {
			name = "error"
		}
		gross, err := one.Gross()
		found[one.Reference] = append(found[one.Reference], described(name, gross, err, one.Err))
	}
	return found, nil
}

func described(name string, gross *gateway.Money, err error, why *gateway.Error) map[string]string {
	check(err)
	found := map[string]string{"outcome": name}
	if gross != nil {
		found["gross"] = gross.String()
	}
	if why != nil {
		found["reason"] = why.Reason
	}
	return found
}
