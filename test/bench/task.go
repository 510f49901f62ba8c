package bench

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	soltiv1 "slotd/messages/solti/v1"
)

// slotdStarts runs n tasks through HTTP, each in a slot of its own. Each client submits one, waits until it is terminal,
// and submits the next.
func slotdStarts(ctx context.Context, c Config, n int, flags ...string) (took time.Duration, err error) {
	d, err := c.serve(ctx, flags...)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	if _, err := d.runTasks(ctx, "warm", clients); err != nil {
		return 0, err
	}
	return d.runTasks(ctx, "slot", n)
}

// runTasks runs `/bin/true` n times and returns how long that took. All must succeed.
func (d *daemon) runTasks(ctx context.Context, slots string, n int) (took time.Duration, err error) {
	bodies := make([][]byte, n)
	for i := range bodies {
		if bodies[i], err = encode(commandSpec(fmt.Sprintf("%s-%06d", slots, i), "/bin/true")); err != nil {
			return 0, err
		}
	}
	callers := make([]*caller, 0, clients)
	defer func() {
		for _, client := range callers {
			err = errors.Join(err, client.close())
		}
	}()
	for range clients {
		client, err := d.dial(ctx)
		if err != nil {
			return 0, err
		}
		callers = append(callers, client)
	}
	var next atomic.Int64
	var group errgroup.Group
	start := time.Now()
	for _, client := range callers {
		group.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return nil
				}
				id, err := client.submit(bodies[i])
				if err != nil {
					return err
				}
				if err := client.await(id, "terminal", soltiv1.TaskStatus_TASK_STATUS_SUCCEEDED); err != nil {
					return err
				}
			}
		})
	}
	err = group.Wait()
	return time.Since(start), err
}

// slotdLatencies submits and cancels tasks of one spec, one at a time: from the submission until the task is shown as
// running, and from the cancel until its answer, which comes when the whole tree is dead. flags are further ones of serve.
func slotdLatencies(ctx context.Context, c Config, spec *soltiv1.CreateSpec, flags ...string) (started, stopped []time.Duration, err error) {
	d, err := c.serve(ctx, flags...)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	client, err := d.dial(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, client.close()) }()
	body, err := encode(spec)
	if err != nil {
		return nil, nil, err
	}
	for range c.Latencies {
		t0 := time.Now()
		id, err := client.submit(body)
		if err != nil {
			return nil, nil, err
		}
		if err := client.await(id, "running", soltiv1.TaskStatus_TASK_STATUS_RUNNING); err != nil {
			return nil, nil, err
		}
		t1 := time.Now()
		if err := client.cancel(id); err != nil {
			return nil, nil, err
		}
		t2 := time.Now()
		if err := client.await(id, "terminal", soltiv1.TaskStatus_TASK_STATUS_CANCELED); err != nil {
			return nil, nil, err
		}
		if left, err := d.processes(); err != nil || len(left) > 0 {
			return nil, nil, errors.Join(err, fmt.Errorf("task %s was canceled and left %v", id, left))
		}
		started, stopped = append(started, t1.Sub(t0)), append(stopped, t2.Sub(t1))
	}
	return started, stopped, nil
}
