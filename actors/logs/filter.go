package logs

import (
	"math"

	"slotd/messages"
)

// filter says which events a reader wants.
type filter struct {
	attempt uint32 // 0 = all
	since   int64
	streams uint8 // bit set of kinds
}

// everything passes all.
var everything = filter{since: math.MinInt64, streams: math.MaxUint8}

func filterOf(q *messages.LogQuery) filter {
	f := filter{attempt: q.Attempt, since: q.Since, streams: 1<<kindStarted | 1<<kindFinished}
	for _, k := range []kind{kindStdout, kindStderr} {
		if q.Stream == 0 || q.Stream == k.stream() {
			f.streams |= 1 << k
		}
	}
	return f
}

// passes says whether the events of a block are wanted.
func (f *filter) passes(h *header) bool {
	return (f.attempt == 0 || f.attempt == h.attempt) && h.ts >= f.since && f.streams&(1<<h.kind) != 0
}

// may says whether a stretch can hold a wanted event.
func (f *filter) may(m *mark) bool {
	return (f.attempt == 0 || f.attempt >= m.from && f.attempt <= m.to) && m.latest >= f.since && f.streams&m.streams != 0
}
