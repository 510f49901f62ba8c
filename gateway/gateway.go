// Package gateway is the border between slotd and its clients: what crosses it in either direction is declared here.
//
// The packages below it translate (rest, rpc), carry commands to the registry (ask) and turn messages into JSON and
// back (codec). None of them decides anything about tasks. What they need from the node is four things: the
// registry's PID for commands, a [Reader] for questions, [Logs] for output and [Events] for transitions.
//
// Everything declared here is implemented outside gateway and must be safe for use by any number of goroutines.
package gateway

import (
	"context"

	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// Want is what a client waits for in a task's life.
type Want uint8

const (
	// WantTerminal holds once no attempt will follow.
	WantTerminal Want = iota
	// WantRunning holds while an attempt runs, and once the task is terminal.
	WantRunning
)

// Reader answers questions from memory. Messages it returns are shared: nobody may change them.
type Reader interface {
	// Task returns a task, or false when the id is not known.
	Task(id string) (*soltiv1.TaskData, bool)

	// Tasks returns the page that the query asks for, in id order, and the number of all matches.
	Tasks(q messages.Query) (tasks []*soltiv1.TaskData, total int)

	// Runs returns a task's kept runs, oldest first. An unknown id is a *messages.RejectionError, TaskNotFound.
	Runs(ctx context.Context, id string) ([]*soltiv1.TaskRunInfo, error)

	// Wait returns the task as soon as want holds, or as it is when ctx is done. It returns false when the id is not
	// known or the task is deleted meanwhile.
	Wait(ctx context.Context, id string, want Want) (*soltiv1.TaskData, bool)

	// Slot returns what is to be seen of a slot; an unused one is idle.
	Slot(name string) *slotdv1.SlotView

	// Slots returns the slots in use, in name order.
	Slots() []*slotdv1.SlotView

	// Nodes returns the members, in name order.
	Nodes() []*slotdv1.NodeView

	// Introspect takes a snapshot of the node.
	Introspect() *slotdv1.IntrospectResponse

	// Ready is nil once the node has recovered and while it can write; otherwise it says what is missing.
	Ready() error
}

// Logs opens the output of tasks.
type Logs interface {
	// Open begins a stream of the task's output. An unknown id is a *messages.RejectionError, TaskNotFound; an After that
	// is not one of the task's event ids, InvalidRequest. io.EOF says that q.After is the last event of a terminal task:
	// there will never be more. ctx bounds the opening only.
	Open(ctx context.Context, id string, q messages.LogQuery) (Cursor, error)
}

// Cursor is one reader's place in a task's output. It is used by one goroutine.
type Cursor interface {
	// Next returns the next events, or io.EOF when the stream has ended. It waits while there are none; when ctx ends the
	// wait it returns ctx's error, nothing is lost, and Next may be called again.
	Next(ctx context.Context) (LogBatch, error)

	// Close gives the place up. It must be called exactly once.
	Close()
}

// LogBatch is a bounded number of events, encoded as the query asked. Data is valid until the next call of Next.
type LogBatch struct {
	Data   []byte
	Events int
}

// Events opens the stream of transitions.
type Events interface {
	// Open begins a stream: after the event that the query names, or with what comes from now on. An After that is no event
	// id is a *messages.RejectionError, InvalidRequest; one whose successors are not kept is no error, the stream then begins
	// with a gap.
	Open(q messages.EventQuery) (EventCursor, error)
}

// EventCursor is one reader's place in the stream of transitions. It is used by one goroutine.
type EventCursor interface {
	// Next returns the next events that match, at least one and at most a few hundred. It waits while there are none; when
	// ctx ends the wait it returns ctx's error, nothing is lost, and Next may be called again. Events are shared: nobody may
	// change them.
	//
	// It returns io.EOF when the node has stopped.
	Next(ctx context.Context) ([]*slotdv1.Event, error)

	// Position is the id to go on after for a client that has had everything from this cursor so far. It moves also while
	// nothing matches.
	Position() string

	// Close gives the place up. It must be called exactly once.
	Close()
}
