package faults

import (
	"context"
	"os"
	"time"

	"slotd/gateway/client"
	soltiv1 "slotd/messages/solti/v1"
)

// submit submits a task that must be admitted, and that no client of a load touches.
func (w *world) submit(l *life, spec *soltiv1.CreateSpec) (id string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), requestLimit)
	defer cancel()
	s := w.history.Submitting(spec, "")
	s.Reserve()
	id, err := l.client.Submit(ctx, spec, "")
	if err != nil {
		w.t.Fatalf("submit: %v", err)
	}
	s.Answered(id)
	return id
}

// ended waits until a task is terminal.
func (w *world) ended(l *life, id string) *soltiv1.TaskData {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	look := w.history.Look()
	data, err := l.client.Wait(ctx, id, client.Terminal)
	if err != nil {
		w.t.Fatalf("wait for the end of %s: %v", id, err)
	}
	w.history.Saw(look, data)
	return data
}

// get returns a task.
func (w *world) get(l *life, id string) *soltiv1.TaskData {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), requestLimit)
	defer cancel()
	look := w.history.Look()
	data, err := l.client.Get(ctx, id)
	if err != nil {
		w.t.Fatalf("get %s: %v", id, err)
	}
	w.history.Saw(look, data)
	return data
}

// begun says whether the process of an attempt has made its first mark.
func (w *world) begun(id string, attempt uint32) bool {
	w.read()
	return w.history.Begun(id, attempt)
}

func (w *world) signal(l *life, s os.Signal) {
	w.t.Helper()
	if err := l.signal(s); err != nil {
		w.t.Fatal(err)
	}
	w.history.Note("", "signal %v", s)
}

// pass lets time pass while a fault lasts: no condition is waited for.
func pass(d time.Duration) { <-time.After(d) }

// cancel ends a task.
func (w *world) cancel(l *life, id string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	w.history.Canceling(id)
	if _, err := l.client.Cancel(ctx, id); err != nil {
		w.t.Fatalf("cancel %s: %v", id, err)
	}
}

// backoffOf is always the same time.
func backoffOf(d time.Duration) *soltiv1.BackoffStrategy {
	ms := uint64(d.Milliseconds())
	return &soltiv1.BackoffStrategy{Jitter: soltiv1.JitterStrategy_JITTER_STRATEGY_NONE, FirstMs: ms, MaxMs: ms, Factor: 1}
}
