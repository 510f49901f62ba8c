package events_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"slotd/actors/events"
	"slotd/actors/store"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// walk publishes at random and keeps every event in a list, made from what the catalog answers before and after a batch.
type walk struct {
	*world

	rand    *rand.Rand
	list    []known // the event with number 1 first
	tasks   []string
	labels  map[string]map[string]string
	readers []*reader
}

// known is an event of the list.
type known struct {
	body   proto.Message // without the time, when it tells of a deletion
	slot   string
	task   string // empty: it is one of the slot
	labels map[string]string
}

// reader is a cursor and the number of the last event that its client has accounted for.
type reader struct {
	cursor *events.Cursor
	query  messages.EventQuery
	at     uint64
}

// TestReadersSeeTheMatchingRestEachOnceInOrder lets readers come, go, come back and fall behind while events are
// published, and compares each batch with the list.
func TestReadersSeeTheMatchingRestEachOnceInOrder(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	w := &walk{
		world:  newWorld(t, events.NewSmall(300, 1<<20, 32)),
		rand:   rand.New(rand.NewPCG(seed, 0)),
		labels: map[string]map[string]string{},
	}
	for range 20_000 {
		switch n := w.rand.IntN(20); {
		case n < 12:
			w.publish()
		case n < 13 && len(w.readers) < 8:
			w.come()
		case n < 14 && len(w.readers) > 0:
			w.comeBack()
		case len(w.readers) > 0:
			w.read(w.readers[w.rand.IntN(len(w.readers))])
		}
		if t.Failed() {
			return
		}
	}
	if len(w.list) < 5000 {
		t.Errorf("only %d events", len(w.list))
	}
}

var slotNames = []string{"a", "b", "c"}

// publish commits a random batch and adds to the list what it has changed.
func (w *walk) publish() {
	slot := slotNames[w.rand.IntN(len(slotNames))]
	before := w.catalog.Slot(slot)
	batch := w.batch(slot, before)
	deleted := map[string]*soltiv1.TaskData{}
	for _, id := range batch.Deletes {
		deleted[id], _ = w.catalog.Task(id)
	}
	for _, rec := range batch.Tasks {
		if deleted[rec.GetId()] != nil {
			deleted[rec.GetId()] = ended(rec)
		}
	}
	w.apply(batch)
	for _, rec := range batch.Tasks {
		task, ok := w.catalog.Task(rec.GetId())
		if !ok { // the batch has deleted it as well
			task = ended(rec)
		}
		w.list = append(w.list, known{taskBody(task), slot, rec.GetId(), w.labels[rec.GetId()]})
	}
	for _, id := range batch.Deletes {
		body := taskBody(deleted[id])
		body.Deleted, body.Time = true, 0
		w.list = append(w.list, known{body, deleted[id].GetSpec().GetSlot(), id, w.labels[id]})
	}
	after := w.catalog.Slot(slot)
	if before.GetPhase() != after.GetPhase() || before.GetHolder() != after.GetHolder() || before.GetReplacement() != after.GetReplacement() {
		holder, _ := w.catalog.Task(after.GetHolder())
		at := int64(0)
		for _, rec := range batch.Tasks {
			at = max(at, rec.GetUpdatedAt())
		}
		body := &slotdv1.SlotEvent{
			Slot: slot, TaskId: after.Holder, Phase: after.GetPhase(), Replacement: after.Replacement,
			Attempt: holder.GetStatus().GetAttempt(), Queued: uint64(len(after.GetQueue())), Time: at,
		}
		switch _, rec, _ := w.catalog.SlotOf(after.GetHolder()); {
		case rec.GetPhase() == slotdv1.Phase_PHASE_STOPPING:
			body.Reason = new("Canceled")
		case after.Replacement != nil:
			body.Reason = new("Replaced")
		}
		w.list = append(w.list, known{body: body, slot: slot})
	}
	if got, want := w.hub.Stats().Published, uint64(len(w.list)); got != want {
		w.t.Fatalf("%d events are published, want %d after %v", got, want, batch)
	}
}

// batch does to a slot what could be done to it.
func (w *walk) batch(slot string, view *slotdv1.SlotView) *store.Batch {
	b := new(store.Batch)
	admit := func(role slotdv1.Role) {
		id := numbered(len(w.tasks))
		w.tasks = append(w.tasks, id)
		if w.rand.IntN(2) == 0 {
			w.labels[id] = map[string]string{"app": []string{"web", "db"}[w.rand.IntN(2)]}
		}
		b.Tasks = append(b.Tasks, newTask(id, slot, role))
		b.Specs = append(b.Specs, &slotdv1.SpecRecord{TaskId: id, Spec: &soltiv1.CreateSpec{Slot: slot, Labels: w.labels[id]}})
	}
	switch holder := view.GetHolder(); {
	case view.GetPhase() == "idle":
		admit(slotdv1.Role_ROLE_HOLDER)
	case w.rand.IntN(4) == 0 && len(view.GetQueue()) < 5:
		admit(queued)
	case w.rand.IntN(8) == 0 && view.Replacement == nil:
		admit(replacement)
	case w.rand.IntN(3) == 0:
		b.Tasks = append(b.Tasks, w.next(holder, ends))
		switch {
		case view.Replacement != nil:
			b.Tasks = append(b.Tasks, w.next(view.GetReplacement(), promoted))
		case len(view.GetQueue()) > 0:
			b.Tasks = append(b.Tasks, w.next(view.GetQueue()[0], promoted))
		}
		if w.rand.IntN(3) == 0 {
			b.Deletes = append(b.Deletes, holder)
			break
		}
		for _, rec := range w.catalog.OldestTerminal(w.rand.IntN(3)) {
			b.Deletes = append(b.Deletes, rec.GetId())
		}
	default:
		changes := []func(*slotdv1.TaskRecord){begins, retries, stops}
		b.Tasks = append(b.Tasks, w.next(holder, changes[w.rand.IntN(len(changes))]))
	}
	return b
}

// ended is a task that has succeeded.
func ended(rec *slotdv1.TaskRecord) *soltiv1.TaskData {
	return &soltiv1.TaskData{
		Metadata: &soltiv1.ObjectMeta{Id: rec.GetId(), UpdatedAt: rec.GetUpdatedAt(), ResourceVersion: rec.GetResourceVersion()},
		Spec:     &soltiv1.CreateSpec{Slot: rec.GetSlot()},
		Status: &soltiv1.TaskStatusInfo{
			Phase: succeeded, Terminal: true, Attempt: rec.GetAttempt(), Reason: new("Completed"),
			ExitCode: proto.Int32(0), Node: node(rec),
		},
	}
}

func node(rec *slotdv1.TaskRecord) *string {
	if rec.GetNode() == "" {
		return nil
	}
	return new(rec.GetNode())
}

// taskBody is what an event says of a task, going by what GET says.
func taskBody(task *soltiv1.TaskData) *slotdv1.TaskEvent {
	meta, status := task.GetMetadata(), task.GetStatus()
	return &slotdv1.TaskEvent{
		Slot: task.GetSpec().GetSlot(), TaskId: meta.GetId(), Phase: status.GetPhase(), Reason: status.Reason,
		Attempt: status.GetAttempt(), Time: meta.GetUpdatedAt(), Terminal: status.GetTerminal(),
		ResourceVersion: meta.GetResourceVersion(), ExitCode: status.ExitCode, Signal: status.Signal,
		NextAttemptAt: status.NextAttemptAt, Node: status.Node,
	}
}

func (w *walk) come() {
	r := &reader{at: uint64(len(w.list))}
	if w.rand.IntN(2) == 0 {
		r.query.Slot = slotNames[w.rand.IntN(len(slotNames))]
	}
	if w.rand.IntN(3) == 0 && len(w.tasks) > 0 {
		r.query.Task = w.tasks[len(w.tasks)-1]
	}
	if w.rand.IntN(3) == 0 {
		var err error
		if r.query.Selector, err = messages.ParseSelector("app in (web)"); err != nil {
			w.t.Fatal(err)
		}
	}
	if w.rand.IntN(2) == 0 {
		r.at = uint64(w.rand.IntN(len(w.list) + 1))
		r.query.After = w.hub.ID(r.at)
	}
	r.cursor = w.open(r.query)
	w.readers = append(w.readers, r)
}

// comeBack closes a reader's cursor and opens another where it left off, or lets the reader go for good.
func (w *walk) comeBack() {
	i := w.rand.IntN(len(w.readers))
	r := w.readers[i]
	r.query.After = r.cursor.Position()
	r.cursor.Close()
	if w.rand.IntN(3) == 0 {
		w.readers = slices.Delete(w.readers, i, i+1)
		return
	}
	r.cursor = w.open(r.query)
}

func (k known) matches(q messages.EventQuery) bool {
	return (q.Slot == "" || q.Slot == k.slot) && (q.Task == "" || q.Task == k.task) &&
		(q.Selector.Empty() || k.task != "" && q.Selector.Matches(k.labels))
}

// read compares all that is there for a reader with the list.
func (w *walk) read(r *reader) {
	type seen struct {
		ID   string
		Body proto.Message
	}
	var want []seen
	oldest := w.hub.Oldest()
	if kept := uint64(len(w.list)) - oldest + 1; kept > 300+32 || kept < 300 && oldest > 1 {
		w.t.Errorf("%d events are kept", kept)
	}
	if r.at+1 < oldest {
		want = append(want, seen{w.hub.ID(oldest - 1), &slotdv1.GapEvent{Skipped: oldest - 1 - r.at}})
		r.at = oldest - 1
	}
	for ; r.at < uint64(len(w.list)); r.at++ {
		if k := w.list[r.at]; k.matches(r.query) {
			want = append(want, seen{w.hub.ID(r.at + 1), k.body})
		}
	}
	list := read(w.t, r.cursor)
	var got []seen
	for i, body := range bodies(list) {
		if task, ok := body.(*slotdv1.TaskEvent); ok && task.GetDeleted() {
			task = proto.CloneOf(task) // events are shared
			task.Time = 0
			body = task
		}
		got = append(got, seen{list[i].GetId(), body})
	}
	equal(w.t, "events", got, want)
	if got, want := r.cursor.Position(), w.hub.ID(r.at); got != want {
		w.t.Errorf("at %s, want %s", got, want)
	}
}
