package catalog_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"slotd/actors/catalog"
	"slotd/actors/store"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// model is the catalog as a list that is searched from end to end.
type model struct {
	tasks []modelTask // in id order
	keys  []*slotdv1.KeyRecord
}

type modelTask struct {
	rec  *slotdv1.TaskRecord
	spec *soltiv1.CreateSpec
}

func (m *model) find(id string) (int, bool) {
	return slices.BinarySearchFunc(m.tasks, id, func(t modelTask, id string) int { return strings.Compare(t.rec.GetId(), id) })
}

func (m *model) apply(b *store.Batch) {
	for _, rec := range b.Tasks {
		i, known := m.find(rec.GetId())
		if !known {
			m.tasks = slices.Insert(m.tasks, i, modelTask{rec: rec})
		} else if rec.GetResourceVersion() > m.tasks[i].rec.GetResourceVersion() {
			m.tasks[i].rec = rec
		}
	}
	for _, spec := range b.Specs {
		if i, known := m.find(spec.GetTaskId()); known {
			m.tasks[i].spec = spec.GetSpec()
		}
	}
	for _, key := range b.Keys {
		m.forget(key)
		m.keys = append(m.keys, key)
	}
	for _, id := range b.Deletes {
		if i, known := m.find(id); known {
			m.tasks = slices.Delete(m.tasks, i, i+1)
		}
	}
	for _, key := range b.Expired {
		m.forget(key)
	}
}

func (m *model) forget(key *slotdv1.KeyRecord) {
	m.keys = slices.DeleteFunc(m.keys, func(k *slotdv1.KeyRecord) bool {
		return k.GetSlot() == key.GetSlot() && k.GetKey() == key.GetKey()
	})
}

func (m *model) matching(q messages.Query) []modelTask {
	return filter(m.tasks, func(t modelTask) bool {
		return (q.Slot == "" || t.rec.GetSlot() == q.Slot) &&
			(q.Status == 0 || t.rec.GetStatus() == q.Status) &&
			(q.Terminal == nil || *q.Terminal == t.terminal()) &&
			strings.HasPrefix(t.rec.GetId(), q.IDPrefix) &&
			q.Selector.Matches(t.spec.GetLabels())
	})
}

func (m *model) page(q messages.Query) (ids []string, total int) {
	all := m.matching(q)
	if q.Newest {
		slices.Reverse(all)
	}
	page := all[min(q.Offset, len(all)):]
	page = page[:min(q.Limit, len(page))]
	if q.Newest {
		slices.Reverse(page)
	}
	return idsOf(page), len(all)
}

func (m *model) queue(slot string) []string {
	return idsOf(filter(m.tasks, func(t modelTask) bool {
		return t.rec.GetSlot() == slot && t.rec.GetRole() == slotdv1.Role_ROLE_QUEUED
	}))
}

func (m *model) with(slot string, role slotdv1.Role) string {
	for _, t := range m.tasks {
		if t.rec.GetSlot() == slot && t.rec.GetRole() == role {
			return t.rec.GetId()
		}
	}
	return ""
}

func (m *model) unfinished(slot string) []string {
	return idsOf(filter(m.tasks, func(t modelTask) bool { return t.rec.GetSlot() == slot && !t.terminal() }))
}

func (m *model) ended(before int64) []string {
	all := filter(m.tasks, func(t modelTask) bool { return t.terminal() && t.rec.GetUpdatedAt() < before })
	sort.SliceStable(all, func(i, j int) bool { return all[i].rec.GetUpdatedAt() < all[j].rec.GetUpdatedAt() })
	return idsOf(all)
}

func (t modelTask) terminal() bool { return t.rec.GetPhase() == slotdv1.Phase_PHASE_FINISHED }

func filter(tasks []modelTask, keep func(modelTask) bool) []modelTask {
	var kept []modelTask
	for _, t := range tasks {
		if keep(t) {
			kept = append(kept, t)
		}
	}
	return kept
}

func idsOf(tasks []modelTask) []string {
	ids := make([]string, len(tasks))
	for i, t := range tasks {
		ids[i] = t.rec.GetId()
	}
	return ids
}

// TestCatalogAnswersAsAListWould walks a catalog and its model through random batches and compares every answer.
func TestCatalogAnswersAsAListWould(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	w := &walk{
		t:       t,
		rand:    rand.New(rand.NewPCG(seed, 0)),
		catalog: catalog.New(noRuns),
		slots:   []string{"a", "b", "busy"},
	}
	for w.steps = range 20_000 {
		w.step()
		w.compare()
		if w.steps%2000 == 1999 {
			w.refill()
		}
	}
}

// refill makes a catalog from what the model kept, as a new life of the node does, and compares that one too.
func (w *walk) refill() {
	w.t.Helper()
	lived := w.catalog
	defer func() { w.catalog = lived }()
	w.catalog = catalog.New(noRuns)
	var entries []store.Entry
	for _, task := range w.model.tasks {
		rec := &slotdv1.SpecRecord{TaskId: task.rec.GetId(), Spec: task.spec}
		if task.terminal() && w.rand.IntN(2) == 0 {
			entries = append(entries, store.Entry{Task: task.rec, Raw: encoded(w.t, rec)})
		} else {
			entries = append(entries, store.Entry{Task: task.rec, Spec: rec})
		}
	}
	for _, key := range w.model.keys {
		entries = append(entries, store.Entry{Key: key})
	}
	for part := range slices.Chunk(entries, 1+w.rand.IntN(300)) {
		w.catalog.Fill(part)
	}
	for range 200 {
		w.compare()
	}
	w.equal("LastID", w.catalog.LastID(), lived.LastID())
	w.equal("ExpiredKeys", w.catalog.ExpiredKeys(w.now, 1<<20), lived.ExpiredKeys(w.now, 1<<20))
}

// walk keeps to what slots do: one holder, one replacement at most, and a queue in the order of the ids.
type walk struct {
	t       *testing.T
	rand    *rand.Rand
	catalog *catalog.Catalog
	model   model
	slots   []string
	steps   int
	minted  int
	now     int64
	queues  map[string][]string // of the model, at this step
}

func (w *walk) step() {
	w.now += int64(w.rand.IntN(3))
	b := &store.Batch{}
	for range 1 + w.rand.IntN(2) {
		w.change(b)
		w.catalog.Apply(b)
		w.model.apply(b)
		if w.rand.IntN(4) == 0 {
			w.catalog.Apply(b) // again, as after a retry: nothing changes
		}
		b = &store.Batch{}
	}
}

func (w *walk) change(b *store.Batch) {
	slot := w.slots[min(w.rand.IntN(6), 2)]
	holder, replacement := w.model.with(slot, slotdv1.Role_ROLE_HOLDER), w.model.with(slot, slotdv1.Role_ROLE_REPLACEMENT)
	queue := w.model.queue(slot)
	switch n := w.rand.IntN(100); {
	case n < 30 && len(queue) < 200:
		w.admit(b, slot, holder, replacement)
	case n < 40 && len(queue) > 0: // cancelled while it waits
		w.end(b, queue[w.rand.IntN(len(queue))])
	case n < 55 && holder != "":
		w.end(b, holder)
		next := replacement
		if next == "" && len(queue) > 0 {
			next = queue[0]
		}
		if next != "" {
			w.promote(b, next)
		}
	case n < 75 && holder != "":
		w.progress(b, holder)
	case n < 80 && replacement != "":
		w.end(b, replacement)
	case n < 88:
		if ended := w.model.ended(w.now); len(ended) > 20 {
			b.Deletes = append(b.Deletes, ended[w.rand.IntN(len(ended))])
			b.Deletes = append(b.Deletes, ended[:max(0, len(w.model.tasks)-700)]...)
		}
	case n < 93:
		b.Keys = append(b.Keys, &slotdv1.KeyRecord{Slot: slot, Key: fmt.Sprint(w.rand.IntN(5)), ExpiresAt: w.now + int64(w.rand.IntN(100))})
	case n < 96:
		b.Expired = w.catalog.ExpiredKeys(w.now, 2)
	case n == 99 && len(w.model.tasks) > 0: // a word from the past
		old := clone(w.model.tasks[w.rand.IntN(len(w.model.tasks))].rec)
		old.Phase, old.Status, old.ResourceVersion = slotdv1.Phase_PHASE_FINISHED, soltiv1.TaskStatus_TASK_STATUS_CANCELED, old.ResourceVersion-1
		b.Tasks = append(b.Tasks, old)
	}
}

func (w *walk) admit(b *store.Batch, slot, holder, replacement string) {
	w.minted += 1 + w.rand.IntN(3)
	rec := &slotdv1.TaskRecord{
		Id: fmt.Sprintf("tsk_%06d", w.minted), Slot: slot, CreatedAt: w.now, UpdatedAt: w.now, ResourceVersion: 1,
		Role: slotdv1.Role_ROLE_HOLDER, Phase: slotdv1.Phase_PHASE_READY, Status: soltiv1.TaskStatus_TASK_STATUS_PENDING,
	}
	if holder != "" {
		rec.Role = slotdv1.Role_ROLE_QUEUED
		if w.rand.IntN(10) == 0 {
			rec.Role = slotdv1.Role_ROLE_REPLACEMENT
			if replacement != "" {
				w.end(b, replacement)
			}
		}
	}
	b.Tasks = append(b.Tasks, rec)
	b.Specs = append(b.Specs, &slotdv1.SpecRecord{TaskId: rec.Id, Spec: &soltiv1.CreateSpec{
		Slot:   slot,
		Kind:   &soltiv1.TaskKind{Kind: &soltiv1.TaskKind_Wasm{Wasm: &soltiv1.WasmTask{}}},
		Labels: map[string]string{"team": fmt.Sprint(w.rand.IntN(4))},
	}})
}

// change of a present record: a copy with a greater version.
func (w *walk) next(id string) *slotdv1.TaskRecord {
	i, known := w.model.find(id)
	if !known {
		w.t.Fatalf("no task %s", id)
	}
	rec := clone(w.model.tasks[i].rec)
	rec.ResourceVersion++
	rec.UpdatedAt = w.now
	return rec
}

func (w *walk) end(b *store.Batch, id string) {
	rec := w.next(id)
	rec.Role, rec.Phase = slotdv1.Role_ROLE_NONE, slotdv1.Phase_PHASE_FINISHED
	rec.Status = soltiv1.TaskStatus(3 + w.rand.IntN(5))
	b.Tasks = append(b.Tasks, rec)
}

func (w *walk) promote(b *store.Batch, id string) {
	rec := w.next(id)
	rec.Role = slotdv1.Role_ROLE_HOLDER
	at := w.rand.IntN(len(b.Tasks) + 1) // the order within a batch must not matter
	b.Tasks = slices.Insert(b.Tasks, at, rec)
}

func (w *walk) progress(b *store.Batch, id string) {
	rec := w.next(id)
	rec.Phase = slotdv1.Phase(1 + w.rand.IntN(4))
	rec.Attempt = uint32(w.rand.IntN(2))
	rec.Until = int64(w.rand.IntN(2)) * w.now
	rec.Status = soltiv1.TaskStatus(1 + w.rand.IntN(5))
	b.Tasks = append(b.Tasks, rec)
}

func (w *walk) query() messages.Query {
	q := messages.Query{Limit: 1 + w.rand.IntN(60), Newest: w.rand.IntN(3) == 0}
	if w.rand.IntN(2) == 0 {
		q.Offset = w.rand.IntN(40)
	}
	if w.rand.IntN(3) == 0 {
		q.Slot = append(w.slots, "unused")[w.rand.IntN(4)]
	}
	if w.rand.IntN(3) == 0 {
		q.Status = soltiv1.TaskStatus(w.rand.IntN(9))
	}
	if w.rand.IntN(3) == 0 {
		terminal := w.rand.IntN(2) == 0
		q.Terminal = &terminal
	}
	if w.rand.IntN(3) == 0 {
		selector, err := messages.ParseSelector("team in (1,2)")
		if err != nil {
			w.t.Fatal(err)
		}
		q.Selector = selector
	}
	if id := fmt.Sprintf("tsk_%06d", w.rand.IntN(w.minted+1)); w.rand.IntN(3) == 0 {
		q.IDPrefix = id[:w.rand.IntN(len(id)+1)]
	}
	return q
}

func (w *walk) compare() {
	w.t.Helper()
	q := w.query()
	want, wantTotal := w.model.page(q)
	got, total := w.catalog.Tasks(q)
	ids := make([]string, len(got))
	w.queues = map[string][]string{}
	for i, task := range got {
		ids[i] = task.GetMetadata().GetId()
		w.compareTask(task)
	}
	if !slices.Equal(ids, want) || total != wantTotal {
		w.t.Fatalf("step %d: Tasks(%+v) = %q of %d, want %q of %d", w.steps, q, ids, total, want, wantTotal)
	}

	slot := w.slots[w.rand.IntN(len(w.slots))]
	switch w.rand.IntN(16) { // each is compared often enough
	case 0:
		w.compareSlot(slot)
	case 1:
		w.equal("Unfinished", recordIDs(w.catalog.Unfinished(slot)), w.model.unfinished(slot))
	case 2:
		before := w.now - int64(w.rand.IntN(50))
		w.equal("TerminalBefore", recordIDs(w.catalog.TerminalBefore(before, 1<<20)), w.model.ended(before))
	case 3:
		w.compareCounts()
	case 4:
		w.compareKeys()
	}
}

func (w *walk) compareTask(got *soltiv1.TaskData) {
	w.t.Helper()
	id := got.GetMetadata().GetId()
	i, known := w.model.find(id)
	if !known {
		w.t.Fatalf("step %d: Tasks shows %s, which is gone", w.steps, id)
	}
	want := w.model.tasks[i]
	place := 0
	if slot := want.rec.GetSlot(); want.rec.GetRole() == slotdv1.Role_ROLE_QUEUED {
		if w.queues[slot] == nil {
			w.queues[slot] = w.model.queue(slot)
		}
		place = slices.Index(w.queues[slot], id) + 1
	}
	if got.GetSpec() != want.spec && !proto.Equal(got.GetSpec(), want.spec) ||
		got.GetMetadata().GetResourceVersion() != want.rec.GetResourceVersion() ||
		got.GetStatus().GetPhase() != want.rec.GetStatus() ||
		got.GetStatus().GetTerminal() != want.terminal() ||
		int(got.GetStatus().GetQueuePosition()) != place {
		w.t.Fatalf("step %d: task shown as %v, want %v at place %d", w.steps, got, want.rec, place)
	}
}

func (w *walk) compareSlot(slot string) {
	w.t.Helper()
	want := &slotdv1.SlotView{Slot: slot, Phase: "idle", Queue: w.model.queue(slot), Counters: &slotdv1.DecisionCounters{}}
	if id := w.model.with(slot, slotdv1.Role_ROLE_HOLDER); id != "" {
		i, _ := w.model.find(id)
		kind := "wasm"
		want.Phase, want.Holder, want.HolderKind = "occupied", &id, &kind
		if w.model.tasks[i].rec.GetPhase() == slotdv1.Phase_PHASE_STOPPING {
			want.Phase = "retiring"
		}
	}
	if id := w.model.with(slot, slotdv1.Role_ROLE_REPLACEMENT); id != "" {
		want.Phase, want.Replacement = "retiring", &id
	}
	w.equal("Slot", w.catalog.Slot(slot), want)
}

func (w *walk) compareCounts() {
	w.t.Helper()
	want := catalog.Counts{Tasks: map[soltiv1.TaskStatus]int{}, Keys: len(w.model.keys)}
	for _, task := range w.model.tasks {
		want.Tasks[task.rec.GetStatus()]++
		if task.terminal() {
			want.Terminal++
		} else {
			want.Active++
		}
	}
	var inUse []string
	var longest int
	for _, slot := range w.slots {
		queued := len(w.model.queue(slot))
		want.Queued += queued
		longest = max(longest, queued)
		if len(w.model.unfinished(slot)) > 0 {
			want.InUse++
			inUse = append(inUse, slot)
		}
		if w.model.with(slot, slotdv1.Role_ROLE_HOLDER) != "" {
			want.Occupied++
		}
	}
	w.equal("Counts", w.catalog.Counts(), want)
	w.equal("Active", w.catalog.Active(), want.Active)
	var names []string
	for _, view := range w.catalog.Slots() {
		names = append(names, view.GetSlot())
	}
	w.equal("Slots", names, inUse)
	if top := w.catalog.Longest(1); longest > 0 {
		w.equal("Longest", int(top[0].GetDepth()), longest)
	} else {
		w.equal("Longest", len(top), 0)
	}
}

func (w *walk) compareKeys() {
	w.t.Helper()
	for _, slot := range w.slots {
		for name := range 5 {
			var want *slotdv1.KeyRecord
			for _, key := range w.model.keys {
				if key.GetSlot() == slot && key.GetKey() == fmt.Sprint(name) && key.GetExpiresAt() > w.now {
					want = key
				}
			}
			got, ok := w.catalog.Key(slot, fmt.Sprint(name), w.now)
			if got != want || ok != (want != nil) {
				w.t.Fatalf("step %d: Key(%s, %d) = %v, %v, want %v", w.steps, slot, name, got, ok, want)
			}
		}
	}
}

func (w *walk) equal(what string, got, want any) {
	w.t.Helper()
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		w.t.Fatalf("step %d: %s (-want +got):\n%s", w.steps, what, diff)
	}
}
