package rest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slotd/gateway"
	"slotd/gateway/rest"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// transitions are events that the test gives to whoever follows them.
type transitions struct {
	batches chan []*slotdv1.Event // closed = io.EOF
	closed  chan struct{}         // receives once per cursor that is closed

	mu       sync.Mutex
	query    messages.EventQuery
	refusal  error
	position string
}

func newTransitions() *transitions {
	return &transitions{batches: make(chan []*slotdv1.Event), closed: make(chan struct{}, 16), position: "e-0"}
}

func (f *transitions) Open(q messages.EventQuery) (gateway.EventCursor, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.query = q
	if f.refusal != nil {
		return nil, f.refusal
	}
	return f, nil
}

func (f *transitions) Next(ctx context.Context) ([]*slotdv1.Event, error) {
	select {
	case batch, ok := <-f.batches:
		if !ok {
			return nil, io.EOF
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.position = batch[len(batch)-1].GetId()
		return batch, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (f *transitions) Position() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.position
}

func (f *transitions) Close() { f.closed <- struct{}{} }

// give hands a batch to the stream.
func (f *transitions) give(t *testing.T, batch ...*slotdv1.Event) {
	t.Helper()
	select {
	case f.batches <- batch:
	case <-time.After(patience):
		t.Fatal("nobody took the events")
	}
}

// frame reads up to the next empty line.
func frame(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	var text strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("%v after %q", err, text.String()+line)
		}
		if line == "\n" {
			return text.String()
		}
		text.WriteString(line)
	}
}

func taskEvent(id string, e *slotdv1.TaskEvent) *slotdv1.Event {
	return &slotdv1.Event{Id: id, Kind: &slotdv1.Event_Task{Task: e}}
}

func slotEvent(id string, e *slotdv1.SlotEvent) *slotdv1.Event {
	return &slotdv1.Event{Id: id, Kind: &slotdv1.Event_Slot{Slot: e}}
}

func TestEventsAreFramesOfPlainJSON(t *testing.T) {
	n := start(t, rest.Config{})
	response := n.begin(t.Context(), "GET", "/api/v1/events", nil)
	for name, want := range map[string]string{
		"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "X-Accel-Buffering": "no", "Last-Event-ID": "e-0",
	} {
		if got := response.Header.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	reader := bufio.NewReader(response.Body)
	if got := frame(t, reader); got != "id: e-0\n" {
		t.Errorf("the stream begins with %q", got)
	}
	n.events.give(t,
		taskEvent("e-1", &slotdv1.TaskEvent{Slot: "s", TaskId: "tsk_1", Phase: running, Attempt: 1, Time: 1712750400000, ResourceVersion: 2, Node: new("n\"1")}),
		taskEvent("e-2", &slotdv1.TaskEvent{
			Slot: "s", TaskId: "tsk_1", Phase: soltiv1.TaskStatus_TASK_STATUS_FAILED, Attempt: 1, Time: 5, ResourceVersion: 3, Reason: new("NonZeroExit"),
			ExitCode: new(int32(0)), NextAttemptAt: new(int64(7)),
		}),
		taskEvent("e-3", &slotdv1.TaskEvent{
			Slot: "s", TaskId: "tsk_1", Phase: soltiv1.TaskStatus_TASK_STATUS_FAILED, Attempt: 2, Time: 8, ResourceVersion: 4, Reason: new("Signaled"), Signal: new(int32(9)),
			Terminal: true, Deleted: true,
		}),
		slotEvent("e-4", &slotdv1.SlotEvent{
			Slot: "s", TaskId: new("tsk_1"), Phase: "retiring", Reason: new("Replaced"), Attempt: 2, Time: 9, Replacement: new("tsk_2"), Queued: 3,
		}),
		slotEvent("e-5", &slotdv1.SlotEvent{Slot: "s", Phase: "idle", Time: 10}),
		&slotdv1.Event{Id: "e-9", Kind: &slotdv1.Event_Gap{Gap: &slotdv1.GapEvent{Skipped: 4, Time: 11}}},
	)
	for _, want := range []string{
		"event: task\nid: e-1\n" + `data: {"type":"task","slot":"s","taskId":"tsk_1","phase":"TASK_STATUS_RUNNING","attempt":1,"time":1712750400000,"terminal":false,"resourceVersion":2,"node":"n\"1","deleted":false}`,
		"event: task\nid: e-2\n" + `data: {"type":"task","slot":"s","taskId":"tsk_1","phase":"TASK_STATUS_FAILED","reason":"NonZeroExit","attempt":1,"time":5,"terminal":false,"resourceVersion":3,"exitCode":0,"nextAttemptAt":7,"deleted":false}`,
		"event: task\nid: e-3\n" + `data: {"type":"task","slot":"s","taskId":"tsk_1","phase":"TASK_STATUS_FAILED","reason":"Signaled","attempt":2,"time":8,"terminal":true,"resourceVersion":4,"signal":9,"deleted":true}`,
		"event: slot\nid: e-4\n" + `data: {"type":"slot","slot":"s","taskId":"tsk_1","phase":"retiring","reason":"Replaced","attempt":2,"time":9,"replacement":"tsk_2","queued":3}`,
		"event: slot\nid: e-5\n" + `data: {"type":"slot","slot":"s","phase":"idle","attempt":0,"time":10,"queued":0}`,
		"event: gap\nid: e-9\n" + `data: {"type":"gap","skipped":4,"time":11}`,
	} {
		got := frame(t, reader)
		if diff := cmp.Diff(want+"\n", got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		_, data, _ := strings.Cut(got, "data: ")
		if !json.Valid([]byte(data)) {
			t.Errorf("%s is not JSON", data)
		}
	}
	close(n.events.batches)
	readOff(t, response)
	receive(t, n.events.closed, "the end of the cursor")
}

// In a silence the client learns how far the stream has come: so it does not come back to what it never wanted.
func TestASilentEventStreamTellsItsPlace(t *testing.T) {
	n := start(t, rest.Config{KeepAlive: time.Millisecond})
	response := n.begin(t.Context(), "GET", "/api/v1/events", nil)
	reader := bufio.NewReader(response.Body)
	for i, want := range []string{"id: e-0\n", ": keep-alive\nid: e-0\n", ": keep-alive\nid: e-0\n"} {
		if got := frame(t, reader); got != want {
			t.Errorf("frame %d: got %q, want %q", i, got, want)
		}
	}
	n.events.mu.Lock()
	n.events.position = "e-7"
	n.events.mu.Unlock()
	for frame(t, reader) != ": keep-alive\nid: e-7\n" {
		continue
	}
	close(n.events.batches)
	readOff(t, response)
}

func TestEveryEventParameterArrives(t *testing.T) {
	n := start(t, rest.Config{})
	close(n.events.batches)
	for query, want := range map[string]string{
		"":                             "",
		"slot=a&task=tsk_1":            "slot a task tsk_1",
		"label=app%3Dweb":              "label app=web",
		"label=app%3Dweb&label=!old":   "label app=web,!old",
		"slot=unused&label=tier+in(a)": "slot unused label tier=a",
	} {
		if got := n.do("GET", "/api/v1/events?"+query, ""); got.status != 200 {
			t.Errorf("%s: %d %s", query, got.status, got.body)
		}
		q := n.events.query
		var got []string
		for _, part := range []struct{ name, value string }{{"slot", q.Slot}, {"task", q.Task}, {"label", q.Selector.String()}} {
			if part.value != "" {
				got = append(got, part.name, part.value)
			}
		}
		if strings.Join(got, " ") != want || q.After != "" {
			t.Errorf("%s: got %q after %q, want %q", query, got, q.After, want)
		}
	}
	n.do("GET", "/api/v1/events", "", "Last-Event-ID: e-17")
	if n.events.query.After != "e-17" {
		t.Errorf("After = %q", n.events.query.After)
	}
	for query, says := range map[string]string{
		"slot=":         "slot cannot be empty",
		"slot=a/b":      "slot",
		"slot=a&slot=b": "slot is given more than once",
		"task=":         "task_id cannot be empty",
		"label=%3D":     "label_selector",
		"after=e-1":     "unknown parameter",
	} {
		n.do("GET", "/api/v1/events?"+query, "").refuses(t, 400, "InvalidRequest", says)
	}
	n.do("POST", "/api/v1/events", "").refuses(t, 405, "MethodNotAllowed", "GET")
}

func TestAnEventStreamThatCanNotBegin(t *testing.T) {
	n := start(t, rest.Config{})
	n.events.refusal = &messages.RejectionError{Rejection: messages.Reject(messages.LabelInvalidRequest, "after: not an event id", 0)}
	n.do("GET", "/api/v1/events", "", "Last-Event-ID: x").refuses(t, 400, "InvalidRequest", "not an event id")
	n.events.refusal = errors.New("secret cause")
	n.do("GET", "/api/v1/events", "").refuses(t, 500, "Internal", "something inside slotd failed")
}

func TestTheNewestEventCanBeAskedFor(t *testing.T) {
	n := start(t, rest.Config{})
	got := n.do("HEAD", "/api/v1/events?slot=a", "")
	if got.status != 200 || got.header.Get("Last-Event-ID") != "e-0" || got.body != "" {
		t.Errorf("got %d %q %q", got.status, got.header.Get("Last-Event-ID"), got.body)
	}
	receive(t, n.events.closed, "the end of the cursor")
}

func TestAnEventStreamEndsWithTheServer(t *testing.T) {
	n := start(t, rest.Config{})
	response := n.begin(t.Context(), "GET", "/api/v1/events", nil)
	reader := bufio.NewReader(response.Body)
	frame(t, reader)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.server.Shutdown(ctx); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	if left, err := io.ReadAll(reader); err != nil || len(left) > 0 {
		t.Errorf("the stream ends with %q, %v", left, err)
	}
	receive(t, n.events.closed, "the end of the cursor")
	if err := response.Body.Close(); err != nil {
		t.Error(err)
	}
}

func TestAStoppedReaderOfEventsIsDropped(t *testing.T) {
	n := start(t, rest.Config{WriteTimeout: 500 * time.Millisecond})
	stopped := dial(t, n, "GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
	if tcp, ok := stopped.(*net.TCPConn); ok {
		if err := tcp.SetReadBuffer(4096); err != nil {
			t.Fatal(err)
		}
	}
	long := taskEvent("e-1", &slotdv1.TaskEvent{Slot: strings.Repeat("s", 1<<20)})
	for open := true; open; {
		select {
		case n.events.batches <- []*slotdv1.Event{long}:
		case <-n.events.closed:
			open = false
		case <-time.After(patience):
			t.Fatal("the stopped reader was not dropped")
		}
		if got := n.do("GET", "/healthz", ""); got.status != 200 {
			t.Errorf("meanwhile: got %d", got.status)
		}
	}
}

func TestNodes(t *testing.T) {
	n := start(t, rest.Config{})
	n.do("GET", "/api/v1/nodes", "").is(t, 200, `{"nodes":[{"name":"here","self":true,"ready":true,"problem":"","version":"","startedAt":"0","labels":{},"kinds":[],"attemptsRunning":"0","tasksActive":"0"}]}`)
	if got := n.do("HEAD", "/api/v1/nodes", ""); got.status != http.StatusOK || got.body != "" {
		t.Errorf("HEAD: %d %q", got.status, got.body)
	}
	n.do("GET", "/api/v1/nodes?name=x", "").refuses(t, 400, "InvalidRequest", "this route takes none")
}
