package logs

import (
	"errors"
	"io/fs"
	"math"
	"slices"
	"syscall"
)

// load finds out what earlier lives wrote. It fails when the files are there and cannot be listed or opened now, for want
// of descriptors for instance; then nothing may be added, for it would get numbers that are taken. The caller holds
// publishing.
func (h *hub) load() error {
	if h.loaded {
		return nil
	}
	segments, err := h.loadSegments()
	if err != nil {
		h.logs.warnOnce(h.dir, "cannot read the log of a task", "task_id", h.id, "error", err)
		return err
	}
	h.loaded = true
	h.mu.Lock()
	defer h.mu.Unlock()
	h.next, h.silent = 1, len(segments) == 0 && h.missed == 0
	if n := len(segments); n > 0 {
		h.segments = segments
		h.next, h.epoch = segments[n-1].next, segments[n-1].epoch
	}
	for _, s := range slices.Backward(segments) {
		if s.tells() {
			h.attempt, h.started, h.over = s.attempt, s.started, s.over
			if len(s.marks) > 0 {
				h.attempt, h.started, h.over = s.tail.attempt, s.tail.started, s.tail.kind == kindFinished
			}
			break
		}
	}
	if !h.silent {
		h.epoch = max(h.epoch, 1)
	}
	h.next += h.missed
	h.base, h.written = h.next, h.next
	return nil
}

// loadSegments reads the prefaces of all segments of the task, and the last of them to their ends until one tells how far
// the task has come. What is damaged stays where it is and is reported (invariant 9).
func (h *hub) loadSegments() ([]*segment, error) {
	if !h.logs.folders.has(h.id) {
		return nil, nil
	}
	paths, err := listSegments(h.dir)
	if err != nil {
		return nil, err
	}
	h.count()
	segments := make([]*segment, 0, len(paths))
	known, until := false, uint64(math.MaxUint64)
	for _, path := range slices.Backward(paths) {
		read := scanFile
		if known {
			read = readSegment
		}
		s, err := read(path, until)
		switch {
		case err == nil:
		case lost(err):
			s = noSegment(path)
			s.next, s.gone, s.fault = min(s.first+1, until), true, err
		default:
			return nil, err
		}
		h.report(s)
		if !s.scanned {
			s.next = until
		}
		known = known || s.tells()
		segments, until = append(segments, s), s.first
	}
	slices.Reverse(segments)
	guessEpochs(segments)
	return segments, nil
}

// guessEpochs gives segments whose preface is damaged the epoch of the one before, or else the least. Ids that were given
// out under the true one, which is not smaller, still lead to the same place.
func guessEpochs(segments []*segment) {
	epoch := uint64(1)
	for _, s := range segments {
		if s.epoch == 0 {
			s.epoch = epoch
		}
		epoch = s.epoch
	}
}

// lost says whether an error of reading means that what was to be read is not there any more, or not given back by the
// disk. Any other may be gone the next time.
func lost(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EIO) || errors.Is(err, syscall.ENOTDIR) ||
		errors.Is(err, syscall.EUCLEAN)
}

// report says once in this life what is wrong with a file.
func (h *hub) report(s *segment) {
	if s.fault != nil {
		h.logs.warnOnce(s.path, "a log segment is damaged, its readers are told of a gap",
			"task_id", h.id, "path", s.path, "error", s.fault)
	}
}

// warnOnce warns about a file or a folder unless it has been warned about.
func (l *Logs) warnOnce(path, message string, args ...any) {
	if _, known := l.warned.LoadOrStore(path, struct{}{}); !known {
		l.logger.Warn(message, args...)
	}
}

// scan describes a segment of which only the preface was read.
func (h *hub) scan(s *segment) error {
	h.mu.Lock()
	until := s.next
	h.mu.Unlock()
	whole, err := scanFile(s.path, until)
	if err != nil {
		return h.judge(s, err)
	}
	h.report(whole)
	h.mu.Lock()
	defer h.mu.Unlock()
	if !s.scanned {
		s.scanned, s.size, s.extra, s.marks, s.tail, s.next = true, whole.size, whole.extra, whole.marks, whole.tail, whole.next
	}
	return nil
}
