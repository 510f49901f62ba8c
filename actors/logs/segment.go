package logs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

// A segment file is named after the number of its first event and begins with a preface of prefaceSize bytes, all
// numbers little-endian:
//
//	0 magic    8 format    12 flags    16 first    24 epoch    32 attempt    36 zeros    44 CRC-32C of the bytes before
//
// Frames follow. A file is written from beginning to end by one life of the daemon and never touched again, whatever
// state it is found in.
const (
	prefaceSize   = 48
	segmentMagic  = "slotdlog"
	segmentFormat = 1
	segmentSuffix = ".seg"
	asideSuffix   = ".bad"

	flagSilent = 1 // before the first event the task had printed nothing
	flagOver   = 2 // attempt had ended

	// stretchBytes is how much of a segment is read, and remembered in memory, as one piece.
	stretchBytes = 1 << 16
	scanBytes    = 1 << 20
)

// preface is what a segment says about the time before its first event.
type preface struct {
	first   uint64
	epoch   uint64
	attempt uint32 // the last attempt that had begun
	over    bool   // it had ended
	silent  bool
}

func (p *preface) append(b []byte) []byte {
	start := len(b)
	var flags uint32
	if p.silent {
		flags |= flagSilent
	}
	if p.over {
		flags |= flagOver
	}
	le := binary.LittleEndian
	b = append(b, segmentMagic...)
	b = le.AppendUint32(b, segmentFormat)
	b = le.AppendUint32(b, flags)
	b = le.AppendUint64(b, p.first)
	b = le.AppendUint64(b, p.epoch)
	b = le.AppendUint32(b, p.attempt)
	b = append(b, make([]byte, 8)...)
	return le.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

var errPreface = errors.New("not a segment of this format")

func parsePreface(b []byte) (preface, error) {
	le := binary.LittleEndian
	if len(b) < prefaceSize || string(b[:8]) != segmentMagic || le.Uint32(b[8:]) != segmentFormat ||
		le.Uint32(b[44:]) != crc32.Checksum(b[:44], castagnoli) {
		return preface{}, errPreface
	}
	flags := le.Uint32(b[12:])
	return preface{
		first:   le.Uint64(b[16:]),
		epoch:   le.Uint64(b[24:]),
		attempt: le.Uint32(b[32:]),
		over:    flags&flagOver != 0,
		silent:  flags&flagSilent != 0,
	}, nil
}

func segmentName(first uint64) string { return fmt.Sprintf("%020d%s", first, segmentSuffix) }

// segment is one file of a task. What may change is guarded by the mu of its hub.
type segment struct {
	preface
	path string

	scanned bool
	sealed  bool // nothing will be added
	size    int64
	next    uint64 // number after the last event; of a segment that was not scanned yet, the first of the one after it
	marks   []mark
	tail    header // of the last frame
	gone    bool   // the file is not there any more, or cannot be read
}

// mark describes one stretch of a segment.
type mark struct {
	offset  int64
	first   uint64
	next    uint64
	latest  int64 // the greatest time in it
	from    uint32
	to      uint32 // attempts
	streams uint8  // bit set of kinds
}

// note adds a frame that ends the segment at size to the marks.
func (s *segment) note(offset int64, h *header, size int64) {
	if n := len(s.marks); n == 0 || offset-s.marks[n-1].offset >= stretchBytes {
		s.marks = append(s.marks, mark{offset: offset, first: h.first, from: h.attempt, latest: h.ts})
	}
	m := &s.marks[len(s.marks)-1]
	m.next = h.next()
	m.latest = max(m.latest, h.ts)
	m.from, m.to = min(m.from, h.attempt), max(m.to, h.attempt)
	m.streams |= 1 << h.kind
	s.next, s.size, s.tail = h.next(), size, *h
}

// find returns the index of the stretch that holds the event, or else of the first one after it.
func (s *segment) find(number uint64) int {
	return sort.Search(len(s.marks), func(i int) bool { return s.marks[i].next > number })
}

// piece is a stretch with where it ends.
type piece struct {
	mark
	end   int64
	whole bool // nothing will be added
}

func (s *segment) piece(i int) piece {
	p := piece{mark: s.marks[i], end: s.size, whole: s.sealed}
	if i+1 < len(s.marks) {
		p.end, p.whole = s.marks[i+1].offset, true
	}
	return p
}

// scanFile reads a whole segment and describes it. What is damaged or torn is left out, and left as it is.
func scanFile(path string) (*segment, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	// A frame never fills the buffer, and a small file ends within it: each round gets on.
	buf := make([]byte, 0, max(prefaceSize, min(scanBytes, info.Size()+1)))
	s := &segment{path: path, scanned: true, sealed: true}
	n, err := io.ReadFull(f, buf[:prefaceSize])
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if s.preface, err = parsePreface(buf[:n]); err != nil {
		return nil, err
	}
	s.next, s.size = s.first, prefaceSize
	base := int64(prefaceSize)
	for {
		n, err := io.ReadFull(f, buf[len(buf):cap(buf)])
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return nil, err
		}
		buf = buf[:len(buf)+n]
		done := scan(buf, last, func(at int, h header, payload []byte) {
			if h.first >= s.next { // anything else was written by nobody we know
				s.note(base+int64(at), &h, base+int64(at+headerSize+len(payload)))
			}
		})
		if last {
			return s, nil
		}
		base += int64(done)
		buf = buf[:copy(buf, buf[done:])]
	}
}

// readPreface reads only the beginning of a segment.
func readPreface(path string) (*segment, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	buf := make([]byte, prefaceSize)
	if _, err := io.ReadFull(f, buf); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	s := &segment{path: path, size: info.Size(), sealed: true}
	s.preface, err = parsePreface(buf)
	return s, err
}

// listSegments returns the paths of a task's segments in the order of their events; none if there is no such folder.
func listSegments(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, nil
		}
		return nil, err
	}
	var paths []string
	for _, e := range entries {
		first, ok := strings.CutSuffix(e.Name(), segmentSuffix)
		if _, err := strconv.ParseUint(first, 10, 63); ok && err == nil {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths, nil
}

// setAside renames a file that is in the way or cannot be read, so that it is kept but not read again.
func setAside(path string) error { return os.Rename(path, path+asideSuffix) }

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
	scan(buf[:n], true, func(_ int, h header, payload []byte) {
		if n := len(blocks); n == 0 || h.first >= blocks[n-1].next() {
			blocks = append(blocks, &block{header: h, epoch: epoch, payload: payload})
		}
	})
	return blocks, nil
}
