package slot

import (
	"slices"
	"time"

	"slotd/actors/store"
	"slotd/actors/task"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// record adds one change to the batch of a step.
func (a *slotActor) record(batch *store.Batch, eff Record, now time.Time) {
	t := a.tenants[eff.Task]
	switch eff.Change {
	case Admit:
		t.admitted = batch
		if !a.begin(batch, t, eff.Role, now) {
			t.record.Role, t.record.ResourceVersion = eff.Role, 1
		}
		batch.Specs = append(batch.Specs, &slotdv1.SpecRecord{TaskId: eff.Task, Spec: t.spec})
		if t.key != "" {
			batch.Keys = append(batch.Keys, a.remember(t))
		}
	case Promote:
		if !a.begin(batch, t, slotdv1.Role_ROLE_HOLDER, now) {
			t.record = revised(t.record, now, slotdv1.Role_ROLE_HOLDER)
			t.record.Phase, t.record.Status = slotdv1.Phase_PHASE_READY, soltiv1.TaskStatus_TASK_STATUS_PENDING
		}
	case End:
		t.record = revised(t.record, now, slotdv1.Role_ROLE_NONE)
		t.record.Phase, t.record.Status = slotdv1.Phase_PHASE_FINISHED, soltiv1.TaskStatus_TASK_STATUS_CANCELED
		t.record.Reason = string(eff.Reason)
	case Finish:
		t.record = t.outcome.GetTask()
		if run := t.outcome.GetRun(); run != nil {
			batch.Runs = append(batch.Runs, run)
		}
	case Delete:
		batch.Deletes = append(batch.Deletes, eff.Task)
		return
	}
	batch.Tasks = append(batch.Tasks, t.record)
}

// begin writes the first attempt of a new holder together with the decision, where attempts need no permit: the store is
// asked once, not twice, between a submission and its process.
func (a *slotActor) begin(batch *store.Batch, t *tenant, role slotdv1.Role, now time.Time) bool {
	if role != slotdv1.Role_ROLE_HOLDER || a.deps.Task.Permits {
		return false
	}
	var run *slotdv1.RunRecord
	t.record, run = task.Begin(a.deps.Task, t.record, t.spec, now)
	t.begun = true
	batch.Runs = append(batch.Runs, run)
	return true
}

// commit leaves out what is said of tasks whose admission was refused after it was said.
func (a *slotActor) commit(batch *store.Batch, done func(error)) {
	refused := func(id string) bool { _, refused := a.refused[id]; return refused }
	void := func(r *slotdv1.TaskRecord) bool { return refused(r.GetId()) }
	if slices.ContainsFunc(batch.Tasks, void) {
		rest := *batch
		rest.Tasks = slices.DeleteFunc(slices.Clone(batch.Tasks), void)
		rest.Runs = slices.DeleteFunc(slices.Clone(batch.Runs), func(r *slotdv1.RunRecord) bool { return refused(r.GetTaskId()) })
		batch = &rest
	}
	if a.part != nil && a.deps.CommitInto(a.part, batch, done) {
		return
	}
	a.part = nil
	a.deps.Commit(batch, done)
}

// remember makes the idempotency key durable with the task it stands for.
func (a *slotActor) remember(t *tenant) *slotdv1.KeyRecord {
	key := &slotdv1.KeyRecord{
		Slot: a.name, Key: t.key, TaskId: t.record.GetId(), SpecHash: messages.SpecHash(t.spec),
		ExpiresAt: t.record.GetCreatedAt() + a.deps.KeyTTL.Milliseconds(),
	}
	if a.keys == nil {
		a.keys = make(map[string]*slotdv1.KeyRecord)
	}
	a.keys[t.key] = key
	return key
}

// revised is the next version of a record of a task that has not started. The old one is left as it is, since the
// store and the catalog share it.
func revised(r *slotdv1.TaskRecord, now time.Time, role slotdv1.Role) *slotdv1.TaskRecord {
	return &slotdv1.TaskRecord{
		Id:              r.GetId(),
		Slot:            r.GetSlot(),
		CreatedAt:       r.GetCreatedAt(),
		UpdatedAt:       max(now.UnixMilli(), r.GetUpdatedAt()),
		ResourceVersion: r.GetResourceVersion() + 1,
		Role:            role,
	}
}
