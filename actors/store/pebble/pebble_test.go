package pebble_test

import (
	"path/filepath"
	"strings"
	"testing"

	"slotd/actors/store"
	"slotd/actors/store/pebble"
	"slotd/actors/store/storetest"
	slotdv1 "slotd/messages/slotd/v1"
)

func TestConforms(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Place {
		dir := filepath.Join(t.TempDir(), "store")
		return func(t *testing.T) store.Store {
			s, err := pebble.Open(pebble.Config{Dir: dir, Runs: storetest.KeptRuns})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
	})
}

// open opens a store for the length of the test, in a directory of its own unless the configuration names one.
func open(tb testing.TB, cfg pebble.Config) *pebble.Store {
	tb.Helper()
	if cfg.Dir == "" {
		cfg.Dir = filepath.Join(tb.TempDir(), "store")
	}
	s, err := pebble.Open(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("Close: %v", err)
		}
	})
	return s
}

// commit commits and waits for the answer.
func commit(tb testing.TB, s *pebble.Store, b *store.Batch) {
	tb.Helper()
	answer := make(chan error)
	s.Commit(b, func(err error) { answer <- err })
	if err := <-answer; err != nil {
		tb.Fatalf("Commit: %v", err)
	}
}

func TestSecondStoreOfADirectoryIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s := open(t, pebble.Config{Dir: dir})
	if second, err := pebble.Open(pebble.Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("Open of a directory in use = %v, %v, want an error that names it", second, err)
	}
	commit(t, s, &store.Batch{Tasks: []*slotdv1.TaskRecord{{Id: "tsk_1"}}})
}
