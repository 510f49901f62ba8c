package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"slotd/actors"
	"slotd/actors/runner"
	"slotd/actors/store"
	soltiv1 "slotd/messages/solti/v1"
)

// slotdTasks runs tasks that do nothing, each in a slot of its own. It returns how long it took until all were terminal,
// and what the store did for that.
func slotdTasks(ctx context.Context, c Config, open opening) (took time.Duration, wrote store.Stats, err error) {
	n, err := openNode(c.Dir, open, actors.Config{Runners: []runner.Runner{idle{}}})
	if err != nil {
		return 0, wrote, err
	}
	defer func() { err = errors.Join(err, n.close()) }()
	start := time.Now()
	ids, err := n.submitAll(ctx, c.Tasks, func(i int) *soltiv1.CreateSpec { return commandSpec(slotName(i), "/bin/true") })
	if err != nil {
		return 0, wrote, err
	}
	err = n.succeeded(ctx, ids)
	return time.Since(start), n.kept.Stats(), err
}

// slotdQueue queues tasks in one slot behind a holder that does not end, and returns how many a second were admitted.
func slotdQueue(ctx context.Context, c Config, open opening) (rate float64, err error) {
	n, err := openNode(c.Dir, open, actors.Config{Runners: []runner.Runner{idle{hold: true}}, SlotQueue: c.Tasks})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, n.close()) }()
	if _, err := n.submit(ctx, queued()); err != nil {
		return 0, err
	}
	start := time.Now()
	if _, err := n.submitAll(ctx, c.Tasks, func(int) *soltiv1.CreateSpec { return queued() }); err != nil {
		return 0, err
	}
	took := time.Since(start)
	if waiting := n.tree.Introspect().GetQueued(); waiting != uint64(c.Tasks) {
		return 0, fmt.Errorf("%d tasks wait, want %d", waiting, c.Tasks)
	}
	return PerSecond(c.Tasks, took), nil
}

// queued is a task for the one hot slot.
func queued() *soltiv1.CreateSpec {
	spec := commandSpec("hot", "/bin/true")
	spec.Admission = soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_QUEUE
	return spec
}
