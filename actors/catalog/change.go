package catalog

import (
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
)

// Changes is what one batch has changed. All of it is true at once: whoever asks the catalog after it has returned a
// change finds that change and all others of the batch.
type Changes struct {
	Tasks []TaskChange // what was put, in the order of the batch, then what was deleted
	Slots []SlotChange // those whose phase, holder or replacement is another one, each once
}

// TaskChange is what a task has become.
type TaskChange struct {
	Record  *slotdv1.TaskRecord // its last state when it is deleted
	Deleted bool

	spec *spec
}

// Labels are those of the task's spec, none when it cannot be decoded. They are shared.
func (t *TaskChange) Labels() map[string]string {
	labels, err := t.spec.labels(map[string]string{})
	if err != nil {
		return nil
	}
	return labels
}

// Terminal says that no attempt will follow.
func (t *TaskChange) Terminal() bool { return isTerminal(t.Record) }

// NextAttemptAt is when the next attempt follows, Unix milliseconds; 0 when the task is not between attempts.
func (t *TaskChange) NextAttemptAt() int64 { return due(t.Record) }

// SlotChange is what a slot has become.
type SlotChange struct {
	Slot        string
	Phase       string // idle, occupied or retiring
	Holder      string // empty = none
	Attempt     uint32 // the holder's
	Replacement string // empty = none
	Reason      string // why the holder is being stopped; empty = it is not
	Queued      int
	Time        int64 // Unix milliseconds
}

// standing is what makes a change of a slot.
type standing struct {
	phase               string
	holder, replacement *entry
}

func (l *lane) standing() standing { return standing{l.phase(), l.holder, l.replacement} }

// touch is a slot that the batch changes, as it was before.
type touch struct {
	lane   *lane
	before standing
	at     int64
}

// touch notes how the slot of a task stands before the batch changes it.
func (c *Catalog) touch(e *entry, at int64) {
	l := e.lane
	if l.touched == 0 {
		c.touched = append(c.touched, touch{lane: l, before: l.standing()})
		l.touched = len(c.touched)
	}
	noted := &c.touched[l.touched-1]
	noted.at = max(noted.at, at)
}

// compare finds the slots that stand otherwise than before the batch. In the midst of a batch a slot may be without a
// holder; nobody has seen that, and nobody is told.
func (c *Catalog) compare() {
	c.changes.Slots = c.changes.Slots[:0]
	for _, t := range c.touched {
		t.lane.touched = 0
		if t.lane.standing() != t.before {
			c.changes.Slots = append(c.changes.Slots, t.lane.change(t.at))
		}
	}
	clear(c.touched)
	c.touched = c.touched[:0]
}

func (l *lane) change(at int64) SlotChange {
	change := SlotChange{Slot: l.name, Phase: l.phase(), Queued: l.queued(), Time: at}
	if l.replacement != nil {
		change.Replacement = l.replacement.id
		change.Reason = string(messages.ReasonReplaced)
	}
	if l.holder != nil {
		change.Holder, change.Attempt = l.holder.id, l.holder.rec.GetAttempt()
		if l.holder.rec.GetPhase() == slotdv1.Phase_PHASE_STOPPING {
			change.Reason = l.holder.rec.GetCause()
		}
	}
	return change
}
