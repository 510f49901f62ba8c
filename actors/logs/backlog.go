package logs

import (
	"os"
	"path/filepath"
)

// While the disk refuses, a hub does without: the ring keeps what is published, all of it up to what memory has room for,
// and the mender writes it when the disk takes it again. The writer meets the disk only once, when it is refused.
//
// What memory had no room for is a gap in the numbers, which readers are told of like of any other. So that they are told
// also by a life that comes after a crash, an empty segment, for which even a full disk mostly has room, bears the
// number up to which events have been.

// refuse notes that the disk has not taken the event before next. The caller holds publishing.
func (h *hub) refuse(err error, next uint64) {
	h.sealCurrent()
	h.refused = true
	h.logs.mend.admit(h, err)
	h.witness(next)
}

// charge counts a block that only memory has. The caller holds both locks.
func (h *hub) charge(b *block) {
	h.backlog += b.cost()
	h.logs.backlog.Add(int64(b.cost()))
}

func (h *hub) discharge(b *block) {
	h.backlog -= b.cost()
	h.logs.backlog.Add(-int64(b.cost()))
}

// fits says whether there could be room for a block, if all others of the task went. The caller holds both locks.
func (h *hub) fits(b *block) bool {
	config, others := &h.logs.config, h.logs.backlog.Load()-int64(h.backlog)
	return !b.kind.lines() || b.cost() <= config.RingBytes && 2*int64(b.cost()) <= int64(config.BacklogBytes)-others
}

// shed drops what there is no memory for, the oldest lines first: the events of runs are few, and readers count on them.
// A task may keep RingBytes, and no more than is left for all others, so that many have to share when the disk refuses
// all of them. The newest block stays while somebody follows. The caller holds both locks.
func (h *hub) shed() {
	config := &h.logs.config
	for {
		over := h.ring.cost > config.RingBytes
		if !over && int64(h.backlog) <= int64(config.BacklogBytes)-h.logs.backlog.Load() {
			return
		}
		b := h.ring.drop(h.written, over, h.near > 0)
		if b == nil {
			return
		}
		if b.first >= h.written {
			h.discharge(b)
			h.logs.lost.Add(b.lines())
		}
	}
}

// catchUp writes the oldest block that the disk has refused. It says whether there is more to do, and returns the error of
// a disk that still refuses. The caller holds publishing.
func (h *hub) catchUp() (more bool, err error) {
	if !h.refused {
		return false, nil
	}
	waiting := h.ring.from(h.written)
	if len(waiting) == 0 {
		if h.written < h.next { // the last lines are lost
			s := &segment{scanned: true, preface: preface{
				first: h.next, epoch: h.epoch, attempt: h.attempt, started: h.started, over: h.over,
			}}
			if err := h.start(s, h.place(s, prefaceSize)); err != nil {
				return false, h.stillRefused(err)
			}
			h.mu.Lock()
			h.segments, h.written = append(h.segments, s), h.next
			h.mu.Unlock()
		}
		h.healed()
		return false, nil
	}
	b := waiting[0]
	frame := b.frame()
	s, err := h.append(&b.header, frame)
	if err != nil {
		return false, h.stillRefused(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.noted(s, &b.header, len(frame))
	h.discharge(b)
	return true, nil
}

func (h *hub) stillRefused(err error) error {
	h.sealCurrent()
	h.witness(h.next)
	return err
}

// healed ends the time in which the disk refused, with all of it written.
func (h *hub) healed() {
	h.unwitness()
	h.refused, h.witnessed = false, ""
	h.mu.Lock()
	closed := h.closed
	if h.near == 0 {
		h.ring.keep(0)
	}
	h.mu.Unlock()
	if closed {
		h.sealCurrent()
	}
	if h.logs.mend.dismiss(h) {
		h.logs.logger.Info("logs can be written again", "lines_lost", h.logs.lost.Load())
	}
}

// giveUp is the end of a log that the disk still refuses. The caller holds publishing.
func (h *hub) giveUp() {
	if !h.refused {
		return
	}
	h.mu.Lock()
	for _, b := range h.ring.from(h.written) {
		h.discharge(b)
	}
	h.written = h.next
	h.mu.Unlock()
	h.refused, h.witnessed = false, ""
	h.logs.mend.dismiss(h)
}

// witness leaves an empty segment that bears the number next, instead of the one before. Where the disk has no room even
// for that, a crash makes the gap unknown.
func (h *hub) witness(next uint64) {
	path := filepath.Join(h.dir, segmentName(next))
	if path == h.witnessed {
		return
	}
	var err error
	if h.witnessed != "" {
		err = os.Rename(h.witnessed, path)
	} else {
		h.logs.folders.add(h.id)
		var file *os.File
		if file, err = createFile(path); err == nil {
			err = file.Close()
		}
	}
	if err != nil {
		h.logs.logger.Debug("cannot note how far a log has come", "task_id", h.id, "error", err)
		return
	}
	h.witnessed = path
}

func (h *hub) unwitness() {
	if h.witnessed == "" {
		return
	}
	if err := os.Remove(h.witnessed); err != nil && !os.IsNotExist(err) {
		h.logs.logger.Debug("cannot delete an empty segment", "task_id", h.id, "error", err)
	}
}
