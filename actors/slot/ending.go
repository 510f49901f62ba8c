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

// next gives the free slot to the replacement, else to the head of the queue, else leaves it idle. What waits for the
// next life is left alone.
func (s *Slot) next() []Effect {
	e := s.replacement
	if s.keep {
		if s.phase != Idle {
			s.become(Idle)
		}
		return nil
	}
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
		s.holder.await(whenGone(ev))
		return s.retire(messages.ReasonCanceled, ev.Grace)
	case s.queued[ev.Task] != nil:
		return s.leave(s.dequeue(ev.Task), ev)
	case s.replacement != nil && s.replacement.task == ev.Task:
		e := s.replacement
		s.replacement = nil
		return append(s.leave(e, ev), s.withdraw(e)...)
	case s.yielded(ev.Task) != nil:
		old := s.yielded(ev.Task)
		old.purge = old.purge || ev.Purge
		old.await(whenGone(ev))
		if e := s.successor(ev.Task); e != nil {
			return s.withdraw(e)
		}
		return nil
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
	effects := []Effect{Stop{Task: s.holder.task, Cause: cause, Grace: grace}}
	if s.holder.asleep {
		effects = append(effects, Spawn{s.holder.task})
	}
	s.holder.asleep, s.holder.parked = false, false
	return effects
}

// leave ends a task that waits.
func (s *Slot) leave(e *entry, ev Cancel) []Effect {
	e.purge = e.purge || ev.Purge
	e.await(whenGone(ev))
	return s.end(e, messages.ReasonCanceled)
}

// clear answers when all that it ended has ended.
func (s *Slot) clear(ev Clear) []Effect {
	answer := Answer{Caller: ev.Caller, Reply: Cleared}
	for e := range s.waiting {
		answer.Tasks = append(answer.Tasks, e.task)
	}
	effects := s.empty()
	if !ev.Holder || s.holder == nil {
		return append(effects, answer)
	}
	answer.Tasks = append(answer.Tasks, s.holder.task)
	s.holder.await(answer)
	return append(effects, s.retire(messages.ReasonCanceled, nil)...)
}

// drain ends all that is here, or with Keep only what runs. It may be repeated with a shorter grace.
func (s *Slot) drain(ev Drain) []Effect {
	s.draining, s.keep = true, ev.Keep
	if ev.Keep {
		if s.holder == nil || s.holder.asleep {
			return nil
		}
		return []Effect{Stop{Task: s.holder.task, Cause: messages.ReasonShutdown, Grace: &ev.Grace, Keep: true}}
	}
	effects := s.empty()
	if s.holder != nil {
		effects = append(effects, s.retire(messages.ReasonShutdown, &ev.Grace)...)
	}
	return effects
}

// empty ends all that waits, and all that would wait again if the store refused its successor.
func (s *Slot) empty() []Effect {
	var effects []Effect
	for e := range s.waiting {
		effects = append(effects, s.end(e, s.parting())...)
	}
	for _, e := range []*entry{s.replacement, s.holder} {
		if e != nil {
			effects = append(effects, s.withdraw(e)...)
		}
	}
	s.replacement, s.queue, s.queued = nil, queue{}, nil
	return effects
}

// withdraw sees to it that nothing comes back if the store refuses e. What gave way to a task that is not known to be
// durable has its end in the very commit of that task, so it may have to be ended later; what is owed an end gets it
// now.
func (s *Slot) withdraw(e *entry) []Effect {
	var effects []Effect
	for e.replaced != nil {
		old := e.replaced
		if old.owed {
			effects = append(effects, s.end(old, s.parting())...)
		} else {
			if s.limbo == nil {
				s.limbo = make(map[string]*entry)
			}
			s.limbo[e.task] = old
		}
		e.replaced = nil
		e = old
	}
	return effects
}

// yielded finds a task that has given way to one which the store may yet refuse.
func (s *Slot) yielded(task string) *entry {
	if e := s.successor(task); e != nil {
		return e.replaced
	}
	for _, old := range s.limbo {
		if old.task == task {
			return old
		}
	}
	return nil
}

// successor finds the task that another would come back for.
func (s *Slot) successor(task string) *entry {
	for _, e := range []*entry{s.holder, s.replacement} {
		for ; e != nil && e.replaced != nil; e = e.replaced {
			if e.replaced.task == task {
				return e
			}
		}
	}
	return nil
}

// parting is the reason for which what waits ends without a successor.
func (s *Slot) parting() messages.Reason {
	if s.draining && !s.keep {
		return messages.ReasonShutdown
	}
	return messages.ReasonCanceled
}

// end is the end of a task that never started.
func (s *Slot) end(e *entry, reason messages.Reason) []Effect {
	return append([]Effect{Record{Task: e.task, Change: End, Reason: reason}}, s.ended(e)...)
}

// ended does what was asked for once the task had ended.
func (s *Slot) ended(e *entry) []Effect {
	var effects []Effect
	if e.purge {
		effects = append(effects, Record{Task: e.task, Change: Delete})
	}
	for _, answer := range e.waiters {
		effects = append(effects, answer)
	}
	return effects
}

// await keeps an answer until the task has ended. One to nobody is not kept.
func (e *entry) await(answer Answer) {
	if answer.Caller != 0 {
		e.waiters = append(e.waiters, answer)
	}
}

func whenGone(ev Cancel) Answer {
	return Answer{Caller: ev.Caller, Reply: Gone, Task: ev.Task}
}
