package actors

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/hashicorp/go-hclog"

	"slotd/actors/failpoint"
)

// Every supervision strategy of slotd is here. A panic is a bug, never a failed attempt: restarts of attempts are the
// task's policy and have nothing to do with it. None of these strategies counts or delays; who rebuilds does.
var (
	// stopOnPanic is the strategy of a parent that sees its child's end and makes it again from the store: registry →
	// slot, slot → task.
	stopOnPanic = actor.NewOneForOneStrategy(0, 0, func(any) actor.Directive { return actor.StopDirective })

	// restartOnPanic is the registry's and the retention's own: they begin again, with what the store knows. The registry
	// stops its slots first.
	restartOnPanic = endless{}

	// resumeOnPanic is the executor's own: the executor's table is the only knowledge of what runs
	// here, so it must outlive a bug in one handler. The message is heard again, because nobody says it twice: without the
	// report of an exit its slot would be held for ever.
	resumeOnPanic = insistent{}
)

// endless applies one directive however often a child fails: the library's strategies stop a child for good after a
// number of failures, and a node without its registry is of no use.
type endless struct{}

// HandleFailure implements actor.SupervisorStrategy.
func (endless) HandleFailure(_ *actor.ActorSystem, supervisor actor.Supervisor, child *actor.PID, _ *actor.RestartStatistics, _, _ any) {
	supervisor.RestartChildren(child)
}

// insistent resumes, and lets the child hear the message again, behind what waits, unless it fails all the time.
type insistent struct{}

// A child that has failed so often within so long does not hear its message again.
const (
	insistence = 10
	patience   = time.Second
)

// HandleFailure implements actor.SupervisorStrategy.
func (insistent) HandleFailure(system *actor.ActorSystem, supervisor actor.Supervisor, child *actor.PID, stats *actor.RestartStatistics, _, message any) {
	stats.Fail()
	if stats.NumberOfFailures(patience) <= insistence {
		switch msg := message.(type) {
		case *actor.MessageEnvelope:
			system.Root.RequestWithCustomSender(child, msg.Message, msg.Sender)
		case actor.SystemMessage, actor.AutoReceiveMessage: // the runtime's own are not repeated
		default:
			system.Root.Send(child, msg)
		}
	}
	supervisor.ResumeChildren(child)
}

// traced logs a panic of an actor with its stack, which the runtime does not, and lets it go on to the supervisor. It
// wraps the actor because a middleware of the runtime would cost an allocation for each message.
type traced struct {
	actor.Actor

	logger   hclog.Logger
	stopping bool
}

// Receive implements actor.Actor.
func (t *traced) Receive(c actor.Context) {
	defer t.trace(c)
	if _, stopping := c.Message().(*actor.Stopping); stopping {
		t.stopping = true
	}
	if failpoint.Enabled {
		name := fmt.Sprintf("%T/%T", t.Actor, c.Message())
		failpoint.Hit("actor/" + strings.ReplaceAll(name, "*", ""))
		defer failpoint.Hit("actor-after/" + strings.ReplaceAll(name, "*", ""))
	}
	t.Actor.Receive(c)
}

// Unwrap returns the actor itself.
func (t *traced) Unwrap() actor.Actor { return t.Actor }

func (t *traced) trace(c actor.Context) {
	if cause := recover(); cause != nil {
		t.logger.Error("actor panicked", "actor", c.Self().GetId(), "message", fmt.Sprintf("%T", c.Message()),
			"cause", fmt.Sprint(cause), "stack", string(debug.Stack()))
		if t.stopping { // the runtime would never end it, nor tell its parent; nothing of it is needed any more
			return
		}
		panic(cause)
	}
}

// runtimeLog gives the actor runtime's own log to hclog.
type runtimeLog struct {
	logger hclog.Logger
	prefix string // of attribute keys, from groups
}

func (h runtimeLog) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && severity(level) >= h.logger.GetLevel()
}

func (h runtimeLog) Handle(_ context.Context, r slog.Record) error {
	args := make([]any, 0, 2*r.NumAttrs())
	r.Attrs(func(a slog.Attr) bool {
		args = append(args, h.prefix+a.Key, a.Value.Resolve().String())
		return true
	})
	h.logger.Log(severity(r.Level), r.Message, args...)
	return nil
}

func (h runtimeLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	args := make([]any, 0, 2*len(attrs))
	for _, a := range attrs {
		args = append(args, h.prefix+a.Key, a.Value.Resolve().String())
	}
	return runtimeLog{h.logger.With(args...), h.prefix}
}

func (h runtimeLog) WithGroup(name string) slog.Handler {
	return runtimeLog{h.logger, h.prefix + name + "."}
}

func severity(level slog.Level) hclog.Level {
	switch {
	case level >= slog.LevelError:
		return hclog.Error
	case level >= slog.LevelWarn:
		return hclog.Warn
	case level >= slog.LevelInfo:
		return hclog.Info
	default:
		return hclog.Debug
	}
}
