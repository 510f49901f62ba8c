package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"slotd/actors/catalog"
	"slotd/actors/store"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func noRuns(context.Context, string) ([]*slotdv1.RunRecord, error) { return nil, nil }

func clone(rec *slotdv1.TaskRecord) *slotdv1.TaskRecord { return proto.CloneOf(rec) }

func recordIDs(recs []*slotdv1.TaskRecord) []string {
	ids := make([]string, len(recs))
	for i, rec := range recs {
		ids[i] = rec.GetId()
	}
	return ids
}

func filled(batches ...*store.Batch) *catalog.Catalog {
	c := catalog.New(noRuns)
	for _, b := range batches {
		c.Apply(b)
	}
	return c
}

// admitted puts a new task with its spec.
func admitted(id, slot string, role slotdv1.Role) *store.Batch {
	return &store.Batch{
		Tasks: []*slotdv1.TaskRecord{{
			Id: id, Slot: slot, CreatedAt: 1, UpdatedAt: 1, ResourceVersion: 1, Role: role,
			Phase: slotdv1.Phase_PHASE_READY, Status: soltiv1.TaskStatus_TASK_STATUS_PENDING,
		}},
		Specs: []*slotdv1.SpecRecord{{TaskId: id, Spec: &soltiv1.CreateSpec{Slot: slot}}},
	}
}

// changed puts the next version of a task.
func changed(c *catalog.Catalog, id string, change func(*slotdv1.TaskRecord)) *store.Batch {
	_, present, _ := c.SlotOf(id)
	rec := clone(present)
	rec.ResourceVersion++
	change(rec)
	return &store.Batch{Tasks: []*slotdv1.TaskRecord{rec}}
}

func running(rec *slotdv1.TaskRecord) {
	rec.Phase, rec.Status, rec.Attempt = slotdv1.Phase_PHASE_RUNNING, soltiv1.TaskStatus_TASK_STATUS_RUNNING, rec.Attempt+1
}

func succeeded(rec *slotdv1.TaskRecord) {
	rec.Phase, rec.Role, rec.Status = slotdv1.Phase_PHASE_FINISHED, slotdv1.Role_ROLE_NONE, soltiv1.TaskStatus_TASK_STATUS_SUCCEEDED
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestStatusFollowsTheRecord(t *testing.T) {
	text, code, signal, due, reason, node := "exited with code 3", int32(3), int32(9), int64(700), "NonZeroExit", "n1"
	for name, tt := range map[string]struct {
		rec  *slotdv1.TaskRecord
		want *soltiv1.TaskStatusInfo
	}{
		"new": {
			&slotdv1.TaskRecord{Phase: slotdv1.Phase_PHASE_READY, Status: soltiv1.TaskStatus_TASK_STATUS_PENDING, Until: 700},
			&soltiv1.TaskStatusInfo{Phase: soltiv1.TaskStatus_TASK_STATUS_PENDING},
		},
		"running shows no due time": {
			&slotdv1.TaskRecord{Phase: slotdv1.Phase_PHASE_RUNNING, Status: soltiv1.TaskStatus_TASK_STATUS_RUNNING, Attempt: 2, Until: 700, Node: node},
			&soltiv1.TaskStatusInfo{Phase: soltiv1.TaskStatus_TASK_STATUS_RUNNING, Attempt: 2, Node: &node},
		},
		"between attempts": {
			&slotdv1.TaskRecord{
				Phase: slotdv1.Phase_PHASE_WAITING, Status: soltiv1.TaskStatus_TASK_STATUS_FAILED, Attempt: 1, Until: 700,
				Error: &text, ExitCode: &code, Reason: reason,
			},
			&soltiv1.TaskStatusInfo{
				Phase: soltiv1.TaskStatus_TASK_STATUS_FAILED, Attempt: 1, NextAttemptAt: &due, Error: &text, ExitCode: &code, Reason: &reason,
			},
		},
		"due, but waiting for room": {
			&slotdv1.TaskRecord{Phase: slotdv1.Phase_PHASE_READY, Status: soltiv1.TaskStatus_TASK_STATUS_FAILED, Attempt: 1, Until: 700, UpdatedAt: 800},
			&soltiv1.TaskStatusInfo{Phase: soltiv1.TaskStatus_TASK_STATUS_FAILED, Attempt: 1, NextAttemptAt: &due},
		},
		"due at once": {
			&slotdv1.TaskRecord{Phase: slotdv1.Phase_PHASE_READY, Status: soltiv1.TaskStatus_TASK_STATUS_CANCELED, Attempt: 1, UpdatedAt: 700},
			&soltiv1.TaskStatusInfo{Phase: soltiv1.TaskStatus_TASK_STATUS_CANCELED, Attempt: 1, NextAttemptAt: &due},
		},
		"terminal": {
			&slotdv1.TaskRecord{Phase: slotdv1.Phase_PHASE_FINISHED, Status: soltiv1.TaskStatus_TASK_STATUS_FAILED, Attempt: 4, Until: 700, Signal: &signal},
			&soltiv1.TaskStatusInfo{Phase: soltiv1.TaskStatus_TASK_STATUS_FAILED, Attempt: 4, Terminal: true, Signal: &signal},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tt.rec.Id, tt.rec.CreatedAt, tt.rec.ResourceVersion = "tsk_1", 5, 7
			c := filled(&store.Batch{Tasks: []*slotdv1.TaskRecord{tt.rec}})
			got, ok := c.Task("tsk_1")
			if !ok {
				t.Fatal("Task is not known")
			}
			equal(t, "Task", got, &soltiv1.TaskData{
				Metadata: &soltiv1.ObjectMeta{Id: "tsk_1", CreatedAt: 5, UpdatedAt: tt.rec.UpdatedAt, ResourceVersion: 7},
				Status:   tt.want,
			})
		})
	}
}

func TestOlderRecordIsIgnored(t *testing.T) {
	c := filled(admitted("tsk_1", "s", slotdv1.Role_ROLE_HOLDER))
	old := changed(c, "tsk_1", func(*slotdv1.TaskRecord) {})
	c.Apply(changed(c, "tsk_1", running))
	for _, b := range []*store.Batch{old, changed(c, "tsk_1", func(rec *slotdv1.TaskRecord) {
		succeeded(rec)
		rec.ResourceVersion--
	})} {
		c.Apply(b)
		if got, _ := c.Task("tsk_1"); got.GetStatus().GetPhase() != soltiv1.TaskStatus_TASK_STATUS_RUNNING {
			t.Errorf("phase = %v after a record of version %d, want running, of version 2", got.GetStatus().GetPhase(), b.Tasks[0].ResourceVersion)
		}
	}
}

func TestUnknownTask(t *testing.T) {
	c := filled(admitted("tsk_1", "s", slotdv1.Role_ROLE_HOLDER))
	c.Apply(&store.Batch{Deletes: []string{"tsk_1", "tsk_2"}})
	for _, id := range []string{"tsk_1", "tsk_2", ""} {
		if got, ok := c.Task(id); got != nil || ok {
			t.Errorf("Task(%q) = %v, %v, want unknown", id, got, ok)
		}
		if slot, rec, ok := c.SlotOf(id); slot != "" || rec != nil || ok {
			t.Errorf("SlotOf(%q) = %q, %v, %v, want unknown", id, slot, rec, ok)
		}
		var rejection *messages.RejectionError
		if _, err := c.Runs(t.Context(), id); !errors.As(err, &rejection) || rejection.Rejection.GetLabel() != messages.LabelTaskNotFound {
			t.Errorf("Runs(%q): %v, want TaskNotFound", id, err)
		}
	}
	if got := c.LastID(); got != "" {
		t.Errorf("LastID() = %q of an empty catalog", got)
	}
}

func TestQueriesOutsideTheTable(t *testing.T) {
	c := filled(admitted("tsk_1", "s", slotdv1.Role_ROLE_HOLDER))
	for name, q := range map[string]messages.Query{
		"status beyond the table": {Status: 99, Limit: 10},
		"negative status":         {Status: -1, Limit: 10},
		"prefix that no id has":   {IDPrefix: "tsk_9", Limit: 10},
		"prefix above every id":   {IDPrefix: "\xff\xff", Limit: 10},
		"unused slot":             {Slot: "t", Limit: 10},
	} {
		if tasks, total := c.Tasks(q); len(tasks) != 0 || total != 0 {
			t.Errorf("%s: %d tasks of %d, want none", name, len(tasks), total)
		}
	}
	for name, q := range map[string]messages.Query{
		"offset past the end": {Offset: math.MaxUint32, Limit: 10},
		"newest, past it":     {Offset: math.MaxUint32, Limit: 10, Newest: true},
		"no limit":            {},
	} {
		if tasks, total := c.Tasks(q); len(tasks) != 0 || total != 1 {
			t.Errorf("%s: %d tasks of %d, want none of 1", name, len(tasks), total)
		}
	}
}

func TestRunsComeFromTheStore(t *testing.T) {
	text, code, signal, finished, reason, node := "killed", int32(1), int32(9), int64(20), "Signaled", "n1"
	disk := errors.New("disk is gone")
	c := catalog.New(func(_ context.Context, id string) ([]*slotdv1.RunRecord, error) {
		if id == "tsk_2" {
			return nil, disk
		}
		return []*slotdv1.RunRecord{
			{
				TaskId: id, Attempt: 1, Status: soltiv1.TaskStatus_TASK_STATUS_FAILED, StartedAt: 10, FinishedAt: finished,
				Reason: reason, Error: &text, ExitCode: &code, Signal: &signal, Node: node,
			},
			{TaskId: id, Attempt: 2, Status: soltiv1.TaskStatus_TASK_STATUS_RUNNING, StartedAt: 30},
		}, nil
	})
	c.Apply(admitted("tsk_1", "s", slotdv1.Role_ROLE_HOLDER))
	c.Apply(admitted("tsk_2", "s", slotdv1.Role_ROLE_QUEUED))
	got, err := c.Runs(t.Context(), "tsk_1")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "Runs", got, []*soltiv1.TaskRunInfo{
		{
			Attempt: 1, Status: soltiv1.TaskStatus_TASK_STATUS_FAILED, StartedAt: 10, FinishedAt: &finished,
			Reason: &reason, Error: &text, ExitCode: &code, Signal: &signal, Node: &node,
		},
		{Attempt: 2, Status: soltiv1.TaskStatus_TASK_STATUS_RUNNING, StartedAt: 30},
	})
	if _, err := c.Runs(t.Context(), "tsk_2"); !errors.Is(err, disk) {
		t.Errorf("Runs = %v, want the store's error", err)
	}
}

func TestRetentionSeesTheOldestFirst(t *testing.T) {
	c := catalog.New(noRuns)
	for i, at := range []int64{30, 10, 20, 10} {
		id := fmt.Sprintf("tsk_%d", i)
		c.Apply(admitted(id, "s", slotdv1.Role_ROLE_HOLDER))
		c.Apply(changed(c, id, func(rec *slotdv1.TaskRecord) {
			succeeded(rec)
			rec.UpdatedAt = at
		}))
	}
	c.Apply(admitted("tsk_9", "s", slotdv1.Role_ROLE_HOLDER))
	equal(t, "OldestTerminal(3)", recordIDs(c.OldestTerminal(3)), []string{"tsk_1", "tsk_3", "tsk_2"})
	equal(t, "TerminalBefore(20, 9)", recordIDs(c.TerminalBefore(20, 9)), []string{"tsk_1", "tsk_3"})
	equal(t, "TerminalBefore(10, 9)", recordIDs(c.TerminalBefore(10, 9)), []string{})
	equal(t, "Terminal()", c.Terminal(), 4)
	equal(t, "Active()", c.Active(), 1)
	equal(t, "LastID()", c.LastID(), "tsk_9")
}

func TestKeyIsGoodUntilItExpires(t *testing.T) {
	key := &slotdv1.KeyRecord{Slot: "s", Key: "k", TaskId: "tsk_1", ExpiresAt: 100}
	c := filled(&store.Batch{Keys: []*slotdv1.KeyRecord{key}})
	if got, ok := c.Key("s", "k", 99); got != key || !ok {
		t.Errorf("Key at 99 = %v, %v, want the key", got, ok)
	}
	if got, ok := c.Key("s", "k", 100); ok {
		t.Errorf("Key at 100 = %v, want none", got)
	}
	if _, ok := c.Key("t", "k", 99); ok {
		t.Error("Key of another slot is found")
	}
	if got := c.ExpiredKeys(99, 10); len(got) != 0 {
		t.Errorf("ExpiredKeys(99) = %v, want none", got)
	}
	equal(t, "ExpiredKeys(100)", c.ExpiredKeys(100, 10), []*slotdv1.KeyRecord{key})
	c.Apply(&store.Batch{Deletes: []string{"tsk_1"}})
	if _, ok := c.Key("s", "k", 99); !ok {
		t.Error("the key went with its task")
	}
	c.Apply(&store.Batch{Expired: []*slotdv1.KeyRecord{key}})
	if got := c.ExpiredKeys(math.MaxInt64, 10); len(got) != 0 {
		t.Errorf("ExpiredKeys = %v after they were deleted", got)
	}
}

// TestBatchIsSeenAsAWhole hands a slot on from holder to holder while readers look: there is always exactly one, and
// whoever is shown as terminal does not hold it.
func TestBatchIsSeenAsAWhole(t *testing.T) {
	const tasks = 3000
	id := func(n int) string { return fmt.Sprintf("tsk_%06d", n) }
	c := catalog.New(noRuns)
	c.Apply(admitted(id(0), "s", slotdv1.Role_ROLE_HOLDER))
	for n := range tasks {
		c.Apply(admitted(id(n+1), "s", slotdv1.Role_ROLE_QUEUED))
	}
	var over atomic.Bool
	var readers sync.WaitGroup
	read := func(look func()) {
		readers.Go(func() {
			for !over.Load() && !t.Failed() {
				look()
			}
		})
	}
	read(func() {
		if got := c.Counts(); got.Occupied != 1 || got.Active != got.Queued+1 || got.Active+got.Terminal != tasks+1 {
			t.Errorf("Counts() = %+v, want one holder and everybody else queued", got)
		}
	})
	read(func() {
		view := c.Slot("s")
		if view.GetHolder() == "" || slices.Contains(view.GetQueue(), view.GetHolder()) || !slices.IsSorted(view.GetQueue()) {
			t.Errorf("holder %q, queue of %d", view.GetHolder(), len(view.GetQueue()))
		}
	})
	read(func() {
		page, total := c.Tasks(messages.Query{Slot: "s", Status: soltiv1.TaskStatus_TASK_STATUS_PENDING, Limit: 10})
		if len(page) == 0 || total > tasks+1 {
			t.Errorf("%d tasks of %d pending", len(page), total)
		}
	})
	for n := range tasks {
		b := changed(c, id(n), succeeded)
		b.Tasks = append(b.Tasks, changed(c, id(n+1), func(rec *slotdv1.TaskRecord) { rec.Role = slotdv1.Role_ROLE_HOLDER }).Tasks...)
		c.Apply(b)
	}
	over.Store(true)
	readers.Wait()
}
