package actors_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"slotd/actors"
	"slotd/actors/actortest"
	"slotd/actors/catalog"
	"slotd/actors/store"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
)

// Whatever actor fails, at whatever message of an attempt's life, early or late: the attempt goes on, it is not started
// again, its outcome arrives and the slot is free after it.
func TestAttemptOutlivesTheFailureOfAnyActor(t *testing.T) {
	for _, at := range []struct {
		actor   string
		message any
	}{
		{"task.taskActor", &slotdv1.AttemptExited{}},
		{"slot.slotActor", &slotdv1.TaskFinished{}},
		{"slot.slotActor", store.Committed{}},
		{"registry.registry", &slotdv1.PurgeSlot{}},
		{"registry.registry", &slotdv1.Decided{}},
		{"executor.Executor", &slotdv1.StopAttempt{}},
		{"actors.retention", actors.Sweep},
	} {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s %T late=%v", at.actor, at.message, late), func(t *testing.T) {
				bubble(t, actors.Config{}, func(t *testing.T, n *node) {
					n.runner.hold = true
					id := n.submit("lane", queue)
					n.wait(id, catalog.WantRunning)
					synctest.Wait()
					n.faults.Arm(at.actor, at.message, 0, late)
					n.provoke()
					n.runner.end(id, 1)
					if got := n.wait(id, catalog.WantTerminal); got.GetReason() != completed || got.GetAttempt() != 1 {
						t.Errorf("got %v", got)
					}
					time.Sleep(10 * time.Second)
					if n.faults.Hits() != 1 {
						t.Errorf("%d faults", n.faults.Hits())
					}
					n.ask(&slotdv1.PurgeSlot{Slot: "lane", Holder: true})
					time.Sleep(10 * time.Second)
					next := n.submit("lane", drop)
					n.wait(next, catalog.WantRunning)
					synctest.Wait()
					n.runner.end(next, 1)
					n.wait(next, catalog.WantTerminal)
					n.runner.check(t)
					synctest.Wait()
					if got := n.Introspect(); got.GetTasksActive() != 0 || got.GetAttemptsRunning() != 0 {
						t.Errorf("at the end: %v", got)
					}
				})
			})
		}
	}
}

// provoke lets every kind of actor have something to do beside an attempt, and gives what fails the time to come back.
func (n *node) provoke() {
	root := n.System().Root
	root.Send(n.Registry(), &slotdv1.Submit{Spec: command("lane", queue)})
	root.Send(n.Registry(), &slotdv1.PurgeSlot{Slot: "nobody"})
	root.Send(n.Executor(), &slotdv1.StopAttempt{TaskId: "nobody"})
	time.Sleep(10 * time.Second)
	synctest.Wait()
}

func TestRetentionGoesOnAfterAFailure(t *testing.T) {
	bubble(t, actors.Config{Retain: time.Minute}, func(t *testing.T, n *node) {
		for _, late := range []bool{false, true} {
			for _, message := range []any{actors.Sweep, actors.Swept} {
				n.faults.Arm("actors.retention", message, 0, late)
				id := n.submit("lane", drop)
				n.wait(id, catalog.WantTerminal)
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				if _, kept := n.Catalog().Task(id); kept {
					t.Fatalf("kept after a fault at %T, late %v", message, late)
				}
			}
		}
		if got := n.faults.Hits(); got != 4 {
			t.Errorf("%d faults", got)
		}
	})
}

func TestStopEndsAttemptsThatWereAboutToStart(t *testing.T) {
	bubble(t, actors.Config{}, func(_ *testing.T, n *node) {
		n.runner.hold = true
		go actortest.Look(n.System(), n.Executor(), func() { time.Sleep(time.Second) }) // its mailbox fills meanwhile
		synctest.Wait()
		for i := range 20 {
			n.System().Root.Send(n.Registry(), &slotdv1.Submit{Spec: command(fmt.Sprint(i), drop)})
		}
		synctest.Wait()
	})
}

func TestDrainEndsWithTheNodeUnderIt(t *testing.T) {
	bubble(t, actors.Config{}, func(t *testing.T, n *node) {
		n.runner.hold = true
		id := n.submit("lane", drop)
		n.wait(id, catalog.WantRunning)
		n.faults.Arm("registry.registry", &actor.Terminated{}, 0, false)
		if err := n.Drain(t.Context(), time.Second); err != nil {
			t.Fatal(err)
		}
		if got := n.wait(id, catalog.WantTerminal); got.GetReason() != string(messages.ReasonShutdown) {
			t.Errorf("got %v", got)
		}
	})
}
