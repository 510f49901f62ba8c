package main

import (
	"bufio"
	"strconv"
	"sync"
	"time"

	"slotd/gateway/client"
	soltiv1 "slotd/messages/solti/v1"
)

// flushAfter is how long a line of output may stay in memory.
const flushAfter = 5 * time.Millisecond

// sink writes log events for a person or a pipe: what a task wrote to stdout goes to stdout, what it wrote to stderr to
// stderr, in the order in which it came. It gathers lines and writes them soon after. It is safe for several
// goroutines; a write error is returned by the call that meets it and by all later ones.
type sink struct {
	app    *app
	stamps bool // each line begins with its time
	json   bool // events as JSON lines on stdout instead

	mu       sync.Mutex
	out, err *bufio.Writer
	timer    *time.Timer
	armed    bool
	cut      bool // the cut of a long line has been told
	failed   error
	fail     func(error) // told of the first error, which may come from a write in the background
}

func newSink(a *app, fail func(error)) *sink {
	s := &sink{app: a, fail: fail, out: bufio.NewWriterSize(a.stdout, 64<<10), err: bufio.NewWriterSize(a.stderr, 64<<10)}
	s.timer = time.AfterFunc(time.Hour, s.tick)
	s.timer.Stop()
	return s
}

// source tells whose events they are, where there are several tasks; the zero value tells nothing.
type source struct {
	prefix string // begins every line
	taskID string // is a member of every object
}

// event writes one event.
func (s *sink) event(of source, e *soltiv1.OutputEventProto) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.json {
		return s.object(of, e)
	}
	prefix := of.prefix
	switch kind := e.GetKind().(type) {
	case *soltiv1.OutputEventProto_Chunk:
		return s.line(prefix, kind.Chunk)
	case *soltiv1.OutputEventProto_RunStarted:
		if n := kind.RunStarted.GetAttempt(); n > 1 {
			s.flush()
			s.app.talk("%sattempt %d", prefix, n)
		}
	case *soltiv1.OutputEventProto_Lagged:
		s.flush()
		s.app.say("%smissing here: %s, dropped or damaged before they could be read", prefix, counted(kind.Lagged.GetSkipped(), "line"))
	}
	return s.failed
}

func (s *sink) line(prefix string, chunk *soltiv1.OutputChunkProto) error {
	w, other := s.out, s.err
	if chunk.GetStream() == soltiv1.OutputStreamKind_OUTPUT_STREAM_KIND_STDERR {
		w, other = s.err, s.out
	}
	s.note(other.Flush()) // keeps the order of the two on a terminal
	_, err := w.WriteString(prefix)
	s.note(err)
	if s.stamps {
		_, err = w.WriteString(time.UnixMilli(chunk.GetTs()).UTC().Format("2006-01-02T15:04:05.000Z") + " ")
		s.note(err)
	}
	_, err = w.Write(chunk.GetLine())
	s.note(err)
	s.note(w.WriteByte('\n'))
	if chunk.GetTruncated() && !s.cut {
		s.cut = true
		s.flush()
		s.app.say("%sa line was longer than 65536 bytes and is cut there; later cuts are not told", prefix)
	}
	s.arm()
	return s.failed
}

func (s *sink) object(of source, e *soltiv1.OutputEventProto) error {
	data, err := client.MarshalEvent(e)
	if err != nil {
		return err
	}
	if of.taskID != "" {
		data = append([]byte(`{"taskId":`+strconv.Quote(of.taskID)+","), data[1:]...)
	}
	_, err = s.out.Write(append(data, '\n'))
	s.note(err)
	s.arm()
	return s.failed
}

// close writes what is left. The sink may be used again.
func (s *sink) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer.Stop()
	s.armed = false
	s.flush()
	return s.failed
}

func (s *sink) arm() {
	if !s.armed {
		s.armed = true
		s.timer.Reset(flushAfter)
	}
}

func (s *sink) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armed = false
	s.flush()
}

func (s *sink) flush() {
	s.note(s.out.Flush())
	s.note(s.err.Flush())
}

func (s *sink) note(err error) {
	if s.failed == nil && err != nil {
		s.failed = err
		s.fail(err)
	}
}
