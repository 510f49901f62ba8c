package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"golang.org/x/sync/errgroup"
)

func durable(c Config) Section {
	return Section{
		Name: "durable",
		About: fmt.Sprintf("The tasks of noop and admission once more, %s of each, with the store that outlives a crash; still without HTTP. The floors write "+
			"the same records, as many bytes in as many batches, straight to Pebble, which syncs together what comes together: %d goroutines, "+
			"each of which waits for the admission of a task before its next one, and for its end one task later. A transition is a batch that "+
			"is written as a whole.",
			number(float64(c.Tasks)), askers),
		Probes: []Probe{{
			Metrics: []Metric{
				{Name: "bare Pebble, all that a task writes", Unit: "tasks/s"},
				{Name: "bare Pebble, transitions", Unit: "batches/s"},
				{Name: "bare Pebble, records", Unit: "records/s"},
			},
			Measure: func(ctx context.Context) ([]float64, error) {
				took, batches, records, err := bareTasks(ctx, c, ends)
				return []float64{PerSecond(c.Tasks, took), PerSecond(batches, took), PerSecond(records, took)}, err
			},
		}, {
			Metrics: []Metric{
				{Name: "slotd, no-op runner, durable", Unit: "tasks/s", Floor: "bare Pebble, all that a task writes", Bound: Bound{Min: 15_000}},
				{Name: "slotd, transitions", Unit: "batches/s", Floor: "bare Pebble, transitions"},
				{Name: "slotd, records", Unit: "records/s", Floor: "bare Pebble, records"},
			},
			Measure: func(ctx context.Context) ([]float64, error) {
				took, wrote, err := slotdTasks(ctx, c, onDisk)
				return []float64{PerSecond(c.Tasks, took), PerSecond(int(wrote.Commits), took), PerSecond(int(wrote.Records), took)}, err
			},
		}, {
			Metrics: []Metric{{Name: "bare Pebble, all that an admission writes", Unit: "admissions/s"}},
			Measure: func(ctx context.Context) ([]float64, error) {
				took, _, _, err := bareTasks(ctx, c, waits)
				return []float64{PerSecond(c.Tasks, took)}, err
			},
		}, {
			Metrics: []Metric{{
				Name: "slotd, one hot slot, durable", Unit: "admissions/s", Floor: "bare Pebble, all that an admission writes",
				Bound: Bound{Min: 10_000},
			}},
			Measure: func(ctx context.Context) ([]float64, error) {
				rate, err := slotdQueue(ctx, c, onDisk)
				return []float64{rate}, err
			},
		}},
	}
}

// bareTasks writes to Pebble what as many tasks as the configuration says make a node write, and counts that.
func bareTasks(ctx context.Context, c Config, until fate) (took time.Duration, batches, records int, err error) {
	life, err := encoded(ctx, c.Dir, until)
	if err != nil {
		return 0, 0, 0, err
	}
	dir, err := os.MkdirTemp(c.Dir, "pebble-*")
	if err != nil {
		return 0, 0, 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	db, err := pebble.Open(dir, &pebble.Options{Logger: quiet{}})
	if err != nil {
		return 0, 0, 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var next atomic.Int64
	var group errgroup.Group
	start := time.Now()
	for range askers {
		group.Go(func() error { return live(ctx, db, life, func() int { return int(next.Add(1)) - 1 }, c.Tasks) })
	}
	err = group.Wait()
	took = time.Since(start)
	for _, batch := range life {
		batches += c.Tasks
		records += c.Tasks * len(batch)
	}
	return took, batches, records, err
}

// encoded is what one task makes a node write, batch by batch.
func encoded(ctx context.Context, scratch string, until fate) (life [][]pair, err error) {
	committed, err := writes(ctx, scratch, until)
	if err != nil {
		return nil, err
	}
	for _, b := range committed {
		batch, err := pairs(b)
		if err != nil {
			return nil, err
		}
		life = append(life, batch)
	}
	return life, nil
}

// live writes one task after the other, up to the n-th: it waits until the first batch of one is durable before it goes
// on, and until the others are when it is through with the next.
func live(ctx context.Context, db *pebble.DB, life [][]pair, next func() int, n int) error {
	var before []*pebble.Batch
	for i := next(); i < n && ctx.Err() == nil; i = next() {
		id := fmt.Appendf(nil, "tsk_%026d", i)
		var applied []*pebble.Batch
		for at, pairs := range life {
			b := db.NewBatch()
			for _, p := range pairs {
				if err := b.Set(p.key(id), p.value, nil); err != nil {
					return err
				}
			}
			if err := db.ApplyNoSyncWait(b, pebble.Sync); err != nil {
				return err
			}
			if at > 0 {
				applied = append(applied, b)
			} else if err := synced(b); err != nil {
				return err
			}
		}
		if err := synced(before...); err != nil {
			return err
		}
		before = applied
	}
	return errors.Join(ctx.Err(), synced(before...))
}

// synced waits until the batches are durable.
func synced(batches ...*pebble.Batch) error {
	for _, b := range batches {
		if err := errors.Join(b.SyncWait(), b.Close()); err != nil {
			return err
		}
	}
	return nil
}
