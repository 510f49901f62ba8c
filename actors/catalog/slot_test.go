package catalog_test

import (
	"fmt"
	"testing"

	"slotd/actors/catalog"
	"slotd/actors/store"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

func TestSlotView(t *testing.T) {
	c := catalog.New(noRuns)
	view := func(want *slotdv1.SlotView) {
		t.Helper()
		want.Slot, want.Counters = "s", &slotdv1.DecisionCounters{}
		equal(t, "Slot", c.Slot("s"), want)
	}
	a, b, embedded := "tsk_1", "tsk_4", "embedded"
	view(&slotdv1.SlotView{Phase: "idle"})
	c.Apply(admitted(a, "s", slotdv1.Role_ROLE_HOLDER))
	view(&slotdv1.SlotView{Phase: "occupied", Holder: &a, HolderKind: &embedded})
	c.Apply(admitted("tsk_2", "s", slotdv1.Role_ROLE_QUEUED))
	c.Apply(admitted("tsk_3", "s", slotdv1.Role_ROLE_QUEUED))
	view(&slotdv1.SlotView{Phase: "occupied", Holder: &a, HolderKind: &embedded, Queue: []string{"tsk_2", "tsk_3"}})
	c.Apply(admitted(b, "s", slotdv1.Role_ROLE_REPLACEMENT))
	view(&slotdv1.SlotView{Phase: "retiring", Holder: &a, HolderKind: &embedded, Replacement: &b, Queue: []string{"tsk_2", "tsk_3"}})

	next := changed(c, a, succeeded)
	next.Tasks = append(next.Tasks, changed(c, b, func(rec *slotdv1.TaskRecord) { rec.Role = slotdv1.Role_ROLE_HOLDER }).Tasks...)
	c.Apply(next)
	view(&slotdv1.SlotView{Phase: "occupied", Holder: &b, HolderKind: &embedded, Queue: []string{"tsk_2", "tsk_3"}})
	c.Apply(changed(c, b, func(rec *slotdv1.TaskRecord) { rec.Phase = slotdv1.Phase_PHASE_STOPPING }))
	view(&slotdv1.SlotView{Phase: "retiring", Holder: &b, HolderKind: &embedded, Queue: []string{"tsk_2", "tsk_3"}})
	for _, id := range []string{b, "tsk_2", "tsk_3"} {
		c.Apply(changed(c, id, succeeded))
	}
	view(&slotdv1.SlotView{Phase: "idle"})
	if got := c.Slots(); len(got) != 0 {
		t.Errorf("Slots() = %v, want none in use", got)
	}
}

func TestHolderKind(t *testing.T) {
	for want, kind := range map[string]*soltiv1.TaskKind{
		"subprocess": {Kind: &soltiv1.TaskKind_Subprocess{}},
		"wasm":       {Kind: &soltiv1.TaskKind_Wasm{}},
		"container":  {Kind: &soltiv1.TaskKind_Container{}},
		"embedded":   nil,
	} {
		b := admitted("tsk_1", "s", slotdv1.Role_ROLE_HOLDER)
		b.Specs[0].Spec.Kind = kind
		if got := filled(b).Slot("s").GetHolderKind(); got != want {
			t.Errorf("holder kind = %q, want %q", got, want)
		}
	}
}

func TestQueuePositionCountsOnlyTheQueue(t *testing.T) {
	c := filled(
		admitted("tsk_1", "s", slotdv1.Role_ROLE_QUEUED), // waits longer than the present holder exists
		admitted("tsk_2", "s", slotdv1.Role_ROLE_HOLDER),
		admitted("tsk_3", "s", slotdv1.Role_ROLE_REPLACEMENT),
		admitted("tsk_4", "s", slotdv1.Role_ROLE_QUEUED),
		admitted("tsk_5", "other", slotdv1.Role_ROLE_QUEUED),
	)
	for id, want := range map[string]uint32{"tsk_1": 1, "tsk_2": 0, "tsk_3": 0, "tsk_4": 2, "tsk_5": 1} {
		got, _ := c.Task(id)
		if got.GetStatus().GetQueuePosition() != want || (got.GetStatus().QueuePosition != nil) != (want > 0) {
			t.Errorf("queue position of %s = %d, want %d", id, got.GetStatus().GetQueuePosition(), want)
		}
	}
}

func TestLongQueuesAreShownInFull(t *testing.T) {
	c := catalog.New(noRuns)
	const queued = 2000
	for n := range queued {
		c.Apply(admitted(fmt.Sprintf("tsk_%06d", n), "s", slotdv1.Role_ROLE_QUEUED))
	}
	view := c.Slot("s")
	if len(view.GetQueue()) != queued || view.GetQueue()[queued-1] != fmt.Sprintf("tsk_%06d", queued-1) {
		t.Errorf("queue of %d, want %d", len(view.GetQueue()), queued)
	}
	if got := len(c.Unfinished("s")); got != queued {
		t.Errorf("Unfinished of %d, want %d", got, queued)
	}
	all := messages.Query{Limit: 1000, Offset: 700}
	page, _ := c.Tasks(all)
	for i, task := range page {
		if want := uint32(701 + i); task.GetStatus().GetQueuePosition() != want {
			t.Fatalf("position of %s = %d, want %d", task.GetMetadata().GetId(), task.GetStatus().GetQueuePosition(), want)
		}
	}
}

func TestSlotsInUseAreListedByName(t *testing.T) {
	c := catalog.New(noRuns)
	const slots = 1300 // more than are looked at in one go
	for n := range slots {
		c.Apply(admitted(fmt.Sprintf("tsk_%06d", n), fmt.Sprintf("slot-%04d", n*7%slots), slotdv1.Role_ROLE_HOLDER))
	}
	c.Apply(changed(c, "tsk_000000", succeeded)) // slot-0000
	got := c.Slots()
	if len(got) != slots-1 {
		t.Fatalf("%d slots, want %d", len(got), slots-1)
	}
	for i, view := range got {
		if want := fmt.Sprintf("slot-%04d", i+1); view.GetSlot() != want || view.GetHolder() == "" {
			t.Fatalf("slot %d = %v, want %s with its holder", i, view, want)
		}
	}
}

func TestLongestQueuesFirst(t *testing.T) {
	c := catalog.New(noRuns)
	minted := 0
	for slot, queued := range map[string]int{"a": 2, "b": 0, "c": 5, "d": 2} {
		for n := range queued + 1 {
			minted++
			role := slotdv1.Role_ROLE_QUEUED
			if n == 0 {
				role = slotdv1.Role_ROLE_HOLDER
			}
			c.Apply(admitted(fmt.Sprintf("tsk_%06d", minted), slot, role))
		}
	}
	equal(t, "Longest(2)", c.Longest(2), []*slotdv1.QueueDepth{{Slot: "c", Depth: 5}, {Slot: "a", Depth: 2}})
	equal(t, "Longest(100)", c.Longest(100), []*slotdv1.QueueDepth{{Slot: "c", Depth: 5}, {Slot: "a", Depth: 2}, {Slot: "d", Depth: 2}})
}

func TestDecisionsAreCounted(t *testing.T) {
	c := catalog.New(noRuns)
	for i, d := range []messages.Decision{
		messages.Admitted, messages.Queued, messages.Replaced, messages.Superseded, messages.Dropped, messages.QueueFull, messages.Repeated,
	} {
		for range i + 1 {
			c.Count("s", d)
		}
		if i == 0 { // the first was counted before its task was committed
			c.Apply(admitted("tsk_1", "s", slotdv1.Role_ROLE_HOLDER))
		}
	}
	c.Count("t", messages.Admitted)
	equal(t, "Slot(s)", c.Slot("s").GetCounters(),
		&slotdv1.DecisionCounters{Admitted: 1, Queued: 2, Replaced: 3, Superseded: 4, Dropped: 5, QueueFull: 6, Repeated: 7})
	equal(t, "Slot(t)", c.Slot("t").GetCounters(), &slotdv1.DecisionCounters{Admitted: 1})
	equal(t, "Decisions", c.Decisions(),
		&slotdv1.DecisionCounters{Admitted: 2, Queued: 2, Replaced: 3, Superseded: 4, Dropped: 5, QueueFull: 6, Repeated: 7})
}

func TestCountersStayWithTheTasksOfTheirSlot(t *testing.T) {
	c := filled(admitted("tsk_1", "s", slotdv1.Role_ROLE_HOLDER))
	c.Count("s", messages.Admitted)
	others := func() {
		for n := range 5000 {
			c.Count(fmt.Sprintf("slot-%d", n), messages.Repeated)
		}
	}
	counted := func() uint64 { return c.Slot("s").GetCounters().GetAdmitted() }
	others()
	c.Apply(changed(c, "tsk_1", succeeded))
	others()
	if got := counted(); got != 1 {
		t.Errorf("admitted = %d while the task is kept, want 1", got)
	}
	c.Apply(&store.Batch{Deletes: []string{"tsk_1"}})
	if got := counted(); got != 1 {
		t.Errorf("admitted = %d right after the task went, want 1", got)
	}
	c.Apply(admitted("tsk_2", "s", slotdv1.Role_ROLE_HOLDER))
	others()
	if got := counted(); got != 1 {
		t.Errorf("admitted = %d after the slot came back, want 1", got)
	}
	c.Apply(&store.Batch{Deletes: []string{"tsk_2"}})
	others()
	if got := counted(); got != 0 {
		t.Errorf("admitted = %d, want the counters of a slot long without a task forgotten", got)
	}
}
