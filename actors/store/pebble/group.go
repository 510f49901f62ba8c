package pebble

import (
	"github.com/cockroachdb/pebble/v2"

	"slotd/actors/failpoint"
)

// What one group holds at most. Commits that wait together are written together; bounds keep the first of them from
// waiting for the last of many.
const (
	groupCommits = 1024
	groupBytes   = 1 << 20
)

// batchMemory is what a batch keeps of its memory for another use: a whole group, most of the time.
var batchMemory = pebble.WithMaxRetainedSizeBytes(2 * groupBytes)

// group is what is applied, and becomes durable, as one.
type group struct {
	commits []commit
	batch   *pebble.Batch // nil: there is nothing to write
	counter uint64        // of the batch
	err     error         // the only commit cannot be written at all
}

// apply is the goroutine that gathers what is queued into groups and applies them, for the length of one life. It is one
// group ahead of what is being synced, which keeps the disk busy; more would make the groups smaller, and each costs the
// same sync. It ends when the store is closed and nothing is queued, or when the disk has failed, unless the
// engine has got it and does not give it back.
func (s *Store) apply(l *life) {
	defer close(l.idle)
	defer close(l.applied)
	e := encoder{keep: s.keep}
	for {
		g := s.gather(l, &e)
		if g == nil {
			return
		}
		if g.batch != nil {
			failpoint.Hit("store/before")
			if !l.write(g.batch) {
				return
			}
			failpoint.Hit("store/applied")
		}
		select {
		case l.applied <- g:
		case <-l.fence.tripped:
			return
		}
	}
}

// write applies a batch. False: the life is over.
func (l *life) write(b *pebble.Batch) (ok bool) {
	defer func() {
		if p := recover(); p != nil {
			l.fence.trip("write", "", panicked(p))
		}
	}()
	if err := l.db.ApplyNoSyncWait(b, pebble.Sync); err != nil {
		l.fence.trip("write", "", err)
		return false
	}
	return true
}

// await is the goroutine that waits until what was applied is durable, and answers it. It ends as apply does.
func (s *Store) await(l *life) {
	for {
		var g *group
		var ok bool
		select {
		case g, ok = <-l.applied:
		case <-l.fence.tripped:
		}
		if !ok {
			close(l.drained)
			return
		}
		if g.batch != nil {
			if err := g.batch.SyncWait(); err != nil {
				l.fence.trip("sync", "", err)
				return
			}
		}
		if !s.settle(l, g) {
			return
		}
	}
}

// gather waits for commits and returns them as a group that is ready to be applied; nil when there will be none.
func (s *Store) gather(l *life, e *encoder) *group {
	for {
		g, more := s.peek(l)
		if !more {
			return nil
		}
		if g != nil {
			s.encode(g, l, e)
			if s.take(l, g) {
				return g
			}
			return nil
		}
		select {
		case <-s.wake:
		case <-l.fence.tripped:
			return nil
		}
	}
}

// peek copies the front of the queue into a group without taking it: while it is being encoded, it is still the
// store's to answer.
func (s *Store) peek(l *life) (g *group, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch n := min(len(s.queue)-s.head, groupCommits); {
	case l.retired:
		return nil, false
	case s.refusing:
		return nil, true
	case n > 0:
		g := s.newGroup()
		g.commits = append(g.commits, s.queue[s.head:s.head+n]...)
		return g, true
	default:
		return nil, !s.closed
	}
}

// take makes the group's commits leave the queue. False: the store has answered them itself.
func (s *Store) take(l *life, g *group) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.retired {
		return false
	}
	s.drop(len(g.commits))
	s.flight = append(s.flight, g)
	s.refusing = g.err != nil
	return true
}

// encode writes as many of the group's commits as fit into its batch, and lets go of the others.
func (s *Store) encode(g *group, l *life, e *encoder) {
	n, err := s.fill(g, l, e, len(g.commits))
	if err != nil && n > 0 { // again, up to the one that cannot be written
		discard(g)
		n, err = s.fill(g, l, e, n)
	}
	if err != nil { // the first: it is answered alone
		discard(g)
		g.err, n = err, 1
	}
	clear(g.commits[n:])
	g.commits = g.commits[:n]
	if g.batch != nil {
		l.commits++
		g.counter = l.commits
	}
}

// fill encodes at most limit commits and returns how many it has encoded.
func (s *Store) fill(g *group, l *life, e *encoder, limit int) (n int, err error) {
	defer func() {
		if failed := e.end(); err == nil {
			err = failed
		}
	}()
	for n < limit && (g.batch == nil || g.batch.Len() < groupBytes) {
		c := &g.commits[n]
		if c.err == nil && !c.batch.Empty() {
			if g.batch == nil {
				g.batch = l.db.NewBatch(batchMemory)
				e.begin(g.batch, l.db)
			}
			if err := e.add(c.batch); err != nil {
				return n, err
			}
		}
		n++
	}
	if g.batch == nil {
		return n, nil
	}
	return n, e.count(l.commits + 1)
}

// discard gives a group's batch back to the engine.
func discard(g *group) {
	if g.batch != nil {
		_ = g.batch.Close() // it is not being applied: there is nothing that could fail
		g.batch = nil
	}
}

// recycle keeps a group for another use. The engine must be through with it.
func (s *Store) recycle(g *group) {
	discard(g)
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(g.commits)
	*g = group{commits: g.commits[:0]}
	s.spare = append(s.spare, g)
}

// newGroup returns a group to fill. The caller holds the lock.
func (s *Store) newGroup() *group {
	if n := len(s.spare); n > 0 {
		g := s.spare[n-1]
		s.spare = s.spare[:n-1]
		return g
	}
	return new(group)
}
