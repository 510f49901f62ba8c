// Package registry is the one door to the slots of a node: it mints task ids, routes commands to slot actors, makes
// these when they are needed and lets them go when they are idle, and counts what they decide.
//
// It decides nothing about admission but the node's own bounds: no runner for a spec, too many tasks, a node that
// stops. Callers are the gateway (through its PID) and programs that embed slotd.
//
// Ordering: commands for one slot reach it in the order in which they reach the registry. Only the registry sends to a
// slot, and it counts what it has sent; a slot that wants to leave memory says how much it has received, and goes only
// when the two agree, so no command is lost to a slot that is leaving. A slot that keeps tasks for the next life of the
// daemon stays to the end.
//
// Invariants: 1 (one actor per slot), 3 (commands wait until recovery is through).
package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/proto"

	"slotd/actors/slot"
	"slotd/actors/store"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// How long a refused client should wait before it tries again.
const (
	retryTooMany    = 5 * time.Second
	retryUnwritable = 2 * time.Second
)

// Deps is what the registry needs of the node.
type Deps struct {
	// Recover fills the catalog from the store and returns the tasks that are not terminal, by slot, each slot's in id
	// order, and the greatest id. It may block.
	Recover func(ctx context.Context) (Recovered, error)
	// Residents returns the same for one slot, once everything committed before has been applied. It calls done from
	// any goroutine, and does not block.
	Residents func(slot string, done func([]slot.Resident))
	// Lookup finds a task in the catalog.
	Lookup func(id string) (*slotdv1.TaskRecord, bool)
	// Writable says why nothing can be admitted now, or nil. It does not block.
	Writable func() error
	// Runnable says whether a runner of this node takes the spec.
	Runnable func(*soltiv1.CreateSpec) *slotdv1.Rejection
	// Active counts the tasks that are not terminal.
	Active func() int
	// Bracket begins one commit of so many parts.
	Bracket func(parts int) (*store.Bracket, []*store.Part)
	// Count counts one decision.
	Count func(slot string, d messages.Decision)
	// Live is told how many slots are in memory.
	Live func(n int)
	// Ready is told once: recovery is through, or has failed.
	Ready func(error)
	// Go runs f on a goroutine that the node waits for when it stops.
	Go func(f func(ctx context.Context))

	Slot     *slot.Deps // Registry is set by the registry itself
	Strategy actor.SupervisorStrategy
	Wrap     func(actor.Actor) actor.Actor // around the registry; nil = nothing
	MaxTasks int                           // not terminal
	Logger   hclog.Logger
}

// Recovered is what the store knew.
type Recovered struct {
	Residents map[string][]slot.Resident
	LastID    string
}

// Props makes the registry's actor.
func Props(deps *Deps, opts ...actor.PropsOption) *actor.Props {
	opts = append(opts, actor.WithSupervisor(deps.Strategy))
	ending := new(drainage)
	return actor.PropsFromProducer(func() actor.Actor {
		r := &registry{deps: deps, drainage: ending, cancel: func() {}}
		if deps.Wrap != nil {
			return deps.Wrap(r)
		}
		return r
	}, opts...)
}

type registry struct {
	deps *Deps
	*drainage
	minter   *messages.Minter
	lanes    map[string]*lane
	names    map[string]string // slot names by the id of their PID
	held     []envelope        // commands that came before recovery was through
	stage    stage
	stopping bool
	pending  int                // submissions without an answer
	resting  int                // slots that are through with a drain
	cancel   context.CancelFunc // of the recovery
}

// stage is where the registry stands with its recovery.
type stage uint8

const (
	recovering stage = iota
	ready
	failed
)

// drainage is what a registry that begins again takes over: the node still ends.
type drainage struct {
	draining *slotdv1.Drain   // the last one
	drained  []*actor.PID     // told when no slot is left
	brackets []*store.Bracket // begun; those that are over leave with the next
}

// lane is the registry's side of a slot.
type lane struct {
	pid     *actor.PID // nil while the slot is being rebuilt
	sent    uint64
	held    []envelope    // what came meanwhile
	open    int           // submissions without an answer
	parts   []*store.Part // it may have to commit something into
	deaths  int           // of its actors
	resting bool          // through with a drain
}

type envelope struct {
	message any
	sender  *actor.PID
}

// What the registry tells itself. Each names what it belongs to: a registry that begins again hears what its
// predecessor has set off (invariant 5).
type (
	recovered struct {
		Recovered
		of  *registry
		err error
	}
	rebuild struct {
		slot string
		of   *lane
	}
	rebuilt struct {
		rebuild
		residents []slot.Resident
	}
)

// Receive implements actor.Actor.
func (r *registry) Receive(c actor.Context) {
	if r.stopping { // a failure now would keep the runtime from ending it
		return
	}
	switch msg := c.Message().(type) {
	case *actor.Started:
		r.start(c)
	case *actor.Stopping, *actor.Restarting:
		r.cancel()
		r.names, r.stopping = nil, true // slots that go now have not failed
	case *recovered:
		r.recovered(c, msg)
	case *slotdv1.Submit:
		r.command(c, envelope{msg, c.Sender()})
	case *slotdv1.SubmitTasks:
		r.command(c, envelope{message: msg})
	case *slotdv1.Cancel:
		r.command(c, envelope{msg, c.Sender()})
	case *slotdv1.Delete:
		r.command(c, envelope{msg, c.Sender()})
	case *slotdv1.PurgeSlot:
		r.command(c, envelope{msg, c.Sender()})
	case *slotdv1.Drain:
		r.drain(c, msg)
	case *slotdv1.Retire:
		r.retire(c, msg)
	case *slotdv1.Decided:
		r.decided(msg)
	case *actor.Terminated:
		r.terminated(c, msg)
	case *rebuild:
		r.rebuild(c, *msg)
	case *rebuilt:
		r.rebuilt(c, msg)
	}
}

// start is the same after a crash of the registry: what it knew is in the store, and its slots have been stopped.
func (r *registry) start(c actor.Context) {
	r.abandonBrackets()
	r.lanes, r.names = make(map[string]*lane), make(map[string]string)
	deps := *r.deps.Slot
	deps.Registry = c.Self()
	r.deps.Slot = &deps
	self, root := c.Self(), c.ActorSystem().Root
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.deps.Go(func(node context.Context) {
		stop := context.AfterFunc(node, cancel)
		defer stop()
		known, err := r.deps.Recover(ctx)
		root.Send(self, &recovered{known, r, err})
	})
}

func (r *registry) recovered(c actor.Context, msg *recovered) {
	if msg.of != r {
		return
	}
	if r.stage = ready; msg.err != nil {
		r.stage = failed
		if !errors.Is(msg.err, context.Canceled) { // else the node stops, and nobody need do anything
			r.deps.Logger.Error("recovery failed", "error", msg.err)
		}
	}
	r.minter = messages.NewMinter(msg.LastID)
	for name, residents := range msg.Residents {
		r.open(c, name, residents)
	}
	held := r.held
	r.held = nil
	for _, e := range held {
		r.command(c, e)
	}
	r.finishDrain(c)
	r.deps.Ready(msg.err)
}

func (r *registry) command(c actor.Context, e envelope) {
	if r.stage == recovering {
		r.held = append(r.held, e)
		return
	}
	if r.stage == failed {
		r.refuse(c, e)
		return
	}
	switch msg := e.message.(type) {
	case *slotdv1.Submit:
		r.submit(c, e, msg)
	case *slotdv1.SubmitTasks:
		r.submitAll(c, msg)
	case *slotdv1.Cancel:
		r.cancelTask(c, e, msg)
	case *slotdv1.Delete:
		r.deleteTask(c, e, msg)
	case *slotdv1.PurgeSlot:
		r.forward(c, msg.GetSlot(), e)
	}
}

func (r *registry) submit(c actor.Context, e envelope, msg *slotdv1.Submit) {
	if minted := r.mint(c, e, msg); minted != nil {
		r.forward(c, minted.GetSpec().GetSlot(), envelope{minted, e.sender}).open++
	}
}

// mint gives a submission an id, unless the node itself refuses it; then nil.
func (r *registry) mint(c actor.Context, e envelope, msg *slotdv1.Submit) *slotdv1.Submit {
	now, name := time.Now(), msg.GetSpec().GetSlot()
	if no := r.bounds(msg.GetSpec()); no != nil && !r.known(msg, now) {
		reply(c, e, no)
		return nil
	}
	r.pending++
	return &slotdv1.Submit{
		Spec: msg.GetSpec(), IdempotencyKey: msg.GetIdempotencyKey(),
		TaskId: r.minter.Mint(now, name), At: now.UnixMilli(),
	}
}

// bounds says why the node itself takes no such task now.
func (r *registry) bounds(spec *soltiv1.CreateSpec) *slotdv1.Rejection {
	if r.draining != nil {
		return messages.Reject(messages.LabelUnavailable, "slotd is stopping and admits nothing; try again after its restart", retryTooMany)
	}
	if no := r.deps.Runnable(spec); no != nil {
		return no
	}
	if err := r.deps.Writable(); err != nil {
		return messages.Reject(messages.LabelUnavailable, fmt.Sprintf(
			"nothing can be admitted: %v; try again later", err), retryUnwritable)
	}
	if limit := r.deps.MaxTasks; limit > 0 && r.deps.Active()+r.pending >= limit {
		return messages.Reject(messages.LabelTooManyTasks, fmt.Sprintf(
			"this node keeps at most %d unfinished tasks; wait until some have ended", limit), retryTooMany)
	}
	return nil
}

// known says that a submission repeats an earlier one, which has its answer whatever the node takes now.
func (r *registry) known(msg *slotdv1.Submit, now time.Time) bool {
	key := msg.GetIdempotencyKey()
	return key != "" && r.deps.Slot.Known(msg.GetSpec().GetSlot(), key, now) != nil
}

func (r *registry) cancelTask(c actor.Context, e envelope, msg *slotdv1.Cancel) {
	task, ok := r.deps.Lookup(msg.GetTaskId())
	if !ok {
		reply(c, e, messages.TaskNotFound(msg.GetTaskId()))
		return
	}
	r.forward(c, task.GetSlot(), e)
}

func (r *registry) deleteTask(c actor.Context, e envelope, msg *slotdv1.Delete) {
	task, ok := r.deps.Lookup(msg.GetTaskId())
	switch {
	case !ok:
		reply(c, e, &slotdv1.TaskEnded{TaskId: msg.GetTaskId()})
	case msg.ResourceVersion != nil && msg.GetResourceVersion() != task.GetResourceVersion():
		reply(c, e, messages.Reject(messages.LabelPreconditionFailed, fmt.Sprintf(
			"task %s has version %d, not %d; read it again and decide anew",
			task.GetId(), task.GetResourceVersion(), msg.GetResourceVersion()), 0))
	default:
		r.forward(c, task.GetSlot(), e)
	}
}

// forward is the only place that sends to a slot.
func (r *registry) forward(c actor.Context, name string, e envelope) *lane {
	l := r.lanes[name]
	if l == nil {
		l = r.open(c, name, nil)
	}
	if l.pid == nil {
		l.held = append(l.held, e)
		return l
	}
	l.sent++
	r.rests(l, false)
	c.RequestWithCustomSender(l.pid, e.message, e.sender)
	return l
}

func (r *registry) open(c actor.Context, name string, residents []slot.Resident) *lane {
	l := r.lanes[name]
	if l == nil {
		l = new(lane)
		r.lanes[name] = l
		r.deps.Live(len(r.lanes))
	}
	l.pid, l.sent = c.Spawn(slot.Props(r.deps.Slot, name, residents, r.draining)), 0
	r.names[l.pid.GetId()] = name
	held := l.held
	l.held = nil
	for _, e := range held {
		r.forward(c, name, e)
	}
	return l
}

// retire lets an idle slot go, unless something is on its way to it.
func (r *registry) retire(c actor.Context, msg *slotdv1.Retire) {
	l := r.lanes[msg.GetSlot()]
	if l == nil || l.pid == nil || l.sent != msg.GetReceived() {
		return
	}
	if msg.GetResting() {
		r.rests(l, true)
		r.finishDrain(c)
		return
	}
	delete(r.names, l.pid.GetId())
	c.Poison(l.pid)
	r.remove(c, msg.GetSlot())
}

func (r *registry) rests(l *lane, resting bool) {
	if l.resting != resting {
		if l.resting = resting; resting {
			r.resting++
		} else {
			r.resting--
		}
	}
}

func (r *registry) remove(c actor.Context, name string) {
	r.rests(r.lanes[name], false)
	delete(r.lanes, name)
	r.deps.Live(len(r.lanes))
	r.finishDrain(c)
}

// finishDrain answers when it is certain that no slot is left that has something to do.
func (r *registry) finishDrain(c actor.Context) {
	if r.draining == nil || r.stage == recovering || len(r.lanes) > r.resting {
		return
	}
	for _, pid := range r.drained {
		c.Send(pid, &slotdv1.Drained{})
	}
	r.drained = nil
}

// drain may be repeated with a shorter grace. The answer comes when no slot has anything left to do.
func (r *registry) drain(c actor.Context, msg *slotdv1.Drain) {
	r.draining = msg
	if c.Sender() != nil {
		r.drained = append(r.drained, c.Sender())
	}
	for name := range r.lanes {
		r.forward(c, name, envelope{message: msg})
	}
	r.finishDrain(c)
}

func (r *registry) decided(msg *slotdv1.Decided) {
	if l := r.lanes[msg.GetSlot()]; msg.GetSubmission() && l != nil && l.open > 0 {
		l.open--
		r.pending--
	}
	if d := messages.Decision(msg.GetDecision()); d != "" {
		r.deps.Count(msg.GetSlot(), d)
	}
}

// terminated: a slot that ends without having retired has failed. Its tasks' attempts go on; it is made again from the
// store.
func (r *registry) terminated(c actor.Context, msg *actor.Terminated) {
	name, known := r.names[msg.Who.GetId()]
	if !known {
		return
	}
	delete(r.names, msg.Who.GetId())
	l := r.lanes[name]
	r.rests(l, false)
	r.pending -= l.open // their answers died with the slot
	l.dropParts()
	l.pid, l.open = nil, 0
	wait := min(rebuildDelay<<min(l.deaths, 16), maxRebuildDelay)
	l.deaths++
	r.deps.Logger.Error("slot actor failed, rebuilding it", "slot", name, "after", wait)
	self, root := c.Self(), c.ActorSystem().Root
	time.AfterFunc(wait, func() { root.Send(self, &rebuild{name, l}) })
}

// awaited says that the lane still waits for its slot.
func (r *registry) awaited(msg rebuild) bool { return r.lanes[msg.slot] == msg.of && msg.of.pid == nil }

func (r *registry) rebuild(c actor.Context, msg rebuild) {
	if !r.awaited(msg) {
		return
	}
	self, root := c.Self(), c.ActorSystem().Root
	r.deps.Residents(msg.slot, func(residents []slot.Resident) { root.Send(self, &rebuilt{msg, residents}) })
}

func (r *registry) rebuilt(c actor.Context, msg *rebuilt) {
	if r.awaited(msg.rebuild) {
		r.open(c, msg.slot, msg.residents)
	}
}

// How long a failed slot stays away: the delay doubles with each failure.
const (
	rebuildDelay    = 50 * time.Millisecond
	maxRebuildDelay = 30 * time.Second
)

func reply(c actor.Context, e envelope, msg proto.Message) {
	if e.sender != nil {
		c.Send(e.sender, msg)
	}
}
