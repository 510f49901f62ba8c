package rpc_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"slotd/gateway"
	"slotd/gateway/ask"
	"slotd/gateway/rpc"
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

// node is a fake slotd behind a real server: an actor that answers commands, a reader, logs and events, all held by the
// test. The connection between client and server is in memory.
type node struct {
	t      testing.TB
	server *rpc.Server
	conn   *grpc.ClientConn
	tasks  soltiv1.SoltiApiClient
	more   slotdv1.SupervisorClient
	dial   func(ctx context.Context) (net.Conn, error)

	mu       sync.Mutex
	kept     map[string]*soltiv1.TaskData
	runs     []*soltiv1.TaskRunInfo
	slots    []*slotdv1.SlotView
	answer   func(command proto.Message) proto.Message // nil = never
	commands []proto.Message
	changed  chan struct{} // closed and replaced by set
	missing  string        // what is not ready
	panics   bool
	query    messages.Query
	logQuery messages.LogQuery
	open     func(id string) (gateway.Cursor, error)
	feed     *eventFeed

	waiting chan struct{} // receives once per Wait that blocks
	asked   chan struct{} // receives once per command
}

// start brings a node up and takes it down at the end of the test.
func start(t testing.TB) *node {
	t.Helper()
	n := &node{
		t: t, kept: map[string]*soltiv1.TaskData{}, changed: make(chan struct{}),
		waiting: make(chan struct{}, 16), asked: make(chan struct{}, 2000),
		answer: func(proto.Message) proto.Message { return &slotdv1.Submitted{TaskId: "tsk_new"} },
		feed:   newEventFeed(),
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
				asker := many.GetAskers()[i]
				n.commands = append(n.commands, submit)
				c.Send(&actor.PID{Address: c.Self().GetAddress(), Id: asker.GetId(), RequestId: asker.GetRequest()}, n.answer(submit))
			}
			return
		}
		n.commands = append(n.commands, command)
		if answer := n.answer(command); answer != nil {
			c.Respond(answer)
		}
		n.asked <- struct{}{}
	}))
	server, err := rpc.New(rpc.Deps{
		Registry: ask.New(system.Root, pid), Reader: n, Logs: logs{n}, Events: n.feed,
		Version: &slotdv1.VersionResponse{Version: "1.2.3", Commit: "abc", Go: "go1.26", Api: "v1"},
		Logger:  hclog.NewNullLogger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	n.server = server
	l := bufconn.Listen(1 << 20)
	n.dial = l.DialContext
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	n.conn = n.connect()
	n.tasks, n.more = soltiv1.NewSoltiApiClient(n.conn), slotdv1.NewSupervisorClient(n.conn)
	t.Cleanup(func() {
		if err := n.conn.Close(); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
		if err := system.Root.StopFuture(pid).Wait(); err != nil {
			t.Errorf("stop the registry: %v", err)
		}
		system.Shutdown()
	})
	return n
}

// connect makes another connection of a client. The first is closed with the node.
func (n *node) connect(options ...grpc.DialOption) *grpc.ClientConn {
	n.t.Helper()
	conn, err := grpc.NewClient("passthrough:///node", append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return n.dial(ctx) }),
	}, options...)...)
	if err != nil {
		n.t.Fatal(err)
	}
	return conn
}

// within returns the context of a call that must not take long.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func (n *node) set(tasks ...*soltiv1.TaskData) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, task := range tasks {
		n.kept[task.GetMetadata().GetId()] = task
	}
	close(n.changed)
	n.changed = make(chan struct{})
}

// answers makes the registry answer every command with m; nil = never.
func (n *node) answers(m proto.Message) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.answer = func(proto.Message) proto.Message { return m }
}

// last returns the command that reached the registry last.
func (n *node) last() proto.Message {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.commands) == 0 {
		return nil
	}
	return n.commands[len(n.commands)-1]
}

func (n *node) change(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
}

func (n *node) Task(id string) (*soltiv1.TaskData, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	task, ok := n.kept[id]
	return task, ok
}

func (n *node) Tasks(q messages.Query) ([]*soltiv1.TaskData, int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.query = q
	var tasks []*soltiv1.TaskData
	for _, task := range n.kept {
		tasks = append(tasks, task)
	}
	slices.SortFunc(tasks, func(a, b *soltiv1.TaskData) int {
		return strings.Compare(a.GetMetadata().GetId(), b.GetMetadata().GetId())
	})
	begin := min(q.Offset, len(tasks))
	end := min(begin+q.Limit, len(tasks))
	if q.Newest {
		begin, end = len(tasks)-end, len(tasks)-begin
	}
	return tasks[begin:end], len(tasks)
}

func (n *node) Runs(_ context.Context, id string) ([]*soltiv1.TaskRunInfo, error) {
	if _, ok := n.Task(id); !ok {
		return nil, &messages.RejectionError{Rejection: messages.TaskNotFound(id)}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.runs == nil {
		return nil, errors.New("secret cause")
	}
	return n.runs, nil
}

func (n *node) Wait(ctx context.Context, id string, want gateway.Want) (*soltiv1.TaskData, bool) {
	for {
		n.mu.Lock()
		task, ok := n.kept[id]
		changed := n.changed
		n.mu.Unlock()
		running := want == gateway.WantRunning && task.GetStatus().GetPhase() == running
		if !ok || task.GetStatus().GetTerminal() || running {
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
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.slots
}

func (n *node) Introspect() *slotdv1.IntrospectResponse {
	return &slotdv1.IntrospectResponse{Node: "here", Goroutines: 12}
}

func (n *node) Nodes() []*slotdv1.NodeView {
	return []*slotdv1.NodeView{{Name: "here", Self: true, Ready: true}}
}

func (n *node) Ready() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.panics {
		panic("secret cause")
	}
	if n.missing != "" {
		return errors.New(n.missing)
	}
	return nil
}

// logs opens what the node was told to.
type logs struct{ *node }

func (l logs) Open(_ context.Context, id string, q messages.LogQuery) (gateway.Cursor, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.logQuery = q
	return l.open(id)
}

// logFeed is a cursor that the test fills.
type logFeed struct {
	batches chan []byte // closed = io.EOF
	broken  chan error
	closed  chan struct{}
}

// follow makes Open return a new feed, and returns it.
func (n *node) follow() *logFeed {
	f := &logFeed{batches: make(chan []byte), broken: make(chan error, 1), closed: make(chan struct{})}
	n.change(func() { n.open = func(string) (gateway.Cursor, error) { return f, nil } })
	return f
}

func (f *logFeed) Next(ctx context.Context) (gateway.LogBatch, error) {
	select {
	case data, ok := <-f.batches:
		if !ok {
			return gateway.LogBatch{}, io.EOF
		}
		return gateway.LogBatch{Data: data}, nil
	case err := <-f.broken:
		return gateway.LogBatch{}, err
	case <-ctx.Done():
		return gateway.LogBatch{}, ctx.Err()
	}
}

func (f *logFeed) Close() { close(f.closed) }

// eventFeed is both the source of events and its only cursor.
type eventFeed struct {
	events chan []*slotdv1.Event
	opened chan messages.EventQuery
	closed chan struct{}
}

func newEventFeed() *eventFeed {
	return &eventFeed{events: make(chan []*slotdv1.Event), opened: make(chan messages.EventQuery, 16), closed: make(chan struct{}, 16)}
}

func (f *eventFeed) Open(q messages.EventQuery) (gateway.EventCursor, error) {
	if q.After == "nonsense" {
		return nil, &messages.RejectionError{Rejection: messages.Reject(messages.LabelInvalidRequest, "after is no event id", 0)}
	}
	f.opened <- q
	return f, nil
}

func (f *eventFeed) Next(ctx context.Context) ([]*slotdv1.Event, error) {
	select {
	case events := <-f.events:
		return events, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (f *eventFeed) Close() { f.closed <- struct{}{} }

const (
	running   = soltiv1.TaskStatus_TASK_STATUS_RUNNING
	succeeded = soltiv1.TaskStatus_TASK_STATUS_SUCCEEDED
)

func task(id string, phase soltiv1.TaskStatus, version uint64) *soltiv1.TaskData {
	return &soltiv1.TaskData{
		Metadata: &soltiv1.ObjectMeta{Id: id, CreatedAt: 1, UpdatedAt: 2, ResourceVersion: version},
		Spec:     spec("a"),
		Status:   &soltiv1.TaskStatusInfo{Phase: phase, Attempt: 1, Terminal: phase != running},
	}
}

func spec(slot string) *soltiv1.CreateSpec {
	return &soltiv1.CreateSpec{
		Slot: slot, TimeoutMs: 1000,
		Kind: &soltiv1.TaskKind{Kind: &soltiv1.TaskKind_Subprocess{Subprocess: &soltiv1.SubprocessTask{
			Mode: &soltiv1.SubprocessTask_Command{Command: &soltiv1.CommandMode{Command: "true"}},
			Env:  []*soltiv1.KeyValue{{Key: "PLAIN", Value: "visible"}, {Key: "TOKEN", Value: "hunter2", Secret: true}},
		}}},
	}
}

// shown is the environment of a task, as "K=V K=V".
func shown(task *soltiv1.TaskData) string {
	return strings.Join(messages.Environ(messages.EnvOf(task.GetSpec())), " ")
}

// refused checks that err is that refusal, and returns its sentence.
func refused(t testing.TB, err error, code codes.Code, label, says string) {
	t.Helper()
	told := status.Convert(err)
	if told.Code() != code || labelOf(told) != label || !strings.Contains(told.Message(), says) {
		t.Errorf("got %v %s %q\nwant %v %s …%s…", told.Code(), labelOf(told), told.Message(), code, label, says)
	}
}

func labelOf(told *status.Status) string {
	for _, detail := range told.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetDomain() == "slotd" {
			return info.GetReason()
		}
	}
	return ""
}

// receive waits for a value.
func receive[T any](t testing.TB, from <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("%s did not happen", what)
	}
	panic("unreachable")
}
