package gateway

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/genproto/googleapis/type/decimal"
	"google.golang.org/genproto/googleapis/type/money"
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
