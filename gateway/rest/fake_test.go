package rest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"slotd/gateway"
	"slotd/gateway/ask"
	"slotd/gateway/auth"
	"slotd/gateway/rest"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The first actor system of a process starts this for good.
		goleak.IgnoreTopFunction("github.com/asynkron/protoactor-go/actor.NewThrottle.func1"),
	)
}

// patience bounds every wait of these tests.
const patience = 10 * time.Second

// node is a fake slotd behind a real server: an actor that answers commands, a reader and logs, all held by the test.
type node struct {
	t      *testing.T
	server *rest.Server
	url    string
	log    *lines

	mu       sync.Mutex
	tasks    map[string]*soltiv1.TaskData
	answer   func(command proto.Message) proto.Message // nil = never
	commands []proto.Message
	waiting  chan struct{} // receives once per Wait that blocks
	changed  chan struct{} // closed and replaced by set
	ready    error
	query    messages.Query
	logQuery messages.LogQuery
	open     func(ctx context.Context, q messages.LogQuery) (gateway.Cursor, error)
	panics   bool
	events   *transitions

	undescribed bool // its answers are such as no real node gives, so they are not held against the OpenAPI document

	served []<-chan error
}

// start brings a node up on a loopback port and takes it down at the end of the test.
func start(t *testing.T, config rest.Config) *node {
	t.Helper()
	return startBehind(t, nil, config)
}

// startBehind is start with a gate.
func startBehind(t *testing.T, gate *auth.Gate, config rest.Config) *node {
	t.Helper()
	n := &node{
		t: t, log: &lines{}, events: newTransitions(), tasks: map[string]*soltiv1.TaskData{}, waiting: make(chan struct{}, 16), changed: make(chan struct{}),
		answer: func(proto.Message) proto.Message { return &slotdv1.Submitted{TaskId: "tsk_new"} },
	}
	system := actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }), actor.WithDeadLetterRequestLogging(false))
	pid := system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
		command, ok := c.Message().(proto.Message)
		if !ok || c.Sender() == nil {
			return
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		if many, ok := command.(*slotdv1.SubmitTasks); ok {
			for i, submit := range many.GetSubmits() {
				n.commands = append(n.commands, submit)
				asker := many.GetAskers()[i]
				c.Send(&actor.PID{Address: c.Self().GetAddress(), Id: asker.GetId(), RequestId: asker.GetRequest()}, n.answer(submit))
			}
			return
		}
		n.commands = append(n.commands, command)
		if answer := n.answer(command); answer != nil {
			c.Respond(answer)
		}
	}))
	server, err := rest.New(config, rest.Deps{
		Registry: ask.New(system.Root, pid), Reader: n, Logs: n, Events: n.events,
		Version: &slotdv1.VersionResponse{Version: "1.2.3", Commit: "abc", Go: "go1.26", Api: "v1"},
		Gate:    gate,
		Logger:  hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: n.log, JSONFormat: true}),
	})
	if err != nil {
		t.Fatal(err)
	}
	n.server = server
	n.url = "http://" + n.serve("tcp", "127.0.0.1:0").String()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		for _, done := range n.served {
			if err := receive(t, done, "the end of Serve"); err != nil {
				t.Errorf("serve: %v", err)
			}
		}
		if err := system.Root.StopFuture(pid).Wait(); err != nil {
			t.Errorf("stop the registry: %v", err)
		}
		system.Shutdown()
	})
	return n
}

// serve adds a listener and returns its address.
func (n *node) serve(network, address string) net.Addr {
	n.t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(n.t.Context(), network, address)
	if err != nil {
		n.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- n.server.Serve(l) }()
	n.served = append(n.served, done)
	return l.Addr()
}

func (n *node) set(task *soltiv1.TaskData) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tasks[task.GetMetadata().GetId()] = task
	close(n.changed)
	n.changed = make(chan struct{})
}

// answers makes the registry answer every command with m.
func (n *node) answers(m proto.Message) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.answer = func(proto.Message) proto.Message { return m }
}

// sent returns the commands that reached the registry.
func (n *node) sent() []proto.Message {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.commands)
}

func (n *node) Task(id string) (*soltiv1.TaskData, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.panics {
		panic("secret cause")
	}
	task, ok := n.tasks[id]
	return task, ok
}

func (n *node) Tasks(q messages.Query) ([]*soltiv1.TaskData, int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.query = q
	var tasks []*soltiv1.TaskData
	for _, task := range n.tasks {
		tasks = append(tasks, task)
	}
	slices.SortFunc(tasks, func(a, b *soltiv1.TaskData) int {
		return strings.Compare(a.GetMetadata().GetId(), b.GetMetadata().GetId())
	})
	return tasks[:min(len(tasks), q.Limit)], len(tasks)
}

func (n *node) Runs(_ context.Context, id string) ([]*soltiv1.TaskRunInfo, error) {
	if _, ok := n.Task(id); !ok {
		return nil, &messages.RejectionError{Rejection: messages.Reject(messages.LabelTaskNotFound, "there is no such task", 0)}
	}
	if id == "broken" {
		return nil, errors.New("secret cause")
	}
	return []*soltiv1.TaskRunInfo{{Attempt: 1, Status: soltiv1.TaskStatus_TASK_STATUS_RUNNING, StartedAt: 5}}, nil
}

func (n *node) Wait(ctx context.Context, id string, want gateway.Want) (*soltiv1.TaskData, bool) {
	for {
		n.mu.Lock()
		task, ok := n.tasks[id]
		changed := n.changed
		n.mu.Unlock()
		status := task.GetStatus()
		running := want == gateway.WantRunning && status.GetPhase() == soltiv1.TaskStatus_TASK_STATUS_RUNNING
		if !ok || status.GetTerminal() || running {
			return task, ok
		}
		n.waiting <- struct{}{}
		select {
		case <-changed:
		case <-ctx.Done():
			return task, ok
		}
	}
}

func (n *node) Slot(name string) *slotdv1.SlotView {
	return &slotdv1.SlotView{Slot: name, Phase: "idle", Counters: &slotdv1.DecisionCounters{}}
}

func (n *node) Slots() []*slotdv1.SlotView {
	return []*slotdv1.SlotView{{Slot: "a", Phase: "occupied", Holder: new("tsk_1"), HolderKind: new("subprocess"), Queue: []string{"tsk_2"}, Counters: &slotdv1.DecisionCounters{Admitted: 1}}}
}

func (n *node) Introspect() *slotdv1.IntrospectResponse {
	return &slotdv1.IntrospectResponse{Node: "here", Goroutines: 12, Decisions: &slotdv1.DecisionCounters{}, Store: &slotdv1.StoreView{}, Logs: &slotdv1.LogsView{}, Events: &slotdv1.EventsView{}}
}

func (n *node) Nodes() []*slotdv1.NodeView {
	return []*slotdv1.NodeView{{Name: "here", Self: true, Ready: true}}
}

func (n *node) Ready() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ready
}

func (n *node) Open(ctx context.Context, id string, q messages.LogQuery) (gateway.Cursor, error) {
	if _, ok := n.Task(id); !ok {
		return nil, &messages.RejectionError{Rejection: messages.Reject(messages.LabelTaskNotFound, "there is no such task", 0)}
	}
	n.mu.Lock()
	n.logQuery = q
	open := n.open
	n.mu.Unlock()
	return open(ctx, q)
}

// feed is a cursor that the test fills.
type feed struct {
	batches chan []byte // closed = io.EOF
	closed  chan struct{}
}

func newFeed() *feed { return &feed{batches: make(chan []byte), closed: make(chan struct{})} }

func (f *feed) Next(ctx context.Context) (gateway.LogBatch, error) {
	select {
	case data, ok := <-f.batches:
		if !ok {
			return gateway.LogBatch{}, io.EOF
		}
		return gateway.LogBatch{Data: data, Events: 1}, nil
	case <-ctx.Done():
		return gateway.LogBatch{}, ctx.Err()
	}
}

func (f *feed) Close() { close(f.closed) }

// follow makes Open return a new feed, and returns it.
func (n *node) follow() *feed {
	f := newFeed()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.open = func(context.Context, messages.LogQuery) (gateway.Cursor, error) { return f, nil }
	return f
}

// reply is what came back.
type reply struct {
	status int
	header http.Header
	body   string
}

// do sends a request with headers given as "Name: value" and reads the whole answer.
func (n *node) do(method, path, body string, headers ...string) reply {
	n.t.Helper()
	response := n.begin(n.t.Context(), method, path, strings.NewReader(body), headers...)
	defer func() {
		if err := response.Body.Close(); err != nil {
			n.t.Error(err)
		}
	}()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		n.t.Fatalf("%s %s: %v", method, path, err)
	}
	return reply{response.StatusCode, response.Header, string(text)}
}

// begin sends a request and returns once the headers of the answer are there.
func (n *node) begin(ctx context.Context, method, path string, body io.Reader, headers ...string) *http.Response {
	n.t.Helper()
	if text, ok := body.(*strings.Reader); ok && text.Len() == 0 {
		body = nil
	}
	request, err := http.NewRequestWithContext(ctx, method, n.url+path, body)
	if err != nil {
		n.t.Fatal(err)
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		if name == "Host" {
			request.Host = value
			continue
		}
		request.Header.Add(name, value)
	}
	var transport http.RoundTripper = &http.Transport{DisableCompression: true}
	if !n.undescribed {
		transport = described(n.t).Transport(n.t, transport)
	}
	client := &http.Client{Transport: transport, Timeout: patience}
	n.t.Cleanup(client.CloseIdleConnections)
	response, err := client.Do(request)
	if err != nil {
		n.t.Fatalf("%s %s: %v", method, path, err)
	}
	return response
}

const asJSON = "Content-Type: application/json"

// is checks the status and the whole body.
func (r reply) is(t *testing.T, status int, body string) {
	t.Helper()
	if r.status != status || r.body != body {
		t.Errorf("got %d %s\nwant %d %s", r.status, r.body, status, body)
	}
}

// refuses checks the form of an error, its label and a part of its sentence.
func (r reply) refuses(t *testing.T, status int, label, says string) {
	t.Helper()
	if r.status != status || !strings.HasPrefix(r.body, `{"error":"`+label+`","message":"`) || !strings.HasSuffix(r.body, `"}`) || !strings.Contains(r.body, says) {
		t.Errorf("got %d %s\nwant %d %s: …%s…", r.status, r.body, status, label, says)
	}
	if got := r.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type = %q, want application/json", got)
	}
}

// receive waits for a value.
func receive[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("%s did not happen", what)
	}
	panic("unreachable")
}

// lines collects a log.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// await waits until the log has a line with all of parts and returns it.
func (l *lines) await(t *testing.T, parts ...string) string {
	t.Helper()
	deadline := time.After(patience)
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for {
		for line := range strings.Lines(l.String()) {
			if !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(line, part) }) {
				return line
			}
		}
		select {
		case <-look.C:
		case <-deadline:
			t.Fatalf("the log has no line with %q:\n%s", parts, l.String())
		}
	}
}

func task(id string, phase soltiv1.TaskStatus, version uint64) *soltiv1.TaskData {
	terminal := phase > soltiv1.TaskStatus_TASK_STATUS_RUNNING
	spec := &soltiv1.CreateSpec{
		Slot: "a", TimeoutMs: 1000,
		Kind: &soltiv1.TaskKind{Kind: &soltiv1.TaskKind_Subprocess{Subprocess: &soltiv1.SubprocessTask{
			Mode: &soltiv1.SubprocessTask_Command{Command: &soltiv1.CommandMode{Command: "true"}},
			Env:  []*soltiv1.KeyValue{{Key: "PLAIN", Value: "visible"}, {Key: "TOKEN", Value: "hunter2", Secret: true}},
		}}},
	}
	messages.Defaults(spec)
	return &soltiv1.TaskData{
		Metadata: &soltiv1.ObjectMeta{Id: id, CreatedAt: 1, UpdatedAt: 2, ResourceVersion: version},
		Spec:     spec,
		Status:   &soltiv1.TaskStatusInfo{Phase: phase, Attempt: 1, Terminal: terminal},
	}
}
