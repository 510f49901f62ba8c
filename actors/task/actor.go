package task

import (
	"hash/fnv"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/hashicorp/go-hclog"

	"slotd/actors/store"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// Deps is what every task actor of a node shares.
type Deps struct {
	Commit   func(*store.Batch, func(error))
	Writable func() error // says why the store cannot write, or nil; does not block
	Executor *actor.PID
	Node     string
	Life     uint32                        // of the node: no two lives have the same
	Permits  bool                          // the node limits how many attempts run at a time
	Options  []actor.PropsOption           // for task actors
	Wrap     func(actor.Actor) actor.Actor // around task actors; nil = nothing
	Logger   hclog.Logger
}

// RetryCommit is how long a task waits before it commits again what the store could not write.
const RetryCommit = 250 * time.Millisecond

// Holder is a task whose turn it is.
type Holder struct {
	Record *slotdv1.TaskRecord // what the store knows of it
	Spec   *soltiv1.CreateSpec // shared, never changed
	Begun  bool                // Record is of an attempt that Begin has written, and that is still to be started
	Stops  []*slotdv1.StopTask // what it has to be told: a task that must end before it ever ran starts nothing
}

// Begin writes the first attempt of a task that is about to hold its slot: prev is what was written of the task before,
// or its first record, with version 0. So the attempt is durable together with the decision that lets it run. It must
// not be used where attempts need a permit.
func Begin(deps *Deps, prev *slotdv1.TaskRecord, spec *soltiv1.CreateSpec, now time.Time) (*slotdv1.TaskRecord, *slotdv1.RunRecord) {
	core := New(spec, State{}, 0)
	for _, eff := range core.Step(now, Granted{Attempt: 1}) {
		if r, ok := eff.(Record); ok {
			return r.State.next(prev, now, deps), r.Run.record(prev.GetId(), deps.Node)
		}
	}
	panic("task: a first attempt without a record")
}

// Props makes the actor of a holder. Its parent is the task's slot, which it sends TaskFinished once, TaskDead before
// that when the end cannot be written yet, or TaskParked when it was told to keep the task for the next life.
func Props(deps *Deps, h Holder) *actor.Props {
	return actor.PropsFromProducer(func() actor.Actor {
		a := &taskActor{
			deps: deps, record: h.Record, begun: h.Begun, stops: h.Stops,
			core: New(h.Spec, StateOf(h.Record), seed(h.Record.GetId())),
		}
		if deps.Wrap != nil {
			return deps.Wrap(a)
		}
		return a
	}, deps.Options...)
}

// taskActor is the shell: it owns the timer and the commits in flight, the core owns the truth.
type taskActor struct {
	deps     *Deps
	record   *slotdv1.TaskRecord // the last one written
	begun    bool                // until Started, as are stops
	stops    []*slotdv1.StopTask
	core     Task
	pipeline *store.Pipeline[Effect]
	timer    *time.Timer
	retry    *time.Timer
	doubt    *time.Timer // when to ask again whether the store can write
	held     bool        // the start of the present attempt waits for its record: nothing of it lives
}

// due is a timer's message.
type due struct {
	attempt uint32
	timer   Timer
}

type (
	retryCommit struct{}
	doubted     struct{}
)

// Receive implements actor.Actor.
func (a *taskActor) Receive(c actor.Context) {
	switch msg := c.Message().(type) {
	case *actor.Started:
		a.start(c)
	case *actor.Stopping:
		a.release()
		a.renounce(c)
	case *slotdv1.StopTask:
		a.step(c, stopEvent(msg))
	case *slotdv1.Granted:
		a.step(c, Granted{msg.GetAttempt()})
	case *slotdv1.AttemptStarted:
		a.step(c, Started{msg.GetAttempt(), time.UnixMilli(msg.GetAt())})
	case *slotdv1.AttemptExited:
		a.step(c, Exited{msg.GetAttempt(), msg})
	case *due:
		a.step(c, Elapsed{msg.attempt, msg.timer})
	case store.Committed:
		a.settle(c, msg)
	case *retryCommit:
		a.commitAgain()
	case *doubted:
		a.lament(c)
	}
}

func (a *taskActor) start(c actor.Context) {
	self, root := c.Self(), c.ActorSystem().Root
	a.pipeline = store.NewPipeline[Effect](a.deps.Commit, func(done store.Committed) { root.Send(self, done) })
	if !a.begun && (a.core.State().Phase != Ready || len(a.stops) == 0) {
		a.step(c, Resumed{})
	}
	for _, msg := range a.stops {
		a.step(c, stopEvent(msg))
	}
	if a.begun {
		a.act(c, Start{a.core.State().Attempt})
	}
	a.begun, a.stops = false, nil
}

func (a *taskActor) step(c actor.Context, ev Event) {
	before := a.core.State().Phase
	effects := a.core.Step(time.Now(), ev)
	if after := a.core.State().Phase; after != before {
		a.deps.Logger.Debug("phase changed", "task_id", a.record.GetId(), "slot", a.record.GetSlot(),
			"attempt", a.core.State().Attempt, "phase", after)
	}
	a.perform(c, effects)
}

// perform does at once what may be done at once, and leaves to the pipeline what must wait for the record before it.
func (a *taskActor) perform(c actor.Context, effects []Effect) {
	var batch *store.Batch
	var later, next []Effect
	for _, eff := range effects {
		switch eff := eff.(type) {
		case Record:
			batch = a.write(eff)
		case Start:
			a.held = true
			later = append(later, eff)
		case Forget, Finish, Park:
			later = append(later, eff)
		case Acquire: // may lead to the next record, which must not overtake this one
			next = append(next, eff)
		default:
			a.act(c, eff)
		}
	}
	if batch != nil {
		a.pipeline.Commit(batch, later)
	} else {
		for _, eff := range a.pipeline.After(later) {
			a.act(c, eff)
		}
	}
	for _, eff := range next {
		a.act(c, eff)
	}
	a.lament(c)
}

// lament: the end of the task waits for a store that cannot write. Whoever waits for the task to be dead need not. A
// store that fails may know for a while no better than that: then it answers nothing.
func (a *taskActor) lament(c actor.Context) {
	phase := a.core.State().Phase
	if phase != Finished && (phase != Stopping || !a.held) || a.pipeline.Idle() {
		return
	}
	if a.pipeline.Blocked() || a.deps.Writable() != nil {
		c.Send(c.Parent(), &slotdv1.TaskDead{TaskId: a.record.GetId()})
		return
	}
	if a.doubt != nil {
		a.doubt.Stop()
	}
	self, root := c.Self(), c.ActorSystem().Root
	a.doubt = time.AfterFunc(RetryCommit, func() { root.Send(self, &doubted{}) })
}

func (a *taskActor) write(eff Record) *store.Batch {
	a.record = eff.State.next(a.record, time.Now(), a.deps)
	batch := &store.Batch{Tasks: []*slotdv1.TaskRecord{a.record}}
	if run := eff.Run.record(a.record.GetId(), a.deps.Node); run != nil {
		batch.Runs = []*slotdv1.RunRecord{run}
	}
	return batch
}

// settle goes on with what waited for a commit. What the store could not write is kept and written again.
func (a *taskActor) settle(c actor.Context, done store.Committed) {
	ready, failed := a.pipeline.Settle(done)
	for _, eff := range ready {
		a.act(c, eff)
	}
	if failed == nil || a.retry != nil {
		return
	}
	a.lament(c)
	a.deps.Logger.Debug("transition not written, will retry", "task_id", a.record.GetId(), "error", done.Err)
	self, root := c.Self(), c.ActorSystem().Root
	a.retry = time.AfterFunc(RetryCommit, func() { root.Send(self, &retryCommit{}) })
}

func (a *taskActor) commitAgain() {
	a.retry = nil
	a.pipeline.Retry()
}

func (a *taskActor) act(c actor.Context, eff Effect) {
	id, executor := a.record.GetId(), a.deps.Executor
	switch eff := eff.(type) {
	case Acquire:
		if !a.deps.Permits {
			a.step(c, Granted(eff))
			return
		}
		c.Request(executor, &slotdv1.Acquire{TaskId: id, Attempt: eff.Attempt})
	case Start:
		a.held = false
		if a.core.State().Phase != Running { // told to end while its record was on the way
			a.step(c, Exited{Attempt: eff.Attempt})
			return
		}
		c.Request(executor, &slotdv1.StartAttempt{TaskId: id, Attempt: eff.Attempt, Spec: a.core.spec})
	case Attach:
		msg := &slotdv1.AttachAttempt{TaskId: id, Attempt: eff.Attempt}
		if a.record.GetLife() == a.deps.Life && a.core.State().Phase == Running {
			msg.Spec = a.core.spec // its start may have been lost with the old actor
		}
		c.Request(executor, msg)
	case Term:
		c.Send(executor, &slotdv1.StopAttempt{TaskId: id, Attempt: eff.Attempt})
	case Kill:
		c.Send(executor, &slotdv1.KillAttempt{TaskId: id, Attempt: eff.Attempt})
	case Forget:
		c.Send(executor, &slotdv1.ForgetAttempt{TaskId: id, Attempt: eff.Attempt})
	case Arm:
		a.arm(c, eff)
	case Finish:
		a.finish(c, eff)
	case Park:
		c.Send(c.Parent(), &slotdv1.TaskParked{TaskId: id})
	}
}

func (a *taskActor) arm(c actor.Context, eff Arm) {
	if a.timer != nil {
		a.timer.Stop()
	}
	self, root := c.Self(), c.ActorSystem().Root
	a.timer = time.AfterFunc(time.Until(eff.At), func() { root.Send(self, &due{eff.Attempt, eff.Timer}) })
}

// finish waits for all earlier records of the task, so that none of them can overtake the last one, which the slot
// writes.
func (a *taskActor) finish(c actor.Context, eff Finish) {
	a.release()
	a.record = eff.State.next(a.record, time.Now(), a.deps)
	c.Send(c.Parent(), &slotdv1.TaskFinished{
		Task: a.record,
		Run:  eff.Run.record(a.record.GetId(), a.deps.Node),
	})
}

// release leaves no timer behind. The attempt, if one runs, goes on: the executor owns it.
func (a *taskActor) release() {
	for _, timer := range []*time.Timer{a.timer, a.retry, a.doubt} {
		if timer != nil {
			timer.Stop()
		}
	}
}

// renounce gives back the permit that was asked for, also when its Forget still waits for a commit. Whoever comes after
// this actor asks anew.
func (a *taskActor) renounce(c actor.Context) {
	s := a.core.State()
	if a.deps.Permits && (s.Phase == Ready || s.Phase == Finished && !a.pipeline.Idle()) {
		c.Send(a.deps.Executor, &slotdv1.ForgetAttempt{TaskId: a.record.GetId(), Attempt: s.Attempt + 1})
	}
}

func stopEvent(msg *slotdv1.StopTask) Stop {
	stop := Stop{Cause: messages.Reason(msg.GetCause()), Keep: msg.GetKeep()}
	if msg.GraceMs != nil {
		grace := ms(msg.GetGraceMs())
		stop.Grace = &grace
	}
	return stop
}

// seed derives the jitter's seed from the task's id, so that a restart goes on with other delays than its twin.
func seed(id string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id)) // never fails
	return h.Sum64()
}
