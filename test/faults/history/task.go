package history

import (
	"sort"

	"google.golang.org/protobuf/proto"

	soltiv1 "slotd/messages/solti/v1"
)

// task is what is known of one.
type task struct {
	id, slot   string
	submission *Submission
	answered   Look // 0 = the answer to its submission was lost
	canceling  bool // somebody has asked for its end
	deleting   bool
	deleted    Look // 0 = not yet

	versions []version                       // as they became known
	last     *soltiv1.TaskData               // the newest
	due      map[uint32]int64                // by attempt: when the next one is due, Unix milliseconds
	runs     map[uint32]*soltiv1.TaskRunInfo // those that have finished
	ended    map[uint32]Look                 // when that became known
}

// version is one that was known from that moment on.
type version struct {
	at     Look
	number uint64
}

// Saw says that an answer to a question that began at look shows the task so.
func (h *History) Saw(look Look, data *soltiv1.TaskData) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.saw(look, data)
}

// Listed says that a list that began at look has these tasks and no other.
func (h *History) Listed(look Look, tasks []*soltiv1.TaskData) {
	h.mu.Lock()
	defer h.mu.Unlock()
	shown := make(map[string]bool, len(tasks))
	for _, data := range tasks {
		id := data.GetMetadata().GetId()
		if shown[id] {
			h.report(id, h.slotOf(id), "the list has it twice")
		}
		shown[id] = true
		h.saw(look, data)
	}
	for _, t := range h.tasks {
		if h.demanded(t, look) && !shown[t.id] {
			h.report(t.id, t.slot, "an answered submission is not there any more")
		}
	}
}

// Missing says that a question that began at look was answered with "no such task".
func (h *History) Missing(look Look, id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t := h.tasks[id]; t != nil && h.demanded(t, look) {
		h.report(id, t.slot, "an answered submission is not found")
	}
}

// demanded says whether a task must be there for whoever asks at look. Where retention drops tasks, any may have ended
// and be gone.
func (h *History) demanded(t *task, look Look) bool {
	if h.forgetful {
		return false
	}
	return t.answered != 0 && t.answered <= look && !t.deleting
}

// vanishing says whether a task may be gone any moment: what belongs to it then goes a little before the task itself.
func (h *History) vanishing(t *task) bool { return t.deleting || h.forgetful }

func (h *History) saw(look Look, data *soltiv1.TaskData) {
	id := data.GetMetadata().GetId()
	s := h.submissions[data.GetSpec().GetLabels()[Label]]
	if s == nil {
		h.report(id, data.GetSpec().GetSlot(), "nobody has submitted it: %v", data)
		return
	}
	if s.refused && s.open == 0 {
		h.report(id, s.Spec.GetSlot(), "submission %s was refused, and is a task", s.label)
		s.refused = false
	}
	t := h.known(s, id)
	if t.deleted != 0 && t.deleted <= look {
		h.report(id, t.slot, "it was deleted, and is shown as %s", short(data))
		return
	}
	if t.last == nil && !proto.Equal(data.GetSpec(), s.full) {
		h.report(id, t.slot, "its spec is %v, want %v", data.GetSpec(), s.full)
	}
	number := data.GetMetadata().GetResourceVersion()
	if known := t.versionAt(look); number < known {
		h.report(id, t.slot, "it is shown as %s, and version %d was known before", short(data), known)
		return
	}
	switch last := t.last; {
	case last == nil || number > last.GetMetadata().GetResourceVersion():
		h.note(id, t.slot, "seen %s %s", id, short(data))
		t.versions = append(t.versions, version{h.clock, number})
		t.last = data
		if last != nil {
			h.follows(t, last, data)
		}
	case number == last.GetMetadata().GetResourceVersion() && !proto.Equal(settled(last), settled(data)):
		h.report(id, t.slot, "one version has two faces: %v and %v", last, data)
	}
	if due := data.GetStatus().NextAttemptAt; due != nil {
		number := data.GetStatus().GetAttempt()
		if before, known := t.due[number]; known && before != *due {
			h.report(id, t.slot, "the attempt after %d was due at %d, and is now due at %d", number, before, *due)
		}
		t.due[number] = *due
	}
}

// follows checks the step from one version to a later one.
func (h *History) follows(t *task, before, after *soltiv1.TaskData) {
	if before.GetStatus().GetTerminal() {
		h.report(t.id, t.slot, "it was terminal (%s), and is %s", short(before), short(after))
	}
	if before.GetStatus().GetAttempt() > after.GetStatus().GetAttempt() {
		h.report(t.id, t.slot, "attempts go back: %s, then %s", short(before), short(after))
	}
}

// versionAt is the newest version that was known at that moment.
func (t *task) versionAt(look Look) uint64 {
	i := sort.Search(len(t.versions), func(i int) bool { return t.versions[i].at > look })
	if i == 0 {
		return 0
	}
	return t.versions[i-1].number
}

// settled is a task without what changes without a version: its place in the queue.
func settled(data *soltiv1.TaskData) *soltiv1.TaskData {
	data = proto.CloneOf(data)
	data.GetStatus().QueuePosition = nil
	return data
}

// Ask returns what may be asked of the daemon next: the ids of tasks that are there as far as is known, those that are
// not known to be terminal apart from those that are. Reserved ones are left out.
func (h *History) Ask() (active, terminal []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, t := range h.tasks {
		switch {
		case t.deleting || t.submission.reserved:
		case t.last.GetStatus().GetTerminal():
			terminal = append(terminal, id)
		default:
			active = append(active, id)
		}
	}
	sort.Strings(active)
	sort.Strings(terminal)
	return active, terminal
}
