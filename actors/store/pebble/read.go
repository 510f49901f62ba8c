package pebble

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/proto"

	"slotd/actors/store"
	"slotd/actors/store/pebble/layout"
	slotdv1 "slotd/messages/slotd/v1"
)

// view is a database that is read from. It is closed only when nobody reads from it any more.
type view struct {
	engine
	readers int           // guarded by the store's lock, as what follows
	vacated chan struct{} // not nil: closed when the last reader has gone
}

// enter returns what is to be read from; it must be left again.
func (s *Store) enter() (*view, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.view == nil {
		return nil, store.ErrClosed
	}
	s.view.readers++
	return s.view, nil
}

func (s *Store) leave(v *view) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v.readers--
	if v.readers == 0 && v.vacated != nil {
		close(v.vacated)
	}
}

// show makes readers see another database, nil for none, and returns the one they saw. The caller holds the lock.
func (s *Store) show(next *view) *view {
	last := s.view
	s.view = next
	if last != nil {
		last.vacated = make(chan struct{})
		if last.readers == 0 {
			close(last.vacated)
		}
	}
	return last
}

// Task implements store.Store.
func (s *Store) Task(_ context.Context, id string) (*slotdv1.TaskRecord, error) {
	rec := new(slotdv1.TaskRecord)
	if err := s.read(layout.TaskKey(id), rec); err != nil {
		return nil, fmt.Errorf("task %s: %w", id, err)
	}
	return rec, nil
}

// Spec implements store.Store.
func (s *Store) Spec(_ context.Context, id string) (*slotdv1.SpecRecord, error) {
	rec := new(slotdv1.SpecRecord)
	if err := s.read(layout.SpecKey(id), rec); err != nil {
		return nil, fmt.Errorf("spec of task %s: %w", id, err)
	}
	return rec, nil
}

func (s *Store) read(key []byte, rec proto.Message) error {
	err := s.reading(func(db *pebble.DB) error {
		return get(db, key, func(value []byte) error { return proto.Unmarshal(value, rec) })
	})
	if errors.Is(err, pebble.ErrNotFound) {
		return store.ErrNotFound
	}
	return err
}

// reading reads from the present database, and again when that has been replaced meanwhile: its files may have gone
// from under it.
func (s *Store) reading(from func(*pebble.DB) error) error {
	for {
		v, err := s.enter()
		if err != nil {
			return err
		}
		err = from(v.db)
		s.leave(v)
		s.mu.Lock()
		replaced := s.view != v && s.view != nil
		s.mu.Unlock()
		if err == nil || !replaced || errors.Is(err, pebble.ErrNotFound) {
			return err
		}
	}
}

// Runs implements store.Store.
func (s *Store) Runs(_ context.Context, id string) (runs []*slotdv1.RunRecord, err error) {
	err = s.reading(func(db *pebble.DB) (err error) {
		runs, err = readRuns(db, id)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("runs of task %s: %w", id, err)
	}
	return s.kept(runs), nil
}

// kept leaves out what is too old and has not been dropped, because an attempt in between has no run or because it was
// written again after its time.
func (s *Store) kept(runs []*slotdv1.RunRecord) []*slotdv1.RunRecord {
	for len(runs) > 0 && runs[len(runs)-1].GetAttempt()-runs[0].GetAttempt() >= s.keep {
		runs = runs[1:]
	}
	return runs
}

func readRuns(db *pebble.DB, id string) (runs []*slotdv1.RunRecord, err error) {
	first := appendRunPrefix(nil, id)
	iter, err := db.NewIter(&pebble.IterOptions{LowerBound: first, UpperBound: following(first)})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, iter.Close()) }()
	for valid := iter.First(); valid; valid = iter.Next() {
		run := new(slotdv1.RunRecord)
		if err := proto.Unmarshal(iter.Value(), run); err != nil {
			return nil, err
		}
		runs = append(runs, run)
	}
	return runs, iter.Error()
}

// following is the first key behind all that begin with a prefix whose last byte is not the greatest.
func following(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	end[len(end)-1]++
	return end
}
