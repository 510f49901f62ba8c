package pebble_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"slotd/actors/store"
	"slotd/actors/store/pebble"
	"slotd/actors/store/pebble/verify"
	slotdv1 "slotd/messages/slotd/v1"
)

// put commits n tasks one after the other.
func put(t *testing.T, s *pebble.Store, n int) {
	t.Helper()
	for i := range n {
		commit(t, s, &store.Batch{Tasks: []*slotdv1.TaskRecord{{Id: fmt.Sprintf("tsk_%03d", i)}}})
	}
}

// A kill leaves the zeros that a log was filled with behind its last group: its end, and no damage.
func TestALogIsFilledAheadWithItsEnd(t *testing.T) {
	const piece = 256 << 10
	dir := filepath.Join(t.TempDir(), "store")
	s := open(t, pebble.Config{Dir: dir})
	put(t, s, 20)
	killed := t.TempDir()
	if err := os.CopyFS(killed, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	filled := 0
	for name, data := range files(t, killed) {
		if !strings.HasSuffix(name, ".log") {
			continue
		}
		if end := len(bytes.TrimRight([]byte(data), "\x00")); len(data)%piece != 0 || len(data)-end > piece {
			t.Errorf("%s holds %d bytes and ends at %d, want it to be filled up to a multiple of %d", name, end, len(data), piece)
		}
		filled += len(data)
	}
	if filled == 0 {
		t.Error("no log is filled")
	}
	report, err := verify.Check(vfs.Default, killed)
	if err != nil || len(report.Torn) > 0 {
		t.Errorf("what a kill leaves is checked with %+v, %v; want nothing torn", report.Torn, err)
	}
	again := open(t, pebble.Config{Dir: killed})
	if stats := again.Stats(); !stats.Writable {
		t.Errorf("after a kill: %+v", stats)
	}
	if _, err := again.Task(t.Context(), "tsk_019"); err != nil {
		t.Errorf("the last task after a kill: %v", err)
	}
}

func TestALogThatCannotBeFilledDoesWithout(t *testing.T) {
	disk := newFaulty(rand.New(rand.NewPCG(1, 1)))
	disk.ail(&ailment{err: syscall.ENOSPC, ops: "patch", files: ".log", odds: 1})
	s := open(t, pebble.Config{Dir: "/data/store", FS: disk})
	put(t, s, 20)
	if stats := s.Stats(); !stats.Writable || stats.Commits != 20 {
		t.Errorf("Stats() = %+v, want 20 commits and a store that can be written", stats)
	}
	if disk.failed == 0 {
		t.Error("nobody tried to fill a log")
	}
}
