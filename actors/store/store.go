// Package store makes state durable.
//
// It decides nothing: actors hand it batches, it applies each one atomically and says when a crash can no longer
// take it back. Callers are the slot and task actors (through the ledger of package actors) and recovery.
//
// Ordering: batches are applied in the order of the Commit calls, and every done is called exactly once, in that same
// order, from one goroutine of the store (after Close: by Commit itself). A caller that commits from one goroutine
// therefore hears back in the order in which it spoke. Commit never blocks, neither on the disk nor on a done.
//
// A failure is not overtaken: once a batch has failed, everything that is committed before the store has worked off
// its queue fails too. A committer that stops when it hears of the failure, as [Pipeline] does, therefore has a prefix
// of its batches in the store, never a later one without an earlier.
//
// Records are shared, never copied on the way in: whoever has put a message into a [Batch] must not change it again,
// nor the batch. What readers return is shared as well.
package store

import (
	"context"
	"errors"
	"time"

	slotdv1 "slotd/messages/slotd/v1"
)

// ErrClosed is handed to done by a store that was closed before the batch became durable.
var ErrClosed = errors.New("store is closed")

// ErrNotFound says that the store keeps nothing under that id.
var ErrNotFound = errors.New("not in the store")

// Store keeps tasks, specs, runs and idempotency keys. Its methods are safe from any goroutine.
type Store interface {
	// Commit applies the batch atomically and calls done(nil) once it is durable, or done(err) when it is certain that
	// nothing of it was applied. An empty batch is a barrier: done is called after everything committed before it.
	// A done must return soon and may call Commit, but not Close. What is applied can be read before done is called.
	Commit(b *Batch, done func(error))

	// Load streams every task (in id order, with its spec) and every key that has not been deleted, for recovery. It
	// ends early with the error of yield or of ctx.
	Load(ctx context.Context, yield func(Entry) error) error

	// Task returns the last committed record of a task, or ErrNotFound.
	Task(ctx context.Context, id string) (*slotdv1.TaskRecord, error)

	// Spec returns a task's spec, or ErrNotFound.
	Spec(ctx context.Context, id string) (*slotdv1.SpecRecord, error)

	// Runs returns the kept runs of a task, oldest first; none for an unknown task. Those of the last attempts are kept;
	// how many, is the store's configuration.
	Runs(ctx context.Context, id string) ([]*slotdv1.RunRecord, error)

	// Durable says whether what was committed outlives the process.
	Durable() bool

	// Stats counts since the store was opened.
	Stats() Stats

	// Close makes everything committed before it durable, calls the outstanding dones and releases the store.
	// Commits and reads after Close are answered with ErrClosed; a second Close does nothing.
	Close() error
}

// Batch is one atomic change. Within a batch, deletes come last. A spec or a run is put together with its task or after
// it, never after the task's deletion; the id of a deleted task is not used again.
type Batch struct {
	Tasks   []*slotdv1.TaskRecord // put; replaces the record of the same id
	Specs   []*slotdv1.SpecRecord // put
	Runs    []*slotdv1.RunRecord  // put; replaces the run of the same task and attempt
	Keys    []*slotdv1.KeyRecord  // put; replaces the key of the same slot and name
	Deletes []string              // task ids: the task, its spec and its runs; keys stay
	Expired []*slotdv1.KeyRecord  // keys to delete, unless one of that slot and name has been put that expires later
}

// Empty says that the batch changes nothing.
func (b *Batch) Empty() bool { return b.Len() == 0 }

// Len counts the puts and deletes of the batch.
func (b *Batch) Len() int {
	return len(b.Tasks) + len(b.Specs) + len(b.Runs) + len(b.Keys) + len(b.Deletes) + len(b.Expired)
}

// Entry is one thing Load finds: a task with its spec, or a key.
type Entry struct {
	Task *slotdv1.TaskRecord
	Spec *slotdv1.SpecRecord
	Raw  RawSpec // in place of Spec, when the task has ended and the store has its spec encoded; it can be decoded
	Key  *slotdv1.KeyRecord
}

// DecodedSpec returns the task's spec, or nil when it has none.
func (e Entry) DecodedSpec() (*slotdv1.SpecRecord, error) {
	if e.Raw == nil {
		return e.Spec, nil
	}
	return e.Raw.Decode()
}

// Stats are counters since the store was opened.
type Stats struct {
	Kind     string // memory, pebble, etcd
	Writable bool
	Problem  error // why it is not writable, nil when it is
	Commits  uint64
	Records  uint64        // puts and deletes
	Bytes    int64         // on the disk
	Oldest   time.Duration // age of the oldest commit whose done has not been called; 0 = there is none
}
