package actors_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"slotd/actors"
	"slotd/actors/actortest"
	"slotd/actors/store"
)

// brittle is a store that says that it cannot write once it is broken.
type brittle struct {
	*actortest.Gate

	broken atomic.Bool
}

func (b *brittle) Stats() store.Stats {
	stats := b.Gate.Stats()
	if b.broken.Load() {
		stats.Writable, stats.Problem = false, errors.New("no space left on device")
	}
	return stats
}

// A full disk must not keep a daemon from ending: what runs is stopped, and then there is nothing to wait for but the
// disk.
func TestDrainDoesNotWaitForAStoreThatCannotWrite(t *testing.T) {
	var disk *brittle
	over := func(g *actortest.Gate) store.Store { disk = &brittle{Gate: g}; return disk }
	bubbleOver(t, actors.Config{}, over, func(t *testing.T, n *node) {
		n.runner.hold = true
		n.submit("lane", drop)
		disk.broken.Store(true)
		n.store.Judge(func(*store.Batch) error { return errors.New("no space left on device") })
		began := time.Now()
		err := n.Drain(t.Context(), 2*time.Second)
		if err == nil || !strings.Contains(err.Error(), "could not be recorded: the store cannot write: no space left on device") {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took > 10*time.Second || n.runner.living() > 0 {
			t.Errorf("after %v, with %d attempts alive", took, n.runner.living())
		}
		n.store.Judge(nil)
	})
}
