package events

import (
	"sync/atomic"

	"slotd/actors/catalog"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// event is one transition as it is kept: nothing is allocated for it, and it holds on to nothing large. The record it
// comes from has the text of an error, and the spec may have megabytes of script; of these it has neither.
type event struct {
	message atomic.Pointer[slotdv1.Event] // made by the first reader that wants it, shared by all

	of       kind
	deleted  bool
	terminal bool
	status   soltiv1.TaskStatus // of a task
	attempt  uint32
	name     string            // of the slot
	id       string            // of the task, or of the slot's holder
	labels   map[string]string // of a task
	reason   string
	node     string // of a task
	exitCode *int32
	signal   *int32
	at       int64  // Unix milliseconds
	due      int64  // of a task: Unix milliseconds, 0 = none
	version  uint64 // of a task

	phase       string // of a slot
	replacement string // of a slot
	queued      int    // of a slot
}

type kind uint8

const (
	ofTask kind = iota
	ofSlot
)

func (e *event) task(c *catalog.TaskChange) {
	rec := c.Record
	e.of, e.deleted, e.terminal = ofTask, c.Deleted, c.Terminal()
	e.name, e.id, e.labels = rec.GetSlot(), rec.GetId(), c.Labels()
	e.status, e.attempt, e.version = rec.GetStatus(), rec.GetAttempt(), rec.GetResourceVersion()
	e.reason, e.node = rec.GetReason(), rec.GetNode()
	e.exitCode, e.signal = rec.ExitCode, rec.Signal
	e.at, e.due = rec.GetUpdatedAt(), c.NextAttemptAt()
}

func (e *event) slot(c *catalog.SlotChange) {
	e.of, e.name, e.phase = ofSlot, c.Slot, c.Phase
	e.id, e.attempt, e.reason = c.Holder, c.Attempt, c.Reason
	e.replacement, e.queued = c.Replacement, c.Queued
	e.at = c.Time
}

// What an event takes, bytes: its place in a chunk, the message with its id and optional fields, and one label of a map.
const (
	eventCost = 640
	labelCost = 48
)

// cost is about how many bytes of memory an event takes, at most: what it shares with others is counted for each.
func (e *event) cost() int {
	cost := eventCost + len(e.name) + len(e.id) + len(e.reason) + len(e.node) + len(e.replacement)
	for key, value := range e.labels {
		cost += labelCost + len(key) + len(value)
	}
	return cost
}

// proto returns the event with that id as a message, the same one to everybody.
func (e *event) proto(id eventID) *slotdv1.Event {
	if made := e.message.Load(); made != nil {
		return made
	}
	made := &slotdv1.Event{Id: id.String()}
	if e.of == ofTask {
		made.Kind = &slotdv1.Event_Task{Task: e.taskProto()}
	} else {
		made.Kind = &slotdv1.Event_Slot{Slot: e.slotProto()}
	}
	if !e.message.CompareAndSwap(nil, made) {
		return e.message.Load()
	}
	return made
}

func (e *event) taskProto() *slotdv1.TaskEvent {
	task := &slotdv1.TaskEvent{
		Slot: e.name, TaskId: e.id, Phase: e.status, Reason: some(e.reason), Attempt: e.attempt, Time: e.at,
		Terminal: e.terminal, ResourceVersion: e.version, ExitCode: e.exitCode, Signal: e.signal, Node: some(e.node),
		Deleted: e.deleted,
	}
	if e.due != 0 {
		task.NextAttemptAt = new(e.due)
	}
	return task
}

func (e *event) slotProto() *slotdv1.SlotEvent {
	return &slotdv1.SlotEvent{
		Slot: e.name, TaskId: some(e.id), Phase: e.phase, Reason: some(e.reason), Attempt: e.attempt, Time: e.at,
		Replacement: some(e.replacement), Queued: uint64(e.queued),
	}
}

// some is a text that may be absent. It is a copy: a pointer into the event would hold on to its whole chunk.
func some(text string) *string {
	if text == "" {
		return nil
	}
	return new(text)
}
