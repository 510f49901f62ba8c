package actors

import (
	"context"
	"fmt"

	"slotd/actors/logs"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
)

// OpenLog opens a task's output. The error is a *messages.RejectionError for an unknown id, a *messages.InvalidError
// for a bad event id, and io.EOF when q.After is the last event of a terminal task.
func (t *Tree) OpenLog(ctx context.Context, id string, q messages.LogQuery) (*logs.Cursor, error) {
	if _, ok := t.lookup(id); !ok {
		return nil, &messages.RejectionError{Rejection: messages.TaskNotFound(id)}
	}
	cursor, err := t.cfg.Logs.Open(ctx, id, q, logged{t, id})
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", id, err)
	}
	return cursor, nil
}

// logged is a task as its log sees it.
type logged struct {
	tree *Tree
	id   string
}

func (l logged) Runs(ctx context.Context) ([]*slotdv1.RunRecord, error) {
	return l.tree.cfg.Store.Runs(ctx, l.id)
}

func (l logged) Terminal() bool {
	record, ok := l.tree.lookup(l.id)
	return !ok || record.GetPhase() == slotdv1.Phase_PHASE_FINISHED
}
