package pebble

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/proto"

	"slotd/actors/store"
	"slotd/actors/store/pebble/layout"
	slotdv1 "slotd/messages/slotd/v1"
)

// encoder writes batches of the store into one batch of the engine, without a copy in between.
type encoder struct {
	keep uint32
	to   *pebble.Batch
	from pebble.Reader // what was applied before
	key  []byte
	runs []*slotdv1.RunRecord // put into this batch of the engine
	keys []*slotdv1.KeyRecord // the same
	iter *pebble.Iterator     // of from, while something is deleted
}

// begin aims at an empty batch.
func (e *encoder) begin(to *pebble.Batch, from pebble.Reader) {
	clear(e.runs)
	clear(e.keys)
	e.to, e.from, e.runs, e.keys = to, from, e.runs[:0], e.keys[:0]
}

// end releases what begin and add took.
func (e *encoder) end() error {
	if e.iter == nil {
		return nil
	}
	err := e.iter.Close()
	e.iter = nil
	return err
}

// add writes one batch. After an error the batch of the engine is of no use.
func (e *encoder) add(b *store.Batch) error {
	for _, rec := range b.Tasks {
		if err := e.put(appendTaskKey(e.key[:0], rec.GetId()), rec); err != nil {
			return fmt.Errorf("task %s: %w", rec.GetId(), err)
		}
	}
	for _, spec := range b.Specs {
		if err := e.put(appendSpecKey(e.key[:0], spec.GetTaskId()), spec); err != nil {
			return fmt.Errorf("spec of task %s: %w", spec.GetTaskId(), err)
		}
	}
	for _, run := range b.Runs {
		if err := e.putRun(run); err != nil {
			return fmt.Errorf("run %d of task %s: %w", run.GetAttempt(), run.GetTaskId(), err)
		}
	}
	for _, key := range b.Keys {
		if err := e.put(appendIdempotencyKey(e.key[:0], key.GetSlot(), key.GetKey()), key); err != nil {
			return fmt.Errorf("idempotency key of slot %s: %w", key.GetSlot(), err)
		}
		e.keys = append(e.keys, key)
	}
	for _, id := range b.Deletes {
		if err := e.remove(id); err != nil {
			return fmt.Errorf("delete task %s: %w", id, err)
		}
	}
	for _, key := range b.Expired {
		if err := e.expire(key); err != nil {
			return fmt.Errorf("delete an idempotency key of slot %s: %w", key.GetSlot(), err)
		}
	}
	return nil
}

// count puts the commit counter.
func (e *encoder) count(n uint64) error {
	var value [layout.CounterSize]byte
	binary.BigEndian.PutUint64(value[:], n)
	return e.to.Set([]byte(layout.CommitsKey), value[:], nil)
}

// put encodes the record in its place. key becomes the buffer of the next.
func (e *encoder) put(key []byte, rec proto.Message) error {
	e.key = key
	size := proto.Size(rec)
	op := e.to.SetDeferred(len(key), size)
	copy(op.Key, key)
	value, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(op.Value[:0], rec)
	if err != nil {
		return err
	}
	if len(value) != size {
		return fmt.Errorf("has changed while it was written: %d bytes in place of %d", len(value), size)
	}
	return op.Finish()
}

// putRun puts a run and drops the one that is too old beside it.
func (e *encoder) putRun(run *slotdv1.RunRecord) error {
	id, attempt := run.GetTaskId(), run.GetAttempt()
	if err := e.put(appendRunKey(e.key[:0], id, attempt), run); err != nil {
		return err
	}
	e.runs = append(e.runs, run)
	if attempt <= e.keep {
		return nil
	}
	return e.delete(appendRunKey(e.key[:0], id, attempt-e.keep))
}

// remove deletes a task, its spec and the runs it has: one by one, because scans are slow where ranges were deleted.
func (e *encoder) remove(id string) error {
	if err := e.delete(appendTaskKey(e.key[:0], id)); err != nil {
		return err
	}
	if err := e.delete(appendSpecKey(e.key[:0], id)); err != nil {
		return err
	}
	for _, run := range e.runs {
		if run.GetTaskId() == id {
			if err := e.delete(appendRunKey(e.key[:0], id, run.GetAttempt())); err != nil {
				return err
			}
		}
	}
	if e.iter == nil {
		iter, err := e.from.NewIter(&pebble.IterOptions{LowerBound: []byte{layout.RunTable}, UpperBound: []byte{layout.RunTable + 1}})
		if err != nil {
			return err
		}
		e.iter = iter
	}
	e.key = appendRunPrefix(e.key[:0], id)
	for valid := e.iter.SeekGE(e.key); valid && bytes.HasPrefix(e.iter.Key(), e.key); valid = e.iter.Next() {
		if err := e.to.Delete(e.iter.Key(), nil); err != nil {
			return err
		}
	}
	return e.iter.Error()
}

// expire deletes a key, unless one of its name that expires later has been put, into this batch or before.
func (e *encoder) expire(key *slotdv1.KeyRecord) error {
	e.key = appendIdempotencyKey(e.key[:0], key.GetSlot(), key.GetKey())
	var present slotdv1.KeyRecord
	err := get(e.from, e.key, func(value []byte) error { return proto.Unmarshal(value, &present) })
	if err != nil && !errors.Is(err, pebble.ErrNotFound) {
		return err
	}
	for _, put := range e.keys {
		if put.GetSlot() == key.GetSlot() && put.GetKey() == key.GetKey() {
			present.ExpiresAt = put.GetExpiresAt()
		}
	}
	if present.GetExpiresAt() > key.GetExpiresAt() {
		return nil
	}
	return e.delete(e.key)
}

func (e *encoder) delete(key []byte) error {
	e.key = key
	op := e.to.DeleteDeferred(len(key))
	copy(op.Key, key)
	return op.Finish()
}
