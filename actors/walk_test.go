package actors_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"slotd/actors"
	"slotd/actors/catalog"
	"slotd/actors/store"
	slotdv1 "slotd/messages/slotd/v1"
)

// Slots leave memory all the time while they are submitted to: nothing is lost, and a slot that is free is never busy.
func TestSubmissionsRaceTheRetirementOfTheirSlots(t *testing.T) {
	const clients, rounds, slots = 8, 400, 12
	bubble(t, actors.Config{IdleAfter: time.Millisecond}, func(t *testing.T, n *node) {
		var group sync.WaitGroup
		for client := range clients {
			group.Go(func() {
				random := rand.New(rand.NewPCG(7, uint64(client)))
				for range rounds {
					// Each client has slots of its own, so a refusal would be for a task that has ended.
					lane := fmt.Sprintf("lane-%d-%d", client, random.IntN(slots))
					answer, err := n.System().Root.RequestFuture(n.Registry(), &slotdv1.Submit{Spec: command(lane, drop)}, time.Hour).Result()
					accepted, ok := answer.(*slotdv1.Submitted)
					if err != nil || !ok {
						t.Errorf("%s: got %v, %v", lane, answer, err)
						return
					}
					if _, ok := n.Catalog().Wait(t.Context(), accepted.GetTaskId(), catalog.WantTerminal); !ok {
						t.Errorf("%s is gone", accepted.GetTaskId())
						return
					}
					time.Sleep(time.Duration(random.IntN(3)) * time.Millisecond)
				}
			})
		}
		group.Wait()
		time.Sleep(time.Second)
		synctest.Wait()
		n.runner.check(t)
		if got := len(n.runner.starts); got != clients*rounds {
			t.Errorf("%d attempts, want %d", got, clients*rounds)
		}
		got := n.Introspect()
		if got.GetSlotsLive() != 0 || got.GetTasksActive() != 0 || got.GetDecisions().GetAdmitted() != clients*rounds || got.GetDecisions().GetDropped() != 0 {
			t.Errorf("at the end: %v", got)
		}
		if got.GetDeadLetters() != 0 {
			t.Errorf("%d dead letters", got.GetDeadLetters())
		}
	})
}

func TestRetentionDeletesWhatIsOldAndSparesWhatRuns(t *testing.T) {
	bubble(t, actors.Config{Retain: time.Hour}, func(t *testing.T, n *node) {
		old := n.submit("old", drop)
		n.wait(old, catalog.WantTerminal)
		n.runner.hold = true
		spec := command("runs", drop)
		spec.TimeoutMs = 86_400_000
		running := n.accepted(n.ask(&slotdv1.Submit{Spec: spec}))
		n.wait(running, catalog.WantRunning)
		time.Sleep(59 * time.Minute)
		if _, kept := n.Catalog().Task(old); !kept {
			t.Error("deleted before its time")
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if _, kept := n.Catalog().Task(old); kept {
			t.Error("kept after its time")
		}
		if _, err := n.store.Task(t.Context(), old); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("the store keeps it: %v", err)
		}
		if got := n.wait(running, catalog.WantRunning); got.GetTerminal() {
			t.Errorf("got %v", got)
		}
	})
}

func TestRetentionDeletesWhatIsTooMuch(t *testing.T) {
	bubble(t, actors.Config{RetainTasks: 10}, func(t *testing.T, n *node) {
		n.runner.say = "hello\n"
		var ids []string
		for range 30 {
			ids = append(ids, n.submit("lane", drop))
			n.wait(ids[len(ids)-1], catalog.WantTerminal)
			time.Sleep(time.Millisecond)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		for i, id := range ids {
			if _, kept := n.Catalog().Task(id); kept != (i >= 20) {
				t.Errorf("task %d: kept %v", i, kept)
			}
		}
		if got := n.folders(); got != 10 {
			t.Errorf("%d log folders, want 10", got)
		}
		if got := n.Introspect(); got.GetTasks()["TASK_STATUS_SUCCEEDED"] != 10 {
			t.Errorf("got %v", got.GetTasks())
		}
	})
}

func TestWhoSeesTheEndFindsItInTheLog(t *testing.T) {
	bubble(t, actors.Config{}, func(t *testing.T, n *node) {
		n.runner.say = "hello\n"
		for range 200 {
			id := n.submit("lane", drop)
			n.wait(id, catalog.WantTerminal)
			if text := n.read(id, false); !strings.Contains(text, "hello") || !strings.Contains(text, "run-finished") {
				t.Fatalf("the log lacks its end: %s", text)
			}
		}
	})
}

func TestWhoSeesTheLogEndFindsTheTaskTerminal(t *testing.T) {
	bubble(t, actors.Config{}, func(t *testing.T, n *node) {
		n.runner.hold = true
		for range 100 {
			id := n.submit("lane", drop)
			n.wait(id, catalog.WantRunning)
			synctest.Wait()
			go n.runner.end(id, 1)
			if text := n.read(id, true); !strings.Contains(text, "run-finished") {
				t.Fatalf("the log lacks its end: %s", text)
			}
			task, _ := n.Catalog().Task(id)
			if !task.GetStatus().GetTerminal() {
				t.Fatalf("the log has ended before %v", task.GetStatus())
			}
		}
	})
}

func TestPermitsAreOfTheWholeNode(t *testing.T) {
	bubble(t, actors.Config{MaxRunning: 3}, func(t *testing.T, n *node) {
		n.runner.hold = true
		var ids []string
		for i := range 10 {
			ids = append(ids, n.submit(fmt.Sprint(i), drop))
		}
		synctest.Wait()
		if got := n.Introspect(); got.GetAttemptsRunning() != 3 || got.GetAttemptsWaiting() != 7 || got.GetSlotsOccupied() != 10 || got.GetTasksActive() != 10 {
			t.Errorf("got %v", got)
		}
		n.ask(&slotdv1.Cancel{TaskId: ids[5]}) // one that waits
		n.ask(&slotdv1.Cancel{TaskId: ids[0]}) // one that runs
		synctest.Wait()
		if got := n.Introspect(); got.GetAttemptsRunning() != 3 || got.GetAttemptsWaiting() != 5 {
			t.Errorf("got %v", got)
		}
		n.faults.Arm("registry.registry", &slotdv1.PurgeSlot{}, 0, false) // those that wait ask again
		n.System().Root.Send(n.Registry(), &slotdv1.PurgeSlot{Slot: "nobody"})
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := n.Introspect(); got.GetAttemptsRunning() != 3 || got.GetAttemptsWaiting() != 5 {
			t.Errorf("after a failure: %v", got)
		}
		n.runner.mu.Lock()
		n.runner.hold = false
		for _, p := range n.runner.beds {
			p.end(exitZero)
		}
		n.runner.mu.Unlock()
		time.Sleep(time.Second)
		synctest.Wait()
		if got := n.Introspect(); got.GetAttemptsRunning() != 0 || got.GetAttemptsWaiting() != 0 || got.GetTasksActive() != 0 {
			t.Errorf("at the end: %v", got)
		}
		n.runner.check(t)
	})
}
