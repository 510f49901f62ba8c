package catalog

import soltiv1 "slotd/messages/solti/v1"

// Counts is how many of everything there is.
type Counts struct {
	Tasks    map[soltiv1.TaskStatus]int // kept, by what clients see; statuses without a task are left out
	Active   int                        // tasks that are not terminal
	Terminal int
	Queued   int
	InUse    int // slots with an active task
	Occupied int // slots with a holder
	Keys     int // idempotency keys, expired ones included
}

// Counts returns how many of everything there is.
func (c *Catalog) Counts() Counts {
	c.mu.RLock()
	defer c.mu.RUnlock()
	n := Counts{
		Tasks:    map[soltiv1.TaskStatus]int{},
		Active:   c.state[active].len(),
		Terminal: c.state[terminal].len(),
		InUse:    c.busy.Len(),
		Occupied: c.holders,
		Keys:     len(c.keys.byName),
	}
	n.Queued = n.Active - c.holders - c.replacements
	for status := range c.status {
		if kept := c.status[status].len(); kept > 0 {
			n.Tasks[soltiv1.TaskStatus(status)] = kept
		}
	}
	return n
}

// Active is the number of tasks that are not terminal.
func (c *Catalog) Active() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.state[active].len()
}

// Terminal is the number of terminal tasks that are kept.
func (c *Catalog) Terminal() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.state[terminal].len()
}

// LastID is the greatest id of all tasks, or empty when there are none.
func (c *Catalog) LastID() string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if n := c.all.len(); n > 0 {
		return c.all.at(n - 1).id
	}
	return ""
}
