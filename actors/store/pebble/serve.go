package pebble

import (
	"cmp"
	"errors"

	"slotd/actors/failpoint"
	"slotd/actors/store"
)

// begin lets a life apply what is queued.
func (s *Store) begin(l *life) {
	s.mu.Lock()
	s.life, s.view, s.problem = l, &view{db: l.db}, nil
	s.mu.Unlock()
	go s.apply(l)
}

// serve is the goroutine that answers: it waits for one group after the other to become durable and calls the dones.
func (s *Store) serve(l *life) {
	defer close(s.ended)
	if !s.settle(l) {
		s.outage(l)
	}
	s.finish(l)
}

// settle answers the groups of one life in order. True: the store is closed and everything has been answered; false:
// the disk has failed.
func (s *Store) settle(l *life) bool {
	for {
		select {
		case g, ok := <-l.applied:
			if !ok {
				return l.fence.fault.Load() == nil
			}
			if g.batch != nil {
				if err := g.batch.SyncWait(); err != nil {
					l.fence.trip("sync", "", err)
					return false
				}
				failpoint.Hit("store/synced")
			}
			err := g.err
			s.answer(g, err)
			if err != nil {
				s.log.Error("batch refused", "error", err)
				s.refuse(err, func() { s.refusing = false })
				s.rouse()
			}
		case <-l.fence.tripped:
			return false
		}
	}
}

// outage waits for the end of a store whose disk has failed: what was under way stays unanswered until then.
func (s *Store) outage(l *life) {
	s.mu.Lock()
	s.problem = l.fence.fault.Load()
	l.retired = true
	closed := s.closed
	s.mu.Unlock()
	s.log.Error("store cannot be written", "error", l.fence.fault.Load())
	for !closed {
		<-s.wake
		s.mu.Lock()
		closed = s.closed
		s.mu.Unlock()
	}
	for len(s.flight) > 0 {
		s.answer(s.flight[0], store.ErrClosed)
	}
}

// answer calls the dones of the oldest group.
func (s *Store) answer(g *group, err error) {
	if err == nil {
		records := 0
		commits := 0
		for _, c := range g.commits {
			if c.err == nil {
				commits++
				records += c.batch.Len()
			}
		}
		s.mu.Lock()
		s.commits += uint64(commits)
		s.records += uint64(records)
		s.mu.Unlock()
	}
	for _, c := range g.commits {
		c.done(cmp.Or(c.err, err))
	}
	if g.batch != nil {
		_ = g.batch.Close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	copy(s.flight, s.flight[1:])
	s.flight = s.flight[:len(s.flight)-1]
	clear(g.commits)
	*g = group{commits: g.commits[:0]}
	s.spare = append(s.spare, g)
}

// refuse answers what is queued until there is no more, which then is noted under the same lock.
func (s *Store) refuse(err error, note func()) {
	var queue []commit
	for {
		s.mu.Lock()
		queue = append(queue[:0], s.queue[s.head:]...)
		s.drop(len(queue))
		if len(queue) == 0 {
			note()
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		for _, c := range queue {
			c.done(cmp.Or(c.err, err))
		}
	}
}

// finish answers what came after Close and releases the database.
func (s *Store) finish(l *life) {
	s.refuse(store.ErrClosed, func() { s.over = true })
	s.retire()
	s.failure = errors.Join(l.discard(), s.lock.Close())
	s.cache.Unref()
}
