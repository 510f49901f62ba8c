package history

import (
	"google.golang.org/protobuf/proto"

	"slotd/messages"
	soltiv1 "slotd/messages/solti/v1"
)

// Submission is a spec that was sent, once or, with an idempotency key, as often as its client liked.
type Submission struct {
	Spec *soltiv1.CreateSpec
	Key  string // may be empty

	history  *History
	label    string
	full     *soltiv1.CreateSpec // with defaults: what slotd shows
	id       string              // of its task, once it is known
	refused  bool                // the last word was a no
	open     int                 // requests under way
	sent     int                 // requests in all
	reserved bool                // whoever looks for something to do leaves its task alone
}

// Submitting says that a client will send the spec, whose label [Label] is its own. Each answer is told with Answered,
// Refused or Lost.
func (h *History) Submitting(spec *soltiv1.CreateSpec, key string) *Submission {
	h.mu.Lock()
	defer h.mu.Unlock()
	label := spec.GetLabels()[Label]
	s := &Submission{Spec: spec, Key: key, history: h, label: label, open: 1, sent: 1}
	s.full = proto.CloneOf(spec)
	messages.Defaults(s.full)
	h.submissions[label] = s
	h.note("", spec.GetSlot(), "submission %s, key %q: %v %v", label, key, spec.GetAdmission(), spec.GetRestart())
	return s
}

// Again says that the client will send it once more.
func (s *Submission) Again() {
	h := s.history
	h.mu.Lock()
	defer h.mu.Unlock()
	s.open++
	s.sent++
	h.note(s.id, s.Spec.GetSlot(), "submission %s, key %q, again", s.label, s.Key)
}

// Answered says that its task was admitted.
func (s *Submission) Answered(id string) {
	h := s.history
	h.mu.Lock()
	defer h.mu.Unlock()
	h.note(id, s.Spec.GetSlot(), "submission %s: 201 %s", s.label, id)
	s.open--
	s.refused = false
	t := h.known(s, id)
	if t.answered == 0 {
		t.answered = h.clock
	}
}

// Reserve keeps its task from those that [History.Ask] returns.
func (s *Submission) Reserve() {
	s.history.mu.Lock()
	defer s.history.mu.Unlock()
	s.reserved = true
}

// Refused says that it was not admitted, for certain. A daemon that is stopping, or cannot write, refuses without
// looking for the key: that says nothing about the task of an earlier request.
func (s *Submission) Refused(why string) {
	h := s.history
	h.mu.Lock()
	defer h.mu.Unlock()
	h.note("", s.Spec.GetSlot(), "submission %s: refused, %s", s.label, why)
	s.open--
	switch {
	case s.open > 0: // what is under way with the same key may be answered otherwise
	case s.id != "" && (s.Key == "" || why != messages.LabelUnavailable):
		h.report(s.id, s.Spec.GetSlot(), "submission %s was refused (%s), but its task is %s", s.label, why, s.id)
	case s.sent == 1 || why != messages.LabelUnavailable:
		s.refused = true
	}
}

// Lost says that no answer came.
func (s *Submission) Lost(why string) {
	h := s.history
	h.mu.Lock()
	defer h.mu.Unlock()
	h.note("", s.Spec.GetSlot(), "submission %s: no answer, %s", s.label, why)
	s.open--
	s.refused = false
}

// ID is that of its task, empty as long as nobody knows it.
func (s *Submission) ID() string {
	s.history.mu.Lock()
	defer s.history.mu.Unlock()
	return s.id
}

// known connects a submission with its task.
func (h *History) known(s *Submission, id string) *task {
	if s.id != "" && s.id != id {
		h.report(id, s.Spec.GetSlot(), "submission %s, key %q, is the task %s and the task %s", s.label, s.Key, s.id, id)
	}
	s.id = id
	t := h.tasks[id]
	if t == nil {
		t = &task{
			id: id, slot: s.Spec.GetSlot(), submission: s, due: make(map[uint32]int64),
			runs: make(map[uint32]*soltiv1.TaskRunInfo), ended: make(map[uint32]Look),
		}
		h.tasks[id] = t
	}
	if t.submission != s {
		h.report(id, t.slot, "the task belongs to the submissions %s and %s", t.submission.label, s.label)
	}
	return t
}

// Canceling says that somebody will ask for the end of a task.
func (h *History) Canceling(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.note(id, h.slotOf(id), "cancel %s", id)
	if t := h.tasks[id]; t != nil {
		t.canceling = true
	}
}

// Purging says that somebody will ask for the end of what a slot has.
func (h *History) Purging(slot string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.note("", slot, "purge %s", slot)
	for _, t := range h.tasks {
		if t.slot == slot {
			t.canceling = true
		}
	}
	h.lane(slot).purged = true // tasks whose answers are under way, too
}

// Deleting says that somebody will ask for the end and the purge of a task.
func (h *History) Deleting(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.note(id, h.slotOf(id), "delete %s", id)
	if t := h.tasks[id]; t != nil {
		t.canceling, t.deleting = true, true
	}
}

// Deleted says that a task was purged.
func (h *History) Deleted(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.note(id, h.slotOf(id), "deleted %s", id)
	if t := h.tasks[id]; t != nil && t.deleted == 0 {
		t.deleted = h.clock
	}
}
