package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

// contextOf is done shortly before the test's cleanup, which lets requests that a failed test left behind end.
func contextOf(t testing.TB) context.Context { return t.Context() }

// event is one server-sent event of a task's log.
type event struct {
	name, id string
	data     struct {
		Type, Stream, Line        string
		Attempt                   int
		Seq                       *int
		ExitCode, Signal          *int
		Truncated                 bool
		Skipped                   int
		Ts, StartedAt, FinishedAt int64
	}
	raw string
}

// stream is a log that is being followed.
type stream struct {
	t      testing.TB
	body   io.ReadCloser
	events *bufio.Reader
}

// open opens a task's log. The answer must be an event stream.
func (d *daemon) open(id, query string, headers ...string) *stream {
	d.t.Helper()
	req, err := http.NewRequestWithContext(contextOf(d.t), http.MethodGet, "http://"+d.http+"/api/v1/tasks/"+id+"/logs?"+query, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := d.client.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { closed(d.t, resp.Body) })
	if resp.StatusCode != http.StatusOK {
		body, err := io.ReadAll(resp.Body)
		d.t.Fatalf("logs of %s: %d %s %v", id, resp.StatusCode, body, err)
	}
	if kind, cache := resp.Header.Get("Content-Type"), resp.Header.Get("Cache-Control"); kind != "text/event-stream" || cache != "no-cache" {
		d.t.Fatalf("logs of %s: Content-Type %q, Cache-Control %q", id, kind, cache)
	}
	return &stream{t: d.t, body: resp.Body, events: bufio.NewReaderSize(resp.Body, 1<<20)}
}

// next reads one event; false is the end of the stream. It may be called from any goroutine, as may rest.
func (s *stream) next() (e event, ok bool) {
	s.t.Helper()
	var raw strings.Builder
	for {
		line, err := s.events.ReadString('\n')
		if errors.Is(err, io.EOF) && line == "" && raw.Len() == 0 {
			return event{}, false
		}
		if err != nil {
			s.t.Errorf("the stream broke off: %v after %q", err, tailOf(raw.String()+line, 500))
			return event{}, false
		}
		raw.WriteString(line)
		switch {
		case line == "\n" && e.name == "":
			raw.Reset() // after a comment
		case line == "\n":
			e.raw = raw.String()
			return e, true
		case strings.HasPrefix(line, ":"):
		case strings.HasPrefix(line, "event: "):
			e.name = strings.TrimSpace(line[len("event: "):])
		case strings.HasPrefix(line, "id: "):
			e.id = strings.TrimSpace(line[len("id: "):])
		case strings.HasPrefix(line, "data: "):
			if err := json.Unmarshal([]byte(line[len("data: "):]), &e.data); err != nil {
				s.t.Errorf("event %q: %v", tailOf(line, 500), err)
				return event{}, false
			}
		default:
			s.t.Errorf("unexpected line %q", line)
			return event{}, false
		}
	}
}

// rest reads to the end of the stream.
func (s *stream) rest() []event {
	s.t.Helper()
	events := []event{}
	for {
		e, ok := s.next()
		if !ok {
			return events
		}
		events = append(events, e)
	}
}

// until reads up to the first event that is wanted.
func (s *stream) until(what string, wanted func(event) bool) event {
	s.t.Helper()
	for {
		e, ok := s.next()
		if !ok {
			s.t.Fatalf("the stream ended before %s", what)
		}
		if wanted(e) {
			return e
		}
	}
}

// line reads up to the chunk that holds that line.
func (s *stream) line(line string) event {
	s.t.Helper()
	return s.until("the line "+line, func(e event) bool { return e.name == "chunk" && e.data.Line == line })
}

// kept returns what is kept of a task's log.
func (d *daemon) kept(id, query string) []event {
	d.t.Helper()
	return d.open(id, "follow=false&"+query).rest()
}

// outline is a log in short: "+1" and "-1" for the begin and end of attempt 1, a line as it is.
func outline(events []event) []string {
	lines := []string{}
	for _, e := range events {
		switch e.name {
		case "run-started":
			lines = append(lines, "+"+itoa(e.data.Attempt))
		case "run-finished":
			lines = append(lines, "-"+itoa(e.data.Attempt))
		case "chunk":
			lines = append(lines, e.data.Line)
		default:
			lines = append(lines, "?"+e.name)
		}
	}
	return lines
}
