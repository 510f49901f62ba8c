package logs

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

var errFrames = errors.New("a part of the segment is damaged")

// readSegment describes a file by its preface or, where that is damaged, by its frames.
func readSegment(path string, until uint64) (*segment, error) {
	return openSegment(path, func(s *segment, f *os.File) error {
		if s.fault == nil {
			return nil
		}
		return s.scan(f, until)
	})
}

// scanFile reads a whole segment and describes it. What is damaged or torn is left out, and left as it is; so is what is
// numbered until or above, which a later file has.
func scanFile(path string, until uint64) (*segment, error) {
	return openSegment(path, func(s *segment, f *os.File) error { return s.scan(f, until) })
}

// openSegment reads a preface and leaves the frames, if there can be any, to rest.
func openSegment(path string, rest func(*segment, *os.File) error) (*segment, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	s := noSegment(path)
	if info.Size() == 0 {
		return s, nil
	}
	buf := make([]byte, prefaceSize)
	n, err := f.ReadAt(buf, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	p, err := parsePreface(buf[:n])
	s.size = info.Size()
	switch {
	case errors.Is(err, errFormat):
		s.next, s.fault = s.first+1, err
		return s, nil
	case err != nil || p.first != s.first:
		s.fault = errPreface
	default:
		s.preface = p
	}
	s.scanned = false
	return s, rest(s, f)
}

// noSegment stands for a file of which nothing but the name is known.
func noSegment(path string) *segment {
	first := segmentNumber(filepath.Base(path))
	return &segment{path: path, preface: preface{first: first}, next: first, scanned: true, sealed: true}
}

// scan describes the frames of the file, whose size and preface are known.
//
// Numbers that were given to damaged events are not given again. A frame whose header is good tells its own; otherwise it
// was at least one event, unless the file ends like one that was being written to: what is torn there, nobody was told.
func (s *segment) scan(f *os.File, until uint64) error {
	base, size := min(prefaceSize, s.size), s.size
	in := io.NewSectionReader(f, base, size-base)
	// A frame never fills the buffer, and a small file ends within it: each round gets on.
	buf := make([]byte, 0, max(prefaceSize, min(scanBytes, size+1)))
	var head header
	end, lost, damaged := base, uint64(0), false // end of the last frame; number after the last damaged one
	s.next, s.size = s.first, base
	for {
		n, err := io.ReadFull(in, buf[len(buf):cap(buf)])
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return err
		}
		buf = buf[:len(buf)+n]
		done := scan(buf, last, func(at int, h header, payload []byte, whole bool) {
			offset := base + int64(at)
			damaged = damaged || offset > end || !whole
			end = offset + int64(headerSize+len(payload))
			switch {
			case h.first < s.next || h.next() > until: // written by nobody we know
			case whole:
				if len(s.marks) == 0 {
					head = h
				}
				s.note(offset, &h, end)
			case h.kind.lines(): // of any other event the runs tell
				lost = h.next()
			}
		})
		if last {
			break
		}
		base += int64(done)
		buf = buf[:copy(buf, buf[done:])]
	}
	s.next = max(s.next, lost)
	if end < size && (end < base || !torn(buf[end-base:])) {
		s.next, damaged = min(s.next+1, until), true
	}
	s.scanned, s.extra = true, size-s.size
	if s.fault != nil && len(s.marks) > 0 {
		first := s.first
		s.preface = prefaceBefore(&head, 0)
		s.first, s.silent = first, s.silent && s.first == first
	}
	if s.fault == nil && damaged {
		s.fault = errFrames
	}
	return nil
}

// readStretch reads the frames of a segment that begin at an offset and fill buf, checks them, and adds them to blocks.
// They share the memory of buf.
func readStretch(path string, epoch uint64, from int64, buf []byte, blocks []*block) ([]*block, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	n, err := f.ReadAt(buf, from)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	scan(buf[:n], true, func(_ int, h header, payload []byte, whole bool) {
		if n := len(blocks); whole && (n == 0 || h.first >= blocks[n-1].next()) {
			blocks = append(blocks, &block{header: h, epoch: epoch, payload: payload})
		}
	})
	return blocks, nil
}
