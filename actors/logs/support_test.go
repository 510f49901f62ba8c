package logs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

const (
	stdout = soltiv1.OutputStreamKind_OUTPUT_STREAM_KIND_STDOUT
	stderr = soltiv1.OutputStreamKind_OUTPUT_STREAM_KIND_STDERR
	taskID = "tsk_01J00000000000000000000000"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// house is Logs in a folder that outlives it, and what the rest of the node would know of its one task.
type house struct {
	t      testing.TB
	config Config
	logs   *Logs
	task   *fakeTask

	now     atomic.Int64 // Unix milliseconds, moved by tests
	life    uint64
	writers map[streamOf]*Writer
}

type streamOf struct {
	attempt uint32
	stream  soltiv1.OutputStreamKind
}

// fakeTask is the task's side of the catalog.
type fakeTask struct {
	mu       sync.Mutex
	runs     []*slotdv1.RunRecord
	terminal bool
	asked    int
}

func (f *fakeTask) Runs(context.Context) ([]*slotdv1.RunRecord, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	return append([]*slotdv1.RunRecord(nil), f.runs...), nil
}

func (f *fakeTask) Terminal() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.terminal
}

func newHouse(t testing.TB, edit ...func(*Config)) *house {
	t.Helper()
	h := &house{t: t, config: Config{Dir: t.TempDir()}, task: &fakeTask{}}
	h.now.Store(5000)
	for _, e := range edit {
		e(&h.config)
	}
	h.open()
	t.Cleanup(func() { h.shutdown() })
	return h
}

func (h *house) open() {
	h.t.Helper()
	l, err := Open(h.config, hclog.NewNullLogger())
	if err != nil {
		h.t.Fatal(err)
	}
	l.now = func() time.Time { return time.UnixMilli(h.now.Load()) }
	l.retryAfter = time.Hour // tests say when, see mend
	h.life++
	l.epoch = h.life // tests are faster than the clock
	h.logs, h.writers = l, make(map[streamOf]*Writer)
}

func (h *house) shutdown() {
	h.t.Helper()
	h.hangUp()
	if err := h.logs.Shutdown(); err != nil {
		h.t.Error(err)
	}
}

// mend tries to write what the disk has refused.
func (h *house) mend() {
	h.logs.mend.mu.Lock()
	hubs := slices.Collect(maps.Keys(h.logs.mend.hubs))
	h.logs.mend.mu.Unlock()
	for _, each := range hubs {
		_ = each.mend() // the test sees what comes of it
	}
}

// restart ends this life of the daemon and begins the next.
func (h *house) restart() {
	h.t.Helper()
	h.shutdown()
	h.open()
}

// begin records that an attempt began, at 1000·attempt.
func (h *house) begin(attempt uint32) {
	h.t.Helper()
	run := &slotdv1.RunRecord{TaskId: taskID, Attempt: attempt, StartedAt: 1000 * int64(attempt)}
	h.task.mu.Lock()
	h.task.runs = append(h.task.runs, run)
	h.task.mu.Unlock()
	h.logs.Record(run)
}

// end records that the attempt ended, 500 after it began.
func (h *house) end(attempt uint32, code int32) {
	h.t.Helper()
	h.hangUp()
	run := &slotdv1.RunRecord{
		TaskId: taskID, Attempt: attempt, StartedAt: 1000 * int64(attempt),
		FinishedAt: 1000*int64(attempt) + 500, ExitCode: &code,
	}
	h.task.mu.Lock()
	for i, r := range h.task.runs {
		if r.GetAttempt() == attempt {
			h.task.runs[i] = run
		}
	}
	h.task.mu.Unlock()
	h.logs.Record(run)
}

// close makes the task terminal.
func (h *house) close() {
	h.task.mu.Lock()
	h.task.terminal = true
	h.task.mu.Unlock()
	h.logs.Close(taskID)
}

// print writes lines, each as a block of its own.
func (h *house) print(attempt uint32, stream soltiv1.OutputStreamKind, lines ...string) {
	h.t.Helper()
	key := streamOf{attempt, stream}
	if h.writers[key] == nil {
		h.writers[key] = h.logs.Writer(taskID, attempt, stream)
	}
	for _, line := range lines {
		if _, err := io.WriteString(h.writers[key], line+"\n"); err != nil {
			h.t.Fatal(err)
		}
	}
}

// hangUp closes the writers.
func (h *house) hangUp() {
	h.t.Helper()
	for _, w := range h.writers {
		if err := w.Close(); err != nil {
			h.t.Error(err)
		}
	}
	clear(h.writers)
}

// event is what a client reads.
type event struct {
	Event, ID   string
	Type        string
	Attempt     uint32
	Stream      string
	Seq         uint64
	TS          int64
	Line        string
	Truncated   bool
	StartedAt   int64
	FinishedAt  int64
	ExitCode    *int32
	Signal      *int32
	Skipped     uint64
	rawFrameSSE string
}

// String is the short form that tests compare.
func (e event) String() string {
	switch e.Event {
	case "run-started":
		return fmt.Sprintf("start %d", e.Attempt)
	case "run-finished":
		return fmt.Sprintf("finish %d", e.Attempt)
	case "lagged":
		return fmt.Sprintf("lagged %d", e.Skipped)
	default:
		return e.Line
	}
}

func short(events []event) string {
	s := make([]string, 0, len(events))
	for _, e := range events {
		s = append(s, e.String())
	}
	return strings.Join(s, ", ")
}

// parseSSE reads frames strictly as they are specified.
func parseSSE(t testing.TB, data []byte) []event {
	t.Helper()
	var events []event
	for len(data) > 0 {
		frame, rest, ok := bytes.Cut(data, []byte("\n\n"))
		if !ok {
			t.Fatalf("frame without an end: %.200q", data)
		}
		data = rest
		lines := strings.Split(string(frame), "\n")
		if len(lines) != 3 {
			t.Fatalf("frame of %d lines: %.300q", len(lines), frame)
		}
		var e event
		var ok1, ok2, ok3 bool
		var text string
		e.Event, ok1 = strings.CutPrefix(lines[0], "event: ")
		e.ID, ok2 = strings.CutPrefix(lines[1], "id: ")
		text, ok3 = strings.CutPrefix(lines[2], "data: ")
		if !ok1 || !ok2 || !ok3 {
			t.Fatalf("frame %.300q", frame)
		}
		d := json.NewDecoder(strings.NewReader(text))
		d.DisallowUnknownFields()
		if err := d.Decode(&e); err != nil {
			t.Fatalf("data %.300q: %v", text, err)
		}
		e.rawFrameSSE = string(frame)
		events = append(events, e)
	}
	return events
}

// query makes a LogQuery: tail all unless edited.
func query(edit ...func(*messages.LogQuery)) messages.LogQuery {
	q := messages.LogQuery{HasTail: true, Tail: messages.AllLines}
	for _, e := range edit {
		e(&q)
	}
	return q
}

func follow(q *messages.LogQuery) { q.Follow = true }
func live(q *messages.LogQuery)   { q.HasTail, q.Tail, q.Follow = false, 0, true }

func tail(n uint64) func(*messages.LogQuery) {
	return func(q *messages.LogQuery) { q.HasTail, q.Tail = true, n }
}

func after(id string) func(*messages.LogQuery) {
	return func(q *messages.LogQuery) { q.After = id }
}

func attempt(n uint32) func(*messages.LogQuery) {
	return func(q *messages.LogQuery) { q.Attempt = n }
}

func stream(s soltiv1.OutputStreamKind) func(*messages.LogQuery) {
	return func(q *messages.LogQuery) { q.Stream = s }
}

func since(ms int64) func(*messages.LogQuery) {
	return func(q *messages.LogQuery) { q.Since = ms }
}

// cursor opens one that is closed with the test.
func (h *house) cursor(q messages.LogQuery) *Cursor {
	h.t.Helper()
	c, err := h.logs.Open(h.t.Context(), taskID, q, h.task)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(c.Close)
	return c
}

// read returns everything a query gives until its end.
func (h *house) read(q messages.LogQuery) []event {
	h.t.Helper()
	c := h.cursor(q)
	defer c.Close()
	return drain(h.t, c)
}

// drain reads until the end.
func drain(t testing.TB, c *Cursor) []event {
	t.Helper()
	var events []event
	for {
		b, err := c.Next(deadline(t))
		if errors.Is(err, io.EOF) {
			return events
		}
		if err != nil {
			t.Fatal(err)
		}
		got := parseSSE(t, b.Data)
		if len(got) != b.Events || len(got) == 0 {
			t.Fatalf("batch says %d events and has %d", b.Events, len(got))
		}
		events = append(events, got...)
	}
}

// want reads as many events as are expected, which must be available or come.
func want(t testing.TB, c *Cursor, expected string) []event {
	t.Helper()
	n := len(strings.Split(expected, ", "))
	var events []event
	for len(events) < n {
		b, err := c.Next(deadline(t))
		if err != nil {
			t.Fatalf("after %q: %v", short(events), err)
		}
		events = append(events, parseSSE(t, b.Data)...)
	}
	if got := short(events); got != expected {
		t.Fatalf("got %q, want %q", got, expected)
	}
	return events
}

// wantNothing fails if there is an event now.
func wantNothing(t testing.TB, c *Cursor) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if b, err := c.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %q, %v, want to wait", b.Data, err)
	}
}

func deadline(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func ids(events []event) []string {
	var s []string
	for _, e := range events {
		s = append(s, e.ID)
	}
	return s
}

func segmentFiles(t testing.TB, h *house) []string {
	t.Helper()
	paths, err := listSegments(h.config.Dir + "/" + taskID)
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func fileSize(t testing.TB, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}
