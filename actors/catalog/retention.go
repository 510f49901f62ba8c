package catalog

import (
	"math"

	slotdv1 "slotd/messages/slotd/v1"
)

// OldestTerminal returns the n terminal tasks that ended first, by updated_at and id. n should be at most 1000.
func (c *Catalog) OldestTerminal(n int) []*slotdv1.TaskRecord {
	return c.TerminalBefore(math.MaxInt64, n)
}

// TerminalBefore returns up to n tasks that ended before at, Unix milliseconds, those that ended first come first. n
// should be at most 1000.
func (c *Catalog) TerminalBefore(at int64, n int) []*slotdv1.TaskRecord {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var recs []*slotdv1.TaskRecord
	c.ended.Scan(func(e *entry) bool {
		if len(recs) >= n || e.rec.GetUpdatedAt() >= at {
			return false
		}
		recs = append(recs, e.rec)
		return true
	})
	return recs
}
