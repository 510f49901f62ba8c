package logs

import "io"

// catch is what fetch found at a place in the log: exactly one of blocks, skip and wake is set.
type catch struct {
	blocks []*block        // in order; the last of them ends after the place
	skip   uint64          // nothing wanted is kept before this number
	lost   bool            // with skip: because it is not kept
	before eventID         // with lost: names the last of what is not kept
	upTo   uint32          // with lost: none of it is of a later attempt
	wake   <-chan struct{} // closed when there is more
}

// fetch returns what follows from the event numbered at, or io.EOF when the log has ended there.
func (h *hub) fetch(at uint64, f *filter, r *reader) (catch, error) {
	for from := at; ; {
		h.mu.Lock()
		switch {
		case h.removed && (from > at || !h.inRing(at)): // who is near gets what memory still has
			h.mu.Unlock()
			return catch{}, io.EOF
		case from >= h.next && from > at:
			last := h.last()
			h.mu.Unlock()
			return catch{skip: from, lost: true, before: last, upTo: last.attempt}, nil
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
			skip, upTo := s.marks[wanted-1].next, s.marks[i].from
			h.mu.Unlock()
			if from > at {
				return catch{skip: from, lost: true, before: eventID{s.epoch, from - 1, upTo}, upTo: upTo}, nil
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

// inRing says that the ring has the event and all after it. The caller holds mu.
func (h *hub) inRing(number uint64) bool {
	recent := h.ring.from(number)
	return len(recent) > 0 && recent[0].first <= number
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
	if s := h.segmentAt(0); s != nil {
		number, silent = min(number, s.first), s.silent
	}
	return number, silent
}
