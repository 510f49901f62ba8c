package faults

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// handlers are the messages that each actor may meet at any time, and must get over: whoever makes it again lets it
// attach to what runs.
var handlers = map[string][]string{
	"task.taskActor": {
		"actor.Started", "slotdv1.StopTask", "slotdv1.Granted", "slotdv1.AttemptStarted", "slotdv1.AttemptExited",
		"task.due", "store.Committed",
	},
	"slot.slotActor": {
		"actor.Started", "slotdv1.Submit", "slotdv1.Cancel", "slotdv1.Delete", "slotdv1.PurgeSlot", "slotdv1.TaskFinished", "actor.Terminated",
	},
	"registry.registry": {
		"slotdv1.Submit", "slotdv1.Cancel", "slotdv1.Delete", "slotdv1.PurgeSlot", "slotdv1.Decided",
	},
	"executor.Executor": {
		"slotdv1.Acquire", "slotdv1.StartAttempt", "slotdv1.AttachAttempt", "slotdv1.StopAttempt", "slotdv1.KillAttempt",
		"slotdv1.ForgetAttempt",
	},
}

// An actor that panics, at whatever message, before or after it has handled it, is made again; the attempts go on
// meanwhile, no run says NodeLost, and nothing is doubled.
func TestAPanicInAnyHandlerHarmsNoAttempt(t *testing.T) {
	t.Parallel()
	for actor, messages := range handlers {
		t.Run(actor, func(t *testing.T) {
			t.Parallel()
			var names, arms []string
			for i, message := range messages {
				for j, when := range []string{"actor", "actor-after"} {
					name := fmt.Sprintf("%s/%s/%s", when, actor, message)
					names = append(names, name)
					arms = append(arms, fmt.Sprintf("%s=panic@%d", name, 1+i+2*j))
				}
			}
			if actor == "executor.Executor" { // only a task that is made again attaches
				for n := range 8 {
					arms = append(arms, fmt.Sprintf("actor/task.taskActor/slotdv1.AttemptStarted=panic@%d", 2+5*n))
				}
			}
			w := newWorld(t, must(t, plainSlotd), seed, "--max-running", "5")
			l := w.start(plan{calm: true, points: arms})
			l.await(t)
			load := w.load(4, 2)
			w.open(l)
			goad := visitor{load: load, world: w, rand: rand.New(rand.NewPCG(seed, 1))}
			missing := func() []string {
				passed := l.passed()
				return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return slices.Contains(passed, name) })
			}
			if !within(patience, func() bool {
				if w.broken() || len(missing()) == 0 {
					return true
				}
				goad.stubborn(l) // what a random load does seldom
				goad.purge(l)
				return false
			}) {
				t.Errorf("no panic at %s: does the point still exist?\nthere were %s", strings.Join(missing(), ", "), strings.Join(l.passed(), ", "))
			}
			load.end()
			if !w.broken() {
				w.rest(l)
			}
		})
	}
}
