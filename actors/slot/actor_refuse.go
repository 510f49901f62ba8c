package slot

import (
	"github.com/asynkron/protoactor-go/actor"

	"slotd/actors/store"
)

// admission names the task that a batch admits, if nothing else has been folded into it: what is repeated has happened,
// also the admissions in it.
func (a *slotActor) admission(b *store.Batch) (id string, ok bool) {
	if len(b.Specs) != 1 {
		return "", false
	}
	id = b.Specs[0].GetTaskId()
	t := a.tenants[id]
	return id, t != nil && t.admitted == b
}

// refuse takes back an admission that the store did not keep, and tells all who wait for something it said.
func (a *slotActor) refuse(c actor.Context, failed store.Committed, id string) {
	a.deps.Logger.Warn("admission not written", "task_id", id, "slot", a.name, "error", failed.Err)
	put(&a.refused, id, struct{}{}) // before Drop, which commits what was held back
	dropped, ready := a.pipeline.Drop(failed)
	for _, eff := range dropped {
		if answer, ok := eff.(Answer); ok {
			a.answer(c, Answer{Caller: answer.Caller, Reply: Unavailable})
		}
	}
	a.step(c, Refused{id})
	delete(a.keys, a.tenants[id].key)
	delete(a.tenants, id)
	for _, eff := range ready {
		a.done(c, eff)
	}
}
