package store_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slotd/actors/store"
	slotdv1 "slotd/messages/slotd/v1"
)

// TestRandomFailures walks a pipeline over a disk that fails at random. Every batch carries its number, as a run of
// the task "log"; effects carry the number of the batch they wait for.
func TestRandomFailures(t *testing.T) {
	for _, strict := range []bool{true, false} {
		seed := uint64(time.Now().UnixNano())
		t.Run(fmt.Sprintf("strict=%v", strict), func(t *testing.T) {
			t.Logf("seed %d", seed)
			w := newWalk(t, rand.New(rand.NewPCG(seed, 0)), strict)
			for range 50_000 {
				w.step()
			}
			w.heal()
		})
	}
}

type walk struct {
	t       *testing.T
	rand    *rand.Rand
	disk    *disk
	p       *store.Pipeline[effect]
	batches []*store.Batch // by number
	given   []effect       // not yet released, in order
	effects int
	durable map[int]bool // numbers of batches in the disk
	dropped map[int]bool
	upTo    int // every smaller number is durable or dropped
	seen    int // applied batches looked at
}

// effect may happen when every batch up to a number is durable or dropped.
type effect struct{ id, needs int }

func newWalk(t *testing.T, r *rand.Rand, strict bool) *walk {
	w := &walk{t: t, rand: r, disk: &disk{strict: strict}, durable: map[int]bool{}, dropped: map[int]bool{}}
	w.p = store.NewPipeline[effect](w.disk.commit, w.disk.tell)
	return w
}

func (w *walk) step() {
	switch n := w.rand.IntN(100); {
	case n < 30:
		w.commit()
	case n < 35:
		w.after()
	case n < 60 && len(w.disk.queue) > 0:
		w.disk.step(w.rand.IntN(20) == 0)
		w.look()
	case n < 95 && len(w.disk.mailbox) > 0:
		w.settle(w.disk.next(false))
	case n >= 97:
		w.p.Retry()
	}
}

func (w *walk) commit() {
	n := len(w.batches)
	b := &store.Batch{Runs: []*slotdv1.RunRecord{{TaskId: "log", Attempt: uint32(n)}}}
	for range 1 + w.rand.IntN(2) {
		id := fmt.Sprint(w.rand.IntN(5))
		b.Tasks = append(b.Tasks, &slotdv1.TaskRecord{Id: id, ResourceVersion: uint64(n)})
	}
	key := &slotdv1.KeyRecord{Slot: "s", Key: fmt.Sprint(w.rand.IntN(4)), ExpiresAt: int64(n)}
	if w.rand.IntN(3) == 0 {
		b.Expired = append(b.Expired, key)
	} else {
		b.Keys = append(b.Keys, key)
	}
	w.batches = append(w.batches, b)
	w.p.Commit(b, w.effect())
}

func (w *walk) effect() []effect {
	w.effects++
	e := effect{w.effects, len(w.batches) - 1}
	w.given = append(w.given, e)
	return []effect{e}
}

func (w *walk) after() {
	if now := w.p.After(w.effect()); now != nil {
		w.released(now)
	}
}

// look checks what has just become durable: with a strict disk, a prefix.
func (w *walk) look() {
	for ; w.seen < len(w.disk.applied); w.seen++ {
		for _, run := range w.disk.applied[w.seen].Runs {
			w.durable[int(run.GetAttempt())] = true
		}
		for _, run := range w.disk.applied[w.seen].Runs {
			if w.disk.strict && !w.settledUpTo(int(run.GetAttempt())) {
				w.t.Fatalf("batch %d is durable, %d is not", run.GetAttempt(), w.upTo)
			}
		}
	}
}

func (w *walk) settledUpTo(n int) bool {
	for w.upTo <= n && (w.durable[w.upTo] || w.dropped[w.upTo]) {
		w.upTo++
	}
	return n < w.upTo
}

func (w *walk) settle(c store.Committed) {
	ready, failed := w.p.Settle(c)
	if (failed != nil) != (c.Err != nil) {
		w.t.Fatalf("Settle(%+v) failed = %v", c, failed)
	}
	w.released(ready)
	if failed == nil {
		return
	}
	if len(failed.Runs) > 1 || w.rand.IntN(2) == 0 {
		return // a transition, or several batches folded: kept
	}
	n := int(failed.Runs[0].GetAttempt())
	w.dropped[n] = true
	dropped, ready := w.p.Drop(c)
	for _, e := range dropped {
		for later := n; later <= e.needs; later++ {
			if !w.dropped[later] {
				w.t.Fatalf("%+v was dropped with batch %d, though %d was not", e, n, later)
			}
		}
	}
	w.given = slices.DeleteFunc(w.given, func(e effect) bool { return slices.Contains(dropped, e) })
	w.released(ready)
}

func (w *walk) released(ready []effect) {
	for _, e := range ready {
		if len(w.given) == 0 || w.given[0] != e {
			w.t.Fatalf("%+v released, want the first of %v", e, w.given[:min(3, len(w.given))])
		}
		w.given = w.given[1:]
		if !w.settledUpTo(e.needs) {
			w.t.Fatalf("%+v released while batch %d is not durable", e, w.upTo)
		}
	}
}

func (w *walk) heal() {
	for !w.p.Idle() || len(w.disk.mailbox) > 0 {
		w.p.Retry()
		for len(w.disk.queue) > 0 {
			w.disk.step(false)
			w.look()
		}
		for len(w.disk.mailbox) > 0 {
			c := w.disk.next(false)
			ready, _ := w.p.Settle(c)
			w.released(ready)
		}
	}
	if len(w.given) > 0 {
		w.t.Errorf("effects never released: %v", w.given)
	}
	var kept []*store.Batch
	for n, b := range w.batches {
		if !w.dropped[n] {
			kept = append(kept, b)
		}
	}
	if diff := cmp.Diff(outcome(kept), outcome(w.disk.applied)); diff != "" {
		w.t.Errorf("state after healing (-want +got):\n%s", diff)
	}
}
