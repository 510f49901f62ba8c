// Package catalog is the read model: it answers every question about tasks and slots from memory.
//
// It decides nothing and writes nothing. It is fed with committed batches only, so whatever it shows is durable.
// Callers: recovery fills it, the ledger of package actors applies batches, the gateway reads, the registry
// counts decisions and asks where a command belongs, retention asks what is old.
//
// Ordering: Apply is called by one goroutine at a time, in commit order. A batch becomes visible as a whole. A task
// record is ignored unless its resource version is greater than the present one's, so a batch may be applied again.
// Recovery calls Fill before that.
//
// Concurrency: every other method is safe from any goroutine and never waits for more than one batch or 1000 entries of
// another reader. A page that one index answers is of one moment. What has to look at more than that (label selectors,
// conditions that no single index answers, all slots) goes piece by piece and lets writers in between: each task is
// looked at once, in order, in a state it had during the call.
//
// Sharing: records, specs and whatever is returned are shared; nobody may change them.
//
// Cost, n tasks: a page of k tasks O(log n + k) at any offset, a transition O(log n), also in a slot with a long queue.
package catalog

import (
	"context"
	"sync"

	"github.com/tidwall/btree"

	"slotd/actors/store"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// portion is how many entries are looked at under one hold of the lock.
const portion = 512

// Catalog holds all tasks that are kept. Make one with New.
type Catalog struct {
	runs func(ctx context.Context, id string) ([]*slotdv1.RunRecord, error)

	mu     sync.RWMutex
	tasks  map[string]*entry
	all    index
	status [statuses]index
	state  [2]index              // active, terminal
	ended  *btree.BTreeG[*entry] // terminal, the longest ended first

	lanes        map[string]*lane
	busy         *btree.BTreeG[*lane] // lanes with unfinished tasks, by name
	holders      int
	replacements int
	decided      counters
	parked       parking

	keys    keyring
	waiting map[string][]*waiter // by task

	changes Changes // of the batch that is applied; its memory is used again
	touched []touch
}

// statuses is the number of places in Catalog.status; 0 is for what no client ever sees.
const statuses = int(soltiv1.TaskStatus_TASK_STATUS_EXHAUSTED) + 1

// Places in Catalog.state.
const (
	active = iota
	terminal
)

// entry is one task. All but rec is set once.
type entry struct {
	id   string
	rec  *slotdv1.TaskRecord
	spec spec
	lane *lane
}

// New returns an empty catalog. runs reads the kept runs of a task, oldest first, as store.Store.Runs does.
func New(runs func(ctx context.Context, id string) ([]*slotdv1.RunRecord, error)) *Catalog {
	return &Catalog{
		runs:    runs,
		tasks:   map[string]*entry{},
		ended:   btree.NewBTreeGOptions(endedBefore, btree.Options{NoLocks: true}),
		lanes:   map[string]*lane{},
		busy:    btree.NewBTreeGOptions(func(a, b *lane) bool { return a.name < b.name }, btree.Options{NoLocks: true}),
		keys:    newKeyring(),
		waiting: map[string][]*waiter{},
	}
}

// Apply takes over a committed batch and returns what that has changed, which is good until the next call. Its runs are
// not kept here.
func (c *Catalog) Apply(b *store.Batch) Changes {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes.Tasks = c.changes.Tasks[:0]
	for _, rec := range b.Tasks {
		if e, newer := c.find(rec); newer {
			c.touch(e, rec.GetUpdatedAt())
			c.put(e, rec)
			c.changes.Tasks = append(c.changes.Tasks, TaskChange{Record: rec, spec: &e.spec})
		}
	}
	for _, spec := range b.Specs {
		if e := c.tasks[spec.GetTaskId()]; e != nil {
			e.spec.keep(spec.GetSpec())
		}
	}
	for _, key := range b.Keys {
		c.keys.put(key)
	}
	if len(c.waiting) > 0 {
		for _, rec := range b.Tasks {
			c.wake(rec.GetId())
		}
	}
	for _, id := range b.Deletes {
		c.remove(id)
	}
	for _, key := range b.Expired {
		c.keys.expire(key)
	}
	c.compare()
	return c.changes
}

// Fill takes over what a store has loaded, before the first batch that is committed after that. It does not keep
// entries.
func (c *Catalog) Fill(entries []store.Entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, loaded := range entries {
		if loaded.Key != nil {
			c.keys.put(loaded.Key)
			continue
		}
		e, newer := c.find(loaded.Task)
		if newer {
			c.put(e, loaded.Task)
		}
		if loaded.Raw != nil {
			e.spec.keepRaw(loaded.Raw)
		} else {
			e.spec.keep(loaded.Spec.GetSpec())
		}
	}
}

// find returns the entry of a record, a new one if need be, and whether the record is news to it.
func (c *Catalog) find(rec *slotdv1.TaskRecord) (e *entry, newer bool) {
	if e = c.tasks[rec.GetId()]; e == nil {
		return c.insert(rec), true
	}
	return e, rec.GetResourceVersion() > e.rec.GetResourceVersion()
}

// put is the one place where a task changes: before and rec are a transition, and they come by in commit order.
func (c *Catalog) put(e *entry, rec *slotdv1.TaskRecord) {
	before := e.rec
	if before != nil {
		c.unfile(e, before, rec)
	}
	e.rec = rec
	c.file(e, before, rec)
}

func (c *Catalog) insert(rec *slotdv1.TaskRecord) *entry {
	e := &entry{id: rec.GetId(), lane: c.laneFor(rec.GetSlot())}
	c.tasks[e.id] = e
	c.all.add(e)
	e.lane.tasks.add(e)
	return e
}

// unfile takes e out of every place that it has by before and not by after; after is nil when the task goes.
func (c *Catalog) unfile(e *entry, before, after *slotdv1.TaskRecord) {
	if after == nil || shelf(before) != shelf(after) {
		c.status[shelf(before)].remove(e)
	}
	if after == nil || stateOf(before) != stateOf(after) {
		c.state[stateOf(before)].remove(e)
	}
	if stateOf(before) == terminal {
		c.ended.Delete(e)
	}
	c.leave(e, before, after)
}

// file is the reverse of unfile, once e.rec is after; before is nil when the task is new.
func (c *Catalog) file(e *entry, before, after *slotdv1.TaskRecord) {
	if before == nil || shelf(before) != shelf(after) {
		c.status[shelf(after)].add(e)
	}
	if before == nil || stateOf(before) != stateOf(after) {
		c.state[stateOf(after)].add(e)
	}
	if stateOf(after) == terminal {
		c.ended.Set(e)
	}
	c.enter(e, before, after)
}

func (c *Catalog) remove(id string) {
	e := c.tasks[id]
	if e == nil {
		return
	}
	if stateOf(e.rec) == active {
		c.touch(e, e.rec.GetUpdatedAt())
	}
	c.changes.Tasks = append(c.changes.Tasks, TaskChange{Record: e.rec, Deleted: true, spec: &e.spec})
	c.unfile(e, e.rec, nil)
	delete(c.tasks, id)
	c.all.remove(e)
	e.lane.tasks.remove(e)
	c.dropLane(e.lane)
	c.wakeGone(id)
}

// shelf is the place of a record in Catalog.status.
func shelf(rec *slotdv1.TaskRecord) int {
	if s := int(rec.GetStatus()); s > 0 && s < statuses {
		return s
	}
	return 0
}

func stateOf(rec *slotdv1.TaskRecord) int {
	if isTerminal(rec) {
		return terminal
	}
	return active
}

func isTerminal(rec *slotdv1.TaskRecord) bool { return rec.GetPhase() == slotdv1.Phase_PHASE_FINISHED }

func endedBefore(a, b *entry) bool {
	if a.rec.GetUpdatedAt() != b.rec.GetUpdatedAt() {
		return a.rec.GetUpdatedAt() < b.rec.GetUpdatedAt()
	}
	return a.id < b.id
}
