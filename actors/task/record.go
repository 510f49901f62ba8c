package task

import (
	"time"

	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
)

var phaseOf = map[slotdv1.Phase]Phase{
	slotdv1.Phase_PHASE_READY:    Ready,
	slotdv1.Phase_PHASE_RUNNING:  Running,
	slotdv1.Phase_PHASE_WAITING:  Waiting,
	slotdv1.Phase_PHASE_STOPPING: Stopping,
	slotdv1.Phase_PHASE_FINISHED: Finished,
}

// StateOf reads a record.
func StateOf(r *slotdv1.TaskRecord) State {
	return State{
		Phase:    phaseOf[r.GetPhase()],
		Attempt:  r.GetAttempt(),
		Failures: r.GetFailures(),
		Started:  instant(r.GetStartedAt()),
		Until:    instant(r.GetUntil()),
		Cause:    messages.Reason(r.GetCause()),
		End:      messages.Reason(r.GetEnd()),
		Shown: Shown{
			Status:   r.GetStatus(),
			Reason:   messages.Reason(r.GetReason()),
			Error:    r.GetError(),
			ExitCode: r.ExitCode,
			Signal:   r.Signal,
		},
	}
}

// next writes the record that follows prev; prev is left as it is, since the store and the catalog share it.
func (s State) next(prev *slotdv1.TaskRecord, now time.Time, deps *Deps) *slotdv1.TaskRecord {
	r := &slotdv1.TaskRecord{
		Id:              prev.GetId(),
		Slot:            prev.GetSlot(),
		CreatedAt:       prev.GetCreatedAt(),
		UpdatedAt:       max(now.UnixMilli(), prev.GetUpdatedAt()),
		ResourceVersion: prev.GetResourceVersion() + 1,
		Role:            slotdv1.Role_ROLE_HOLDER,
		Phase:           slotdv1.Phase(s.Phase) + slotdv1.Phase_PHASE_READY,
		Attempt:         s.Attempt,
		Failures:        s.Failures,
		StartedAt:       millis(s.Started),
		Until:           millis(s.Until),
		Cause:           string(s.Cause),
		End:             string(s.End),
		Status:          s.Shown.Status,
		Reason:          string(s.Shown.Reason),
		ExitCode:        s.Shown.ExitCode,
		Signal:          s.Shown.Signal,
		Life:            deps.Life,
	}
	if s.Phase == Finished {
		r.Role = slotdv1.Role_ROLE_NONE
	}
	if s.Shown.Error != "" {
		r.Error = new(s.Shown.Error)
	}
	if s.Attempt > 0 {
		r.Node = deps.Node
	}
	return r
}

func (r *Run) record(task, node string) *slotdv1.RunRecord {
	if r == nil {
		return nil
	}
	record := &slotdv1.RunRecord{
		TaskId:     task,
		Attempt:    r.Attempt,
		Status:     r.Shown.Status,
		StartedAt:  millis(r.Started),
		FinishedAt: millis(r.Finished),
		Reason:     string(r.Shown.Reason),
		ExitCode:   r.Shown.ExitCode,
		Signal:     r.Shown.Signal,
		Node:       node,
	}
	if r.Shown.Error != "" {
		record.Error = new(r.Shown.Error)
	}
	return record
}

func instant(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
