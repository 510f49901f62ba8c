package actortest

import (
	"context"
	"sync"

	"slotd/actors/store"
	"slotd/actors/store/memory"
	slotdv1 "slotd/messages/slotd/v1"
)

// Gate is a store in memory whose commits pass, wait or fail as a test says. It keeps the promises of store.Store.
type Gate struct {
	*memory.Store

	mu      sync.Mutex
	closed  bool
	judge   func(*store.Batch) error
	waiting []waiting
}

type waiting struct {
	batch *store.Batch
	done  func(error)
}

// NewGate returns an open gate. Close it at the end.
func NewGate() *Gate { return &Gate{Store: memory.New(memory.Config{})} }

// Commit implements store.Store.
func (g *Gate) Commit(b *store.Batch, done func(error)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		g.waiting = append(g.waiting, waiting{b, done})
		return
	}
	g.pass(b, done)
}

func (g *Gate) pass(b *store.Batch, done func(error)) {
	if g.judge != nil {
		if err := g.judge(b); err != nil {
			g.fail(done, err)
			return
		}
	}
	g.Store.Commit(b, done)
}

// fail answers in turn: an empty batch takes the place of the one that fails.
func (g *Gate) fail(done func(error), err error) {
	g.Store.Commit(new(store.Batch), func(error) { done(err) })
}

// Judge lets from now on fail what f gives an error; nil lets everything pass.
func (g *Gate) Judge(f func(*store.Batch) error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.judge = f
}

// Hold keeps commits waiting until Release.
func (g *Gate) Hold() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
}

// Waiting counts the commits that wait.
func (g *Gate) Waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.waiting)
}

// Release lets the oldest waiting commits go, one for each error: nil passes, any other fails with it.
func (g *Gate) Release(errs ...error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, err := range errs {
		w := g.waiting[0]
		g.waiting = g.waiting[1:]
		if err != nil {
			g.fail(w.done, err)
			continue
		}
		g.pass(w.batch, w.done)
	}
}

// Open lets all that waits go, and what comes from now on.
func (g *Gate) Open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = false
	for _, w := range g.waiting {
		g.pass(w.batch, w.done)
	}
	g.waiting = nil
}

// Record reads a task back behind everything committed before, as a slot does for an actor that has failed.
func (g *Gate) Record(id string, done func(*slotdv1.TaskRecord, error)) {
	g.Commit(new(store.Batch), func(err error) {
		if err != nil {
			done(nil, err)
			return
		}
		done(g.Task(context.Background(), id))
	})
}
