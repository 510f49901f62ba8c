package client

import (
	"context"
	"errors"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	soltiv1 "slotd/messages/solti/v1"
)

// Tail is how many kept lines a log stream replays first.
type Tail int64

// TailDefault replays nothing, or everything when Since or Attempt is given; TailAll replays all that is kept, TailNone
// nothing. A positive Tail replays the last so many lines.
const (
	TailDefault Tail = 0
	TailAll     Tail = -1
	TailNone    Tail = -2
)

// LogOptions choose what a log stream carries. The zero value is the replay of nothing.
type LogOptions struct {
	Tail    Tail
	Follow  bool                     // go on live after the replay, until the task is terminal
	Since   string                   // an RFC 3339 time, or a duration back from the daemon's now
	Attempt uint32                   // only this attempt; 0 = all
	Stream  soltiv1.OutputStreamKind // only this stream; unspecified = both
	After   string                   // go on after the event with this id; wins over Tail
}

func (o LogOptions) query() url.Values {
	q := url.Values{"follow": {strconv.FormatBool(o.Follow)}}
	switch {
	case o.Tail == TailAll:
		q.Set("tail", "all")
	case o.Tail == TailNone:
		q.Set("tail", "0")
	case o.Tail > 0:
		q.Set("tail", strconv.FormatInt(int64(o.Tail), 10))
	}
	if o.Since != "" {
		q.Set("since", o.Since)
	}
	if o.Attempt != 0 {
		q.Set("attempt", strconv.FormatUint(uint64(o.Attempt), 10))
	}
	if o.Stream != soltiv1.OutputStreamKind_OUTPUT_STREAM_KIND_UNSPECIFIED {
		q.Set("stream", strings.ToLower(strings.TrimPrefix(o.Stream.String(), "OUTPUT_STREAM_KIND_")))
	}
	return q
}

// How a broken log stream is taken up again: so often in a row without a new event, after a pause that doubles. A
// stream on which not even a keep-alive came for stallAfter (the daemon sends one every 15 s) counts as broken.
const (
	resumeLimit = 5
	resumePause = 50 * time.Millisecond
	stallAfter  = 50 * time.Second
)

var errStalled = errors.New("nothing came for " + stallAfter.String())

// Logs yields the log events of a task in order, each once, and ends when the daemon ends the stream: after the replay,
// or, with Follow, when the task is terminal or the daemon stops. A connection that breaks is resumed after the last
// event as long as the daemon can be reached; a refusal is waited out as [Config.Patience] says. The stream stops at the
// first error.
func (c *Client) Logs(ctx context.Context, id string, opt LogOptions) iter.Seq2[*soltiv1.OutputEventProto, error] {
	return func(yield func(*soltiv1.OutputEventProto, error) bool) {
		s := logStream{client: c, id: id, opt: opt, yield: yield}
		for {
			err := s.read(ctx)
			if err == nil || s.stopped {
				return
			}
			wait, more := s.again(ctx, err, time.Now())
			if !more {
				yield(nil, err)
				return
			}
			if err := pause(ctx, wait); err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

// logStream is one iteration of Logs, over as many connections as it takes.
type logStream struct {
	client   *Client
	id       string
	opt      LogOptions // After moves with every event
	yield    func(*soltiv1.OutputEventProto, error) bool
	opened   bool    // a connection has stood
	failures int     // broken connections since the last event
	refused  repeats // refusals since the last event
	stopped  bool    // the caller wants no more
}

// again decides whether and when another connection is made.
func (s *logStream) again(ctx context.Context, err error, now time.Time) (time.Duration, bool) {
	if s.resumable(err) {
		s.failures++
		return resumePause << s.failures, true
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
func (s *logStream) resumable(err error) bool {
	var unreachable *UnreachableError
	return s.failures < resumeLimit && (broken(err) || s.opened && errors.As(err, &unreachable))
}

// read yields events from one connection; nil means that the daemon ended the stream.
func (s *logStream) read(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := request{
		method: http.MethodGet,
		path:   taskPath(s.id, "logs"),
		query:  s.opt.query(),
		header: http.Header{"Accept": {"text/event-stream"}},
	}
	if s.opt.After != "" {
		r.header.Set("Last-Event-Id", s.opt.After)
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
		if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return s.interrupted(ctx, err)
		}
		event, err := eventOf(fr)
		if err != nil {
			return err
		}
		if fr.id != "" {
			s.opt.After = fr.id
		}
		s.failures, s.refused = 0, repeats{}
		if event != nil && !s.yield(event, nil) {
			s.stopped = true
			return nil
		}
	}
}

// interrupted tells a connection that broke or stalled, which may be resumed, from a caller who gave up and from a
// stream that is not slotd's.
func (s *logStream) interrupted(ctx context.Context, err error) error {
	if errors.Is(err, errFrameLine) {
		return err
	}
	if errors.Is(context.Cause(ctx), errStalled) {
		return &brokenError{addr: s.client.addr, err: errStalled}
	}
	return s.client.lost(ctx, err)
}
