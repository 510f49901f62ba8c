package bench

import (
	"math"
	"slices"
	"time"
)

// Sample sums up the rounds of one metric.
type Sample struct {
	Median, Min, Max float64
}

// Summarize returns the median (of an even number of values, the mean of the two in the middle) and the extremes. Without
// values all three are NaN.
func Summarize(values []float64) Sample {
	if len(values) == 0 {
		return Sample{math.NaN(), math.NaN(), math.NaN()}
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return Sample{Median: (sorted[(n-1)/2] + sorted[n/2]) / 2, Min: sorted[0], Max: sorted[n-1]}
}

// Quantile returns the value below or at which a share q of the durations lies (nearest rank), in milliseconds; NaN
// without durations. It sorts them in place.
func Quantile(durations []time.Duration, q float64) float64 {
	if len(durations) == 0 {
		return math.NaN()
	}
	slices.Sort(durations)
	rank := int(math.Ceil(q * float64(len(durations))))
	return float64(durations[min(max(rank, 1), len(durations))-1]) / float64(time.Millisecond)
}

// PerSecond is a rate.
func PerSecond(n int, took time.Duration) float64 { return float64(n) / took.Seconds() }
