package memory_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"slotd/actors/store"
	"slotd/actors/store/memory"
	"slotd/actors/store/storetest"
	slotdv1 "slotd/messages/slotd/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(tb testing.TB) *memory.Store {
	tb.Helper()
	s := memory.New(memory.Config{})
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

func TestConforms(t *testing.T) {
	storetest.Run(t, func(*testing.T) storetest.Place {
		return func(*testing.T) store.Store { return memory.New(memory.Config{Runs: storetest.KeptRuns}) }
	})
}

func TestKeeps256RunsByDefault(t *testing.T) {
	s := open(t)
	var group sync.WaitGroup
	for attempt := range uint32(300) {
		group.Add(1)
		s.Commit(&store.Batch{Runs: []*slotdv1.RunRecord{{TaskId: "tsk_1", Attempt: attempt + 1}}}, func(error) { group.Done() })
	}
	group.Wait()
	runs, err := s.Runs(context.Background(), "tsk_1")
	if err != nil || len(runs) != 256 || runs[0].GetAttempt() != 45 {
		t.Errorf("Runs = %d from %v on, %v, want 256 from attempt 45 on", len(runs), runs[0], err)
	}
}

func TestSharesTheRecordsItWasGiven(t *testing.T) {
	s := open(t)
	rec := &slotdv1.TaskRecord{Id: "tsk_1"}
	done := make(chan error)
	s.Commit(&store.Batch{Tasks: []*slotdv1.TaskRecord{rec}}, func(err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got, err := s.Task(context.Background(), "tsk_1"); got != rec || err != nil {
		t.Errorf("Task = %p, %v, want the record that was committed, %p", got, err, rec)
	}
}

func TestLivesInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memory.New(memory.Config{})
		heard := false
		s.Commit(&store.Batch{Tasks: []*slotdv1.TaskRecord{{Id: "tsk_1"}}}, func(error) { heard = true })
		synctest.Wait()
		if !heard {
			t.Error("done was not called though everything is at rest")
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// BenchmarkCommit is one committer that never waits, as a hot slot is.
func BenchmarkCommit(b *testing.B) {
	s := open(b)
	recs := make([]*slotdv1.TaskRecord, 4096)
	batches := make([]*store.Batch, len(recs))
	for i := range recs {
		recs[i] = &slotdv1.TaskRecord{Id: "tsk_" + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676))}
		batches[i] = &store.Batch{Tasks: recs[i : i+1]}
	}
	var group sync.WaitGroup
	done := func(error) { group.Done() }
	b.ReportAllocs()
	group.Add(b.N)
	for i := range b.N {
		s.Commit(batches[i%len(batches)], done)
	}
	group.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
}
