package slot

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/proto"

	"slotd/actors/actortest"
	"slotd/actors/store"
	"slotd/actors/task"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

var errDisk = errors.New("no space left on device")

const (
	drop    = soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_DROP_IF_RUNNING
	replace = soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_REPLACE
	waits   = soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_QUEUE
)

// lane is a slot's actor with all that is around it.
type lane struct {
	t        *testing.T
	sys      *actor.ActorSystem
	gate     *actortest.Gate
	executor *actortest.Executor
	registry *actortest.Inbox
	deps     *Deps
	actor    *slotActor // see look
	pid      *actor.PID
	execPID  *actor.PID
	broken   atomic.Bool // the store says that it cannot write
}

func (l *lane) writable() error {
	if l.broken.Load() {
		return errDisk
	}
	return nil
}

// inLane runs body with an idle slot.
func inLane(t *testing.T, body func(l *lane)) {
	t.Helper()
	actortest.Bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		l := &lane{t: t, sys: sys, gate: actortest.NewGate(), executor: &actortest.Executor{}, registry: &actortest.Inbox{}}
		l.execPID = sys.Root.Spawn(l.executor.Props())
		registry := sys.Root.Spawn(actor.PropsFromProducer(func() actor.Actor { return l.registry }))
		l.deps = &Deps{
			Commit: l.gate.Commit, Writable: l.writable, Record: l.gate.Record, Executor: l.execPID, Registry: registry,
			Known:    func(string, string, time.Time) *slotdv1.KeyRecord { return nil },
			Strategy: actortest.StopOnPanic, QueueLimit: 10, IdleAfter: time.Minute, KeyTTL: time.Hour,
			Logger: hclog.NewNullLogger(),
			Task:   &task.Deps{Commit: l.gate.Commit, Writable: l.writable, Executor: l.execPID, Node: "n", Permits: true, Logger: hclog.NewNullLogger()},
		}
		defer func() {
			actortest.Stop(t, sys, l.pid, registry, l.execPID)
			if err := l.gate.Close(); err != nil {
				t.Error(err)
			}
		}()
		body(l)
	})
}

// open makes the slot's actor.
func (l *lane) open(residents ...Resident) {
	l.pid = l.sys.Root.Spawn(actor.PropsFromProducer(func() actor.Actor {
		l.actor = &slotActor{deps: l.deps, name: "lane", core: New(l.deps.QueueLimit), residents: residents}
		return l.actor
	}, actor.WithSupervisor(l.deps.Strategy), actor.WithReceiverMiddleware(actortest.Looks)))
	synctest.Wait()
}

// look reads what the slot's actor knows, in its own turn.
func (l *lane) look(f func(a *slotActor)) {
	synctest.Wait()
	actortest.Look(l.sys, l.pid, func() { f(l.actor) })
}

// send gives the slot a command; its answer is the future's.
func (l *lane) send(msg any) *actor.Future {
	f := l.sys.Root.RequestFuture(l.pid, msg, time.Hour)
	synctest.Wait()
	return f
}

func (l *lane) submit(id string, admission soltiv1.AdmissionStrategy) *actor.Future {
	spec := &soltiv1.CreateSpec{
		Slot: "lane", TimeoutMs: 3_600_000, Admission: admission, StopGraceMs: proto.Uint64(5000),
		Restart: soltiv1.RestartStrategy_RESTART_STRATEGY_NEVER,
	}
	return l.send(&slotdv1.Submit{Spec: spec, TaskId: id, At: time.Now().UnixMilli()})
}

func (l *lane) accepted(f *actor.Future) string {
	l.t.Helper()
	answer, ok := actortest.Await(l.t, f).(*slotdv1.Submitted)
	if !ok {
		l.t.Fatalf("got %v, want Submitted", answer)
	}
	return answer.GetTaskId()
}

func (l *lane) rejected(f *actor.Future, label string) {
	l.t.Helper()
	if answer, ok := actortest.Await(l.t, f).(*slotdv1.Rejection); !ok || answer.GetLabel() != label {
		l.t.Fatalf("got %v, want %s", answer, label)
	}
}

// pass lets time pass, and all happen that is due.
func (l *lane) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// end lets an attempt end by itself.
func (l *lane) end(task string) {
	synctest.Wait()
	l.sys.Root.Send(l.execPID, &actortest.End{Task: task, Attempt: 1})
	synctest.Wait()
}

// saw compares what the executor was asked for, without permits.
func (l *lane) saw(want ...string) {
	l.t.Helper()
	synctest.Wait()
	got := slices.DeleteFunc(l.executor.Log(), func(line string) bool { return strings.HasPrefix(line, "acquire") })
	if diff := cmp.Diff(want, got); diff != "" {
		l.t.Errorf("executor (-want +got):\n%s", diff)
	}
}

// stored compares what the store knows: id, role, status and reason.
func (l *lane) stored(want ...string) {
	l.t.Helper()
	synctest.Wait()
	var got []string
	err := l.gate.Load(context.Background(), func(e store.Entry) error {
		if r := e.Task; r != nil {
			got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", r.GetId(),
				strings.TrimPrefix(r.GetRole().String(), "ROLE_"), strings.TrimPrefix(r.GetStatus().String(), "TASK_STATUS_"), r.GetReason())))
		}
		return nil
	})
	if err != nil {
		l.t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		l.t.Errorf("store (-want +got):\n%s", diff)
	}
}

// forgotten: a slot at rest remembers nobody.
func (l *lane) forgotten() {
	l.t.Helper()
	l.look(func(a *slotActor) {
		if n := len(a.tenants) + len(a.callers) + len(a.keys) + len(a.refused); n > 0 || a.core.Phase() != Idle {
			l.t.Errorf("%v slot remembers tenants %v, callers %v, keys %v, refused %v",
				a.core.Phase(), a.tenants, a.callers, a.keys, a.refused)
		}
	})
	if n := l.executor.Remembered(); n > 0 {
		l.t.Errorf("the executor remembers %d attempts: %q", n, l.executor.Log())
	}
}

func TestTaskRunsFromSubmitToItsEnd(t *testing.T) {
	inLane(t, func(l *lane) {
		l.open()
		if id := l.accepted(l.submit("a", drop)); id != "a" {
			t.Fatalf("accepted %q", id)
		}
		l.rejected(l.submit("b", drop), messages.LabelSlotBusy)
		l.stored("a HOLDER RUNNING")
		l.end("a")
		l.saw("start a/1", "end a/1", "forget a/1")
		l.stored("a NONE SUCCEEDED Completed")
		if id := l.accepted(l.submit("c", drop)); id != "c" {
			t.Fatalf("accepted %q", id)
		}
		l.end("c")
		l.forgotten()
	})
}

func TestNothingHappensBeforeItIsDurable(t *testing.T) {
	inLane(t, func(l *lane) {
		l.open()
		l.gate.Hold()
		a := l.submit("a", drop)
		b := l.submit("b", drop) // decided on a's admission
		l.look(func(s *slotActor) {
			if n := len(s.callers); n != 2 || l.gate.Waiting() != 1 {
				t.Errorf("%d callers wait for %d commits", n, l.gate.Waiting())
			}
		})
		l.saw()
		l.gate.Open()
		l.accepted(a)
		l.rejected(b, messages.LabelSlotBusy)
		l.saw("start a/1")
		l.end("a")
		l.forgotten()
	})
}

func TestTwinOfARefusedSubmissionIsRefused(t *testing.T) {
	inLane(t, func(l *lane) {
		l.open()
		l.accepted(l.submit("a", drop))
		l.accepted(l.submit("z", waits))
		l.gate.Hold()
		spec := &soltiv1.CreateSpec{Slot: "lane", Admission: waits, TimeoutMs: 1000}
		first := l.send(&slotdv1.Submit{Spec: spec, TaskId: "b", IdempotencyKey: "k"})
		cancel := l.send(&slotdv1.Cancel{TaskId: "z"}) // the twin's answer waits behind this
		twin := l.send(&slotdv1.Submit{Spec: spec, TaskId: "c", IdempotencyKey: "k"})
		other := l.send(&slotdv1.Submit{Spec: &soltiv1.CreateSpec{Slot: "lane", TimeoutMs: 2}, TaskId: "d", IdempotencyKey: "k"})
		l.gate.Release(errDisk, nil)
		l.gate.Open()
		l.rejected(first, messages.LabelUnavailable)
		l.rejected(twin, messages.LabelUnavailable)
		l.rejected(other, messages.LabelUnavailable)
		if answer, ok := actortest.Await(t, cancel).(*slotdv1.TaskEnded); !ok {
			t.Errorf("cancel: %v", answer)
		}
		if id := l.accepted(l.send(&slotdv1.Submit{Spec: spec, TaskId: "e", IdempotencyKey: "k"})); id != "e" {
			t.Errorf("the key still stands for %s", id)
		}
		l.end("a")
		l.end("e")
		l.forgotten()
	})
}

func TestTwinsGetOneTask(t *testing.T) {
	inLane(t, func(l *lane) {
		l.open()
		l.gate.Hold()
		spec := &soltiv1.CreateSpec{Slot: "lane", TimeoutMs: 1000}
		first := l.send(&slotdv1.Submit{Spec: spec, TaskId: "a", IdempotencyKey: "k"})
		twin := l.send(&slotdv1.Submit{Spec: spec, TaskId: "b", IdempotencyKey: "k"})
		other := l.send(&slotdv1.Submit{Spec: &soltiv1.CreateSpec{Slot: "lane", TimeoutMs: 2}, TaskId: "c", IdempotencyKey: "k"})
		l.gate.Open()
		if x, y := l.accepted(first), l.accepted(twin); x != "a" || y != "a" {
			t.Errorf("twins got %s and %s", x, y)
		}
		l.rejected(other, messages.LabelIdempotencyKeyReused)
		l.end("a")
		l.forgotten()
	})
}

// A holder that is told to end before it could be spawned starts no process.
func TestStopOvertakesTheSpawn(t *testing.T) {
	inLane(t, func(l *lane) {
		l.open()
		l.gate.Hold()
		a := l.submit("a", drop)
		l.sys.Root.Send(l.pid, &slotdv1.Drain{GraceMs: 0})
		synctest.Wait()
		l.gate.Open()
		l.accepted(a)
		synctest.Wait()
		if n := l.executor.Count("start"); n != 0 {
			t.Errorf("%d attempts started: %q", n, l.executor.Log())
		}
		l.stored("a NONE CANCELED Shutdown")
		l.forgotten()
	})
}

func TestResidentsGoOnWhereTheyWere(t *testing.T) {
	inLane(t, func(l *lane) {
		resident := func(id string, role slotdv1.Role) Resident {
			return Resident{
				Record: &slotdv1.TaskRecord{Id: id, Slot: "lane", Role: role, Phase: slotdv1.Phase_PHASE_READY, ResourceVersion: 1},
				Spec:   &soltiv1.CreateSpec{Slot: "lane", TimeoutMs: 1000},
			}
		}
		l.open(resident("a", slotdv1.Role_ROLE_HOLDER), resident("b", slotdv1.Role_ROLE_QUEUED), resident("c", slotdv1.Role_ROLE_QUEUED))
		l.saw("start a/1")
		for _, id := range []string{"a", "b", "c"} {
			l.end(id)
		}
		l.stored("a NONE SUCCEEDED Completed", "b NONE SUCCEEDED Completed", "c NONE SUCCEEDED Completed")
		l.forgotten()
	})
}

func TestIdleSlotAsksToRetire(t *testing.T) {
	inLane(t, func(l *lane) {
		l.open()
		l.accepted(l.submit("a", drop))
		retirements := func() (n int, received uint64) {
			synctest.Wait()
			for _, msg := range l.registry.Messages() {
				if retire, ok := msg.(*slotdv1.Retire); ok {
					n, received = n+1, retire.GetReceived()
				}
			}
			return n, received
		}
		l.pass(10 * time.Minute)
		if n, _ := retirements(); n != 0 {
			t.Errorf("a busy slot asked to retire")
		}
		l.end("a")
		l.pass(59 * time.Second)
		if n, _ := retirements(); n != 0 {
			t.Errorf("asked to retire too early")
		}
		l.pass(time.Second)
		if n, received := retirements(); n != 1 || received != 1 {
			t.Errorf("asked %d times, having received %d", n, received)
		}
		actortest.Await(t, l.send(&slotdv1.Cancel{TaskId: "a"})) // it was not let go
		l.pass(time.Minute)
		if n, received := retirements(); n != 2 || received != 2 {
			t.Errorf("asked %d times, having received %d", n, received)
		}
	})
}

func TestEveryDecisionIsCounted(t *testing.T) {
	inLane(t, func(l *lane) {
		l.deps.QueueLimit = 1
		l.open()
		for i, admission := range []soltiv1.AdmissionStrategy{drop, drop, waits, waits, replace, replace} {
			actortest.Await(t, l.submit(fmt.Sprint("t", i), admission))
		}
		synctest.Wait()
		got, submissions := map[string]int{}, 0
		for _, msg := range l.registry.Messages() {
			if decided, ok := msg.(*slotdv1.Decided); ok {
				got[decided.GetDecision()]++
				if decided.GetSubmission() {
					submissions++
				}
			}
		}
		want := map[string]int{"admitted": 1, "dropped": 1, "queued": 1, "queue_full": 1, "replaced": 2}
		if submissions != 6 {
			t.Errorf("%d submissions answered, want 6", submissions)
		}
		delete(got, "superseded") // the holder may have gone between the two
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("decisions (-want +got):\n%s", diff)
		}
	})
}

// A client may cancel a task that does not end as often as it likes.
func TestRepeatedCancelsTakeNoMemory(t *testing.T) {
	inLane(t, func(l *lane) {
		l.executor.Deaf.Store(true)
		l.open()
		l.accepted(l.submit("a", drop))
		for range 100 {
			l.sys.Root.Send(l.pid, &slotdv1.Cancel{TaskId: "a"})
		}
		l.look(func(s *slotActor) {
			if n := len(s.tenants["a"].stops); n != 1 {
				t.Errorf("%d stops are kept", n)
			}
		})
		l.pass(5 * time.Second)
		l.saw("start a/1", "stop a/1", "kill a/1", "forget a/1")
		l.forgotten()
	})
}

func TestLongLivedSlotRemembersNobody(t *testing.T) {
	inLane(t, func(l *lane) {
		l.open()
		for i := range 500 {
			id := fmt.Sprintf("t%03d", i)
			l.accepted(l.submit(id, waits))
			if i%3 == 0 {
				actortest.Await(t, l.send(&slotdv1.Delete{TaskId: id}))
				continue
			}
			l.end(id)
		}
		l.forgotten()
	})
}
