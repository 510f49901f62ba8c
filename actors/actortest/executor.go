package actortest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	slotdv1 "slotd/messages/slotd/v1"
)

// Executor is an executor without processes: an attempt runs from its start until it is told to end, or until [End].
type Executor struct {
	Deaf     atomic.Bool // to StopAttempt: only a kill helps
	Withhold atomic.Bool // no permits

	mu       sync.Mutex
	lines    []string
	attempts map[string]*attempt
}

type attempt struct {
	owner *actor.PID
	end   *slotdv1.AttemptExited
}

// End is sent to the executor's actor: the attempt ends by itself with that code.
type End struct {
	Task    string
	Attempt uint32
	Code    int32
}

// Props makes the one actor of this executor.
func (e *Executor) Props() *actor.Props {
	e.attempts = make(map[string]*attempt)
	return actor.PropsFromProducer(func() actor.Actor { return e })
}

// Log is what it was asked for, in the order of arrival: "start a/1".
func (e *Executor) Log() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.lines)
}

// Count counts the entries of the log that begin with verb.
func (e *Executor) Count(verb string) int {
	n := 0
	for _, line := range e.Log() {
		if strings.HasPrefix(line, verb+" ") {
			n++
		}
	}
	return n
}

// Remembered counts the attempts that have not been forgotten.
func (e *Executor) Remembered() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.attempts)
}

// Receive implements actor.Actor.
func (e *Executor) Receive(c actor.Context) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch msg := c.Message().(type) {
	case *slotdv1.Acquire:
		if e.attempts[e.log("acquire", msg)] = (&attempt{}); !e.Withhold.Load() {
			c.Send(c.Sender(), &slotdv1.Granted{TaskId: msg.GetTaskId(), Attempt: msg.GetAttempt()})
		}
	case *slotdv1.StartAttempt:
		e.attempts[e.log("start", msg)] = &attempt{owner: c.Sender()}
		c.Send(c.Sender(), started(msg))
	case *slotdv1.AttachAttempt:
		e.attach(c, msg)
	case *slotdv1.StopAttempt:
		if key := e.log("stop", msg); !e.Deaf.Load() {
			e.exit(c, key, exited(msg, slotdv1.ExitKind_EXIT_KIND_SIGNALED, 15))
		}
	case *slotdv1.KillAttempt:
		e.exit(c, e.log("kill", msg), exited(msg, slotdv1.ExitKind_EXIT_KIND_SIGNALED, 9))
	case *slotdv1.ForgetAttempt:
		delete(e.attempts, e.log("forget", msg))
	case *End:
		named := &slotdv1.AttemptExited{TaskId: msg.Task, Attempt: msg.Attempt}
		e.exit(c, e.log("end", named), exited(named, slotdv1.ExitKind_EXIT_KIND_EXITED, msg.Code))
	}
}

func (e *Executor) attach(c actor.Context, msg *slotdv1.AttachAttempt) {
	key := e.log("attach", msg)
	a := e.attempts[key]
	switch {
	case (a == nil || a.owner == nil) && msg.GetSpec() != nil: // of this life
		e.attempts[key] = &attempt{owner: c.Sender()}
		c.Send(c.Sender(), started(msg))
	case a == nil || a.owner == nil:
		c.Send(c.Sender(), exited(msg, slotdv1.ExitKind_EXIT_KIND_LOST, 0))
	case a.end != nil:
		c.Send(c.Sender(), a.end)
	default:
		a.owner = c.Sender()
		c.Send(a.owner, started(msg))
	}
}

func (e *Executor) exit(c actor.Context, key string, end *slotdv1.AttemptExited) {
	if a := e.attempts[key]; a != nil && a.owner != nil && a.end == nil {
		a.end = end
		c.Send(a.owner, end)
	}
}

// named is what all messages about an attempt have in common.
type named interface {
	GetTaskId() string
	GetAttempt() uint32
}

func (e *Executor) log(verb string, msg named) string {
	key := fmt.Sprintf("%s/%d", msg.GetTaskId(), msg.GetAttempt())
	e.lines = append(e.lines, verb+" "+key)
	return key
}

func started(msg named) *slotdv1.AttemptStarted {
	return &slotdv1.AttemptStarted{TaskId: msg.GetTaskId(), Attempt: msg.GetAttempt(), At: time.Now().UnixMilli()}
}

func exited(msg named, kind slotdv1.ExitKind, n int32) *slotdv1.AttemptExited {
	end := &slotdv1.AttemptExited{TaskId: msg.GetTaskId(), Attempt: msg.GetAttempt(), Kind: kind, At: time.Now().UnixMilli()}
	if kind == slotdv1.ExitKind_EXIT_KIND_SIGNALED {
		end.Signal = n
	} else {
		end.ExitCode = n
	}
	return end
}
