package logs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	folderMode  = 0o700
	segmentMode = 0o600
)

// judge decides what an error of reading a segment means: a file that is not there, or that the disk does not give
// back, is a gap, and nil is returned; anything else may be better the next time.
func (h *hub) judge(s *segment, err error) error {
	switch {
	case err == nil:
		return nil
	case lost(err):
		h.mu.Lock()
		defer h.mu.Unlock()
		s.gone = true
		return nil
	default:
		return fmt.Errorf("read the log of %s: %w", h.id, err)
	}
}

// write appends a sealed frame to the current segment, or begins one. It returns the segment, in which the frame is not
// noted yet, or nil when the disk refuses: then memory keeps the frame. The caller holds publishing.
func (h *hub) write(hd *header, frame []byte) *segment {
	if h.refused {
		return nil
	}
	s, err := h.append(hd, frame)
	if err != nil {
		h.refuse(err, hd.next())
		return nil
	}
	h.wrote.Store(true)
	return s
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
	h.grow(int64(len(frame)), 0)
	return s, nil
}

// create begins a segment. Before the first line of a task there is none: the run events that came earlier, which the
// ring still has, are put in front.
func (h *hub) create(hd *header, frame []byte) (*segment, error) {
	var earlier []*block
	for _, b := range h.ring.from(h.written) {
		if b.first < hd.first {
			earlier = append(earlier, b)
		}
	}
	head := hd
	if len(earlier) > 0 {
		head = &earlier[0].header
	}
	s := &segment{scanned: true, preface: prefaceBefore(head, h.epoch)}
	data := h.place(s, prefaceSize+len(earlier)*(headerSize+finishSize)+len(frame))
	for _, b := range earlier {
		at := len(data)
		data = append(data, b.frame()...)
		s.note(int64(at), &b.header, int64(len(data)))
	}
	return s, h.start(s, append(data, frame...))
}

// place gives a segment its path, and returns its preface with room for the rest.
func (h *hub) place(s *segment, room int) []byte {
	s.path = filepath.Join(h.dir, segmentName(s.first))
	s.next, s.size = s.first, prefaceSize
	return s.append(make([]byte, 0, room))
}

// start makes a segment with that content and goes on in it.
func (h *hub) start(s *segment, data []byte) error {
	h.logs.folders.add(h.id)
	if err := h.makeWay(s); err != nil {
		return err
	}
	if s.path == h.witnessed {
		h.witnessed = "" // it becomes the segment
	}
	file, err := createFile(s.path)
	if err != nil {
		return err
	}
	if _, err := h.logs.write(file, data); err != nil {
		return errors.Join(err, file.Close(), os.Remove(s.path))
	}
	h.current, h.file = s, file
	h.logs.descriptors.admit(h)
	h.grow(int64(len(data)), 1)
	h.dropOldest(h.logs.config.TaskBytes - max(h.logs.config.SegmentBytes, int64(len(data))))
	h.logs.trimIfOver()
	return nil
}

// makeWay removes a file of an earlier life that has the name of the new segment: one without any event. If there is
// something in it that cannot be read, for instance a frame that was never whole, it is set aside.
func (h *hub) makeWay(s *segment) error {
	h.mu.Lock()
	n := len(h.segments)
	if n == 0 || h.segments[n-1].path != s.path {
		h.mu.Unlock()
		return nil
	}
	old := h.segments[n-1]
	h.segments = h.segments[:n-1]
	h.mu.Unlock()
	bytes := old.size + old.extra
	if bytes <= prefaceSize && old.fault == nil {
		h.unlink(s.path, bytes, min(bytes, 1))
		return nil
	}
	h.grow(0, -1)
	return setAside(s.path)
}

// createFile makes a new file and the folders above it. An empty one in its place is taken, anything else set aside.
func createFile(path string) (*os.File, error) {
	const flags = os.O_WRONLY | os.O_APPEND | os.O_CREATE | os.O_EXCL
	file, err := os.OpenFile(path, flags, segmentMode)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.MkdirAll(filepath.Dir(path), folderMode); err != nil {
			return nil, err
		}
	case errors.Is(err, fs.ErrExist):
		if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() && info.Size() == 0 {
			return os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		}
		if err := setAside(path); err != nil {
			return nil, err
		}
	default:
		return file, err
	}
	return os.OpenFile(path, flags, segmentMode)
}

// setAside renames a file that is in the way, so that it is kept but not read again.
func setAside(path string) error {
	for n := 1; ; n++ {
		aside := fmt.Sprintf("%s.%d%s", path, n, asideSuffix)
		if _, err := os.Lstat(aside); errors.Is(err, fs.ErrNotExist) {
			return os.Rename(path, aside)
		} else if err != nil {
			return err
		}
	}
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

// noted puts a frame of so many bytes, which has been written to the end of a segment, into the index. The caller holds
// both locks.
func (h *hub) noted(s *segment, hd *header, size int) {
	if n := len(h.segments); n == 0 || h.segments[n-1] != s {
		h.segments = append(h.segments, s)
	}
	s.note(s.size, hd, s.size+int64(size))
	h.written = hd.next()
}

// dropOldest deletes the oldest segments until the rest of the task's has at most limit bytes. The one that is written
// to is not among them. The caller holds publishing.
func (h *hub) dropOldest(limit int64) {
	h.mu.Lock()
	var total int64
	for _, s := range h.segments {
		total += s.size + s.extra
	}
	n := 0
	for n < len(h.segments) && total > limit && h.segments[n] != h.current {
		total -= h.segments[n].size + h.segments[n].extra
		n++
	}
	dropped := h.segments[:n:n]
	h.segments = h.segments[n:]
	for _, s := range dropped {
		h.logs.cache.forget(s)
	}
	h.mu.Unlock()
	for _, s := range dropped {
		h.unlink(s.path, s.size+s.extra, min(s.size+s.extra, 1))
	}
}
