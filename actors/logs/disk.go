package logs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

const (
	folderMode  = 0o700
	segmentMode = 0o600
)

// load finds out what earlier lives wrote. The caller holds publishing.
func (h *hub) load() {
	if h.loaded {
		return
	}
	h.loaded = true
	segments, err := h.loadSegments()
	if err != nil {
		h.logs.logger.Warn("cannot read the log of a task", "task_id", h.id, "error", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.next, h.base, h.silent = 1, 1, true
	if len(segments) == 0 {
		return
	}
	h.segments, h.silent = segments, false
	last := segments[len(segments)-1]
	h.next, h.base, h.epoch = last.next, last.next, last.epoch
	h.attempt, h.over = last.attempt, last.over
	if len(last.marks) > 0 {
		h.attempt, h.started, h.over = last.tail.attempt, last.tail.started, last.tail.kind == kindFinished
	}
}

// loadSegments reads the prefaces of all segments of the task, and the last of them to its end. One that cannot be
// understood is set aside (invariant 9).
func (h *hub) loadSegments() ([]*segment, error) {
	if !h.logs.folders.has(h.id) {
		return nil, nil
	}
	paths, err := listSegments(h.dir)
	if err != nil {
		return nil, err
	}
	var segments []*segment
	var trouble error
	for _, path := range slices.Backward(paths) {
		read := readPreface
		if len(segments) == 0 {
			read = scanFile
		}
		s, err := read(path)
		switch {
		case errors.Is(err, errPreface):
			trouble = errors.Join(trouble, fmt.Errorf("%s: %w", path, err), setAside(path))
			continue
		case err != nil:
			trouble = errors.Join(trouble, err)
			continue
		}
		if len(segments) > 0 {
			s.next = max(s.first, segments[0].first)
		}
		segments = append([]*segment{s}, segments...)
	}
	return segments, trouble
}

// scan describes a segment of which only the preface was read.
func (h *hub) scan(s *segment) error {
	whole, err := scanFile(s.path)
	if errors.Is(err, errPreface) {
		err = fs.ErrNotExist // it was whole a moment ago
	}
	if err != nil {
		return h.judge(s, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !s.scanned {
		next := s.next
		s.scanned, s.size, s.marks, s.tail = true, whole.size, whole.marks, whole.tail
		s.next = min(next, whole.next)
	}
	return nil
}

// judge decides what an error of reading a segment means: a file that is not there, or that the disk does not give
// back, is a gap, and nil is returned; anything else may be better the next time.
func (h *hub) judge(s *segment, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.EIO), errors.Is(err, syscall.ENOTDIR):
		h.mu.Lock()
		defer h.mu.Unlock()
		s.gone = true
		return nil
	default:
		return fmt.Errorf("read the log of %s: %w", h.id, err)
	}
}

// write appends a sealed frame to the current segment, or begins one. It returns the segment, in which the frame is not
// noted yet, or nil when the disk refuses. The caller holds publishing.
//
// The disk must not hold the task up: after a refusal the hub goes on without it for a while and then tries a new
// segment. What was lost in between is a gap to those who come later.
func (h *hub) write(hd *header, frame []byte) *segment {
	if !h.retry.IsZero() && h.logs.now().Before(h.retry) {
		return nil
	}
	s, err := h.append(hd, frame)
	switch {
	case err != nil:
		h.sealCurrent()
		if h.retry.IsZero() && h.logs.failing.Add(1) == 1 {
			h.logs.logger.Warn("cannot write logs, tasks go on without", "task_id", h.id, "error", err)
		}
		h.retry = h.logs.now().Add(h.logs.retryAfter)
		return nil
	case h.healed():
		h.logs.logger.Info("logs can be written again", "task_id", h.id)
	}
	h.wrote.Store(true)
	return s
}

// healed ends a time in which the disk refused. It says whether it was the last such hub.
func (h *hub) healed() bool {
	if h.retry.IsZero() {
		return false
	}
	h.retry = time.Time{}
	return h.logs.failing.Add(-1) == 0
}

func (h *hub) append(hd *header, frame []byte) (*segment, error) {
	s := h.current
	if s != nil && s.size+int64(len(frame)) > h.logs.config.SegmentBytes {
		h.sealCurrent()
	}
	if h.current != nil && h.file == nil {
		file, err := os.OpenFile(s.path, os.O_WRONLY|os.O_APPEND, 0)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			h.sealCurrent() // somebody has deleted it
		case err != nil:
			return nil, err
		default:
			h.file = file
			h.logs.descriptors.admit(h)
		}
	}
	if h.current == nil {
		return h.create(hd, frame)
	}
	if n, err := h.logs.write(h.file, frame); err != nil {
		if n > 0 {
			err = errors.Join(err, h.file.Truncate(s.size))
		}
		return nil, err
	}
	h.logs.bytes.Add(int64(len(frame)))
	return s, nil
}

// create begins a segment. Before the first line of a task there is none: the run events that came earlier, which the
// ring still has, are put in front.
func (h *hub) create(hd *header, frame []byte) (*segment, error) {
	s := &segment{scanned: true, preface: preface{
		first: hd.first, epoch: h.epoch, attempt: h.attempt, over: h.over, silent: h.silent,
	}}
	var earlier []*block
	if h.silent {
		h.mu.Lock()
		earlier = append(earlier, h.ring.blocks...)
		h.mu.Unlock()
	}
	if len(earlier) > 0 {
		s.first = earlier[0].first
	}
	s.path = filepath.Join(h.dir, segmentName(s.first))
	s.next, s.size = s.first, prefaceSize
	data := s.append(make([]byte, 0, prefaceSize+len(earlier)*(headerSize+finishSize)+len(frame)))
	for _, b := range earlier {
		at := len(data)
		data = append(append(data, make([]byte, headerSize)...), b.payload...)
		seal(data[at:], &b.header)
		s.note(int64(at), &b.header, int64(len(data)))
	}
	data = append(data, frame...)

	h.logs.folders.add(h.id)
	file, err := createFile(s.path)
	if err != nil {
		return nil, err
	}
	if _, err := h.logs.write(file, data); err != nil {
		return nil, errors.Join(err, file.Close(), os.Remove(s.path))
	}
	h.current, h.file = s, file
	h.logs.descriptors.admit(h)
	h.logs.segments.Add(1)
	h.logs.bytes.Add(int64(len(data)))
	h.dropOldest(h.logs.config.TaskBytes - max(h.logs.config.SegmentBytes, int64(len(data))))
	h.logs.trimIfOver()
	return s, nil
}

// createFile makes a new file and the folders above it. What stands in its place, a segment in which nothing could be
// read, is set aside.
func createFile(path string) (*os.File, error) {
	const flags = os.O_WRONLY | os.O_APPEND | os.O_CREATE | os.O_EXCL
	file, err := os.OpenFile(path, flags, segmentMode)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.MkdirAll(filepath.Dir(path), folderMode); err != nil {
			return nil, err
		}
	case errors.Is(err, fs.ErrExist):
		if err := setAside(path); err != nil {
			return nil, err
		}
	default:
		return file, err
	}
	return os.OpenFile(path, flags, segmentMode)
}

// sealCurrent ends the segment that is written to. The caller holds publishing.
func (h *hub) sealCurrent() {
	if h.current == nil {
		return
	}
	if h.file != nil {
		h.closeFile()
		h.logs.descriptors.release(h)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.current.sealed = true
	h.current = nil
}

// closeFile closes the segment that is written to until its next frame. The caller holds publishing.
func (h *hub) closeFile() {
	if err := h.file.Close(); err != nil {
		h.logs.logger.Warn("cannot close a log segment", "task_id", h.id, "error", err)
	}
	h.file = nil
}

// dropOldest deletes the oldest segments until the rest of the task's has at most limit bytes. The one that is written
// to is not among them. The caller holds publishing.
func (h *hub) dropOldest(limit int64) {
	h.mu.Lock()
	var total int64
	for _, s := range h.segments {
		total += s.size
	}
	n := 0
	for n < len(h.segments) && total > limit && h.segments[n] != h.current {
		total -= h.segments[n].size
		n++
	}
	dropped := h.segments[:n:n]
	h.segments = h.segments[n:]
	for _, s := range dropped {
		h.logs.cache.forget(s)
	}
	h.mu.Unlock()
	for _, s := range dropped {
		h.logs.unlink(s.path, s.size)
	}
}
