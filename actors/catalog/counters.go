package catalog

import (
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
)

// decisions are what is counted, in the order of counters.
var decisions = [...]messages.Decision{
	messages.Admitted, messages.Queued, messages.Replaced, messages.Superseded,
	messages.Dropped, messages.QueueFull, messages.Repeated,
}

// counters count admission decisions; nil has counted nothing.
type counters [len(decisions)]uint64

func (n *counters) count(d messages.Decision) {
	for i := range decisions {
		if decisions[i] == d {
			n[i]++
			return
		}
	}
	panic("catalog: no counter for decision " + string(d))
}

func (n *counters) view() *slotdv1.DecisionCounters {
	if n == nil {
		return &slotdv1.DecisionCounters{}
	}
	return &slotdv1.DecisionCounters{
		Admitted: n[0], Queued: n[1], Replaced: n[2], Superseded: n[3],
		Dropped: n[4], QueueFull: n[5], Repeated: n[6],
	}
}

// Count adds an admission decision to its slot's counters and to the totals. A slot's counters are kept as long as
// it has tasks, finished ones included, and a while longer: at least until 1024 other slots have lost theirs. A
// decision may be counted before its task is applied.
func (c *Catalog) Count(slot string, d messages.Decision) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.decided.count(d)
	if l := c.lanes[slot]; l != nil {
		if l.counts == nil {
			l.counts = &counters{}
		}
		l.counts.count(d)
		return
	}
	n := c.parked.take(slot)
	if n == nil {
		n = &counters{}
	}
	n.count(d)
	c.parked.put(slot, n)
}

// Decisions returns the totals since the catalog was made.
func (c *Catalog) Decisions() *slotdv1.DecisionCounters {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.decided.view()
}

// parkingSize is half of how many slots without a task may keep their counters.
const parkingSize = 1024

// parking keeps the counters of slots without a task, in two generations: when the younger one is full, the older one
// is forgotten. Its zero value is empty.
type parking struct{ younger, older map[string]*counters }

func (p *parking) put(slot string, n *counters) {
	if p.younger == nil || len(p.younger) == parkingSize {
		p.younger, p.older = map[string]*counters{}, p.younger
	}
	p.younger[slot] = n
}

func (p *parking) get(slot string) *counters {
	if n := p.younger[slot]; n != nil {
		return n
	}
	return p.older[slot]
}

func (p *parking) take(slot string) *counters {
	n := p.get(slot)
	delete(p.younger, slot)
	delete(p.older, slot)
	return n
}
