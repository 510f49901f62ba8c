package slot

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"

	slotdv1 "slotd/messages/slotd/v1"
)

// How long a failed actor of a task stays away: the delay doubles with each failure.
const (
	recallDelay    = 50 * time.Millisecond
	maxRecallDelay = 30 * time.Second
)

// terminated: a holder's actor that ends without an outcome has failed, and is made again from the store. Its attempt
// goes on meanwhile.
func (a *slotActor) terminated(c actor.Context, msg *actor.Terminated) {
	if a.core.holder == nil {
		return
	}
	id := a.core.holder.task
	t := a.tenants[id]
	if t.pid == nil || !t.pid.Equal(msg.Who) { // a former holder's, let go
		return
	}
	t.pid = nil
	a.deps.Logger.Error("task actor failed, rebuilding it", "task_id", id, "slot", a.name)
	a.step(c, Died{id})
}

func (a *slotActor) recallLater(c actor.Context, id string) {
	t := a.tenants[id]
	wait := min(recallDelay<<min(t.deaths, 16), maxRecallDelay)
	t.deaths++
	self, root := c.Self(), c.ActorSystem().Root
	t.recall = time.AfterFunc(wait, func() { root.Send(self, &recall{id}) })
}

func (a *slotActor) recall(c actor.Context, id string) {
	if t := a.tenants[id]; t == nil || t.outcome != nil { // its last word came after the news of its end
		return
	}
	self, root := c.Self(), c.ActorSystem().Root
	a.deps.Record(id, func(record *slotdv1.TaskRecord, err error) { root.Send(self, &recalled{id, record, err}) })
}

func (a *slotActor) recalled(c actor.Context, msg *recalled) {
	t := a.tenants[msg.task]
	switch {
	case t == nil || t.pid != nil || t.outcome != nil:
	case msg.err != nil:
		a.deps.Logger.Error("task not read back, will retry", "task_id", msg.task, "slot", a.name, "error", msg.err)
		a.recallLater(c, msg.task)
	default:
		t.record = msg.record
		a.spawn(c, msg.task)
	}
}
