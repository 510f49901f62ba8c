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
			Spawn{ev.Task},
			accepted(ev, messages.Admitted),
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
		effects = append(effects, s.supersede(old)...)
	}
	return append(effects, accepted(ev, messages.Replaced))
}

func (s *Slot) supersede(e *entry) []Effect {
	return append(s.end(e, messages.ReasonSuperseded), Count{messages.Superseded})
}

// kept: what the task replaced can no longer come back, and the holder has to go for it.
func (s *Slot) kept(ev Kept) []Effect {
	var effects []Effect
	if old := s.limbo[ev.Task]; old != nil {
		delete(s.limbo, ev.Task)
		effects = s.ended(old)
	}
	at := s.find(ev.Task)
	if at == nil {
		return effects
	}
	e := *at
	old := e.replaced
	e.replaced = nil
	if old != nil && old.owed {
		effects = append(effects, s.supersede(old)...)
	}
	if !s.pending(e) || s.holder == nil { // the daemon stops: it is for the next life to let it hold the slot
		return effects
	}
	return append(effects, s.retire(messages.ReasonReplaced, nil)...)
}

// refused takes a task out whose admission the store did not keep, and brings back what it had replaced.
func (s *Slot) refused(ev Refused) []Effect {
	if s.queued[ev.Task] != nil {
		return refusals(s.dequeue(ev.Task))
	}
	effects := s.forgone(ev.Task)
	at := s.find(ev.Task)
	if at == nil {
		return effects
	}
	gone := *at
	effects = append(effects, refusals(gone)...)
	if gone != s.holder {
		*at = gone.replaced
		if old := gone.replaced; old != nil {
			old.owed = at != &s.replacement
		}
		return effects
	}
	s.holder = nil
	if old := gone.replaced; old != nil {
		old.owed = s.replacement != nil // it gives way to whoever has come meanwhile
		last := &s.replacement
		for *last != nil {
			last = &(*last).replaced
		}
		*last = old
	}
	return append(effects, s.next()...)
}

// forgone is the refusal of a task that others were not to come back for.
func (s *Slot) forgone(task string) []Effect {
	var effects []Effect
	for successor, old := range s.limbo {
		if old.task == task { // there is nothing of it to end
			delete(s.limbo, successor)
			effects = append(effects, refusals(old)...)
		}
	}
	if old := s.limbo[task]; old != nil {
		delete(s.limbo, task)
		effects = append(effects, s.end(old, s.parting())...)
	}
	return effects
}

// find returns where the slot keeps the holder, the replacement, or what one of these would give way to if the store
// refused it.
func (s *Slot) find(task string) **entry {
	for _, top := range []**entry{&s.holder, &s.replacement} {
		for at := top; *at != nil; at = &(*at).replaced {
			if (*at).task == task {
				return at
			}
		}
	}
	return nil
}

// pending: it is the replacement, or would be if those after it were refused.
func (s *Slot) pending(e *entry) bool {
	for p := s.replacement; p != nil; p = p.replaced {
		if p == e {
			return true
		}
	}
	return false
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
