package gateway

import (
	"context"
	"fmt"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
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
	// expired is how a call that lasts ends when the token that its caller was let in with has expired.
	expired = "CALLER_UNAUTHENTICATED"
)

// caller is between the generated clients and the network.
type caller struct {
	settings *settings
	config   *serviceConfig
	budget   *budget
	token    *token
	// closed is closed when the client is.
	closed  chan struct{}
	closing sync.Once
}

func (c *caller) close() { c.closing.Do(func() { close(c.closed) }) }

func (c *caller) isClosed() bool {
	select {
	case <-c.closed:
		return true
	default:
		return false
	}
}

// ended returns what has ended a call from outside; nil if nothing has.
func (c *caller) ended(ctx context.Context) error {
	if c.isClosed() {
		return ErrClosed
	}
	return ctx.Err()
}

// check fails if a call cannot be made: then nothing of it is sent. What gRPC itself would say of that cannot be told from a
// connection that was lost.
func (c *caller) check(ctx context.Context, request proto.Message) error {
	if c.isClosed() {
		return ErrClosed
	}
	account := c.account(ctx)
	if err := checkHeader(accountKey, account); err != nil {
		return fmt.Errorf("allocation gateway: %w", err)
	}
	if sent, ok := metadata.FromOutgoingContext(ctx); ok {
		if err := checkHeaders(sent); err != nil {
			return fmt.Errorf("allocation gateway: %w", err)
		}
	}
	if _, err := proto.Marshal(request); err != nil {
		return fmt.Errorf("allocation gateway: %s: %w", request.ProtoReflect().Descriptor().FullName(), err)
	}
	if err := ctx.Err(); err != nil {
		return failureOf(status.FromContextError(err).Err(), nil, account).because(err).of(request, false)
	}
	return nil
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
	if err := c.check(ctx, request); err != nil {
		return err
	}
	account := c.account(ctx)
	attempt := func(ctx context.Context, timeout time.Duration) *Error {
		ctx, cancel := context.WithTimeout(c.outgoing(ctx), timeout)
		defer cancel()
		var trailer metadata.MD
		if err := invoke(ctx, method, request, reply, connection, append(options, grpc.Trailer(&trailer))...); err != nil {
			return failureOf(err, trailer, account)
		}
		return nil
	}
	if !isWrite(request) {
		if failure := attempt(ctx, c.limit(ctx, min(timeout, c.settings.timeout))); failure != nil {
			return c.over(ctx, failure, request, false)
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
	attempts := c.begin(time.Now().Add(c.limit(ctx, c.settings.timeout)))
	for {
		failure := attempt(ctx, min(timeout, time.Until(attempts.deadline)))
		if failure == nil {
			c.budget.earn()
			return nil
		}
		wait, again := attempts.after(ctx, failure, progress{})
		if !again || !c.sleep(ctx, wait) {
			return c.over(ctx, failure, request, attempts.inDoubt)
		}
	}
}

// over returns the error of a call that is over with a failure.
func (c *caller) over(ctx context.Context, failure *Error, request proto.Message, inDoubt bool) error {
	if c.isClosed() && !inDoubt && failure.mayRepeat() {
		return ErrClosed
	}
	return failure.because(c.ended(ctx)).of(request, inDoubt)
}

// stream is gRPC's interceptor of streams, which go out as all calls do. What begins them anew is in jobs.go and watches.go.
func (c *caller) stream(
	ctx context.Context, description *grpc.StreamDesc, connection *grpc.ClientConn, method string, open grpc.Streamer,
	options ...grpc.CallOption,
) (grpc.ClientStream, error) {
	return open(c.outgoing(ctx), description, connection, method, options...)
}

// attempts are those of one write, or the streams of one call that lasts.
type attempts struct {
	caller   *caller
	deadline time.Time
	next     time.Duration
	inDoubt  bool
}

// progress is how far a stream had come when it ended. An attempt of a unary call has no progress.
type progress struct {
	// letIn is whether it had told anything at all, hasTold whether it had told what became of something, and left whether its
	// caller has left it.
	letIn, hasTold, left bool
}

func (c *caller) begin(deadline time.Time) *attempts {
	return &attempts{caller: c, deadline: deadline, next: firstPause}
}

// after returns how long to wait until the call is repeated after a failure, and whether it is.
func (a *attempts) after(ctx context.Context, failure *Error, come progress) (time.Duration, bool) {
	a.inDoubt = failure.doubt(a.inDoubt)
	if come.hasTold {
		a.next = firstPause
	}
	wait := failure.pause(&a.next)
	// A token was valid when a stream began, and there may be a new one.
	isExpired := come.letIn && failure.Reason == expired
	isOver := !(failure.mayRepeat() || isExpired) || a.caller.ended(ctx) != nil
	if isOver || time.Until(a.deadline) < wait+shortestAttempt {
		return 0, false
	}
	// A stream that was of use costs nothing.
	return wait, come.hasTold || a.caller.budget.spend()
}

// sleep waits, and returns false if the call was ended from outside.
func (c *caller) sleep(ctx context.Context, wait time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-c.closed:
		return false
	case <-time.After(wait):
		return true
	}
}

// limit returns how long a call may take: until the deadline of its context, or so long if it has none.
func (c *caller) limit(ctx context.Context, otherwise time.Duration) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return time.Until(deadline)
	}
	return otherwise
}

// outgoing returns the context of an attempt. Its metadata has one account and one authorization at most: the gateway refuses
// two. An authorization of the call's own counts before one of the client's metadata, and that before the token.
func (c *caller) outgoing(ctx context.Context) context.Context {
	account := c.account(ctx)
	isAuthorized := false
	if sent, ok := metadata.FromOutgoingContext(ctx); ok {
		isAuthorized = len(sent.Get(authorizationKey)) > 0
		if len(sent.Get(accountKey)) > 0 {
			sent = sent.Copy()
			sent.Delete(accountKey)
			ctx = metadata.NewOutgoingContext(ctx, sent)
		}
	}
	isOfCall := isAuthorized
	for name, value := range c.settings.metadata {
		if name == accountKey {
			continue
		}
		if name == authorizationKey {
			if isOfCall {
				continue
			}
			isAuthorized = true
		}
		ctx = metadata.AppendToOutgoingContext(ctx, name, value)
	}
	if account != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, accountKey, account)
	}
	if c.token != nil && !isAuthorized {
		ctx = metadata.AppendToOutgoingContext(ctx, authorizationKey, "Bearer "+c.token.current())
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

// pause returns how long to wait. Pauses grow, and next is the next one. A time that was told is never shortened; but one of
// nothing would have the call repeated without end and without a pause.
func (e *Error) pause(next *time.Duration) time.Duration {
	longest := *next
	*next = min(longest*2, longestPause)
	wait := between(longest/2, longest)
	told := e.RetryAfter
	if told == nil && e.pushback != nil && *e.pushback >= 0 {
		told = e.pushback
	}
	if told != nil {
		wait = max(wait, *told+between(0, min(*told/spread, mostSpread)))
	}
	return wait
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
