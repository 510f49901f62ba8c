package slot

import (
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"

	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
)

// How long a refused client should wait before it tries again.
const (
	retryFull        = time.Second
	retryUnavailable = 2 * time.Second
)

// unrecorded is what whoever ends something is told when it ends, and the store does not take that yet.
const unrecorded = "the store cannot write: what was to end is stopped, but that is not recorded yet, and will be when the store writes again; try again later"

// doubtAfter is how long a commit may take before the slot asks whether the store can write at all.
const doubtAfter = time.Second

// caller numbers whoever waits for the answer to the present message; 0 = nobody does.
func (a *slotActor) caller(sender *actor.PID, submit bool) Caller {
	if sender == nil && !submit {
		return 0
	}
	a.last++
	put(&a.callers, a.last, caller{pid: sender, submit: submit})
	return a.last
}

// answer tells a caller, and the registry what became of a submission.
func (a *slotActor) answer(c actor.Context, eff Answer) {
	who, known := a.callers[eff.Caller]
	if !known {
		return
	}
	delete(a.callers, eff.Caller)
	if _, refused := a.refused[eff.Task]; refused && (eff.Reply == Accepted || eff.Reply == Busy || eff.Reply == Reused) {
		eff = Answer{Caller: eff.Caller, Reply: Unavailable} // it speaks of a task that never was
	}
	if who.submit {
		c.Send(a.deps.Registry, &slotdv1.Decided{Slot: a.name, Decision: string(eff.Decision), Submission: true})
	}
	if who.pid != nil {
		reply := a.reply(eff)
		if eff.Reply == Unavailable && !who.submit {
			reply = messages.Reject(messages.LabelUnavailable, unrecorded, retryUnavailable)
		}
		c.Send(who.pid, reply)
	}
}

// cancel does what is asked for as far as it can be done. While the store cannot write, who asks is told so at once, and
// the slot does not remember who asked: clients repeat themselves, and nothing bounds how long a disk is full.
func (a *slotActor) cancel(c actor.Context, ev Cancel) {
	ev.Caller = a.caller(c.Sender(), false)
	if !a.stuck && !a.lost() {
		a.step(c, ev)
		return
	}
	a.answer(c, Answer{Caller: ev.Caller, Reply: Unavailable})
	if ev.Caller = 0; a.tenants[ev.Task] != nil {
		a.step(c, ev)
	}
}

func (a *slotActor) clear(c actor.Context, ev Clear) {
	ev.Caller = a.caller(c.Sender(), false)
	if a.stuck || a.lost() {
		a.answer(c, Answer{Caller: ev.Caller, Reply: Unavailable})
		ev.Caller = 0
	}
	a.step(c, ev)
}

// await notes whose answer waits for a commit. While the store cannot write nobody has to: what was asked for is done
// as far as it can be, and the caller is told that it is not recorded. Whether a task was accepted is the one thing that
// only the commit itself can tell.
func (a *slotActor) await(c actor.Context, effects []Effect) {
	decided := false
	for _, eff := range effects {
		answer, ok := eff.(Answer)
		who, known := a.callers[answer.Caller]
		if ok && known && (answer.Reply != Accepted || answer.Decision == messages.Repeated) {
			who.decided, decided = true, true
			a.callers[answer.Caller] = who
		}
	}
	switch {
	case a.stuck || a.lost():
		a.giveUp(c)
	case decided:
		a.doubtLater(c)
	}
}

// doubtLater looks after a while whether those who wait for a commit wait for a store that cannot write. One that fails
// may know for a while no better than that: then it answers nothing.
func (a *slotActor) doubtLater(c actor.Context) {
	if a.doubt == nil {
		self, root := c.Self(), c.ActorSystem().Root
		a.doubt = time.AfterFunc(doubtAfter, func() { root.Send(self, &doubted{}) })
	}
}

func (a *slotActor) despair(c actor.Context) {
	waiting := false
	for _, who := range a.callers {
		waiting = waiting || who.decided
	}
	switch {
	case !waiting:
	case a.deps.Writable() != nil:
		a.stuck = true
		a.giveUp(c)
	default:
		a.doubtLater(c)
	}
}

// lost: whoever waits for the end of the holder waits for the store. Its actor has said that it is dead, or has not been
// spawned.
func (a *slotActor) lost() bool {
	if a.core.holder == nil {
		return false
	}
	t := a.tenants[a.core.holder.task]
	return t.dead || a.stuck && t.pid == nil
}

// died: the end of the holder is not recorded, and nothing of it lives.
func (a *slotActor) died(c actor.Context, id string) {
	if t := a.tenants[id]; t != nil && t.outcome == nil {
		t.dead = true
		a.giveUp(c)
	}
}

// giveUp answers all who wait for nothing but the store.
func (a *slotActor) giveUp(c actor.Context) {
	lost := a.lost()
	for number, who := range a.callers {
		if who.decided && a.stuck || !who.submit && lost {
			a.answer(c, Answer{Caller: number, Reply: Unavailable})
		}
	}
}

func (a *slotActor) reply(eff Answer) proto.Message {
	switch eff.Reply {
	case Accepted:
		return &slotdv1.Submitted{TaskId: eff.Task}
	case Gone:
		return &slotdv1.TaskEnded{TaskId: eff.Task}
	case Cleared:
		return &slotdv1.SlotPurged{TaskIds: eff.Tasks}
	case Busy:
		return messages.Reject(messages.LabelSlotBusy, fmt.Sprintf(
			"slot %q is busy: task %s holds it; wait for its end, or submit with admission QUEUE or REPLACE", a.name, eff.Task), 0)
	case Full:
		return messages.Reject(messages.LabelQueueFull, fmt.Sprintf(
			"the queue of slot %q is full with %d tasks; try again later", a.name, a.deps.QueueLimit), retryFull)
	case Reused:
		return messages.Reject(messages.LabelIdempotencyKeyReused, fmt.Sprintf(
			"the idempotency key stands for task %s, which has another spec; use a new key for a new task", eff.Task), 0)
	case Draining:
		return messages.Reject(messages.LabelUnavailable, "slotd is stopping and admits nothing; try again after its restart", retryUnavailable)
	default:
		return messages.Reject(messages.LabelUnavailable, "the store cannot write, so nothing was admitted; try again later", retryUnavailable)
	}
}

func grace(ms *uint64) *time.Duration {
	if ms == nil {
		return nil
	}
	d := time.Duration(*ms) * time.Millisecond
	return &d
}
