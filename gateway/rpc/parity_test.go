package rpc_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"slotd/gateway/ask"
	"slotd/gateway/rest"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// overHTTP is the HTTP API in front of the same node.
func (n *node) overHTTP() http.Handler {
	n.t.Helper()
	system := actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }))
	pid := system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
		if command, ok := c.Message().(proto.Message); ok && c.Sender() != nil {
			n.mu.Lock()
			defer n.mu.Unlock()
			c.Respond(n.answer(command))
		}
	}))
	n.t.Cleanup(func() {
		if err := system.Root.StopFuture(pid).Wait(); err != nil {
			n.t.Error(err)
		}
		system.Shutdown()
	})
	server, err := rest.New(rest.Config{}, rest.Deps{
		Registry: ask.New(system.Root, pid), Reader: n, Logs: logs{n}, Version: &slotdv1.VersionResponse{}, Logger: hclog.NewNullLogger(),
	})
	if err != nil {
		n.t.Fatal(err)
	}
	return server.Handler()
}

// told is how a client hears of a refusal: its label and its sentence.
type told struct{ Error, Message string }

func overREST(t testing.TB, h http.Handler, method, path string, body []byte) told {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, bytes.NewReader(body))
	r.Host = "localhost"
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var got told
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatalf("%s %s: %s: %v", method, path, w.Body, err)
	}
	return got
}

func toldBy(err error) told {
	s := status.Convert(err)
	return told{labelOf(s), s.Message()}
}

// onlyJSON is what HTTP adds where a mistake is found while the JSON is read.
const onlyJSON = "; correct the request body and send it again"

func TestBadSpecsAreRefusedInTheSameWordsAsOverHTTP(t *testing.T) {
	n := start(t)
	h := n.overHTTP()
	with := func(change func(*soltiv1.CreateSpec)) *soltiv1.CreateSpec {
		s := spec("a")
		change(s)
		return s
	}
	script := func(s *soltiv1.ScriptMode) *soltiv1.CreateSpec {
		return with(func(c *soltiv1.CreateSpec) {
			c.GetKind().GetSubprocess().Mode = &soltiv1.SubprocessTask_Script{Script: s}
		})
	}
	for name, bad := range map[string]*soltiv1.CreateSpec{
		"none":              nil,
		"empty":             {},
		"blank slot":        with(func(s *soltiv1.CreateSpec) { s.Slot = " " }),
		"slot with a slash": with(func(s *soltiv1.CreateSpec) { s.Slot = "a/b" }),
		"no timeout":        with(func(s *soltiv1.CreateSpec) { s.TimeoutMs = 0 }),
		"a long timeout":    with(func(s *soltiv1.CreateSpec) { s.TimeoutMs = 1 << 63 }),
		"no variant":        with(func(s *soltiv1.CreateSpec) { s.Kind = &soltiv1.TaskKind{} }),
		"no mode":           with(func(s *soltiv1.CreateSpec) { s.GetKind().GetSubprocess().Mode = nil }),
		"a NUL in the env":  with(func(s *soltiv1.CreateSpec) { s.GetKind().GetSubprocess().Env[1].Value = "hunter2\x00" }),
		"= in a key":        with(func(s *soltiv1.CreateSpec) { s.GetKind().GetSubprocess().Env[0].Key = "A=B" }),
		"restart 9":         with(func(s *soltiv1.CreateSpec) { s.Restart = 9 }),
		"restart -1":        with(func(s *soltiv1.CreateSpec) { s.Restart = -1 }),
		"admission 4":       with(func(s *soltiv1.CreateSpec) { s.Admission = 4 }),
		"jitter 5": with(func(s *soltiv1.CreateSpec) {
			s.Backoff = &soltiv1.BackoffStrategy{Jitter: 5, FirstMs: 1, MaxMs: 1, Factor: 1}
		}),
		"backoff":            with(func(s *soltiv1.CreateSpec) { s.Backoff = &soltiv1.BackoffStrategy{FirstMs: 2, MaxMs: 1, Factor: 0.5} }),
		"labels":             with(func(s *soltiv1.CreateSpec) { s.Labels = map[string]string{"-": "x", "ok": "!"} }),
		"limits":             with(func(s *soltiv1.CreateSpec) { s.Limits = &soltiv1.ResourceLimits{Pids: new(uint64(0))} }),
		"runtime 0":          script(&soltiv1.ScriptMode{Runtime: &soltiv1.ScriptMode_WellKnown{}, Body: "eA=="}),
		"runtime 9":          script(&soltiv1.ScriptMode{Runtime: &soltiv1.ScriptMode_WellKnown{WellKnown: 9}, Body: "eA=="}),
		"no runtime, base64": script(&soltiv1.ScriptMode{Body: "?"}),
		"operator 7": with(func(s *soltiv1.CreateSpec) {
			s.RunnerSelector = &soltiv1.RunnerSelector{MatchExpressions: []*soltiv1.SelectorRequirement{{Key: "k", Operator: 7}}}
		}),
		"container": with(func(s *soltiv1.CreateSpec) {
			s.Kind = &soltiv1.TaskKind{Kind: &soltiv1.TaskKind_Container{Container: &soltiv1.ContainerTask{Pull: new("often")}}}
		}),
	} {
		request := &soltiv1.SubmitTaskRequest{Spec: bad}
		body, err := protojson.Marshal(request)
		if err != nil {
			t.Fatal(err)
		}
		want := overREST(t, h, http.MethodPost, "/api/v1/tasks", body)
		_, err = n.tasks.SubmitTask(within(t), request)
		got := toldBy(err)
		if got.Error != "InvalidRequest" || got.Error != want.Error || got.Message != strings.TrimSuffix(want.Message, onlyJSON) || strings.Contains(got.Message, "hunter2") {
			t.Errorf("%s:\ngRPC says %q\nHTTP says %q", name, got, want)
		}
	}
	if n.last() != nil {
		t.Errorf("%v was sent", n.last())
	}
}

func TestOtherRefusalsAreInTheSameWordsAsOverHTTP(t *testing.T) {
	n := start(t)
	h := n.overHTTP()
	n.change(func() {
		n.answer = func(command proto.Message) proto.Message {
			if command, ok := command.(*slotdv1.Cancel); ok {
				return messages.TaskNotFound(command.GetTaskId())
			}
			return messages.Reject(messages.LabelQueueFull, "the queue of slot a is full", 0)
		}
	})
	good, err := protojson.Marshal(&soltiv1.SubmitTaskRequest{Spec: spec("a")})
	if err != nil {
		t.Fatal(err)
	}
	call := func(method string, request proto.Message) error {
		return n.conn.Invoke(within(t), method, request, &soltiv1.SubmitTaskResponse{}, grpc.WaitForReady(true))
	}
	const tasks, supervisor = "/solti.v1.SoltiApi/", "/slotd.v1.Supervisor/"
	for name, c := range map[string]struct {
		method, path string
		body         []byte
		rpc          string
		request      proto.Message
	}{
		"get unknown":    {http.MethodGet, "/api/v1/tasks/tsk_x", nil, tasks + "GetTaskStatus", &soltiv1.GetTaskStatusRequest{TaskId: "tsk_x"}},
		"get blank":      {http.MethodGet, "/api/v1/tasks/%20", nil, tasks + "GetTaskStatus", &soltiv1.GetTaskStatusRequest{TaskId: " "}},
		"wait for":       {http.MethodGet, "/api/v1/tasks/tsk_x?for=done", nil, tasks + "GetTaskStatus", &soltiv1.GetTaskStatusRequest{TaskId: "tsk_x", WaitFor: new("done")}},
		"runs unknown":   {http.MethodGet, "/api/v1/tasks/tsk_x/runs", nil, tasks + "ListTaskRuns", &soltiv1.ListTaskRunsRequest{TaskId: "tsk_x"}},
		"list slot":      {http.MethodGet, "/api/v1/tasks?slot=", nil, tasks + "ListTasks", &soltiv1.ListTasksRequest{Slot: new("")}},
		"list selector":  {http.MethodGet, "/api/v1/tasks?label=!!", nil, tasks + "ListTasks", &soltiv1.ListTasksRequest{LabelSelector: "!!"}},
		"cancel unknown": {http.MethodPost, "/api/v1/tasks/tsk_x/cancel", nil, supervisor + "CancelTask", &slotdv1.CancelTaskRequest{TaskId: "tsk_x"}},
		"slot":           {http.MethodGet, "/api/v1/slots/a%20b", nil, supervisor + "GetSlot", &slotdv1.GetSlotRequest{Slot: "a b"}},
		"purge":          {http.MethodPost, "/api/v1/slots/a/purge", nil, supervisor + "PurgeSlotTasks", &slotdv1.PurgeSlotTasksRequest{Slot: "a"}},
		"queue full":     {http.MethodPost, "/api/v1/tasks", good, tasks + "SubmitTask", &soltiv1.SubmitTaskRequest{Spec: spec("a")}},
		"no batch":       {http.MethodPost, "/api/v1/tasks/batch", []byte(`{"specs":[]}`), supervisor + "SubmitTasks", &slotdv1.SubmitTasksRequest{}},
		"empty key": {
			http.MethodPost, "/api/v1/tasks", []byte(strings.TrimSuffix(string(good), "}") + `,"idempotencyKey":""}`),
			tasks + "SubmitTask", &soltiv1.SubmitTaskRequest{Spec: spec("a"), IdempotencyKey: new("")},
		},
	} {
		want := overREST(t, h, c.method, c.path, c.body)
		if got := toldBy(call(c.rpc, c.request)); got != want || got.Error == "" {
			t.Errorf("%s:\ngRPC says %q\nHTTP says %q", name, got, want)
		}
	}
}
