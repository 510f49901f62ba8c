package bench

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slotd/actors/store"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

func TestAFilledStoreIsWhatANodeLeaves(t *testing.T) {
	const n = 40
	c := tiny(t)
	if err := fill(t.Context(), c, childFill, filepath.Join(c.Dir, "filled"), n); err != nil {
		t.Fatal(err)
	}
	kept, err := onDisk(filepath.Join(c.Dir, "filled", storeDir))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := kept.Close(); err != nil {
			t.Error(err)
		}
	}()
	var audit store.Audit
	slots := make(map[string]bool)
	phases := make(map[slotdv1.Phase]int)
	err = kept.Load(t.Context(), func(e store.Entry) error {
		audit.Entry(e)
		slots[e.Task.GetSlot()] = true
		phases[e.Task.GetPhase()]++
		ended := e.Task.GetPhase() == slotdv1.Phase_PHASE_FINISHED
		attempts, err := kept.Runs(t.Context(), e.Task.GetId())
		if err != nil {
			return err
		}
		if len(attempts) != 1 || attempts[0].GetStartedAt() < e.Task.GetCreatedAt() ||
			(attempts[0].GetFinishedAt() != 0) != ended || attempts[0].GetFinishedAt() > e.Task.GetUpdatedAt() {
			t.Errorf("runs of %v: %v", e.Task, attempts)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := audit.Err(); err != nil {
		t.Error(err)
	}
	want := map[slotdv1.Phase]int{slotdv1.Phase_PHASE_FINISHED: n - active(n), slotdv1.Phase_PHASE_RUNNING: active(n)}
	if diff := cmp.Diff(phases, want); diff != "" || len(slots) != n {
		t.Errorf("%d slots, want %d; phases: got -, want +:\n%s", len(slots), n, diff)
	}
}

func TestABareReaderMissesNothing(t *testing.T) {
	const n = 40
	c := tiny(t)
	dir := filepath.Join(c.Dir, "filled")
	if err := fill(t.Context(), c, childFill, dir, n); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	if err := ReadStore(n); err != nil {
		t.Error(err)
	}
	if err := ReadStore(n + 1); err == nil {
		t.Error("a task is missing, and nobody noticed")
	}
}

func TestADaemonThatForgetsATaskFailsTheMeasurement(t *testing.T) {
	const n = 40
	c := tiny(t)
	dir := filepath.Join(c.Dir, "filled")
	if err := fill(t.Context(), c, childFill, dir, n); err != nil {
		t.Fatal(err)
	}
	if _, _, err := slotdRecovery(t.Context(), c, dir, n); err != nil {
		t.Error(err)
	}
	if _, _, err := slotdRecovery(t.Context(), c, dir, n+1); err == nil {
		t.Error("a task is missing, and nobody noticed")
	}
}

func TestWhatATaskWritesEndsWithItsFate(t *testing.T) {
	for until, want := range map[fate]soltiv1.TaskStatus{
		waits: soltiv1.TaskStatus_TASK_STATUS_PENDING,
		runs:  soltiv1.TaskStatus_TASK_STATUS_RUNNING,
		ends:  soltiv1.TaskStatus_TASK_STATUS_SUCCEEDED,
	} {
		batches, err := writes(t.Context(), t.TempDir(), until)
		if err != nil {
			t.Fatal(err)
		}
		ids := make(map[string]bool)
		specs := 0
		var last soltiv1.TaskStatus
		for _, b := range batches {
			specs += len(b.Specs)
			for _, rec := range b.Tasks {
				ids[rec.GetId()], last = true, rec.GetStatus()
			}
		}
		if len(ids) != 1 || specs != 1 || last != want {
			t.Errorf("%d tasks with %d specs end as %v, want one that is %v", len(ids), specs, last, want)
		}
	}
}

func TestAReplacedRecordIsWeighedOnce(t *testing.T) {
	life, err := writes(t.Context(), t.TempDir(), ends)
	if err != nil {
		t.Fatal(err)
	}
	once, err := newest(life)
	if err != nil {
		t.Fatal(err)
	}
	twice, err := newest(append(life, life...))
	if err != nil {
		t.Fatal(err)
	}
	if once != twice || once == 0 {
		t.Errorf("%d bytes, and %d when all is written again", once, twice)
	}
}
