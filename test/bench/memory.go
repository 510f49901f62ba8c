package bench

import (
	"context"
	"fmt"
	"runtime"

	soltiv1 "slotd/messages/solti/v1"
)

func memory(c Config) Section {
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
