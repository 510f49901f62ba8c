package actors

import (
	"errors"
	"syscall"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"slotd/actors/store"
)

// retention deletes terminal tasks, with their runs and logs, that are too old or too many, and idempotency keys that
// have expired. Active tasks are never touched: the catalog offers only terminal ones.
//
// A deletion is a commit, and the logs go once it is durable; what a crash leaves of them in between is found by
// [logs.Logs.Sweep] at the next start. A full disk is the one case in which logs go first: they are most of what there
// is, deleting them needs no room, and the commit may have room then.
type retention struct {
	tree     *Tree
	timer    *time.Timer
	busy     bool // a batch is under way
	failures int  // less successes, never below 0
}

const (
	retentionEvery = time.Second
	retentionBatch = 1000 // tasks in one commit; half as many after a failure, until as many commits have worked
	retentionSteps = 6    // how often the pause doubles
)

type (
	sweep struct{}
	swept struct {
		more bool // is to be deleted
		err  error
	}
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
		r.swept(c, msg)
	}
}

// arm replaces the timer: what was under way when an earlier life failed may arm one more.
func (r *retention) arm(c actor.Context) {
	r.disarm()
	self, root := c.Self(), c.ActorSystem().Root
	pause := retentionEvery << min(r.failures, retentionSteps)
	r.timer = time.AfterFunc(pause, func() { root.Send(self, &sweep{}) })
}

func (r *retention) disarm() {
	if r.timer != nil {
		r.timer.Stop()
	}
}

func (r *retention) sweep(c actor.Context) {
	if r.busy || !r.tree.recovered() {
		r.arm(c)
		return
	}
	limit := max(1, retentionBatch>>min(r.failures, 16))
	batch := r.overdue(time.Now(), limit)
	if batch.Empty() {
		r.arm(c)
		return
	}
	if err := r.tree.writable(); err != nil {
		r.swept(c, &swept{err: err})
		r.relieve(batch, err)
		return
	}
	r.busy = true
	more := batch.Len() >= limit
	self, root := c.Self(), c.ActorSystem().Root
	r.tree.ledger.Commit(batch, func(err error) {
		if err != nil {
			r.relieve(batch, err)
		}
		root.Send(self, &swept{more, err})
	})
}

// overdue is what must go now, the oldest first.
func (r *retention) overdue(now time.Time, limit int) *store.Batch {
	cfg, catalog := r.tree.cfg, r.tree.catalog
	old := catalog.TerminalBefore(now.Add(-cfg.Retain).UnixMilli(), limit)
	if excess := catalog.Terminal() - cfg.RetainTasks; excess > len(old) {
		old = catalog.OldestTerminal(min(excess, limit))
	}
	batch := &store.Batch{Expired: catalog.ExpiredKeys(now.UnixMilli(), limit)}
	for _, record := range old {
		batch.Deletes = append(batch.Deletes, record.GetId())
	}
	return batch
}

// swept goes on at once while there is more and it works. What fails is tried again, ever more rarely and in ever
// smaller portions.
func (r *retention) swept(c actor.Context, msg *swept) {
	r.busy = false
	switch {
	case msg.err != nil:
		if r.failures++; r.failures == 1 {
			r.tree.cfg.Logger.Warn("retention cannot delete, will retry", "error", msg.err)
		}
	case r.failures > 0:
		if r.failures--; r.failures == 0 {
			r.tree.cfg.Logger.Info("retention can delete again")
		}
	}
	if msg.more && msg.err == nil {
		r.sweep(c)
		return
	}
	r.arm(c)
}

// relieve gives up the logs of what is to be deleted, when there is no room to say so.
func (r *retention) relieve(batch *store.Batch, err error) {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		r.tree.cfg.Logs.Remove(batch.Deletes...)
	}
}
