package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"slotd/gateway/client"
	"slotd/messages"
	soltiv1 "slotd/messages/solti/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve starts a server for one test and returns a client of it.
func serve(t *testing.T, h http.HandlerFunc) *client.Client {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return dial(t, server.URL)
}

func dial(t *testing.T, addr string) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{Addr: addr, Source: "the test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func reply(t *testing.T, w http.ResponseWriter, m proto.Message) {
	t.Helper()
	body, err := protojson.Marshal(m)
	if err != nil {
		t.Error(err)
	}
	w.Header().Set("Content-Type", "application/json")
	if _, err := w.Write(body); err != nil {
		t.Error(err)
	}
}

func write(t *testing.T, w io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Error(err)
	}
}

func task(id string, status *soltiv1.TaskStatusInfo) *soltiv1.TaskData {
	return &soltiv1.TaskData{Metadata: &soltiv1.ObjectMeta{Id: id}, Status: status}
}

const someID = "tsk_01KAV000000000000000000070"

func TestAddressForms(t *testing.T) {
	for _, tc := range []struct{ addr, want string }{
		{"", "http://127.0.0.1:8085"},
		{"localhost:9", "http://localhost:9"},
		{"http://h:1/", "http://h:1"},
		{"https://h:1/base", "https://h:1/base"},
		{"unix:///run/s.sock", "unix:///run/s.sock"},
	} {
		if got := dial(t, tc.addr).Addr(); got != tc.want {
			t.Errorf("%q: got %q, want %q", tc.addr, got, tc.want)
		}
	}
	for _, bad := range []string{"unix://relative", "ftp://h:1", "http://", "http://u:p@h:1", "http://h:1?x=1", "http://h:1#f", "http://[::1"} {
		if _, err := client.New(client.Config{Addr: bad}); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("%q: got %v, want an error that quotes it", bad, err)
		}
	}
}

func TestSubmitSendsTheSpecAndTheKey(t *testing.T) {
	spec := &soltiv1.CreateSpec{Slot: "s", TimeoutMs: 5, Labels: map[string]string{"a": "b"}}
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		var got soltiv1.SubmitTaskRequest
		if err := protojson.Unmarshal(body, &got); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(&soltiv1.SubmitTaskRequest{Spec: spec}, &got, protocmp.Transform()); diff != "" {
			t.Error(diff)
		}
		if got := r.Method + " " + r.URL.Path + " " + r.Header.Get("Idempotency-Key") + " " + r.Header.Get("Content-Type"); got != "POST /api/v1/tasks k1 application/json" {
			t.Errorf("got %s", got)
		}
		w.WriteHeader(http.StatusCreated)
		reply(t, w, &soltiv1.SubmitTaskResponse{TaskId: someID})
	})
	got, err := c.Submit(t.Context(), spec, "k1")
	if err != nil || got != someID {
		t.Fatalf("got %q, %v", got, err)
	}
}

func TestRefusalsKeepTheDaemonsWords(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusTooManyRequests)
		write(t, w, `{"error":"QueueFull","message":"the queue of slot \"s\" is full"}`)
	})
	_, err := c.Submit(t.Context(), &soltiv1.CreateSpec{}, "")
	var got *client.Error
	if !errors.As(err, &got) {
		t.Fatalf("got %v", err)
	}
	want := client.Error{Status: 429, Label: "QueueFull", Message: `the queue of slot "s" is full`, RetryAfter: 7 * time.Second}
	if diff := cmp.Diff(want, *got); diff != "" {
		t.Error(diff)
	}
}

func TestAnswersOfSomebodyElseAreNotSlotds(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			write(t, w, "<html>hello</html>")
			return
		}
		http.Error(w, "404 page not found\nmore", http.StatusNotFound)
	})
	_, err := c.Get(t.Context(), someID)
	if err == nil || client.NotFound(err) || err.Error() != "unexpected answer (HTTP 404): 404 page not found" {
		t.Errorf("got %v", err)
	}
	if _, err := c.Submit(t.Context(), &soltiv1.CreateSpec{}, ""); err == nil || !strings.Contains(err.Error(), "not what slotd answers") {
		t.Errorf("got %v", err)
	}
}

func TestUnreachableTellsAddressAndSource(t *testing.T) {
	for _, addr := range []string{"http://" + freePort(t), "unix://" + filepath.Join(t.TempDir(), "none.sock")} {
		_, err := dial(t, addr).Get(t.Context(), someID)
		var got *client.UnreachableError
		if !errors.As(err, &got) || got.Addr != addr || got.Source != "the test" {
			t.Errorf("got %v", err)
		}
		if !strings.Contains(err.Error(), "no slotd answers at "+addr+" (the test): ") {
			t.Errorf("got %v", err)
		}
	}
}

// freePort is an address on which nobody listens.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return addr
}

func TestUnixSocketCarriesTheAPI(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		reply(t, w, &soltiv1.GetTaskStatusResponse{Task: task(someID, nil)})
	}))
	if err := server.Listener.Close(); err != nil {
		t.Fatal(err)
	}
	server.Listener = l
	server.Start()
	t.Cleanup(server.Close)
	got, err := dial(t, "unix://"+path).Get(t.Context(), someID)
	if err != nil || got.GetMetadata().GetId() != someID {
		t.Fatalf("got %v, %v", got, err)
	}
}

// cutOff breaks the connection under a request.
func cutOff(t *testing.T, w http.ResponseWriter) {
	t.Helper()
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
}

func TestOnlyHarmlessRequestsAreRepeated(t *testing.T) {
	var calls atomic.Int32
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) < 3 {
			cutOff(t, w)
			return
		}
		if r.Method == http.MethodPost {
			reply(t, w, &soltiv1.SubmitTaskResponse{TaskId: someID})
			return
		}
		reply(t, w, &soltiv1.GetTaskStatusResponse{Task: task(someID, nil)})
	})
	for _, tc := range []struct {
		name  string
		call  func() error
		fails bool
		sent  int32
	}{
		{"get", func() error { _, err := c.Get(t.Context(), someID); return err }, false, 3},
		{"submit with a key", func() error { _, err := c.Submit(t.Context(), &soltiv1.CreateSpec{}, "k"); return err }, false, 3},
		{"submit", func() error { _, err := c.Submit(t.Context(), &soltiv1.CreateSpec{}, ""); return err }, true, 1},
	} {
		calls.Store(0)
		if err := tc.call(); (err != nil) != tc.fails {
			t.Errorf("%s: got %v", tc.name, err)
		}
		if got := calls.Load(); got != tc.sent {
			t.Errorf("%s: sent %d times, want %d", tc.name, got, tc.sent)
		}
	}
}

func TestWaitAsksUntilItHolds(t *testing.T) {
	var calls atomic.Int32
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if got := r.URL.RawQuery; got != "for=running&wait=60000ms" {
			t.Errorf("got query %s", got)
		}
		status := &soltiv1.TaskStatusInfo{Phase: soltiv1.TaskStatus_TASK_STATUS_PENDING}
		if calls.Add(1) == 3 {
			status.Phase = soltiv1.TaskStatus_TASK_STATUS_RUNNING
		}
		reply(t, w, &soltiv1.GetTaskStatusResponse{Task: task(someID, status)})
	})
	got, err := c.Wait(t.Context(), someID, client.Running)
	if err != nil || got.GetStatus().GetPhase() != soltiv1.TaskStatus_TASK_STATUS_RUNNING || calls.Load() != 3 {
		t.Fatalf("got %v, %v after %d calls", got, err, calls.Load())
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	c := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(10*time.Millisecond, func() { cancel(why) })
	if _, err := c.Wait(ctx, someID, client.Terminal); !errors.Is(err, why) {
		t.Fatalf("got %v", err)
	}
}

func TestWantHolds(t *testing.T) {
	running := task("", &soltiv1.TaskStatusInfo{Phase: soltiv1.TaskStatus_TASK_STATUS_RUNNING})
	ended := task("", &soltiv1.TaskStatusInfo{Phase: soltiv1.TaskStatus_TASK_STATUS_FAILED, Terminal: true})
	retrying := task("", &soltiv1.TaskStatusInfo{Phase: soltiv1.TaskStatus_TASK_STATUS_FAILED})
	got := []bool{
		client.Running.Holds(running), client.Running.Holds(ended), client.Running.Holds(retrying),
		client.Terminal.Holds(running), client.Terminal.Holds(ended), client.Want("").Holds(running),
	}
	if diff := cmp.Diff([]bool{true, true, false, false, true, false}, got); diff != "" {
		t.Error(diff)
	}
}

func TestListSendsItsFilter(t *testing.T) {
	terminal := false
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		want := "id=tsk_0&label=a+in+%28b%29&limit=5&newest=true&offset=3&slot=s&status=timeout&terminal=false"
		if r.URL.RawQuery != want {
			t.Errorf("got %s, want %s", r.URL.RawQuery, want)
		}
		reply(t, w, &soltiv1.ListTasksResponse{Total: 9})
	})
	page, err := c.List(t.Context(), client.Filter{
		Slot: "s", Status: soltiv1.TaskStatus_TASK_STATUS_TIMEOUT, Selector: "a in (b)", IDPrefix: "tsk_0",
		Terminal: &terminal, Limit: 5, Offset: 3, Newest: true,
	})
	if err != nil || page.GetTotal() != 9 {
		t.Fatalf("got %v, %v", page, err)
	}
}

// book is a list of tasks that changes while it is read.
type book struct {
	ids    []string
	pages  int
	before func(page int, b *book)
}

func (b *book) serve(t *testing.T) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		b.pages++
		if b.before != nil {
			b.before(b.pages, b)
		}
		var limit, offset int
		q := r.URL.Query()
		for name, into := range map[string]*int{"limit": &limit, "offset": &offset} {
			if text := q.Get(name); text != "" {
				if err := json.Unmarshal([]byte(text), into); err != nil {
					t.Error(err)
				}
			}
		}
		page := &soltiv1.ListTasksResponse{Total: uint32(len(b.ids))}
		for i := offset; i < min(offset+limit, len(b.ids)); i++ {
			page.Tasks = append(page.Tasks, task(b.ids[i], nil))
		}
		reply(t, w, page)
	}
}

func collect(t *testing.T, c *client.Client, limit uint32) []string {
	t.Helper()
	var got []string
	for task, err := range c.All(t.Context(), client.Filter{Limit: limit}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, task.GetMetadata().GetId())
	}
	return got
}

func TestAllYieldsEachTaskOnce(t *testing.T) {
	var ids []string
	for i := range 23 {
		ids = append(ids, fmt.Sprintf("tsk_%02d", i))
	}
	for _, limit := range []uint32{2, 3, 10, 22, 23, 24} {
		b := &book{ids: ids}
		if diff := cmp.Diff(ids, collect(t, serve(t, b.serve(t)), limit)); diff != "" {
			t.Errorf("limit %d: %s", limit, diff)
		}
	}
	if got := collect(t, serve(t, (&book{}).serve(t)), 5); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

func TestAllMissesNothingWhenTasksGoMeanwhile(t *testing.T) {
	var ids []string
	for i := range 20 {
		ids = append(ids, fmt.Sprintf("tsk_%02d", i))
	}
	b := &book{ids: append([]string(nil), ids...)}
	b.before = func(page int, b *book) {
		switch page {
		case 2:
			b.ids = b.ids[3:] // the oldest are purged
		case 4:
			b.ids = append(b.ids[3:], "tsk_20") // and a new one comes
		}
	}
	if diff := cmp.Diff(append(ids, "tsk_20"), collect(t, serve(t, b.serve(t)), 4)); diff != "" {
		t.Error(diff)
	}
}

func TestCancelAndDeleteSpeakTheRoutes(t *testing.T) {
	var got []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Method+" "+r.URL.RequestURI()+" "+r.Header.Get("If-Match"))
		if r.Method == http.MethodDelete {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		write(t, w, `{"task":{"metadata":{"id":"x"}},"taskIds":["a"],"fieldOfTheFuture":1}`)
	})
	if _, err := c.Cancel(t.Context(), "x"); err != nil {
		t.Error(err)
	}
	if task, err := c.CancelWithin(t.Context(), "x", 0); err != nil || task.GetMetadata().GetId() != "x" {
		t.Error(task, err)
	}
	if err := c.Delete(t.Context(), "x"); err != nil {
		t.Error(err)
	}
	if err := c.DeleteVersion(t.Context(), "x", 12); err != nil {
		t.Error(err)
	}
	if ids, err := c.Purge(t.Context(), "s", true); err != nil || len(ids) != 1 {
		t.Error(ids, err)
	}
	want := []string{
		"POST /api/v1/tasks/x/cancel ",
		"POST /api/v1/tasks/x/cancel?grace=0ms ",
		"DELETE /api/v1/tasks/x ",
		`DELETE /api/v1/tasks/x "12"`,
		"POST /api/v1/slots/s/purge?holder=true ",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestIdsNeverLeaveTheirPlaceInThePath(t *testing.T) {
	var paths []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		paths = append(paths, r.URL.EscapedPath())
		w.WriteHeader(http.StatusNoContent)
	})
	for _, id := range []string{"", ".", ".."} {
		var refused *client.Error
		if err := c.Delete(t.Context(), id); !errors.As(err, &refused) || refused.Label != messages.LabelInvalidRequest {
			t.Errorf("%q: got %v", id, err)
		}
	}
	if err := c.Delete(t.Context(), "a/../b?c"); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"/api/v1/tasks/a%2F..%2Fb%3Fc"}, paths); diff != "" {
		t.Error(diff)
	}
}

func TestResolve(t *testing.T) {
	known := []string{"tsk_01A0", "tsk_01B0", "tsk_01B1", "tsk_01B2", "tsk_01B3", "tsk_01B4"}
	var asked int
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked++
		page := &soltiv1.ListTasksResponse{}
		for _, id := range known {
			if strings.HasPrefix(id, r.URL.Query().Get("id")) {
				if page.Total++; page.GetTotal() <= 4 {
					page.Tasks = append(page.Tasks, task(id, nil))
				}
			}
		}
		reply(t, w, page)
	})
	if got, err := c.Resolve(t.Context(), someID); got != someID || err != nil || asked != 0 {
		t.Errorf("got %s, %v, asked %d times", got, err, asked)
	}
	if got, err := c.Resolve(t.Context(), "tsk_01A"); got != "tsk_01A0" || err != nil {
		t.Errorf("got %s, %v", got, err)
	}
	var many *client.AmbiguousError
	if _, err := c.Resolve(t.Context(), "tsk_01B"); !errors.As(err, &many) || many.Total != 5 ||
		err.Error() != `"tsk_01B" is short for 5 tasks: tsk_01B0, tsk_01B1, tsk_01B2, tsk_01B3 and 1 more` {
		t.Errorf("got %v", err)
	}
	for _, none := range []string{"tsk_7", "nonsense"} {
		if _, err := c.Resolve(t.Context(), none); !client.NotFound(err) {
			t.Errorf("%s: got %v", none, err)
		}
	}
}
