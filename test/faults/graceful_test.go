package faults

import (
	"syscall"
	"testing"
	"time"
)

// A daemon that is told to stop ends with exit code 0 and leaves no process, once it is told twice at once; what waits,
// and what its policy repeats, goes on in the next life, and uses up no retry.
func TestAGracefulStopKeepsWhatAKillKeeps(t *testing.T) {
	t.Parallel()
	w := newWorld(t, must(t, racedSlotd), seed, "--shutdown-grace", "2s")
	load := w.load(3, 2)
	for range 12 {
		l := w.start(plan{calm: true})
		l.await(t)
		w.open(l)
		pass(time.Duration(w.rand.IntN(1000)) * time.Millisecond)
		l.unwell.Store(true)
		w.history.Stopping()
		w.signal(l, syscall.SIGTERM)
		if w.rand.IntN(2) == 0 {
			pass(time.Duration(w.rand.IntN(200)) * time.Millisecond)
			w.signal(l, syscall.SIGTERM)
		}
		w.finish(l)
		if code := l.state.ExitCode(); code != 0 {
			w.history.Report("", "it ended with exit code %d:\n%s", code, tailOf(l.log.String()))
		}
		if left := w.family(); len(left) > 0 {
			w.history.Report("", "it has left:%s", describe(left))
		}
		w.read()
		if w.broken() {
			break
		}
	}
	load.end()
	if !w.broken() {
		w.settle()
	}
}

// What a graceful stop does to each policy: the attempt of a task that is not repeated is the last, all others go on at
// once, and what waits in the queue begins in its order.
func TestAGracefulStopByPolicy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, must(t, plainSlotd), seed)
	first := w.start(plan{calm: true})
	first.await(t)
	long := role{run: time.Hour}
	once := w.submit(first, spec("once", "1", w.command(long)))
	failing := spec("failing", "2", w.command(long))
	failing.Restart, failing.MaxRetries = onFailure, new(uint32(0))
	failing.Backoff = backoffOf(time.Hour)
	kept := w.submit(first, failing)
	endless := spec("endless", "3", w.command(long))
	endless.Restart, endless.Backoff = always, backoffOf(time.Hour)
	repeated := w.submit(first, endless)
	behind := spec("once", "4", w.command(role{run: time.Millisecond}))
	behind.Admission = queue
	waiting := w.submit(first, behind)
	due := spec("due", "5", w.command(role{exit: 1}))
	due.Restart, due.Backoff = onFailure, backoffOf(time.Hour)
	later := w.submit(first, due)
	for _, id := range []string{once, kept, repeated, later} {
		eventually(t, "it runs", func() bool { return w.begun(id, 1) })
	}
	eventually(t, "one waits for its next attempt", func() bool { return w.get(first, later).GetStatus().NextAttemptAt != nil })
	before := w.get(first, later)

	first.unwell.Store(true)
	w.history.Stopping()
	w.signal(first, syscall.SIGTERM)
	w.finish(first)
	second := w.start(plan{calm: true})
	second.await(t)

	if s := w.get(second, once).GetStatus(); !s.GetTerminal() || s.GetReason() != "Shutdown" {
		t.Errorf("what is never repeated: %v, want its end", s)
	}
	for _, id := range []string{kept, repeated} {
		eventually(t, "it runs again, without backoff and with its retries", func() bool { return w.begun(id, 2) })
	}
	if s := w.ended(second, waiting).GetStatus(); s.GetReason() != "Completed" {
		t.Errorf("what waited in the queue: %v, want it to have run", s)
	}
	if after := w.get(second, later); after.GetStatus().GetNextAttemptAt() != before.GetStatus().GetNextAttemptAt() {
		t.Errorf("what waited for its time: %v, want it still due at %d", after.GetStatus(), before.GetStatus().GetNextAttemptAt())
	}
	for _, id := range []string{kept, repeated, later} {
		w.cancel(second, id)
	}
	w.rest(second)
}
