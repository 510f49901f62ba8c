package storetest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"slotd/actors/store"
	slotdv1 "slotd/messages/slotd/v1"
)

// randomBatches commits at random, opens a durable store again now and then, and compares it with maps.
func randomBatches(t *testing.T, place Place) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	s := open(t, place)
	m := model{
		tasks: map[string]*slotdv1.TaskRecord{}, specs: map[string]*slotdv1.SpecRecord{},
		runs: map[string][]*slotdv1.RunRecord{}, keys: map[string]*slotdv1.KeyRecord{},
	}
	for range 20 {
		for range 50 {
			b := m.batch(r)
			m.apply(b)
			answer := begin(t, s, b)
			if r.IntN(10) > 0 {
				continue // later commits follow at once
			}
			if err := <-answer; err != nil {
				t.Fatalf("Commit: %v", err)
			}
		}
		commit(t, s, &store.Batch{})
		s = reopen(t, place, s)
		equal(t, "contents", read(t, s), m.contents())
		if t.Failed() {
			return
		}
	}
}

type model struct {
	tasks   map[string]*slotdv1.TaskRecord
	specs   map[string]*slotdv1.SpecRecord
	runs    map[string][]*slotdv1.RunRecord
	keys    map[string]*slotdv1.KeyRecord
	minted  int
	version uint64
}

func (m *model) batch(r *rand.Rand) *store.Batch {
	b := &store.Batch{}
	for range r.IntN(4) {
		m.version++
		id := taskID(m.minted)
		if known := m.ids(); len(known) > 0 && r.IntN(3) > 0 {
			id = known[r.IntN(len(known))]
		} else {
			m.minted++
			b.Specs = append(b.Specs, specRecord(id))
		}
		rec := taskRecord(id, m.version)
		if r.IntN(3) == 0 {
			rec.Phase = slotdv1.Phase_PHASE_FINISHED
		}
		b.Tasks = append(b.Tasks, rec)
		if r.IntN(2) == 0 {
			b.Runs = append(b.Runs, runRecord(id, 1+uint32(r.IntN(3*KeptRuns)), int64(m.version)))
		}
	}
	key := keyRecord("slot", fmt.Sprint(r.IntN(10)), int64(m.version))
	switch r.IntN(6) {
	case 0:
		b.Keys = append(b.Keys, key)
	case 1:
		b.Expired = append(b.Expired, key)
	case 2:
		if known := m.ids(); len(known) > 20 {
			b.Deletes = append(b.Deletes, known[r.IntN(len(known))])
		}
	}
	return b
}

func (m *model) ids() []string {
	ids := make([]string, 0, len(m.tasks))
	for id := range m.tasks {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func (m *model) apply(b *store.Batch) {
	for _, rec := range b.Tasks {
		m.tasks[rec.GetId()] = rec
	}
	for _, spec := range b.Specs {
		m.specs[spec.GetTaskId()] = spec
	}
	for _, run := range b.Runs {
		id := run.GetTaskId()
		runs := slices.DeleteFunc(m.runs[id], func(other *slotdv1.RunRecord) bool { return other.GetAttempt() == run.GetAttempt() })
		runs = append(runs, run)
		slices.SortFunc(runs, func(a, b *slotdv1.RunRecord) int { return cmp.Compare(a.GetAttempt(), b.GetAttempt()) })
		last := runs[len(runs)-1].GetAttempt()
		m.runs[id] = slices.DeleteFunc(runs, func(run *slotdv1.RunRecord) bool { return run.GetAttempt()+KeptRuns <= last })
	}
	for _, key := range b.Keys {
		m.keys[key.GetSlot()+"/"+key.GetKey()] = key
	}
	for _, id := range b.Deletes {
		delete(m.tasks, id)
		delete(m.specs, id)
		delete(m.runs, id)
	}
	for _, key := range b.Expired {
		delete(m.keys, key.GetSlot()+"/"+key.GetKey())
	}
}

func (m *model) contents() contents {
	all := contents{Specs: m.specs, Runs: m.runs, Keys: m.keys}
	for _, rec := range m.tasks {
		all.Tasks = append(all.Tasks, rec)
	}
	slices.SortFunc(all.Tasks, func(a, b *slotdv1.TaskRecord) int { return strings.Compare(a.GetId(), b.GetId()) })
	return all
}
