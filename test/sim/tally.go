package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	slotdv1 "slotd/messages/slotd/v1"
)

// tally counts what has happened in many worlds, so that a rule nobody could break is noticed.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
}

func (t *tally) add(h history) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range h {
		t.counts[strings.TrimPrefix(fmt.Sprintf("%T", e.what), "sim.")]++
		switch f := e.what.(type) {
		case crashed:
			t.counts["crash "+f.point]++
		case faulted:
			t.counts["panics"] += f.panics
		case answered:
			t.counts["answer "+f.label]++
		case wrote:
			for _, r := range f.batch.Tasks {
				if r.GetPhase() == slotdv1.Phase_PHASE_FINISHED {
					t.counts["end "+r.GetReason()]++
				}
			}
			for _, r := range f.batch.Runs {
				if r.GetFinishedAt() != 0 {
					t.counts["run "+r.GetReason()]++
				}
			}
			t.counts["deleted"] += len(f.batch.Deletes)
		}
	}
}

// missing are those of the names that were never counted.
func (t *tally) missing(names ...string) []string {
	return slices.DeleteFunc(names, func(name string) bool { return t.counts[name] > 0 })
}

func (t *tally) String() string {
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(t.counts)) {
		fmt.Fprintf(&text, "%8d %s\n", t.counts[name], name)
	}
	return text.String()
}
