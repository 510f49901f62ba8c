package actors

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"slotd/actors/store"
)

// retention deletes terminal tasks, with their runs and logs, that are too old or too many, and idempotency keys that
// have expired. Active tasks are never touched: the catalog offers only terminal ones.
type retention struct {
	tree  *Tree
	timer *time.Timer
	busy  bool // a batch is under way
}

const (
	retentionEvery = time.Second
	retentionBatch = 1000 // tasks in one commit
)

type (
	sweep struct{}
	swept struct{ more bool }
)

// Receive implements actor.Actor.
func (r *retention) Receive(c actor.Context) {
	switch msg := c.Message().(type) {
	case *actor.Started:
		r.arm(c)
	case *actor.Stopping, *actor.Restarting:
		r.disarm()
	case *sweep:
		r.sweep(c)
	case *swept:
		r.busy = false
		if msg.more {
			r.sweep(c)
			return
		}
		r.arm(c)
	}
}

// arm replaces the timer: what was under way when an earlier life failed may arm one more.
func (r *retention) arm(c actor.Context) {
	r.disarm()
	self, root := c.Self(), c.ActorSystem().Root
	r.timer = time.AfterFunc(retentionEvery, func() { root.Send(self, &sweep{}) })
}

func (r *retention) disarm() {
	if r.timer != nil {
		r.timer.Stop()
	}
}

func (r *retention) sweep(c actor.Context) {
	if r.busy || r.tree.Ready() != nil {
		r.arm(c)
		return
	}
	cfg, catalog, now := r.tree.cfg, r.tree.catalog, time.Now()
	old := catalog.TerminalBefore(now.Add(-cfg.Retain).UnixMilli(), retentionBatch)
	if excess := catalog.Terminal() - cfg.RetainTasks; excess > len(old) {
		old = catalog.OldestTerminal(min(excess, retentionBatch))
	}
	batch := &store.Batch{Expired: catalog.ExpiredKeys(now.UnixMilli(), retentionBatch)}
	for _, record := range old {
		batch.Deletes = append(batch.Deletes, record.GetId())
	}
	if batch.Empty() {
		r.arm(c)
		return
	}
	r.busy = true
	more := batch.Len() >= retentionBatch
	self, root := c.Self(), c.ActorSystem().Root
	r.tree.ledger.Commit(batch, func(err error) {
		if err != nil {
			r.tree.cfg.Logger.Warn("retention could not delete, will retry", "error", err)
		}
		root.Send(self, &swept{more && err == nil})
	})
}
