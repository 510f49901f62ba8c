package catalog

import (
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// data is one task of a page. A page is allocated as a whole, so a reader that keeps one task keeps its page.
type data struct {
	task   soltiv1.TaskData
	meta   soltiv1.ObjectMeta
	status soltiv1.TaskStatusInfo
	due    int64
	place  uint32
}

// pageOf makes what clients see of the rows. The messages are new, but what they point to is shared with the records.
func pageOf(rows ...row) []*soltiv1.TaskData {
	page := make([]data, len(rows))
	tasks := make([]*soltiv1.TaskData, len(rows))
	for i, r := range rows {
		page[i].fill(r)
		tasks[i] = &page[i].task
	}
	return tasks
}

func (d *data) fill(r row) {
	spec, undecodable := r.spec.get()
	d.task.Metadata, d.task.Spec, d.task.Status = &d.meta, spec, &d.status

	d.meta.Id = r.rec.GetId()
	d.meta.CreatedAt = r.rec.GetCreatedAt()
	d.meta.UpdatedAt = r.rec.GetUpdatedAt()
	d.meta.ResourceVersion = r.rec.GetResourceVersion()

	d.status.Phase = r.rec.GetStatus()
	d.status.Attempt = r.rec.GetAttempt()
	d.status.Error = r.rec.Error
	d.status.ExitCode = r.rec.ExitCode
	d.status.Signal = r.rec.Signal
	d.status.Terminal = isTerminal(r.rec)
	if r.rec.Reason != "" {
		d.status.Reason = &r.rec.Reason
	}
	if r.rec.Node != "" {
		d.status.Node = &r.rec.Node
	}
	if d.due = due(r.rec); d.due != 0 {
		d.status.NextAttemptAt = &d.due
	}
	if d.place = r.position; d.place != 0 {
		d.status.QueuePosition = &d.place
	}
	if undecodable != nil { // the answer has room for one error: this one is news
		d.task.Spec, d.status.Error = unreadable(r.rec), new(undecodable.Error())
	}
}

// due is when the next attempt follows the last one, Unix milliseconds; 0 when the task is not between attempts. An
// attempt that is due but has not begun (it waits for room on the node, or the daemon has just come back) was due at
// the last change, if nothing else is known.
func due(rec *slotdv1.TaskRecord) int64 {
	switch rec.GetPhase() {
	case slotdv1.Phase_PHASE_WAITING:
		return rec.GetUntil()
	case slotdv1.Phase_PHASE_READY:
		if rec.GetAttempt() == 0 {
			return 0
		}
		if rec.GetUntil() != 0 {
			return rec.GetUntil()
		}
		return rec.GetUpdatedAt()
	default:
		return 0
	}
}

// rowOf must be called under the catalog's lock.
func rowOf(e *entry) row { return row{rec: e.rec, spec: &e.spec, position: e.position()} }

// position is the place of a task in its slot's queue, 1 = next; 0 when it is not queued.
func (e *entry) position() uint32 {
	if e.rec.GetRole() != slotdv1.Role_ROLE_QUEUED || isTerminal(e.rec) {
		return 0
	}
	place := e.lane.active.rank(e.id) + 1
	for _, other := range [...]*entry{e.lane.holder, e.lane.replacement} {
		if other != nil && other.id < e.id {
			place--
		}
	}
	return uint32(place)
}
