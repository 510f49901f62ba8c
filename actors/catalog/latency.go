package catalog

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	slotdv1 "slotd/messages/slotd/v1"
)

// Latency is a histogram from 1 µs to 1 h with two significant digits, for introspection.
type Latency struct {
	mu   sync.Mutex
	hist *hdrhistogram.Histogram
}

// NewLatency returns an empty histogram.
func NewLatency() *Latency {
	return &Latency{hist: hdrhistogram.New(1, time.Hour.Microseconds(), 2)}
}

// Record counts one duration; what is out of range counts as its nearest bound.
func (l *Latency) Record(d time.Duration) {
	us := min(max(d.Microseconds(), 1), time.Hour.Microseconds())
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.hist.RecordValue(us) // in range by construction
}

// View summarises what has been recorded so far.
func (l *Latency) View() *slotdv1.LatencyView {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &slotdv1.LatencyView{
		Count: uint64(l.hist.TotalCount()),
		P50:   uint64(l.hist.ValueAtQuantile(50)),
		P90:   uint64(l.hist.ValueAtQuantile(90)),
		P99:   uint64(l.hist.ValueAtQuantile(99)),
		Max:   uint64(l.hist.Max()),
	}
}
