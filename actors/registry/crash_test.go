package registry_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"slotd/actors/actortest"
	"slotd/actors/registry"
	"slotd/actors/store"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// holdRecovery lets recovery wait for what it shall find, or for the end of its context.
func (n *node) holdRecovery() {
	found := make(chan registry.Recovered)
	n.found = found
	n.deps.Recover = func(ctx context.Context) (registry.Recovered, error) {
		select {
		case known := <-found:
			return known, nil
		case <-ctx.Done():
			return registry.Recovered{}, ctx.Err()
		}
	}
}

func (n *node) failRecovery(err error) {
	n.deps.Recover = func(context.Context) (registry.Recovered, error) { return registry.Recovered{}, err }
}

// admit puts a holder that has not started into the store, as an earlier life left it.
func (n *node) admit(slot string) (id string) {
	id = messages.NewMinter("").Mint(time.Now(), slot)
	n.commit(&store.Batch{
		Tasks: []*slotdv1.TaskRecord{{
			Id: id, Slot: slot, ResourceVersion: 1, Role: slotdv1.Role_ROLE_HOLDER,
			Phase: slotdv1.Phase_PHASE_READY, Status: soltiv1.TaskStatus_TASK_STATUS_PENDING,
		}},
		Specs: []*slotdv1.SpecRecord{{TaskId: id, Spec: spec(slot, drop)}},
	}, func(error) {})
	synctest.Wait()
	return id
}

// settle lets what has failed be made again.
func settle() {
	time.Sleep(time.Minute)
	synctest.Wait()
}

func TestFailedSlotIsMadeAgainWithItsTasks(t *testing.T) {
	for name, late := range map[string]bool{"before the message": false, "after it": true} {
		t.Run(name, func(t *testing.T) {
			nodes(t, nil, func(t *testing.T, n *node) {
				holder, first, second := n.submit("lane", queue), n.submit("lane", queue), n.submit("lane", queue)
				n.faults.Arm("slot.slotActor", &slotdv1.PurgeSlot{}, 0, late)
				n.send(&slotdv1.PurgeSlot{Slot: "nobody"}) // fails another slot, which has nothing to lose
				settle()
				n.faults.Arm("slot.slotActor", &slotdv1.Cancel{}, 0, late)
				n.send(&slotdv1.Cancel{TaskId: "tsk_0"}) // reaches no slot
				n.send(&slotdv1.Cancel{TaskId: second})
				settle()
				expect(t, "faults", n.faults.Hits(), 2)
				expect(t, "live", n.live.Load(), 1)
				n.end(holder)
				expect(t, "holder", n.reason(holder), string(messages.ReasonCompleted))
				n.end(first)
				expect(t, "first", n.reason(first), string(messages.ReasonCompleted))
				expect(t, "starts of the holder", n.starts(holder), 1)
				n.submit("lane", queue)
			})
		})
	}
}

func TestCommandsForAFailedSlotWaitUntilItIsBack(t *testing.T) {
	nodes(t, func(n *node) { n.deps.MaxTasks = 4 }, func(t *testing.T, n *node) {
		n.submit("lane", queue)
		n.faults.Arm("slot.slotActor", &slotdv1.Submit{}, 0, false)
		lost := n.send(&slotdv1.Submit{Spec: spec("lane", queue)})
		synctest.Wait()
		a, b := n.send(&slotdv1.Submit{Spec: spec("lane", queue)}), n.send(&slotdv1.Submit{Spec: spec("lane", queue)})
		if n.answered(a) {
			t.Error("answered by nobody")
		}
		first, second := n.accepted(actortest.Await(t, a)), n.accepted(actortest.Await(t, b))
		if first >= second {
			t.Error("the order is lost")
		}
		synctest.Wait()
		if n.answered(lost) {
			t.Error("who answered the submission that was lost with its slot?")
		}
		n.submit("other", drop) // the lost one takes no place
		expect(t, "active", n.catalog.Active(), 4)
		expect(t, "one more", label(n.ask(&slotdv1.Submit{Spec: spec("third", drop)})), messages.LabelTooManyTasks)
	})
}

func TestSlotThatFailsAgainAndAgainComesBackLater(t *testing.T) {
	nodes(t, nil, func(t *testing.T, n *node) {
		n.submit("lane", queue)
		for _, wait := range []int64{50, 100, 200, 400} {
			n.faults.Arm("slot.slotActor", &slotdv1.PurgeSlot{}, 0, false)
			n.send(&slotdv1.PurgeSlot{Slot: "lane"})
			synctest.Wait()
			began := time.Now()
			n.ask(&slotdv1.PurgeSlot{Slot: "lane"})
			expect(t, "delay in ms", time.Since(began).Milliseconds(), wait)
		}
	})
}

func TestRegistryThatFailsGoesOnWithWhatIsKnown(t *testing.T) {
	for name, late := range map[string]bool{"before the message": false, "after it": true} {
		t.Run(name, func(t *testing.T) {
			nodes(t, nil, func(t *testing.T, n *node) {
				holder, queued, other := n.submit("lane", queue), n.submit("lane", queue), n.submit("other", queue)
				n.faults.Arm("registry.registry", &slotdv1.PurgeSlot{}, 0, late)
				n.send(&slotdv1.PurgeSlot{Slot: "nobody"})
				settle()
				expect(t, "faults", n.faults.Hits(), 1)
				for _, id := range []string{holder, queued, other} {
					n.end(id)
					expect(t, id, n.reason(id), string(messages.ReasonCompleted))
					expect(t, "starts", n.starts(id), 1)
				}
				if next := n.submit("lane", drop); next <= other {
					t.Errorf("%s was minted after %s", next, other)
				}
			})
		})
	}
}

// What a registry that failed has asked for reaches its successor, which must not take it for its own.
func TestRegistryThatFailsDuringRecoveryRecoversOnce(t *testing.T) {
	nodes(t, (*node).holdRecovery, func(t *testing.T, n *node) {
		id := n.admit("lane")
		n.faults.Arm("registry.registry", &slotdv1.PurgeSlot{}, 0, false)
		n.send(&slotdv1.PurgeSlot{Slot: "nobody"})
		synctest.Wait()
		expect(t, "faults", n.faults.Hits(), 1)
		n.found <- n.known()
		if err := <-n.ready; err != nil {
			t.Fatalf("the successor took over a failure: %v", err)
		}
		synctest.Wait()
		n.end(id)
		expect(t, "reason", n.reason(id), string(messages.ReasonCompleted))
		expect(t, "starts", n.starts(id), 1)
	})
}

func TestRegistryThatFailsAtItsStartBeginsAgain(t *testing.T) {
	nodes(t, func(n *node) { n.faults.Arm("registry.registry", started, 0, false) }, func(t *testing.T, n *node) {
		if err := <-n.ready; err != nil {
			t.Fatal(err)
		}
		n.submit("lane", drop)
	})
}

func TestRegistryThatFailsWhileItDrainsDrainsOn(t *testing.T) {
	nodes(t, nil, func(t *testing.T, n *node) {
		n.executor.Deaf.Store(true)
		id := n.submit("lane", drop)
		drained := n.send(&slotdv1.Drain{GraceMs: 4000})
		synctest.Wait()
		n.faults.Arm("registry.registry", &slotdv1.PurgeSlot{}, 0, false)
		n.send(&slotdv1.PurgeSlot{Slot: "nobody"})
		synctest.Wait()
		expect(t, "submission", label(n.ask(&slotdv1.Submit{Spec: spec("other", drop)})), messages.LabelUnavailable)
		actortest.Await(t, drained)
		expect(t, "reason", n.reason(id), string(messages.ReasonShutdown))
	})
}

// Slots that go because their registry goes have not failed: there is nobody to make them again.
func TestStopOfARegistryIsNoFailureOfItsSlots(t *testing.T) {
	logged := new(words)
	nodes(t, func(n *node) { n.deps.Logger = logged.logger() }, func(t *testing.T, n *node) {
		n.submit("a", drop)
		n.submit("b", drop)
		n.faults.Arm("registry.registry", &slotdv1.PurgeSlot{}, 0, false)
		n.send(&slotdv1.PurgeSlot{Slot: "nobody"})
		settle()
		expect(t, "faults", n.faults.Hits(), 1)
	})
	expect(t, "log", logged.String(), "")
}
