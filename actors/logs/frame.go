package logs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"

	soltiv1 "slotd/messages/solti/v1"
)

// kind says what the events of a frame are.
type kind uint8

const (
	kindStarted  kind = 1 // one run-started
	kindFinished kind = 2 // one run-finished
	kindStdout   kind = 3 // lines
	kindStderr   kind = 4
)

func (k kind) lines() bool { return k == kindStdout || k == kindStderr }

func (k kind) stream() soltiv1.OutputStreamKind {
	switch k {
	case kindStdout:
		return soltiv1.OutputStreamKind_OUTPUT_STREAM_KIND_STDOUT
	case kindStderr:
		return soltiv1.OutputStreamKind_OUTPUT_STREAM_KIND_STDERR
	default:
		return soltiv1.OutputStreamKind_OUTPUT_STREAM_KIND_UNSPECIFIED
	}
}

// header is what the events of one frame share.
type header struct {
	first   uint64 // number of the first event, counted from 1 over the task's whole life
	seq     uint64 // lines only: of the first line, counted from 0 per attempt and stream
	ts      int64  // Unix milliseconds: when the lines were read, or the attempt began or ended
	started int64  // Unix milliseconds: when the attempt began
	attempt uint32
	count   uint32 // events, at least 1
	kind    kind
}

// next is the number after the last event.
func (h *header) next() uint64 { return h.first + uint64(h.count) }

// A frame is a header of headerSize bytes and its payload, all numbers little-endian:
//
//	 0 magic    4 payload length    8 first    16 seq    24 ts    32 started    40 attempt    44 count
//	48 kind, three zeros    52 CRC-32C of the payload    56 CRC-32C of the 56 bytes before
//
// The payload of lines is, for each line, a varint of its length doubled, plus one if it was truncated, and the line.
// run-started has none; run-finished has a byte of flags, the exit code and the signal.
const (
	headerSize = 60
	magic      = 0x1f4c5442 // "BTL", a unit separator

	// maxPayload bounds what is believed of a length on the disk. A writer begins a new frame at frameBytes, and a line
	// adds at most 65536 bytes and its length.
	maxPayload = 1 << 18
	frameBytes = 1 << 16
	frameLines = 1 << 10
)

var (
	magicBytes = binary.LittleEndian.AppendUint32(nil, magic)
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// seal writes the header into the first headerSize bytes of a frame whose payload follows them.
func seal(frame []byte, h *header) {
	le, payload := binary.LittleEndian, frame[headerSize:]
	le.PutUint32(frame[0:], magic)
	le.PutUint32(frame[4:], uint32(len(payload)))
	le.PutUint64(frame[8:], h.first)
	le.PutUint64(frame[16:], h.seq)
	le.PutUint64(frame[24:], uint64(h.ts))
	le.PutUint64(frame[32:], uint64(h.started))
	le.PutUint32(frame[40:], h.attempt)
	le.PutUint32(frame[44:], h.count)
	le.PutUint32(frame[48:], uint32(h.kind))
	le.PutUint32(frame[52:], crc32.Checksum(payload, castagnoli))
	le.PutUint32(frame[56:], crc32.Checksum(frame[:56], castagnoli))
}

// unseal reads a header and the length of the payload after it.
func unseal(b []byte) (h header, length int, ok bool) {
	le := binary.LittleEndian
	if le.Uint32(b) != magic || le.Uint32(b[56:]) != crc32.Checksum(b[:56], castagnoli) {
		return h, 0, false
	}
	h = header{
		first:   le.Uint64(b[8:]),
		seq:     le.Uint64(b[16:]),
		ts:      int64(le.Uint64(b[24:])),
		started: int64(le.Uint64(b[32:])),
		attempt: le.Uint32(b[40:]),
		count:   le.Uint32(b[44:]),
		kind:    kind(b[48]),
	}
	length = int(le.Uint32(b[4:]))
	ok = length <= maxPayload && h.kind >= kindStarted && h.kind <= kindStderr &&
		h.first > 0 && h.count > 0 && h.first <= math.MaxInt64 && h.attempt > 0 && (h.kind.lines() || h.count == 1)
	return h, length, ok
}

// scan calls visit for every frame in buf, in order, with its offset; whole is false for one of which only the header is
// good. What is damaged is skipped: the numbers of the frames around it tell how many events are missing. It returns how
// much of buf is done with; the rest may be the beginning of a frame, of which there is none when last says that nothing
// follows buf.
func scan(buf []byte, last bool, visit func(offset int, h header, payload []byte, whole bool)) int {
	at := 0
	for len(buf)-at >= headerSize {
		h, length, ok := unseal(buf[at:])
		end := at + headerSize + length
		switch {
		case !ok:
			// Something else stands here: go on at the next place that could be a frame.
			skip := bytes.Index(buf[at+1:], magicBytes)
			if skip < 0 {
				at = max(at+1, len(buf)-len(magicBytes)+1)
				continue
			}
			at += 1 + skip
		case end > len(buf):
			if last {
				return len(buf)
			}
			return at
		default:
			payload := buf[at+headerSize : end : end]
			whole := crc32.Checksum(payload, castagnoli) == binary.LittleEndian.Uint32(buf[at+52:]) && valid(&h, payload)
			visit(at, h, payload, whole)
			at = end
		}
	}
	if last {
		return len(buf)
	}
	return at
}

// torn says whether b could be the beginning of a frame that was not written to its end.
func torn(b []byte) bool {
	if len(b) < headerSize {
		n := min(len(b), len(magicBytes))
		return bytes.Equal(b[:n], magicBytes[:n])
	}
	_, length, ok := unseal(b)
	return ok && len(b) < headerSize+length
}

// valid says whether the payload holds what the header promises.
func valid(h *header, payload []byte) bool {
	switch h.kind {
	case kindStarted:
		return len(payload) == 0
	case kindFinished:
		return len(payload) == finishSize
	default:
		n := uint32(0)
		for len(payload) > 0 {
			_, _, rest, err := cutLine(payload)
			if err != nil {
				return false
			}
			payload = rest
			n++
		}
		return n == h.count
	}
}

var errPayload = errors.New("damaged payload")

// appendLine adds a line to the payload of a frame.
func appendLine(payload, line []byte, truncated bool) []byte {
	length := uint64(len(line)) << 1
	if truncated {
		length |= 1
	}
	return append(binary.AppendUvarint(payload, length), line...)
}

// cutLine takes the first line off a payload.
func cutLine(payload []byte) (line []byte, truncated bool, rest []byte, err error) {
	length, n := uint64(payload[0]), 1
	if length >= 0x80 {
		if length, n = binary.Uvarint(payload); n <= 0 {
			return nil, false, nil, errPayload
		}
	}
	truncated, length = length&1 == 1, length>>1
	if length > uint64(len(payload)-n) {
		return nil, false, nil, errPayload
	}
	end := n + int(length)
	return payload[n:end], truncated, payload[end:], nil
}

// finish is how an attempt ended.
type finish struct{ exitCode, signal *int32 }

const (
	finishSize   = 9
	flagExitCode = 1
	flagSignal   = 2
)

func appendFinish(payload []byte, f finish) []byte {
	var flags byte
	var code, signal int32
	if f.exitCode != nil {
		flags, code = flags|flagExitCode, *f.exitCode
	}
	if f.signal != nil {
		flags, signal = flags|flagSignal, *f.signal
	}
	payload = append(payload, flags)
	payload = binary.LittleEndian.AppendUint32(payload, uint32(code))
	return binary.LittleEndian.AppendUint32(payload, uint32(signal))
}

func cutFinish(payload []byte) finish {
	var f finish
	if payload[0]&flagExitCode != 0 {
		f.exitCode = new(int32(binary.LittleEndian.Uint32(payload[1:])))
	}
	if payload[0]&flagSignal != 0 {
		f.signal = new(int32(binary.LittleEndian.Uint32(payload[5:])))
	}
	return f
}
