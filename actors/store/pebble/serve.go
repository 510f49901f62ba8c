package pebble

import (
	"cmp"
	"errors"

	"slotd/actors/failpoint"
	"slotd/actors/store"
)

// begin lets a life apply what is queued. The caller holds the lock.
func (s *Store) begin(l *life) (last *view) {
	s.problem, s.fence = nil, l.fence
	go s.apply(l)
	go s.await(l)
	return s.show(&view{engine: l.engine})
}

// serve is the goroutine that sees one life after the other through.
func (s *Store) serve(l *life) {
	defer close(s.ended)
	for l != nil && !s.live(l) {
		l = s.outage(l)
	}
	s.finish()
}

// live waits for the end of a life. True: the store is closed and everything has been answered; false: the disk has
// failed.
func (s *Store) live(l *life) bool {
	select {
	case <-l.drained:
	case <-l.fence.tripped:
	}
	return l.fence.fault.Load() == nil
}

// settle answers a group that is durable, or refused. False: that is not the business of this life any more.
func (s *Store) settle(l *life, g *group) bool {
	s.answering.Lock()
	defer s.answering.Unlock()
	if l.retired {
		return false
	}
	err := g.err
	s.answer(g, err)
	s.recycle(g)
	if err != nil {
		s.log.Error("batch refused", "error", err)
		s.refuse(err, func() { s.refusing = false })
		s.rouse()
	}
	return true
}

// answer calls the dones of the oldest group.
func (s *Store) answer(g *group, err error) {
	if err == nil {
		s.acknowledge(g)
	}
	for _, c := range g.commits {
		c.done(cmp.Or(c.err, err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	copy(s.flight, s.flight[1:])
	s.flight[len(s.flight)-1] = nil
	s.flight = s.flight[:len(s.flight)-1]
}

// acknowledge counts what a durable group holds, and leaves word of it outside of the engine.
func (s *Store) acknowledge(g *group) {
	if g.batch != nil {
		s.acked = g.counter
		s.witness.Note(g.counter)
		failpoint.Hit("store/synced")
	}
	commits, records := 0, 0
	for _, c := range g.commits {
		if c.err == nil {
			commits++
			records += c.batch.Len()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commits += uint64(commits)
	s.records += uint64(records)
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

// finish answers what came after Close and releases everything.
func (s *Store) finish() {
	var last *view
	s.refuse(store.ErrClosed, func() { s.over, last = true, s.show(nil) })
	<-last.vacated
	if err := s.witness.Close(); err != nil {
		s.log.Warn("witness of the store is behind", "error", err)
	}
	s.failure = errors.Join(last.close(), s.lock.Close())
	s.routines.Wait()
	s.cache.Unref()
}
