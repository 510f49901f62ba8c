package pebble

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/go-hclog"

	"slotd/actors/store"
	"slotd/actors/store/pebble/layout"
	slotdv1 "slotd/messages/slotd/v1"
)

// Verification relies on it: one group is being applied while one is being synced.
const _ uint = layout.InFlight - 2

// Reader is a store that is looked at while nobody serves it. It changes nothing in its directory, and takes no lock: the
// caller sees to it that nobody writes meanwhile. Its methods are safe from any goroutine until Close.
type Reader struct {
	engine engine
	cache  *pebble.Cache
}

// OpenReadOnly opens the store of a directory to be read. It does not verify: of a damaged store it reads what the engine
// can make out, or returns what the engine says.
func OpenReadOnly(cfg Config) (*Reader, error) {
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	if cfg.FS == nil {
		cfg.FS = vfs.Default
	}
	cfg.memTable = cmp.Or(cfg.memTable, memTableSize)
	s := &Store{cfg: cfg, log: cfg.Logger, disk: disk{cfg.FS}, cache: pebble.NewCache(cacheSize)}
	e, _, err := s.look()
	if err != nil {
		s.cache.Unref()
		return nil, err
	}
	return &Reader{engine: e, cache: s.cache}, nil
}

// Load streams every task with its spec, in id order, and then every key, as [store.Store] does.
func (r *Reader) Load(ctx context.Context, yield func(store.Entry) error) error {
	return load(ctx, r.engine.db, yield)
}

// Runs returns the kept runs of a task, oldest first.
func (r *Reader) Runs(_ context.Context, id string) ([]*slotdv1.RunRecord, error) {
	runs, err := readRuns(r.engine.db, id)
	if err != nil {
		return nil, fmt.Errorf("runs of task %s: %w", id, err)
	}
	return runs, nil
}

// Raw streams every key with its value, in the order of the keys, as they are. yield keeps neither.
func (r *Reader) Raw(ctx context.Context, yield func(key, value []byte) error) (err error) {
	iter, err := r.engine.db.NewIter(nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, iter.Close()) }()
	for valid := iter.First(); valid; valid = iter.Next() {
		if err := ctx.Err(); err != nil {
			return err
		}
		value, err := iter.ValueAndErr()
		if err != nil {
			return err
		}
		if err := yield(iter.Key(), value); err != nil {
			return err
		}
	}
	return iter.Error()
}

// Close releases the store.
func (r *Reader) Close() error {
	err := r.engine.close()
	r.cache.Unref()
	return err
}
