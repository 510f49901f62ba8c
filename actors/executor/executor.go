// Package executor keeps what runs on this node: attempts by task id and attempt number, their processes and where
// their output goes. It decides nothing about policy: it starts, stops and kills what the owner of an attempt (a task
// actor) asks it to, and remembers how an attempt ended until the owner has made that durable. So an owner's actor may
// be rebuilt, or may move, while its attempt goes on: the new one attaches.
//
// One actor per node. Every attempt has one goroutine, which starts the process, waits for it and reports to the
// actor; nothing blocks in Receive. [Executor.Wait] returns when all these goroutines have.
//
// Ordering: an owner hears AttemptStarted before AttemptExited, each at most once for every StartAttempt or
// AttachAttempt, and once more when a bug made the actor lose its message and hear it again. Every message may be heard
// again. Invariants: 1 (a permit and a live attempt are the same entry), 5, 7, 8.
package executor

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/hashicorp/go-hclog"

	"slotd/actors/runner"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// Output takes what attempts write. A writer never blocks on a reader; Close flushes what has no newline yet.
type Output interface {
	Writer(task string, attempt uint32, stream soltiv1.OutputStreamKind) io.WriteCloser
}

// Config is what the executor needs.
type Config struct {
	Node       string
	Router     *runner.Router
	Output     Output
	MaxRunning int // attempts at a time; 0 = no limit
	Logger     hclog.Logger
}

// Executor is the table of attempts and the counters that others may read.
type Executor struct {
	cfg      Config
	attempts map[key]*attempt
	queue    []*waiting       // owners that wait for a permit, longest first
	waiting  map[key]*waiting // those of them that still want it
	held     int              // permits given out
	routines sync.WaitGroup

	running, waits, started atomic.Int64
}

// New makes an executor, which is the one actor of its table. The table outlives a panic of a handler: spawn it with a
// producer that returns it again, and a strategy that resumes.
func New(cfg Config) *Executor {
	return &Executor{cfg: cfg, attempts: make(map[key]*attempt), waiting: make(map[key]*waiting)}
}

// Wait returns when no goroutine of an attempt is left.
func (e *Executor) Wait() { e.routines.Wait() }

// Stats is a snapshot for introspection.
type Stats struct {
	Running int64 // attempts with a process, or about to have one
	Waiting int64 // attempts that wait for a permit
	Started int64 // since the node started
}

// Stats may be called from any goroutine.
func (e *Executor) Stats() Stats {
	return Stats{Running: e.running.Load(), Waiting: e.waits.Load(), Started: e.started.Load()}
}

// key names an attempt.
type key struct {
	task   string
	number uint32
}

// waiting is an owner in the queue for permits.
type waiting struct {
	key
	owner *actor.PID
}

// attempt is one entry of the table, from the permit to the moment its end is durable.
type attempt struct {
	owner   *actor.PID
	cancel  context.CancelFunc // gives up a start under way
	process runner.Process     // nil until it runs
	started int64              // Unix ms; 0 until it runs
	end     *slotdv1.AttemptExited
	stopped bool // Stop came before the process
	killed  bool // Kill came before the process
	permit  bool // counts against MaxRunning
}

// begun: it is more than a permit.
func (a *attempt) begun() bool { return a.cancel != nil || a.end != nil }

// What an attempt's goroutine reports.
type (
	launched struct {
		key
		process runner.Process
		at      int64
	}
	ended struct {
		key
		exit *slotdv1.AttemptExited
	}
	killAll struct{}
	allTold struct{}
)

// KillAll is the message that kills every attempt; their owners are told as usual. It is answered once all have been
// told to end, so what was asked for before it has been started, and [Executor.Wait] waits for it.
func KillAll() any { return &killAll{} }

// Receive implements actor.Actor.
func (e *Executor) Receive(c actor.Context) {
	switch msg := c.Message().(type) {
	case *slotdv1.Acquire:
		e.acquire(c, key{msg.GetTaskId(), msg.GetAttempt()})
	case *slotdv1.StartAttempt:
		e.start(c, msg)
	case *slotdv1.AttachAttempt:
		e.attach(c, msg)
	case *slotdv1.StopAttempt:
		e.stop(key{msg.GetTaskId(), msg.GetAttempt()})
	case *slotdv1.KillAttempt:
		e.kill(key{msg.GetTaskId(), msg.GetAttempt()})
	case *slotdv1.ForgetAttempt:
		e.forget(c, key{msg.GetTaskId(), msg.GetAttempt()})
	case *launched:
		e.launched(c, msg)
	case *ended:
		e.ended(c, msg)
	case *killAll:
		e.killAll(c)
	}
}

// acquire may be repeated: an owner that failed may not have given back what it had, and its successor takes that over.
func (e *Executor) acquire(c actor.Context, k key) {
	if a := e.attempts[k]; a != nil {
		a.owner = c.Sender()
		c.Send(a.owner, &slotdv1.Granted{TaskId: k.task, Attempt: k.number})
		return
	}
	if w := e.waiting[k]; w != nil {
		w.owner = c.Sender()
		return
	}
	if e.cfg.MaxRunning > 0 && e.held >= e.cfg.MaxRunning {
		w := &waiting{k, c.Sender()}
		e.queue, e.waiting[k] = append(e.queue, w), w
		e.waits.Store(int64(len(e.waiting)))
		return
	}
	e.grant(c, k, c.Sender())
}

func (e *Executor) grant(c actor.Context, k key, owner *actor.PID) {
	e.held++
	e.attempts[k] = &attempt{owner: owner, permit: true}
	c.Send(owner, &slotdv1.Granted{TaskId: k.task, Attempt: k.number})
}

// release gives a permit back and passes it on.
func (e *Executor) release(c actor.Context, a *attempt) {
	if !a.permit {
		return
	}
	a.permit = false
	e.held--
	for len(e.queue) > 0 && e.held < e.cfg.MaxRunning {
		next := e.queue[0]
		e.queue = e.queue[1:]
		if e.waiting[next.key] == next {
			delete(e.waiting, next.key)
			e.grant(c, next.key, next.owner)
		}
	}
	e.waits.Store(int64(len(e.waiting)))
}

func (e *Executor) start(c actor.Context, msg *slotdv1.StartAttempt) {
	k := key{msg.GetTaskId(), msg.GetAttempt()}
	a := e.attempts[k]
	switch {
	case a == nil: // an owner that needs no permit
		a = &attempt{owner: c.Sender()}
		e.attempts[k] = a
	case a.begun(): // an owner that lost its memory
		e.adopt(c, k, a)
		return
	}
	a.owner = c.Sender()
	ctx, cancel := context.WithCancel(context.Background())
	a.cancel = cancel
	e.started.Add(1)
	e.running.Add(1)
	self, root := c.Self(), c.ActorSystem().Root
	e.routines.Go(func() {
		defer cancel()
		exit := e.run(ctx, k, msg.GetSpec(), func(p runner.Process, at int64) { root.Send(self, &launched{k, p, at}) })
		e.running.Add(-1) // whoever hears of the end finds it so
		root.Send(self, &ended{k, exit})
	})
}

// run is the life of one attempt, on its own goroutine.
func (e *Executor) run(ctx context.Context, k key, spec *soltiv1.CreateSpec, up func(runner.Process, int64)) *slotdv1.AttemptExited {
	exit := &slotdv1.AttemptExited{TaskId: k.task, Attempt: k.number}
	chosen, rejection := e.cfg.Router.Pick(spec)
	if rejection != nil {
		exit.Kind, exit.Error = slotdv1.ExitKind_EXIT_KIND_UNAVAILABLE, rejection.GetMessage()
		exit.At = time.Now().UnixMilli()
		return exit
	}
	stdout := e.cfg.Output.Writer(k.task, k.number, soltiv1.OutputStreamKind_OUTPUT_STREAM_KIND_STDOUT)
	stderr := e.cfg.Output.Writer(k.task, k.number, soltiv1.OutputStreamKind_OUTPUT_STREAM_KIND_STDERR)
	process, err := chosen.Start(ctx, runner.Attempt{
		TaskID: k.task, Number: k.number, Slot: spec.GetSlot(), Node: e.cfg.Node, Spec: spec,
		Stdout: stdout, Stderr: stderr,
	})
	if err != nil {
		unstarted(exit, err)
	} else {
		up(process, time.Now().UnixMilli())
		reaped(exit, process.Wait())
	}
	for _, w := range []io.Closer{stdout, stderr} {
		if err := w.Close(); err != nil {
			e.cfg.Logger.Warn("output not flushed", "task_id", k.task, "attempt", k.number, "error", err)
		}
	}
	exit.At = time.Now().UnixMilli()
	return exit
}

// unstarted: what a runner says may quote a path of any bytes, and records are UTF-8.
func unstarted(exit *slotdv1.AttemptExited, err error) {
	exit.Error = strings.ToValidUTF8(err.Error(), "\ufffd")
	if never, ok := errors.AsType[*runner.SpawnError](err); ok {
		exit.Kind, exit.ExitCode = slotdv1.ExitKind_EXIT_KIND_SPAWN_FAILED, int32(never.Code)
		return
	}
	exit.Kind = slotdv1.ExitKind_EXIT_KIND_UNAVAILABLE
}

func reaped(exit *slotdv1.AttemptExited, end runner.Exit) {
	exit.OutOfMemory = end.OutOfMemory
	if end.Signal != 0 {
		exit.Kind, exit.Signal = slotdv1.ExitKind_EXIT_KIND_SIGNALED, int32(end.Signal)
		return
	}
	exit.Kind, exit.ExitCode = slotdv1.ExitKind_EXIT_KIND_EXITED, int32(end.Code)
}

func (e *Executor) attach(c actor.Context, msg *slotdv1.AttachAttempt) {
	k := key{msg.GetTaskId(), msg.GetAttempt()}
	switch a := e.attempts[k]; {
	case a != nil && a.begun():
		e.adopt(c, k, a)
	case msg.GetSpec() != nil:
		e.start(c, &slotdv1.StartAttempt{TaskId: k.task, Attempt: k.number, Spec: msg.GetSpec()})
	default: // unknown, or only a permit: it never started
		c.Send(c.Sender(), &slotdv1.AttemptExited{
			TaskId: k.task, Attempt: k.number, Kind: slotdv1.ExitKind_EXIT_KIND_LOST, At: time.Now().UnixMilli(),
		})
	}
}

// adopt tells a new owner what the old one may have been told.
func (e *Executor) adopt(c actor.Context, k key, a *attempt) {
	a.owner = c.Sender()
	if a.started != 0 {
		c.Send(a.owner, &slotdv1.AttemptStarted{TaskId: k.task, Attempt: k.number, At: a.started})
	}
	if a.end != nil {
		c.Send(a.owner, a.end)
	}
}

func (e *Executor) launched(c actor.Context, msg *launched) {
	a := e.attempts[msg.key]
	if a == nil { // forgotten while it started: nobody wants it any more
		msg.process.Kill()
		return
	}
	a.process, a.started = msg.process, msg.at
	switch {
	case a.killed:
		a.process.Kill()
	case a.stopped:
		a.process.Stop()
	}
	c.Send(a.owner, &slotdv1.AttemptStarted{TaskId: msg.task, Attempt: msg.number, At: msg.at})
}

func (e *Executor) ended(c actor.Context, msg *ended) {
	a := e.attempts[msg.key]
	if a == nil {
		return
	}
	a.end, a.process = msg.exit, nil
	e.release(c, a)
	c.Send(a.owner, a.end)
}

// stop before the process exists is remembered; a start under way is not given up for it, so that a process that is
// about to run is told in the ordinary way.
func (e *Executor) stop(k key) {
	a := e.attempts[k]
	switch {
	case a == nil:
	case a.process != nil:
		a.process.Stop()
	default:
		a.stopped = true
	}
}

func (e *Executor) kill(k key) {
	a := e.attempts[k]
	if a == nil {
		return
	}
	a.killed = true
	if a.cancel != nil {
		a.cancel()
	}
	if a.process != nil {
		a.process.Kill()
	}
}

func (e *Executor) killAll(c actor.Context) {
	for k := range e.attempts {
		e.kill(k)
	}
	if c.Sender() != nil {
		c.Respond(&allTold{})
	}
}

// forget also takes back a permit, or a place in the queue for one, that its owner no longer wants.
func (e *Executor) forget(c actor.Context, k key) {
	if a := e.attempts[k]; a != nil {
		if a.cancel != nil && a.end == nil {
			return // it runs: its end is what its owner has to make durable first
		}
		delete(e.attempts, k)
		e.release(c, a)
		return
	}
	delete(e.waiting, k)
	e.waits.Store(int64(len(e.waiting)))
	if len(e.queue) > 2*len(e.waiting) { // a long wait, and many who gave up
		e.queue = slices.DeleteFunc(e.queue, func(w *waiting) bool { return e.waiting[w.key] != w })
	}
}
