package gateway

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	allocationv1 "github.com/allocation-gateway/allocation-gateway/clients/go/allocation/v1"
)

const longest = time.Minute

var shipment = &allocationv1.AllocateShipmentRequest{ShipmentReference: "sp_1"}

// connected returns a client of a server that has every call handled so.
func connected(t *testing.T, handle grpc.StreamHandler, options ...Option) *Client {
	t.Helper()
	client, err := NewClient(serve(t, handle), append([]Option{WithPlaintext()}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// nobody handles calls that are never answered, and tells of each.
func nobody(calls chan<- string) grpc.StreamHandler {
	return func(_ any, stream grpc.ServerStream) error {
		method, _ := grpc.MethodFromServerStream(stream)
		calls <- method
		<-stream.Context().Done()
		return stream.Context().Err()
	}
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	t.Cleanup(cancel)
	return ctx
}

// TestNamesOfMetadataCountWithoutCase has an account and an authorization in capitals: one of each is sent, and known.
func TestNamesOfMetadataCountWithoutCase(t *testing.T) {
	given := map[string]string{"Allocation-Account": "north", "AUTHORIZATION": "Bearer client"}
	for want, options := range map[string][]Option{
		"north": {WithMetadata(given)},
		"west":  {WithMetadata(given), WithAccount("west")},
	} {
		made, err := newSettings(append(options, WithTimeout(time.Second)))
		if err != nil {
			t.Fatal(err)
		}
		caller := &caller{settings: made, token: &token{text: "file", every: time.Hour, readAt: time.Now()}}
		sent, _ := metadata.FromOutgoingContext(caller.outgoing(context.Background()))
		if got := sent.Get(accountKey); !slices.Equal(got, []string{want}) || caller.account(context.Background()) != want {
			t.Errorf("account: got %q, want %q", got, want)
		}
		if got := sent.Get(authorizationKey); !slices.Equal(got, []string{"Bearer client"}) {
			t.Errorf("authorization: got %q", got)
		}
	}
	if _, err := newSettings([]Option{WithMetadata(map[string]string{"x-team": "a", "X-Team": "b"})}); err == nil {
		t.Error("two of one name were taken")
	}
}

// TestWhatCannotBeSentIsRefusedAtOnce has calls and jobs of which gRPC would say what it says of a lost connection.
func TestWhatCannotBeSentIsRefusedAtOnce(t *testing.T) {
	calls := make(chan string, 1)
	client := connected(t, nobody(calls))
	ctx := within(t)
	noText := &allocationv1.AllocateShipmentRequest{ShipmentReference: "sp_\xff"}
	for name, call := range map[string]func() error{
		"account": func() error {
			_, err := client.Shipments.AllocateShipment(InAccount(ctx, "größe"), shipment)
			return err
		},
		"metadata": func() error {
			_, err := client.Shipments.AllocateShipment(with(ctx, "x-team", "a\nb"), shipment)
			return err
		},
		"name": func() error {
			_, err := client.Shipments.AllocateShipment(with(ctx, "x team", "a"), shipment)
			return err
		},
		"request": func() error { _, err := client.Shipments.AllocateShipment(ctx, noText); return err },
		"job": func() (last error) {
			group := &allocationv1.AllocationSelector{
				Scope: &allocationv1.AllocationSelector_ServiceGroup{ServiceGroup: "\xff"},
			}
			for _, err := range client.AllocateShipmentStream(ctx, ShipmentItems("a"), WithSelector(group)).Outcomes() {
				last = err
			}
			return last
		},
		"watch": func() (last error) {
			for _, err := range client.WatchShipmentAllocations(ctx, []string{"\xff"}) {
				last = err
			}
			return last
		},
	} {
		var failure *Error
		if err := call(); err == nil || errors.As(err, &failure) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if len(calls) > 0 {
		t.Errorf("%s was called", <-calls)
	}
	lines := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(lines, []byte("two\nlines"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, option := range map[string]Option{
		"account":  WithAccount("größe"),
		"metadata": WithMetadata(map[string]string{"x-team": "Größe"}),
		"name":     WithMetadata(map[string]string{"x team": "a"}),
		"token":    WithTokenFile(lines),
	} {
		if _, err := NewClient("localhost:1", option); err == nil {
			t.Errorf("%s: a client was made", name)
		}
	}
}

func with(ctx context.Context, name, value string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, name, value)
}

// TestJobWithAnItemThatCannotBeSent ends at once, names the item, and has the id of the job.
func TestJobWithAnItemThatCannotBeSent(t *testing.T) {
	client := connected(t, nobody(make(chan string, 1)))
	var failure *Error
	for _, err := range client.AllocateShipmentStream(within(t), ShipmentItems("a", "b\xff")).Outcomes() {
		if !errors.As(err, &failure) || !errors.Is(err, ErrUnfinishedJob) {
			t.Fatalf("got %v", err)
		}
	}
	if failure.Code != codes.InvalidArgument || !slices.Equal(failure.Unanswered, []string{"a", "b\xff"}) {
		t.Errorf("got %v, %q", failure, failure.Unanswered)
	}
}

// TestClosedClient closes one with calls under way, and calls it after that.
func TestClosedClient(t *testing.T) {
	calls := make(chan string, 3)
	client := connected(t, nobody(calls))
	ctx := within(t)
	results := map[string]chan error{"write": make(chan error, 1), "read": make(chan error, 1), "job": make(chan error, 1)}
	go func() { _, err := client.Shipments.AllocateShipment(ctx, shipment); results["write"] <- err }()
	go func() {
		_, err := client.Shipments.GetShipmentAllocation(ctx, &allocationv1.GetShipmentAllocationRequest{})
		results["read"] <- err
	}()
	go func() {
		for _, err := range client.AllocateShipmentStream(ctx, ShipmentItems("a")).Outcomes() {
			results["job"] <- err
		}
	}()
	for range results {
		<-calls
	}
	_ = client.Close()
	kinds := map[string]error{"write": ErrUnknownOutcome, "job": ErrUnfinishedJob}
	for name, result := range results {
		err := <-result
		var failure *Error
		isTold := errors.As(err, &failure)
		if !errors.Is(err, ErrClosed) || isTold != (kinds[name] != nil) || (isTold && failure.Kind != kinds[name]) {
			t.Errorf("%s: got %v", name, err)
		}
		if name == "write" && failure.RequestID == "" {
			t.Errorf("%s: it has no id", name)
		}
	}
	if _, err := client.Shipments.AllocateShipment(ctx, shipment); err != ErrClosed {
		t.Errorf("afterwards: got %v", err)
	}
	for _, err := range client.WatchShipmentAllocations(ctx, []string{"a"}) {
		if err != ErrClosed {
			t.Errorf("afterwards: got %v", err)
		}
	}
}

// TestClosedClientEndsAPause has a write wait for an hour, of which the gateway has said that nothing was done.
func TestClosedClientEndsAPause(t *testing.T) {
	pauses := make(chan struct{}, 1)
	client := connected(t, func(any, grpc.ServerStream) error {
		pauses <- struct{}{}
		told, _ := status.New(codes.Unavailable, "").WithDetails(
			&errdetails.ErrorInfo{Domain: domain, Reason: "UPSTREAM_UNAVAILABLE", Metadata: map[string]string{"effect": "none"}},
			&errdetails.RetryInfo{RetryDelay: durationpb.New(time.Hour)},
		)
		return told.Err()
	})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Hour)
	defer cancel()
	result := make(chan error)
	go func() { _, err := client.Shipments.AllocateShipment(ctx, shipment); result <- err }()
	<-pauses
	_ = client.Close()
	// Whether it was closed before the answer was read or after, it ends now; only after that nothing is in doubt.
	if err := <-result; !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
}

// TestContextThatHadEnded calls with one, and cancels one in the midst of a call.
func TestContextThatHadEnded(t *testing.T) {
	calls := make(chan string, 2)
	client := connected(t, nobody(calls))
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	late, cancel := context.WithDeadline(context.Background(), time.Now().Add(-time.Second))
	defer cancel()
	for want, ctx := range map[error]context.Context{context.Canceled: cancelled, context.DeadlineExceeded: late} {
		_, err := client.Shipments.AllocateShipment(ctx, shipment)
		if !errors.Is(err, want) || errors.Is(err, ErrUnknownOutcome) || errors.Is(err, ErrGatewayFailure) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	if len(calls) > 0 {
		t.Errorf("%s was called", <-calls)
	}
	for _, want := range []struct {
		kind error
		call func(context.Context) error
	}{
		{ErrUnknownOutcome, func(ctx context.Context) error {
			_, err := client.Shipments.AllocateShipment(ctx, shipment)
			return err
		}},
		{context.Canceled, func(ctx context.Context) error {
			_, err := client.Shipments.GetShipmentAllocation(ctx, &allocationv1.GetShipmentAllocationRequest{})
			return err
		}},
	} {
		ctx, cancel := context.WithCancel(context.Background())
		result := make(chan error)
		go func() { result <- want.call(ctx) }()
		<-calls
		cancel()
		err := <-result
		var failure *Error
		if !errors.As(err, &failure) || failure.Kind != want.kind || !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want %v", err, want.kind)
		}
	}
}

// TestInterceptorsOfOnesOwn are added to those of the client, whichever of gRPC's options they come by.
func TestInterceptorsOfOnesOwn(t *testing.T) {
	var mutex sync.Mutex
	ids := map[string]int{}
	handle := func(_ any, stream grpc.ServerStream) error {
		var request allocationv1.AllocateShipmentRequest
		if err := stream.RecvMsg(&request); err != nil {
			return err
		}
		mutex.Lock()
		defer mutex.Unlock()
		ids[request.GetRequestId()]++
		if ids[request.GetRequestId()] == 1 {
			return status.Error(codes.Unavailable, "")
		}
		return stream.SendMsg(&allocationv1.AllocateShipmentResponse{})
	}
	var calls, attempts, streams atomic.Int64
	counting := func(count *atomic.Int64) grpc.UnaryClientInterceptor {
		return func(
			ctx context.Context, method string, req, reply any, connection *grpc.ClientConn, invoke grpc.UnaryInvoker,
			options ...grpc.CallOption,
		) error {
			count.Add(1)
			return invoke(ctx, method, req, reply, connection, options...)
		}
	}
	ofStreams := func(
		ctx context.Context, description *grpc.StreamDesc, connection *grpc.ClientConn, method string, open grpc.Streamer,
		options ...grpc.CallOption,
	) (grpc.ClientStream, error) {
		streams.Add(1)
		return open(ctx, description, connection, method, options...)
	}
	client := connected(t, handle, WithAccount("north"), WithDialOptions(
		grpc.WithUnaryInterceptor(counting(&calls)),
		grpc.WithChainUnaryInterceptor(counting(&attempts)),
		grpc.WithStreamInterceptor(ofStreams),
	))
	if _, err := client.Shipments.AllocateShipment(within(t), shipment); err != nil {
		t.Fatal(err)
	}
	for id, times := range ids {
		if id == "" || times != 2 {
			t.Errorf("id %q was sent %d times", id, times)
		}
	}
	if len(ids) != 1 || calls.Load() != 1 || attempts.Load() != 2 {
		t.Errorf("%d ids, %d calls, %d attempts", len(ids), calls.Load(), attempts.Load())
	}
	sent := make(chan metadata.MD, 1)
	watched := connected(t, func(_ any, stream grpc.ServerStream) error {
		got, _ := metadata.FromIncomingContext(stream.Context())
		sent <- got
		return status.Error(codes.PermissionDenied, "")
	}, WithAccount("north"), WithDialOptions(grpc.WithStreamInterceptor(ofStreams)))
	for range watched.WatchShipmentAllocations(within(t), []string{"a"}) {
	}
	if got := (<-sent).Get(accountKey); !slices.Equal(got, []string{"north"}) || streams.Load() != 1 {
		t.Errorf("account: got %q; %d streams", got, streams.Load())
	}
}

// TestPauseOfNothingGrows is told to come back at once, again and again.
func TestPauseOfNothingGrows(t *testing.T) {
	nothing, more := time.Duration(0), 3*time.Second
	next := firstPause
	for _, longest := range []time.Duration{100, 200, 400} {
		longest *= time.Millisecond
		if got := (&Error{RetryAfter: &nothing}).pause(&next); got < longest/2 || got > longest {
			t.Errorf("got %v, want up to %v", got, longest)
		}
	}
	if got := (&Error{pushback: &more}).pause(&next); got < more {
		t.Errorf("got %v, told %v", got, more)
	}
	told, err := status.New(codes.Unavailable, "").WithDetails(&errdetails.ErrorInfo{Domain: domain}, &errdetails.RetryInfo{})
	if err != nil {
		t.Fatal(err)
	}
	if got := failureOf(told.Err(), nil, "").RetryAfter; got != nil {
		t.Errorf("a RetryInfo that says nothing is %v", *got)
	}
}

// TestWatchAsksOnceForEach is given a reference twice, which the gateway would refuse.
func TestWatchAsksOnceForEach(t *testing.T) {
	asked := make(chan []string, 1)
	client := connected(t, func(_ any, stream grpc.ServerStream) error {
		var request allocationv1.WatchShipmentAllocationsRequest
		if err := stream.RecvMsg(&request); err != nil {
			return err
		}
		asked <- request.GetShipmentReferences()
		return status.Error(codes.PermissionDenied, "")
	})
	for range client.WatchShipmentAllocations(within(t), []string{"b", "a", "b"}) {
	}
	if got := <-asked; !slices.Equal(got, []string{"b", "a"}) {
		t.Errorf("got %q", got)
	}
}

// TestNoItemIsTakenWhenTheJobIsOver has a sequence that waits for its next item while its job is refused.
func TestNoItemIsTakenWhenTheJobIsOver(t *testing.T) {
	client := connected(t, func(_ any, stream grpc.ServerStream) error {
		var request allocationv1.AllocateShipmentStreamRequest
		for len(request.GetItems()) == 0 {
			if err := stream.RecvMsg(&request); err != nil {
				return err
			}
		}
		job := &allocationv1.AllocateShipmentStreamResponse_Job{Job: &allocationv1.AllocationJob{}}
		if err := stream.SendMsg(&allocationv1.AllocateShipmentStreamResponse{Content: job}); err != nil {
			return err
		}
		return status.Error(codes.PermissionDenied, "")
	})
	more, wanted := make(chan string, 1), make(chan bool)
	more <- "a"
	items := func(yield func(*allocationv1.ShipmentItem) bool) {
		for reference := range more {
			isWanted := yield(&allocationv1.ShipmentItem{ShipmentReference: reference})
			if reference != "a" {
				wanted <- isWanted
			}
			if !isWanted {
				return
			}
		}
	}
	for _, err := range client.AllocateShipmentStream(within(t), items).Outcomes() {
		var failure *Error
		if !errors.As(err, &failure) || failure.Kind != ErrUnfinishedJob || !slices.Equal(failure.Unanswered, []string{"a"}) {
			t.Fatalf("got %v", err)
		}
		more <- "late"
		if <-wanted {
			t.Error("an item was taken that nobody is told of")
		}
	}
}

// TestReadHasTheTimeOfItsContext has more of it than the service configuration gives.
func TestReadHasTheTimeOfItsContext(t *testing.T) {
	left := make(chan time.Duration, 1)
	client := connected(t, func(_ any, stream grpc.ServerStream) error {
		deadline, _ := stream.Context().Deadline()
		left <- time.Until(deadline)
		var request allocationv1.GetShipmentAllocationRequest
		if err := stream.RecvMsg(&request); err != nil {
			return err
		}
		return stream.SendMsg(&allocationv1.GetShipmentAllocationResponse{})
	})
	for want, ctx := range map[time.Duration]context.Context{longest: within(t), 15 * time.Second: context.Background()} {
		if _, err := client.Shipments.GetShipmentAllocation(ctx, &allocationv1.GetShipmentAllocationRequest{}); err != nil {
			t.Fatal(err)
		}
		if got := <-left; got > want || got < want*2/3 {
			t.Errorf("got %v, want %v", got, want)
		}
	}
}

// TestCallsGoToAllAddressesInTurn has two servers under one name.
func TestCallsGoToAllAddressesInTurn(t *testing.T) {
	counts := make([]atomic.Int64, 2)
	addresses := make([]resolver.Address, len(counts))
	for place := range counts {
		addresses[place].Addr = serve(t, func(_ any, stream grpc.ServerStream) error {
			counts[place].Add(1)
			var request allocationv1.GetShipmentAllocationRequest
			if err := stream.RecvMsg(&request); err != nil {
				return err
			}
			return stream.SendMsg(&allocationv1.GetShipmentAllocationResponse{})
		})
	}
	names := manual.NewBuilderWithScheme("test")
	names.InitialState(resolver.State{Addresses: addresses})
	client, err := NewClient("test:///gateway", WithPlaintext(), WithDialOptions(grpc.WithResolvers(names)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	ctx := within(t)
	// One of them may be connected to before the other.
	const each, most = 10, 10_000
	for made := 0; min(counts[0].Load(), counts[1].Load()) < each; made++ {
		if made == most {
			t.Fatalf("of %d calls %d and %d went to each", made, counts[0].Load(), counts[1].Load())
		}
		if _, err := client.Shipments.GetShipmentAllocation(ctx, &allocationv1.GetShipmentAllocationRequest{}); err != nil {
			t.Fatal(err)
		}
	}
}
