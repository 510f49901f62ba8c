// Package task decides what happens next to one task: attempt, timeout, restart, backoff, stop.
//
// The decisions live in [Task.Step], which knows no clock, goroutine or I/O; actor.go translates messages into events
// and performs the effects. A task does not know its slot's queue, never frees the slot itself and owns no process:
// it hands its outcome to the slot (its parent), which commits it together with the slot's own next step, and it asks
// the executor to start, stop and kill attempts.
//
// Obligations of whoever performs the effects: a Record is durable before any Start, Forget, Park or Finish that comes
// after it; Term, Kill and Arm are performed at once. So a Term or Kill may overtake the Start it is meant for: an attempt
// that was told to end before its Start could be performed is not started, but Exited. There is one timer: Arm
// replaces it.
//
// Invariants: 3 (durable before started), 4 (one outcome; a run opened is closed exactly once), 5 (late words).
package task

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// Phase is where a task is in its life.
type Phase uint8

// A task moves forward, except for the loop Ready → Running → Waiting → Ready. Stopping joins it when a timeout is
// retried, or when the daemon stops and the task goes on in its next life.
const (
	Ready    Phase = iota // may start as soon as the node lets it
	Running               // an attempt is under way
	Waiting               // between attempts; the timer leads to the next one
	Stopping              // the attempt was told to end and is not reaped yet
	Finished              // the outcome is decided
)

func (p Phase) String() string {
	return [...]string{"Ready", "Running", "Waiting", "Stopping", "Finished"}[p]
}

// edges is the whole diagram; become panics on anything else.
var edges = map[Phase][]Phase{
	Ready:    {Running, Finished},
	Running:  {Waiting, Stopping, Finished},
	Waiting:  {Ready, Finished},
	Stopping: {Ready, Waiting, Finished},
}

// Timer tells the three uses of the task's timer apart.
type Timer uint8

// The timer of a running attempt is its deadline, of a stopping one the end of its grace, of a waiting task the
// start of the next attempt.
const (
	Deadline Timer = iota
	Grace
	Backoff
)

func (t Timer) String() string { return [...]string{"deadline", "grace", "backoff"}[t] }

// What happened. Everything late names its attempt: an exit, a permit or a timer can outlive the attempt it belongs
// to, and its word then counts for nothing.
//
//nolint:revive // the comment is the group's
type (
	Event   interface{ event() }
	Resumed struct{}                 // the actor (re)started, with whatever the store knew
	Granted struct{ Attempt uint32 } // the node lets the attempt run
	Started struct {                 // its process runs
		Attempt uint32
		At      time.Time
	}
	Exited struct { // its process tree is dead and reaped
		Attempt uint32
		Exit    *slotdv1.AttemptExited
	}
	Elapsed struct { // the timer armed for it ran out
		Attempt uint32
		Timer   Timer
	}
	Stop struct { // the task must end
		Cause messages.Reason
		Grace *time.Duration // replaces the spec's when shorter; 0 kills at once
		Keep  bool           // the daemon stops: only the attempt must end, and none follows in this life
	}
)

// What must be done, in order.
//
//nolint:revive // the comment is the group's
type (
	Effect interface{ effect() }
	Record struct { // make the state durable, and the run when there is one
		State State
		Run   *Run
	}
	Acquire struct{ Attempt uint32 } // ask the node for the right to run it
	Start   struct{ Attempt uint32 }
	Attach  struct{ Attempt uint32 } // own an attempt that may still run
	Term    struct{ Attempt uint32 }
	Kill    struct{ Attempt uint32 }
	Arm     struct {
		Attempt uint32
		Timer   Timer
		At      time.Time
	}
	Forget struct{ Attempt uint32 } // the attempt's end is durable, or it will never start
	Finish struct {                 // hand the outcome to the slot, which records it
		State State
		Run   *Run
	}
	Park struct{} // tell the slot that nothing follows in this life, and that the next one knows it all
)

// State is all a restart needs; it is what the store keeps.
type State struct {
	Phase    Phase
	Attempt  uint32          // attempts begun: 1-based, never reset
	Failures uint32          // failures in a row that count against the retry budget
	Started  time.Time       // of the present or last attempt
	Until    time.Time       // Waiting: when the next attempt is due
	Cause    messages.Reason // Stopping: why the attempt is being stopped
	End      messages.Reason // Stopping: the reason the task ends with; empty = the policy decides
	Shown    Shown
}

// Shown is what clients see of a state or of a run.
type Shown struct {
	Status   soltiv1.TaskStatus
	Reason   messages.Reason
	Error    string
	ExitCode *int32
	Signal   *int32
}

// Run is the record of one attempt; Finished is zero while it is under way.
type Run struct {
	Attempt           uint32
	Started, Finished time.Time
	Shown             Shown
}

// Task is the state machine of one task.
type Task struct {
	state  State
	spec   *soltiv1.CreateSpec // shared, never changed
	rand   *rand.Rand          // jitter; nil until first needed, seeded by seed
	seed   uint64
	stopBy time.Time // Stopping: when the grace ends
	kept   bool      // the daemon stops: no attempt follows in this life
}

// New makes a task's machine from what the store knows. The seed decides the jitter.
func New(spec *soltiv1.CreateSpec, state State, seed uint64) Task {
	return Task{state: state, spec: spec, seed: seed}
}

// State returns the present state.
func (t *Task) State() State { return t.state }

// Step applies one event and says what must be done about it.
func (t *Task) Step(now time.Time, ev Event) []Effect {
	switch ev := ev.(type) {
	case Resumed:
		return t.resumed(now)
	case Granted:
		return t.granted(now, ev)
	case Started:
		return t.started(ev)
	case Exited:
		return t.exited(now, ev)
	case Elapsed:
		return t.elapsed(now, ev)
	case Stop:
		return t.stop(now, ev)
	default:
		panic(fmt.Sprintf("task: unknown event %T", ev))
	}
}

// resumed makes first start and recovery one path.
func (t *Task) resumed(now time.Time) []Effect {
	switch t.state.Phase {
	case Ready:
		return append([]Effect{Acquire{t.state.Attempt + 1}}, t.forget()...)
	case Waiting:
		return append([]Effect{Arm{t.state.Attempt, Backoff, t.state.Until}}, t.forget()...)
	case Running:
		return []Effect{Attach{t.state.Attempt}}
	case Stopping: // the stop may have been lost with the old actor; saying it again does no harm
		t.stopBy = now.Add(t.grace(nil))
		return []Effect{Attach{t.state.Attempt}, Term{t.state.Attempt}, Arm{t.state.Attempt, Grace, t.stopBy}}
	default:
		return []Effect{Finish{State: t.state}}
	}
}

// forget lets go of the last attempt, whose end is recorded: the old actor may have had no time to.
func (t *Task) forget() []Effect {
	if t.state.Attempt == 0 {
		return nil
	}
	return []Effect{Forget{t.state.Attempt}}
}

func (t *Task) granted(now time.Time, ev Granted) []Effect {
	switch {
	case ev.Attempt == t.state.Attempt:
		return nil // said twice: the permit is in use, or has gone back with the attempt
	case t.kept || t.state.Phase != Ready || ev.Attempt != t.state.Attempt+1:
		return []Effect{Forget(ev)} // a permit that nobody wants any more goes back
	}
	t.state.Attempt = ev.Attempt
	t.state.Started, t.state.Until = now, time.Time{}
	t.state.Shown = Shown{Status: soltiv1.TaskStatus_TASK_STATUS_RUNNING}
	t.become(Running)
	return []Effect{Record{t.state, t.run(t.state.Shown, time.Time{})}, Start(ev)}
}

// started begins the attempt's time; before that, nothing of it could have used any.
func (t *Task) started(ev Started) []Effect {
	if t.state.Phase != Running || ev.Attempt != t.state.Attempt {
		return nil
	}
	return []Effect{Arm{ev.Attempt, Deadline, ev.At.Add(ms(t.spec.GetTimeoutMs()))}}
}

func (t *Task) elapsed(now time.Time, ev Elapsed) []Effect {
	if ev.Attempt != t.state.Attempt {
		return nil // stopping a timer cannot recall a message already in the mailbox
	}
	switch {
	case t.state.Phase == Running && ev.Timer == Deadline:
		return t.halt(now, messages.ReasonTimedOut, "", t.grace(nil))
	case t.state.Phase == Stopping && ev.Timer == Grace && !now.Before(t.stopBy):
		return []Effect{Kill{ev.Attempt}}
	case t.state.Phase == Waiting && ev.Timer == Backoff && !t.kept:
		t.become(Ready)
		return []Effect{Acquire{t.state.Attempt + 1}}
	default:
		return nil
	}
}

func (t *Task) stop(now time.Time, ev Stop) []Effect {
	if ev.Keep {
		return t.keep(now, ev)
	}
	switch t.state.Phase {
	case Ready:
		effects := append(t.forget(), Forget{t.state.Attempt + 1})
		return append(effects, t.finish(canceled(ev.Cause), nil)...)
	case Waiting:
		return t.finish(canceled(ev.Cause), nil)
	case Running:
		return t.halt(now, ev.Cause, ev.Cause, t.grace(ev.Grace))
	case Stopping:
		return t.hasten(now, ev)
	default:
		return nil // it has ended already
	}
}

// keep ends what runs, and leaves the rest to the next life.
func (t *Task) keep(now time.Time, ev Stop) []Effect {
	t.kept = true
	switch t.state.Phase {
	case Ready:
		return append(t.forget(), Forget{t.state.Attempt + 1}, Park{})
	case Waiting:
		return []Effect{Park{}}
	case Running:
		return t.halt(now, ev.Cause, "", t.grace(ev.Grace))
	case Stopping:
		return t.shorten(now, ev.Grace)
	default:
		return nil
	}
}

// halt tells the running attempt to end.
func (t *Task) halt(now time.Time, cause, end messages.Reason, grace time.Duration) []Effect {
	t.become(Stopping)
	t.state.Cause, t.state.End = cause, end
	t.stopBy = now.Add(grace)
	if grace <= 0 {
		return []Effect{Record{State: t.state}, Kill{t.state.Attempt}}
	}
	return []Effect{Record{State: t.state}, Term{t.state.Attempt}, Arm{t.state.Attempt, Grace, t.stopBy}}
}

// hasten is a stop of what is stopping already: the first cause decides the run, the first of cancel, delete and
// replace decides the task, and the shortest grace holds.
func (t *Task) hasten(now time.Time, ev Stop) []Effect {
	var effects []Effect
	if t.state.End == "" || (t.state.End == messages.ReasonShutdown && ev.Cause != messages.ReasonShutdown) {
		t.state.End = ev.Cause
		effects = append(effects, Record{State: t.state})
	}
	return append(effects, t.shorten(now, ev.Grace)...)
}

// shorten lets the grace under way end earlier.
func (t *Task) shorten(now time.Time, grace *time.Duration) []Effect {
	if grace == nil {
		return nil
	}
	by := now.Add(*grace)
	if !by.Before(t.stopBy) {
		return nil
	}
	t.stopBy = by
	if *grace <= 0 {
		return []Effect{Kill{t.state.Attempt}}
	}
	return []Effect{Arm{t.state.Attempt, Grace, by}}
}

func (t *Task) exited(now time.Time, ev Exited) []Effect {
	if ev.Attempt != t.state.Attempt {
		return nil // a late word from an attempt already written off
	}
	switch t.state.Phase {
	case Running:
		return t.ended(now, messages.Judge(t.spec, ev.Exit))
	case Stopping: // the stop came first, so it wins over whatever the process made of it
		return t.ended(now, messages.JudgeStopped(t.spec, t.state.Cause))
	default:
		return nil
	}
}

// ended closes the run and decides what follows it.
func (t *Task) ended(now time.Time, v messages.Verdict) []Effect {
	shown := Shown{Status: v.Status, Reason: v.Reason, Error: v.Error, ExitCode: v.ExitCode, Signal: v.Signal}
	run, cause, end := t.run(shown, now), t.state.Cause, t.state.End
	t.state.Cause, t.state.End = "", ""
	if end != "" {
		return t.finish(canceled(end), run)
	}
	if cause == messages.ReasonShutdown {
		return t.interrupted(shown, run)
	}
	switch {
	case !v.Failed():
		t.state.Failures = 0
	case !v.Free:
		t.state.Failures++
	}
	policy := messages.RestartOf(t.spec)
	switch policy.After(v, t.state.Failures) {
	case messages.Repeat:
		return t.wait(policy.RepeatAt(t.state.Started, now), shown, run)
	case messages.Retry:
		return t.wait(now.Add(t.delay()), shown, run)
	case messages.EndExhausted:
		shown.Status, shown.Reason = soltiv1.TaskStatus_TASK_STATUS_EXHAUSTED, messages.ReasonRetriesExhausted
	case messages.End: // as it is shown
	}
	return t.finish(shown, run)
}

// interrupted: the daemon's end is no failure of the task. What the policy repeats goes on at once in the next life;
// when the daemon did not live to see this moment, that is now.
func (t *Task) interrupted(shown Shown, run *Run) []Effect {
	if t.spec.GetRestart() == soltiv1.RestartStrategy_RESTART_STRATEGY_NEVER {
		return t.finish(shown, run)
	}
	t.become(Ready)
	t.state.Shown = shown
	effects := []Effect{Record{t.state, run}, Forget{t.state.Attempt}}
	if t.kept {
		return append(effects, Park{})
	}
	return append(effects, Acquire{t.state.Attempt + 1})
}

func (t *Task) wait(until time.Time, shown Shown, run *Run) []Effect {
	t.become(Waiting)
	t.state.Until, t.state.Shown = until, shown
	effects := []Effect{Record{t.state, run}, Arm{t.state.Attempt, Backoff, until}, Forget{t.state.Attempt}}
	if t.kept {
		effects = append(effects, Park{})
	}
	return effects
}

func (t *Task) finish(shown Shown, run *Run) []Effect {
	t.become(Finished)
	t.state.Until, t.state.Shown = time.Time{}, shown
	return []Effect{Finish{t.state, run}}
}

// delay is the backoff after the present failure; one step even when the failure was free of charge.
func (t *Task) delay() time.Duration {
	if t.rand == nil {
		t.rand = rand.New(rand.NewPCG(t.seed, uint64(t.state.Attempt)))
	}
	return messages.BackoffOf(t.spec).Delay(max(t.state.Failures, 1)-1, t.rand)
}

// grace is the spec's stop grace, or the shorter one that was asked for.
func (t *Task) grace(asked *time.Duration) time.Duration {
	grace := ms(t.spec.GetStopGraceMs())
	if asked != nil {
		return min(grace, *asked)
	}
	return grace
}

func (t *Task) run(shown Shown, finished time.Time) *Run {
	return &Run{Attempt: t.state.Attempt, Started: t.state.Started, Finished: finished, Shown: shown}
}

// become is the only writer of the phase.
func (t *Task) become(next Phase) {
	if !slices.Contains(edges[t.state.Phase], next) {
		panic(fmt.Sprintf("task: no edge %v -> %v", t.state.Phase, next))
	}
	t.state.Phase = next
}

func canceled(reason messages.Reason) Shown {
	return Shown{Status: soltiv1.TaskStatus_TASK_STATUS_CANCELED, Reason: reason}
}

func ms(n uint64) time.Duration { return time.Duration(n) * time.Millisecond }

func (Resumed) event()  {}
func (Granted) event()  {}
func (Started) event()  {}
func (Exited) event()   {}
func (Elapsed) event()  {}
func (Stop) event()     {}
func (Record) effect()  {}
func (Acquire) effect() {}
func (Start) effect()   {}
func (Attach) effect()  {}
func (Term) effect()    {}
func (Kill) effect()    {}
func (Arm) effect()     {}
func (Forget) effect()  {}
func (Finish) effect()  {}
func (Park) effect()    {}
