package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	allocationv1 "github.com/allocation-gateway/allocation-gateway/clients/go/allocation/v1"
)

// A message may have a thousand items at most, and has to be small enough also if their references are long.
const itemsOfMessage = 250

var (
	errNoDeadline = errors.New("the context of a call that lasts needs a deadline: only its caller knows how long it may take")
	// errEndedEarly is how a stream ends that was lost although its status is OK.
	errEndedEarly = status.Error(codes.Unknown, "the stream ended before everything was told")
)

// Job allocates any number of shipments or consignments. It is the ShipmentJob or the ConsignmentJob of a Client.
type Job[A Allocated] struct {
	id       string
	outcomes func() iter.Seq2[Outcome[A], error]
	mutex    sync.Mutex
	summary  JobSummary
}

// ShipmentJob allocates shipments.
type ShipmentJob = Job[*allocationv1.Allocation]

// ConsignmentJob allocates consignments.
type ConsignmentJob = Job[*allocationv1.ConsignmentAllocation]

// JobSummary is how far a job has come, over all of its streams.
type JobSummary struct {
	// Received counts the items that were taken from the caller.
	Received int
	// Allocated, Queued, Refused and Unknown count outcomes.
	Allocated, Queued, Refused, Unknown int
	// Repeated counts the items whose reference had no outcome yet when it came again. They have none of their own.
	Repeated int
	// Streams counts how often a stream was begun.
	Streams int
}

// ID returns the id of the job: keep it to go on with the job later.
func (j *Job[A]) ID() string { return j.id }

// Summary returns how far the job has come.
func (j *Job[A]) Summary() JobSummary {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	return j.summary
}

// Outcomes yields what became of each item, in no order, each once. A stream that is lost is begun again under the same id,
// with the items that have no outcome; nothing is kept of those that have theirs. The last pair has an *Error if the job was
// over before all were told: ErrUnfinishedJob, or another kind if it could not begin. Whoever leaves the loop leaves the job:
// what was sent goes on at the gateway.
func (j *Job[A]) Outcomes() iter.Seq2[Outcome[A], error] { return j.outcomes() }

func (j *Job[A]) count(change func(*JobSummary)) {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	change(&j.summary)
}

// JobOption says something of a job.
type JobOption func(*jobSettings)

type jobSettings struct {
	job        *allocationv1.AllocationJob
	onProgress func(*allocationv1.AllocationProgress)
	onLost     func(*Error)
}

// WithJobID names the job by a UUID: that of an earlier one, to go on with it. Without it, one is made.
func WithJobID(id string) JobOption { return func(s *jobSettings) { s.job.JobId = id } }

// WithSelector is the selector of items without one of their own; by default the customer's default rules.
func WithSelector(selector *allocationv1.AllocationSelector) JobOption {
	return func(s *jobSettings) { s.job.Selector = selector }
}

// WithWaitFor says when an item has its outcome; by default when it is allocated.
func WithWaitFor(when allocationv1.WaitFor) JobOption {
	return func(s *jobSettings) { s.job.WaitFor = when }
}

// WithItemDeadline says for how long an item is worked on: a second to an hour, by default five minutes.
func WithItemDeadline(limit time.Duration) JobOption {
	return func(s *jobSettings) { s.job.ItemDeadline = durationpb.New(limit) }
}

// OnProgress is told how far a stream has come, at most once a second. Each stream counts anew.
func OnProgress(tell func(*allocationv1.AllocationProgress)) JobOption {
	return func(s *jobSettings) { s.onProgress = tell }
}

// OnLost is told how a stream was lost that is about to be begun again.
func OnLost(tell func(*Error)) JobOption { return func(s *jobSettings) { s.onLost = tell } }

// jobKind is what jobs of shipments and of consignments do not have in common.
type jobKind[Item any, A Allocated] struct {
	open      func(context.Context) (jobStream[Item, A], error)
	request   func(*allocationv1.AllocationJob) proto.Message
	reference func(Item) string
	selector  func(Item) *allocationv1.AllocationSelector
	call      func(reference, requestID string, selector *allocationv1.AllocationSelector) proto.Message
}

// jobStream is one stream of a job, of whichever kind it is.
type jobStream[Item any, A Allocated] interface {
	begin(*allocationv1.AllocationJob) error
	send([]Item) error
	CloseSend() error
	receive() (jobMessage[A], error)
	Trailer() metadata.MD
}

// jobMessage is what it tells.
type jobMessage[A Allocated] struct {
	job, summary bool
	outcomes     []toldOutcome[A]
	progress     *allocationv1.AllocationProgress
	refused      *allocationv1.AllocationRefusedMessage
}

// pending is an item that has no outcome yet.
type pending[Item any] struct {
	item   Item
	number int
}

// job is a job while its outcomes are taken.
type job[Item any, A Allocated] struct {
	*Job[A]
	jobSettings
	caller     *caller
	kind       jobKind[Item, A]
	account    string
	mutex      sync.Mutex
	unanswered map[string]pending[Item]
	numbers    int
	hasBegun   bool
	// isAllSent is whether the items have come to their end, and each was sent; isDone is whether each has its outcome too.
	isAllSent, isDone bool
	// unsendable is why an item can never be sent.
	unsendable error
}

func newJob[Item any, A Allocated](
	ctx context.Context, caller *caller, kind jobKind[Item, A], items iter.Seq[Item], options []JobOption,
) *Job[A] {
	settings := jobSettings{job: &allocationv1.AllocationJob{}}
	for _, option := range options {
		option(&settings)
	}
	if settings.job.GetJobId() == "" {
		settings.job.JobId = uuid.NewString()
	}
	public := &Job[A]{id: settings.job.GetJobId()}
	public.outcomes = func() iter.Seq2[Outcome[A], error] {
		return func(yield func(Outcome[A], error) bool) {
			running := &job[Item, A]{
				Job: public, jobSettings: settings, caller: caller, kind: kind, account: caller.account(ctx),
				unanswered: map[string]pending[Item]{},
			}
			running.all(ctx, items, yield)
		}
	}
	return public
}

// all runs one stream after the other until all is told.
func (j *job[Item, A]) all(ctx context.Context, items iter.Seq[Item], yield func(Outcome[A], error) bool) {
	deadline, ok := ctx.Deadline()
	if !ok {
		yield(Outcome[A]{}, errNoDeadline)
		return
	}
	if err := j.caller.check(ctx, j.kind.request(j.job)); err != nil {
		yield(Outcome[A]{}, err)
		return
	}
	feed := newFeed[Item]()
	// Streams come and go while an item is waited for.
	go feed.fill(items)
	defer feed.close()
	attempts := j.caller.begin(deadline)
	for {
		failure, come := j.run(ctx, feed, yield)
		if failure == nil {
			j.caller.budget.earn()
			return
		}
		if come.left {
			return
		}
		wait, again := attempts.after(ctx, failure, come)
		if j.unsendable != nil {
			again = false
		}
		if again && j.onLost != nil {
			lost := *failure
			j.onLost(lost.of(j.kind.request(j.job), false))
		}
		if !again || !j.caller.sleep(ctx, wait) {
			yield(Outcome[A]{}, j.over(ctx, failure, attempts.inDoubt, feed.stop()))
			return
		}
	}
}

// run runs a stream to its end. It returns how it was lost; nil if everything was told.
func (j *job[Item, A]) run(
	ctx context.Context, feed *feed[Item], yield func(Outcome[A], error) bool,
) (failure *Error, come progress) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := j.kind.open(ctx)
	if err != nil {
		return failureOf(err, nil, j.account), come
	}
	sent := make(chan struct{})
	again := j.begin()
	go func() {
		defer close(sent)
		j.send(ctx, stream, again, feed)
		if j.unsendable != nil {
			cancel()
		}
	}()
	// The next stream must know what this one has sent.
	defer func() { cancel(); <-sent }()
	for {
		message, err := stream.receive()
		switch {
		case err != nil && j.isDone:
			return nil, come
		case errors.Is(err, io.EOF):
			return failureOf(errEndedEarly, nil, j.account), come
		case err != nil:
			return failureOf(err, stream.Trailer(), j.account), come
		}
		come.letIn = true
		if message.refused != nil {
			// There can be no outcome for what was in it on this stream. It counts as if the stream had ended so.
			return failureOf(status.FromProto(message.refused.GetStatus()).Err(), nil, j.account), come
		}
		if message.progress != nil && j.onProgress != nil {
			j.onProgress(message.progress)
		}
		for _, outcome := range j.take(message) {
			come.hasTold = true
			if !yield(outcome, nil) {
				come.left = true
				return failureOf(errEndedEarly, nil, j.account), come
			}
		}
	}
}

// begin begins a stream, and returns the items that have no outcome.
func (j *job[Item, A]) begin() []Item {
	j.count(func(s *JobSummary) { s.Streams++ })
	j.mutex.Lock()
	defer j.mutex.Unlock()
	left := slices.SortedFunc(maps.Values(j.unanswered), func(one, other pending[Item]) int {
		return cmp.Compare(one.number, other.number)
	})
	again := make([]Item, len(left))
	for place, one := range left {
		again[place] = one.item
	}
	return again
}

// send sends the job, the items that have no outcome, and those that come. Why it fails is told where messages are received.
func (j *job[Item, A]) send(ctx context.Context, stream jobStream[Item, A], again []Item, feed *feed[Item]) {
	if stream.begin(j.job) != nil {
		return
	}
	for part := range slices.Chunk(again, itemsOfMessage) {
		if stream.send(part) != nil {
			return
		}
	}
	for {
		items, isLast := feed.take(ctx.Done())
		if fresh := j.register(items); len(fresh) > 0 {
			if err := stream.send(fresh); err != nil {
				j.note(err, fresh)
				return
			}
		}
		if isLast {
			j.mutex.Lock()
			j.isAllSent = true
			j.mutex.Unlock()
			_ = stream.CloseSend()
			return
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// note takes down which item it is that no stream can send, if that is why these were not. Of a stream that was lost, gRPC tells
// io.EOF.
func (j *job[Item, A]) note(err error, items []Item) {
	if errors.Is(err, io.EOF) {
		return
	}
	for _, item := range items {
		if message, ok := any(item).(proto.Message); ok {
			if _, err := proto.Marshal(message); err != nil {
				j.unsendable = fmt.Errorf("the item %q cannot be sent: %w", j.kind.reference(item), err)
			}
		}
	}
}

// register returns the items that are new, without those whose reference has no outcome yet.
func (j *job[Item, A]) register(items []Item) []Item {
	fresh := make([]Item, 0, len(items))
	j.mutex.Lock()
	for _, item := range items {
		reference := j.kind.reference(item)
		if _, known := j.unanswered[reference]; !known {
			j.numbers++
			j.unanswered[reference] = pending[Item]{item, j.numbers}
			fresh = append(fresh, item)
		}
	}
	j.mutex.Unlock()
	j.count(func(s *JobSummary) {
		s.Received += len(items)
		s.Repeated += len(items) - len(fresh)
	})
	return fresh
}

// take returns the outcomes that a message tells.
func (j *job[Item, A]) take(message jobMessage[A]) []Outcome[A] {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	j.hasBegun = j.hasBegun || message.job
	if message.summary {
		// One that comes while items are still to be sent speaks of those before them.
		j.isDone = j.isAllSent && len(j.unanswered) == 0
	}
	made := make([]Outcome[A], 0, len(message.outcomes))
	for _, told := range message.outcomes {
		one, known := j.unanswered[told.reference]
		if !known {
			continue // it was told before
		}
		delete(j.unanswered, told.reference)
		outcome := j.outcome(told, one.item)
		j.count(func(s *JobSummary) { s.add(outcome.Kind) })
		made = append(made, outcome)
	}
	return made
}

func (s *JobSummary) add(kind OutcomeKind) {
	switch kind {
	case OutcomeAllocated:
		s.Allocated++
	case OutcomeQueued:
		s.Queued++
	case OutcomeRefused:
		s.Refused++
	case OutcomeUnknown:
		s.Unknown++
	}
}

func (j *job[Item, A]) outcome(told toldOutcome[A], item Item) Outcome[A] {
	made := Outcome[A]{Reference: told.reference, RequestID: told.requestID, Kind: told.kind, Allocation: told.allocation}
	if told.kind == OutcomeRefused || told.kind == OutcomeUnknown {
		selector := j.kind.selector(item)
		if selector == nil {
			selector = j.job.GetSelector()
		}
		request := j.kind.call(told.reference, told.requestID, selector)
		made.Err = errorOf(told.why, request, j.account, told.kind == OutcomeUnknown)
	}
	return made
}

// over returns the error for a job that is over with a failure, and whose items that wait were never sent.
func (j *job[Item, A]) over(ctx context.Context, failure *Error, inDoubt bool, waiting []Item) error {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	request := j.kind.request(j.job)
	if j.unsendable != nil {
		failure = failureOf(status.Error(codes.InvalidArgument, j.unsendable.Error()), nil, j.account).because(j.unsendable)
	} else if !j.hasBegun && !inDoubt {
		return j.caller.over(ctx, failure, request, false)
	}
	failure = failure.because(j.caller.ended(ctx)).of(request, false)
	failure.Kind, failure.JobID = ErrUnfinishedJob, j.id
	for _, item := range waiting {
		j.unanswered[j.kind.reference(item)] = pending[Item]{}
	}
	failure.Unanswered = slices.Sorted(maps.Keys(j.unanswered))
	return failure
}
