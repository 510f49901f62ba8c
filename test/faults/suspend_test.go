package faults

import (
	"syscall"
	"testing"
	"time"

	"slotd/messages"
	soltiv1 "slotd/messages/solti/v1"
)

// A daemon that gets no time for seconds, as on a machine that was suspended, makes up for it when it goes on: what has
// run into its timeout meanwhile ends so, what is due begins, and nothing is done twice.
func TestASuspendedDaemonMakesUpForTheTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, must(t, racedSlotd), seed)
	l := w.start(plan{calm: true})
	l.await(t)
	load := w.load(3, 1)
	w.open(l)
	for round := range 3 {
		late := spec("late", load.label(), w.command(role{run: time.Hour, lines: 1, tree: "double"}))
		late.TimeoutMs, late.StopGraceMs = 1500, new(uint64(500))
		id := w.submit(l, late)
		eventually(t, "it runs", func() bool { return w.begun(id, 1) })
		w.signal(l, syscall.SIGSTOP)
		pass(3 * time.Second)
		w.signal(l, syscall.SIGCONT)
		data := w.ended(l, id)
		if data.GetStatus().GetPhase() != soltiv1.TaskStatus_TASK_STATUS_TIMEOUT || data.GetStatus().GetReason() != string(messages.ReasonTimedOut) {
			t.Errorf("round %d: it ended %v, want a timeout", round, data.GetStatus())
		}
		if w.broken() {
			break
		}
	}
	load.end()
	if !w.broken() {
		w.rest(l)
	}
}
