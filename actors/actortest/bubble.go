// Package actortest holds what tests of actors share: a bubble with an actor system on a fake clock, a store whose
// commits wait or fail when a test says so, and an executor without processes.
//
// Everything here is made and used inside one bubble.
package actortest

import (
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// StopOnPanic is the strategy of a parent that sees its child's end and makes it again.
var StopOnPanic = actor.NewOneForOneStrategy(0, 0, func(any) actor.Directive { return actor.StopDirective })

// Bubble runs body with a live actor system on a fake clock, and takes the system down. What body spawned it stops
// itself, see [Stop].
func Bubble(t *testing.T, body func(t *testing.T, sys *actor.ActorSystem)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		sys := actor.NewActorSystem(
			actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger {
				return slog.New(slog.NewTextHandler(io.Discard, nil))
			}),
			actor.WithDeadLetterRequestLogging(false),
		)
		defer func() {
			sys.Shutdown()
			time.Sleep(2 * sys.Config.DeadLetterThrottleInterval) // its goroutines must end in the bubble
			synctest.Wait()
		}()
		body(t, sys)
	})
}

// Stop stops actors, one after the other, and waits for the end of each.
func Stop(t *testing.T, sys *actor.ActorSystem, pids ...*actor.PID) {
	t.Helper()
	for _, pid := range pids {
		if err := sys.Root.StopFuture(pid).Wait(); err != nil {
			t.Errorf("stop %s: %v", pid.GetId(), err)
		}
	}
}

// Ask sends a command and waits for its answer, at most an hour of the bubble's time.
func Ask(t *testing.T, sys *actor.ActorSystem, pid *actor.PID, msg any) any {
	t.Helper()
	return Await(t, sys.Root.RequestFuture(pid, msg, time.Hour))
}

// Await returns the answer of a future.
func Await(t *testing.T, f *actor.Future) any {
	t.Helper()
	answer, err := f.Result()
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	return answer
}

// Looks is a middleware of an actor that [Look] looks into.
func Looks(next actor.ReceiverFunc) actor.ReceiverFunc {
	return func(c actor.ReceiverContext, envelope *actor.MessageEnvelope) {
		if l, ok := envelope.Message.(*look); ok {
			l.at()
			close(l.done)
			return
		}
		next(c, envelope)
	}
}

type look struct {
	at   func()
	done chan struct{}
}

// Look runs f in the actor's own turn, after all that was sent to it before.
func Look(sys *actor.ActorSystem, pid *actor.PID, f func()) {
	l := &look{f, make(chan struct{})}
	sys.Root.Send(pid, l)
	<-l.done
}

// Inbox collects what is sent to its actor, but for what the runtime itself says.
type Inbox struct {
	mu       sync.Mutex
	messages []any
}

// Messages returns what has come so far.
func (i *Inbox) Messages() []any {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.messages)
}

// Receive implements actor.Actor.
func (i *Inbox) Receive(c actor.Context) {
	switch msg := c.Message().(type) {
	case actor.SystemMessage, actor.AutoReceiveMessage:
	default:
		i.mu.Lock()
		defer i.mu.Unlock()
		i.messages = append(i.messages, msg)
	}
}
