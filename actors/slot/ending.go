package slot

import (
	"time"

	"slotd/messages"
)

// finished frees the slot and hands it on, in one commit.
func (s *Slot) finished(ev Finished) []Effect {
	if s.holder == nil || s.holder.task != ev.Task {
		return nil // a late word from a holder already released
	}
	gone := s.holder
	s.holder = nil
	effects := []Effect{Record{Task: gone.task, Change: Finish}}
	if gone.purge {
		effects = append(effects, Record{Task: gone.task, Change: Delete})
	}
	effects = append(effects, Release(ev))
	for _, answer := range gone.waiters {
		effects = append(effects, answer)
	}
	return append(effects, s.next()...)
}

// next gives the free slot to the replacement, else to the head of the queue, else leaves it idle.
func (s *Slot) next() []Effect {
	e := s.replacement
	if e != nil {
		s.replacement = nil
	} else if e = s.queue.pop(); e != nil {
		delete(s.queued, e.task)
	} else {
		if s.phase != Idle {
			s.become(Idle)
		}
		return nil
	}
	s.holder = e
	s.become(Occupied)
	return []Effect{Record{Task: e.task, Change: Promote}, Spawn{e.task}}
}

func (s *Slot) cancel(ev Cancel) []Effect {
	switch {
	case s.holder != nil && s.holder.task == ev.Task:
		s.holder.purge = s.holder.purge || ev.Purge
		s.holder.waiters = append(s.holder.waiters, whenGone(ev))
		return s.retire(messages.ReasonCanceled, ev.Grace)
	case s.queued[ev.Task] != nil:
		return s.leave(s.dequeue(ev.Task), ev)
	case s.replacement != nil && s.replacement.task == ev.Task:
		e := s.replacement
		s.withdraw()
		return s.leave(e, ev)
	case ev.Purge: // it has ended before
		return []Effect{Record{Task: ev.Task, Change: Delete}, whenGone(ev)}
	default:
		return []Effect{whenGone(ev)}
	}
}

// retire tells the holder to end. It may be repeated: which cause counts is the task's decision.
func (s *Slot) retire(cause messages.Reason, grace *time.Duration) []Effect {
	if s.phase == Occupied {
		s.become(Retiring)
	}
	return []Effect{Stop{s.holder.task, cause, grace}}
}

// leave ends a task that waits.
func (s *Slot) leave(e *entry, ev Cancel) []Effect {
	e.purge = e.purge || ev.Purge
	e.waiters = append(e.waiters, whenGone(ev))
	return s.end(e, messages.ReasonCanceled)
}

// clear answers when all that it ended has ended.
func (s *Slot) clear(ev Clear) []Effect {
	var effects []Effect
	answer := Answer{Caller: ev.Caller, Reply: Cleared}
	for e := range s.waiting {
		answer.Tasks = append(answer.Tasks, e.task)
		effects = append(effects, s.end(e, messages.ReasonCanceled)...)
	}
	s.empty()
	if !ev.Holder || s.holder == nil {
		return append(effects, answer)
	}
	answer.Tasks = append(answer.Tasks, s.holder.task)
	s.holder.waiters = append(s.holder.waiters, answer)
	return append(effects, s.retire(messages.ReasonCanceled, nil)...)
}

// drain ends all that is here. It may be repeated with a shorter grace.
func (s *Slot) drain(ev Drain) []Effect {
	s.draining = true
	var effects []Effect
	for e := range s.waiting {
		effects = append(effects, s.end(e, messages.ReasonShutdown)...)
	}
	s.empty()
	if s.holder != nil {
		effects = append(effects, s.retire(messages.ReasonShutdown, &ev.Grace)...)
	}
	return effects
}

// empty forgets all that waits.
func (s *Slot) empty() {
	s.withdraw()
	s.queue, s.queued = queue{}, nil
}

// withdraw forgets the replacement, but not what would come back if the store refused it.
func (s *Slot) withdraw() {
	for e := s.replacement; e != nil && e.replaced != nil; e = e.replaced {
		if s.limbo == nil {
			s.limbo = make(map[string]*entry)
		}
		s.limbo[e.task] = e.replaced
	}
	s.replacement = nil
}

// end is the end of a task that never started.
func (s *Slot) end(e *entry, reason messages.Reason) []Effect {
	effects := []Effect{Record{Task: e.task, Change: End, Reason: reason}}
	if e.purge {
		effects = append(effects, Record{Task: e.task, Change: Delete})
	}
	for _, answer := range e.waiters {
		effects = append(effects, answer)
	}
	return effects
}

func whenGone(ev Cancel) Answer {
	return Answer{Caller: ev.Caller, Reply: Gone, Task: ev.Task}
}
