package logs

import (
	"encoding/binary"
	"math/bits"
	"strconv"
	"unicode/utf8"
)

// appendSSE adds the events of a block from that number on as frames of text/event-stream. A line that is not UTF-8
// gets one U+FFFD for each byte that is not part of a valid character.
//
// It is written by hand because encoding/json takes ten times as long, and this is where the time of a log server goes.
func appendSSE(dst []byte, b *block, from uint64) []byte {
	switch b.kind {
	case kindStarted:
		dst = appendEvent(dst, "run-started", b.id(b.first))
		dst = appendNumber(append(dst, `{"type":"runStarted","attempt":`...), int64(b.attempt))
		dst = appendNumber(append(dst, `,"startedAt":`...), b.started)
	case kindFinished:
		how := cutFinish(b.payload)
		dst = appendEvent(dst, "run-finished", b.id(b.first))
		dst = appendNumber(append(dst, `{"type":"runFinished","attempt":`...), int64(b.attempt))
		if how.exitCode != nil {
			dst = appendNumber(append(dst, `,"exitCode":`...), int64(*how.exitCode))
		}
		if how.signal != nil {
			dst = appendNumber(append(dst, `,"signal":`...), int64(*how.signal))
		}
		dst = appendNumber(append(dst, `,"finishedAt":`...), b.ts)
	default:
		return appendChunks(dst, b, from)
	}
	return append(dst, "}\n\n"...)
}

func appendEvent(dst []byte, event string, id eventID) []byte {
	dst = append(append(dst, "event: "...), event...)
	dst = id.append(append(dst, "\nid: "...))
	return append(dst, "\ndata: "...)
}

func appendNumber(dst []byte, n int64) []byte { return strconv.AppendInt(dst, n, 10) }

// appendLaggedSSE tells a reader how many events it missed; id names the last of them.
func appendLaggedSSE(dst []byte, id eventID, skipped uint64) []byte {
	dst = appendEvent(dst, "lagged", id)
	dst = strconv.AppendUint(append(dst, `{"type":"lagged","skipped":`...), skipped, 10)
	return append(dst, "}\n\n"...)
}

func appendChunks(dst []byte, b *block, from uint64) []byte {
	var scratch [192]byte
	var head chunkHead
	payload := b.payload
	for n := b.first; len(payload) > 0; n++ {
		line, truncated, rest, err := cutLine(payload)
		if err != nil {
			return dst // cannot be: a block's payload was checked when it was read, or made by us
		}
		payload = rest
		if n < from {
			continue
		}
		if head.text == nil || !head.advance() {
			head = newChunkHead(scratch[:0], b, n)
		}
		dst = appendText(append(dst, head.text...), line)
		if truncated {
			dst = append(dst, `","truncated":true}`+"\n\n"...)
		} else {
			dst = append(dst, `"}`+"\n\n"...)
		}
	}
	return dst
}

// chunkHead is the frame of a chunk up to its line. From one line to the next only two numbers change, by one.
type chunkHead struct {
	text   []byte
	number int // where the digits of the event's number end
	seq    int // where those of its sequence number do
}

func newChunkHead(text []byte, b *block, number uint64) chunkHead {
	var h chunkHead
	text = strconv.AppendUint(append(text, "event: chunk\nid: "...), b.epoch, 36)
	text = strconv.AppendUint(append(text, '-'), number, 10)
	h.number = len(text)
	text = strconv.AppendUint(append(text, '-'), uint64(b.attempt), 10)
	text = strconv.AppendUint(append(text, "\ndata: "+`{"type":"chunk","attempt":`...), uint64(b.attempt), 10)
	if b.kind == kindStdout {
		text = append(text, `,"stream":"stdout","seq":`...)
	} else {
		text = append(text, `,"stream":"stderr","seq":`...)
	}
	text = strconv.AppendUint(text, b.seq+number-b.first, 10)
	h.seq = len(text)
	text = appendNumber(append(text, `,"ts":`...), b.ts)
	h.text = append(text, `,"line":"`...)
	return h
}

// advance goes on to the next line. It is false when a number needs one more digit: then the head must be made anew.
func (h *chunkHead) advance() bool { return increment(h.text[:h.number]) && increment(h.text[:h.seq]) }

// increment adds one to the decimal number at the end of text, in place.
func increment(text []byte) bool {
	for i := len(text) - 1; ; i-- {
		switch c := text[i]; {
		case c >= '0' && c < '9':
			text[i] = c + 1
			return true
		case c == '9':
			text[i] = '0'
		default:
			return false
		}
	}
}

const (
	lows  = 0x0101010101010101
	highs = 0x8080808080808080
)

// appendText adds the inside of a JSON string (RFC 8259, section 7). U+2028 and U+2029, which JavaScript before 2019
// takes for line ends, are escaped too.
func appendText(dst, s []byte) []byte {
	start, i := 0, 0
	for i < len(s) {
		// Eight bytes at a time: a high bit is set in special for a byte that is not printable ASCII, a quote or a backslash.
		// A borrow can set it for a byte behind such a one, never for one in front.
		for i+8 <= len(s) {
			w := binary.LittleEndian.Uint64(s[i:])
			quote, slash := w^(lows*'"'), w^(lows*'\\')
			special := (w | (w - lows*0x20) | (quote - lows) | (slash - lows)) & highs
			if special != 0 {
				i += bits.TrailingZeros64(special) / 8
				break
			}
			i += 8
		}
		if i >= len(s) {
			break
		}
		c := s[i]
		if c >= 0x20 && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		size, escaped := 1, ""
		if c < utf8.RuneSelf {
			escaped = escapes[c]
		} else {
			var r rune
			r, size = utf8.DecodeRune(s[i:])
			switch {
			case r == utf8.RuneError && size == 1:
				escaped = "\uFFFD"
			case r == '\u2028':
				escaped = `\u2028`
			case r == '\u2029':
				escaped = `\u2029`
			}
		}
		if escaped != "" {
			dst = append(append(dst, s[start:i]...), escaped...)
			start = i + size
		}
		i += size
	}
	return append(dst, s[start:]...)
}

// escapes holds what stands for a byte of ASCII that may not stand for itself.
var escapes = func() (t [utf8.RuneSelf]string) {
	const digits = "0123456789abcdef"
	for c := range byte(0x20) {
		t[c] = `\u00` + string([]byte{digits[c>>4], digits[c&15]})
	}
	t['\b'], t['\f'], t['\n'], t['\r'], t['\t'] = `\b`, `\f`, `\n`, `\r`, `\t`
	t['"'], t['\\'] = `\"`, `\\`
	return t
}()
