package actors_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"slotd/actors"
	"slotd/actors/actortest"
	"slotd/actors/catalog"
	"slotd/actors/store"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

var errDisk = errors.New("no space left on device")

// flaky is a store that fails every fourth time, until it is healed. A failure is not overtaken: what is committed
// before the store has answered for all that it has fails too.
type flaky struct {
	*actortest.Gate

	mu      sync.Mutex
	random  *rand.Rand
	under   int // commits without an answer
	failing bool
	healed  bool
}

func (f *flaky) Commit(b *store.Batch, done func(error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.healed && f.random.IntN(4) == 0 {
		f.failing = true
	}
	f.under++
	if !f.failing {
		f.Gate.Commit(b, func(err error) { done(err); f.answered() })
		return
	}
	f.Gate.Commit(new(store.Batch), func(error) { done(errDisk); f.answered() })
}

func (f *flaky) answered() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.under--; f.under == 0 {
		f.failing = false
	}
}

func (f *flaky) heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.healed = true
}

// A store that fails at random refuses tasks and delays transitions. What was accepted is run once and recorded; what
// was refused leaves nothing behind.
func TestStoreThatFailsAtRandomLosesAndInventsNothing(t *testing.T) {
	for seed := range uint64(20) {
		disk := &flaky{random: rand.New(rand.NewPCG(seed, 1))}
		over := func(g *actortest.Gate) store.Store { disk.Gate = g; return disk }
		bubbleOver(t, actors.Config{IdleAfter: time.Millisecond, SlotQueue: 5}, over, func(t *testing.T, n *node) {
			accepted, refused := n.storm(t, seed)
			disk.heal()
			time.Sleep(time.Minute)
			synctest.Wait()
			if len(accepted) == 0 || refused == 0 {
				t.Errorf("seed %d: %d accepted, %d refused", seed, len(accepted), refused)
			}
			for id := range accepted {
				if got := n.wait(id, catalog.WantTerminal); got.GetReason() != completed && got.GetReason() != string(messages.ReasonSuperseded) && got.GetReason() != string(messages.ReasonReplaced) {
					t.Errorf("seed %d: %s: got %v", seed, id, got)
				}
				delete(n.runner.starts, id+"/1")
			}
			if len(n.runner.starts) != 0 {
				t.Errorf("seed %d: started without having been accepted: %v", seed, n.runner.starts)
			}
			n.runner.check(t)
			kept := 0
			if err := n.store.Load(t.Context(), func(e store.Entry) error {
				if kept++; !accepted[e.Task.GetId()] {
					t.Errorf("seed %d: a record of %v", seed, e.Task)
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
			if kept != len(accepted) {
				t.Errorf("seed %d: %d records of %d tasks", seed, kept, len(accepted))
			}
		})
	}
}

// storm submits to a few slots from several clients, and tells which tasks were accepted and how many were refused.
func (n *node) storm(t *testing.T, seed uint64) (accepted map[string]bool, refused int) {
	var mu sync.Mutex
	accepted = map[string]bool{}
	var group sync.WaitGroup
	for client := range 6 {
		group.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(client+2)))
			for range 60 {
				spec := command(fmt.Sprint("lane-", random.IntN(3)), drop)
				spec.Admission = []soltiv1.AdmissionStrategy{drop, queue, soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_REPLACE}[random.IntN(3)]
				answer, err := n.System().Root.RequestFuture(n.Registry(), &slotdv1.Submit{Spec: spec}, time.Hour).Result()
				if err != nil {
					t.Errorf("seed %d: %v", seed, err)
					return
				}
				mu.Lock()
				switch msg := answer.(type) {
				case *slotdv1.Submitted:
					accepted[msg.GetTaskId()] = true
				case *slotdv1.Rejection:
					if msg.GetLabel() == messages.LabelUnavailable {
						refused++
					}
				}
				mu.Unlock()
				time.Sleep(time.Duration(random.IntN(4)) * time.Millisecond)
			}
		})
	}
	group.Wait()
	return accepted, refused
}
