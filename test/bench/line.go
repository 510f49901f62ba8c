package bench

import "io"

const (
	// lineBytes is the length of a line without its newline.
	lineBytes = 100
	// digits is the width of the number that each line begins with, counted from 0.
	digits = 10
	// blockBytes is how much is handed to the kernel at once: what a pipe holds.
	blockBytes = 64 << 10
)

// line is what WriteLines repeats, with the number of the line at its head.
type line [lineBytes]byte

func firstLine() *line {
	var l line
	const text = "abcdefghijklmnopqrstuvwxyz 0123456789 "
	for i := range l {
		l[i] = text[i%len(text)]
	}
	for i := range digits {
		l[i] = '0'
	}
	l[digits] = ' '
	return &l
}

// next counts the number up by one.
func (l *line) next() {
	for i := digits - 1; i >= 0; i-- {
		if l[i] != '9' {
			l[i]++
			return
		}
		l[i] = '0'
	}
}

// WriteLines writes n numbered lines of 100 bytes, each with a newline, in large blocks.
func WriteLines(w io.Writer, n int) error {
	l := firstLine()
	buf := make([]byte, 0, blockBytes)
	for range n {
		if len(buf)+lineBytes+1 > cap(buf) {
			if _, err := w.Write(buf); err != nil {
				return err
			}
			buf = buf[:0]
		}
		buf = append(buf, l[:]...)
		buf = append(buf, '\n')
		l.next()
	}
	_, err := w.Write(buf)
	return err
}

// lineNumber reads the number at the head of a line; -1 if there is none.
func lineNumber(text []byte) int {
	if len(text) < digits {
		return -1
	}
	n := 0
	for _, c := range text[:digits] {
		if c < '0' || c > '9' {
			return -1
		}
		n = n*10 + int(c-'0')
	}
	return n
}
