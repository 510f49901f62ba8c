package pebble_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"slotd/actors/store"
	"slotd/actors/store/pebble"
	slotdv1 "slotd/messages/slotd/v1"
)

// inMemory opens a store on a disk that does as it is told.
func inMemory(t *testing.T) (*pebble.Store, *faulty) {
	t.Helper()
	disk := newFaulty(rand.New(rand.NewPCG(1, 1)))
	return open(t, pebble.Hasty(pebble.Config{Dir: "/data/store", FS: disk})), disk
}

func TestSlowSyncMakesCommitsWaitAndNobodyElse(t *testing.T) {
	s, disk := inMemory(t)
	release := disk.stall()
	defer release()
	answers := make(chan error, 2)
	for _, id := range []string{"tsk_1", "tsk_2"} {
		s.Commit(&store.Batch{Tasks: []*slotdv1.TaskRecord{{Id: id}}}, func(err error) { answers <- err })
	}
	applied := func() bool {
		_, err := s.Task(context.Background(), "tsk_2")
		return err == nil
	}
	if !await(applied) {
		t.Fatal("a batch cannot be read while the one before it is being synced")
	}
	old := s.Stats().Oldest
	if !await(func() bool { return s.Stats().Oldest > max(old, 5*time.Millisecond) }) {
		t.Errorf("Oldest stays %v while a commit waits", old)
	}
	if stats := s.Stats(); !stats.Writable || stats.Commits != 0 {
		t.Errorf("Stats() = %+v, want writable and nothing acknowledged", stats)
	}
	select {
	case err := <-answers:
		t.Errorf("a commit was answered with %v before it was durable", err)
	default:
	}
	release()
	for range 2 {
		if err := <-answers; err != nil {
			t.Errorf("Commit after a slow sync: %v", err)
		}
	}
	if !await(func() bool { return s.Stats().Oldest == 0 }) {
		t.Errorf("Oldest is %v with nothing under way", s.Stats().Oldest)
	}
}

// While the disk refuses to say what it holds, what was under way stays unanswered; reads and Stats go on.
func TestUncertainCommitsWaitUntilTheDiskTells(t *testing.T) {
	s, disk := inMemory(t)
	commit(t, s, &store.Batch{Tasks: []*slotdv1.TaskRecord{{Id: "tsk_1"}}})
	// The log is written and not synced, and then nothing can be changed any more.
	disk.ail(&ailment{err: syscall.EROFS, ops: "sync write patch open create rename remove mkdir", odds: 1, honest: true})
	answer := make(chan error, 1)
	s.Commit(&store.Batch{Tasks: []*slotdv1.TaskRecord{{Id: "tsk_2"}}}, func(err error) { answer <- err })
	if !await(func() bool { return !s.Stats().Writable }) {
		t.Fatal("a failed sync goes unnoticed")
	}
	problem := s.Stats().Problem
	if text := problem.Error(); !errors.Is(problem, syscall.EROFS) || !strings.Contains(text, "/data/store") || !strings.Contains(text, "read-only file system") {
		t.Errorf("Problem = %v, want the directory and what the system said", problem)
	}
	if _, err := s.Task(context.Background(), "tsk_1"); err != nil {
		t.Errorf("Task while nothing is certain: %v", err)
	}
	select {
	case err := <-answer:
		t.Fatalf("answered with %v while the log could still hold the batch", err)
	default:
	}
	disk.ail(nil)
	err := <-answer
	if !await(func() bool { return s.Stats().Writable }) {
		t.Fatalf("does not heal: %+v", s.Stats())
	}
	if _, found := s.Task(context.Background(), "tsk_2"); (err == nil) != (found == nil) {
		t.Errorf("answered with %v, and Task says %v", err, found)
	}
	commit(t, s, &store.Batch{Tasks: []*slotdv1.TaskRecord{{Id: "tsk_3"}}})
}

func TestCommitsAreRefusedAtOnceWhileTheDiskFails(t *testing.T) {
	s, disk := inMemory(t)
	disk.ail(&ailment{err: syscall.EIO, ops: "write create", odds: 1, honest: true})
	for n := range 200 {
		answer := make(chan error, 1)
		s.Commit(&store.Batch{Tasks: []*slotdv1.TaskRecord{{Id: "tsk_1"}}}, func(err error) { answer <- err })
		if err := <-answer; !errors.Is(err, syscall.EIO) {
			t.Fatalf("commit %d: %v, want the fault of the disk", n, err)
		}
	}
	disk.ail(nil)
}

func TestCloseEndsAnOutage(t *testing.T) {
	disk := newFaulty(rand.New(rand.NewPCG(1, 1)))
	s, err := pebble.Open(pebble.Hasty(pebble.Config{Dir: "/data/store", FS: disk}))
	if err != nil {
		t.Fatal(err)
	}
	commit(t, s, &store.Batch{Tasks: []*slotdv1.TaskRecord{{Id: "tsk_1"}}})
	disk.ail(&ailment{err: syscall.EIO, ops: "write create", odds: 1, honest: true})
	answer := make(chan error, 1)
	s.Commit(&store.Batch{Tasks: []*slotdv1.TaskRecord{{Id: "tsk_2"}}}, func(err error) { answer <- err })
	if err := <-answer; err == nil {
		t.Error("Commit on a disk that fails succeeds")
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close during an outage: %v", err)
	}
	if _, err := s.Task(context.Background(), "tsk_1"); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Task after Close: %v, want ErrClosed", err)
	}
}
