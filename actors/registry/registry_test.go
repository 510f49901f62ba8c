package registry_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"slotd/actors/actortest"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

func TestCommandsForOneSlotKeepTheirOrder(t *testing.T) {
	nodes(t, nil, func(t *testing.T, n *node) {
		var answers []*actor.Future
		for range 300 {
			answers = append(answers, n.send(&slotdv1.Submit{Spec: spec("lane", queue)}))
		}
		last := n.send(&slotdv1.PurgeSlot{Slot: "lane"})
		var ids []string
		for _, answer := range answers {
			ids = append(ids, n.accepted(actortest.Await(t, answer)))
			if k := len(ids); k > 1 && ids[k-1] <= ids[k-2] {
				t.Errorf("id %s after %s", ids[k-1], ids[k-2])
			}
		}
		purged, ok := actortest.Await(t, last).(*slotdv1.SlotPurged)
		if !ok || len(purged.GetTaskIds()) != 299 {
			t.Fatalf("got %v, want all but the first", purged)
		}
		for i, id := range purged.GetTaskIds() {
			if id != ids[i+1] {
				t.Fatalf("%d: got %s, want %s", i, id, ids[i+1])
			}
		}
	})
}

func TestIdleSlotLeavesAndIsMadeAgain(t *testing.T) {
	nodes(t, nil, func(t *testing.T, n *node) {
		for range 3 {
			id := n.submit("lane", drop)
			time.Sleep(time.Minute)
			synctest.Wait()
			expect(t, "live while it is held", n.live.Load(), 1)
			n.end(id)
			time.Sleep(n.deps.Slot.IdleAfter)
			synctest.Wait()
			expect(t, "live when it is idle", n.live.Load(), 0)
		}
		expect(t, "starts", n.executor.Count("start"), 3)
		expect(t, "remembered", n.executor.Remembered(), 0)
	})
}

func TestNeverMoreThanMaxTasks(t *testing.T) {
	nodes(t, func(n *node) { n.deps.MaxTasks = 10 }, func(t *testing.T, n *node) {
		n.awaitReady()
		n.gate.Hold()
		var answers []*actor.Future
		for i := range 30 {
			answers = append(answers, n.send(&slotdv1.Submit{Spec: spec(fmt.Sprint("s", i%15), queue)}))
		}
		synctest.Wait()
		n.gate.Open()
		accepted := 0
		var id string
		for _, answer := range answers {
			switch msg := actortest.Await(t, answer).(type) {
			case *slotdv1.Submitted:
				accepted++
				id = msg.GetTaskId()
			default:
				expect(t, "label", label(msg), messages.LabelTooManyTasks)
			}
		}
		synctest.Wait()
		expect(t, "accepted", accepted, 10)
		expect(t, "active", n.catalog.Active(), 10)
		for range 3 { // a place that is given back is there for exactly one
			expect(t, "one more", label(n.ask(&slotdv1.Submit{Spec: spec("other", queue)})), messages.LabelTooManyTasks)
			n.ask(&slotdv1.Cancel{TaskId: id})
			id = n.submit("other", queue)
			expect(t, "active", n.catalog.Active(), 10)
		}
	})
}

func TestRefusedSubmissionsLeaveTheirPlaceToOthers(t *testing.T) {
	nodes(t, func(n *node) { n.deps.MaxTasks = 3 }, func(t *testing.T, n *node) {
		n.submit("lane", drop)
		for range 20 { // each is refused by the slot, with an answer that has to be waited for
			expect(t, "label", label(n.ask(&slotdv1.Submit{Spec: spec("lane", drop)})), messages.LabelSlotBusy)
		}
		n.gate.Judge(refuseAdmissions)
		for i := range 20 {
			expect(t, "label", label(n.ask(&slotdv1.Submit{Spec: spec(fmt.Sprint(i), drop)})), messages.LabelUnavailable)
		}
		n.gate.Judge(nil)
		n.submit("other", drop)
		n.submit("another", drop)
		expect(t, "active", n.catalog.Active(), 3)
	})
}

func TestKnownKeyIsAnsweredByAFullNode(t *testing.T) {
	nodes(t, func(n *node) { n.deps.MaxTasks = 1 }, func(t *testing.T, n *node) {
		submit := &slotdv1.Submit{Spec: spec("lane", drop), IdempotencyKey: "k"}
		id := n.accepted(n.ask(submit))
		expect(t, "repeated", n.accepted(n.ask(submit)), id)
		other := &slotdv1.Submit{Spec: spec("lane", queue), IdempotencyKey: "k"}
		expect(t, "reused", label(n.ask(other)), messages.LabelIdempotencyKeyReused)
		fresh := &slotdv1.Submit{Spec: spec("lane", queue), IdempotencyKey: "l"}
		expect(t, "fresh", label(n.ask(fresh)), messages.LabelTooManyTasks)
	})
}

func TestConcurrentTwinsAreOneTask(t *testing.T) {
	nodes(t, nil, func(t *testing.T, n *node) {
		n.gate.Hold()
		var answers []*actor.Future
		for range 10 {
			answers = append(answers, n.send(&slotdv1.Submit{Spec: spec("lane", drop), IdempotencyKey: "k"}))
		}
		synctest.Wait()
		n.gate.Open()
		id := n.accepted(actortest.Await(t, answers[0]))
		for _, answer := range answers[1:] {
			expect(t, "twin", n.accepted(actortest.Await(t, answer)), id)
		}
		synctest.Wait()
		expect(t, "active", n.catalog.Active(), 1)
		expect(t, "repeated", n.catalog.Decisions().GetRepeated(), 9)
		expect(t, "admitted", n.catalog.Decisions().GetAdmitted(), 1)
	})
}

func TestUnknownTasks(t *testing.T) {
	nodes(t, nil, func(t *testing.T, n *node) {
		expect(t, "cancel", label(n.ask(&slotdv1.Cancel{TaskId: "tsk_0"})), messages.LabelTaskNotFound)
		gone, ok := n.ask(&slotdv1.Delete{TaskId: "tsk_0"}).(*slotdv1.TaskEnded)
		if !ok || gone.GetTaskId() != "tsk_0" {
			t.Errorf("delete: got %v", gone)
		}
		purged, ok := n.ask(&slotdv1.PurgeSlot{Slot: "nobody"}).(*slotdv1.SlotPurged)
		if !ok || len(purged.GetTaskIds()) != 0 {
			t.Errorf("purge: got %v", purged)
		}
	})
}

func TestCancelAndDeleteOfWhatHasEnded(t *testing.T) {
	nodes(t, nil, func(t *testing.T, n *node) {
		id := n.submit("lane", drop)
		n.end(id)
		time.Sleep(time.Minute)
		if _, ok := n.ask(&slotdv1.Cancel{TaskId: id}).(*slotdv1.TaskEnded); !ok {
			t.Error("cancel not answered")
		}
		expect(t, "reason", n.reason(id), string(messages.ReasonCompleted))
		if _, ok := n.ask(&slotdv1.Delete{TaskId: id}).(*slotdv1.TaskEnded); !ok {
			t.Error("delete not answered")
		}
		expect(t, "reason", n.reason(id), "gone")
	})
}

func TestDeleteOfAnotherVersionIsRefused(t *testing.T) {
	nodes(t, nil, func(t *testing.T, n *node) {
		id := n.submit("lane", drop)
		record, _ := n.deps.Lookup(id)
		version := record.GetResourceVersion() + 1
		expect(t, "label", label(n.ask(&slotdv1.Delete{TaskId: id, ResourceVersion: &version})), messages.LabelPreconditionFailed)
		version--
		if _, ok := n.ask(&slotdv1.Delete{TaskId: id, ResourceVersion: &version}).(*slotdv1.TaskEnded); !ok {
			t.Error("delete not answered")
		}
		expect(t, "reason", n.reason(id), "gone")
	})
}

func TestSpecThatCannotRunIsRefusedBeforeItReachesASlot(t *testing.T) {
	for _, want := range []string{messages.LabelNoRunner, messages.LabelUnenforceable} {
		nodes(t, func(n *node) {
			n.deps.Runnable = func(*soltiv1.CreateSpec) *slotdv1.Rejection { return messages.Reject(want, "no", 0) }
		}, func(t *testing.T, n *node) {
			expect(t, "label", label(n.ask(&slotdv1.Submit{Spec: spec("lane", drop)})), want)
			expect(t, "live", n.live.Load(), 0)
		})
	}
}

func TestEveryDecisionIsCounted(t *testing.T) {
	nodes(t, func(n *node) { n.deps.Slot.QueueLimit = 1 }, func(t *testing.T, n *node) {
		n.executor.Deaf.Store(true) // to stops: the replacements wait
		n.submit("lane", drop)
		n.ask(&slotdv1.Submit{Spec: spec("lane", drop)})
		n.submit("lane", queue)
		n.ask(&slotdv1.Submit{Spec: spec("lane", queue)})
		n.submit("lane", replace)
		n.submit("lane", replace)
		got := n.catalog.Decisions()
		want := &slotdv1.DecisionCounters{Admitted: 1, Queued: 1, Replaced: 2, Superseded: 1, Dropped: 1, QueueFull: 1}
		if got.String() != want.String() {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}
