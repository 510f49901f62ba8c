package messages

import slotdv1 "slotd/messages/slotd/v1"

// EventQuery chooses transitions. All conditions hold together; a zero field sets none.
type EventQuery struct {
	Slot     string
	Task     string
	Selector Selector
	After    string // event id; empty = live from now on
}

// EventQueryOf reads a request for events. A slot or a task that nobody has used yet is no mistake. The error is an
// [InvalidError].
func EventQueryOf(r *slotdv1.StreamEventsRequest) (EventQuery, error) {
	var p problems
	q := EventQuery{Slot: r.GetSlot(), Task: r.GetTaskId(), After: r.GetAfter()}
	if r.Slot != nil {
		p.slot("slot", q.Slot)
	}
	if r.TaskId != nil && q.Task == "" {
		p.addf("task_id cannot be empty")
	}
	selector, err := ParseSelector(r.GetLabelSelector())
	if err != nil {
		p.addf("%v", err)
	}
	q.Selector = selector
	return q, p.err()
}
