package codec

import (
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner walks over JSON text (RFC 8259). It never looks behind pos, and holds no more state than that.
type scanner struct {
	data []byte
	pos  int
}

// kind names what stands at the reading place; it is one of `{["0tfn`, or 0 for anything that begins no value.
func (s *scanner) kind() byte {
	s.skipSpace()
	if s.pos == len(s.data) {
		return 0
	}
	switch c := s.data[s.pos]; c {
	case '{', '[', '"', 't', 'f', 'n':
		return c
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return '0'
	}
	return 0
}

func (s *scanner) skipSpace() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// take steps over c if it is the next character after space.
func (s *scanner) take(c byte) bool {
	s.skipSpace()
	if s.pos < len(s.data) && s.data[s.pos] == c {
		s.pos++
		return true
	}
	return false
}

// expect steps over c or says what stands there instead.
func (s *scanner) expect(c byte, after string) error {
	if s.take(c) {
		return nil
	}
	return s.malformed("expected '%c' after %s", c, after)
}

// malformed says that the text is not JSON at the reading place.
func (s *scanner) malformed(format string, args ...any) error {
	found := "the end of the text"
	if s.pos < len(s.data) {
		r, size := utf8.DecodeRune(s.data[s.pos:])
		if r == utf8.RuneError && size == 1 {
			found = fmt.Sprintf("byte 0x%02x", s.data[s.pos])
		} else {
			found = strconv.QuoteRune(r)
		}
	}
	return &Error{Problem: fmt.Sprintf("malformed JSON at byte %d: %s, found %s", s.pos+1, fmt.Sprintf(format, args...), found)}
}

// word reads true, false or null.
func (s *scanner) word(word string) error {
	for i := range len(word) {
		if s.pos == len(s.data) || s.data[s.pos] != word[i] {
			return s.malformed("expected %s", word)
		}
		s.pos++
	}
	return nil
}

// number reads a number and returns its text.
func (s *scanner) number() (string, error) {
	start := s.pos
	if s.pos < len(s.data) && s.data[s.pos] == '-' {
		s.pos++
	}
	if s.pos < len(s.data) && s.data[s.pos] == '0' {
		s.pos++
	} else if !s.digits() {
		return "", s.malformed("expected a digit")
	}
	if s.pos < len(s.data) && s.data[s.pos] == '.' {
		s.pos++
		if !s.digits() {
			return "", s.malformed("expected a digit after the decimal point")
		}
	}
	if s.pos < len(s.data) && s.data[s.pos]|0x20 == 'e' {
		s.pos++
		if s.pos < len(s.data) && (s.data[s.pos] == '+' || s.data[s.pos] == '-') {
			s.pos++
		}
		if !s.digits() {
			return "", s.malformed("expected a digit in the exponent")
		}
	}
	if s.pos < len(s.data) && glued(s.data[s.pos]) {
		return "", s.malformed("expected the end of the number")
	}
	return string(s.data[start:s.pos]), nil
}

func (s *scanner) digits() bool {
	start := s.pos
	for s.pos < len(s.data) && s.data[s.pos] >= '0' && s.data[s.pos] <= '9' {
		s.pos++
	}
	return s.pos > start
}

// glued says that c can not follow a number at once.
func glued(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || c == '.' || c == '_' || c == '+' || c == '-'
}

// text reads a string and returns what it means.
func (s *scanner) text() (string, error) {
	s.pos++ // the opening quote
	start := s.pos
	ascii := true
	for ; s.pos < len(s.data); s.pos++ {
		switch c := s.data[s.pos]; {
		case c == '"':
			raw := s.data[start:s.pos]
			if !ascii && !utf8.Valid(raw) {
				return "", s.notUTF8(start)
			}
			s.pos++
			return string(raw), nil
		case c == '\\':
			return s.escapedText(start)
		case c < ' ':
			return "", s.malformed("control characters in a string must be escaped")
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return "", s.malformed("expected the closing quote of a string")
}

// escapedText goes on with a string whose first backslash stands at pos.
func (s *scanner) escapedText(start int) (string, error) {
	out := append(make([]byte, 0, s.pos-start+64), s.data[start:s.pos]...)
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; {
		case c == '"':
			s.pos++
			if !utf8.Valid(out) {
				return "", s.notUTF8(start)
			}
			return string(out), nil
		case c == '\\':
			var err error
			if out, err = s.escape(out); err != nil {
				return "", err
			}
		case c < ' ':
			return "", s.malformed("control characters in a string must be escaped")
		default:
			out = append(out, c)
			s.pos++
		}
	}
	return "", s.malformed("expected the closing quote of a string")
}

func (s *scanner) notUTF8(start int) error {
	for s.pos = start; s.pos < len(s.data); {
		r, size := utf8.DecodeRune(s.data[s.pos:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		s.pos += size
	}
	return s.malformed("a string must be UTF-8")
}

// escape reads one escape sequence; a pair of surrogates is one.
func (s *scanner) escape(out []byte) ([]byte, error) {
	s.pos++ // the backslash
	if s.pos == len(s.data) {
		return nil, s.malformed("expected an escape sequence")
	}
	c := s.data[s.pos]
	switch c {
	case '"', '\\', '/':
		out = append(out, c)
	case 'b':
		out = append(out, '\b')
	case 'f':
		out = append(out, '\f')
	case 'n':
		out = append(out, '\n')
	case 'r':
		out = append(out, '\r')
	case 't':
		out = append(out, '\t')
	case 'u':
		return s.escapedRune(out)
	default:
		return nil, s.malformed("expected an escape sequence")
	}
	s.pos++
	return out, nil
}

func (s *scanner) escapedRune(out []byte) ([]byte, error) {
	r, err := s.fourHex()
	if err != nil {
		return nil, err
	}
	if utf16.IsSurrogate(r) {
		if s.pos+1 >= len(s.data) || s.data[s.pos] != '\\' || s.data[s.pos+1] != 'u' {
			return nil, s.malformed("expected the second half of a surrogate pair")
		}
		s.pos++
		second, err := s.fourHex()
		if err != nil {
			return nil, err
		}
		if r = utf16.DecodeRune(r, second); r == utf8.RuneError {
			return nil, s.malformed("expected a valid surrogate pair before this place")
		}
	}
	return utf8.AppendRune(out, r), nil
}

// fourHex reads the u of an escape and the four digits behind it.
func (s *scanner) fourHex() (rune, error) {
	s.pos++ // the u
	if s.pos+4 > len(s.data) {
		s.pos = len(s.data)
		return 0, s.malformed("expected four hexadecimal digits")
	}
	var r rune
	for range 4 {
		c := s.data[s.pos]
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, s.malformed("expected a hexadecimal digit")
		}
		r = r<<4 | rune(c)
		s.pos++
	}
	return r, nil
}
