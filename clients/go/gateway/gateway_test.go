package gateway

import (
	"context"
	"errors"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/type/decimal"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	allocationv1 "github.com/allocation-gateway/allocation-gateway/clients/go/allocation/v1"
)

// TestMoneyIsExact reads amounts at the limits of what protobuf can say.
func TestMoneyIsExact(t *testing.T) {
	for _, one := range []struct {
		units int64
		nanos int32
		want  string
	}{
		{2, 0, "2.00 GBP"},
		{0, 0, "0.00 GBP"},
		{0, -10_000_000, "-0.01 GBP"},
		{-1, -500_000_000, "-1.50 GBP"},
		{0, 1, "0.000000001 GBP"},
		{math.MaxInt64, 999_999_999, "9223372036854775807.999999999 GBP"},
		{math.MinInt64, -999_999_999, "-9223372036854775808.999999999 GBP"},
	} {
		got, err := MoneyOf(&money.Money{CurrencyCode: "GBP", Units: one.units, Nanos: one.nanos})
		if err != nil || got.String() != one.want {
			t.Errorf("units %d, nanos %d: got %v, %v, want %v", one.units, one.nanos, got, err, one.want)
		}
	}
}

// TestWhatIsNoAmountIsNotGuessed reads amounts that contradict themselves.
func TestWhatIsNoAmountIsNotGuessed(t *testing.T) {
	for _, wrong := range []*money.Money{{Units: 1, Nanos: -1}, {Units: -1, Nanos: 1}, {Nanos: nanosOfUnit}} {
		if got, err := MoneyOf(wrong); err == nil {
			t.Errorf("%v: got %v", wrong, got)
		}
	}
	if got, err := DecimalOf(&decimal.Decimal{Value: "many"}); err == nil {
		t.Errorf("got %v", got)
	}
}

// TestTokenIsFollowed replaces the file of a token, empties it and takes it away.
func TestTokenIsFollowed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("")
	if _, err := openToken(file); err == nil {
		t.Error("an empty file was taken")
	}
	write("first\n")
	token, err := openToken(file)
	if err != nil {
		t.Fatal(err)
	}
	token.every = 0
	for _, step := range []struct {
		change func()
		want   string
	}{
		{func() {}, "first"},
		{func() { write("two\nlines") }, "first"},
		{func() { write("second") }, "second"},
		{func() { write("\n") }, "second"},
		{func() { _ = os.Remove(file) }, "second"},
	} {
		step.change()
		if got := token.current(); got != step.want {
			t.Errorf("got %q, want %q", got, step.want)
		}
	}
}

// TestTokenIsNotSentInTheOpen asks for both.
func TestTokenIsNotSentInTheOpen(t *testing.T) {
	if _, err := NewClient("localhost:1", WithPlaintext(), WithTokenFile("token")); err == nil {
		t.Error("a token was taken without TLS")
	}
}

// TestAccount names it in each way there is. Two are never sent: the gateway would refuse that.
func TestAccount(t *testing.T) {
	north := map[string]string{accountKey: "north"}
	own := metadata.AppendToOutgoingContext(context.Background(), accountKey, "south", "x-team", "checkout")
	for name, one := range map[string]struct {
		settings settings
		ctx      context.Context
		want     []string
	}{
		"none":                   {settings{}, context.Background(), nil},
		"of the client":          {settings{account: "retail"}, context.Background(), []string{"retail"}},
		"of its metadata":        {settings{metadata: north}, context.Background(), []string{"north"}},
		"option before metadata": {settings{account: "retail", metadata: north}, context.Background(), []string{"retail"}},
		"of the call":            {settings{account: "retail"}, InAccount(own, "west"), []string{"west"}},
		"of the call's metadata": {settings{account: "retail", metadata: north}, own, []string{"south"}},
		"none for the call":      {settings{account: "retail", metadata: north}, InAccount(own, ""), nil},
	} {
		sent, _ := metadata.FromOutgoingContext((&caller{settings: &one.settings}).outgoing(one.ctx))
		if got := sent.Get(accountKey); !slices.Equal(got, one.want) {
			t.Errorf("%s: got %q, want %q", name, got, one.want)
		}
	}
}

// TestAuthorization has it in each way there is. Two are never sent: the gateway would refuse that.
func TestAuthorization(t *testing.T) {
	file := &token{text: "file", every: time.Hour, readAt: time.Now()}
	ofClient := map[string]string{"authorization": "Bearer client"}
	own := metadata.AppendToOutgoingContext(context.Background(), authorizationKey, "Bearer call")
	for name, one := range map[string]struct {
		token    *token
		metadata map[string]string
		ctx      context.Context
		want     []string
	}{
		"none":                     {nil, nil, context.Background(), nil},
		"of the token file":        {file, nil, context.Background(), []string{"Bearer file"}},
		"of the client's metadata": {file, ofClient, context.Background(), []string{"Bearer client"}},
		"of the call's metadata":   {file, nil, own, []string{"Bearer call"}},
		"of both":                  {file, ofClient, own, []string{"Bearer call"}},
		"of both, without a token": {nil, ofClient, own, []string{"Bearer call"}},
	} {
		made := &caller{settings: &settings{metadata: one.metadata}, token: one.token}
		sent, _ := metadata.FromOutgoingContext(made.outgoing(one.ctx))
		if got := sent.Get(authorizationKey); !slices.Equal(got, one.want) {
			t.Errorf("%s: got %q, want %q", name, got, one.want)
		}
	}
}

// TestStreamsThatWereOfUseCostNothing ends streams that have told something, and then some that have not.
func TestStreamsThatWereOfUseCostNothing(t *testing.T) {
	attempts := (&caller{budget: newBudget(&serviceConfig{maxTokens: 8})}).begin(time.Now().Add(time.Hour))
	again := func(come progress) bool {
		_, again := attempts.after(context.Background(), &Error{Code: codes.Unavailable}, come)
		return again
	}
	for range 100 {
		if !again(progress{letIn: true, hasTold: true}) {
			t.Fatal("it was given up")
		}
	}
	for step, want := range []bool{true, true, true, false} {
		if got := again(progress{letIn: true}); got != want {
			t.Errorf("step %d: got %v", step, got)
		}
	}
}

// TestExpiredTokenEndsNoJob is refused before and after it was let in.
func TestExpiredTokenEndsNoJob(t *testing.T) {
	attempts := (&caller{budget: newBudget(&serviceConfig{maxTokens: 8})}).begin(time.Now().Add(time.Hour))
	for reason, wants := range map[string][2]bool{expired: {false, true}, "CALLER_NOT_ALLOWED": {false, false}} {
		for place, come := range []progress{{}, {letIn: true}} {
			failure := &Error{Code: codes.Unauthenticated, Reason: reason, isGateway: true}
			if _, got := attempts.after(context.Background(), failure, come); got != wants[place] {
				t.Errorf("%s, let in %v: got %v", reason, come.letIn, got)
			}
		}
	}
}

// TestCallThatLastsNeedsADeadline begins a job and a watch without.
func TestCallThatLastsNeedsADeadline(t *testing.T) {
	client, err := NewClient("localhost:1", WithPlaintext())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	for _, err := range client.AllocateShipmentStream(context.Background(), ShipmentItems("a")).Outcomes() {
		if !errors.Is(err, errNoDeadline) {
			t.Errorf("job: got %v", err)
		}
	}
	for _, err := range client.WatchShipmentAllocations(context.Background(), []string{"a"}) {
		if !errors.Is(err, errNoDeadline) {
			t.Errorf("watch: got %v", err)
		}
	}
}

// TestJobIsLeft leaves a job at its first outcome: its stream ends, and no more items are taken.
func TestJobIsLeft(t *testing.T) {
	ended, taken := make(chan struct{}), make(chan struct{})
	address := serve(t, func(_ any, stream grpc.ServerStream) error {
		defer close(ended)
		outcomes := &allocationv1.ShipmentOutcomes{Results: []*allocationv1.ShipmentOutcome{{ShipmentReference: "0"}}}
		for _, told := range []*allocationv1.AllocateShipmentStreamResponse{
			{Content: &allocationv1.AllocateShipmentStreamResponse_Job{Job: &allocationv1.AllocationJob{}}},
			{Content: &allocationv1.AllocateShipmentStreamResponse_Results{Results: outcomes}},
		} {
			for range 2 {
				if err := stream.RecvMsg(&allocationv1.AllocateShipmentStreamRequest{}); err != nil {
					return err
				}
			}
			if err := stream.SendMsg(told); err != nil {
				return err
			}
		}
		<-stream.Context().Done()
		return nil
	})
	client, err := NewClient(address, WithPlaintext())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	endless := func(yield func(*allocationv1.ShipmentItem) bool) {
		defer close(taken)
		for number := 0; yield(&allocationv1.ShipmentItem{ShipmentReference: strconv.Itoa(number)}); number++ {
		}
	}
	job := client.AllocateShipmentStream(ctx, endless)
	for outcome, err := range job.Outcomes() {
		if err != nil || outcome.Reference != "0" || outcome.Kind != OutcomeUnknown {
			t.Errorf("got %v, %v", outcome, err)
		}
		break
	}
	for name, over := range map[string]chan struct{}{"stream": ended, "items": taken} {
		select {
		case <-over:
		case <-ctx.Done():
			t.Errorf("%s: it has not ended", name)
		}
	}
	if got := job.Summary(); got.Unknown != 1 || got.Streams != 1 {
		t.Errorf("summary: got %+v", got)
	}
}

// serve runs a server that has every stream handled so, and returns its address.
func serve(t *testing.T, handle grpc.StreamHandler) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.UnknownServiceHandler(handle))
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return listener.Addr().String()
}

// TestBudgetIsSpentAndEarnedBack repeats until no more than half of it is left.
func TestBudgetIsSpentAndEarnedBack(t *testing.T) {
	budget := newBudget(&serviceConfig{maxTokens: 8, tokenRatio: 0.5})
	for step, want := range []bool{true, true, true, false} {
		if got := budget.spend(); got != want {
			t.Errorf("step %d: got %v", step, got)
		}
	}
	for range 4 {
		budget.earn()
	}
	if !budget.spend() {
		t.Error("it was not earned back")
	}
}
