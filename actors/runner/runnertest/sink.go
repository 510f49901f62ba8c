package runnertest

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"
)

// Patience is how long the suite waits for anything that should happen.
const Patience = 20 * time.Second

// Sink keeps one stream of an attempt. It is an io.ReaderFrom, as the runner may expect.
type Sink struct {
	held    chan []byte   // the output so far; taken while it is changed
	changed chan struct{} // holds a token after every change
	ended   chan struct{} // closed when ReadFrom has seen the end
}

// NewSink returns an empty sink.
func NewSink() *Sink {
	s := &Sink{held: make(chan []byte, 1), changed: make(chan struct{}, 1), ended: make(chan struct{})}
	s.held <- nil
	return s
}

func (s *Sink) Write(p []byte) (int, error) {
	s.held <- append(<-s.held, p...)
	select {
	case s.changed <- struct{}{}:
	default:
	}
	return len(p), nil
}

// ReadFrom copies until r ends.
func (s *Sink) ReadFrom(r io.Reader) (int64, error) {
	defer close(s.ended)
	return io.CopyBuffer(struct{ io.Writer }{s}, struct{ io.Reader }{r}, make([]byte, 32<<10))
}

// Bytes returns what has been written so far.
func (s *Sink) Bytes() []byte {
	b := <-s.held
	defer func() { s.held <- b }()
	return bytes.Clone(b)
}

// Await waits until a line that begins with prefix has been written, and returns the rest of it. One goroutine at a time
// may wait.
func (s *Sink) Await(t *testing.T, prefix string) string {
	t.Helper()
	deadline := time.NewTimer(Patience)
	defer deadline.Stop()
	for {
		for line := range strings.Lines(string(s.Bytes())) {
			if rest, ok := strings.CutPrefix(line, prefix); ok && strings.HasSuffix(rest, "\n") {
				return strings.TrimSpace(rest)
			}
		}
		select {
		case <-s.changed:
		case <-deadline.C:
			t.Fatalf("no line %q, only %q", prefix, s.Bytes())
		}
	}
}

// AwaitEnd waits until the stream has ended.
func (s *Sink) AwaitEnd(t *testing.T) {
	t.Helper()
	select {
	case <-s.ended:
	case <-time.After(Patience):
		t.Fatalf("the stream does not end after %q", s.Bytes())
	}
}
