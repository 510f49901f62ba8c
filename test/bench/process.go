package bench

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// clients is how many ask at the same time, as many as slotd's own clients in the same section.
const clients = 8

func processes(c Config) Section {
	return Section{
		Name: "processes",
		About: fmt.Sprintf("%s times `/bin/true`, %d at a time. The floor is `os/exec` with nothing around it. slotd is the real binary; each "+
			"of %d clients keeps one connection, submits a task into a slot of its own, waits until it is terminal, and submits the next. The promise "+
			"is that of starting processes, without a disk; with the store that outlives a crash each task adds two synced writes, which the "+
			"floor does not do.",
			number(float64(c.Starts)), clients, clients),
		Probes: []Probe{{
			Metrics: []Metric{{Name: "bare os/exec, 8 goroutines", Unit: "starts/s"}},
			Measure: func(ctx context.Context) ([]float64, error) {
				took, err := bareStarts(ctx, c.Starts)
				return []float64{PerSecond(c.Starts, took)}, err
			},
		}, {
			Metrics: []Metric{{
				Name: "slotd, 8 clients over HTTP, in memory", Unit: "tasks/s", Floor: "bare os/exec, 8 goroutines", Bound: Bound{OfFloor: 0.85},
			}},
			Measure: func(ctx context.Context) ([]float64, error) {
				took, err := slotdStarts(ctx, c, c.Starts, "--store", "memory")
				return []float64{PerSecond(c.Starts, took)}, err
			},
		}, {
			Metrics: []Metric{{Name: "slotd, 8 clients over HTTP, durable", Unit: "tasks/s", Floor: "bare os/exec, 8 goroutines"}},
			Measure: func(ctx context.Context) ([]float64, error) {
				took, err := slotdStarts(ctx, c, c.Starts)
				return []float64{PerSecond(c.Starts, took)}, err
			},
		}},
	}
}

// bareStarts runs n processes to their end.
func bareStarts(ctx context.Context, n int) (time.Duration, error) {
	var left atomic.Int64
	left.Store(int64(n))
	group, ctx := errgroup.WithContext(ctx)
	start := time.Now()
	for range clients {
		group.Go(func() error {
			for left.Add(-1) >= 0 {
				if err := exec.CommandContext(ctx, "/bin/true").Run(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := group.Wait()
	return time.Since(start), err
}

func latency(c Config) Section {
	return Section{
		Name: "latency",
		About: fmt.Sprintf("%d times `sleep`, one at a time: how long until it runs, and from the stop to its reaped end. "+
			"The floor is `os/exec`, SIGTERM and wait. slotd's start ends when a client was told that the task is running, in two requests on one "+
			"connection; its stop when the cancel is answered, which is when the whole process tree is dead. The tree is a shell with %d children.",
			c.Latencies, branches),
		Probes: []Probe{
			latencies("bare start", "bare stop", true, func(ctx context.Context) ([]time.Duration, []time.Duration, error) {
				return bareLatencies(ctx, c.Latencies)
			}),
			latencies("slotd, submit to running", "slotd, cancel to dead", false, func(ctx context.Context) ([]time.Duration, []time.Duration, error) {
				return slotdLatencies(ctx, c, commandSpec("latency", "sleep", "3600"))
			}),
			latencies("slotd, submit to running, a tree", "slotd, cancel to dead, a tree", false, func(ctx context.Context) ([]time.Duration, []time.Duration, error) {
				return slotdLatencies(ctx, c, commandSpec("latency", "sh", "-c", tree))
			}),
		},
	}
}

// A tree is a shell with so many children.
const (
	branches = 4
	tree     = "sleep 3600 & sleep 3600 & sleep 3600 & sleep 3600 & wait"
)

// latencies is a probe of both ends of many tasks. Of each it yields the median and the slowest hundredth.
func latencies(start, stop string, bare bool, measure func(context.Context) (started, stopped []time.Duration, err error)) Probe {
	var metrics []Metric
	for _, end := range []struct{ name, floor string }{{start, "bare start"}, {stop, "bare stop"}} {
		for _, quantile := range []string{" p50", " p99"} {
			metric := Metric{Name: end.name + quantile, Unit: "ms"}
			if !bare {
				metric.Floor = end.floor + quantile
			}
			metrics = append(metrics, metric)
		}
	}
	return Probe{Metrics: metrics, Measure: func(ctx context.Context) ([]float64, error) {
		started, stopped, err := measure(ctx)
		return []float64{Quantile(started, 0.5), Quantile(started, 0.99), Quantile(stopped, 0.5), Quantile(stopped, 0.99)}, err
	}}
}

// bareLatencies starts and stops n processes, one at a time.
func bareLatencies(ctx context.Context, n int) (started, stopped []time.Duration, err error) {
	for range n {
		cmd := exec.CommandContext(ctx, "sleep", "3600")
		t0 := time.Now()
		if err := cmd.Start(); err != nil {
			return nil, nil, err
		}
		t1 := time.Now()
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			return nil, nil, errors.Join(err, cmd.Wait())
		}
		err := cmd.Wait()
		t2 := time.Now()
		if !bySIGTERM(err) {
			return nil, nil, fmt.Errorf("sleep ended with %v instead of by SIGTERM", err) //nolint:errorlint // it may be nil
		}
		started, stopped = append(started, t1.Sub(t0)), append(stopped, t2.Sub(t1))
	}
	return started, stopped, nil
}

func bySIGTERM(err error) bool {
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGTERM
}
