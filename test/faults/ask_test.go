package faults

import (
	"context"
	"errors"
	"time"

	"slotd/gateway/client"
	soltiv1 "slotd/messages/solti/v1"
)

// examine looks at one task from all sides.
func (w *world) examine(ctx context.Context, l *life, id string) error {
	w.read()
	look := w.history.Look()
	data, err := l.client.Get(ctx, id)
	if client.NotFound(err) {
		w.history.Missing(look, id)
		return nil
	}
	if err != nil {
		return err
	}
	w.history.Saw(look, data)
	runs, err := l.client.Runs(ctx, id)
	if err != nil {
		return err
	}
	var events []*soltiv1.OutputEventProto
	if data.GetStatus().GetTerminal() {
		for e, err := range l.client.Logs(ctx, id, client.LogOptions{Tail: client.TailAll}) {
			if err != nil {
				return err
			}
			events = append(events, e)
		}
	}
	if _, err := l.client.Get(ctx, id); err != nil {
		return err // deleted meanwhile: what was read may be less than there was
	}
	w.read()
	w.history.Ran(look, data, runs)
	if data.GetStatus().GetTerminal() {
		w.history.Logged(data, runs, events)
	}
	return nil
}

// follow reads logs from their beginning, one after the other, and takes each up again where the last life has left it.
func (v *visitor) follow(ctx context.Context) {
	for l := v.world.life(ctx, nil); l != nil; l = v.world.life(ctx, nil) {
		if waitFor(ctx, l) {
			return
		}
		id := v.pick(10)
		if id == "" {
			continue
		}
		f := v.world.history.Following(id)
		after := ""
		for l != nil {
			done, err := v.readOn(ctx, l, id, &after, f.Event)
			if done {
				break
			}
			var refused *client.Error
			if errors.As(err, &refused) && !l.unwell.Load() && !l.plan.panics() {
				v.world.history.Report(id, "a reader after %q is refused: %v", after, err)
			}
			if refused != nil {
				break
			}
			l = v.world.life(ctx, l)
		}
	}
}

// readOn reads a log until it ends, the task is deleted, or the life is over.
func (v *visitor) readOn(ctx context.Context, l *life, id string, after *string, event func(*soltiv1.OutputEventProto)) (done bool, err error) {
	bound, cancel := context.WithCancel(l.ctx)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	options := client.LogOptions{Tail: client.TailAll, Follow: true, After: *after}
	for e, err := range l.client.Logs(bound, id, options) {
		if err != nil {
			return client.NotFound(err) || ctx.Err() != nil, err
		}
		event(e)
		*after = e.GetId()
	}
	return true, nil
}

// waitFor makes a pause, unless the life is over; it says whether ctx is done.
func waitFor(ctx context.Context, l *life) bool {
	select {
	case <-ctx.Done():
		return true
	case <-l.over:
		return false
	case <-time.After(pace):
		return false
	}
}
