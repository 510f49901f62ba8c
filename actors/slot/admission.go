package slot

import (
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

func (s *Slot) submitted(ev Submitted) []Effect {
	switch {
	case s.draining:
		return []Effect{Answer{Caller: ev.Caller, Reply: Draining}}
	case s.holder == nil:
		s.holder = &entry{task: ev.Task}
		s.become(Occupied)
		return []Effect{
			Record{Task: ev.Task, Change: Admit, Role: slotdv1.Role_ROLE_HOLDER},
			Spawn{ev.Task}, accepted(ev, messages.Admitted),
		}
	case ev.Admission == soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_QUEUE:
		return s.admitQueued(ev)
	case ev.Admission == soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_REPLACE:
		return s.admitReplacement(ev)
	default:
		return []Effect{Answer{Caller: ev.Caller, Reply: Busy, Task: s.holder.task, Decision: messages.Dropped}}
	}
}

func (s *Slot) admitQueued(ev Submitted) []Effect {
	if s.queue.size >= s.limit {
		return []Effect{Answer{Caller: ev.Caller, Reply: Full, Decision: messages.QueueFull}}
	}
	s.enqueue(&entry{task: ev.Task})
	return []Effect{
		Record{Task: ev.Task, Change: Admit, Role: slotdv1.Role_ROLE_QUEUED},
		accepted(ev, messages.Queued),
	}
}

// admitReplacement leaves the holder alone until the replacement is durable, and keeps the one that gives way at hand
// until then: a submission that ends in a refusal must cost no accepted task its life.
func (s *Slot) admitReplacement(ev Submitted) []Effect {
	old := s.replacement
	s.replacement = &entry{task: ev.Task, replaced: old}
	effects := []Effect{Record{Task: ev.Task, Change: Admit, Role: slotdv1.Role_ROLE_REPLACEMENT}}
	if old != nil {
		effects = append(effects, s.end(old, messages.ReasonSuperseded)...)
		effects = append(effects, Count{messages.Superseded})
	}
	return append(effects, accepted(ev, messages.Replaced))
}

// kept: what the task replaced can no longer come back, and the holder has to go for it.
func (s *Slot) kept(ev Kept) []Effect {
	delete(s.limbo, ev.Task)
	if s.holder != nil && s.holder.task == ev.Task {
		s.holder.replaced = nil
		return nil
	}
	for e := s.replacement; e != nil; e = e.replaced {
		if e.task == ev.Task {
			e.replaced = nil
			return s.retire(messages.ReasonReplaced, nil)
		}
	}
	return nil
}

// refused takes a task out whose admission the store did not keep, and brings back what it had replaced.
func (s *Slot) refused(ev Refused) []Effect {
	switch {
	case s.holder != nil && s.holder.task == ev.Task:
		gone := s.holder
		s.holder = nil
		effects := append([]Effect{Discard(ev)}, refusals(gone)...)
		if old := gone.replaced; old != nil && s.replacement != nil {
			effects = append(effects, s.end(old, messages.ReasonSuperseded)...) // a newer one has come meanwhile
		} else if old != nil {
			s.replacement = old
		}
		return append(effects, s.next()...)
	case s.queued[ev.Task] != nil:
		return refusals(s.dequeue(ev.Task))
	}
	for at := &s.replacement; *at != nil; at = &(*at).replaced {
		if gone := *at; gone.task == ev.Task {
			*at = gone.replaced
			return refusals(gone)
		}
	}
	for successor, old := range s.limbo {
		if old.task == ev.Task { // nothing of it is left to come back
			delete(s.limbo, successor)
		}
	}
	if old := s.limbo[ev.Task]; old != nil { // it would have been canceled with its successor
		delete(s.limbo, ev.Task)
		return s.end(old, messages.ReasonCanceled)
	}
	return nil
}

func accepted(ev Submitted, decision messages.Decision) Answer {
	return Answer{Caller: ev.Caller, Reply: Accepted, Task: ev.Task, Decision: decision}
}

// refusals answers those who wait for the end of a task that never was.
func refusals(e *entry) []Effect {
	effects := make([]Effect, 0, len(e.waiters))
	for _, answer := range e.waiters {
		effects = append(effects, Answer{Caller: answer.Caller, Reply: Unavailable})
	}
	return effects
}
