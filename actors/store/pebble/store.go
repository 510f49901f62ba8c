// Package pebble is the durable store of one machine, on an embedded key-value engine with a write-ahead log.
//
// Commit only enqueues. One goroutine gathers what is queued into groups and applies them; another waits until each is
// on the disk and calls the dones, in order. So a group is applied, and can be read, while the one before it is being
// synced, and a disk that is slow makes groups larger. Each group carries the next number of a commit counter.
//
// Open verifies the directory before it changes anything in it, see package verify.
//
// When the disk fails, in whatever operation, the engine is not asked to cope: it is fenced off from its files, what it
// had not made durable is cut off, and what is left tells which groups are durable and which are not. They are answered
// accordingly, commits are refused and reads are served until the directory has been verified and opened anew. If the
// disk does not even let the store find out, what was under way stays unanswered until it does, and so does what comes
// after it, because answers keep their order; Stats tells at once.
//
// What is not promised. An engine that was in the middle of a write or that had given up when its disk failed cannot be
// closed: its tables in memory (up to 32 MB when it was busy), a few goroutines and open files are lost until the
// process ends. And when a disk takes back what it has lost (a log was cut) but refuses for seconds to confirm that, its
// word is taken: a batch that was refused could come back if the machine, not the process, dies before the disk has
// healed.
package pebble

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/go-hclog"

	"slotd/actors/store"
	"slotd/actors/store/pebble/verify"
)

// DefaultRuns is how many runs a task keeps unless Config says otherwise.
const DefaultRuns = 256

// retained is the longest queue whose memory is kept for the next burst.
const retained = 4096

// Config of a store.
type Config struct {
	// Dir is where the store lives; it is made when it does not exist. One process may use it at a time.
	Dir string
	// Runs is how many runs are kept per task: attempt n drops attempt n−Runs. 0 = DefaultRuns.
	Runs int
	// Version is that of the program; a new store remembers who made it.
	Version string
	// Logger hears what the engine has to say; nil = nobody.
	Logger hclog.Logger
	// FS holds Dir; nil = the file system of the machine.
	FS vfs.FS

	memTable uint64 // bytes; 0 = memTableSize
	pace     pace   // zero = usualPace
}

// Store keeps everything in one directory. Make one with Open; Close ends its goroutines.
type Store struct {
	cfg      Config
	log      hclog.Logger
	disk     disk
	lock     io.Closer     // of the directory
	cache    *pebble.Cache // outlives the database that is open
	keep     uint32
	witness  *verify.Witness
	acked    uint64         // counter of the last group that was acknowledged; of whoever answers
	routines sync.WaitGroup // what outages have started

	wake    chan struct{} // 1: the queue is not empty, or something else has changed
	ended   chan struct{} // closed when everything has been answered
	failure error         // of the end; read when ended is closed

	answering sync.Mutex // held by a life while it calls dones; taken before mu

	mu       sync.Mutex // guards what follows
	queue    []commit   // queue[head:] has not been taken yet
	head     int
	flight   []*group // taken, and not answered as a whole; oldest first
	spare    []*group
	refusing bool   // a batch was refused, and so is what is queued until there is no more
	closed   bool   // no more batches are taken
	over     bool   // everything has been answered, and nothing will be queued any more
	problem  error  // why nothing can be written
	view     *view  // what readers see, nil when closed
	fence    *fence // of the last life
	commits  uint64
	records  uint64
}

type commit struct {
	batch *store.Batch
	done  func(error)
	at    time.Time
	err   error // ErrClosed: came after Close, but must be answered after what came before
}

var _ store.Store = (*Store)(nil)

// Open opens the store of a directory, or makes it.
func Open(cfg Config) (*Store, error) {
	cfg.Runs = cmp.Or(cfg.Runs, DefaultRuns)
	cfg.pace = cmp.Or(cfg.pace, usualPace)
	cfg.memTable = cmp.Or(cfg.memTable, memTableSize)
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	if cfg.FS == nil {
		cfg.FS = vfs.Default
	}
	s := &Store{
		cfg:   cfg,
		log:   cfg.Logger,
		disk:  disk{cfg.FS},
		cache: pebble.NewCache(cacheSize),
		keep:  uint32(cfg.Runs),
		wake:  make(chan struct{}, 1),
		ended: make(chan struct{}),
	}
	l, err := s.start()
	if err != nil {
		if s.witness != nil {
			err = errors.Join(err, s.witness.Close())
		}
		if s.lock != nil {
			err = errors.Join(err, s.lock.Close())
		}
		s.cache.Unref()
		return nil, err
	}
	s.mu.Lock()
	s.begin(l)
	s.mu.Unlock()
	go s.serve(l)
	return s, nil
}

// start begins the first life. Before the directory is known to be sound, nothing in it is changed but its lock.
func (s *Store) start() (*life, error) {
	if err := s.occupy(); err != nil {
		return nil, err
	}
	report, err := verify.Check(s.disk, s.cfg.Dir)
	if err != nil {
		return nil, err
	}
	for _, torn := range report.Torn {
		s.log.Warn("the end of a log was cut off by a crash and is discarded", "file", torn.File, "offset", torn.Offset, "bytes", torn.Bytes)
	}
	if report.Witness != verify.WitnessPresent && !report.Empty {
		s.log.Warn("nothing tells which commits were acknowledged, so a lost end of the last log would go unnoticed", "file", verify.WitnessFile, "state", report.Witness)
	}
	s.acked = report.Commits
	l, err := s.open(s.acked)
	if err != nil {
		return nil, err
	}
	if s.witness, err = verify.OpenWitness(s.disk, s.cfg.Dir); err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

// occupy makes the directory and keeps other processes, and other stores of this one, out of it.
func (s *Store) occupy() (err error) {
	if err := s.disk.settle(s.cfg.Dir); err != nil {
		return fmt.Errorf("make the store's directory: %w", err)
	}
	if s.lock, err = s.disk.Lock(s.disk.PathJoin(s.cfg.Dir, "LOCK")); err != nil {
		return fmt.Errorf("the store in %s is in use, or cannot be locked: %w", s.cfg.Dir, err)
	}
	return nil
}

// Commit implements store.Store.
func (s *Store) Commit(b *store.Batch, done func(error)) {
	c := commit{batch: b, done: done, at: time.Now()}
	s.mu.Lock()
	if s.over {
		s.mu.Unlock()
		done(store.ErrClosed)
		return
	}
	if s.closed {
		c.err = store.ErrClosed
	}
	s.queue = append(s.queue, c)
	first := len(s.queue)-s.head == 1
	s.mu.Unlock()
	if first {
		s.rouse()
	}
}

func (s *Store) rouse() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// drop takes n commits off the front of the queue. The caller holds the lock.
func (s *Store) drop(n int) {
	clear(s.queue[s.head : s.head+n])
	s.head += n
	switch {
	case s.head < len(s.queue):
		if s.head > retained {
			s.queue = append(s.queue[:0], s.queue[s.head:]...)
			s.head = 0
		}
	case cap(s.queue) > retained:
		s.queue, s.head = nil, 0
	default:
		s.queue, s.head = s.queue[:0], 0
	}
}

// Durable implements store.Store: always.
func (s *Store) Durable() bool { return true }

// Stats implements store.Store. It waits for nobody.
func (s *Store) Stats() store.Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := store.Stats{
		Kind:     "pebble",
		Writable: s.problem == nil && !s.closed,
		Problem:  s.problem,
		Commits:  s.commits,
		Records:  s.records,
		Bytes:    s.fence.bytes.Load(),
	}
	switch {
	case len(s.flight) > 0:
		stats.Oldest = time.Since(s.flight[0].commits[0].at)
	case s.head < len(s.queue):
		stats.Oldest = time.Since(s.queue[s.head].at)
	}
	return stats
}

// Close implements store.Store. It returns an error when the database could not be closed in good order; what was
// acknowledged is durable all the same.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.rouse()
	<-s.ended
	return s.failure
}
