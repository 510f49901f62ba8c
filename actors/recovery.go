package actors

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"slotd/actors/logs"
	"slotd/actors/registry"
	"slotd/actors/slot"
	"slotd/actors/store"
	slotdv1 "slotd/messages/slotd/v1"
)

// recover fills the catalog from the store, once in the life of the node, and hands the registry what is not terminal.
// A registry that begins again finds the catalog filled: it is asked instead, behind a barrier. What could not be read
// once is not read again.
func (t *Tree) recover(ctx context.Context) (registry.Recovered, error) {
	select {
	case <-t.ready:
		if t.recovery != nil {
			return registry.Recovered{}, t.recovery
		}
		t.barrier()
	default:
		if err := t.load(ctx); err != nil {
			return registry.Recovered{}, err
		}
	}
	known := registry.Recovered{Residents: make(map[string][]slot.Resident), LastID: t.catalog.LastID()}
	for _, view := range t.catalog.Slots() {
		known.Residents[view.GetSlot()] = t.unfinished(view.GetSlot())
	}
	return known, nil
}

// chunk is how many entries the catalog takes over at a time.
const chunk = 1000

// load fills the catalog and tells the logs what they may lack. Nothing has started yet, and nothing does if there is a
// record that makes no sense: the store is left as it is (invariant 9).
func (t *Tree) load(ctx context.Context) error {
	var audit store.Audit
	entries := make([]store.Entry, 0, chunk)
	var begun []string // and not ended
	err := t.cfg.Store.Load(ctx, func(e store.Entry) error {
		if !audit.Entry(e) { // look for more
			return nil
		}
		if e.Task.GetAttempt() > 0 && e.Task.GetPhase() != slotdv1.Phase_PHASE_FINISHED {
			begun = append(begun, e.Task.GetId())
		}
		if entries = append(entries, e); len(entries) == chunk {
			t.catalog.Fill(entries)
			entries = entries[:0]
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("load the store: %w", err)
	}
	if err := audit.Err(); err != nil {
		return fmt.Errorf("the store has records that make no sense, and is left as it is: %w", err)
	}
	t.catalog.Fill(entries)
	return t.resumeLogs(ctx, begun)
}

// resumeLogs tells the logs of tasks that go on which runs these have had.
func (t *Tree) resumeLogs(ctx context.Context, ids []string) error {
	var readers sync.WaitGroup
	errs := make([]error, runtime.GOMAXPROCS(0))
	for n := range errs {
		readers.Go(func() {
			for i := n; i < len(ids) && errs[n] == nil; i += len(errs) {
				errs[n] = t.cfg.Logs.Resume(ids[i], func() ([]*slotdv1.RunRecord, error) { return t.cfg.Store.Runs(ctx, ids[i]) })
			}
		})
	}
	readers.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("read the runs of unfinished tasks: %w", err)
	}
	return nil
}

// becomeReady is called again by a registry that begins again; only the first time counts.
func (t *Tree) becomeReady(err error) {
	t.readied.Do(func() {
		t.recovery = err
		close(t.ready)
		if err == nil {
			t.cfg.Logs.Sweep(t.standing)
		}
	})
}

// recovered says that the node knows all that the store knew.
func (t *Tree) recovered() bool {
	select {
	case <-t.ready:
		return t.recovery == nil
	default:
		return false
	}
}

// standing tells the logs which files belong to a task, and which of these may go when space is needed.
func (t *Tree) standing(id string) logs.Standing {
	record, ok := t.lookup(id)
	switch {
	case !ok:
		return logs.Unknown
	case record.GetPhase() == slotdv1.Phase_PHASE_FINISHED:
		return logs.Terminal
	default:
		return logs.Active
	}
}

// residents reads back what a slot holds, for a slot actor that has to be made again.
func (t *Tree) residents(name string, done func([]slot.Resident)) {
	t.ledger.Commit(new(store.Batch), func(error) { done(t.unfinished(name)) })
}

// unfinished asks the catalog, which knows all that is durable.
func (t *Tree) unfinished(name string) []slot.Resident {
	var residents []slot.Resident
	for _, record := range t.catalog.Unfinished(name) {
		if data, ok := t.catalog.Task(record.GetId()); ok {
			residents = append(residents, slot.Resident{Record: record, Spec: data.GetSpec()})
		}
	}
	return residents
}

// record reads one task back, for a task actor that has to be made again.
func (t *Tree) record(id string, done func(*slotdv1.TaskRecord, error)) {
	t.ledger.Commit(new(store.Batch), func(error) {
		record, ok := t.lookup(id)
		if !ok {
			done(nil, store.ErrNotFound)
			return
		}
		done(record, nil)
	})
}

// barrier returns when everything committed before is durable and visible, or has failed.
func (t *Tree) barrier() {
	passed := make(chan struct{})
	t.ledger.Commit(new(store.Batch), func(error) { close(passed) })
	<-passed
}

// goRoutine runs f beside the actors; Stop ends its context and waits for it.
func (t *Tree) goRoutine(f func(ctx context.Context)) {
	t.routines.Go(func() { f(t.ctx) })
}
