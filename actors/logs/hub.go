package logs

import (
	"errors"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"slotd/actors/failpoint"
	slotdv1 "slotd/messages/slotd/v1"
)

// silentKept is how many run events a hub remembers of a task that has printed nothing and is not being read: enough
// to be the beginning of its first segment. Older ones follow from the runs.
const silentKept = 8

// hub numbers the events of one task, writes them and hands them to readers.
//
// Two locks: publishing puts those who add events in order and is held while the disk is written; mu guards what
// readers look at and is held for moments only. publishing is taken first. So a reader never waits for the disk, and
// who publishes never waits for a reader.
type hub struct {
	logs *Logs
	id   string
	dir  string

	refs   int  // guarded by logs.mu: cursors, writers and calls that use the hub
	active bool // guarded by logs.mu: events were added in this life, and Close has not been called

	publishing sync.Mutex
	loaded     bool                 // what earlier lives wrote is known
	owed       []*slotdv1.RunRecord // of earlier lives, see Resume; until the log has been completed with them
	live       bool                 // events were added in this life
	file       *os.File             // of current, or nil while it is closed
	current    *segment             // what is written to; nil: the next frame begins one
	folder     *folder              // what the task has on the disk; nil until it is counted
	missed     uint64               // lines that came before it could be loaded
	refused    bool                 // the disk has not taken the last event; memory keeps what it can until it does
	witnessed  string               // while refused: the empty segment that bears the number of the next event
	wrote      atomic.Bool          // since descriptors last looked

	mu        sync.Mutex // guards the rest; what publishing guards too is read under either
	next      uint64     // number of the next event; changes under both locks, as do epoch, attempt, started, over, silent
	epoch     uint64     // of the last event; 0 until there is one that is not silent
	attempt   uint32     // the last one that began
	started   int64      // when it began
	over      bool       // it has ended
	silent    bool       // no line was printed so far
	base      uint64     // number of the first event of this life
	written   uint64     // while refused or silent: what the ring has from this number on is not on the disk
	backlog   int        // cost of those blocks while refused
	segments  []*segment // in the order of their events
	ring      ring
	followers int
	near      int           // followers that read the end of the log: for them the ring is filled
	wake      chan struct{} // closed with the next change; nil while nobody waits
	closed    bool          // no event will follow
	removed   bool          // the log is gone
}

// record adds the events that a run tells of and the hub does not know yet.
func (h *hub) record(run *slotdv1.RunRecord) {
	h.publishing.Lock()
	defer h.publishing.Unlock()
	if h.ready() == nil {
		h.tell(run)
	}
}

// tell is record under publishing, when events may be added.
func (h *hub) tell(run *slotdv1.RunRecord) {
	switch {
	case run.GetAttempt() > h.attempt:
		h.begin(run.GetAttempt(), run.GetStartedAt())
	case run.GetAttempt() == h.attempt && h.started == 0: // the file that told is damaged
		h.mu.Lock()
		h.started = run.GetStartedAt()
		h.mu.Unlock()
	}
	if run.GetFinishedAt() != 0 && run.GetAttempt() == h.attempt && !h.over {
		h.end(run.GetFinishedAt(), finish{run.ExitCode, run.Signal})
	}
}

var errEnded = errors.New("the log has ended")

// ready completes what is known of the task, and returns why events may not be added. The caller holds publishing.
func (h *hub) ready() error {
	if err := h.load(); err != nil {
		return err
	}
	h.mu.Lock()
	open := !h.closed && !h.removed
	h.mu.Unlock()
	if !open {
		return errEnded
	}
	if h.owed != nil {
		h.settle()
	}
	return nil
}

// begin adds the run-started of an attempt. The end of the one before it may be missing when the daemon died between
// the commit of that run and its record here; it is made up for, without an exit code (invariant 4).
func (h *hub) begin(attempt uint32, at int64) {
	if h.attempt > 0 && !h.over {
		h.end(at, finish{})
	}
	number := h.next
	if h.silent {
		number = max(number, silentNumber(kindStarted, attempt))
	}
	h.addRun(startedBlock(number, 0, attempt, at))
}

func (h *hub) end(at int64, how finish) {
	h.addRun(finishedBlock(h.next, 0, h.attempt, h.started, at, how))
}

func (h *hub) addRun(b *block) {
	frame := append(make([]byte, headerSize, headerSize+finishSize), b.payload...)
	h.add(&b.header, frame)
}

// addLines adds a frame of lines, whose numbers it fills in, unless its attempt has ended; then it is dropped. It says
// whether the lines were taken. As long as it is not known which numbers earlier lives have given, lines are only counted.
func (h *hub) addLines(hd *header, frame []byte) bool {
	h.publishing.Lock()
	defer h.publishing.Unlock()
	switch err := h.ready(); {
	case errors.Is(err, errEnded):
		return false
	case err != nil:
		h.missed += uint64(hd.count)
		h.logs.lost.Add(int64(hd.count))
		return true
	case hd.attempt < h.attempt, hd.attempt == h.attempt && h.over:
		return false
	}
	if hd.attempt > h.attempt {
		h.begin(hd.attempt, hd.ts)
	}
	hd.first, hd.started = h.next, h.started
	h.add(hd, frame)
	return true
}

// add writes a frame and publishes it. The caller holds publishing.
func (h *hub) add(hd *header, frame []byte) {
	if !h.live {
		h.mu.Lock()
		h.live, h.base, h.epoch = true, hd.first, max(h.logs.epoch, h.epoch+1)
		h.mu.Unlock()
		h.logs.activate(h)
	}
	var s *segment
	if hd.kind.lines() || !h.silent {
		seal(frame, hd)
		if s = h.write(hd, frame); s != nil {
			failpoint.Hit("log/written")
		}
	}

	h.mu.Lock()
	defer h.mu.Unlock()
	if s != nil {
		h.noted(s, hd, len(frame))
	}
	h.next, h.attempt, h.started = hd.next(), hd.attempt, hd.started
	h.over = hd.kind == kindFinished
	h.silent = h.silent && !hd.kind.lines()
	// The ring always is the end of the log: it has every event from some number on, or none.
	if s == nil || h.near > 0 {
		h.retain(&block{header: *hd, epoch: h.epoch, payload: slices.Clone(frame[headerSize:])})
	} else {
		h.ring.keep(0)
	}
	h.notify()
}

// retain puts a new block into the ring. The caller holds both locks.
func (h *hub) retain(b *block) {
	if h.refused {
		if h.backlog == 0 { // the first: what came with it was refused too
			for _, earlier := range h.ring.from(h.written) {
				h.charge(earlier)
			}
		}
		if h.near == 0 && !h.fits(b) {
			h.logs.lost.Add(b.lines())
			return
		}
		h.ring.add(b)
		h.charge(b)
		h.shed()
		return
	}
	h.ring.push(b, h.logs.config.RingBytes)
	if h.silent && h.followers == 0 {
		h.ring.keep(silentKept)
	}
}

// notify wakes those who wait. The caller holds mu.
func (h *hub) notify() {
	if h.wake != nil {
		close(h.wake)
		h.wake = nil
	}
}

// close ends the log: nothing is added any more.
func (h *hub) close() {
	h.publishing.Lock()
	defer h.publishing.Unlock()
	h.sealCurrent()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	h.notify()
}

// shutDown ends every cursor, after a last try to write what the disk has refused.
func (h *hub) shutDown() {
	h.publishing.Lock()
	defer h.publishing.Unlock()
	for more := true; more; {
		more, _ = h.catchUp() // why it fails is known since the disk has refused
	}
	if h.refused {
		for _, b := range h.ring.from(h.written) {
			h.logs.lost.Add(b.lines())
		}
	}
	h.remove()
}

// remove ends every cursor. The caller holds publishing.
func (h *hub) remove() {
	h.sealCurrent()
	h.giveUp()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.removed = true
	h.notify()
}
