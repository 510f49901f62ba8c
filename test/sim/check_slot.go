package sim

import (
	"regexp"
	"slices"
	"strings"

	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// oneLiveAttempt: at no time do two processes live in a slot, whatever life of the node has started them.
func oneLiveAttempt(b *book, wrong report) {
	living := map[string][]attempt{}
	for i, e := range b.history {
		switch f := e.what.(type) {
		case spawned:
			if living[f.slot] = append(living[f.slot], f.attempt); len(living[f.slot]) > 1 {
				wrong(f.slot, i, "%v live at a time", living[f.slot])
			}
		case died:
			n := slices.Index(living[f.slot], f.attempt)
			if n < 0 {
				wrong(f.slot, i, "%v died without having lived", f.attempt)
				continue
			}
			living[f.slot] = slices.Delete(living[f.slot], n, n+1)
		}
	}
}

// oneHolder: from its first run on until it is terminal, a task is the only one of its slot that begins runs.
func oneHolder(b *book, wrong report) {
	for i, s := range b.tasks {
		if len(s.runs) == 0 {
			continue
		}
		from, to := s.runs[0].begun, s.endAt(b.history)
		for j, other := range b.tasks {
			if i == j || other.slot != s.slot {
				continue
			}
			for _, r := range other.runs {
				if r.begun > from && r.begun < to {
					wrong(s.slot, r.begun, "run %d of %s begins while %s holds the slot", r.number, other.id, s.id)
				}
			}
		}
	}
}

// firstComeFirstServed: of the tasks that were queued, an older one begins before a newer one.
func firstComeFirstServed(b *book, wrong report) {
	last := map[string]*story{}
	for _, s := range b.tasks { // in id order
		if s.spec.GetAdmission() != soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_QUEUE || len(s.runs) == 0 {
			continue
		}
		if older := last[s.slot]; older != nil && older.runs[0].begun > s.runs[0].begun {
			wrong(s.slot, older.runs[0].begun, "%s begins after the newer %s", older.id, s.id)
		}
		last[s.slot] = s
	}
}

// endsHaveCauses: a task is canceled because somebody canceled, deleted or purged it; replaced or superseded because a
// newer replacement was kept; shut down because the node was stopped and would not repeat it.
func endsHaveCauses(b *book, wrong report) {
	for _, s := range b.tasks {
		end := s.end()
		if end == nil {
			continue
		}
		switch reason := messages.Reason(end.GetReason()); reason {
		case messages.ReasonCanceled:
			if !slices.ContainsFunc(b.requests, func(r *request) bool { return r.at < end.at && r.ends(s) }) {
				wrong(s.slot, end.at, "%s is canceled, and nobody asked for it", s.id)
			}
		case messages.ReasonReplaced, messages.ReasonSuperseded:
			if !slices.ContainsFunc(b.tasks, func(other *story) bool { return other.replaces(s, end.at) }) {
				wrong(s.slot, end.at, "%s is %s, and nothing that was accepted came for it", s.id, reason)
			}
			if reason == messages.ReasonSuperseded && len(s.runs) > 0 {
				wrong(s.slot, end.at, "%s is superseded, but had started", s.id)
			}
		case messages.ReasonShutdown:
			if !b.stoppedBefore(end.at) {
				wrong(s.slot, end.at, "%s ends with the node, which nobody stopped", s.id)
			}
			if s.spec.GetRestart() != soltiv1.RestartStrategy_RESTART_STRATEGY_NEVER || len(s.runs) == 0 {
				wrong(s.slot, end.at, "%s ends with the node, and was to be kept", s.id)
			}
		default: // its last run has the cause
		}
	}
}

// stoppedBefore: in this life or, when that crashed before the end was written, in an earlier one.
func (b *book) stoppedBefore(at int) bool {
	for _, l := range b.lives {
		if l.drained != never && l.drained < at {
			return true
		}
	}
	return false
}

// ends: it may have ended the task, and was not refused for certain. What a disk could not record is refused and has
// been done all the same.
func (r *request) ends(s *story) bool {
	if r.refused() && r.answer.label != messages.LabelUnavailable {
		return false
	}
	switch r.verb {
	case cancel, remove:
		return r.task == s.id
	case purge:
		return r.slot == s.slot && (r.holder || len(s.runs) == 0 || s.runs[0].begun > r.at)
	default:
		return false
	}
}

// replaces: it is a newer replacement for the task's slot, and on the disk by then. What was refused never is.
func (s *story) replaces(older *story, by int) bool {
	return s.slot == older.slot && s.id > older.id && len(s.records) > 0 && s.records[0].at <= by &&
		s.spec.GetAdmission() == soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_REPLACE
}

var taskID = regexp.MustCompile(`tsk_[0-9A-Z]{26}`)

// busyNamesAHolder: who is refused because a slot is busy is told of a task that held it at some moment between the
// question and the answer.
func busyNamesAHolder(b *book, wrong report) {
	for _, r := range b.requests {
		if r.answered == never || r.answer.label != messages.LabelSlotBusy {
			continue
		}
		holder := b.byID[taskID.FindString(r.answer.text)]
		if holder == nil || holder.slot != r.slot || len(holder.records) == 0 {
			wrong(r.slot, r.answered, "#%d: no task of the slot is named: %s", r.request, r.answer.text)
			continue
		}
		held := slices.IndexFunc(holder.records, func(v version) bool { return v.GetRole() == slotdv1.Role_ROLE_HOLDER })
		if held < 0 || holder.records[held].at > r.answered || holder.endAt(b.history) < r.at {
			wrong(r.slot, r.answered, "#%d: %s did not hold the slot then", r.request, holder.id)
		}
	}
}

// stopLeavesNothing: when a graceful stop is over, nothing runs.
func stopLeavesNothing(b *book, wrong report) {
	for i, e := range b.history {
		if f, ok := e.what.(stopped); ok && f.running > 0 {
			wrong("", i, "%d processes are left", f.running)
		}
	}
}

// allEnds: when all accidents are over and everything had time, nothing is left that runs or waits, and files only of
// tasks that are kept.
func allEnds(b *book, wrong report) {
	if b.settled == nil {
		wrong("", never, "it never settled")
		return
	}
	f := b.settled
	if f.running+f.attempts+f.active+f.slots > 0 {
		wrong("", never, "%d processes, %d attempts, %d active tasks and %d slots are left", f.running, f.attempts, f.active, f.slots)
	}
	kept := map[string]bool{}
	for _, s := range f.tasks {
		kept[s.task] = true
		if !s.terminal {
			wrong(s.slot, never, "left: %v", s)
		}
	}
	for _, name := range f.folders {
		if strings.HasPrefix(name, messages.IDPrefix) && !kept[name] {
			wrong("", never, "the log of %s is left", name)
		}
	}
	for _, s := range b.tasks {
		if want := len(s.records) > 0 && s.deleted == never; kept[s.id] != want {
			wrong(s.slot, never, "%s is shown %v, is on the disk %v", s.id, kept[s.id], want)
		}
	}
}
