package catalog

import (
	"context"
	"slices"

	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// Want is what a client waits for in a task's life.
type Want uint8

const (
	// WantTerminal holds once no attempt will follow.
	WantTerminal Want = iota
	// WantRunning holds while an attempt runs, and once the task is terminal.
	WantRunning
)

func (w Want) holds(rec *slotdv1.TaskRecord) bool {
	return isTerminal(rec) || w == WantRunning && rec.GetStatus() == soltiv1.TaskStatus_TASK_STATUS_RUNNING
}

// waiter is one call of Wait. It is told once: the task as want was first seen to hold, or an empty row when it is gone.
type waiter struct {
	want Want
	told chan row
}

// Wait returns the task as soon as want holds, as it was at that moment, or as it is when ctx is done. It returns false
// when the id is not known or the task is deleted meanwhile.
func (c *Catalog) Wait(ctx context.Context, id string, want Want) (*soltiv1.TaskData, bool) {
	if r := c.row(id); r.rec == nil || want.holds(r.rec) || ctx.Err() != nil {
		return found(r)
	}
	w := &waiter{want: want, told: make(chan row, 1)}
	c.join(id, w)
	select {
	case r := <-w.told:
		return found(r)
	case <-ctx.Done():
		c.part(id, w)
	}
	select {
	case r := <-w.told: // it came together with the end of ctx
		return found(r)
	default:
		return c.Task(id)
	}
}

// join tells w at once when there is nothing left to wait for.
func (c *Catalog) join(id string, w *waiter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.tasks[id]
	if e == nil {
		w.told <- row{}
		return
	}
	if c.waiting[id] = append(c.waiting[id], w); w.want.holds(e.rec) {
		c.wake(id)
	}
}

func (c *Catalog) part(id string, w *waiter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keepWaiting(id, func(other *waiter) bool { return other != w })
}

// wake tells those whose wish the task fulfils.
func (c *Catalog) wake(id string) {
	if len(c.waiting[id]) == 0 {
		return
	}
	e := c.tasks[id]
	now := rowOf(e)
	c.keepWaiting(id, func(w *waiter) bool {
		if !w.want.holds(e.rec) {
			return true
		}
		w.told <- now
		return false
	})
}

// wakeGone tells all who wait for a task that it is gone.
func (c *Catalog) wakeGone(id string) {
	c.keepWaiting(id, func(w *waiter) bool {
		w.told <- row{}
		return false
	})
}

func (c *Catalog) keepWaiting(id string, keep func(*waiter) bool) {
	left := slices.DeleteFunc(c.waiting[id], func(w *waiter) bool { return !keep(w) })
	if len(left) == 0 {
		delete(c.waiting, id)
		return
	}
	c.waiting[id] = left
}
