package main

import "math/bits"

const (
	precisionBits = 7 // a bucket is at most 0.8 % wide
	buckets       = 64 << precisionBits
)

// histogram counts durations in nanoseconds, in buckets whose width grows with them.
type histogram struct {
	counts [buckets]uint32
	total  uint64
	sum    int64
	max    int64
}

func (h *histogram) add(nanoseconds int64) {
	nanoseconds = max(nanoseconds, 0)
	h.counts[bucket(uint64(nanoseconds))]++
	h.total++
	h.sum += nanoseconds
	h.max = max(h.max, nanoseconds)
}

func (h *histogram) merge(other *histogram) {
	for index, count := range other.counts {
		h.counts[index] += count
	}
	h.total += other.total
	h.sum += other.sum
	h.max = max(h.max, other.max)
}

// quantile returns the upper end of the bucket that the quantile falls into, in milliseconds.
func (h *histogram) quantile(part float64) float64 {
	rank, seen := uint64(part*float64(h.total)), uint64(0)
	for index, count := range h.counts {
		if seen += uint64(count); count > 0 && seen > rank {
			return float64(min(upper(index), h.max)) / 1e6
		}
	}
	return float64(h.max) / 1e6
}

func (h *histogram) summary() map[string]float64 {
	mean := 0.0
	if h.total > 0 {
		mean = float64(h.sum) / float64(h.total) / 1e6
	}
	return map[string]float64{
		"count": float64(h.total), "mean": mean, "max": float64(h.max) / 1e6,
		"p50": h.quantile(0.5), "p90": h.quantile(0.9), "p99": h.quantile(0.99), "p999": h.quantile(0.999),
	}
}

func bucket(value uint64) int {
	shift := max(bits.Len64(value)-precisionBits-1, 0)
	return shift<<precisionBits + int(value>>shift)
}

func upper(index int) int64 {
	shift := max(index>>precisionBits-1, 0)
	return int64(index-shift<<precisionBits+1) << shift
}
