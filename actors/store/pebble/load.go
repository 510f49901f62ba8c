package pebble

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/proto"

	"slotd/actors/store"
	"slotd/actors/store/pebble/layout"
	slotdv1 "slotd/messages/slotd/v1"
)

// What is handed on at once while loading: this many records, or bytes.
const (
	chunkRecords = 512
	chunkBytes   = 128 << 10
)

// chunk is a stretch of the store on its way from the disk to the caller: read by one goroutine, decoded by any, and
// yielded in the order in which it was read.
type chunk struct {
	raw     []byte
	fields  []field
	entries []store.Entry
	err     error
	decoded chan struct{} // closed when entries or err are there
}

// field is one record of a chunk; a spec belongs to the task before it.
type field struct {
	table byte
	end   int // in raw; it begins where the one before ends
}

// Load implements store.Store. It streams one moment's state; what is committed meanwhile is not in it.
func (s *Store) Load(ctx context.Context, yield func(store.Entry) error) error {
	v, err := s.enter()
	if err != nil {
		return err
	}
	defer s.leave(v)
	snapshot := v.db.NewSnapshot()
	err = load(ctx, snapshot, yield)
	return errors.Join(err, snapshot.Close())
}

func load(ctx context.Context, from pebble.Reader, yield func(store.Entry) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	decoders := runtime.GOMAXPROCS(0)
	ordered := make(chan *chunk, 2*decoders)
	todo := make(chan *chunk, 2*decoders)
	ended := make(chan error, 1)
	go func() {
		err := scan(from, func(c *chunk) error {
			for _, to := range []chan<- *chunk{ordered, todo} {
				select {
				case to <- c:
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}
			return nil
		})
		close(todo)
		close(ordered)
		ended <- err
	}()
	done := make(chan struct{})
	for range decoders {
		go func() {
			for c := range todo {
				c.entries, c.err = c.decode()
				close(c.decoded)
			}
			done <- struct{}{}
		}()
	}
	err := forward(ctx, ordered, yield)
	cancel(err)
	for range decoders {
		<-done
	}
	return cmp.Or(err, <-ended) // the first is the cause of the second
}

// forward yields what has been decoded, in order.
func forward(ctx context.Context, chunks <-chan *chunk, yield func(store.Entry) error) error {
	for c := range chunks {
		select {
		case <-c.decoded:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if c.err != nil {
			return c.err
		}
		for _, e := range c.entries {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := yield(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// scan reads tasks with their specs, then keys, and hands them on in chunks.
func scan(from pebble.Reader, hand func(*chunk) error) (err error) {
	tasks, err := table(from, layout.TaskTable)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tasks.Close()) }()
	specs, err := table(from, layout.SpecTable)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, specs.Close()) }()
	keys, err := table(from, layout.KeyTable)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, keys.Close()) }()

	c := newChunk()
	next := func() error {
		full := c
		c = newChunk()
		return hand(full)
	}
	spec := specs.First()
	for valid := tasks.First(); valid; valid = tasks.Next() {
		if c.full() {
			if err := next(); err != nil {
				return err
			}
		}
		id := tasks.Key()[1:]
		c.add(layout.TaskTable, tasks.Value())
		for spec && bytes.Compare(specs.Key()[1:], id) < 0 {
			spec = specs.Next()
		}
		if spec && bytes.Equal(specs.Key()[1:], id) {
			c.add(layout.SpecTable, specs.Value())
		}
	}
	for valid := keys.First(); valid; valid = keys.Next() {
		if c.full() {
			if err := next(); err != nil {
				return err
			}
		}
		c.add(layout.KeyTable, keys.Value())
	}
	if err := errors.Join(tasks.Error(), specs.Error(), keys.Error()); err != nil {
		return err
	}
	return next()
}

func table(from pebble.Reader, table byte) (*pebble.Iterator, error) {
	return from.NewIter(&pebble.IterOptions{LowerBound: []byte{table}, UpperBound: []byte{table + 1}})
}

func newChunk() *chunk {
	return &chunk{raw: make([]byte, 0, chunkBytes), fields: make([]field, 0, chunkRecords), decoded: make(chan struct{})}
}

func (c *chunk) full() bool { return len(c.fields) >= chunkRecords-1 || len(c.raw) >= chunkBytes }

func (c *chunk) add(table byte, value []byte) {
	c.raw = append(c.raw, value...)
	c.fields = append(c.fields, field{table, len(c.raw)})
}

func (c *chunk) decode() ([]store.Entry, error) {
	entries := make([]store.Entry, 0, len(c.fields))
	begin := 0
	for _, f := range c.fields {
		value := c.raw[begin:f.end]
		begin = f.end
		var rec proto.Message
		switch f.table {
		case layout.TaskTable:
			task := new(slotdv1.TaskRecord)
			entries, rec = append(entries, store.Entry{Task: task}), task
		case layout.SpecTable:
			spec := new(slotdv1.SpecRecord)
			entries[len(entries)-1].Spec, rec = spec, spec
		default:
			key := new(slotdv1.KeyRecord)
			entries, rec = append(entries, store.Entry{Key: key}), key
		}
		if err := proto.Unmarshal(value, rec); err != nil {
			return nil, fmt.Errorf("read a record of table %c: %w", f.table, err)
		}
	}
	return entries, nil
}
