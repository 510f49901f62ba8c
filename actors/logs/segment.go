package logs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

// A segment file is named after the number of its first event and begins with a preface of prefaceSize bytes, all
// numbers little-endian:
//
//	0 magic    8 format    12 flags    16 first    24 epoch    32 attempt    36 started    44 CRC-32C of the bytes before
//
// Frames follow. A file is written from beginning to end by one life of the daemon and never touched again, whatever
// state it is found in. One that is empty, or has nothing but a preface, says that every event before its name's number
// has been, whether it is kept or not.
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
	started int64  // when it began, as far as known
	over    bool   // it had ended
	silent  bool
}

// prefaceBefore is what the first event of a segment implies.
func prefaceBefore(h *header, epoch uint64) preface {
	p := preface{first: h.first, epoch: epoch, attempt: h.attempt, started: h.started}
	switch h.kind {
	case kindStarted:
		p.attempt, p.started, p.over = h.attempt-1, 0, h.attempt > 1
		p.silent = h.first == silentNumber(h.kind, h.attempt)
	case kindFinished:
		p.silent = h.first == silentNumber(h.kind, h.attempt)
	default:
		p.silent = h.first == silentNumber(kindStarted, h.attempt)+1
	}
	return p
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
	b = le.AppendUint64(b, uint64(p.started))
	return le.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

var (
	errPreface = errors.New("the beginning of the segment is damaged")
	errFormat  = errors.New("the segment was written by a later version")
)

func parsePreface(b []byte) (preface, error) {
	le := binary.LittleEndian
	if len(b) < prefaceSize || string(b[:8]) != segmentMagic || le.Uint32(b[44:]) != crc32.Checksum(b[:44], castagnoli) {
		return preface{}, errPreface
	}
	if le.Uint32(b[8:]) != segmentFormat {
		return preface{}, errFormat
	}
	flags := le.Uint32(b[12:])
	return preface{
		first:   le.Uint64(b[16:]),
		epoch:   le.Uint64(b[24:]),
		attempt: le.Uint32(b[32:]),
		started: int64(le.Uint64(b[36:])),
		over:    flags&flagOver != 0,
		silent:  flags&flagSilent != 0,
	}, nil
}

func segmentName(first uint64) string { return fmt.Sprintf("%020d%s", first, segmentSuffix) }

// segmentNumber is the inverse of segmentName; 0 for any other name.
func segmentNumber(name string) uint64 {
	first, err := strconv.ParseUint(strings.TrimSuffix(name, segmentSuffix), 10, 63)
	if err != nil || name != segmentName(first) {
		return 0
	}
	return first
}

// segment is one file of a task. What may change is guarded by the mu of its hub.
type segment struct {
	preface
	path string

	scanned bool
	sealed  bool // nothing will be added
	size    int64
	extra   int64  // of the file behind size: what is torn or damaged
	next    uint64 // number after the last event; of a segment that was not scanned yet, the first of the one after it
	marks   []mark
	tail    header // of the last frame
	gone    bool   // the file is not there any more, or cannot be read
	fault   error  // what is wrong with the file; its readers see a gap
}

// tells says whether the segment knows the attempts before its end.
func (s *segment) tells() bool { return len(s.marks) > 0 || s.attempt > 0 }

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
		if segmentNumber(e.Name()) > 0 {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths, nil
}
