package history

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"slotd/messages"
	soltiv1 "slotd/messages/solti/v1"
	"slotd/test/faults/mark"
)

// trace is what the processes of an attempt have told.
type trace struct {
	start, end *mark.Mark
	known      Look // when the start was
	kin        []mark.Mark
	followed   map[soltiv1.OutputStreamKind]uint64 // lines a reader has had
}

// lane is what is known of a slot.
type lane struct {
	present attempt // the one that has begun last
	life    int
	first   []mark.Mark // of each task, in the order in which they began
	purged  bool
}

func (h *History) lane(name string) *lane {
	l := h.lanes[name]
	if l == nil {
		l = new(lane)
		h.lanes[name] = l
	}
	return l
}

func (h *History) trace(a attempt) *trace {
	t := h.attempts[a]
	if t == nil {
		t = &trace{followed: make(map[soltiv1.OutputStreamKind]uint64)}
		h.attempts[a] = t
	}
	return t
}

// Marked takes the marks that were made since the last call, in the order of their file. That order is what counts: in
// a slot, nothing of an attempt may come after the start of another.
func (h *History) Marked(marks []mark.Mark) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range marks {
		h.note(m.Task, m.Slot, "mark: %s", markText(m))
		a, l := attempt{m.Task, m.Attempt}, h.lane(m.Slot)
		t := h.trace(a)
		if m.Kind == mark.Start {
			h.started(a, l, t, m)
			continue
		}
		if l.present != a {
			h.report(m.Task, m.Slot, "a process of attempt %d was alive after attempt %d of %s had begun: %s", m.Attempt, l.present.number, l.present.task, m)
		}
		switch m.Kind {
		case mark.End:
			t.end = &m
		case mark.Child:
			t.kin = append(t.kin, m)
		default: // an overlap
			h.report(m.Task, m.Slot, "attempt %d met the living %s", m.Attempt, m.Other)
		}
	}
}

func (h *History) started(a attempt, l *lane, t *trace, m mark.Mark) {
	if t.start != nil {
		h.report(m.Task, m.Slot, "attempt %d has begun twice: %s and %s", m.Attempt, t.start, m)
	}
	if m.Life < l.life {
		h.report(m.Task, m.Slot, "attempt %d of life %d began after life %d had started another in that slot", m.Attempt, m.Life, l.life)
	}
	if m.Life > h.life {
		h.report(m.Task, m.Slot, "attempt %d is of life %d, which has not begun", m.Attempt, m.Life)
	}
	if !slices.ContainsFunc(l.first, func(other mark.Mark) bool { return other.Task == m.Task }) {
		l.first = append(l.first, m)
	}
	t.start, t.known = &m, h.clock
	l.present, l.life = a, m.Life
}

// markText is a mark in few words.
func markText(m mark.Mark) string {
	text := fmt.Sprintf("%s of %s/%d, pid %d of life %d, at %.4f", m.Kind, m.Task, m.Attempt, m.PID, m.Life, float64(m.Boot)/1e9)
	if m.Kind == mark.End {
		text += fmt.Sprintf(", exit %d, told %v, %d lines", m.Code, m.Told, m.Lines)
	}
	return text + m.Other
}

// Begun says whether the process of an attempt has made its first mark.
func (h *History) Begun(id string, number uint32) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.attempts[attempt{id, number}]
	return t != nil && t.start != nil
}

// EndedItself says whether the process of an attempt has made its last mark, unasked.
func (h *History) EndedItself(id string, number uint32) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.attempts[attempt{id, number}]
	return t != nil && t.end != nil && !t.end.Told
}

// Followed says that a reader of a task's log has had the first n lines of one stream of an attempt.
func (h *History) Followed(task string, number uint32, stream soltiv1.OutputStreamKind, n uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.trace(attempt{task, number})
	t.followed[stream] = max(t.followed[stream], n)
}

// Remains returns the marks of processes that earlier lives have started, and that have not said that they end.
func (h *History) Remains() []mark.Mark {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []mark.Mark
	for _, t := range h.attempts {
		if t.start == nil || t.start.Life >= h.life {
			continue
		}
		if t.end == nil {
			all = append(all, *t.start)
		}
		all = append(all, t.kin...)
	}
	return all
}

// dueSlack is how much earlier than due an attempt may begin: times are whole milliseconds.
const dueSlack = 2 * time.Millisecond

// Settle checks what only the whole history shows; call it when nothing runs any more.
func (h *History) Settle() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, l := range h.lanes {
		h.inOrder(name, l)
	}
	for _, t := range h.tasks {
		for number, due := range t.due {
			next := h.attempts[attempt{t.id, number + 1}]
			if next != nil && next.start != nil && time.Unix(0, next.start.Wall).Before(time.UnixMilli(due).Add(-dueSlack)) {
				h.report(t.id, t.slot, "attempt %d was due at %d ms and began at %d ns: %s", number+1, due, next.start.Wall, next.start)
			}
		}
	}
}

// inOrder: the queued tasks of a slot begin in the order of their ids.
func (h *History) inOrder(name string, l *lane) {
	var last mark.Mark
	for _, m := range l.first {
		t := h.tasks[m.Task]
		if t == nil || t.submission.Spec.GetAdmission() != soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_QUEUE {
			continue
		}
		if cmp.Compare(m.Task, last.Task) < 0 {
			h.report(m.Task, name, "it began after %s, which was queued behind it", last.Task)
		}
		last = m
	}
}

// legitimate says why an attempt or a task could not have ended for that reason; empty when it could.
func (h *History) legitimate(t *task, reason string) string {
	l := h.lane(t.slot)
	switch messages.Reason(reason) {
	case messages.ReasonCanceled:
		if !t.canceling && !l.purged {
			return "nobody has asked for its end"
		}
	case messages.ReasonReplaced, messages.ReasonSuperseded:
		if !h.replacement(t) {
			return "nobody has asked to replace it"
		}
	case messages.ReasonShutdown:
		if len(h.stopped) == 0 {
			return "no life was told to stop"
		}
	case messages.ReasonNodeLost:
		if len(h.killed) == 0 {
			return "no life was killed"
		}
	case messages.ReasonRunnerUnavailable, messages.ReasonSignaled, messages.ReasonOutOfMemory:
		if !h.excused[reason] {
			return "nothing explains that reason"
		}
	case messages.ReasonSpawnFailed:
		if !strings.Contains(t.submission.Spec.GetKind().GetSubprocess().GetCommand().GetCommand(), "no-such") {
			return "its command is there"
		}
	default: // it explains itself
	}
	return ""
}

// replacement says whether some other submission was to replace what its slot holds.
func (h *History) replacement(t *task) bool {
	for _, s := range h.submissions {
		if s != t.submission && s.Spec.GetSlot() == t.slot && s.Spec.GetAdmission() == soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_REPLACE {
			return true
		}
	}
	return false
}
