package registry_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"slotd/actors/actortest"
	"slotd/actors/catalog"
	"slotd/actors/registry"
	"slotd/actors/slot"
	"slotd/actors/store"
	"slotd/actors/task"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	drop    = soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_DROP_IF_RUNNING
	queue   = soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_QUEUE
	replace = soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_REPLACE
)

// node is a registry with its slots and tasks, over a store and an executor that a test holds in its hands.
type node struct {
	t        *testing.T
	sys      *actor.ActorSystem
	gate     *actortest.Gate
	catalog  *catalog.Catalog
	executor *actortest.Executor
	faults   *actortest.Faults
	deps     *registry.Deps
	pid      *actor.PID
	runs     *actor.PID // the executor's
	live     atomic.Int64
	ready    chan error              // what the registry said, once or more
	found    chan registry.Recovered // see holdRecovery
	routines sync.WaitGroup
}

// nodes runs body with a node that prepare may change before it begins.
func nodes(t *testing.T, prepare func(n *node), body func(t *testing.T, n *node)) {
	t.Helper()
	actortest.Bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		n := &node{
			t: t, sys: sys, gate: actortest.NewGate(), executor: new(actortest.Executor),
			faults: new(actortest.Faults), ready: make(chan error, 16),
		}
		n.catalog = catalog.New(n.gate.Runs)
		n.runs = sys.Root.Spawn(n.executor.Props())
		n.deps = n.dependencies()
		if prepare != nil {
			prepare(n)
		}
		faulty := actor.WithReceiverMiddleware(n.faults.Middleware)
		n.pid = sys.Root.Spawn(registry.Props(n.deps, faulty, actor.WithGuardian(again{})))
		defer func() {
			actortest.Stop(t, sys, n.pid, n.runs)
			n.routines.Wait()
			if err := n.gate.Close(); err != nil {
				t.Error(err)
			}
		}()
		body(t, n)
	})
}

// again is the strategy that the node has for its registry.
type again struct{}

func (again) HandleFailure(_ *actor.ActorSystem, s actor.Supervisor, child *actor.PID, _ *actor.RestartStatistics, _, _ any) {
	s.RestartChildren(child)
}

func (n *node) dependencies() *registry.Deps {
	options := []actor.PropsOption{actor.WithReceiverMiddleware(n.faults.Middleware)}
	logger := hclog.NewNullLogger()
	return &registry.Deps{
		Recover: func(context.Context) (registry.Recovered, error) { return n.known(), nil },
		Residents: func(name string, done func([]slot.Resident)) {
			n.commit(new(store.Batch), func(error) { done(n.residents(name)) })
		},
		Lookup: func(id string) (*slotdv1.TaskRecord, bool) {
			_, record, ok := n.catalog.SlotOf(id)
			return record, ok
		},
		Runnable: func(*soltiv1.CreateSpec) *slotdv1.Rejection { return nil },
		Writable: func() error { return nil },
		Active:   n.catalog.Active,
		Count:    n.catalog.Count,
		Live:     func(live int) { n.live.Store(int64(live)) },
		Ready:    func(err error) { n.ready <- err },
		Go:       func(f func(context.Context)) { n.routines.Go(func() { f(context.Background()) }) },
		Strategy: actortest.StopOnPanic,
		Logger:   logger,
		Slot: &slot.Deps{
			Commit:   n.commit,
			Writable: func() error { return nil },
			Record:   n.gate.Record,
			Known: func(slot, key string, now time.Time) *slotdv1.KeyRecord {
				record, _ := n.catalog.Key(slot, key, now.UnixMilli())
				return record
			},
			Executor: n.runs, Strategy: actortest.StopOnPanic, Options: options,
			QueueLimit: 1000, IdleAfter: time.Second, KeyTTL: time.Hour, Logger: logger,
			Task: &task.Deps{Commit: n.commit, Writable: func() error { return nil }, Executor: n.runs, Options: options, Node: "local", Logger: logger},
		},
	}
}

// commit shows what is durable, as the node's ledger does.
func (n *node) commit(b *store.Batch, done func(error)) {
	n.gate.Commit(b, func(err error) {
		if err == nil {
			n.catalog.Apply(b)
		}
		done(err)
	})
}

// known waits for all commits and tells what is not terminal.
func (n *node) known() registry.Recovered {
	passed := make(chan struct{})
	n.commit(new(store.Batch), func(error) { close(passed) })
	<-passed
	all := registry.Recovered{Residents: make(map[string][]slot.Resident), LastID: n.catalog.LastID()}
	for _, view := range n.catalog.Slots() {
		all.Residents[view.GetSlot()] = n.residents(view.GetSlot())
	}
	return all
}

func (n *node) residents(name string) []slot.Resident {
	var residents []slot.Resident
	for _, record := range n.catalog.Unfinished(name) {
		data, _ := n.catalog.Task(record.GetId())
		residents = append(residents, slot.Resident{Record: record, Spec: data.GetSpec()})
	}
	return residents
}

// send sends a command; the answer is looked at later.
func (n *node) send(msg any) *actor.Future {
	return n.sys.Root.RequestFuture(n.pid, msg, time.Hour)
}

// ask sends a command, waits for its answer and for what follows from it.
func (n *node) ask(msg any) any {
	n.t.Helper()
	answer := actortest.Ask(n.t, n.sys, n.pid, msg)
	synctest.Wait()
	return answer
}

func (n *node) submit(slot string, admission soltiv1.AdmissionStrategy) string {
	n.t.Helper()
	return n.accepted(n.ask(&slotdv1.Submit{Spec: spec(slot, admission)}))
}

func (n *node) accepted(answer any) string {
	n.t.Helper()
	accepted, ok := answer.(*slotdv1.Submitted)
	if !ok {
		n.t.Fatalf("got %v, want Submitted", answer)
	}
	return accepted.GetTaskId()
}

// end lets the first attempt of a task end by itself.
func (n *node) end(id string) {
	n.sys.Root.Send(n.runs, &actortest.End{Task: id, Attempt: 1})
	synctest.Wait()
}

func (n *node) reason(id string) string {
	record, ok := n.deps.Lookup(id)
	if !ok {
		return "gone"
	}
	return record.GetReason()
}

func spec(slot string, admission soltiv1.AdmissionStrategy) *soltiv1.CreateSpec {
	spec := &soltiv1.CreateSpec{
		Slot: slot, TimeoutMs: 86_400_000, Admission: admission,
		Kind: &soltiv1.TaskKind{Kind: &soltiv1.TaskKind_Subprocess{Subprocess: &soltiv1.SubprocessTask{
			Mode: &soltiv1.SubprocessTask_Command{Command: &soltiv1.CommandMode{Command: "true"}},
		}}},
	}
	messages.Defaults(spec)
	return spec
}

// label is the label of a rejection, or what else came in its place.
func label(answer any) string {
	if no, ok := answer.(*slotdv1.Rejection); ok {
		return no.GetLabel()
	}
	return "no rejection"
}

func expect[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// started is the first message of every actor.
var started = &actor.Started{}

// words collects a log.
type words struct {
	mu   sync.Mutex
	text strings.Builder
}

func (w *words) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(b)
}

func (w *words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

func (w *words) logger() hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Output: w, DisableTime: true})
}

// starts counts how often the first attempt of a task was started.
func (n *node) starts(id string) int {
	log := n.executor.Log()
	return len(slices.DeleteFunc(log, func(line string) bool { return line != "start "+id+"/1" }))
}

// awaitReady returns when recovery is through.
func (n *node) awaitReady() {
	n.t.Helper()
	if err := <-n.ready; err != nil {
		n.t.Fatal(err)
	}
}
