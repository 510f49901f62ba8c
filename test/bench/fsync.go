package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

func syncs(c Config) Section {
	quantiles := func(name, floor string) []Metric {
		metrics := []Metric{{Name: name + " p50", Unit: "ms"}, {Name: name + " p99", Unit: "ms"}}
		for i, at := range []string{" p50", " p99"} {
			if floor != "" {
				metrics[i].Floor = floor + at
			}
		}
		return metrics
	}
	const floor = "one bare fsync"
	started := func(name string, flags ...string) Probe {
		return Probe{
			Metrics: quantiles(name, floor),
			Measure: func(ctx context.Context) ([]float64, error) {
				started, _, err := slotdLatencies(ctx, c, commandSpec("latency", "sleep", "3600"), flags...)
				return []float64{Quantile(started, 0.5), Quantile(started, 0.99)}, err
			},
		}
	}
	return Section{
		Name: "fsync",
		About: fmt.Sprintf("What durability adds to a start: %d times `sleep`, one at a time, from the submission until a client was told that it is running, "+
			"with the store that syncs every admission and with the one that keeps nothing. The floor appends %d bytes to a file on the same file "+
			"system and waits for fdatasync.", c.Latencies, lineBytes),
		Probes: []Probe{
			{
				Metrics: quantiles(floor, ""),
				Measure: func(context.Context) ([]float64, error) {
					took, err := bareSyncs(c.Dir, c.Latencies)
					return []float64{Quantile(took, 0.5), Quantile(took, 0.99)}, err
				},
			},
			started("slotd, durable, submit to running"),
			started("slotd, in memory, submit to running", "--store", "memory"),
		},
	}
}

// bareSyncs appends to a file and makes that durable n times.
func bareSyncs(dir string, n int) (took []time.Duration, err error) {
	file, err := os.CreateTemp(dir, "sync-*")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close(), os.Remove(file.Name())) }()
	text := firstLine()
	for range n {
		start := time.Now()
		if _, err := file.Write(text[:]); err != nil {
			return nil, err
		}
		if err := unix.Fdatasync(int(file.Fd())); err != nil {
			return nil, err
		}
		took = append(took, time.Since(start))
	}
	return took, nil
}
