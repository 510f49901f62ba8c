package pebble

import (
	"fmt"
	"runtime/debug"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"

	"slotd/actors/store/pebble/verify"
)

// What the engine may use. An idle daemon should be small, and its memory does not grow with the store.
const (
	cacheSize    = 8 << 20 // blocks of tables
	memTableSize = 8 << 20 // at its greatest; it begins small
	openFiles    = 200
)

// engineFormat is the first in which a log tells damage from a write that was cut off.
const engineFormat = pebble.FormatWALSyncChunks

// life is one database from when it was opened until it failed or the store was closed. A store has one after the
// other: what an engine holds in memory is not to be trusted once its disk has failed.
type life struct {
	engine
	applied chan *group   // in order; closed when no more will come; holds none, see apply
	drained chan struct{} // closed when everything has been answered
	idle    chan struct{} // closed when nobody will write any more
	commits uint64        // counter of the last group; of the goroutine that applies
	retired bool          // the store has taken back what it had given; guarded by both of its locks
}

// engine is a database behind its fence.
type engine struct {
	db    *pebble.DB
	fence *fence
}

// close closes the database unless that fails, then it is left behind.
func (e engine) close() error { return e.fence.guard(e.db.Close) }

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
		// Writing goes on while what has piled up at the top is merged: nobody but recovery reads all of it.
		L0CompactionThreshold: 4,
		L0StopWritesThreshold: 48,
	}
	for i := range opts.Levels {
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return opts
}

// open opens the directory for writing. It has been verified, and must hold that many groups.
func (s *Store) open(commits uint64) (*life, error) {
	f := newFence(s.disk, s.cfg.Dir)
	opened := make(chan *pebble.DB, 1)
	err := f.guard(func() error {
		db, err := pebble.Open(s.cfg.Dir, s.options(f))
		if err != nil {
			return err
		}
		opened <- db
		return s.identify(engine{db, f}, commits)
	})
	if err != nil {
		select {
		case db := <-opened:
			s.bury(engine{db, f})
		default:
		}
		return nil, fmt.Errorf("open the store in %s: %w", s.cfg.Dir, err)
	}
	return &life{
		engine:  engine{<-opened, f},
		applied: make(chan *group),
		drained: make(chan struct{}),
		idle:    make(chan struct{}),
		commits: commits,
	}, nil
}

// identify looks whether a database is the one that is expected, and makes a new one ours.
func (s *Store) identify(e engine, commits uint64) error {
	if err := e.fence.survey(e.fence, s.cfg.Dir); err != nil {
		return err
	}
	n, err := identify(e.db, s.cfg.Version)
	if err == nil && n != commits {
		return fmt.Errorf("it holds %d commits, %d were found before it was opened", n, commits)
	}
	return err
}

// look opens the directory for reading alone: nothing in it is changed.
func (s *Store) look() (engine, uint64, error) {
	f := newFence(verify.ReadOnly(s.disk), s.cfg.Dir)
	opts := s.options(f)
	opts.ReadOnly = true
	opened := make(chan *pebble.DB, 1)
	var commits uint64
	err := f.guard(func() error {
		db, err := pebble.Open(s.cfg.Dir, opts)
		if err != nil {
			return err
		}
		opened <- db
		commits, err = readCommits(db)
		return err
	})
	if err != nil {
		return engine{}, 0, fmt.Errorf("read the store in %s: %w", s.cfg.Dir, err)
	}
	return engine{<-opened, f}, commits, nil
}

// bury closes a database that failed. One that does not come back, because a goroutine of it is held by its fence or
// waits for one that is, stays behind: its tables in memory, some goroutines and open files are lost until the process
// ends. It can do no more harm, and there is no way to take it apart.
func (s *Store) bury(e engine) {
	e.fence.trip("close", "", errFenced)
	e.fence.release()
	late := time.NewTimer(s.cfg.pace.mourning)
	defer late.Stop()
	select {
	case err := <-apart(e.db.Close):
		s.log.Debug("engine closed after a fault", "error", err)
	case <-e.fence.fatal:
		s.log.Warn("engine left behind after a fault")
	case <-late.C:
		s.log.Warn("engine left behind after a fault")
	}
}

// abandon buries a life that nobody reads from and nobody writes to any more. As long as somebody may be writing through
// the engine, it must not learn of the fault.
func (s *Store) abandon(l *life, last *view) {
	late := time.NewTimer(s.cfg.pace.mourning)
	defer late.Stop()
	for _, gone := range []<-chan struct{}{l.idle, last.vacated} {
		select {
		case <-gone:
		case <-late.C:
			s.log.Warn("engine left behind in use after a fault")
			return
		}
	}
	s.bury(l.engine)
}

func panicked(p any) error { return fmt.Errorf("the engine panicked: %v\n%s", p, debug.Stack()) }
