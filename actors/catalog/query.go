package catalog

import (
	"slices"
	"strings"

	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// row is one task as it was at one moment.
type row struct {
	rec      *slotdv1.TaskRecord // nil: no such task
	spec     *spec
	position uint32 // in its slot's queue, 1 = next, 0 = not queued
}

// Task returns a task, or false when the id is not known.
func (c *Catalog) Task(id string) (*soltiv1.TaskData, bool) {
	return found(c.row(id))
}

func found(r row) (*soltiv1.TaskData, bool) {
	if r.rec == nil {
		return nil, false
	}
	return pageOf(r)[0], true
}

func (c *Catalog) row(id string) row {
	c.mu.RLock()
	defer c.mu.RUnlock()
	e := c.tasks[id]
	if e == nil {
		return row{}
	}
	return rowOf(e)
}

// Tasks returns the page that the query asks for, in id order, and the number of all matches. With Newest the offset
// counts back from the newest match.
func (c *Catalog) Tasks(q messages.Query) (tasks []*soltiv1.TaskData, total int) {
	var rows []row
	c.mu.RLock()
	x, exact := c.choose(q)
	if exact {
		rows, total = page(q, x)
	}
	c.mu.RUnlock()
	if !exact {
		rows, total = c.scan(q, x)
	}
	return pageOf(rows...), total
}

// condition is a set of what a query may ask for besides the id prefix.
type condition uint8

const (
	bySlot condition = 1 << iota
	byStatus
	byTerminal
	bySelector
)

// choose returns an index that holds every match. It is exact when, among the ids with the query's prefix, it holds
// nothing else; otherwise it is the one with the least to look at.
func (c *Catalog) choose(q messages.Query) (best *index, exact bool) {
	asked, fewest := conditions(q), 0
	offer := func(x *index, answered condition) {
		if exact {
			return
		}
		exact = asked&^answered == 0
		from, to := 0, 0
		if !exact {
			from, to = span(q, x)
		}
		if best == nil || exact || to-from < fewest {
			best, fewest = x, to-from
		}
	}
	offer(&c.all, 0)
	if asked&bySlot != 0 {
		l := c.lanes[q.Slot]
		if l == nil {
			return &index{}, true
		}
		offer(&l.tasks, bySlot)
		if asked&byTerminal != 0 && !*q.Terminal {
			offer(&l.active, bySlot|byTerminal)
		}
	}
	if asked&byStatus != 0 {
		if q.Status < 0 || int(q.Status) >= statuses {
			return &index{}, true
		}
		offer(&c.status[q.Status], byStatus)
	}
	if asked&byTerminal != 0 && *q.Terminal {
		offer(&c.state[terminal], byTerminal)
	} else if asked&byTerminal != 0 {
		offer(&c.state[active], byTerminal)
	}
	return best, exact
}

func conditions(q messages.Query) (asked condition) {
	if q.Slot != "" {
		asked |= bySlot
	}
	if q.Status != 0 {
		asked |= byStatus
	}
	if q.Terminal != nil {
		asked |= byTerminal
	}
	if !q.Selector.Empty() {
		asked |= bySelector
	}
	return asked
}

// span is where in an index the ids with the query's prefix stand: from ≤ i < to.
func span(q messages.Query, x *index) (from, to int) {
	if q.IDPrefix == "" {
		return 0, x.len()
	}
	return x.rank(q.IDPrefix), x.rank(behind(q.IDPrefix))
}

// behind is greater than every id with the prefix: ids are ASCII.
func behind(prefix string) string { return prefix + "\xff" }

// page answers a query from an index that is exact.
func page(q messages.Query, x *index) (rows []row, total int) {
	from, to := span(q, x)
	total = to - from
	if q.Newest {
		to = max(from, to-q.Offset)
		from = max(from, to-q.Limit)
	} else {
		from = min(to, from+q.Offset)
		to = min(to, from+q.Limit)
	}
	if from >= to {
		return nil, total
	}
	rows = make([]row, 0, to-from)
	x.ascend(x.at(from).id, func(e *entry) bool {
		rows = append(rows, rowOf(e))
		return len(rows) < to-from
	})
	return rows, total
}

// scan answers a query by looking at every entry of an index that has the query's prefix.
type scan struct {
	query messages.Query
	walk  func(id string, yield func(*entry) bool) // from id on, upwards or downwards
	from  string
	last  string // id looked at last
	rows  []row  // in the order of the walk
	total int
	label map[string]string // room for the labels of one task
}

func (c *Catalog) scan(q messages.Query, x *index) (rows []row, total int) {
	s := scan{query: q, walk: x.ascend, from: q.IDPrefix, label: map[string]string{}}
	if q.Newest {
		s.walk, s.from = x.descend, behind(q.IDPrefix)
	}
	for more := true; more; {
		c.mu.RLock()
		more = s.portion()
		c.mu.RUnlock()
	}
	if q.Newest {
		slices.Reverse(s.rows)
	}
	return s.rows, s.total
}

// portion looks at the next entries and says whether there are more.
func (s *scan) portion() (more bool) {
	left := portion
	s.walk(s.from, func(e *entry) bool {
		switch {
		case e.id == s.last: // it ended the portion before
			return true
		case !strings.HasPrefix(e.id, s.query.IDPrefix):
			return false
		case left == 0:
			more = true
			return false
		}
		left--
		s.last = e.id
		if s.matches(e) {
			if s.total >= s.query.Offset && len(s.rows) < s.query.Limit {
				s.rows = append(s.rows, rowOf(e))
			}
			s.total++
		}
		return true
	})
	s.from = s.last
	return more
}

func (s *scan) matches(e *entry) bool {
	q := &s.query
	return (q.Slot == "" || e.lane.name == q.Slot) &&
		(q.Status == 0 || e.rec.GetStatus() == q.Status) &&
		(q.Terminal == nil || isTerminal(e.rec) == *q.Terminal) &&
		(q.Selector.Empty() || s.selected(e))
}

// selected says no to a spec whose labels cannot be read.
func (s *scan) selected(e *entry) bool {
	labels, err := e.spec.labels(s.label)
	return err == nil && s.query.Selector.Matches(labels)
}
