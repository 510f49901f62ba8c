package sim

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"slotd/actors/store"
	"slotd/actors/store/storetest"
	slotdv1 "slotd/messages/slotd/v1"
)

func TestDiskIsAStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Place {
		kept := newImage(storetest.KeptRuns)
		t.Cleanup(func() {
			if err := kept.Close(); err != nil {
				t.Error(err)
			}
		})
		return func(*testing.T) store.Store {
			r := newDice(1, 2)
			return newDisk(kept, temper{delay: func() time.Duration { return r.upTo(50*time.Microsecond) * time.Duration(r.n(20)/19) }}).open()
		}
	})
}

// writer commits versions of one record until a failure is heard of, goes on behind it when all is answered, and knows
// what may be on the disk.
type writer struct {
	mu                 sync.Mutex
	sent, heard, acked uint64
	failed             bool
}

// What fails leaves a prefix: no committer finds a later batch of its own on the disk without an earlier one, whether
// the disk fails or the node crashes.
func TestDiskLeavesAPrefix(t *testing.T) {
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			r := newDice(seed, 1)
			kept := newImage(1)
			d := newDisk(kept, temper{
				delay: func() time.Duration { return r.mostly(3 * time.Millisecond) },
				fail:  func() bool { return r.one(20) },
				keep:  func(n int) int { return r.n(n + 1) },
			})
			var world sync.Mutex
			crashed := false
			d.world = func(f func()) bool {
				world.Lock()
				defer world.Unlock()
				if !crashed {
					f()
				}
				return !crashed
			}
			d.open()
			writers := make([]writer, 4)
			var group sync.WaitGroup
			for i := range writers {
				pace := newDice(seed, uint64(i)+2)
				group.Go(func() { writers[i].write(t, d, fmt.Sprint("tsk_", i), pace) })
			}
			time.Sleep(r.upTo(60 * time.Millisecond))
			world.Lock()
			crashed = true
			d.crash()
			var acked [4]uint64
			for i := range writers {
				acked[i] = writers[i].acknowledged()
			}
			world.Unlock()
			group.Wait()
			for i := range writers {
				rec, err := kept.Task(context.Background(), fmt.Sprint("tsk_", i))
				if got := rec.GetResourceVersion(); got < acked[i] || (err != nil && acked[i] > 0) {
					t.Errorf("seed %d: version %d is on the disk, %d was acknowledged", seed, got, acked[i])
				}
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
			if err := kept.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func (w *writer) acknowledged() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.acked
}

func (w *writer) write(t *testing.T, d *disk, id string, pace *dice) {
	for range 40 {
		var group sync.WaitGroup
		for range 1 + pace.n(4) {
			w.commit(t, d, id, &group)
		}
		time.Sleep(pace.upTo(3 * time.Millisecond))
		if pace.one(4) {
			group.Wait()
			w.mu.Lock()
			w.failed = false
			w.mu.Unlock()
		}
	}
}

// commit holds the lock, so that a failure cannot be heard of between the decision to go on and the commit.
func (w *writer) commit(t *testing.T, d *disk, id string, group *sync.WaitGroup) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed {
		return
	}
	w.sent++
	version := w.sent
	group.Add(1)
	d.Commit(&store.Batch{Tasks: []*slotdv1.TaskRecord{{Id: id, ResourceVersion: version}}}, func(err error) {
		w.answered(t, version, err)
		group.Done()
	})
}

func (w *writer) answered(t *testing.T, version uint64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case version <= w.heard:
		t.Errorf("version %d was answered after version %d", version, w.heard)
	case err != nil:
		w.failed = true
	case w.failed:
		t.Errorf("version %d has overtaken a failure", version)
	default:
		w.acked = version
	}
	w.heard = version
}
