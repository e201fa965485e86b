package gateway

import (
	"context"
	"fmt"
	mathrand "math/rand/v2"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const (
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
	// Callers that were told the same do not come back at the same moment.
	spread     = 4
	mostSpread = time.Second
	// An attempt needs some time to be worth its while.
	shortestAttempt = 20 * time.Millisecond
	requestIDField  = protoreflect.Name("request_id")
)

// caller is between the generated clients and the network.
type caller struct {
	settings *settings
	config   *serviceConfig
	budget   *budget
	token    *token
}

// call is gRPC's interceptor of unary calls: it makes one logical call. Reads are repeated by gRPC itself.
func (c *caller) call(
	ctx context.Context, method string, req, reply any, connection *grpc.ClientConn, invoke grpc.UnaryInvoker,
	options ...grpc.CallOption,
) error {
	request, ok := req.(proto.Message)
	if !ok {
		return fmt.Errorf("%T is not a message", req)
	}
	timeout, known := c.config.timeouts[method]
	if !known {
		return fmt.Errorf("the service configuration does not name %s", method)
	}
	attempt := func(ctx context.Context, timeout time.Duration) *Error {
		ctx, cancel := context.WithTimeout(c.outgoing(ctx), timeout)
		defer cancel()
		var trailer metadata.MD
		if err := invoke(ctx, method, request, reply, connection, append(options, grpc.Trailer(&trailer))...); err != nil {
			return failureOf(err, trailer)
		}
		return nil
	}
	if !isWrite(request) {
		if failure := attempt(ctx, c.limit(ctx, min(timeout, c.settings.timeout))); failure != nil {
			return failure.because(ctx.Err()).of(request, false)
		}
		return nil
	}
	request = named(request)
	return c.write(ctx, request, timeout, attempt)
}

func (c *caller) write(
	ctx context.Context, request proto.Message, timeout time.Duration,
	attempt func(context.Context, time.Duration) *Error,
) error {
	deadline := time.Now().Add(c.limit(ctx, c.settings.timeout))
	pause, inDoubt := firstPause, false
	for {
		failure := attempt(ctx, min(timeout, time.Until(deadline)))
		if failure == nil {
			c.budget.earn()
			return nil
		}
		inDoubt = failure.doubt(inDoubt)
		wait := failure.pause(&pause)
		if !failure.mayRepeat() || ctx.Err() != nil || time.Until(deadline) < wait+shortestAttempt || !c.budget.spend() {
			return failure.because(ctx.Err()).of(request, inDoubt)
		}
		select {
		case <-ctx.Done():
			return failure.because(ctx.Err()).of(request, inDoubt)
		case <-time.After(wait):
		}
	}
}

// limit returns how long a call may take: until the deadline of its context, or so long if it has none.
func (c *caller) limit(ctx context.Context, otherwise time.Duration) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return time.Until(deadline)
	}
	return otherwise
}

func (c *caller) outgoing(ctx context.Context) context.Context {
	for name, value := range c.settings.metadata {
		ctx = metadata.AppendToOutgoingContext(ctx, name, value)
	}
	if c.token != nil {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+c.token.current())
	}
	return ctx
}

// doubt returns whether it is in doubt what became of a call, after this failure.
func (e *Error) doubt(before bool) bool {
	switch {
	case e.Effect != "":
		return e.Effect == "unknown"
	case !e.isGateway && (isRepeated(e.Code) || isLost(e.Code)):
		// Who is silent, or was not heard, may have done it.
		return true
	}
	return before
}

// mayRepeat returns whether the call may be repeated after this failure.
func (e *Error) mayRepeat() bool {
	switch {
	case e.isGateway && e.Code == codes.DeadlineExceeded:
		// The attempt's time was up before anything was sent. There may be time for another.
		return true
	case e.pushback != nil && *e.pushback < 0:
		return false
	}
	return isRepeated(e.Code) || (isLost(e.Code) && !e.isGateway)
}

// pause returns how long to wait. A time that was told is never shortened; otherwise pauses grow, and next is the next one.
func (e *Error) pause(next *time.Duration) time.Duration {
	told := e.RetryAfter
	if told == nil && e.pushback != nil && *e.pushback >= 0 {
		told = e.pushback
	}
	if told != nil {
		return *told + between(0, min(*told/spread, mostSpread))
	}
	longest := *next
	*next = min(longest*2, longestPause)
	return between(longest/2, longest)
}

func between(least, most time.Duration) time.Duration {
	return least + mathrand.N(most-least+1)
}

func isRepeated(code codes.Code) bool {
	switch code {
	case codes.Unknown, codes.Unavailable, codes.ResourceExhausted, codes.Aborted:
		return true
	}
	return false
}

// isLost returns whether a lost connection, or an attempt's own time-out, can end like this.
func isLost(code codes.Code) bool {
	return code == codes.DeadlineExceeded || code == codes.Canceled || code == codes.Internal
}

func isWrite(request proto.Message) bool {
	return request.ProtoReflect().Descriptor().Fields().ByName(requestIDField) != nil
}

func requestID(request proto.Message) string {
	field := request.ProtoReflect().Descriptor().Fields().ByName(requestIDField)
	if field == nil {
		return ""
	}
	return request.ProtoReflect().Get(field).String()
}

// named returns the request of a write with a request_id: the request itself if it has one, or else a copy.
func named(request proto.Message) proto.Message {
	if requestID(request) != "" {
		return request
	}
	made := proto.Clone(request)
	field := made.ProtoReflect().Descriptor().Fields().ByName(requestIDField)
	made.ProtoReflect().Set(field, protoreflect.ValueOfString(uuid.NewString()))
	return made
}
