package catalog

import (
	"cmp"
	"slices"

	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
)

// lane is a slot that has tasks, finished ones included.
type lane struct {
	name        string
	tasks       index // all that are kept
	active      index // not terminal; without holder and replacement: the queue, next first
	holder      *entry
	replacement *entry
	counts      *counters // nil until there is something to count
	touched     int       // its place in Catalog.touched, from 1; 0 = the batch has not touched it
}

// The states of a slot, as SlotView.phase names them.
const (
	idle     = "idle"
	occupied = "occupied"
	retiring = "retiring"
)

func (c *Catalog) laneFor(name string) *lane {
	l := c.lanes[name]
	if l == nil {
		l = &lane{name: name, counts: c.parked.take(name)}
		c.lanes[name] = l
	}
	return l
}

// dropLane forgets a lane when its last task is gone.
func (c *Catalog) dropLane(l *lane) {
	if l.tasks.len() > 0 {
		return
	}
	delete(c.lanes, l.name)
	if l.counts != nil {
		c.parked.put(l.name, l.counts)
	}
}

// leave takes e out of the place in its slot that it has by before and not by after (nil: the task goes).
func (c *Catalog) leave(e *entry, before, after *slotdv1.TaskRecord) {
	if stateOf(before) == terminal {
		return
	}
	l := e.lane
	gone := after == nil || stateOf(after) == terminal
	if gone || before.GetRole() != after.GetRole() {
		if l.holder == e {
			l.holder = nil
			c.holders--
		}
		if l.replacement == e {
			l.replacement = nil
			c.replacements--
		}
	}
	if gone {
		if l.active.remove(e); l.active.len() == 0 {
			c.busy.Delete(l)
		}
	}
}

// enter is the reverse of leave; before is nil when the task is new.
func (c *Catalog) enter(e *entry, before, after *slotdv1.TaskRecord) {
	if stateOf(after) == terminal {
		return
	}
	l := e.lane
	if before == nil || stateOf(before) == terminal {
		if l.active.add(e); l.active.len() == 1 {
			c.busy.Set(l)
		}
	}
	switch after.GetRole() { //nolint:exhaustive // whatever else is unfinished waits
	case slotdv1.Role_ROLE_HOLDER:
		if l.holder == nil {
			c.holders++
		}
		l.holder = e
	case slotdv1.Role_ROLE_REPLACEMENT:
		if l.replacement == nil {
			c.replacements++
		}
		l.replacement = e
	}
}

// SlotOf says where a command for a task belongs.
func (c *Catalog) SlotOf(id string) (slot string, rec *slotdv1.TaskRecord, ok bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	e := c.tasks[id]
	if e == nil {
		return "", nil, false
	}
	return e.lane.name, e.rec, true
}

// Unfinished returns the tasks of a slot that are not terminal, in id order: holder, replacement and queue.
func (c *Catalog) Unfinished(slot string) []*slotdv1.TaskRecord {
	var recs []*slotdv1.TaskRecord
	c.walkActive(slot, func(*lane) {}, func(e *entry) { recs = append(recs, e.rec) })
	return recs
}

// Slot returns what is to be seen of a slot; one without an unfinished task is idle.
func (c *Catalog) Slot(name string) *slotdv1.SlotView {
	view := &slotdv1.SlotView{Slot: name, Phase: idle}
	var holder, replacement *entry
	c.walkActive(name, func(l *lane) {
		holder, replacement = l.holder, l.replacement
		view.Phase = l.phase()
		view.Counters = l.counts.view()
		if holder != nil {
			view.Holder = &holder.id
			view.HolderKind = holder.kind()
		}
		if replacement != nil {
			view.Replacement = &replacement.id
		}
	}, func(e *entry) {
		if e != holder && e != replacement {
			view.Queue = append(view.Queue, e.id)
		}
	})
	if view.Counters == nil {
		c.mu.RLock()
		view.Counters = c.parked.get(name).view()
		c.mu.RUnlock()
	}
	return view
}

// walkActive looks at a slot, then at its unfinished tasks in id order, a portion at a time. Meanwhile tasks may end
// and new ones come, but none is yielded twice: a task that becomes the holder was the first of the queue before.
func (c *Catalog) walkActive(slot string, look func(*lane), yield func(*entry)) {
	last := ""
	for more := true; more; {
		more = false
		left := portion
		c.mu.RLock()
		l := c.lanes[slot]
		if l != nil && last == "" {
			look(l)
		}
		if l != nil {
			l.active.ascend(last, func(e *entry) bool {
				if left == 0 {
					more = true
					return false
				}
				if e.id != last {
					yield(e)
					last = e.id
					left--
				}
				return true
			})
		}
		c.mu.RUnlock()
	}
}

// Slots returns the slots in use, those with an unfinished task, in name order.
func (c *Catalog) Slots() []*slotdv1.SlotView {
	var names []string
	c.walkBusy(func(l *lane) { names = append(names, l.name) })
	views := make([]*slotdv1.SlotView, 0, len(names))
	for _, name := range names {
		if view := c.Slot(name); view.GetPhase() != idle { // it may have fallen idle meanwhile
			views = append(views, view)
		}
	}
	return views
}

// walkBusy looks at the slots in use in name order, a portion at a time.
func (c *Catalog) walkBusy(look func(*lane)) {
	last := &lane{}
	for more := true; more; {
		more = false
		left := portion
		c.mu.RLock()
		c.busy.Ascend(last, func(l *lane) bool {
			if left == 0 {
				more = true
				return false
			}
			if l.name != last.name {
				look(l)
				last = l
				left--
			}
			return true
		})
		c.mu.RUnlock()
	}
}

func (l *lane) phase() string {
	switch {
	case l.active.len() == 0:
		return idle
	case l.replacement != nil, l.holder != nil && l.holder.rec.GetPhase() == slotdv1.Phase_PHASE_STOPPING:
		return retiring
	default:
		return occupied
	}
}

// queued is the length of the queue.
func (l *lane) queued() int {
	n := l.active.len()
	if l.holder != nil {
		n--
	}
	if l.replacement != nil {
		n--
	}
	return n
}

// Longest returns the n slots with the longest queues, the longest first.
func (c *Catalog) Longest(n int) []*slotdv1.QueueDepth {
	var depths []*slotdv1.QueueDepth
	c.walkBusy(func(l *lane) {
		if queued := l.queued(); queued > 0 {
			depths = append(depths, &slotdv1.QueueDepth{Slot: l.name, Depth: uint64(queued)})
		}
	})
	slices.SortStableFunc(depths, func(a, b *slotdv1.QueueDepth) int { return cmp.Compare(b.GetDepth(), a.GetDepth()) })
	return slices.Clip(depths[:min(n, len(depths))])
}

// kind names the kind of a task, nil if it cannot be known. Embedded tasks have none on the wire.
func (e *entry) kind() *string {
	spec, err := e.spec.get()
	if err != nil {
		return nil
	}
	kind := cmp.Or(messages.KindName(spec), "embedded")
	return &kind
}
