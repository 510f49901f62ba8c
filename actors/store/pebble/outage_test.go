package pebble_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"slotd/actors/store"
	"slotd/actors/store/pebble"
	slotdv1 "slotd/messages/slotd/v1"
)

// history is what was committed to one store, batch by batch, and what was answered.
type history struct {
	mu      sync.Mutex
	sent    int     // Commit was called
	queued  int     // Commit has returned
	answers []error // of the first len(answers) batches, in order
	bound   int     // up to this batch all must be refused
	wrong   []string
}

// commit sends the next batch: two tasks of its own, and one that all batches write.
func (h *history) commit(s *pebble.Store, size int) {
	h.mu.Lock()
	n := h.sent
	h.sent++
	h.mu.Unlock()
	text := strings.Repeat("x", size)
	b := &store.Batch{
		Tasks: []*slotdv1.TaskRecord{
			{Id: fmt.Sprintf("tsk_%06da", n), Error: &text},
			{Id: "tsk_last", ResourceVersion: uint64(n)},
			{Id: fmt.Sprintf("tsk_%06db", n)},
		},
	}
	s.Commit(b, func(err error) { h.answer(n, err) })
	h.mu.Lock()
	defer h.mu.Unlock()
	h.queued = n + 1
}

func (h *history) answer(n int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n != len(h.answers) {
		h.wrong = append(h.wrong, fmt.Sprintf("batch %d answered in place of %d", n, len(h.answers)))
	}
	h.answers = append(h.answers, err)
	switch {
	case err != nil:
		h.bound = max(h.bound, h.queued)
	case n < h.bound:
		h.wrong = append(h.wrong, fmt.Sprintf("batch %d overtook a failure", n))
	}
}

func (h *history) answered() []error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]error(nil), h.answers...)
}

// check compares a store with the answers that had been given before it was.
func (h *history) check(s *pebble.Store, answers []error) error {
	h.mu.Lock()
	wrong := append([]string(nil), h.wrong...)
	h.mu.Unlock()
	there := map[string]bool{}
	last := uint64(0)
	err := s.Load(context.Background(), func(e store.Entry) error {
		there[e.Task.GetId()] = true
		if e.Task.GetId() == "tsk_last" {
			last = e.Task.GetResourceVersion()
		}
		return nil
	})
	if err != nil {
		return err
	}
	newest := uint64(0)
	for n := range h.sent {
		a, b := there[fmt.Sprintf("tsk_%06da", n)], there[fmt.Sprintf("tsk_%06db", n)]
		if a {
			newest = uint64(n)
		}
		switch {
		case a != b:
			wrong = append(wrong, fmt.Sprintf("batch %d is there by half", n))
		case n < len(answers) && answers[n] == nil && !a:
			wrong = append(wrong, fmt.Sprintf("batch %d is lost though it was acknowledged", n))
		case n < len(answers) && answers[n] != nil && a:
			wrong = append(wrong, fmt.Sprintf("batch %d is there though it was refused: %v", n, answers[n]))
		}
	}
	if last != newest {
		wrong = append(wrong, fmt.Sprintf("the record that all write is of batch %d, the newest batch is %d", last, newest))
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%d faults: %s", len(wrong), strings.Join(wrong[:min(3, len(wrong))], "; "))
	}
	return nil
}

// ailments are the ways in which a disk fails; the numbers in them are drawn anew for each use.
func randomAilment(r *rand.Rand) *ailment {
	a := &ailment{after: r.IntN(60), odds: 1, last: 1 + r.IntN(12), honest: r.IntN(2) == 0}
	switch r.IntN(7) {
	case 0: // full
		a.err, a.ops, a.honest = syscall.ENOSPC, "write create mkdir", true
	case 1: // a failed fsync
		a.err, a.ops = syscall.EIO, "sync"
	case 2: // one of the logs only
		a.err, a.ops, a.files = syscall.EIO, "write sync", ".log"
	case 3: // read-only
		a.err, a.ops, a.honest = syscall.EROFS, "write patch create open rename remove sync link mkdir", true
	case 4: // the manifest
		a.err, a.ops, a.files = syscall.EIO, "write sync create", "MANIFEST"
	case 5: // tables
		a.err, a.ops, a.files = syscall.ENOSPC, "write sync create", ".sst"
	case 6: // here and there, cutting and reading back as well
		a.err, a.odds = syscall.EIO, 0.05+0.4*r.Float64()
	}
	return a
}

// TestNothingAcknowledgedIsLostAndNothingRefusedComesBack lets a disk fail at random under a store, and looks after
// crashes at random moments what a new store finds.
func TestNothingAcknowledgedIsLostAndNothingRefusedComesBack(t *testing.T) {
	first := uint64(time.Now().UnixNano())
	const seeds = 300
	var group sync.WaitGroup
	seed := make(chan uint64)
	for range 4 {
		group.Go(func() {
			for n := range seed {
				if err := faultyLife(n); err != nil {
					t.Errorf("seed %d: %v", n, err)
				}
			}
		})
	}
	for n := range uint64(seeds) {
		seed <- first + n
	}
	close(seed)
	group.Wait()
}

func faultyLife(seed uint64) (err error) {
	r := rand.New(rand.NewPCG(seed, 0))
	disk := newFaulty(rand.New(rand.NewPCG(seed, 1)))
	const dir = "/data/store"
	s, err := pebble.Open(pebble.Hasty(pebble.Config{Dir: dir, FS: disk}))
	if err != nil {
		return err
	}
	h := &history{}
	for range 2 + r.IntN(3) {
		disk.ail(randomAilment(r))
		for range r.IntN(100) {
			h.commit(s, r.IntN(1500))
			switch r.IntN(50) {
			case 0, 1:
				await(func() bool { return len(h.answered()) >= h.sent-5 || !s.Stats().Writable })
			case 2:
				if err := h.crash(disk, dir, r); err != nil {
					return err
				}
			}
		}
		disk.ail(nil)
		if r.IntN(2) == 0 {
			if !await(func() bool { return s.Stats().Writable && s.Stats().Oldest == 0 }) {
				return fmt.Errorf("does not heal: %+v", s.Stats())
			}
			if err := h.check(s, h.answered()); err != nil {
				return fmt.Errorf("healed: %w", err)
			}
		}
	}
	_ = s.Close() // may fail when the disk has just done so
	if n := len(h.answered()); n != h.sent {
		return fmt.Errorf("%d of %d batches answered", n, h.sent)
	}
	return h.crash(disk, dir, r)
}

// crash looks what a store finds after the machine has lost its power, or the process its life, at this moment.
func (h *history) crash(disk *faulty, dir string, r *rand.Rand) error {
	answers := h.answered()
	survives := []int{0, 100, r.IntN(100)}[r.IntN(3)]
	after := disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: survives, RNG: r})
	s, err := pebble.Open(pebble.Hasty(pebble.Config{Dir: dir, FS: after}))
	if err != nil {
		return fmt.Errorf("after a crash (%d %% unsynced survive): %w", survives, err)
	}
	err = h.check(s, answers)
	if err != nil {
		err = fmt.Errorf("after a crash (%d %% unsynced survive): %w", survives, err)
	}
	return errors.Join(err, s.Close())
}

// await waits until something holds, and tells whether it does.
func await(holds func() bool) bool {
	deadline := time.After(20 * time.Second)
	look := time.NewTicker(200 * time.Microsecond)
	defer look.Stop()
	for !holds() {
		select {
		case <-look.C:
		case <-deadline:
			return false
		}
	}
	return true
}
