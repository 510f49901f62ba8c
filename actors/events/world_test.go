package events_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"slotd/actors/catalog"
	"slotd/actors/events"
	"slotd/actors/store"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a catalog and the hub that tells of it.
type world struct {
	t       testing.TB
	catalog *catalog.Catalog
	hub     *events.Hub
}

func newWorld(t testing.TB, hub *events.Hub) *world {
	t.Cleanup(hub.Close)
	return &world{
		t: t, hub: hub,
		catalog: catalog.New(func(context.Context, string) ([]*slotdv1.RunRecord, error) { return nil, nil }),
	}
}

// apply commits a batch.
func (w *world) apply(b *store.Batch) { w.hub.Publish(w.catalog.Apply(b)) }

// admit commits a new task.
func (w *world) admit(id, slot string, role slotdv1.Role, labels map[string]string) {
	w.apply(&store.Batch{
		Tasks: []*slotdv1.TaskRecord{newTask(id, slot, role)},
		Specs: []*slotdv1.SpecRecord{{TaskId: id, Spec: &soltiv1.CreateSpec{Slot: slot, Labels: labels}}},
	})
}

func newTask(id, slot string, role slotdv1.Role) *slotdv1.TaskRecord {
	return &slotdv1.TaskRecord{
		Id: id, Slot: slot, CreatedAt: 1, UpdatedAt: 1, ResourceVersion: 1, Role: role,
		Phase: slotdv1.Phase_PHASE_READY, Status: soltiv1.TaskStatus_TASK_STATUS_PENDING,
	}
}

// next is the next version of a task's record.
func (w *world) next(id string, change func(*slotdv1.TaskRecord)) *slotdv1.TaskRecord {
	w.t.Helper()
	_, present, ok := w.catalog.SlotOf(id)
	if !ok {
		w.t.Fatalf("there is no task %s", id)
	}
	rec := proto.CloneOf(present)
	rec.ResourceVersion++
	rec.UpdatedAt++
	change(rec)
	return rec
}

// change commits the next version of a task.
func (w *world) change(id string, change func(*slotdv1.TaskRecord)) {
	w.t.Helper()
	w.apply(&store.Batch{Tasks: []*slotdv1.TaskRecord{w.next(id, change)}})
}

func (w *world) open(q messages.EventQuery) *events.Cursor {
	w.t.Helper()
	c, err := w.hub.Open(q)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.Close)
	return c
}

// read returns all that is there for a cursor.
func read(t testing.TB, c *events.Cursor) []*slotdv1.Event {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var all []*slotdv1.Event
	for {
		batch, err := c.Next(ctx)
		switch {
		case errors.Is(err, context.Canceled), errors.Is(err, io.EOF):
			return all
		case err != nil:
			t.Fatal(err)
		case len(batch) == 0 || len(batch) > events.BatchEvents:
			t.Fatalf("a batch of %d events", len(batch))
		}
		all = append(all, batch...)
	}
}

// await returns the next batch, which may take a while to come.
func await(t testing.TB, c *events.Cursor) []*slotdv1.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	batch, err := c.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

// bodies are events without ids and kinds.
func bodies(list []*slotdv1.Event) []proto.Message {
	var all []proto.Message
	for _, e := range list {
		switch kind := e.GetKind().(type) {
		case *slotdv1.Event_Task:
			all = append(all, kind.Task)
		case *slotdv1.Event_Slot:
			all = append(all, kind.Slot)
		case *slotdv1.Event_Gap:
			all = append(all, &slotdv1.GapEvent{Skipped: kind.Gap.GetSkipped()})
		}
	}
	return all
}

func equal(t testing.TB, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func begins(rec *slotdv1.TaskRecord) {
	rec.Phase, rec.Status, rec.Attempt = slotdv1.Phase_PHASE_RUNNING, soltiv1.TaskStatus_TASK_STATUS_RUNNING, rec.Attempt+1
	rec.Node, rec.Reason, rec.ExitCode = "n1", "", nil
}

func retries(rec *slotdv1.TaskRecord) {
	rec.Phase, rec.Status, rec.Until = slotdv1.Phase_PHASE_WAITING, soltiv1.TaskStatus_TASK_STATUS_FAILED, 700
	rec.Reason, rec.ExitCode = "NonZeroExit", proto.Int32(3)
}

func stops(rec *slotdv1.TaskRecord) {
	rec.Phase, rec.Cause = slotdv1.Phase_PHASE_STOPPING, "Canceled"
}

func ends(rec *slotdv1.TaskRecord) {
	rec.Phase, rec.Status, rec.Role = slotdv1.Phase_PHASE_FINISHED, soltiv1.TaskStatus_TASK_STATUS_SUCCEEDED, slotdv1.Role_ROLE_NONE
	rec.Reason, rec.ExitCode = "Completed", proto.Int32(0)
}

func promoted(rec *slotdv1.TaskRecord) { rec.Role = slotdv1.Role_ROLE_HOLDER }

func numbered(n int) string { return fmt.Sprintf("tsk_%05d", n) }
