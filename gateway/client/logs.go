package client

import (
	"context"
	"iter"
	"net/url"
	"strconv"
	"strings"

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

// Logs yields the log events of a task in order, each once, and ends when the daemon ends the stream: after the replay,
// or, with Follow, when the task is terminal or the daemon stops. A connection that breaks is resumed after the last
// event as long as the daemon can be reached; a refusal is waited out as [Config.Patience] says. The stream stops at the
// first error.
func (c *Client) Logs(ctx context.Context, id string, opt LogOptions) iter.Seq2[*soltiv1.OutputEventProto, error] {
	return func(yield func(*soltiv1.OutputEventProto, error) bool) {
		s := stream{client: c, path: taskPath(id, "logs"), query: opt.query(), after: opt.After, limit: logResumes}
		s.take = func(fr frame) (bool, error) {
			event, err := eventOf(fr)
			return err == nil && (event == nil || yield(event, nil)), err
		}
		if err := s.run(ctx); err != nil {
			yield(nil, err)
		}
	}
}
