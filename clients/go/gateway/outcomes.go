package gateway

import (
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/genproto/googleapis/type/money"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	allocationv1 "github.com/allocation-gateway/allocation-gateway/clients/go/allocation/v1"
)

// Allocated is an allocation of either API.
type Allocated interface {
	*allocationv1.Allocation | *allocationv1.ConsignmentAllocation
	GetPrice() *allocationv1.Price
}

// OutcomeKind is what became of an item of a job.
type OutcomeKind int

const (
	// OutcomeUnknown means that it may have been allocated or not: Outcome.Err is ErrUnknownOutcome. The job begun again with the
	// same id asks.
	OutcomeUnknown OutcomeKind = iota
	// OutcomeAllocated means that it is allocated.
	OutcomeAllocated
	// OutcomeQueued means that upstream has taken it in hand. That is all if it was all that was asked for; or else its time was
	// over before more was known, and the job begun again with the same id tells.
	OutcomeQueued
	// OutcomeRefused means that it is not allocated by this job. An Outcome.Err that is ErrTryAgain says that its time was over
	// before it was sent.
	OutcomeRefused
)

// String returns its name, such as allocated.
func (k OutcomeKind) String() string {
	return [...]string{"unknown", "allocated", "queued", "refused"}[k]
}

// Outcome is what became of one item of a job.
type Outcome[A Allocated] struct {
	// Reference is the shipment or consignment, as its caller wrote it.
	Reference string
	// RequestID is the id of its write; empty if the reference cannot be one.
	RequestID string
	// Kind is what became of it.
	Kind OutcomeKind
	// Allocation is its allocation; nil if it has none by this job, or none was told.
	Allocation A
	// Err is why it was refused, or is not known; its Request is the call that the item is. Nil if neither is so.
	Err *Error
}

// Net returns what it costs without taxes; nil if that is not told. It fails as MoneyOf does.
func (o Outcome[A]) Net() (*Money, error) { return amountOf(o.Allocation.GetPrice().GetNet()) }

// Gross returns what it costs with taxes; nil if that is not told. It fails as MoneyOf does.
func (o Outcome[A]) Gross() (*Money, error) { return amountOf(o.Allocation.GetPrice().GetGross()) }

// Standing is how a shipment or consignment stands that is watched.
type Standing[A Allocated] struct {
	// Reference is the shipment or consignment.
	Reference string
	// Allocation is as it was read, with its state; nil if it could not be read.
	Allocation A
	// Err is why it could not be read; nil if it could. Unless it is final it is read again.
	Err *Error
	// Final is whether nothing more is told of it: it is allocated or that has failed, it is cancelled, or upstream does not
	// know it.
	Final bool
}

// Net returns what it costs without taxes; nil if that is not told. It fails as MoneyOf does.
func (s Standing[A]) Net() (*Money, error) { return amountOf(s.Allocation.GetPrice().GetNet()) }

// Gross returns what it costs with taxes; nil if that is not told. It fails as MoneyOf does.
func (s Standing[A]) Gross() (*Money, error) { return amountOf(s.Allocation.GetPrice().GetGross()) }

func amountOf(told *money.Money) (*Money, error) {
	if told == nil {
		return nil, nil
	}
	amount, err := MoneyOf(told)
	if err != nil {
		return nil, err
	}
	return &amount, nil
}

// errorOf returns the error that a status is which stands in a message.
func errorOf(told *status.Status, request proto.Message, account string, inDoubt bool) *Error {
	return failureOf(grpcstatus.FromProto(told).Err(), nil, account).of(request, inDoubt)
}
