package task

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"slotd/actors/actortest"
	"slotd/actors/store"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

var errDisk = errors.New("no space left on device")

// home is a task's actor with all that is around it; its parent is an inbox.
type home struct {
	t        *testing.T
	sys      *actor.ActorSystem
	gate     *actortest.Gate
	executor *actortest.Executor
	slot     *actortest.Inbox
	deps     *Deps
	pid      *actor.PID
	execPID  *actor.PID
}

// parent is the slot: it spawns the task and keeps what it says.
type parent struct {
	*actortest.Inbox
	props *actor.Props
	child chan *actor.PID
}

func (p *parent) Receive(c actor.Context) {
	if _, ok := c.Message().(*actor.Started); ok {
		p.child <- c.Spawn(p.props)
	}
	p.Inbox.Receive(c)
}

// atHome runs body with the actor of a task that has never run.
func atHome(t *testing.T, edit func(*soltiv1.CreateSpec), body func(h *home)) {
	t.Helper()
	atHomeFrom(t, &slotdv1.TaskRecord{
		Id: "a", Slot: "lane", ResourceVersion: 1, Role: slotdv1.Role_ROLE_HOLDER,
		Phase: slotdv1.Phase_PHASE_READY, Status: soltiv1.TaskStatus_TASK_STATUS_PENDING,
	}, true, edit, body)
}

// atHomeFrom runs body with the actor of a task that goes on from a record.
func atHomeFrom(t *testing.T, record *slotdv1.TaskRecord, permits bool, edit func(*soltiv1.CreateSpec), body func(h *home)) {
	t.Helper()
	actortest.Bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		h := &home{t: t, sys: sys, gate: actortest.NewGate(), executor: &actortest.Executor{}, slot: &actortest.Inbox{}}
		h.execPID = sys.Root.Spawn(h.executor.Props())
		h.deps = &Deps{Commit: h.gate.Commit, Writable: func() error { return nil }, Executor: h.execPID, Node: "n", Permits: permits, Logger: hclog.NewNullLogger()}
		child := make(chan *actor.PID, 1)
		pid := sys.Root.Spawn(actor.PropsFromProducer(func() actor.Actor {
			return &parent{h.slot, Props(h.deps, Holder{Record: record, Spec: spec(edit)}), child}
		}, actor.WithSupervisor(actortest.StopOnPanic)))
		h.pid = <-child
		defer func() {
			actortest.Stop(t, sys, pid, h.execPID)
			if err := h.gate.Close(); err != nil {
				t.Error(err)
			}
		}()
		synctest.Wait()
		body(h)
	})
}

func (h *home) send(msg any) {
	h.sys.Root.Send(h.pid, msg)
	synctest.Wait()
}

// pass lets time pass, and all happen that is due.
func (h *home) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (h *home) end(attempt uint32, code int32) {
	synctest.Wait()
	h.sys.Root.Send(h.execPID, &actortest.End{Task: "a", Attempt: attempt, Code: code})
	synctest.Wait()
}

func (h *home) saw(want ...string) {
	h.t.Helper()
	synctest.Wait()
	got := slices.DeleteFunc(h.executor.Log(), func(line string) bool { return line == "end a/1" || line[:3] == "acq" })
	if diff := cmp.Diff(want, got); diff != "" {
		h.t.Errorf("executor (-want +got):\n%s", diff)
	}
}

// outcome is what the slot was told, or nil; it is never told twice.
func (h *home) outcome() *slotdv1.TaskFinished {
	h.t.Helper()
	synctest.Wait()
	var outcome *slotdv1.TaskFinished
	for _, msg := range h.slot.Messages() {
		if finished, ok := msg.(*slotdv1.TaskFinished); ok {
			if outcome != nil {
				h.t.Fatalf("two outcomes: %v, %v", outcome, finished)
			}
			outcome = finished
		}
	}
	return outcome
}

func TestAttemptRunsAndItsOutcomeIsHandedIn(t *testing.T) {
	atHome(t, nil, func(h *home) {
		h.pass(time.Second)
		h.end(1, 0)
		h.saw("start a/1") // its end is the slot's to record, and to forget
		got := h.outcome()
		if got.GetTask().GetReason() != string(messages.ReasonCompleted) || got.GetRun().GetFinishedAt()-got.GetRun().GetStartedAt() != 1000 {
			t.Errorf("got %v", got)
		}
	})
}

// A task that was stopped with its daemon goes on at once in the next life: the end of the old attempt and the begin of
// the new one follow from one event, and reach the store in that order.
func TestRecordsReachTheStoreInOrder(t *testing.T) {
	stopped := &slotdv1.TaskRecord{
		Id: "a", Slot: "lane", ResourceVersion: 3, Role: slotdv1.Role_ROLE_HOLDER, Attempt: 1,
		Phase: slotdv1.Phase_PHASE_STOPPING, Cause: string(messages.ReasonShutdown), Status: soltiv1.TaskStatus_TASK_STATUS_RUNNING,
	}
	atHomeFrom(t, stopped, false, onFailure, func(h *home) {
		h.saw("attach a/1", "stop a/1", "forget a/1", "start a/2")
		got, err := h.gate.Task(t.Context(), "a")
		if err != nil || got.GetAttempt() != 2 || got.GetPhase() != slotdv1.Phase_PHASE_RUNNING || got.GetResourceVersion() != 5 {
			t.Errorf("the store ends with %v, %v", got, err)
		}
	})
}

func TestDeadlineStopsThenKillsAndTheRetryWaits(t *testing.T) {
	atHome(t, onFailure, func(h *home) {
		h.executor.Deaf.Store(true)
		began := time.Now()
		h.pass(time.Minute)
		h.saw("start a/1", "stop a/1")
		h.pass(5 * time.Second)
		h.saw("start a/1", "stop a/1", "kill a/1", "forget a/1")
		h.pass(time.Second)
		h.saw("start a/1", "stop a/1", "kill a/1", "forget a/1", "start a/2")
		if took := time.Since(began); took != 66*time.Second {
			t.Errorf("the retry came after %v", took)
		}
		h.end(2, 0)
		runs, err := h.gate.Runs(t.Context(), "a")
		if err != nil || len(runs) != 2 || runs[0].GetReason() != string(messages.ReasonTimedOut) || runs[0].GetFinishedAt() == 0 {
			t.Errorf("runs %v, %v", runs, err)
		}
	})
}

func TestNoAttemptStartsWhileTheStoreCannotWrite(t *testing.T) {
	atHome(t, onFailure, func(h *home) {
		h.gate.Judge(func(*store.Batch) error { return errDisk })
		h.end(1, 9)
		h.pass(time.Hour)
		h.saw("start a/1") // nor is the end forgotten
		h.gate.Judge(nil)
		h.pass(time.Second)
		h.saw("start a/1", "forget a/1", "start a/2")
		h.end(2, 0)
		if got := h.outcome(); got.GetRun().GetAttempt() != 2 {
			t.Errorf("got %v", got)
		}
		runs, err := h.gate.Runs(t.Context(), "a")
		if err != nil || len(runs) != 2 || runs[0].GetFinishedAt() == 0 {
			t.Errorf("runs %v, %v", runs, err)
		}
	})
}

func TestCancelWorksWhileTheStoreCannotWrite(t *testing.T) {
	atHome(t, onFailure, func(h *home) {
		h.gate.Judge(func(*store.Batch) error { return errDisk })
		h.send(&slotdv1.StopTask{Cause: string(messages.ReasonCanceled)})
		h.saw("start a/1", "stop a/1")
		h.pass(time.Hour)
		if got := h.outcome(); got != nil {
			t.Errorf("an outcome before the records it follows are durable: %v", got)
		}
		h.gate.Judge(nil)
		h.pass(time.Second)
		if got := h.outcome(); got.GetTask().GetReason() != string(messages.ReasonCanceled) {
			t.Errorf("got %v", got)
		}
	})
}

// The cancel comes when the attempt has been decided, but not yet recorded: it is never started.
func TestStopOvertakesTheStart(t *testing.T) {
	for _, grace := range []uint64{0, 5000} {
		atHome(t, onFailure, func(h *home) {
			h.end(1, 9)
			h.gate.Hold()
			h.pass(time.Second) // attempt 2 is on its way to the store
			h.send(&slotdv1.StopTask{Cause: string(messages.ReasonCanceled), GraceMs: &grace})
			h.pass(time.Minute)
			h.gate.Open()
			if n := h.executor.Count("start"); n != 1 {
				t.Errorf("%d starts: %q", n, h.executor.Log())
			}
			if got := h.outcome(); got.GetTask().GetReason() != string(messages.ReasonCanceled) || got.GetRun().GetAttempt() != 2 {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestStoppedActorLeavesNoTimerAndNoPermit(t *testing.T) {
	atHome(t, onFailure, func(h *home) {
		h.executor.Withhold.Store(true)
		h.end(1, 9)
		h.pass(time.Second) // attempt 2 waits for its permit
		if n := h.executor.Remembered(); n != 1 {
			t.Fatalf("the executor knows %d attempts: %q", n, h.executor.Log())
		}
		actortest.Stop(t, h.sys, h.pid)
		h.saw("start a/1", "forget a/1", "forget a/2")
		if n := h.executor.Remembered(); n != 0 {
			t.Errorf("the executor remembers %d attempts", n)
		}
	})
}

func TestLateWordsChangeNothing(t *testing.T) {
	atHome(t, onFailure, func(h *home) {
		h.end(1, 9)
		h.pass(time.Second)
		h.saw("start a/1", "forget a/1", "start a/2")
		h.send(&slotdv1.AttemptExited{TaskId: "a", Attempt: 1, Kind: slotdv1.ExitKind_EXIT_KIND_EXITED})
		h.send(&slotdv1.AttemptStarted{TaskId: "a", Attempt: 1, At: 1})
		h.send(&slotdv1.Granted{TaskId: "a", Attempt: 2})
		h.send(&due{attempt: 1, timer: Deadline})
		h.send(&due{attempt: 1, timer: Backoff})
		h.saw("start a/1", "forget a/1", "start a/2")
		if got := h.outcome(); got != nil {
			t.Errorf("got %v", got)
		}
	})
}

// Between attempts, with a store that cannot write, the next attempt's record waits, and with it its start. A cancel finds
// nothing to kill, and whoever waits for it is told that nothing lives.
func TestCancelOfAnAttemptThatCannotStartIsTold(t *testing.T) {
	atHome(t, func(s *soltiv1.CreateSpec) { s.Restart = soltiv1.RestartStrategy_RESTART_STRATEGY_ALWAYS }, func(h *home) {
		h.end(1, 0)
		h.gate.Judge(func(*store.Batch) error { return errDisk })
		h.pass(10 * time.Second)
		h.send(&slotdv1.StopTask{Cause: string(messages.ReasonCanceled)})
		h.pass(0)
		if !slices.ContainsFunc(h.slot.Messages(), func(msg any) bool { _, dead := msg.(*slotdv1.TaskDead); return dead }) {
			t.Error("nobody is told that nothing lives")
		}
		h.gate.Judge(nil)
		h.pass(time.Second)
		if got := h.outcome().GetTask(); got.GetReason() != string(messages.ReasonCanceled) {
			t.Errorf("ended as %v", got)
		}
	})
}
