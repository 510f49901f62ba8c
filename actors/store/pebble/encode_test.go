package pebble_test

import (
	"context"
	"errors"
	"testing"

	"slotd/actors/store"
	"slotd/actors/store/pebble"
	slotdv1 "slotd/messages/slotd/v1"
)

// A record that cannot be written costs its committer, and whoever came after it, the commit; nobody else.
func TestRecordThatCannotBeEncodedIsRefusedWithWhatFollows(t *testing.T) {
	s := open(t, pebble.Config{})
	task := func(id, text string) *store.Batch {
		return &store.Batch{Tasks: []*slotdv1.TaskRecord{{Id: id, Error: &text}}}
	}
	hold := make(chan struct{})
	answers := make(chan error, 3)
	s.Commit(&store.Batch{}, func(error) { <-hold }) // so that the others are in the queue together
	for _, b := range []*store.Batch{task("tsk_1", "fine"), task("tsk_2", "\xff"), task("tsk_3", "fine")} {
		s.Commit(b, func(err error) { answers <- err })
	}
	close(hold)
	for i, fine := range []bool{true, false, false} {
		if err := <-answers; (err == nil) != fine {
			t.Errorf("commit %d: %v, want success %v", i+1, err, fine)
		}
	}
	commit(t, s, task("tsk_4", "fine"))
	for id, want := range map[string]error{"tsk_1": nil, "tsk_2": store.ErrNotFound, "tsk_3": store.ErrNotFound, "tsk_4": nil} {
		if _, err := s.Task(context.Background(), id); !errors.Is(err, want) {
			t.Errorf("Task(%s): %v, want %v", id, err, want)
		}
	}
}
