package slot

import (
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"

	"slotd/actors/actortest"
	"slotd/actors/store"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// Without permits the first attempt is durable together with the admission: the store is asked once.
func TestFirstAttemptIsWrittenWithTheAdmission(t *testing.T) {
	inLane(t, func(l *lane) {
		l.deps.Task.Permits = false
		l.open()
		l.gate.Hold()
		a := l.submit("a", drop)
		b := l.submit("b", waits)
		if n := l.gate.Waiting(); n != 2 {
			t.Fatalf("%d commits wait, want the two admissions", n)
		}
		l.saw()
		l.gate.Release(nil, nil)
		l.accepted(a)
		l.accepted(b)
		l.saw("start a/1")
		l.stored("a HOLDER RUNNING", "b QUEUED PENDING")
		l.end("a")
		if n := l.gate.Waiting(); n != 1 {
			t.Fatalf("%d commits wait, want one with the end and the next attempt", n)
		}
		l.saw("start a/1", "end a/1")
		l.gate.Open()
		l.pass(0)
		l.saw("start a/1", "end a/1", "forget a/1", "start b/1")
		runs, err := l.gate.Runs(t.Context(), "b")
		if err != nil || len(runs) != 1 || runs[0].GetFinishedAt() != 0 {
			t.Errorf("runs of b: %v, %v", runs, err)
		}
		if record, err := l.gate.Task(t.Context(), "a"); err != nil || record.GetResourceVersion() != 2 {
			t.Errorf("a: %v, %v, want its first and its last version", record, err)
		}
		l.end("b")
		l.forgotten()
	})
}

// A run that was written is closed also when a cancel comes before its process.
func TestCancelBeforeTheFirstAttemptStartsClosesItsRun(t *testing.T) {
	inLane(t, func(l *lane) {
		l.deps.Task.Permits = false
		l.open()
		l.gate.Hold()
		a := l.submit("a", drop)
		cancel := l.send(&slotdv1.Cancel{TaskId: "a"})
		l.gate.Open()
		l.accepted(a)
		if ended, ok := actortest.Await(t, cancel).(*slotdv1.TaskEnded); !ok {
			t.Fatalf("got %v", ended)
		}
		l.pass(time.Second)
		l.saw("stop a/1", "forget a/1")
		l.stored("a NONE CANCELED Canceled")
		runs, err := l.gate.Runs(t.Context(), "a")
		if err != nil || len(runs) != 1 || runs[0].GetReason() != string(messages.ReasonCanceled) || runs[0].GetFinishedAt() == 0 {
			t.Errorf("runs %v, %v", runs, err)
		}
		l.forgotten()
	})
}

// The start is lost with the actor that was to ask for it; the attempt is of this life, so it was never started.
func TestFirstAttemptOfAFailedActorIsStarted(t *testing.T) {
	inLane(t, func(l *lane) {
		l.deps.Task.Permits, l.deps.Task.Life = false, 7
		failOnce(l, func(msg any) bool { _, ok := msg.(interface{ SystemMessage() }); return ok })
		l.open()
		l.accepted(l.submit("a", drop))
		l.pass(time.Second)
		l.saw("attach a/1")
		l.end("a")
		l.stored("a NONE SUCCEEDED Completed")
		l.forgotten()
	})
}

func TestCancelKillsAndSaysThatItIsNotRecordedWhileTheStoreFails(t *testing.T) {
	for name, purge := range map[string]bool{"cancel": false, "delete": true} {
		t.Run(name, func(t *testing.T) {
			inLane(t, func(l *lane) {
				l.open()
				l.accepted(l.submit("a", drop))
				l.accepted(l.submit("b", waits))
				l.gate.Judge(func(b *store.Batch) error { return errDisk })
				began := time.Now()
				f := l.send(map[bool]any{false: &slotdv1.Cancel{TaskId: "a"}, true: &slotdv1.Delete{TaskId: "a"}}[purge])
				l.rejected(f, messages.LabelUnavailable)
				if took := time.Since(began); took > 0 {
					t.Errorf("answered after %v, though the attempt ended at once", took)
				}
				l.rejected(l.send(&slotdv1.Cancel{TaskId: "a"}), messages.LabelUnavailable)
				l.saw("start a/1", "stop a/1")
				l.gate.Judge(nil)
				l.pass(time.Second)
				if purge {
					l.stored("b HOLDER RUNNING")
				} else {
					l.stored("a NONE CANCELED Canceled", "b HOLDER RUNNING")
				}
				l.end("b")
				l.forgotten()
			})
		})
	}
}

func TestDrainThatKeepsIsThroughWhenAllIsDurable(t *testing.T) {
	inLane(t, func(l *lane) {
		l.open()
		l.accepted(l.again("a"))
		l.accepted(l.submit("b", waits))
		l.gate.Hold()
		l.send(&slotdv1.Drain{GraceMs: 1000, Keep: true})
		l.saw("start a/1", "stop a/1")
		l.pass(time.Second)
		if l.rests() {
			t.Fatal("rests before the end of the attempt is durable")
		}
		l.gate.Open()
		l.pass(time.Second)
		if !l.rests() {
			t.Fatal("does not rest")
		}
		l.saw("start a/1", "stop a/1", "forget a/1")
		l.stored("a HOLDER CANCELED Shutdown", "b QUEUED PENDING")
	})
}

// again submits a task that is repeated for ever.
func (l *lane) again(id string) *actor.Future {
	return l.send(&slotdv1.Submit{TaskId: id, At: time.Now().UnixMilli(), Spec: &soltiv1.CreateSpec{
		Slot: "lane", TimeoutMs: 3_600_000, StopGraceMs: proto.Uint64(5000),
		Restart: soltiv1.RestartStrategy_RESTART_STRATEGY_ALWAYS,
	}})
}

// rests says whether the slot has told the registry that it is through with a drain.
func (l *lane) rests() bool {
	for _, msg := range l.registry.Messages() {
		if retire, ok := msg.(*slotdv1.Retire); ok && retire.GetResting() {
			return true
		}
	}
	return false
}

// A store that has failed and cannot tell yet what became of the last batches answers nothing; clients are not kept
// waiting for that.
func TestCancelIsAnsweredWhileTheStoreSaysNothing(t *testing.T) {
	inLane(t, func(l *lane) {
		l.open()
		l.accepted(l.submit("a", drop))
		l.accepted(l.submit("b", waits))
		l.gate.Hold()
		l.broken.Store(true)
		holder, queued := l.send(&slotdv1.Cancel{TaskId: "a"}), l.send(&slotdv1.Cancel{TaskId: "b"})
		began := time.Now()
		l.rejected(holder, messages.LabelUnavailable)
		l.rejected(queued, messages.LabelUnavailable)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("answered after %v", took)
		}
		l.saw("start a/1", "stop a/1")
		l.broken.Store(false)
		l.gate.Open()
		l.pass(time.Second)
		l.stored("a NONE CANCELED Canceled", "b NONE CANCELED Canceled")
		if ended, ok := actortest.Await(t, l.send(&slotdv1.Cancel{TaskId: "b"})).(*slotdv1.TaskEnded); !ok {
			t.Errorf("after it has healed: %v", ended)
		}
		l.forgotten()
	})
}

// Clients repeat what is refused, for as long as the disk is full.
func TestRepeatedCancelsAreNotRememberedWhileTheStoreFails(t *testing.T) {
	inLane(t, func(l *lane) {
		l.open()
		l.accepted(l.submit("a", drop))
		l.accepted(l.submit("b", waits))
		l.gate.Judge(func(*store.Batch) error { return errDisk })
		l.rejected(l.send(&slotdv1.Cancel{TaskId: "b"}), messages.LabelUnavailable) // now the slot knows
		for range 50 {
			for _, msg := range []any{
				&slotdv1.Cancel{TaskId: "a"}, &slotdv1.Delete{TaskId: "a"}, &slotdv1.Delete{TaskId: "ended"}, &slotdv1.PurgeSlot{Holder: true},
			} {
				l.rejected(l.send(msg), messages.LabelUnavailable)
			}
		}
		l.look(func(a *slotActor) {
			if n := len(a.callers) + len(a.core.holder.waiters); n > 0 {
				t.Errorf("%d callers are remembered", n)
			}
		})
		l.gate.Judge(nil)
		l.pass(time.Second)
		l.stored("b NONE CANCELED Canceled")
		l.forgotten()
	})
}
