package slot

import (
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"slotd/actors/actortest"
	"slotd/actors/store"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
)

func TestRefusedAdmissionStartsNothing(t *testing.T) {
	inLane(t, func(l *lane) {
		l.open()
		l.gate.Hold()
		a, b := l.submit("a", drop), l.submit("b", drop)
		l.gate.Release(errDisk)
		l.rejected(a, messages.LabelUnavailable)
		l.rejected(b, messages.LabelUnavailable) // its 409 would name a task that never was
		l.gate.Open()
		l.saw()
		l.stored()
		l.forgotten()
		l.accepted(l.submit("c", drop))
		l.saw("start c/1")
		l.end("c")
		l.forgotten()
	})
}

func TestRefusedReplacementLeavesTheHolderAlone(t *testing.T) {
	inLane(t, func(l *lane) {
		l.open()
		l.accepted(l.submit("a", drop))
		l.gate.Judge(func(b *store.Batch) error { return errDisk })
		l.rejected(l.submit("b", replace), messages.LabelUnavailable)
		l.gate.Judge(nil)
		l.pass(time.Minute)
		l.saw("start a/1")
		l.stored("a HOLDER RUNNING")
		l.accepted(l.submit("c", replace))
		l.saw("start a/1", "stop a/1", "forget a/1", "start c/1")
		l.stored("a NONE CANCELED Replaced", "c HOLDER RUNNING")
		l.end("c")
		l.forgotten()
	})
}

// The successor is refused when it has been promoted already, in one commit with the end of the holder: that end must
// not be lost with it.
func TestEndOfTheHolderOutlivesARefusedSuccessor(t *testing.T) {
	inLane(t, func(l *lane) {
		l.open()
		l.accepted(l.submit("a", drop))
		l.gate.Hold()
		b, c := l.submit("b", waits), l.submit("c", waits)
		l.end("a")
		if n := l.gate.Waiting(); n != 3 {
			t.Fatalf("%d commits wait, want two admissions and the hand-over", n)
		}
		l.gate.Release(errDisk, errDisk, errDisk)
		l.rejected(b, messages.LabelUnavailable)
		l.rejected(c, messages.LabelUnavailable)
		l.gate.Open()
		l.pass(time.Second)
		l.stored("a NONE SUCCEEDED Completed")
		l.saw("start a/1", "end a/1", "forget a/1")
		l.forgotten()
	})
}

// As above, but the hand-over, which names the refused task, fails on its own.
func TestRefusedTaskIsLeftOutOfWhatIsCommittedAgain(t *testing.T) {
	inLane(t, func(l *lane) {
		l.open()
		l.accepted(l.submit("a", drop))
		l.gate.Hold()
		b := l.submit("b", waits)
		c := l.submit("c", waits)
		l.end("a")
		l.gate.Release(errDisk)
		l.rejected(b, messages.LabelUnavailable)
		l.gate.Release(nil, errDisk) // c is admitted; the hand-over names b
		l.gate.Open()
		l.pass(time.Second)
		l.accepted(c)
		l.stored("a NONE SUCCEEDED Completed", "c HOLDER RUNNING")
		l.end("c")
		l.forgotten()
	})
}

func TestStoreThatCannotWriteStopsNoCancel(t *testing.T) {
	inLane(t, func(l *lane) {
		l.open()
		l.accepted(l.submit("a", drop))
		l.accepted(l.submit("b", waits))
		l.gate.Judge(func(b *store.Batch) error {
			if len(b.Tasks) == 1 && b.Tasks[0].GetPhase() == slotdv1.Phase_PHASE_STOPPING {
				return nil // the task's own last record still gets through
			}
			return errDisk
		})
		l.rejected(l.send(&slotdv1.Cancel{TaskId: "a"}), messages.LabelUnavailable)
		l.rejected(l.send(&slotdv1.Delete{TaskId: "b"}), messages.LabelUnavailable)
		l.rejected(l.submit("c", waits), messages.LabelUnavailable)
		l.saw("start a/1", "stop a/1")
		l.stored("a HOLDER RUNNING", "b QUEUED PENDING")
		l.pass(time.Minute)
		l.gate.Judge(nil)
		l.pass(time.Second)
		l.stored("a NONE CANCELED Canceled") // and b is gone
		l.accepted(l.submit("d", drop))
		l.end("d")
		l.forgotten()
	})
}

func TestFailedTransitionsAreWrittenInOrderAndNothingIsLost(t *testing.T) {
	inLane(t, func(l *lane) {
		l.open()
		l.accepted(l.submit("a", drop))
		l.accepted(l.submit("b", waits))
		l.gate.Judge(func(*store.Batch) error { return errDisk })
		l.end("a")
		l.pass(10 * time.Second)
		l.saw("start a/1", "end a/1")
		l.stored("a HOLDER RUNNING", "b QUEUED PENDING")
		l.gate.Judge(nil)
		l.pass(time.Second)
		l.saw("start a/1", "end a/1", "forget a/1", "start b/1")
		l.stored("a NONE SUCCEEDED Completed", "b HOLDER RUNNING")
		runs, err := l.gate.Runs(t.Context(), "a")
		if err != nil || len(runs) != 1 || runs[0].GetFinishedAt() == 0 {
			t.Errorf("runs %v, %v", runs, err)
		}
		l.end("b")
		l.forgotten()
	})
}

// An admission that has reached the store behind a failed transition is folded into what is written again. It has
// happened: a second failure must not refuse it, nor take the transition along.
func TestFoldedAdmissionIsNotRefused(t *testing.T) {
	inLane(t, func(l *lane) {
		l.open()
		l.accepted(l.submit("a", drop))
		l.accepted(l.submit("b", waits))
		healthy := l.gate.Commit
		var failed func(error) // of the transition, told only when the admission comes
		l.deps.Commit = func(b *store.Batch, done func(error)) {
			switch {
			case failed == nil:
				failed = done
			case len(b.Specs) == 1 && len(b.Tasks) == 1:
				failed(errDisk) // just too late for the slot to know
				healthy(b, done)
			default:
				healthy(b, done)
			}
		}
		f := l.send(&slotdv1.Cancel{TaskId: "b"})
		c := l.submit("c", waits)
		l.rejected(f, messages.LabelUnavailable)
		again := 0
		l.gate.Judge(func(*store.Batch) error {
			if again++; again == 1 {
				return errDisk
			}
			return nil
		})
		l.pass(time.Second)
		l.accepted(c)
		l.stored("a HOLDER RUNNING", "b NONE CANCELED Canceled", "c QUEUED PENDING")
		l.end("a")
		l.end("c")
		l.forgotten()
	})
}

// failOnce makes a task actor panic when it first hears of something.
func failOnce(l *lane, when func(any) bool) *int {
	failures := new(int)
	l.deps.Task.Options = []actor.PropsOption{actor.WithReceiverMiddleware(func(next actor.ReceiverFunc) actor.ReceiverFunc {
		return func(c actor.ReceiverContext, envelope *actor.MessageEnvelope) {
			if *failures == 0 && when(envelope.Message) {
				*failures++
				panic("a bug")
			}
			next(c, envelope)
		}
	})}
	return failures
}

func TestFailedTaskActorIsRebuiltAndItsAttemptGoesOn(t *testing.T) {
	inLane(t, func(l *lane) {
		failures := failOnce(l, func(msg any) bool { _, ok := msg.(*slotdv1.AttemptStarted); return ok })
		l.open()
		l.accepted(l.submit("a", drop))
		l.pass(time.Second)
		l.saw("start a/1", "attach a/1")
		l.end("a")
		l.saw("start a/1", "attach a/1", "end a/1", "forget a/1")
		l.stored("a NONE SUCCEEDED Completed")
		if *failures != 1 {
			t.Errorf("%d failures", *failures)
		}
		l.forgotten()
	})
}

func TestFailedTaskActorHearsOfItsStopAgain(t *testing.T) {
	inLane(t, func(l *lane) {
		failOnce(l, func(msg any) bool { _, ok := msg.(*slotdv1.StopTask); return ok })
		l.open()
		l.accepted(l.submit("a", drop))
		answer := l.send(&slotdv1.Cancel{TaskId: "a"})
		l.pass(time.Second)
		if ended, ok := actortest.Await(t, answer).(*slotdv1.TaskEnded); !ok {
			t.Errorf("got %v", ended)
		}
		l.stored("a NONE CANCELED Canceled")
		l.forgotten()
	})
}

func TestFailedTaskActorLeavesNoPermit(t *testing.T) {
	inLane(t, func(l *lane) {
		l.executor.Withhold.Store(true)
		failOnce(l, func(msg any) bool { _, ok := msg.(*slotdv1.StopTask); return ok })
		l.open()
		l.accepted(l.submit("a", drop))
		answer := l.send(&slotdv1.Cancel{TaskId: "a"})
		l.pass(time.Second)
		actortest.Await(t, answer)
		l.saw("forget a/1", "forget a/1")
		l.forgotten()
	})
}
