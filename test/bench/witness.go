package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	"slotd/actors"
	"slotd/actors/catalog"
	"slotd/actors/runner"
	"slotd/actors/store"
	"slotd/actors/store/memory"
	"slotd/actors/store/pebble/layout"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// witness is a memory store that remembers every batch: what a node writes for a task is measured, not guessed.
type witness struct {
	store.Store

	mu   sync.Mutex
	seen []*store.Batch
}

// Commit implements store.Store.
func (w *witness) Commit(b *store.Batch, done func(error)) {
	if !b.Empty() {
		w.mu.Lock()
		w.seen = append(w.seen, b)
		w.mu.Unlock()
	}
	w.Store.Commit(b, done)
}

// of is what was committed for one task so far.
func (w *witness) of(id string) (batches []*store.Batch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, b := range w.seen {
		if slices.ContainsFunc(b.Tasks, func(rec *slotdv1.TaskRecord) bool { return rec.GetId() == id }) {
			batches = append(batches, b)
		}
	}
	return batches
}

// fate is how far a task comes.
type fate int

const (
	waits fate = iota // in a queue
	runs              // and does not end
	ends
)

// writes lists the batches that a node commits for one task.
func writes(ctx context.Context, scratch string, until fate) (_ []*store.Batch, err error) {
	w := &witness{Store: memory.New(memory.Config{})}
	n, err := openNode(scratch, func(string) (store.Store, error) { return w, nil },
		actors.Config{Runners: []runner.Runner{idle{hold: until != ends}}})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, n.close()) }()
	id, err := n.submit(ctx, queued())
	if err == nil && until == waits {
		id, err = n.submit(ctx, queued())
	}
	if err != nil {
		return nil, err
	}
	var task *soltiv1.TaskData
	phase := soltiv1.TaskStatus_TASK_STATUS_PENDING
	switch until {
	case waits:
		task, _ = n.tree.Catalog().Task(id)
	case runs:
		phase = soltiv1.TaskStatus_TASK_STATUS_RUNNING
		task, _ = n.tree.Catalog().Wait(ctx, id, catalog.WantRunning)
	case ends:
		phase = soltiv1.TaskStatus_TASK_STATUS_SUCCEEDED
		task, _ = n.tree.Catalog().Wait(ctx, id, catalog.WantTerminal)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if got := task.GetStatus().GetPhase(); got != phase {
		return nil, fmt.Errorf("task %s is %v, want %v", id, got, phase)
	}
	return w.of(id), nil
}

// pair is what one record is in a database; the task's id stands in its key between table and tail.
type pair struct {
	table       byte
	tail, value []byte
}

func (p pair) key(id []byte) []byte { return append(append([]byte{p.table}, id...), p.tail...) }

// pairs encodes the puts of a batch.
func pairs(b *store.Batch) (all []pair, err error) {
	add := func(key []byte, id string, rec proto.Message) {
		value, e := proto.Marshal(rec)
		err = errors.Join(err, e)
		all = append(all, pair{key[0], key[1+len(id):], value})
	}
	for _, rec := range b.Tasks {
		add(layout.TaskKey(rec.GetId()), rec.GetId(), rec)
	}
	for _, rec := range b.Specs {
		add(layout.SpecKey(rec.GetTaskId()), rec.GetTaskId(), rec)
	}
	for _, rec := range b.Runs {
		add(layout.RunKey(rec.GetTaskId(), rec.GetAttempt()), rec.GetTaskId(), rec)
	}
	return all, err
}
