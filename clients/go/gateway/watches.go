package gateway

import (
	"context"
	"errors"
	"io"
	"iter"
	"slices"

	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// watchKind is what watching shipments and consignments do not have in common.
type watchKind[Response any, A Allocated] struct {
	open    func(context.Context, []string) (receiver[Response], error)
	request func([]string) proto.Message
	read    func(Response) []toldStanding[A]
}

// receiver is the side of a stream that is read.
type receiver[Response any] interface {
	Recv() (Response, error)
	Trailer() metadata.MD
}

// toldStanding is how one stands, as it was told, and the request that reads it.
type toldStanding[A Allocated] struct {
	reference  string
	allocation A
	err        *status.Status
	final      bool
	read       proto.Message
}

// watching is a watch while it goes on.
type watching[Response any, A Allocated] struct {
	caller  *caller
	kind    watchKind[Response, A]
	account string
	left    []string
}

func watch[Response any, A Allocated](
	ctx context.Context, caller *caller, references []string, kind watchKind[Response, A],
) iter.Seq2[Standing[A], error] {
	return func(yield func(Standing[A], error) bool) {
		made := &watching[Response, A]{caller, kind, caller.account(ctx), distinct(references)}
		made.all(ctx, yield)
	}
}

// distinct returns each reference once: the gateway refuses one that comes twice.
func distinct(references []string) []string {
	made := make([]string, 0, len(references))
	known := make(map[string]bool, len(references))
	for _, one := range references {
		if !known[one] {
			known[one] = true
			made = append(made, one)
		}
	}
	return made
}

// all runs one stream after the other until all are final.
func (w *watching[Response, A]) all(ctx context.Context, yield func(Standing[A], error) bool) {
	deadline, ok := ctx.Deadline()
	if !ok {
		yield(Standing[A]{}, errNoDeadline)
		return
	}
	if err := w.caller.check(ctx, w.kind.request(w.left)); err != nil {
		yield(Standing[A]{}, err)
		return
	}
	attempts := w.caller.begin(deadline)
	for len(w.left) > 0 {
		failure, come := w.run(ctx, yield)
		if come.left {
			return
		}
		if len(w.left) == 0 {
			break
		}
		wait, again := attempts.after(ctx, failure, come)
		if !again || !w.caller.sleep(ctx, wait) {
			yield(Standing[A]{}, w.caller.over(ctx, failure, w.kind.request(w.left), false))
			return
		}
	}
	w.caller.budget.earn()
}

// run runs a stream to its end, and returns how that was.
func (w *watching[Response, A]) run(
	ctx context.Context, yield func(Standing[A], error) bool,
) (failure *Error, come progress) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := w.kind.open(ctx, w.left)
	if err != nil {
		return failureOf(err, nil, w.account), come
	}
	// Each stream tells at first how all stand that are not final: only what comes after that shows that it has come on.
	known := map[string]bool{}
	for {
		response, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return failureOf(errEndedEarly, nil, w.account), come
		}
		if err != nil {
			return failureOf(err, stream.Trailer(), w.account), come
		}
		come.letIn = true
		for _, told := range w.kind.read(response) {
			come.hasTold = come.hasTold || told.final || known[told.reference]
			known[told.reference] = true
			if told.final {
				w.left = slices.DeleteFunc(w.left, func(one string) bool { return one == told.reference })
			}
			if !yield(w.standing(told), nil) {
				come.left = true
				return nil, come
			}
		}
	}
}

func (w *watching[Response, A]) standing(told toldStanding[A]) Standing[A] {
	made := Standing[A]{Reference: told.reference, Allocation: told.allocation, Final: told.final}
	if told.err != nil {
		made.Err = errorOf(told.err, told.read, w.account, false)
	}
	return made
}
