package client

import (
	"encoding/json"
	"fmt"

	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// transition is an event of tasks and slots as plain JSON: numbers are numbers. The daemon sends the id beside it.
type transition struct {
	ID              string  `json:"id,omitempty"`
	Type            string  `json:"type"`
	Slot            string  `json:"slot,omitempty"`
	TaskID          *string `json:"taskId,omitempty"`
	Phase           string  `json:"phase,omitempty"`
	Reason          *string `json:"reason,omitempty"`
	Attempt         *uint32 `json:"attempt,omitempty"`
	Time            int64   `json:"time"`
	Terminal        *bool   `json:"terminal,omitempty"`
	ResourceVersion *uint64 `json:"resourceVersion,omitempty"`
	ExitCode        *int32  `json:"exitCode,omitempty"`
	Signal          *int32  `json:"signal,omitempty"`
	NextAttemptAt   *int64  `json:"nextAttemptAt,omitempty"`
	Node            *string `json:"node,omitempty"`
	Deleted         *bool   `json:"deleted,omitempty"`
	Replacement     *string `json:"replacement,omitempty"`
	Queued          *uint64 `json:"queued,omitempty"`
	Skipped         *uint64 `json:"skipped,omitempty"`
}

// transitionOf decodes a frame; nil when it is of a type that this client does not know.
func transitionOf(fr frame) (*slotdv1.Event, error) {
	var t transition
	if err := json.Unmarshal(fr.data, &t); err != nil {
		return nil, fmt.Errorf("event %q: %w", fr.id, err)
	}
	out := &slotdv1.Event{Id: fr.id}
	switch t.Type {
	case "task":
		out.Kind = &slotdv1.Event_Task{Task: &slotdv1.TaskEvent{
			Slot: t.Slot, TaskId: value(t.TaskID), Phase: soltiv1.TaskStatus(soltiv1.TaskStatus_value[t.Phase]), Reason: t.Reason,
			Attempt: value(t.Attempt), Time: t.Time, Terminal: value(t.Terminal), ResourceVersion: value(t.ResourceVersion),
			ExitCode: t.ExitCode, Signal: t.Signal, NextAttemptAt: t.NextAttemptAt, Node: t.Node, Deleted: value(t.Deleted),
		}}
	case "slot":
		out.Kind = &slotdv1.Event_Slot{Slot: &slotdv1.SlotEvent{
			Slot: t.Slot, TaskId: t.TaskID, Phase: t.Phase, Reason: t.Reason, Attempt: value(t.Attempt), Time: t.Time,
			Replacement: t.Replacement, Queued: value(t.Queued),
		}}
	case "gap":
		out.Kind = &slotdv1.Event_Gap{Gap: &slotdv1.GapEvent{Skipped: value(t.Skipped), Time: t.Time}}
	default:
		return nil, nil //nolint:nilnil // there is no event, and nothing is wrong
	}
	return out, nil
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// MarshalTransition writes an event as the daemon's stream does, plain JSON on one line, told apart by "type", and with
// its "id".
func MarshalTransition(e *slotdv1.Event) ([]byte, error) {
	t := transition{ID: e.GetId()}
	switch kind := e.GetKind().(type) {
	case *slotdv1.Event_Task:
		task := kind.Task
		t.Type, t.Slot, t.TaskID, t.Phase, t.Reason = "task", task.GetSlot(), &task.TaskId, task.GetPhase().String(), task.Reason
		t.Attempt, t.Time, t.Terminal, t.ResourceVersion = &task.Attempt, task.GetTime(), &task.Terminal, &task.ResourceVersion
		t.ExitCode, t.Signal, t.NextAttemptAt, t.Node, t.Deleted = task.ExitCode, task.Signal, task.NextAttemptAt, task.Node, &task.Deleted
	case *slotdv1.Event_Slot:
		slot := kind.Slot
		t.Type, t.Slot, t.TaskID, t.Phase, t.Reason = "slot", slot.GetSlot(), slot.TaskId, slot.GetPhase(), slot.Reason
		t.Attempt, t.Time, t.Replacement, t.Queued = &slot.Attempt, slot.GetTime(), slot.Replacement, &slot.Queued
	case *slotdv1.Event_Gap:
		t.Type, t.Time, t.Skipped = "gap", kind.Gap.GetTime(), &kind.Gap.Skipped
	default:
		return nil, fmt.Errorf("event %q has no kind", e.GetId())
	}
	return json.Marshal(t)
}
