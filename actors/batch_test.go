package actors_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"slotd/actors"
	"slotd/actors/slot"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// submitTasks submits together, and returns one channel with the answer to each.
func (n *node) submitTasks(specs ...*soltiv1.CreateSpec) []<-chan any {
	n.t.Helper()
	command := &slotdv1.SubmitTasks{}
	var answers []<-chan any
	for _, spec := range specs {
		answer := make(chan any, 1)
		asker := n.System().Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
			switch msg := c.Message().(type) {
			case *slotdv1.Submitted, *slotdv1.Rejection:
				answer <- msg
				c.Stop(c.Self())
			}
		}))
		command.Submits = append(command.Submits, &slotdv1.Submit{Spec: spec})
		command.Askers = append(command.Askers, &slotdv1.Asker{Id: asker.GetId()})
		answers = append(answers, answer)
	}
	n.System().Root.Send(n.Registry(), command)
	return answers
}

// words is what the answers say in a word each; a dash where there is none.
func words(answers []<-chan any) string {
	said := make([]string, len(answers))
	for i, answer := range answers {
		select {
		case msg := <-answer:
			said[i] = "accepted"
			if no, ok := msg.(*slotdv1.Rejection); ok {
				said[i] = no.GetLabel()
			}
		default:
			said[i] = "-"
		}
	}
	return strings.Join(said, " ")
}

func TestSubmissionsThatComeTogetherAreOneCommit(t *testing.T) {
	bubble(t, actors.Config{SlotQueue: 1, MaxTasks: 8}, func(t *testing.T, n *node) {
		n.runner.hold = true
		n.submit("b", drop)
		synctest.Wait()
		before := n.store.Stats().Commits
		n.store.Hold()
		answers := n.submitTasks(command("a", queue), command("b", drop), command("c", queue), command("a", queue), command("a", queue),
			command("b", queue), command("d", drop), command("e", drop))
		synctest.Wait()
		if got := n.store.Waiting(); got != 1 {
			t.Errorf("%d batches are on their way to the store, want 1", got)
		}
		if got := words(answers); got != "- SlotBusy - - - - - TooManyTasks" {
			t.Errorf("before it is durable, the answers are %s", got)
		}
		n.store.Open()
		synctest.Wait()
		if got := words(answers); got != "accepted - accepted accepted QueueFull accepted accepted -" {
			t.Errorf("the answers are %s", got)
		}
		if commits := n.store.Stats().Commits - before; commits != 1 {
			t.Errorf("%d commits, want 1", commits)
		}
		for _, task := range []string{"a", "b", "c"} {
			if view := n.Catalog().Slot(task); view.GetHolder() == "" {
				t.Errorf("slot %s has no holder", task)
			}
		}
		n.runner.hold = false
	})
}

func TestASlotThatFailsTakesOnlyItsShareAlong(t *testing.T) {
	bubble(t, actors.Config{}, func(t *testing.T, n *node) {
		n.runner.hold = true
		n.submit("b", drop) // it is there, and so is what fails
		synctest.Wait()
		for _, after := range []bool{false, true} {
			n.faults.Arm("slot.slotActor", &slot.Bulk{}, 1, after)
			a, c := fmt.Sprint("a", after), fmt.Sprint("c", after)
			answers := n.submitTasks(command(a, drop), command("b", queue), command(c, drop))
			synctest.Wait()
			if got := words(answers); strings.Count(got, "accepted") < 2 {
				t.Errorf("fails after its turn %v: %s, want what others decided to be accepted", after, got)
			}
			time.Sleep(10 * time.Second) // it is made again
		}
		if got := n.faults.Hits(); got != 2 {
			t.Errorf("%d faults", got)
		}
		tasks, total := n.Catalog().Tasks(messages.Query{Limit: 100})
		if running := int(n.Introspect().GetSlotsOccupied()); total < 5 || running < 3 {
			t.Errorf("%d tasks, %d slots with a holder: %v", total, running, tasks)
		}
	})
}
