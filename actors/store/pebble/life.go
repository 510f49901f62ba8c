package pebble

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
)

// What the engine may use. An idle daemon should be small, and its memory does not grow with the store.
const (
	cacheSize    = 8 << 20 // blocks of tables
	memTableSize = 8 << 20 // at its greatest; it begins small
	openFiles    = 200
)

// ahead is how many groups may be applied before the oldest of them is durable.
const ahead = 16

// life is one database from when it was opened until it failed or the store was closed. A store has one after the
// other: what an engine holds in memory is not to be trusted once its disk has failed.
type life struct {
	db      *pebble.DB
	fence   *fence
	applied chan *group // in order; closed when no more will come
	commits uint64      // counter of the last group; of the goroutine that applies
	retired bool        // the store has taken back what it had given; guarded by its lock
}

// options are those of a database behind a fence.
func (s *Store) options(f *fence) *pebble.Options {
	v := voice{log: s.log, fence: f}
	opts := &pebble.Options{
		FS:                 f,
		Logger:             v,
		EventListener:      v.events(),
		Cache:              s.cache,
		MaxOpenFiles:       openFiles,
		FormatMajorVersion: engineFormat,

		MemTableSize:                s.cfg.memTable,
		MemTableStopWritesThreshold: 4,
		// Many small tables at the top are read by nobody but recovery: writing goes on while they are merged.
		L0CompactionThreshold: 4,
		L0StopWritesThreshold: 48,
	}
	for i := range opts.Levels {
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return opts
}

// engineFormat is the first in which a log tells damage from a write that was cut off.
const engineFormat = pebble.FormatWALSyncChunks

// open opens the directory for writing.
func (s *Store) open() (*life, error) {
	f := newFence(s.cfg.FS, s.cfg.Dir)
	l := &life{fence: f, applied: make(chan *group, ahead)}
	err := f.guard(func() (err error) {
		if l.db, err = pebble.Open(s.cfg.Dir, s.options(f)); err != nil {
			return err
		}
		if err := f.survey(); err != nil {
			return err
		}
		l.commits, err = identify(l.db, s.cfg.Version)
		return err
	})
	if err != nil {
		f.trip("open", "", err)
		err = errors.Join(err, l.discard())
		return nil, fmt.Errorf("open the store in %s: %w", s.cfg.Dir, err)
	}
	return l, nil
}

// guard does something with an engine that may give up for good, or panic: then its goroutine is left behind.
func (f *fence) guard(do func() error) error {
	end := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				end <- fmt.Errorf("the engine panicked: %v", p)
			}
		}()
		end <- do()
	}()
	select {
	case err := <-end:
		return err
	case <-f.fatal:
		return f.fault.Load()
	}
}

// discard closes the database.
func (l *life) discard() error {
	if l.db == nil {
		return nil
	}
	return l.db.Close()
}
