package client_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slotd/gateway/client"
	soltiv1 "slotd/messages/solti/v1"
)

// stream writes pieces of an event stream, each one flushed.
func stream(t *testing.T, w http.ResponseWriter, pieces ...string) {
	t.Helper()
	w.Header().Set("Content-Type", "text/event-stream")
	for _, piece := range pieces {
		if _, err := w.Write([]byte(piece)); err != nil {
			t.Error(err)
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
	}
}

func chunk(id string, seq int, line string) string {
	return fmt.Sprintf("event: chunk\nid: %s\ndata: {\"type\":\"chunk\",\"attempt\":1,\"stream\":\"stdout\",\"seq\":%d,\"ts\":5,\"line\":%q}\n\n", id, seq, line)
}

// read collects a whole log stream, an event as JSON with its id.
func read(t *testing.T, c *client.Client, opt client.LogOptions) (events []string, failure error) {
	t.Helper()
	for event, err := range c.Logs(t.Context(), someID, opt) {
		if err != nil {
			return events, err
		}
		data, err := client.MarshalEvent(event)
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, event.GetId()+" "+string(data))
	}
	return events, nil
}

func TestLogsDecodeEveryEvent(t *testing.T) {
	frames := []string{
		`{"type":"runStarted","attempt":1,"startedAt":1712750400000}`,
		`{"type":"chunk","attempt":1,"stream":"stdout","seq":0,"ts":1712750400123,"line":"hi"}`,
		`{"type":"chunk","attempt":1,"stream":"stderr","seq":3,"ts":1712750400124,"line":"<é\u0000>","truncated":true}`,
		`{"type":"lagged","skipped":42}`,
		`{"type":"runFinished","attempt":1,"exitCode":0,"finishedAt":1712750400456}`,
		`{"type":"runFinished","attempt":2,"signal":9,"finishedAt":1712750400456}`,
	}
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		for i, frame := range frames {
			stream(t, w, fmt.Sprintf(": keep-alive\n\nid: e%d\nevent: any\ndata: %s\n\n", i, frame))
		}
	})
	got, err := read(t, c, client.LogOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for i, frame := range frames {
		want = append(want, fmt.Sprintf("e%d %s", i, strings.ReplaceAll(frame, `<é\u0000>`, `\u003cé\u0000\u003e`)))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLogsReadFramesHoweverTheyAreSplit(t *testing.T) {
	whole := ": hello\r\n" + chunk("a", 0, "one") + "data: {\"type\":\"chunk\",\r\ndata: \"line\":\"two\"}\r\nid: b\r\n\r\n" +
		"event: new\nid: c\ndata: {\"type\":\"ofTheFuture\"}\n\n\n\nretry: 5\n\n" + chunk("d", 2, strings.Repeat("x", 65536))
	want := []string{"a one", "b two", "d " + strings.Repeat("x", 65536)}
	for _, size := range []int{1, 2, 7, 64, len(whole)} {
		if size < 7 && testing.Short() {
			continue
		}
		c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			rest := whole
			if size < 64 { // byte by byte only as far as it is interesting
				stream(t, w, splitEvery(rest[:300], size)...)
				rest = rest[300:]
			}
			stream(t, w, splitEvery(rest, max(size, 4096))...)
		})
		var got []string
		for event, err := range c.Logs(t.Context(), someID, client.LogOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, event.GetId()+" "+string(event.GetChunk().GetLine()))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("pieces of %d bytes: %s", size, diff)
		}
	}
}

func splitEvery(s string, size int) []string {
	var pieces []string
	for len(s) > size {
		pieces = append(pieces, s[:size])
		s = s[size:]
	}
	return append(pieces, s)
}

func TestLogsSendTheirOptions(t *testing.T) {
	for _, tc := range []struct {
		opt         client.LogOptions
		query, last string
	}{
		{client.LogOptions{}, "follow=false", ""},
		{client.LogOptions{Tail: client.TailAll, Follow: true}, "follow=true&tail=all", ""},
		{client.LogOptions{Tail: client.TailNone, Follow: true}, "follow=true&tail=0", ""},
		{
			client.LogOptions{Tail: 7, Since: "5m", Attempt: 2, Stream: soltiv1.OutputStreamKind_OUTPUT_STREAM_KIND_STDERR, After: "x"},
			"attempt=2&follow=false&since=5m&stream=stderr&tail=7", "x",
		},
	} {
		c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.RawQuery != tc.query || r.Header.Get("Last-Event-ID") != tc.last {
				t.Errorf("got %s after %q, want %s after %q", r.URL.RawQuery, r.Header.Get("Last-Event-ID"), tc.query, tc.last)
			}
			w.WriteHeader(http.StatusNoContent)
		})
		if got, err := read(t, c, tc.opt); err != nil || len(got) != 0 {
			t.Errorf("got %v, %v", got, err)
		}
	}
}

func TestLogsResumeAfterABrokenConnection(t *testing.T) {
	var (
		mu    sync.Mutex
		after []string
	)
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		after = append(after, r.Header.Get("Last-Event-ID"))
		switch len(after) {
		case 1:
			cutOff(t, w)
		case 2:
			stream(t, w, chunk("a", 0, "one"), chunk("b", 1, "two"), "id: c\ndata: {\"type\":\"chu")
			cutOff(t, w)
		case 3:
			stream(t, w, chunk("c", 2, "three"))
			cutOff(t, w)
		case 4:
			stream(t, w, chunk("d", 3, "four"))
		}
	})
	var got []string
	for event, err := range c.Logs(t.Context(), someID, client.LogOptions{Tail: client.TailAll, Follow: true}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(event.GetChunk().GetLine()))
	}
	if diff := cmp.Diff([]string{"one", "two", "three", "four"}, got); diff != "" {
		t.Error(diff)
	}
	mu.Lock()
	defer mu.Unlock()
	if diff := cmp.Diff([]string{"", "", "b", "c"}, after); diff != "" {
		t.Error(diff)
	}
}

func TestLogsGiveUpOnAConnectionThatAlwaysBreaks(t *testing.T) {
	var mu sync.Mutex
	calls := 0
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		calls++
		cutOff(t, w)
	})
	if _, err := read(t, c, client.LogOptions{Follow: true}); err == nil || !strings.Contains(err.Error(), "broke") {
		t.Errorf("got %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if calls < 2 {
		t.Errorf("tried %d times", calls)
	}
}

func TestLogsOfAnUnknownTaskAreNotFound(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		write(t, w, `{"error":"TaskNotFound","message":"no task"}`)
	})
	if _, err := read(t, c, client.LogOptions{}); !client.NotFound(err) {
		t.Errorf("got %v", err)
	}
}

func TestLogsWithoutADaemonEndAtOnce(t *testing.T) {
	var unreachable *client.UnreachableError
	if _, err := read(t, dial(t, "http://"+freePort(t)), client.LogOptions{Follow: true}); !errors.As(err, &unreachable) {
		t.Errorf("got %v", err)
	}
}

func TestLogsStopWhenTheReaderStops(t *testing.T) {
	gone := make(chan struct{})
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		stream(t, w, chunk("a", 0, "one"), chunk("b", 1, "two"))
		<-r.Context().Done()
		close(gone)
	})
	for event, err := range c.Logs(t.Context(), someID, client.LogOptions{Follow: true}) {
		if err != nil || event.GetId() != "a" {
			t.Fatalf("got %v, %v", event, err)
		}
		break
	}
	<-gone
}

func TestLogsRefuseALineWithoutEnd(t *testing.T) {
	var calls atomic.Int32
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		_, _ = io.WriteString(w, "data: "+strings.Repeat("x", 1<<20)) // the client hangs up in the midst of it
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	if _, err := read(t, c, client.LogOptions{}); err == nil || !strings.Contains(err.Error(), "longer than") || calls.Load() != 1 {
		t.Errorf("got %v after %d calls", err, calls.Load())
	}
}
