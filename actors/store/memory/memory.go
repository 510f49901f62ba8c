// Package memory is the store that forgets: everything is kept in maps and gone with the process. It serves tests,
// `serve --store memory` and nodes that live inside another program.
//
// It behaves like a durable store in all but durability: Commit only enqueues, one goroutine applies what has gathered
// and calls the dones in commit order, and readers see a batch as a whole or not at all. It never fails a batch before
// Close. Records are kept and returned as the very pointers that were committed; nobody may change them.
//
// Every method is safe from any goroutine. A done may call Commit and the readers, but not Close.
package memory

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"

	"slotd/actors/store"
	slotdv1 "slotd/messages/slotd/v1"
)

// DefaultRuns is how many runs a task keeps unless Config says otherwise.
const DefaultRuns = 256

// applied is how many batches are applied under one hold of the lock: readers never wait for more.
const applied = 256

// retained is the longest queue whose memory is kept for the next burst.
const retained = 4096

// Config of a store. Its zero value is useful.
type Config struct {
	// Runs is how many runs are kept per task: attempt n drops what is older than attempt n−Runs+1. 0 = DefaultRuns.
	Runs int
}

// Store keeps everything in memory. Make one with New; Close ends its goroutine.
type Store struct {
	runs int

	mu     sync.Mutex // guards queue, closed and ended
	wake   sync.Cond  // queue is not empty, or closed
	queue  []commit
	closed bool // no more batches are taken
	ended  bool // the goroutine is through with the queue
	done   chan struct{}

	state   sync.RWMutex // guards what follows
	tasks   map[string]*task
	keys    map[keyName]*slotdv1.KeyRecord
	commits uint64
	records uint64
}

type commit struct {
	batch *store.Batch
	done  func(error)
	err   error // ErrClosed: came after Close, but must be answered after what came before
}

type task struct {
	record *slotdv1.TaskRecord
	spec   *slotdv1.SpecRecord
	runs   []*slotdv1.RunRecord // by attempt, ascending
}

type keyName struct{ slot, key string }

// New returns an empty store.
func New(cfg Config) *Store {
	s := &Store{
		runs:  cmp.Or(cfg.Runs, DefaultRuns),
		done:  make(chan struct{}),
		tasks: map[string]*task{},
		keys:  map[keyName]*slotdv1.KeyRecord{},
	}
	s.wake.L = &s.mu
	go s.serve()
	return s
}

// Commit implements store.Store.
func (s *Store) Commit(b *store.Batch, done func(error)) {
	c := commit{batch: b, done: done}
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		done(store.ErrClosed)
		return
	}
	if s.closed {
		c.err = store.ErrClosed
	}
	s.queue = append(s.queue, c)
	first := len(s.queue) == 1
	s.mu.Unlock()
	if first {
		s.wake.Signal()
	}
}

// serve is the store's goroutine: it takes all that is queued, applies it and reports.
func (s *Store) serve() {
	defer close(s.done)
	var spare []commit
	for {
		s.mu.Lock()
		for len(s.queue) == 0 && !s.closed {
			s.wake.Wait()
		}
		if len(s.queue) == 0 {
			s.ended = true
			s.mu.Unlock()
			return
		}
		queue := s.queue
		s.queue = spare[:0]
		s.mu.Unlock()

		for part := range slices.Chunk(queue, applied) {
			s.apply(part)
			for _, c := range part {
				c.done(c.err)
			}
		}
		clear(queue)
		if spare = queue; cap(spare) > retained {
			spare = nil
		}
	}
}

func (s *Store) apply(commits []commit) {
	s.state.Lock()
	defer s.state.Unlock()
	for _, c := range commits {
		if c.err != nil {
			continue
		}
		s.commits++
		s.records += uint64(c.batch.Len())
		s.put(c.batch)
		s.remove(c.batch)
	}
}

func (s *Store) put(b *store.Batch) {
	for _, rec := range b.Tasks {
		s.task(rec.GetId()).record = rec
	}
	for _, spec := range b.Specs {
		s.task(spec.GetTaskId()).spec = spec
	}
	for _, run := range b.Runs {
		t := s.task(run.GetTaskId())
		t.runs = putRun(t.runs, run, s.runs)
	}
	for _, key := range b.Keys {
		s.keys[nameOf(key)] = key
	}
}

func (s *Store) remove(b *store.Batch) {
	for _, id := range b.Deletes {
		delete(s.tasks, id)
	}
	for _, key := range b.Expired {
		if s.keys[nameOf(key)].GetExpiresAt() <= key.GetExpiresAt() {
			delete(s.keys, nameOf(key))
		}
	}
}

func (s *Store) task(id string) *task {
	t := s.tasks[id]
	if t == nil {
		t = &task{}
		s.tasks[id] = t
	}
	return t
}

// putRun replaces or inserts a run and drops what is not among the last keep attempts. Nearly always the run is the
// newest.
func putRun(runs []*slotdv1.RunRecord, run *slotdv1.RunRecord, keep int) []*slotdv1.RunRecord {
	i, found := slices.BinarySearchFunc(runs, run.GetAttempt(), byAttempt)
	if found {
		runs[i] = run
		return runs
	}
	runs = slices.Insert(runs, i, run)
	if last := int(runs[len(runs)-1].GetAttempt()); last > keep {
		first, _ := slices.BinarySearchFunc(runs, uint32(last-keep+1), byAttempt)
		runs = slices.Delete(runs, 0, first)
	}
	return runs
}

func byAttempt(run *slotdv1.RunRecord, attempt uint32) int {
	return cmp.Compare(run.GetAttempt(), attempt)
}

func nameOf(key *slotdv1.KeyRecord) keyName { return keyName{key.GetSlot(), key.GetKey()} }

// Load implements store.Store. It streams one moment's state; what is committed meanwhile is not in it.
func (s *Store) Load(ctx context.Context, yield func(store.Entry) error) error {
	entries, err := s.snapshot()
	if err != nil {
		return err
	}
	slices.SortFunc(entries, func(a, b store.Entry) int {
		return cmp.Or(
			strings.Compare(a.Task.GetId(), b.Task.GetId()),
			strings.Compare(a.Key.GetSlot(), b.Key.GetSlot()),
			strings.Compare(a.Key.GetKey(), b.Key.GetKey()),
		)
	})
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := yield(e); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) snapshot() ([]store.Entry, error) {
	if err := s.readable(); err != nil {
		return nil, err
	}
	s.state.RLock()
	defer s.state.RUnlock()
	entries := make([]store.Entry, 0, len(s.tasks)+len(s.keys))
	for _, t := range s.tasks {
		if t.record != nil {
			entries = append(entries, store.Entry{Task: t.record, Spec: t.spec})
		}
	}
	for _, key := range s.keys {
		entries = append(entries, store.Entry{Key: key})
	}
	return entries, nil
}

// Task implements store.Store.
func (s *Store) Task(_ context.Context, id string) (*slotdv1.TaskRecord, error) {
	if err := s.readable(); err != nil {
		return nil, err
	}
	s.state.RLock()
	defer s.state.RUnlock()
	if t := s.tasks[id]; t != nil && t.record != nil {
		return t.record, nil
	}
	return nil, store.ErrNotFound
}

// Spec implements store.Store.
func (s *Store) Spec(_ context.Context, id string) (*slotdv1.SpecRecord, error) {
	if err := s.readable(); err != nil {
		return nil, err
	}
	s.state.RLock()
	defer s.state.RUnlock()
	if t := s.tasks[id]; t != nil && t.spec != nil {
		return t.spec, nil
	}
	return nil, store.ErrNotFound
}

// Runs implements store.Store.
func (s *Store) Runs(_ context.Context, id string) ([]*slotdv1.RunRecord, error) {
	if err := s.readable(); err != nil {
		return nil, err
	}
	s.state.RLock()
	defer s.state.RUnlock()
	if t := s.tasks[id]; t != nil {
		return slices.Clone(t.runs), nil
	}
	return nil, nil
}

// Durable implements store.Store: never.
func (s *Store) Durable() bool { return false }

// Stats implements store.Store.
func (s *Store) Stats() store.Stats {
	s.mu.Lock()
	writable := !s.closed
	s.mu.Unlock()
	s.state.RLock()
	defer s.state.RUnlock()
	return store.Stats{Kind: "memory", Writable: writable, Commits: s.commits, Records: s.records}
}

// Close implements store.Store. It always returns nil, also when repeated.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.wake.Signal()
	<-s.done
	return nil
}

func (s *Store) readable() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return store.ErrClosed
	}
	return nil
}
