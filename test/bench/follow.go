package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Seen is what a follower saw of a task's log whose chunks are numbered lines.
type Seen struct {
	Lines    int       // chunks
	Disorder int       // chunks whose line was not the one that was due: a gap, a repeat, or damage
	Lagged   int       // lagged events
	LastAt   time.Time // when the last line that was expected came; zero if it did not

	at int // where the text began in the chunk before: most often it begins there again
}

// Follow reads a stream of server-sent events to its end and counts; n lines, numbered from 0, are expected. The same
// code follows slotd and the bare server, and is cheap beside both. It calls connected once the server has accepted.
func Follow(ctx context.Context, client *http.Client, url string, n int, connected func()) (seen Seen, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return seen, err
	}
	request.Header.Set("Accept", "text/event-stream")
	response, err := client.Do(request)
	if err != nil {
		return seen, err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	if response.StatusCode != http.StatusOK {
		return seen, fmt.Errorf("%s: %s", url, response.Status)
	}
	connected()
	err = seen.read(response.Body, n)
	return seen, err
}

// read takes whole lines of the stream out of a buffer; what is left of a line moves to its head.
func (s *Seen) read(body io.Reader, n int) error {
	buf := make([]byte, blockBytes)
	kept := 0
	event := byte(0) // the first letter of the event whose data comes next
	for {
		got, err := body.Read(buf[kept:])
		rest := buf[:kept+got]
		for {
			end := bytes.IndexByte(rest, '\n')
			if end < 0 {
				break
			}
			switch text := rest[:end]; {
			case len(text) == 0:
				event = 0
			case text[0] == 'e' && bytes.HasPrefix(text, []byte("event: ")):
				event = text[len("event: "):][0]
			case text[0] == 'd':
				s.count(event, text, n)
			}
			rest = rest[end+1:]
		}
		kept = copy(buf, rest)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if kept == len(buf) {
			return fmt.Errorf("a line of more than %d bytes", kept)
		}
	}
}

// lineField comes right before the text of a chunk.
var lineField = []byte(`"line":"`)

func (s *Seen) count(event byte, data []byte, n int) {
	switch event {
	case 'l': // lagged
		s.Lagged++
	case 'c': // chunk
		if len(data) < s.at || !bytes.HasSuffix(data[:s.at], lineField) {
			s.at = bytes.Index(data, lineField) + len(lineField)
		}
		if s.at < len(lineField) || lineNumber(data[s.at:]) != s.Lines {
			s.Disorder++
			s.at = 0
		}
		if s.Lines++; s.Lines == n {
			s.LastAt = time.Now()
		}
	}
}

// Whole returns nil if exactly the n expected lines came, each once and in order.
func (s *Seen) Whole(n int) error {
	if s.Lines != n || s.Disorder > 0 || s.Lagged > 0 {
		return fmt.Errorf("%d of %d lines came, %d out of order, with %d lagged events", s.Lines, n, s.Disorder, s.Lagged)
	}
	return nil
}

// FollowAll lets a number of clients follow the same stream of n lines, each on a connection of its own, and returns
// when the last of them had the last line. Every one of them must have seen all. Once all are connected it calls begin.
func FollowAll(ctx context.Context, url string, clients, n int, begin func() error) (last time.Time, err error) {
	transport := &http.Transport{ReadBufferSize: blockBytes, DisableCompression: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	all := make([]Seen, clients)
	var missing atomic.Int64
	missing.Store(int64(clients))
	complete := make(chan struct{})
	group, ctx := errgroup.WithContext(ctx)
	for i := range all {
		group.Go(func() (err error) {
			all[i], err = Follow(ctx, client, url, n, func() {
				if missing.Add(-1) == 0 {
					close(complete)
				}
			})
			if err != nil {
				return err
			}
			return all[i].Whole(n)
		})
	}
	group.Go(func() error {
		select {
		case <-complete:
			return begin()
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	if err := group.Wait(); err != nil {
		return last, err
	}
	for _, seen := range all {
		if seen.LastAt.After(last) {
			last = seen.LastAt
		}
	}
	return last, nil
}
