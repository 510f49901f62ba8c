package events_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"slotd/actors/events"
	"slotd/actors/store"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

const (
	pending   = soltiv1.TaskStatus_TASK_STATUS_PENDING
	running   = soltiv1.TaskStatus_TASK_STATUS_RUNNING
	failed    = soltiv1.TaskStatus_TASK_STATUS_FAILED
	succeeded = soltiv1.TaskStatus_TASK_STATUS_SUCCEEDED

	holder      = slotdv1.Role_ROLE_HOLDER
	replacement = slotdv1.Role_ROLE_REPLACEMENT
	queued      = slotdv1.Role_ROLE_QUEUED
)

func TestATaskIsFollowedFromItsAdmissionToItsDeletion(t *testing.T) {
	w := newWorld(t, events.New())
	c := w.open(messages.EventQuery{Task: "tsk_1"})
	w.admit("tsk_1", "s", holder, nil)
	for _, change := range []func(*slotdv1.TaskRecord){begins, retries, begins, ends} {
		w.change("tsk_1", change)
	}
	w.apply(&store.Batch{Deletes: []string{"tsk_1"}})
	node := new("n1")
	got := read(t, c)
	if len(got) != 6 || got[5].GetTask().GetTime() < 1_700_000_000_000 {
		t.Fatalf("got %v, want six events, and the last to tell when it was", got)
	}
	got[5].GetTask().Time = 0
	equal(t, "events", bodies(got), []proto.Message{
		&slotdv1.TaskEvent{Slot: "s", TaskId: "tsk_1", Phase: pending, Time: 1, ResourceVersion: 1},
		&slotdv1.TaskEvent{Slot: "s", TaskId: "tsk_1", Phase: running, Attempt: 1, Time: 2, ResourceVersion: 2, Node: node},
		&slotdv1.TaskEvent{
			Slot: "s", TaskId: "tsk_1", Phase: failed, Attempt: 1, Time: 3, ResourceVersion: 3, Node: node,
			Reason: new("NonZeroExit"), ExitCode: proto.Int32(3), NextAttemptAt: proto.Int64(700),
		},
		&slotdv1.TaskEvent{Slot: "s", TaskId: "tsk_1", Phase: running, Attempt: 2, Time: 4, ResourceVersion: 4, Node: node},
		&slotdv1.TaskEvent{
			Slot: "s", TaskId: "tsk_1", Phase: succeeded, Attempt: 2, Time: 5, ResourceVersion: 5, Node: node,
			Reason: new("Completed"), ExitCode: proto.Int32(0), Terminal: true,
		},
		&slotdv1.TaskEvent{
			Slot: "s", TaskId: "tsk_1", Phase: succeeded, Attempt: 2, ResourceVersion: 5, Node: node,
			Reason: new("Completed"), ExitCode: proto.Int32(0), Terminal: true, Deleted: true,
		},
	})
}

func TestASlotIsToldWhenItsHolderPhaseOrReplacementChanges(t *testing.T) {
	w := newWorld(t, events.New())
	c := w.open(messages.EventQuery{})
	slots := func(what string, want ...*slotdv1.SlotEvent) {
		t.Helper()
		var got []*slotdv1.SlotEvent
		for _, e := range read(t, c) {
			if e.GetSlot() != nil {
				got = append(got, e.GetSlot())
			}
		}
		equal(t, what, got, want)
	}
	w.admit("tsk_1", "s", holder, nil)
	slots("occupied", &slotdv1.SlotEvent{Slot: "s", TaskId: new("tsk_1"), Phase: "occupied", Time: 1})
	w.change("tsk_1", begins)
	slots("an attempt")
	w.admit("tsk_2", "s", queued, nil)
	slots("a longer queue")
	w.admit("tsk_3", "s", replacement, nil)
	slots("replacement", &slotdv1.SlotEvent{
		Slot: "s", TaskId: new("tsk_1"), Phase: "retiring", Reason: new("Replaced"), Attempt: 1, Time: 1,
		Replacement: new("tsk_3"), Queued: 1,
	})
	w.apply(&store.Batch{Tasks: []*slotdv1.TaskRecord{w.next("tsk_1", ends), w.next("tsk_3", promoted)}})
	slots("in one commit the holder changes once", &slotdv1.SlotEvent{
		Slot: "s", TaskId: new("tsk_3"), Phase: "occupied", Time: 3, Queued: 1,
	})
	w.change("tsk_3", begins)
	w.change("tsk_3", stops)
	slots("stopping", &slotdv1.SlotEvent{
		Slot: "s", TaskId: new("tsk_3"), Phase: "retiring", Reason: new("Canceled"), Attempt: 1, Time: 4, Queued: 1,
	})
	w.change("tsk_3", stops)
	slots("still stopping")
	w.apply(&store.Batch{Tasks: []*slotdv1.TaskRecord{w.next("tsk_3", ends), w.next("tsk_2", promoted)}})
	slots("the queue moves up", &slotdv1.SlotEvent{Slot: "s", TaskId: new("tsk_2"), Phase: "occupied", Time: 6})
	w.apply(&store.Batch{Tasks: []*slotdv1.TaskRecord{w.next("tsk_2", ends)}, Deletes: []string{"tsk_2"}})
	slots("idle", &slotdv1.SlotEvent{Slot: "s", Phase: "idle", Time: 3})
	w.apply(&store.Batch{Deletes: []string{"tsk_1", "tsk_3", "tsk_unknown"}})
	slots("what has ended is deleted")
}

func TestOnlyNewsIsPublished(t *testing.T) {
	w := newWorld(t, events.New())
	w.catalog.Fill([]store.Entry{{Task: newTask("tsk_1", "s", holder)}})
	c := w.open(messages.EventQuery{})
	w.apply(new(store.Batch))
	w.apply(&store.Batch{Tasks: []*slotdv1.TaskRecord{newTask("tsk_1", "s", holder)}}) // as it was
	w.apply(&store.Batch{Keys: []*slotdv1.KeyRecord{{Slot: "s", Key: "k"}}, Deletes: []string{"tsk_unknown"}})
	equal(t, "events", read(t, c), []*slotdv1.Event(nil))
	if got := w.hub.Stats().Published; got != 0 {
		t.Errorf("published %d, want 0: recovery is no transition", got)
	}
	w.change("tsk_1", begins)
	if got := read(t, c); len(got) != 1 || got[0].GetId() != w.hub.ID(1) {
		t.Errorf("got %v, want the event with number 1", got)
	}
}

func TestEventsAreFiltered(t *testing.T) {
	w := newWorld(t, events.New())
	spec := &slotdv1.SpecRecord{TaskId: "tsk_0", Spec: &soltiv1.CreateSpec{Slot: "a", Labels: map[string]string{"app": "old"}}}
	raw, err := proto.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	old := newTask("tsk_0", "a", slotdv1.Role_ROLE_NONE)
	ends(old)
	w.catalog.Fill([]store.Entry{{Task: old, Raw: raw}})
	w.admit("tsk_1", "a", holder, map[string]string{"app": "web", "tier": "1"})
	w.admit("tsk_2", "b", holder, map[string]string{"app": "web"})
	w.admit("tsk_3", "a", queued, nil)
	w.apply(&store.Batch{Tasks: []*slotdv1.TaskRecord{w.next("tsk_2", ends)}, Deletes: []string{"tsk_2"}})
	w.apply(&store.Batch{Deletes: []string{"tsk_0"}})
	for name, tt := range map[string]struct {
		query messages.EventQuery
		want  []string
	}{
		"nothing":          {messages.EventQuery{}, []string{"tsk_1", "a:occupied", "tsk_2", "b:occupied", "tsk_3", "tsk_2", "-tsk_2", "b:idle", "-tsk_0"}},
		"slot":             {messages.EventQuery{Slot: "a"}, []string{"tsk_1", "a:occupied", "tsk_3", "-tsk_0"}},
		"unused slot":      {messages.EventQuery{Slot: "c"}, nil},
		"task":             {messages.EventQuery{Task: "tsk_2"}, []string{"tsk_2", "tsk_2", "-tsk_2"}},
		"task elsewhere":   {messages.EventQuery{Slot: "a", Task: "tsk_2"}, nil},
		"label":            {messages.EventQuery{Selector: selector(t, "app=web")}, []string{"tsk_1", "tsk_2", "tsk_2", "-tsk_2"}},
		"label and slot":   {messages.EventQuery{Slot: "b", Selector: selector(t, "app")}, []string{"tsk_2", "tsk_2", "-tsk_2"}},
		"two labels":       {messages.EventQuery{Selector: selector(t, "app=web,tier")}, []string{"tsk_1"}},
		"a label that not": {messages.EventQuery{Selector: selector(t, "!app")}, []string{"tsk_3"}},
		"of a spec that was never decoded": {
			messages.EventQuery{Selector: selector(t, "app=old")}, []string{"-tsk_0"},
		},
	} {
		tt.query.After = w.hub.ID(0)
		var got []string
		for _, e := range read(t, w.open(tt.query)) {
			got = append(got, short(e))
		}
		equal(t, name, got, tt.want)
	}
}

func selector(t *testing.T, text string) messages.Selector {
	t.Helper()
	s, err := messages.ParseSelector(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// short is what an event is about.
func short(e *slotdv1.Event) string {
	switch {
	case e.GetSlot() != nil:
		return e.GetSlot().GetSlot() + ":" + e.GetSlot().GetPhase()
	case e.GetTask().GetDeleted():
		return "-" + e.GetTask().GetTaskId()
	case e.GetTask() != nil:
		return e.GetTask().GetTaskId()
	default:
		return "gap"
	}
}
