// Package storetest is the suite that every implementation of store.Store passes.
//
// A store's own test gives it a [Place]; the suite opens the store there, and, when it is durable, closes and opens it
// again. What a store does when its disk fails is tested beside that store.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"slotd/actors/store"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// KeptRuns is the number of runs per task that the stores under test must be configured to keep: those of the last
// attempts, whether or not there is one of each.
const KeptRuns = 8

// Place is where one store lives. Every call opens it, with what was left there by the one before if it is durable; the
// suite closes each store before it opens the next.
type Place func(t *testing.T) store.Store

// Run runs the suite. newPlace makes an empty place; it may use t.TempDir.
func Run(t *testing.T, newPlace func(t *testing.T) Place) {
	tests := []struct {
		name string
		test func(t *testing.T, place Place)
	}{
		{"ReadsWhatWasCommitted", readsWhatWasCommitted},
		{"UnknownIsNotFound", unknownIsNotFound},
		{"NewerRecordReplaces", newerRecordReplaces},
		{"DeletesComeLast", deletesComeLast},
		{"DeleteTakesTheWholeTaskButNoKey", deleteTakesTheWholeTaskButNoKey},
		{"RunsStayInOrder", runsStayInOrder},
		{"OldestRunsAreDropped", oldestRunsAreDropped},
		{"KeysAreScopedToTheSlot", keysAreScopedToTheSlot},
		{"LoadStreamsInIDOrder", loadStreamsInIDOrder},
		{"LoadEndsWithTheCaller", loadEndsWithTheCaller},
		{"CommittingAgainChangesNothing", committingAgainChangesNothing},
		{"DoneKeepsTheOrder", doneKeepsTheOrder},
		{"DoneKeepsTheOrderOfEachCommitter", doneKeepsTheOrderOfEachCommitter},
		{"AppliedBeforeDone", appliedBeforeDone},
		{"CommitNeverWaitsForADone", commitNeverWaitsForADone},
		{"DoneMayCommit", doneMayCommit},
		{"BatchIsSeenAsAWhole", batchIsSeenAsAWhole},
		{"CloseDrains", closeDrains},
		{"ClosedStoreRefuses", closedStoreRefuses},
		{"StatsCount", statsCount},
		{"RandomBatches", randomBatches},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, newPlace(t)) })
	}
}

// patience is how long the suite waits for a store before it calls it stuck.
const patience = 30 * time.Second

// open opens the place for the length of the test.
func open(t *testing.T, place Place) store.Store {
	t.Helper()
	s := place(t)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// reopen closes a durable store and opens it again; any other store is returned as it is.
func reopen(t *testing.T, place Place, s store.Store) store.Store {
	t.Helper()
	if !s.Durable() {
		return s
	}
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	return open(t, place)
}

// commit commits and waits until the batch is durable.
func commit(t *testing.T, s store.Store, b *store.Batch) {
	t.Helper()
	if err := <-begin(t, s, b); err != nil {
		t.Fatalf("Commit: %v", err)
	}
}

// begin commits and returns where the answer will be.
func begin(t *testing.T, s store.Store, b *store.Batch) <-chan error {
	t.Helper()
	answer := make(chan error, 1)
	timely := time.AfterFunc(patience, func() { answer <- errors.New("done was not called in time") })
	s.Commit(b, func(err error) {
		timely.Stop()
		answer <- err
	})
	return answer
}

// await waits for a group with patience.
func await(t *testing.T, what string, group *sync.WaitGroup) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		group.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("%s: not in time", what)
	}
}

// contents is all that a store holds, in comparable form.
type contents struct {
	Tasks []*slotdv1.TaskRecord
	Specs map[string]*slotdv1.SpecRecord
	Runs  map[string][]*slotdv1.RunRecord
	Keys  map[string]*slotdv1.KeyRecord
}

func read(t *testing.T, s store.Store) contents {
	t.Helper()
	ctx := context.Background()
	all := contents{Specs: map[string]*slotdv1.SpecRecord{}, Runs: map[string][]*slotdv1.RunRecord{}, Keys: map[string]*slotdv1.KeyRecord{}}
	err := s.Load(ctx, func(e store.Entry) error {
		if e.Key != nil {
			all.Keys[e.Key.GetSlot()+"/"+e.Key.GetKey()] = e.Key
			return nil
		}
		id := e.Task.GetId()
		all.Tasks = append(all.Tasks, e.Task)
		if spec := must[*slotdv1.SpecRecord](t)(e.DecodedSpec()); spec != nil {
			all.Specs[id] = spec
		}
		runs, err := s.Runs(ctx, id)
		if len(runs) > 0 {
			all.Runs[id] = runs
		}
		return err
	})
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return all
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// Records with every field set, so that a lost one shows.

func taskRecord(id string, version uint64) *slotdv1.TaskRecord {
	text, code, signal := "killed", int32(-1), int32(9)
	return &slotdv1.TaskRecord{
		Id: id, Slot: "slot", CreatedAt: 1, UpdatedAt: 2, ResourceVersion: version, Role: slotdv1.Role_ROLE_HOLDER,
		Phase: slotdv1.Phase_PHASE_STOPPING, Attempt: 3, Failures: 4, StartedAt: 5, Until: 6, Cause: "Canceled", End: "Canceled",
		Status: soltiv1.TaskStatus_TASK_STATUS_RUNNING, Reason: "Signaled", Error: &text, ExitCode: &code, Signal: &signal, Node: "node",
	}
}

func specRecord(id string) *slotdv1.SpecRecord {
	return &slotdv1.SpecRecord{TaskId: id, Spec: &soltiv1.CreateSpec{Slot: "slot", TimeoutMs: 1, Labels: map[string]string{"id": id}}}
}

func runRecord(id string, attempt uint32, finished int64) *slotdv1.RunRecord {
	text, code, signal := "killed", int32(0), int32(9)
	return &slotdv1.RunRecord{
		TaskId: id, Attempt: attempt, Status: soltiv1.TaskStatus_TASK_STATUS_FAILED, StartedAt: 1, FinishedAt: finished,
		Reason: "Signaled", Error: &text, ExitCode: &code, Signal: &signal, Node: "node",
	}
}

func keyRecord(slot, key string, expires int64) *slotdv1.KeyRecord {
	return &slotdv1.KeyRecord{Slot: slot, Key: key, TaskId: "tsk_1", SpecHash: []byte{0, 1, 2, 255}, ExpiresAt: expires}
}

// wholeTask puts a task, its spec and a run.
func wholeTask(id string) *store.Batch {
	return &store.Batch{
		Tasks: []*slotdv1.TaskRecord{taskRecord(id, 1)},
		Specs: []*slotdv1.SpecRecord{specRecord(id)},
		Runs:  []*slotdv1.RunRecord{runRecord(id, 1, 0)},
	}
}

func taskID(n int) string { return fmt.Sprintf("tsk_%06d", n) }
