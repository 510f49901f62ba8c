package task

import (
	"slices"

	"slotd/messages"
	soltiv1 "slotd/messages/solti/v1"
)

// judge compares the outcome with what the runs and the stops say.
func (w *world) judge(s State) {
	row, longest := uint32(0), uint32(0)
	for _, r := range w.runs {
		switch {
		case r.Finished.IsZero():
			w.fatalf("run %d is never closed", r.Attempt)
		case r.Shown.Status == soltiv1.TaskStatus_TASK_STATUS_SUCCEEDED:
			row = 0
		case r.Shown.Reason != messages.ReasonNodeLost && r.Shown.Reason != messages.ReasonShutdown:
			row++
		}
		longest = max(longest, row)
	}
	if w.spec.GetRestart() == soltiv1.RestartStrategy_RESTART_STRATEGY_NEVER && len(w.runs) > 1 {
		w.fatalf("%d attempts under NEVER", len(w.runs))
	}
	exhausted := s.Shown.Status == soltiv1.TaskStatus_TASK_STATUS_EXHAUSTED
	if w.spec.MaxRetries != nil && longest > w.spec.GetMaxRetries()+1 || exhausted && row != w.spec.GetMaxRetries()+1 {
		w.fatalf("%v after %d failures in a row, at most %d", s.Shown.Reason, row, longest)
	}
	i := slices.IndexFunc(w.stops, func(stop Stop) bool { return stop.Cause != messages.ReasonShutdown })
	if len(w.stops) > 0 && (i < 0 || w.restopped && w.stops[0].Cause == s.Shown.Reason) {
		i = 0 // told one by one, a rebuilt task between attempts ends with the first it hears
	}
	if i >= 0 && (s.Shown.Reason != w.stops[i].Cause || s.Shown.Status != soltiv1.TaskStatus_TASK_STATUS_CANCELED) {
		w.fatalf("ends %v (%v) though it was told %v", s.Shown.Status, s.Shown.Reason, w.stops)
	}
}

// settle leaves the world in peace. A task that would go on for ever is told to stop.
func (w *world) settle() {
	for patience := range 2000 {
		if w.outcome != nil {
			w.rest()
			return
		}
		if w.parked {
			w.rebuild(true)
		}
		w.store(false)
		w.hear()
		w.execute()
		if w.timer != nil && w.now.Before(w.timer.At) {
			w.now = w.timer.At
		}
		w.ring()
		if patience > 100 && len(w.stops) == 0 && w.spec.GetRestart() != soltiv1.RestartStrategy_RESTART_STRATEGY_NEVER {
			w.stopped(Stop{Cause: messages.ReasonCanceled})
		}
	}
	w.fatalf("never ends: %v", w.core.State())
}

// rest: nobody remembers anything of a task that has ended, and late words change nothing.
func (w *world) rest() {
	for len(w.inbox) > 0 {
		w.hear()
	}
	for _, ev := range w.past {
		w.step(ev)
	}
	for n, a := range w.attempts {
		w.fatalf("the executor remembers attempt %d: %+v", n, a)
	}
}

// passed checks what two states say together.
func (w *world) passed(before, after State) {
	if before.Phase != after.Phase && !slices.Contains(edges[before.Phase], after.Phase) {
		w.fatalf("no edge %v -> %v", before.Phase, after.Phase)
	}
	if after.Attempt != before.Attempt && after.Attempt != before.Attempt+1 {
		w.fatalf("attempt %d follows %d", after.Attempt, before.Attempt)
	}
	succeeded := before.Shown.Status == soltiv1.TaskStatus_TASK_STATUS_SUCCEEDED
	if after.Phase == Running && before.Phase == Ready && succeeded && after.Started.Sub(before.Started) < messages.MinRestartInterval {
		w.fatalf("repeated after %v", after.Started.Sub(before.Started))
	}
	if after.Phase == Waiting && succeeded && after.Failures != 0 {
		w.fatalf("%d failures in a row after a success", after.Failures)
	}
}

// ran keeps a run: opened in order, closed once.
func (w *world) ran(r Run) {
	n := int(r.Attempt)
	switch {
	case n == len(w.runs)+1 && r.Finished.IsZero():
		w.runs = append(w.runs, r)
	case n != len(w.runs):
		w.fatalf("run %d after %d runs", n, len(w.runs))
	case !w.runs[n-1].Finished.IsZero():
		w.fatalf("run %d is closed twice", n)
	default:
		w.runs[n-1] = r
	}
}
