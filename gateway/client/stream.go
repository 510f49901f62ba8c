package client

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"
)

// How a broken stream is taken up again: a number of times in a row without a new event, after a pause that doubles up
// to a limit. A stream on which not even a keep-alive came for stallAfter (the daemon sends one every 15 s) counts as
// broken.
const (
	logResumes   = 5 // for 3 s in all
	eventResumes = 8 // for 16 s in all, in which a daemon may have been started anew
	resumePause  = 50 * time.Millisecond
	resumeLast   = 5 * time.Second
	stallAfter   = 50 * time.Second
)

var (
	errStalled = errors.New("nothing came for " + stallAfter.String())
	errEnded   = errors.New("the daemon ended the stream")
)

// stream is one event stream, over as many connections as it takes.
type stream struct {
	client  *Client
	path    []string
	query   url.Values
	after   string // id of the last event; moves with every frame
	limit   int    // broken connections in a row
	endless bool   // an end is a break: the daemon stops, and may come back

	// take is given each frame that has data, and says whether more are wanted.
	take func(fr frame) (more bool, err error)

	opened   bool    // a connection has stood
	failures int     // broken connections since the last event
	refused  repeats // refusals since the last event
	stopped  bool    // no more are wanted
}

// run reads until the daemon ends the stream or the taker has enough, which is nil, or until an error that another
// connection does not help against.
func (s *stream) run(ctx context.Context) error {
	for {
		err := s.read(ctx)
		if s.endless && err == nil && !s.stopped {
			err = &brokenError{addr: s.client.addr, err: errEnded}
		}
		if err == nil {
			return nil
		}
		wait, more := s.again(ctx, err, time.Now())
		if !more {
			return err
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}

// again decides whether and when another connection is made.
func (s *stream) again(ctx context.Context, err error, now time.Time) (time.Duration, bool) {
	if s.resumable(err) {
		s.failures++
		return min(resumePause<<s.failures, resumeLast), true
	}
	if _, temporary := comeBack(err); !temporary || s.client.patience == 0 {
		return 0, false
	}
	if s.refused.until.IsZero() {
		s.refused = repeats{allowed: true, until: now.Add(s.client.patience)}
	}
	return s.refused.after(ctx, err, now)
}

// resumable says whether another connection may help. A daemon that cannot be dialed is only given time when it has
// been there before.
func (s *stream) resumable(err error) bool {
	var unreachable *UnreachableError
	return s.failures < s.limit && (broken(err) || s.opened && errors.As(err, &unreachable))
}

// read takes frames from one connection; nil means that the daemon ended the stream, or that no more are wanted.
func (s *stream) read(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := request{method: http.MethodGet, path: s.path, query: s.query, header: http.Header{"Accept": {"text/event-stream"}}}
	if s.after != "" {
		r.header.Set("Last-Event-Id", s.after)
	}
	resp, err := s.client.send(ctx, r)
	if err != nil {
		return err
	}
	defer discard(resp)
	s.opened = true
	if resp.StatusCode == http.StatusNoContent {
		return nil
	}

	watchdog := time.AfterFunc(stallAfter, func() { cancel(errStalled) })
	defer watchdog.Stop()
	frames := newFrameReader(resp.Body, func() { watchdog.Reset(stallAfter) })
	for {
		fr, err := frames.next()
		if frames.id != "" {
			s.after = frames.id
		}
		if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return s.interrupted(ctx, err)
		}
		s.failures, s.refused = 0, repeats{}
		more, err := s.take(fr)
		if err != nil {
			return err
		}
		if !more {
			s.stopped = true
			return nil
		}
	}
}

// interrupted tells a connection that broke or stalled, which may be resumed, from a caller who gave up and from a
// stream that is not slotd's.
func (s *stream) interrupted(ctx context.Context, err error) error {
	if errors.Is(err, errFrameLine) {
		return err
	}
	if errors.Is(context.Cause(ctx), errStalled) {
		return &brokenError{addr: s.client.addr, err: errStalled}
	}
	return s.client.lost(ctx, err)
}
