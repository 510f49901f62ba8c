package messages

import (
	"time"

	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// MaxWait is the longest that a question may wait for its answer.
const MaxWait = 5 * time.Minute

// Wait says how long a question about a task waits, and for what.
type Wait struct {
	Most    time.Duration // 0 = not at all, else whole milliseconds up to [MaxWait]
	Running bool          // an attempt that runs is enough; left out, the task must be terminal
}

// WaitOf reads how long a question waits. The error is an [InvalidError].
func WaitOf(r *soltiv1.GetTaskStatusRequest) (Wait, error) {
	var p problems
	p.atMost("wait_ms", r.GetWaitMs(), uint64(MaxWait/time.Millisecond))
	w := Wait{Most: millis(r.GetWaitMs())}
	switch state := r.GetWaitFor(); {
	case r.WaitFor == nil || state == "terminal":
	case state == "running":
		w.Running = true
	default:
		p.addf("wait_for: expected running or terminal, found %s", quote(state))
	}
	return w, p.err()
}

// GraceOf reads what a client gives a task to end by itself; nil = what its spec says. The error is an [InvalidError].
func GraceOf(r *slotdv1.CancelTaskRequest) (*time.Duration, error) {
	var p problems
	p.atMost("grace_ms", r.GetGraceMs(), MaxStopGraceMs)
	if r.GraceMs == nil {
		return nil, p.err()
	}
	return new(millis(r.GetGraceMs())), p.err()
}
