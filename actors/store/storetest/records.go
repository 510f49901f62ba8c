package storetest

import (
	"context"
	"errors"
	"slices"
	"testing"

	"slotd/actors/store"
	slotdv1 "slotd/messages/slotd/v1"
)

func readsWhatWasCommitted(t *testing.T, place Place) {
	ctx := context.Background()
	s := open(t, place)
	b := wholeTask("tsk_1")
	commit(t, s, b)
	s = reopen(t, place, s)
	equal(t, "Task", must[*slotdv1.TaskRecord](t)(s.Task(ctx, "tsk_1")), b.Tasks[0])
	equal(t, "Spec", must[*slotdv1.SpecRecord](t)(s.Spec(ctx, "tsk_1")), b.Specs[0])
	equal(t, "Runs", must[[]*slotdv1.RunRecord](t)(s.Runs(ctx, "tsk_1")), b.Runs)
}

func unknownIsNotFound(t *testing.T, place Place) {
	ctx := context.Background()
	s := open(t, place)
	commit(t, s, wholeTask("tsk_1"))
	for _, id := range []string{"", "tsk_", "tsk_0", "tsk_11", "tsk_2"} {
		if rec, err := s.Task(ctx, id); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Task(%q) = %v, %v, want ErrNotFound", id, rec, err)
		}
		if spec, err := s.Spec(ctx, id); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Spec(%q) = %v, %v, want ErrNotFound", id, spec, err)
		}
		if runs, err := s.Runs(ctx, id); err != nil || len(runs) != 0 {
			t.Errorf("Runs(%q) = %v, %v, want none", id, runs, err)
		}
	}
}

func newerRecordReplaces(t *testing.T, place Place) {
	ctx := context.Background()
	s := open(t, place)
	commit(t, s, wholeTask("tsk_1"))
	bare := &slotdv1.TaskRecord{Id: "tsk_1", ResourceVersion: 2}
	commit(t, s, &store.Batch{Tasks: []*slotdv1.TaskRecord{bare}, Runs: []*slotdv1.RunRecord{{TaskId: "tsk_1", Attempt: 1, FinishedAt: 9}}})
	s = reopen(t, place, s)
	equal(t, "Task", must[*slotdv1.TaskRecord](t)(s.Task(ctx, "tsk_1")), bare)
	equal(t, "Runs", must[[]*slotdv1.RunRecord](t)(s.Runs(ctx, "tsk_1")), []*slotdv1.RunRecord{{TaskId: "tsk_1", Attempt: 1, FinishedAt: 9}})
	equal(t, "Spec", must[*slotdv1.SpecRecord](t)(s.Spec(ctx, "tsk_1")), specRecord("tsk_1"))
}

func deletesComeLast(t *testing.T, place Place) {
	s := open(t, place)
	b := wholeTask("tsk_1")
	b.Keys = []*slotdv1.KeyRecord{keyRecord("slot", "key", 5)}
	b.Deletes = []string{"tsk_1"}
	b.Expired = b.Keys
	commit(t, s, b)
	s = reopen(t, place, s)
	if got := read(t, s); len(got.Tasks)+len(got.Keys) != 0 {
		t.Errorf("store holds %v after a batch that puts and deletes, want nothing", got)
	}
}

func deleteTakesTheWholeTaskButNoKey(t *testing.T, place Place) {
	ctx := context.Background()
	s := open(t, place)
	for _, id := range []string{"tsk_1", "tsk_10", "tsk_2"} {
		commit(t, s, wholeTask(id))
	}
	commit(t, s, &store.Batch{Keys: []*slotdv1.KeyRecord{keyRecord("slot", "key", 5)}})
	commit(t, s, &store.Batch{Deletes: []string{"tsk_1", "tsk_unknown"}})
	s = reopen(t, place, s)
	if _, err := s.Spec(ctx, "tsk_1"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Spec of a deleted task: %v, want ErrNotFound", err)
	}
	if runs, err := s.Runs(ctx, "tsk_1"); err != nil || len(runs) != 0 {
		t.Errorf("Runs of a deleted task = %v, %v, want none", runs, err)
	}
	equal(t, "contents", read(t, s), contents{
		Tasks: []*slotdv1.TaskRecord{taskRecord("tsk_10", 1), taskRecord("tsk_2", 1)},
		Specs: map[string]*slotdv1.SpecRecord{"tsk_10": specRecord("tsk_10"), "tsk_2": specRecord("tsk_2")},
		Runs:  map[string][]*slotdv1.RunRecord{"tsk_10": {runRecord("tsk_10", 1, 0)}, "tsk_2": {runRecord("tsk_2", 1, 0)}},
		Keys:  map[string]*slotdv1.KeyRecord{"slot/key": keyRecord("slot", "key", 5)},
	})
}

func runsStayInOrder(t *testing.T, place Place) {
	ctx := context.Background()
	s := open(t, place)
	commit(t, s, wholeTask("tsk_1"))
	commit(t, s, wholeTask("tsk_10"))
	for _, attempt := range []uint32{2, 5, 3, 4} {
		commit(t, s, &store.Batch{Runs: []*slotdv1.RunRecord{runRecord("tsk_1", attempt, 0)}})
	}
	commit(t, s, &store.Batch{Runs: []*slotdv1.RunRecord{runRecord("tsk_1", 3, 7)}})
	s = reopen(t, place, s)
	equal(t, "Runs", must[[]*slotdv1.RunRecord](t)(s.Runs(ctx, "tsk_1")), []*slotdv1.RunRecord{
		runRecord("tsk_1", 1, 0), runRecord("tsk_1", 2, 0), runRecord("tsk_1", 3, 7), runRecord("tsk_1", 4, 0), runRecord("tsk_1", 5, 0),
	})
}

func oldestRunsAreDropped(t *testing.T, place Place) {
	ctx := context.Background()
	s := open(t, place)
	commit(t, s, wholeTask("tsk_1"))
	commit(t, s, wholeTask("tsk_2"))
	const last = 300 // beyond one byte
	for attempt := uint32(2); attempt <= last; attempt++ {
		commit(t, s, &store.Batch{Runs: []*slotdv1.RunRecord{runRecord("tsk_1", attempt, 0)}})
		commit(t, s, &store.Batch{Runs: []*slotdv1.RunRecord{runRecord("tsk_1", attempt, 1)}})
	}
	s = reopen(t, place, s)
	var want []*slotdv1.RunRecord
	for attempt := uint32(last - KeptRuns + 1); attempt <= last; attempt++ {
		want = append(want, runRecord("tsk_1", attempt, 1))
	}
	equal(t, "Runs", must[[]*slotdv1.RunRecord](t)(s.Runs(ctx, "tsk_1")), want)
	equal(t, "Runs of another task", must[[]*slotdv1.RunRecord](t)(s.Runs(ctx, "tsk_2")), []*slotdv1.RunRecord{runRecord("tsk_2", 1, 0)})
}

func keysAreScopedToTheSlot(t *testing.T, place Place) {
	s := open(t, place)
	odd := "\x00 key/" // any UTF-8 is a key
	commit(t, s, &store.Batch{Keys: []*slotdv1.KeyRecord{
		keyRecord("a", "key", 1), keyRecord("ab", "key", 2), keyRecord("a", "bkey", 3), keyRecord("a", odd, 4),
	}})
	commit(t, s, &store.Batch{Keys: []*slotdv1.KeyRecord{keyRecord("ab", "key", 5)}})
	commit(t, s, &store.Batch{Expired: []*slotdv1.KeyRecord{keyRecord("a", "key", 1), {Slot: "nobody", Key: "knows"}}})
	// What has been put again is not what has expired, in whatever batch that was.
	commit(t, s, &store.Batch{Expired: []*slotdv1.KeyRecord{keyRecord("a", odd, 3)}})
	again := keyRecord("again", "key", 7)
	both := make(chan error, 2)
	s.Commit(&store.Batch{Keys: []*slotdv1.KeyRecord{again}}, func(err error) { both <- err })
	s.Commit(&store.Batch{Expired: []*slotdv1.KeyRecord{keyRecord("again", "key", 6)}}, func(err error) { both <- err })
	for range cap(both) {
		if err := <-both; err != nil {
			t.Fatal(err)
		}
	}
	s = reopen(t, place, s)
	equal(t, "Keys", read(t, s).Keys, map[string]*slotdv1.KeyRecord{
		"again/key": again, "ab/key": keyRecord("ab", "key", 5), "a/bkey": keyRecord("a", "bkey", 3), "a/" + odd: keyRecord("a", odd, 4),
	})
}

func loadStreamsInIDOrder(t *testing.T, place Place) {
	s := open(t, place)
	var want []string
	for n := range 500 {
		id := taskID(n * 7919 % 500) // every number once, in no order
		want = append(want, id)
		commit(t, s, &store.Batch{Tasks: []*slotdv1.TaskRecord{taskRecord(id, 1)}, Specs: []*slotdv1.SpecRecord{specRecord(id)}})
	}
	slices.Sort(want)
	s = reopen(t, place, s)
	var got []string
	err := s.Load(context.Background(), func(e store.Entry) error {
		got = append(got, e.Task.GetId())
		if spec := must[*slotdv1.SpecRecord](t)(e.DecodedSpec()); spec.GetTaskId() != e.Task.GetId() {
			t.Errorf("Load yields %s with the spec of %q", e.Task.GetId(), spec.GetTaskId())
		}
		return nil
	})
	if err != nil {
		t.Errorf("Load: %v", err)
	}
	equal(t, "ids", got, want)
}

func loadEndsWithTheCaller(t *testing.T, place Place) {
	s := open(t, place)
	for n := range 3 {
		commit(t, s, wholeTask(taskID(n)))
	}
	enough := errors.New("enough")
	seen := 0
	err := s.Load(context.Background(), func(store.Entry) error {
		seen++
		return enough
	})
	if !errors.Is(err, enough) || seen != 1 {
		t.Errorf("Load = %v after %d entries, want the error of the first", err, seen)
	}
	ctx, cancel := context.WithCancel(context.Background())
	seen = 0
	err = s.Load(ctx, func(store.Entry) error {
		seen++
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) || seen != 1 {
		t.Errorf("Load = %v after %d entries, want the end of its context after one", err, seen)
	}
}

func committingAgainChangesNothing(t *testing.T, place Place) {
	s := open(t, place)
	b := wholeTask("tsk_1")
	b.Keys = []*slotdv1.KeyRecord{keyRecord("slot", "key", 5)}
	b.Deletes = []string{"tsk_0"}
	commit(t, s, wholeTask("tsk_0"))
	commit(t, s, b)
	want := read(t, s)
	commit(t, s, b)
	s = reopen(t, place, s)
	equal(t, "contents", read(t, s), want)
}
