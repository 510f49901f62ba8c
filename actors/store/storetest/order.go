package storetest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"slotd/actors/store"
	slotdv1 "slotd/messages/slotd/v1"
)

func doneKeepsTheOrder(t *testing.T, place Place) {
	s := open(t, place)
	const commits = 2000
	var called []int // by one goroutine of the store
	var group sync.WaitGroup
	group.Add(commits)
	for n := range commits {
		b := &store.Batch{} // a barrier, now and then
		if n%7 != 0 {
			b.Tasks = []*slotdv1.TaskRecord{taskRecord(taskID(n%10), uint64(n))}
		}
		s.Commit(b, func(err error) {
			if err != nil {
				t.Errorf("Commit: %v", err)
			}
			called = append(called, n)
			group.Done()
		})
	}
	await(t, "all dones", &group)
	for n, got := range called {
		if got != n {
			t.Fatalf("done %d was called in place of %d", got, n)
		}
	}
}

func doneKeepsTheOrderOfEachCommitter(t *testing.T, place Place) {
	s := open(t, place)
	const committers, commits = 8, 500
	var group sync.WaitGroup
	group.Add(committers * commits)
	var total int // not atomic: the race detector sees dones that overlap
	for c := range committers {
		go func() {
			var heard int
			for n := range commits {
				s.Commit(&store.Batch{Tasks: []*slotdv1.TaskRecord{taskRecord(taskID(c), uint64(n+1))}}, func(err error) {
					if err != nil || heard != n {
						t.Errorf("done %d of committer %d: %v, after %d", n, c, err, heard)
					}
					heard++
					total++
					group.Done()
				})
			}
		}()
	}
	await(t, "all dones", &group)
	s = reopen(t, place, s)
	for _, rec := range read(t, s).Tasks {
		if rec.GetResourceVersion() != commits {
			t.Errorf("%s has version %d, want the last one, %d", rec.GetId(), rec.GetResourceVersion(), commits)
		}
	}
}

func appliedBeforeDone(t *testing.T, place Place) {
	s := open(t, place)
	for n := range uint64(200) {
		seen := make(chan uint64, 1)
		s.Commit(&store.Batch{Tasks: []*slotdv1.TaskRecord{taskRecord("tsk_1", n)}}, func(error) {
			rec, err := s.Task(context.Background(), "tsk_1")
			if err != nil {
				t.Errorf("Task in done: %v", err)
			}
			seen <- rec.GetResourceVersion()
		})
		if got := <-seen; got != n {
			t.Fatalf("done of version %d sees version %d", n, got)
		}
	}
}

func commitNeverWaitsForADone(t *testing.T, place Place) {
	s := open(t, place)
	const commits = 1000
	blocked := make(chan struct{})
	var group sync.WaitGroup
	group.Add(1 + commits)
	s.Commit(wholeTask("tsk_1"), func(error) {
		<-blocked
		group.Done()
	})
	for n := range commits { // stuck here: Commit waits for the done above
		s.Commit(wholeTask(taskID(n)), func(error) { group.Done() })
	}
	close(blocked)
	await(t, "all dones", &group)
}

func doneMayCommit(t *testing.T, place Place) {
	s := open(t, place)
	var group sync.WaitGroup
	group.Add(100)
	var next func(n uint64)
	next = func(n uint64) {
		if n == 100 {
			return
		}
		s.Commit(&store.Batch{Tasks: []*slotdv1.TaskRecord{taskRecord("tsk_1", n)}}, func(error) {
			next(n + 1)
			group.Done()
		})
	}
	next(0)
	await(t, "a chain of commits", &group)
}

// batchIsSeenAsAWhole moves two tasks in step while readers look.
func batchIsSeenAsAWhole(t *testing.T, place Place) {
	s := open(t, place)
	pair := func(n uint64) *store.Batch {
		return &store.Batch{Tasks: []*slotdv1.TaskRecord{taskRecord("tsk_1", n), taskRecord("tsk_2", n)}}
	}
	commit(t, s, pair(0))
	var over atomic.Bool
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for !over.Load() {
				var versions []uint64
				err := s.Load(context.Background(), func(e store.Entry) error {
					versions = append(versions, e.Task.GetResourceVersion())
					return nil
				})
				if err != nil || len(versions) != 2 || versions[0] != versions[1] {
					t.Errorf("Load sees versions %v, %v, want two that are equal", versions, err)
					return
				}
			}
		})
	}
	for n := range uint64(500) {
		commit(t, s, pair(n+1))
	}
	over.Store(true)
	await(t, "readers", &readers)
}

func closeDrains(t *testing.T, place Place) {
	s := place(t)
	const commits = 5000
	heard := 0 // by one goroutine of the store, and by us after Close
	for n := range commits {
		s.Commit(wholeTask(taskID(n)), func(err error) {
			if err != nil {
				t.Errorf("Commit before Close: %v", err)
			}
			heard++
		})
	}
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	if heard != commits {
		t.Errorf("%d dones were called before Close returned, want %d", heard, commits)
	}
	if !s.Durable() {
		return
	}
	if got := len(read(t, open(t, place)).Tasks); got != commits {
		t.Errorf("%d tasks after Close, want %d", got, commits)
	}
}

// closedStoreRefuses closes a store under committers: each hears of every batch, in order, and nothing that was refused
// is followed by something that was not.
func closedStoreRefuses(t *testing.T, place Place) {
	s := place(t)
	const committers = 4
	var begun, ended sync.WaitGroup
	begun.Add(committers)
	for range committers {
		ended.Go(func() {
			var heard, refused int
			sent := 0
			for ; sent < 100 || refused == 0; sent++ {
				answer := make(chan struct{})
				s.Commit(wholeTask(taskID(sent)), func(err error) {
					defer close(answer)
					heard++
					switch {
					case errors.Is(err, store.ErrClosed):
						refused++
					case err != nil || refused > 0:
						t.Errorf("done: %v after %d were refused", err, refused)
					}
				})
				<-answer
				if sent == 0 {
					begun.Done()
				}
			}
			if heard != sent {
				t.Errorf("%d dones for %d commits", heard, sent)
			}
		})
	}
	await(t, "first commits", &begun)
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	await(t, "committers", &ended)
	if err := s.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}

	ctx := context.Background()
	if s.Stats().Writable {
		t.Error("Stats().Writable after Close")
	}
	_, taskErr := s.Task(ctx, "tsk_1")
	_, specErr := s.Spec(ctx, "tsk_1")
	_, runsErr := s.Runs(ctx, "tsk_1")
	loadErr := s.Load(ctx, func(store.Entry) error { return nil })
	for name, err := range map[string]error{"Task": taskErr, "Spec": specErr, "Runs": runsErr, "Load": loadErr} {
		if !errors.Is(err, store.ErrClosed) {
			t.Errorf("%s after Close: %v, want ErrClosed", name, err)
		}
	}
}

func statsCount(t *testing.T, place Place) {
	s := open(t, place)
	b := wholeTask("tsk_1")
	b.Keys = []*slotdv1.KeyRecord{keyRecord("slot", "key", 5)}
	commit(t, s, b)
	commit(t, s, &store.Batch{})
	commit(t, s, &store.Batch{Deletes: []string{"tsk_1"}, Expired: b.Keys})
	got := s.Stats()
	if got.Kind == "" || !got.Writable || got.Commits != 3 || got.Records != 6 {
		t.Errorf("Stats() = %+v, want a kind, writable, 3 commits of 6 records", got)
	}
}
