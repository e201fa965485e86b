package gateway

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	allocationv1 "github.com/allocation-gateway/allocation-gateway/clients/go/allocation/v1"
)

const (
	domain      = "allocation.v1"
	pushbackKey = "grpc-retry-pushback-ms"
)

// The kinds of failure, one for each way to go on: errors.Is(err, gateway.ErrTryAgain).
var (
	// ErrInvalidRequest means that the request has to be mended: FieldViolations.
	ErrInvalidRequest = errors.New("invalid request")
	// ErrNotFound means that something which the request names is not known: Resource.
	ErrNotFound = errors.New("not found")
	// ErrRefused means that the state of things forbids it. It is also true of ErrInvalidState and ErrNoServiceAvailable.
	ErrRefused = errors.New("refused")
	// ErrInvalidState means that what is there forbids it; it may be what was wanted: Allocation, ConsignmentAllocation.
	ErrInvalidState = errors.New("invalid state")
	// ErrNoServiceAvailable means that no carrier service could take it: ExcludedServices, FailedAllocation.
	ErrNoServiceAvailable = errors.New("no service available")
	// ErrTryAgain means that nothing was done, and in a while it may be: RetryAfter.
	ErrTryAgain = errors.New("try again")
	// ErrUnknownOutcome means that it may have been done or not: repeat the call with the same RequestID.
	ErrUnknownOutcome = errors.New("unknown outcome")
	// ErrUnfinishedJob means that a job was over before every item had its outcome: begin it again with the same JobID.
	ErrUnfinishedJob = errors.New("unfinished job")
	// ErrNotPermitted means that the gateway, or a proxy in front of it, does not let this caller do it.
	ErrNotPermitted = errors.New("not permitted")
	// ErrNotSupported means that the operation is switched off, or the gateway is older than it.
	ErrNotSupported = errors.New("not supported")
	// ErrGatewayFailure means that the gateway, or what it stands in front of, has failed: never the caller's fault.
	ErrGatewayFailure = errors.New("gateway failure")
)

// ErrClosed is what calls of a client end with that is closed, and what an *Error wraps whose call was under way then.
var ErrClosed = errors.New("allocation gateway: the client is closed")

var kindOfReason = map[string]error{
	"INVALID_STATE":       ErrInvalidState,
	"ALLOCATION_FAILED":   ErrNoServiceAvailable,
	"NO_QUOTES_AVAILABLE": ErrNoServiceAvailable,
}

var kindOfCode = map[codes.Code]error{
	codes.InvalidArgument:    ErrInvalidRequest,
	codes.NotFound:           ErrNotFound,
	codes.FailedPrecondition: ErrRefused,
	codes.ResourceExhausted:  ErrTryAgain,
	codes.Unavailable:        ErrTryAgain,
	codes.Aborted:            ErrTryAgain,
	codes.DeadlineExceeded:   ErrTryAgain,
	codes.PermissionDenied:   ErrNotPermitted,
	codes.Unauthenticated:    ErrNotPermitted,
	codes.Unimplemented:      ErrNotSupported,
}

// Error is a call that failed, with everything that the gateway told. Get it by errors.As.
type Error struct {
	// Kind is one of the errors of this package, or context.Canceled if the call was cancelled, and nothing was done; errors.Is
	// asks for it.
	Kind error
	// Code is the gRPC status code.
	Code codes.Code
	// Reason is the name of an ErrorReason without its prefix; a newer gateway may have others. Empty if the status is not
	// the gateway's: a lost connection, a time-out, a proxy.
	Reason string
	// Message is for people, and may change at any time.
	Message string
	// Effect is `none` if nothing was done under this RequestID, `made` if it was done although the call failed, `unknown`,
	// or empty if nothing is said of it.
	Effect string
	// Metadata is what else the gateway said, such as `upstream_status`.
	Metadata map[string]string
	// RetryAfter is when to come back; nil if nothing is said of it.
	RetryAfter *time.Duration
	// FieldViolations tells which fields of the request are wrong.
	FieldViolations []*errdetails.BadRequest_FieldViolation
	// Resource is what was not found; nil if that is not told.
	Resource *errdetails.ResourceInfo
	// ExcludedServices tells why carrier services were excluded, as many as fit; OmittedServices how many more there were.
	ExcludedServices []*allocationv1.ExcludedService
	OmittedServices  int
	// Allocation is the allocation of the shipment that is there; nil if none is told. ConsignmentAllocation is the same of a
	// consignment. What of them could not be read is named by Unreadable.
	Allocation            *allocationv1.Allocation
	ConsignmentAllocation *allocationv1.ConsignmentAllocation
	// FailedAllocation tells why a consignment could not be allocated.
	FailedAllocation *allocationv1.FailedAllocation
	// Progress is what is known of each reference of a bulk call.
	Progress *allocationv1.WriteProgress
	// Request is what was asked for, with its request_id: Client.Call repeats it. RequestID is that id; empty for a read.
	Request   proto.Message
	RequestID string
	// Account is the account that the call was for, which a repetition has to be for too; empty if it named none.
	Account string
	// JobID is the id of a job that is unfinished. Unanswered has the references of all items that were taken from the caller's
	// sequence and have no outcome, whether they were sent or not. What was not taken yet is the caller's own. To begin the job
	// again with all of its items does none of them twice.
	JobID      string
	Unanswered []string

	cause     error
	isGateway bool
	// Negative for never; nil if nothing is said.
	pushback *time.Duration
}

// Error returns what happened, for people.
func (e *Error) Error() string {
	name := e.Reason
	if name == "" {
		name = e.Code.String()
	}
	parts := []string{"allocation gateway:", name, e.Message}
	for _, violation := range e.FieldViolations {
		parts = append(parts, "("+violation.GetField()+": "+violation.GetDescription()+")")
	}
	if e.Kind == ErrUnknownOutcome {
		parts = append(parts, "The outcome is unknown: repeat the call with request_id", e.RequestID)
	}
	if e.Kind == ErrUnfinishedJob {
		count := strconv.Itoa(len(e.Unanswered))
		parts = append(parts, count, "items have no outcome: begin again with job_id", e.JobID)
	}
	if e.Account != "" && (e.Kind == ErrUnknownOutcome || e.Kind == ErrUnfinishedJob) {
		parts = append(parts, "and account", e.Account)
	}
	return strings.Join(parts, " ")
}

// Unwrap returns the kind, and what gRPC or the context said.
func (e *Error) Unwrap() []error {
	if e.Kind == ErrInvalidState || e.Kind == ErrNoServiceAvailable {
		return []error{e.Kind, ErrRefused, e.cause}
	}
	return []error{e.Kind, e.cause}
}

// GRPCStatus returns the status as it arrived, for the status package.
func (e *Error) GRPCStatus() *status.Status { return status.Convert(e.cause) }

// failureOf reads what a status tells. The kind is not known yet.
func failureOf(err error, trailer metadata.MD, account string) *Error {
	told := status.Convert(err)
	failure := &Error{
		Code: told.Code(), Message: told.Message(), Account: account, cause: err, pushback: pushbackOf(trailer),
	}
	details := told.Details()
	for _, detail := range details {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetDomain() == domain {
			failure.isGateway = true
			failure.Reason, failure.Metadata = info.GetReason(), info.GetMetadata()
			failure.Effect = info.GetMetadata()["effect"]
		}
	}
	if failure.isGateway {
		for _, detail := range details {
			failure.take(detail)
		}
	}
	return failure
}

func (e *Error) take(detail any) {
	switch detail := detail.(type) {
	case *errdetails.RetryInfo:
		if detail.GetRetryDelay() != nil {
			delay := detail.GetRetryDelay().AsDuration()
			e.RetryAfter = &delay
		}
	case *errdetails.BadRequest:
		e.FieldViolations = detail.GetFieldViolations()
	case *errdetails.ResourceInfo:
		e.Resource = detail
	case *allocationv1.ExcludedServices:
		e.ExcludedServices, e.OmittedServices = detail.GetExcludedServices(), int(detail.GetOmittedCount())
	case *allocationv1.Allocation:
		e.Allocation = detail
	case *allocationv1.ConsignmentAllocation:
		e.ConsignmentAllocation = detail
	case *allocationv1.FailedAllocation:
		e.FailedAllocation = detail
	case *allocationv1.WriteProgress:
		e.Progress = detail
	}
}

// because adds what has ended the call, so that errors.Is tells; nil if nothing has.
func (e *Error) because(err error) *Error {
	if err != nil {
		e.cause = fmt.Errorf("%w: %w", err, e.cause)
	}
	return e
}

// of completes a failure that a call is over with.
func (e *Error) of(request proto.Message, inDoubt bool) *Error {
	e.Request, e.RequestID = request, requestID(request)
	switch {
	case inDoubt:
		e.Kind = ErrUnknownOutcome
	case errors.Is(e.cause, context.Canceled) && e.mayRepeat():
		// Of what is over anyway the gateway's word counts.
		e.Kind = context.Canceled
	case kindOfReason[e.Reason] != nil:
		e.Kind = kindOfReason[e.Reason]
	case kindOfCode[e.Code] != nil:
		e.Kind = kindOfCode[e.Code]
	default:
		e.Kind = ErrGatewayFailure
	}
	return e
}

// pushbackOf reads when a peer wants the call repeated. What cannot be read means never, as gRPC has it.
func pushbackOf(trailer metadata.MD) *time.Duration {
	told := trailer.Get(pushbackKey)
	if len(told) == 0 {
		return nil
	}
	delay := -time.Millisecond
	if milliseconds, err := strconv.Atoi(told[0]); err == nil {
		delay = time.Duration(milliseconds) * time.Millisecond
	}
	return &delay
}
