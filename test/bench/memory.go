package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"slotd/actors"
	"slotd/actors/runner"
	soltiv1 "slotd/messages/solti/v1"
)

func weights(c Config) Section {
	return Section{
		Name: "memory",
		About: fmt.Sprintf("Heap and stack bytes after a collection, divided by the %s objects that were made. The floors are "+
			"what any program must keep: the name of a slot in a map, the spec of a queued task.", number(float64(c.Objects))),
		Probes: []Probe{
			weigh("a name in a Go map", c.Objects, func() any {
				names := make(map[string]struct{})
				for i := range c.Objects {
					names[slotName(i)] = struct{}{}
				}
				return names
			}),
			weigh("a CreateSpec of one command", c.Objects, func() any {
				specs := make([]*soltiv1.CreateSpec, 0, c.Objects)
				for i := range c.Objects {
					specs = append(specs, commandSpec(slotName(i), "/bin/true"))
				}
				return specs
			}),
			weighSlots(c, "slotd, idle slot in memory", time.Hour, fillAndKeepSlots),
			weighSlots(c, "slotd, idle slot passivated", time.Millisecond, fillAndPassSlots),
			{
				Metrics: []Metric{{
					Name: "slotd, queued task", Unit: "bytes", Floor: "a CreateSpec of one command", Bound: Bound{Below: 3000},
				}},
				Measure: func(ctx context.Context) ([]float64, error) {
					each, err := weighNode(ctx, c, actors.Config{Runners: []runner.Runner{idle{hold: true}}, SlotQueue: c.Objects}, fillQueue)
					return []float64{each}, err
				},
			},
		},
	}
}

func weighSlots(c Config, name string, idleAfter time.Duration, fill func(context.Context, *node, int) error) Probe {
	return Probe{
		Metrics: []Metric{{Name: name, Unit: "bytes", Floor: "a name in a Go map"}},
		Measure: func(ctx context.Context) ([]float64, error) {
			each, err := weighNode(ctx, c, actors.Config{Runners: []runner.Runner{idle{}}, IdleAfter: idleAfter}, fill)
			return []float64{each}, err
		},
	}
}

func weigh(name string, n int, build func() any) Probe {
	return Probe{
		Metrics: []Metric{{Name: name, Unit: "bytes"}},
		Measure: func(context.Context) ([]float64, error) { return []float64{BytesEach(n, build)}, nil },
	}
}

// BytesEach returns how many bytes of heap and stacks each of the n objects takes that build makes and that stay
// reachable from what it returns.
func BytesEach(n int, build func() any) float64 {
	before := inUse()
	kept := build()
	after := inUse()
	runtime.KeepAlive(kept)
	return (float64(after) - float64(before)) / float64(n)
}

// weighNode opens a node, has it filled with the objects of the configuration and returns the bytes of each.
func weighNode(ctx context.Context, c Config, cfg actors.Config, fill func(context.Context, *node, int) error) (each float64, err error) {
	n, err := openNode(c.Dir, inMemory, cfg)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, n.close()) }()
	return BytesEach(c.Objects, func() any { err = fill(ctx, n, c.Objects); return n }), err
}

// fillQueue puts tasks into one slot whose holder does not end.
func fillQueue(ctx context.Context, n *node, count int) error {
	if _, err := n.submit(ctx, queued()); err != nil {
		return err
	}
	_, err := n.submitAll(ctx, count, func(int) *soltiv1.CreateSpec { return queued() })
	return err
}

// fillSlots uses each slot once and deletes the task, so that nothing is left but the slots.
func fillSlots(ctx context.Context, n *node, count int) error {
	ids, err := n.submitAll(ctx, count, func(i int) *soltiv1.CreateSpec { return commandSpec(slotName(i), "/bin/true") })
	if err != nil {
		return err
	}
	if err := n.succeeded(ctx, ids); err != nil {
		return err
	}
	return n.deleteAll(ids)
}

// fillAndKeepSlots leaves the slots in memory.
func fillAndKeepSlots(ctx context.Context, n *node, count int) error {
	if err := fillSlots(ctx, n, count); err != nil {
		return err
	}
	if live := n.tree.Introspect().GetSlotsLive(); live != uint64(count) {
		return fmt.Errorf("%d slots are in memory, want %d", live, count)
	}
	return nil
}

// fillAndPassSlots waits until no slot is in memory any more.
func fillAndPassSlots(ctx context.Context, n *node, count int) error {
	if err := fillSlots(ctx, n, count); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	for tick := time.NewTicker(10 * time.Millisecond); ; {
		select {
		case <-tick.C:
			if n.tree.Introspect().GetSlotsLive() == 0 {
				tick.Stop()
				return nil
			}
		case <-ctx.Done():
			tick.Stop()
			return fmt.Errorf("%d slots are still in memory: %w", n.tree.Introspect().GetSlotsLive(), ctx.Err())
		}
	}
}

// inUse collects twice, because what finalizers and pools held goes only with the second collection.
func inUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

func slotName(i int) string { return fmt.Sprintf("slot-%06d", i) }

// commandSpec is the least that can be submitted: a command in a slot, with an hour to run.
func commandSpec(slot, command string, args ...string) *soltiv1.CreateSpec {
	return &soltiv1.CreateSpec{
		Slot:      slot,
		TimeoutMs: 3_600_000,
		Kind: &soltiv1.TaskKind{Kind: &soltiv1.TaskKind_Subprocess{Subprocess: &soltiv1.SubprocessTask{
			Mode: &soltiv1.SubprocessTask_Command{Command: &soltiv1.CommandMode{Command: command, Args: args}},
		}}},
	}
}
