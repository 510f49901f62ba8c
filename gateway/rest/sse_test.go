package rest_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slotd/gateway"
	"slotd/gateway/rest"
	"slotd/messages"
	soltiv1 "slotd/messages/solti/v1"
)

// readOff reads the rest of an answer and closes it.
func readOff(t *testing.T, response *http.Response) {
	t.Helper()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		t.Errorf("read: %v", err)
	}
	if err := response.Body.Close(); err != nil {
		t.Error(err)
	}
}

func send(t *testing.T, f *feed, text string) {
	t.Helper()
	select {
	case f.batches <- []byte(text):
	case <-time.After(patience):
		t.Fatalf("nobody took %.20q", text)
	}
}

func TestBatchesArriveAtOnceAndTheStreamEndsWithTheCursor(t *testing.T) {
	n := start(t, rest.Config{})
	n.set(task("tsk_1", running, 1))
	f := n.follow()
	response := n.begin(t.Context(), "GET", "/api/v1/tasks/tsk_1/logs", nil)
	for name, want := range map[string]string{"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"} {
		if got := response.Header.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	reader := bufio.NewReader(response.Body)
	for _, line := range []string{"id: 1\n", "event: chunk\n"} {
		send(t, f, line)
		if got, err := reader.ReadString('\n'); err != nil || got != line {
			t.Errorf("got %q, %v; want %q", got, err, line)
		}
	}
	close(f.batches)
	if rest, err := io.ReadAll(reader); err != nil || len(rest) != 0 {
		t.Errorf("after the end: %q, %v", rest, err)
	}
	if err := response.Body.Close(); err != nil {
		t.Error(err)
	}
	receive(t, f.closed, "the end of the cursor")
}

func TestASilentStreamIsKeptAlive(t *testing.T) {
	n := start(t, rest.Config{KeepAlive: time.Millisecond})
	n.set(task("tsk_1", running, 1))
	f := n.follow()
	response := n.begin(t.Context(), "GET", "/api/v1/tasks/tsk_1/logs", nil)
	reader := bufio.NewReader(response.Body)
	for range 2 {
		if got, err := reader.ReadString('\n'); err != nil || got != ": keep-alive\n" {
			t.Fatalf("got %q, %v", got, err)
		}
		if _, err := reader.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	close(f.batches)
	readOff(t, response)
}

func TestALogStreamThatCanNotBegin(t *testing.T) {
	n := start(t, rest.Config{})
	n.set(task("tsk_1", succeeded, 1))
	fails := func(err error) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.open = func(context.Context, messages.LogQuery) (gateway.Cursor, error) { return nil, err }
	}
	fails(io.EOF)
	n.do("GET", "/api/v1/tasks/tsk_1/logs", "", "Last-Event-ID: 9").is(t, 204, "")
	fails(&messages.RejectionError{Rejection: messages.Reject(messages.LabelInvalidRequest, "after: not an event id", 0)})
	n.do("GET", "/api/v1/tasks/tsk_1/logs", "", "Last-Event-ID: x").refuses(t, 400, "InvalidRequest", "not an event id")
	fails(errors.New("secret cause"))
	n.do("GET", "/api/v1/tasks/tsk_1/logs", "").refuses(t, 500, "Internal", "something inside slotd failed")
	n.do("GET", "/api/v1/tasks/none/logs", "").refuses(t, 404, "TaskNotFound", "no such task")
}

func TestEveryLogParameterArrives(t *testing.T) {
	n := start(t, rest.Config{})
	n.set(task("tsk_1", succeeded, 1))
	n.open = func(context.Context, messages.LogQuery) (gateway.Cursor, error) { return nil, io.EOF }
	at := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC).UnixMilli()
	for query, want := range map[string]messages.LogQuery{
		"":                                    {Follow: true},
		"tail=5":                              {Follow: true, Tail: 5, HasTail: true},
		"tail=0":                              {Follow: true, HasTail: true},
		"tail=all&follow=false":               {Tail: messages.AllLines, HasTail: true},
		"attempt=2":                           {Follow: true, Attempt: 2, Tail: messages.AllLines, HasTail: true},
		"attempt=2&tail=1":                    {Follow: true, Attempt: 2, Tail: 1, HasTail: true},
		"stream=stderr":                       {Follow: true, Stream: soltiv1.OutputStreamKind_OUTPUT_STREAM_KIND_STDERR},
		"stream=stdout":                       {Follow: true, Stream: soltiv1.OutputStreamKind_OUTPUT_STREAM_KIND_STDOUT},
		"since=2026-01-31T12:00:00Z":          {Follow: true, Since: at, Tail: messages.AllLines, HasTail: true},
		"since=2026-01-31T14:00:00%2B02:00":   {Follow: true, Since: at, Tail: messages.AllLines, HasTail: true},
		"since=2026-01-31T14:00:00.000+02:00": {Follow: true, Since: at, Tail: messages.AllLines, HasTail: true},
	} {
		n.do("GET", "/api/v1/tasks/tsk_1/logs?"+query, "").is(t, 204, "")
		if diff := cmp.Diff(n.logQuery, want); diff != "" {
			t.Errorf("%s (-got +want):\n%s", query, diff)
		}
	}
	n.do("GET", "/api/v1/tasks/tsk_1/logs", "", "Last-Event-ID: 17").is(t, 204, "")
	if n.logQuery.After != "17" {
		t.Errorf("After = %q", n.logQuery.After)
	}
	before := time.Now().Add(-10 * time.Minute).UnixMilli()
	n.do("GET", "/api/v1/tasks/tsk_1/logs?since=10m", "").is(t, 204, "")
	if after := time.Now().Add(-10 * time.Minute).UnixMilli(); n.logQuery.Since < before || n.logQuery.Since > after {
		t.Errorf("Since = %d, want between %d and %d", n.logQuery.Since, before, after)
	}
	for query, says := range map[string]string{
		"tail=-1": "tail: ", "tail=x": "tail: ", "tail=": "tail: ", "follow=1": "follow: ", "since=yesterday": "since: ", "since=-5m": "since: ", "since=": "since: ",
		"attempt=0": "attempt", "attempt=x": "attempt: ", "stream=both": "stream: ", "stream=": "stream: ", "tail=1&tail=2": "tail is given more than once", "n=5": "unknown parameter",
	} {
		n.do("GET", "/api/v1/tasks/tsk_1/logs?"+query, "").refuses(t, 400, "InvalidRequest", says)
	}
}

func TestAReaderThatGoesAwayEndsItsCursor(t *testing.T) {
	n := start(t, rest.Config{})
	n.set(task("tsk_1", running, 1))
	f := n.follow()
	ctx, cancel := context.WithCancel(t.Context())
	response := n.begin(ctx, "GET", "/api/v1/tasks/tsk_1/logs", nil)
	cancel()
	receive(t, f.closed, "the end of the cursor")
	if err := response.Body.Close(); err != nil {
		t.Error(err)
	}
}

func TestAStoppedReaderIsDroppedAndDisturbsNobody(t *testing.T) {
	n := start(t, rest.Config{WriteTimeout: 500 * time.Millisecond})
	n.set(task("tsk_1", running, 1))
	f := n.follow()
	stopped := dial(t, n, "GET /api/v1/tasks/tsk_1/logs HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
	if tcp, ok := stopped.(*net.TCPConn); ok {
		if err := tcp.SetReadBuffer(4096); err != nil {
			t.Fatal(err)
		}
	}
	batch := []byte(strings.Repeat("x", 1<<20))
	fed := 0
	for open := true; open; {
		select {
		case f.batches <- batch:
			fed++
		case <-f.closed:
			open = false
		case <-time.After(patience):
			t.Fatal("the stopped reader was not dropped")
		}
		if got := n.do("GET", "/healthz", ""); got.status != 200 {
			t.Errorf("meanwhile: got %d", got.status)
		}
	}
	if fed == 0 {
		t.Error("nothing was sent")
	}
}

// dial opens a connection and sends text.
func dial(t *testing.T, n *node, text string) net.Conn {
	t.Helper()
	u, err := url.Parse(n.url)
	if err != nil {
		t.Fatal(err)
	}
	var d net.Dialer
	c, err := d.DialContext(t.Context(), "tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	return c
}
