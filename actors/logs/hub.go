package logs

import (
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

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
	retry      time.Time            // while the disk refuses: when to try again
	wrote      atomic.Bool          // since descriptors last looked

	mu        sync.Mutex // guards the rest; what publishing guards too is read under either
	next      uint64     // number of the next event; changes under both locks, as do epoch, attempt, started, over, silent
	epoch     uint64     // of the last event; 0 until there is one that is not silent
	attempt   uint32     // the last one that began
	started   int64      // when it began
	over      bool       // it has ended
	silent    bool       // no line was printed so far
	base      uint64     // number of the first event of this life
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
	if h.ready() {
		h.tell(run)
	}
}

// tell is record under publishing, when events may be added.
func (h *hub) tell(run *slotdv1.RunRecord) {
	if run.GetAttempt() > h.attempt {
		h.begin(run.GetAttempt(), run.GetStartedAt())
	}
	if run.GetFinishedAt() != 0 && run.GetAttempt() == h.attempt && !h.over {
		h.end(run.GetFinishedAt(), finish{run.ExitCode, run.Signal})
	}
}

// ready completes what is known of the task and says whether events may be added. The caller holds publishing.
func (h *hub) ready() bool {
	h.load()
	h.mu.Lock()
	open := !h.closed && !h.removed
	h.mu.Unlock()
	if open && h.owed != nil {
		h.settle()
	}
	return open
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
// whether the lines were taken.
func (h *hub) addLines(hd *header, frame []byte) bool {
	h.publishing.Lock()
	defer h.publishing.Unlock()
	if !h.ready() || hd.attempt < h.attempt || hd.attempt == h.attempt && h.over {
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
		s = h.write(hd, frame)
	}

	h.mu.Lock()
	defer h.mu.Unlock()
	if s != nil {
		if n := len(h.segments); n == 0 || h.segments[n-1] != s {
			h.segments = append(h.segments, s)
		}
		s.note(s.size, hd, s.size+int64(len(frame)))
	}
	h.next, h.attempt, h.started = hd.next(), hd.attempt, hd.started
	h.over = hd.kind == kindFinished
	h.silent = h.silent && !hd.kind.lines()
	// The ring always is the end of the log: it has every event from some number on, or none.
	if s == nil || h.near > 0 {
		b := &block{header: *hd, epoch: h.epoch, payload: slices.Clone(frame[headerSize:])}
		h.ring.push(b, h.logs.config.RingBytes)
		if h.silent && h.followers == 0 {
			h.ring.keep(silentKept)
		}
	} else {
		h.ring.keep(0)
	}
	h.notify()
}

// notify wakes those who wait. The caller holds mu.
func (h *hub) notify() {
	if h.wake != nil {
		close(h.wake)
		h.wake = nil
	}
}

// catch is what fetch found at a place in the log: exactly one of blocks, skip and wake is set.
type catch struct {
	blocks []*block        // in order; the last of them ends after the place
	skip   uint64          // nothing wanted is kept before this number
	lost   bool            // with skip: because it is not kept
	wake   <-chan struct{} // closed when there is more
}

// fetch returns what follows from the event numbered at, or io.EOF when the log has ended there.
func (h *hub) fetch(at uint64, f *filter, r *reader) (catch, error) {
	for from := at; ; {
		h.mu.Lock()
		switch {
		case h.removed && len(h.ring.from(from)) == 0: // who is near gets what memory still has
			h.mu.Unlock()
			return catch{}, io.EOF
		case from >= h.next && from > at:
			h.mu.Unlock()
			return catch{skip: from, lost: true}, nil
		case from >= h.next && h.closed:
			h.mu.Unlock()
			return catch{}, io.EOF
		case from >= h.next:
			h.approach(r, true)
			if h.wake == nil {
				h.wake = make(chan struct{})
			}
			wake := h.wake
			h.mu.Unlock()
			return catch{wake: wake}, nil
		}
		recent := h.ring.from(from)
		s := h.segmentAt(from)
		if s == nil || len(recent) > 0 && (recent[0].first <= from || recent[0].first < s.first) {
			if len(recent) == 0 {
				from = h.next
				h.mu.Unlock()
				continue
			}
			h.approach(r, true)
			r.blocks = take(r.room(), recent)
			h.mu.Unlock()
			return catch{blocks: r.blocks}, nil
		}
		if !s.scanned {
			h.mu.Unlock()
			if err := h.scan(s); err != nil {
				return catch{}, err
			}
			continue
		}
		i := s.find(from)
		if i == len(s.marks) { // it only notes where a dropped log ended
			from = s.next
			h.mu.Unlock()
			continue
		}
		wanted := i
		for wanted < len(s.marks) && !f.may(&s.marks[wanted]) {
			wanted++
		}
		if wanted > i {
			skip := s.marks[wanted-1].next
			h.mu.Unlock()
			if from > at {
				return catch{skip: from, lost: true}, nil
			}
			return catch{skip: skip}, nil
		}
		p := s.piece(i)
		h.approach(r, !p.whole)
		h.mu.Unlock()

		blocks, err := h.read(s, p, r)
		if err != nil {
			return catch{}, err
		}
		if n := len(blocks); n > 0 && blocks[n-1].next() > from {
			return catch{blocks: blocks}, nil
		}
		from = p.next
	}
}

// approach notes whether a reader is at the end of the log, where blocks are kept for it in memory, or so far behind
// that it reads files, and whether it is the only one. The caller holds mu.
func (h *hub) approach(r *reader, near bool) {
	r.alone = h.followers == 1
	if r.near != near {
		r.near = near
		if near {
			h.near++
		} else {
			h.near--
		}
	}
}

// take adds blocks to room, about as many as a reader wants at a time.
func take(room, blocks []*block) []*block {
	cost := 0
	for _, b := range blocks {
		room = append(room, b)
		if cost += b.cost(); cost > 2*batchBytes {
			break
		}
	}
	return room
}

// segmentAt returns the segment that holds the event or else the next one that is there, or nil. The caller holds mu.
func (h *hub) segmentAt(number uint64) *segment {
	for _, s := range h.segments {
		if s.next > number && !s.gone {
			return s
		}
	}
	return nil
}

// read returns the blocks of a stretch; none when the file is gone. What only one reader needs, or what will still grow,
// is not shared.
func (h *hub) read(s *segment, p piece, r *reader) ([]*block, error) {
	if !p.whole || r.alone {
		blocks, err := readStretch(s.path, s.epoch, p.offset, r.buffer(p.end-p.offset), r.room())
		r.blocks = blocks
		return blocks, h.judge(s, err)
	}
	blocks, err := h.logs.cache.load(stretchKey{s, p.offset}, func() ([]*block, error) {
		return readStretch(s.path, s.epoch, p.offset, make([]byte, p.end-p.offset), nil)
	})
	r.blocks = append(r.room(), blocks...)
	return r.blocks, h.judge(s, err)
}

// oldest returns the number of the oldest event that is kept, and whether the task had printed nothing before it. The
// caller holds mu.
func (h *hub) oldest() (number uint64, silent bool) {
	number, silent = h.next, h.silent
	if len(h.ring.blocks) > 0 {
		number = h.ring.blocks[0].first
	}
	if s := h.segmentAt(0); s != nil && s.first <= number {
		number, silent = s.first, s.silent
	}
	return number, silent
}

// close ends the log: nothing is added any more.
func (h *hub) close() {
	h.publishing.Lock()
	defer h.publishing.Unlock()
	h.sealCurrent()
	h.healed()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	h.notify()
}

// remove ends every cursor.
func (h *hub) remove() {
	h.publishing.Lock()
	defer h.publishing.Unlock()
	h.sealCurrent()
	h.healed()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.removed = true
	h.notify()
}
