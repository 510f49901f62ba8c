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
// yielded in the order in which it was read. Then it is used again.
type chunk struct {
	records []record
	raw     []byte // tasks and keys
	bytes   int    // all of it
	entries []store.Entry
	err     error
	decoded chan struct{} // 1: entries or err are there
}

// record is a task or a key of a chunk.
type record struct {
	table byte
	end   int           // in raw; it begins where the one before ends
	spec  store.RawSpec // of a task, nil when it has none
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
	underway := 4 * decoders
	spare, todo, ordered := make(chan *chunk, underway), make(chan *chunk, underway), make(chan *chunk, underway)
	for range underway {
		spare <- newChunk()
	}
	ended := make(chan error, 1)
	go func() {
		err := scan(from, func(full *chunk) (*chunk, error) {
			if full != nil {
				ordered <- full
				todo <- full
			}
			select {
			case next := <-spare:
				return next, nil
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		})
		close(todo)
		close(ordered)
		ended <- err
	}()
	done := make(chan struct{})
	for range decoders {
		go func() {
			for c := range todo {
				c.err = c.decode()
				c.decoded <- struct{}{}
			}
			done <- struct{}{}
		}()
	}
	err := forward(ctx, ordered, spare, yield)
	cancel(err)
	for range decoders {
		<-done
	}
	return cmp.Or(err, <-ended) // the first is the cause of the second
}

// forward yields what has been decoded, in order, and gives the chunks back.
func forward(ctx context.Context, chunks <-chan *chunk, spare chan<- *chunk, yield func(store.Entry) error) error {
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
		c.reset()
		spare <- c
	}
	return nil
}

// scan reads tasks with their specs, then keys. It hands on a chunk for the next one to fill; the first for nil.
func scan(from pebble.Reader, hand func(full *chunk) (*chunk, error)) (err error) {
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

	c, err := hand(nil)
	if err != nil {
		return err
	}
	spec := specs.First()
	for valid := tasks.First(); valid; valid = tasks.Next() {
		if err := c.add(tasks); err != nil {
			return err
		}
		id := tasks.Key()[1:]
		for spec && bytes.Compare(specs.Key()[1:], id) < 0 {
			spec = specs.Next()
		}
		if spec && bytes.Equal(specs.Key()[1:], id) {
			if err := c.specify(specs); err != nil {
				return err
			}
		}
		if c, err = handFull(c, hand); err != nil {
			return err
		}
	}
	for valid := keys.First(); valid; valid = keys.Next() {
		if err := c.add(keys); err != nil {
			return err
		}
		if c, err = handFull(c, hand); err != nil {
			return err
		}
	}
	if err := errors.Join(tasks.Error(), specs.Error(), keys.Error()); err != nil {
		return err
	}
	_, err = hand(c)
	return err
}

func handFull(c *chunk, hand func(*chunk) (*chunk, error)) (*chunk, error) {
	if len(c.records) < chunkRecords && c.bytes < chunkBytes {
		return c, nil
	}
	return hand(c)
}

func table(from pebble.Reader, table byte) (*pebble.Iterator, error) {
	return from.NewIter(&pebble.IterOptions{LowerBound: []byte{table}, UpperBound: []byte{table + 1}})
}

func newChunk() *chunk { return &chunk{decoded: make(chan struct{}, 1)} }

// reset makes room, and keeps nothing of what was yielded alive.
func (c *chunk) reset() {
	clear(c.records)
	clear(c.entries)
	c.records, c.entries, c.raw, c.bytes = c.records[:0], c.entries[:0], c.raw[:0], 0
}

// add takes over the task or key that an iterator is at.
func (c *chunk) add(at *pebble.Iterator) error {
	value, err := at.ValueAndErr()
	if err != nil {
		return err
	}
	c.raw = append(c.raw, value...)
	c.records = append(c.records, record{table: at.Key()[0], end: len(c.raw)})
	c.bytes += len(value)
	return nil
}

// specify gives the last task its spec. That is a copy of its own: the caller may keep one and drop its neighbours.
func (c *chunk) specify(at *pebble.Iterator) error {
	value, err := at.ValueAndErr()
	if err != nil {
		return err
	}
	spec := make(store.RawSpec, len(value))
	copy(spec, value)
	c.records[len(c.records)-1].spec = spec
	c.bytes += len(value)
	return nil
}

func (c *chunk) decode() error {
	begin := 0
	for _, r := range c.records {
		value := c.raw[begin:r.end]
		begin = r.end
		var e store.Entry
		var rec proto.Message
		if r.table == layout.KeyTable {
			e.Key = new(slotdv1.KeyRecord)
			rec = e.Key
		} else {
			e.Task = new(slotdv1.TaskRecord)
			rec = e.Task
		}
		if err := proto.Unmarshal(value, rec); err != nil {
			return unreadable(r.table, err)
		}
		if r.spec != nil {
			if err := specify(&e, r.spec); err != nil {
				return unreadable(layout.SpecTable, err)
			}
		}
		c.entries = append(c.entries, e)
	}
	return nil
}

// specify gives a task its spec, decoded if it is going to be needed.
func specify(e *store.Entry, spec store.RawSpec) (err error) {
	if e.Task.GetPhase() == slotdv1.Phase_PHASE_FINISHED {
		e.Raw = spec
		return spec.Check()
	}
	e.Spec, err = spec.Decode()
	return err
}

func unreadable(table byte, err error) error {
	return fmt.Errorf("read a record of table %c: %w", table, err)
}
