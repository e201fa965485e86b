package main

import (
	"math"
	"testing"
)

// TestQuantiles holds quantiles to the exact ones, within the width of a bucket.
func TestQuantiles(t *testing.T) {
	made := &histogram{}
	const count = 100_000
	for value := int64(1); value <= count; value++ {
		made.add(value * 1000)
	}
	for _, part := range []float64{0.5, 0.9, 0.99, 0.999} {
		exact := part * count * 1000 / 1e6
		if got := made.quantile(part); math.Abs(got-exact)/exact > 0.01 {
			t.Errorf("quantile %v is %v, not %v", part, got, exact)
		}
	}
}

// TestBuckets holds every value to a bucket whose upper end is not below it, and at most 0.8 % above.
func TestBuckets(t *testing.T) {
	last := -1
	for value := uint64(0); value < 1<<40; value += 1 + value/61 {
		index := bucket(value)
		if index < last {
			t.Fatalf("the bucket of %d is before that of a smaller value", value)
		}
		last = index
		if top := uint64(upper(index)); top < value || float64(top-value) > float64(value)/100+1 {
			t.Fatalf("%d is in a bucket that ends at %d", value, top)
		}
	}
}

// TestPlaces lets every call fill all places of its request, and only those, with digits that nobody else has.
func TestPlaces(t *testing.T) {
	made := newRequest("http", "a:1", "/s/m", nil, []byte("##x############y############"))
	first, second := string(made.appendMessage(nil, 7)[5:]), string(made.appendMessage(nil, 8)[5:])
	if first != "##x000000000014y000000000015" || second != "##x000000000016y000000000017" {
		t.Errorf("got %q and %q", first, second)
	}
	if !made.isEchoed([]byte("..000000000014.."), 7) || made.isEchoed([]byte("..000000000014.."), 8) {
		t.Error("an echo is not told from that of another call")
	}
}
