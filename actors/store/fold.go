package store

import (
	"slices"

	slotdv1 "slotd/messages/slotd/v1"
)

// fold makes one batch that leaves what the batches leave when they are applied in order. Of each task, spec, run and
// key only the newest put stays; a key that was deleted and then put again stays, and one that expires later than what was
// to be deleted.
func fold(batches []*Batch) *Batch {
	var (
		all     Batch
		tasks   = places[string]{}
		specs   = places[string]{}
		runs    = places[runName]{}
		keys    = places[keyName]{}
		deletes = places[string]{}
		expired = places[keyName]{}
		kept    = map[keyName]bool{} // put after its last deletion
	)
	for _, b := range batches {
		for _, rec := range b.Tasks {
			all.Tasks = put(all.Tasks, rec, tasks, rec.GetId())
		}
		for _, spec := range b.Specs {
			all.Specs = put(all.Specs, spec, specs, spec.GetTaskId())
		}
		for _, run := range b.Runs {
			all.Runs = put(all.Runs, run, runs, runName{run.GetTaskId(), run.GetAttempt()})
		}
		for _, key := range b.Keys {
			all.Keys = put(all.Keys, key, keys, nameOf(key))
			kept[nameOf(key)] = true
		}
		for _, id := range b.Deletes {
			all.Deletes = put(all.Deletes, id, deletes, id)
		}
		for _, key := range b.Expired {
			all.Expired = put(all.Expired, key, expired, nameOf(key))
			i, known := keys[nameOf(key)]
			kept[nameOf(key)] = known && all.Keys[i].GetExpiresAt() > key.GetExpiresAt()
		}
	}
	all.Expired = slices.DeleteFunc(all.Expired, func(key *slotdv1.KeyRecord) bool { return kept[nameOf(key)] })
	return &all
}

type (
	runName struct {
		task    string
		attempt uint32
	}
	keyName struct{ slot, key string }
)

func nameOf(key *slotdv1.KeyRecord) keyName { return keyName{key.GetSlot(), key.GetKey()} }

// places says where in a slice the value of each name stands.
type places[K comparable] map[K]int

// put appends a value, or puts it in the place of an older one of the same name.
func put[K comparable, V any](values []V, v V, at places[K], name K) []V {
	if i, ok := at[name]; ok {
		values[i] = v
		return values
	}
	at[name] = len(values)
	return append(values, v)
}
