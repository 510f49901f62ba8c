package slot

import (
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/hashicorp/go-hclog"

	"slotd/actors/store"
	"slotd/actors/task"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// Deps is what every slot actor of a node shares.
type Deps struct {
	Commit     func(*store.Batch, func(error))
	CommitInto func(*store.Part, *store.Batch, func(error)) bool      // false: the part is over
	Writable   func() error                                           // says why the store cannot write, or nil; does not block
	Record     func(id string, done func(*slotdv1.TaskRecord, error)) // reads a task back from the store, without blocking
	Known      func(slot, key string, now time.Time) *slotdv1.KeyRecord
	Executor   *actor.PID
	Registry   *actor.PID
	Task       *task.Deps
	Strategy   actor.SupervisorStrategy      // for task actors
	Options    []actor.PropsOption           // for slot actors
	Wrap       func(actor.Actor) actor.Actor // around slot actors; nil = nothing
	QueueLimit int
	IdleAfter  time.Duration // how long an idle slot stays in memory
	KeyTTL     time.Duration // how long an idempotency key is remembered
	Logger     hclog.Logger
}

// Resident is a task of the slot that is not terminal.
type Resident struct {
	Record *slotdv1.TaskRecord
	Spec   *soltiv1.CreateSpec
}

// Props makes the actor of a slot from what the store knows of it, in id order. drain is set when the node stops.
func Props(deps *Deps, name string, residents []Resident, drain *slotdv1.Drain) *actor.Props {
	props := actor.PropsFromProducer(func() actor.Actor {
		a := &slotActor{deps: deps, name: name, core: New(deps.QueueLimit), residents: residents, drain: drain}
		if deps.Wrap != nil {
			return deps.Wrap(a)
		}
		return a
	}, actor.WithSupervisor(deps.Strategy))
	return props.Configure(deps.Options...)
}

// slotActor is the shell: it knows PIDs, records and callers; the core knows who may run.
type slotActor struct {
	deps       *Deps
	name       string
	core       Slot
	pipeline   *store.Pipeline[Effect]
	part       *store.Part    // of a commit with other slots, until that is over
	residents  []Resident     // until Started
	drain      *slotdv1.Drain // until Started
	tenants    map[string]*tenant
	keys       map[string]*slotdv1.KeyRecord // of admissions in flight
	refused    map[string]struct{}           // tasks that commits in flight may still name
	callers    map[Caller]caller
	last       Caller
	received   uint64 // messages from the registry
	idle       *time.Timer
	generation uint64 // of the idle timer
	retry      *time.Timer
	doubt      *time.Timer // when to ask again whether the store can write
	stuck      bool        // a transition could not be written, and has not been written since
	stopping   bool
}

// tenant is what the shell knows of a task that is not terminal.
type tenant struct {
	record   *slotdv1.TaskRecord // the last one the slot wrote or was handed
	spec     *soltiv1.CreateSpec
	key      string                // idempotency key, while the admission is in flight
	admitted *store.Batch          // its admission, while in flight
	begun    bool                  // its first attempt has been written, and is its actor's to start
	dead     bool                  // its end could not be written yet
	pid      *actor.PID            // of the holder's actor, once spawned
	outcome  *slotdv1.TaskFinished // handed in by its actor
	stops    []*slotdv1.StopTask   // what its actor was told, or must be told once spawned
	deaths   int                   // of its actor
	recall   *time.Timer
}

// caller is whoever waits for an answer.
type caller struct {
	pid     *actor.PID
	submit  bool
	decided bool // the answer waits for a commit that is repeated until it holds
}

type (
	idled    struct{ generation uint64 }
	commit   struct{}
	doubted  struct{}
	recalled struct {
		task   string
		record *slotdv1.TaskRecord
		err    error
	}
	recall struct{ task string }
)

// Receive implements actor.Actor.
func (a *slotActor) Receive(c actor.Context) {
	switch msg := c.Message().(type) {
	case *actor.Started:
		a.start(c)
	case *actor.Stopping:
		a.stopping = true
		a.release()
		return
	case *slotdv1.Submit:
		a.received++
		a.submit(c, msg, c.Sender())
	case *Bulk:
		a.received++
		a.submitAll(c, msg)
	case *slotdv1.Cancel:
		a.received++
		a.cancel(c, Cancel{Task: msg.GetTaskId(), Grace: grace(msg.GraceMs)})
	case *slotdv1.Delete:
		a.received++
		a.cancel(c, Cancel{Task: msg.GetTaskId(), Purge: true})
	case *slotdv1.PurgeSlot:
		a.received++
		a.clear(c, Clear{Holder: msg.GetHolder()})
	case *slotdv1.Drain:
		a.received++
		a.wake() // an idle slot need not wait any longer
		a.step(c, drainEvent(msg))
	case *slotdv1.TaskFinished:
		a.finished(c, msg)
	case *slotdv1.TaskParked:
		a.step(c, Parked{msg.GetTaskId()})
	case *slotdv1.TaskDead:
		a.died(c, msg.GetTaskId())
	case store.Committed:
		a.settle(c, msg)
	case *actor.Terminated:
		if a.stopping { // it takes its tasks along
			return
		}
		a.terminated(c, msg)
	case *recall:
		a.recall(c, msg.task)
	case *recalled:
		a.recalled(c, msg)
	case *commit:
		a.retry = nil
		a.pipeline.Retry()
	case *doubted:
		a.doubt = nil
		a.despair(c)
	case *idled:
		a.retire(c, msg)
		return
	default:
		return
	}
	a.rest(c)
}

func (a *slotActor) start(c actor.Context) {
	self, root := c.Self(), c.ActorSystem().Root
	a.pipeline = store.NewPipeline[Effect](a.commit, func(done store.Committed) { root.Send(self, done) })
	var known Resumed
	for _, r := range a.residents {
		id := r.Record.GetId()
		put(&a.tenants, id, &tenant{record: r.Record, spec: r.Spec})
		switch r.Record.GetRole() {
		case slotdv1.Role_ROLE_HOLDER:
			known.Holder = id
		case slotdv1.Role_ROLE_REPLACEMENT:
			known.Replacement = id
		default:
			known.Queue = append(known.Queue, id)
		}
	}
	switch drain := a.drain; {
	case drain == nil:
		a.step(c, known)
	case drain.GetKeep():
		a.step(c, drainEvent(drain)) // first, so that nothing is woken
		a.step(c, known)
	default:
		a.step(c, known)
		a.step(c, drainEvent(drain))
	}
	a.residents, a.drain = nil, nil
}

func drainEvent(msg *slotdv1.Drain) Drain {
	return Drain{Grace: time.Duration(msg.GetGraceMs()) * time.Millisecond, Keep: msg.GetKeep()}
}

// submit answers a known idempotency key before the core hears of it.
func (a *slotActor) submit(c actor.Context, msg *slotdv1.Submit, sender *actor.PID) {
	who := a.caller(sender, true)
	if key := a.known(msg); key != nil {
		a.repeat(c, who, key, msg)
		return
	}
	if a.pipeline.Blocked() {
		a.answer(c, Answer{Caller: who, Reply: Unavailable})
		return
	}
	id := msg.GetTaskId()
	put(&a.tenants, id, &tenant{
		spec: msg.GetSpec(),
		key:  msg.GetIdempotencyKey(),
		record: &slotdv1.TaskRecord{
			Id: id, Slot: a.name, CreatedAt: msg.GetAt(), UpdatedAt: msg.GetAt(),
			Phase: slotdv1.Phase_PHASE_READY, Status: soltiv1.TaskStatus_TASK_STATUS_PENDING,
		},
	})
	effects := a.core.Step(Submitted{Caller: who, Task: id, Admission: msg.GetSpec().GetAdmission()})
	if _, admitted := effects[0].(Record); !admitted {
		delete(a.tenants, id)
	}
	a.perform(c, effects)
}

func (a *slotActor) known(msg *slotdv1.Submit) *slotdv1.KeyRecord {
	name := msg.GetIdempotencyKey()
	if name == "" {
		return nil
	}
	if key := a.keys[name]; key != nil {
		return key
	}
	return a.deps.Known(a.name, name, time.UnixMilli(msg.GetAt()))
}

func (a *slotActor) repeat(c actor.Context, who Caller, key *slotdv1.KeyRecord, msg *slotdv1.Submit) {
	answer := Answer{Caller: who, Reply: Accepted, Task: key.GetTaskId(), Decision: messages.Repeated}
	if string(key.GetSpecHash()) != string(messages.SpecHash(msg.GetSpec())) {
		answer = Answer{Caller: who, Reply: Reused, Task: key.GetTaskId()}
	}
	a.later(c, answer)
}

func (a *slotActor) finished(c actor.Context, msg *slotdv1.TaskFinished) {
	t := a.tenants[msg.GetTask().GetId()]
	if t == nil || t.outcome != nil {
		return
	}
	t.outcome = msg
	a.step(c, Finished{msg.GetTask().GetId()})
}

func (a *slotActor) step(c actor.Context, ev Event) { a.perform(c, a.core.Step(ev)) }

// perform commits the records of one step together, does at once what need not wait for that, and leaves the rest to
// the pipeline.
func (a *slotActor) perform(c actor.Context, effects []Effect) {
	var batch *store.Batch
	var later []Effect
	now := time.Now()
	for _, eff := range effects {
		switch eff := eff.(type) {
		case Record:
			if batch == nil {
				batch = new(store.Batch)
			}
			a.record(batch, eff, now)
			later = append(later, eff)
		case Spawn, Release, Answer, Count:
			later = append(later, eff)
		case Stop:
			a.stop(c, eff)
		case Recall:
			a.recallLater(c, eff.Task)
		}
	}
	if batch == nil {
		a.later(c, later...)
		return
	}
	a.pipeline.Commit(batch, later)
	a.await(c, later)
}

// later does what must wait for all commits in flight.
func (a *slotActor) later(c actor.Context, effects ...Effect) {
	ready := a.pipeline.After(effects)
	if ready == nil {
		a.await(c, effects)
	}
	for _, eff := range ready {
		a.done(c, eff)
	}
}

func (a *slotActor) settle(c actor.Context, done store.Committed) {
	ready, failed := a.pipeline.Settle(done)
	for _, eff := range ready {
		a.done(c, eff)
	}
	if failed == nil {
		a.stuck = a.stuck && a.retry != nil
		return
	}
	if id, admission := a.admission(failed); admission {
		a.refuse(c, done, id)
		return
	}
	a.stuck = true
	a.giveUp(c)
	if a.retry == nil {
		a.deps.Logger.Debug("transition not written, will retry", "slot", a.name, "error", done.Err)
		self, root := c.Self(), c.ActorSystem().Root
		a.retry = time.AfterFunc(task.RetryCommit, func() { root.Send(self, &commit{}) })
	}
}

// done does what has waited for a commit.
func (a *slotActor) done(c actor.Context, eff Effect) {
	switch eff := eff.(type) {
	case Record:
		a.recorded(c, eff)
	case Spawn:
		a.spawn(c, eff.Task)
	case Release:
		a.vacate(c, eff.Task)
	case Answer:
		a.answer(c, eff)
	case Count:
		c.Send(a.deps.Registry, &slotdv1.Decided{Slot: a.name, Decision: string(eff.Decision)})
	}
}

func (a *slotActor) recorded(c actor.Context, eff Record) {
	t := a.tenants[eff.Task]
	if t == nil { // refused after it was decided
		return
	}
	switch eff.Change {
	case Admit:
		t.admitted = nil
		delete(a.keys, t.key)
		if eff.Role == slotdv1.Role_ROLE_REPLACEMENT {
			a.step(c, Kept{eff.Task})
		}
	case End:
		delete(a.tenants, eff.Task)
	default: // the tenant stays
	}
}

// vacate lets the holder's actor go: its outcome is durable.
func (a *slotActor) vacate(c actor.Context, id string) {
	t := a.tenants[id]
	delete(a.tenants, id)
	if run := t.outcome.GetRun(); run != nil {
		c.Send(a.deps.Executor, &slotdv1.ForgetAttempt{TaskId: id, Attempt: run.GetAttempt()})
	}
	if t.pid != nil {
		c.Stop(t.pid)
	}
}

func (a *slotActor) spawn(c actor.Context, id string) {
	t := a.tenants[id]
	if t == nil { // refused after it was decided
		return
	}
	t.pid = c.Spawn(task.Props(a.deps.Task, task.Holder{
		Record: t.record, Spec: t.spec, Begun: t.begun, Stops: slices.Clone(t.stops),
	}))
	t.begun, t.dead = false, false
}

// stop is kept for an actor that has yet to be spawned, or to be made again.
func (a *slotActor) stop(c actor.Context, eff Stop) {
	t, msg := a.tenants[eff.Task], &slotdv1.StopTask{Cause: string(eff.Cause), Keep: eff.Keep}
	if eff.Grace != nil {
		grace := uint64(max(0, eff.Grace.Milliseconds()))
		msg.GraceMs = &grace
	}
	if t.heard(msg) {
		return
	}
	t.stops = append(t.stops, msg)
	if t.pid != nil {
		c.Send(t.pid, msg)
	}
}

// heard says that a stop adds nothing to an earlier one. A client may cancel as often as it likes.
func (t *tenant) heard(msg *slotdv1.StopTask) bool {
	return slices.ContainsFunc(t.stops, func(earlier *slotdv1.StopTask) bool {
		return earlier.GetCause() == msg.GetCause() && earlier.GetKeep() == msg.GetKeep() &&
			(msg.GraceMs == nil || (earlier.GraceMs != nil && earlier.GetGraceMs() <= msg.GetGraceMs()))
	})
}

// rest arms the idle timer while there is nothing to do, and stops it when there is.
func (a *slotActor) rest(c actor.Context) {
	if a.pipeline.Idle() {
		a.refused = nil
	}
	empty, resting := a.core.Rest()
	idle := (empty || resting) && a.pipeline.Idle()
	switch {
	case idle && a.idle == nil:
		a.shed()
		wait := a.deps.IdleAfter
		if a.core.draining {
			wait = 0
		}
		a.generation++
		self, root, generation := c.Self(), c.ActorSystem().Root, a.generation
		a.idle = time.AfterFunc(wait, func() { root.Send(self, &idled{generation}) })
	case !idle && a.idle != nil:
		a.wake()
	}
}

func (a *slotActor) wake() {
	if a.idle != nil {
		a.idle.Stop()
		a.idle = nil
	}
}

// shed gives back the memory of busier times.
func (a *slotActor) shed() {
	if len(a.tenants)+len(a.callers) == 0 {
		a.tenants, a.callers, a.keys = nil, nil, nil
	}
}

// put is for maps that an idle slot does without.
func put[K comparable, V any](m *map[K]V, key K, value V) {
	if *m == nil {
		*m = make(map[K]V)
	}
	(*m)[key] = value
}

// retire offers to leave memory, or tells that the slot is through with a drain. The registry declines by sending
// something.
func (a *slotActor) retire(c actor.Context, msg *idled) {
	if a.idle == nil || msg.generation != a.generation {
		return
	}
	a.idle = nil
	empty, _ := a.core.Rest()
	c.Send(a.deps.Registry, &slotdv1.Retire{Slot: a.name, Received: a.received, Resting: !empty})
}

// release leaves no timer behind.
func (a *slotActor) release() {
	for _, timer := range []*time.Timer{a.idle, a.retry, a.doubt} {
		if timer != nil {
			timer.Stop()
		}
	}
	for _, t := range a.tenants {
		if t.recall != nil {
			t.recall.Stop()
		}
	}
}
