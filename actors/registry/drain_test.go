package registry_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"slotd/actors/actortest"
	"slotd/actors/store"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

var errDisk = errors.New("no space left on device")

func refuseAdmissions(b *store.Batch) error {
	if len(b.Specs) > 0 {
		return errDisk
	}
	return nil
}

// answered says whether a future has its answer already.
func (n *node) answered(f *actor.Future) bool {
	inbox := new(actortest.Inbox)
	pid := n.sys.Root.Spawn(actor.PropsFromProducer(func() actor.Actor { return inbox }))
	defer actortest.Stop(n.t, n.sys, pid)
	f.PipeTo(pid)
	synctest.Wait()
	return len(inbox.Messages()) > 0
}

func TestCommandsBeforeRecoveryAreAnsweredAfterIt(t *testing.T) {
	nodes(t, (*node).holdRecovery, func(t *testing.T, n *node) {
		submit := n.send(&slotdv1.Submit{Spec: spec("lane", drop)})
		second := n.send(&slotdv1.Submit{Spec: spec("lane", queue)})
		cancel := n.send(&slotdv1.Cancel{TaskId: "tsk_0"})
		time.Sleep(time.Minute)
		if n.answered(submit) || n.answered(cancel) {
			t.Error("answered before recovery")
		}
		close(n.found)
		first := n.accepted(actortest.Await(t, submit))
		if next := n.accepted(actortest.Await(t, second)); next <= first {
			t.Errorf("%s was minted after %s", next, first)
		}
		expect(t, "cancel", label(actortest.Await(t, cancel)), messages.LabelTaskNotFound)
		if err := <-n.ready; err != nil {
			t.Error(err)
		}
	})
}

func TestFailedRecoveryAnswersEveryCommand(t *testing.T) {
	nodes(t, func(n *node) { n.failRecovery(errDisk) }, func(t *testing.T, n *node) {
		before := n.send(&slotdv1.Submit{Spec: spec("lane", drop)})
		if err := <-n.ready; !errors.Is(err, errDisk) {
			t.Errorf("got %v, want %v", err, errDisk)
		}
		expect(t, "held", label(actortest.Await(t, before)), messages.LabelUnavailable)
		for _, msg := range []any{
			&slotdv1.Submit{Spec: spec("lane", drop)}, &slotdv1.Cancel{TaskId: "tsk_0"},
			&slotdv1.Delete{TaskId: "tsk_0"}, &slotdv1.PurgeSlot{Slot: "lane"},
		} {
			expect(t, "late", label(n.ask(msg)), messages.LabelUnavailable)
		}
		if _, ok := n.ask(&slotdv1.Drain{}).(*slotdv1.Drained); !ok {
			t.Error("nothing is there to be drained")
		}
	})
}

func TestDrainDuringRecoveryEndsWhatIsRecovered(t *testing.T) {
	nodes(t, (*node).holdRecovery, func(t *testing.T, n *node) {
		drained := n.send(&slotdv1.Drain{GraceMs: 1000})
		if n.answered(drained) {
			t.Fatal("drained before it was known what is here")
		}
		id := n.admit("lane")
		n.found <- n.known()
		if _, ok := actortest.Await(t, drained).(*slotdv1.Drained); !ok {
			t.Error("not drained")
		}
		expect(t, "reason", n.reason(id), string(messages.ReasonShutdown))
	})
}

func TestDrainAnswersWhenNothingIsLeft(t *testing.T) {
	nodes(t, nil, func(t *testing.T, n *node) {
		n.executor.Deaf.Store(true)
		holder, queued, other := n.submit("lane", queue), n.submit("lane", queue), n.submit("other", queue)
		drained := n.send(&slotdv1.Drain{GraceMs: 4000})
		time.Sleep(3 * time.Second)
		if n.answered(drained) {
			t.Error("two attempts still run")
		}
		expect(t, "what waits ends at once", n.reason(queued), string(messages.ReasonShutdown))
		expect(t, "submission", label(n.ask(&slotdv1.Submit{Spec: spec("third", drop)})), messages.LabelUnavailable)
		expect(t, "submission", label(n.ask(&slotdv1.Submit{Spec: spec("lane", queue)})), messages.LabelUnavailable)
		time.Sleep(time.Second) // the grace is over
		if _, ok := actortest.Await(t, drained).(*slotdv1.Drained); !ok {
			t.Error("not drained")
		}
		expect(t, "holder", n.reason(holder), string(messages.ReasonShutdown))
		expect(t, "other", n.reason(other), string(messages.ReasonShutdown))
		expect(t, "live", n.live.Load(), 0)
	})
}

func TestDrainMayBeRepeatedWithLessGrace(t *testing.T) {
	nodes(t, nil, func(t *testing.T, n *node) {
		n.executor.Deaf.Store(true)
		n.submit("lane", queue)
		first := n.send(&slotdv1.Drain{GraceMs: 5000})
		time.Sleep(time.Second)
		began := time.Now()
		second := n.send(&slotdv1.Drain{GraceMs: 0})
		for _, f := range []*actor.Future{first, second} {
			if _, ok := actortest.Await(t, f).(*slotdv1.Drained); !ok {
				t.Error("not drained")
			}
		}
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("the kill took %v", took)
		}
	})
}

func TestCancelAndDeleteWorkDuringADrain(t *testing.T) {
	nodes(t, nil, func(t *testing.T, n *node) {
		n.executor.Deaf.Store(true)
		a, b := n.submit("a", drop), n.submit("b", drop)
		ended := n.submit("c", drop)
		n.end(ended)
		drained := n.send(&slotdv1.Drain{GraceMs: 5000})
		now := uint64(0)
		if _, ok := n.ask(&slotdv1.Cancel{TaskId: a, GraceMs: &now}).(*slotdv1.TaskEnded); !ok {
			t.Error("cancel not answered")
		}
		for _, id := range []string{b, ended} {
			if _, ok := n.ask(&slotdv1.Delete{TaskId: id}).(*slotdv1.TaskEnded); !ok {
				t.Error("delete not answered")
			}
			expect(t, "reason", n.reason(id), "gone")
		}
		actortest.Await(t, drained)
		expect(t, "a", n.reason(a), string(messages.ReasonCanceled))
	})
}

func TestDrainOfAnEmptyNodeAnswersAtOnce(t *testing.T) {
	nodes(t, nil, func(t *testing.T, n *node) {
		n.awaitReady()
		began := time.Now()
		n.ask(&slotdv1.Drain{GraceMs: 5000})
		expect(t, "took", time.Since(began), 0)
	})
}

func TestDrainThatKeepsLeavesWhatWaitsToTheNextLife(t *testing.T) {
	nodes(t, nil, func(t *testing.T, n *node) {
		again := spec("lane", queue)
		again.Restart = soltiv1.RestartStrategy_RESTART_STRATEGY_ON_FAILURE
		holder := n.accepted(n.ask(&slotdv1.Submit{Spec: again}))
		queued, other := n.submit("lane", queue), n.submit("other", queue)
		canceled := n.submit("other", queue)
		if _, ok := n.ask(&slotdv1.Drain{GraceMs: 4000, Keep: true}).(*slotdv1.Drained); !ok {
			t.Fatal("not drained")
		}
		expect(t, "submission", label(n.ask(&slotdv1.Submit{Spec: spec("lane", queue)})), messages.LabelUnavailable)
		expect(t, "cancel", label(n.ask(&slotdv1.Cancel{TaskId: canceled})), "no rejection")
		for id, want := range map[string]string{
			holder: "HOLDER READY CANCELED Shutdown", queued: "QUEUED READY PENDING ",
			other: "NONE FINISHED CANCELED Shutdown", canceled: "NONE FINISHED CANCELED Canceled",
		} {
			expect(t, id, n.place(id), want)
		}
		expect(t, "starts of the queued", n.starts(queued), 0)
		if _, ok := n.ask(&slotdv1.Drain{GraceMs: 0, Keep: true}).(*slotdv1.Drained); !ok {
			t.Error("not drained the second time")
		}
	})
}

func TestDrainThatKeepsDuringRecoveryWakesNobody(t *testing.T) {
	nodes(t, (*node).holdRecovery, func(t *testing.T, n *node) {
		id := n.admit("lane")
		drained := n.send(&slotdv1.Drain{GraceMs: 1000, Keep: true})
		n.found <- n.known()
		if _, ok := actortest.Await(t, drained).(*slotdv1.Drained); !ok {
			t.Error("not drained")
		}
		expect(t, "the task", n.place(id), "HOLDER READY PENDING ")
		expect(t, "starts", n.starts(id), 0)
		if _, ok := n.ask(&slotdv1.Cancel{TaskId: id}).(*slotdv1.TaskEnded); !ok {
			t.Error("not canceled")
		}
		expect(t, "the task", n.place(id), "NONE FINISHED CANCELED Canceled")
	})
}

// place tells where a task stands.
func (n *node) place(id string) string {
	record, ok := n.deps.Lookup(id)
	if !ok {
		return "gone"
	}
	short := func(name fmt.Stringer) string { return name.String()[strings.LastIndex(name.String(), "_")+1:] }
	return fmt.Sprintf("%s %s %s %s", short(record.GetRole()), short(record.GetPhase()), short(record.GetStatus()), record.GetReason())
}
