package client

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// frame is one server-sent event. Data is valid until the next call of next.
type frame struct {
	id   string
	data []byte
}

// maxFrameLine bounds one line of a frame, bytes: a log line of 64 KiB, each byte escaped, with room to spare.
const maxFrameLine = 1 << 20

var errFrameLine = fmt.Errorf("a line of the stream is longer than %d bytes", maxFrameLine)

// frameReader splits a text/event-stream into frames. Lines end with "\n" or "\r\n".
type frameReader struct {
	lines *bufio.Reader
	data  []byte
	id    string // of the last frame that is complete, also of one without data; empty: none had one
	alive func() // called for every line, comments included
}

func newFrameReader(r io.Reader, alive func()) *frameReader {
	return &frameReader{lines: bufio.NewReaderSize(r, maxFrameLine), alive: alive}
}

// next returns the next frame that carries data. The error is io.EOF when the stream ended between two frames, and
// io.ErrUnexpectedEOF when it ended inside one.
func (f *frameReader) next() (frame, error) {
	var fr frame
	f.data = f.data[:0]
	begun, filled := false, false
	for {
		line, err := f.lines.ReadSlice('\n')
		if err != nil {
			return frame{}, frameError(err, begun || len(line) > 0)
		}
		f.alive()
		line = bytes.TrimSuffix(line[:len(line)-1], []byte("\r"))
		if len(line) == 0 {
			if fr.id != "" {
				f.id = fr.id
			}
			if filled {
				fr.data = f.data
				return fr, nil
			}
			begun = false
			continue
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "": // a comment
			continue
		case "id":
			fr.id = string(value)
		case "data":
			if filled {
				f.data = append(f.data, '\n')
			}
			f.data = append(f.data, value...)
			filled = true
		}
		begun = true
	}
}

func frameError(err error, inside bool) error {
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return errFrameLine
	case errors.Is(err, io.EOF) && inside:
		return io.ErrUnexpectedEOF
	default:
		return err
	}
}
