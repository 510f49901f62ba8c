package sim

import (
	"slices"
	"strings"

	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
)

// acceptedIsThere: what was answered was on the disk before, is found again by every later life, and goes only when
// somebody deletes it or retention does.
func acceptedIsThere(b *book, wrong report) {
	for _, r := range b.requests {
		if r.verb != submit || !r.granted() {
			continue
		}
		s := b.byID[r.answer.task]
		if s == nil || len(s.records) == 0 {
			wrong(r.slot, r.answered, "#%d: %s is nowhere", r.request, r.answer.task)
			continue
		}
		if s.records[0].at > r.answered {
			wrong(r.slot, r.answered, "#%d: %s was answered before it was on the disk", r.request, s.id)
		}
		if s.nonce() != r.nonce {
			wrong(r.slot, r.answered, "#%d: %s was made for %s, not for %s", r.request, s.id, s.nonce(), r.nonce)
		}
	}
	for _, s := range b.tasks {
		if s.deleted != never && !b.mayBeGone(s) {
			wrong(s.slot, s.deleted, "%s is deleted, and nobody asked for it", s.id)
		}
	}
	for i, e := range b.history {
		if f, ok := e.what.(ready); ok {
			b.sameAsDisk(i, b.life(e.life).began, f.tasks, wrong)
		}
	}
}

// mayBeGone: somebody asked for it, or it was terminal, so that retention may take it.
func (b *book) mayBeGone(s *story) bool {
	end := s.end()
	return end != nil && end.at < s.deleted || slices.ContainsFunc(b.requests, func(r *request) bool {
		return r.verb == remove && r.task == s.id && r.at < s.deleted
	})
}

// sameAsDisk: a node that has recovered shows what the disk had when it began, at that version or a later one, unless it
// was deleted since.
func (b *book) sameAsDisk(at, from int, shown []sight, wrong report) {
	versions := map[string]uint64{}
	for _, s := range shown {
		versions[s.task] = s.version
	}
	for _, s := range b.tasks {
		var on uint64
		for _, v := range s.records {
			if v.at < from {
				on = v.GetResourceVersion()
			}
		}
		if on > 0 && (s.deleted == never || s.deleted > at) && versions[s.id] < on {
			wrong(s.slot, at, "%s is shown at version %d after a restart, and was at %d", s.id, versions[s.id], on)
		}
	}
}

// refusedIsNot: every task belongs to a request that was not refused, and a request has one task at most.
func refusedIsNot(b *book, wrong report) {
	for _, s := range b.tasks {
		var asked, granted bool
		for _, r := range b.requests {
			if r.verb != submit || r.slot != s.slot || r.nonce != s.nonce() {
				continue
			}
			asked = true
			granted = granted || r.unknown() || r.granted() && r.answer.task == s.id
		}
		if !granted {
			at := never
			if len(s.records) > 0 {
				at = s.records[0].at
			}
			wrong(s.slot, at, "%s was not accepted (asked for: %v)", s.id, asked)
		}
	}
}

// everyRequestIsAnswered, unless the node crashed, or one of its actors, or it had begun to stop.
func everyRequestIsAnswered(b *book, wrong report) {
	for _, r := range b.requests {
		l := b.life(r.life)
		if r.unknown() && !l.crashed && l.panics == 0 && (l.drained == never || r.at < l.drained) {
			wrong(r.slot, r.at, "#%d %s has no answer", r.request, r.verb)
		}
		if !r.granted() {
			continue
		}
		if s := b.byID[r.answer.task]; r.verb == cancel && (s == nil || s.endAt(b.history) > r.answered) ||
			r.verb == remove && s != nil && len(s.records) > 0 && (s.deleted == never || s.deleted > r.answered) {
			wrong(r.slot, r.answered, "#%d %s of %s is answered before it is done", r.request, r.verb, r.answer.task)
		}
	}
}

// unavailableHasItsCause: the disk has failed in this life, or the node was stopping.
func unavailableHasItsCause(b *book, wrong report) {
	for _, r := range b.requests {
		if r.answered == never || r.answer.label != messages.LabelUnavailable {
			continue
		}
		if l := b.life(r.life); !l.failed && (l.drained == never || l.drained > r.answered) {
			wrong(r.slot, r.answered, "#%d is refused without a cause: %s", r.request, r.answer.text)
		}
	}
}

// keysStandForOneTask: whoever repeats a key is answered with the task of the first, through all lives; with another
// spec, with a refusal.
func keysStandForOneTask(b *book, wrong report) {
	type named struct{ slot, key string }
	first := map[named]*request{}
	made := map[string]string{} // ids by nonce
	for _, r := range b.requests {
		if r.verb != submit || r.key == "" || r.answered == never {
			continue
		}
		name := named{r.slot, r.key}
		earlier := first[name]
		switch {
		case r.answer.label == messages.LabelIdempotencyKeyReused:
			if earlier != nil && earlier.nonce == r.nonce && earlier.answered < r.at {
				wrong(r.slot, r.answered, "#%d repeats #%d and is told that the spec is another", r.request, earlier.request)
			}
		case r.granted() && earlier == nil:
			first[name] = r
		case r.granted() && earlier.answer.task != r.answer.task:
			wrong(r.slot, r.answered, "#%d and #%d have one key and two tasks", earlier.request, r.request)
		case r.granted() && earlier.nonce != r.nonce:
			wrong(r.slot, r.answered, "#%d reuses the key of #%d for another spec", r.request, earlier.request)
		case r.refused() && earlier != nil && earlier.answered < r.at && r.answer.label != messages.LabelUnavailable:
			wrong(r.slot, r.answered, "#%d repeats #%d and is refused: %s", r.request, earlier.request, r.answer.label)
		}
	}
	for _, s := range b.tasks {
		if s.spec == nil {
			continue
		}
		if other, twice := made[s.nonce()]; twice {
			wrong(s.slot, s.records[0].at, "%s and %s are of one request", other, s.id)
		}
		made[s.nonce()] = s.id
	}
}

// noComplaint: a node logs errors only when something is wrong with it, or with its disk.
func noComplaint(b *book, wrong report) {
	for i, e := range b.history {
		f, ok := e.what.(complained)
		if !ok {
			continue
		}
		l := b.life(e.life)
		injected := l.panics > 0 && !strings.Contains(f.text, "actor panicked")
		unread := l.failed && strings.Contains(f.text, "recovery failed")
		if !injected && !unread {
			wrong("", i, "%s", f.text)
		}
	}
}

// durableBeforeVisible: what a client is shown was on the disk before, and an attempt that starts as well.
func durableBeforeVisible(b *book, wrong report) {
	for _, s := range b.tasks {
		for _, e := range s.seen {
			known := slices.ContainsFunc(s.records, func(v version) bool {
				return v.GetResourceVersion() >= e.what.version && v.at < e.at
			})
			if !known {
				wrong(s.slot, e.at, "seen before it was on the disk: %v", e.what)
			}
		}
		for _, e := range s.spawned {
			if !e.what.recorded {
				wrong(s.slot, e.at, "%v was started before its run was on the disk", e.what.attempt)
			}
		}
	}
}

// terminalIsFinal: versions only grow, and nothing follows an end but the deletion.
func terminalIsFinal(b *book, wrong report) {
	for _, s := range b.tasks {
		var last *slotdv1.TaskRecord
		for _, v := range s.records {
			switch {
			case last == nil || v.GetResourceVersion() > last.GetResourceVersion() && last.GetPhase() != slotdv1.Phase_PHASE_FINISHED:
			case v.TaskRecord == last: // committed again
			case last.GetPhase() == slotdv1.Phase_PHASE_FINISHED:
				wrong(s.slot, v.at, "%s goes on after its end: %v", s.id, v.GetPhase())
			default:
				wrong(s.slot, v.at, "%s goes back from version %d to %d", s.id, last.GetResourceVersion(), v.GetResourceVersion())
			}
			last = v.TaskRecord
			if s.deleted != never && v.at > s.deleted {
				wrong(s.slot, v.at, "%s is written after it was deleted", s.id)
			}
		}
		b.seenTerminal(s, wrong)
	}
}

func (b *book) seenTerminal(s *story, wrong report) {
	end := s.end()
	for _, e := range s.seen {
		if !e.what.terminal {
			continue
		}
		if end == nil || e.what.reason != end.GetReason() || e.what.phase != end.GetStatus() || e.what.attempt != end.GetAttempt() {
			wrong(s.slot, e.at, "seen terminal, but its end is another: %v", e.what)
		}
	}
}
