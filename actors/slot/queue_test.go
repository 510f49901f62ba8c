package slot

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestQueueIsASlice compares the queue with a plain slice, through bursts that make it compact.
func TestQueueIsASlice(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	var q queue
	var model []*entry
	compacted, longest := 0, 0
	for step := range 100_000 {
		growing := step/1000%2 == 0
		before := len(q.entries)
		switch n := r.IntN(10); {
		case n < 4 || growing && n < 7:
			e := &entry{}
			q.push(e)
			model = append(model, e)
		case n < 8 && len(model) > 0:
			i := r.IntN(len(model))
			q.remove(model[i])
			model = slices.Delete(model, i, i+1)
		default:
			var want *entry
			if len(model) > 0 {
				want, model = model[0], model[1:]
			}
			if got := q.pop(); got != want {
				t.Fatalf("seed %d step %d: pop = %p, want %p", seed, step, got, want)
			}
		}
		if len(q.entries) > 0 && len(q.entries) < before {
			compacted++
		}
		longest = max(longest, q.size)
		if q.size != len(model) || step%100 == 0 && !slices.Equal(slices.Collect(q.all), model) {
			t.Fatalf("seed %d step %d: %d entries are not the %d of the model", seed, step, q.size, len(model))
		}
		if gaps := len(q.entries) - q.size; gaps > max(32, q.size) {
			t.Fatalf("seed %d step %d: %d gaps among %d entries", seed, step, gaps, q.size)
		}
	}
	if compacted == 0 || longest < 100 {
		t.Errorf("compacted %d times, %d entries at most: the walk is too tame", compacted, longest)
	}
}

func TestQueueStopsWhenAskedTo(t *testing.T) {
	var q queue
	for range 3 {
		q.push(&entry{})
	}
	seen := 0
	for range q.all {
		if seen++; seen == 2 {
			break
		}
	}
	if seen != 2 {
		t.Errorf("saw %d entries, want 2", seen)
	}
}

func TestEmptyQueueKeepsNoMemory(t *testing.T) {
	var q queue
	for range 1000 {
		q.push(&entry{})
	}
	for q.pop() != nil {
		continue
	}
	if q.entries != nil {
		t.Errorf("an empty queue keeps room for %d", cap(q.entries))
	}
}
