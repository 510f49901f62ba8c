package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	soltiv1 "slotd/messages/solti/v1"
)

// stalled is how many followers connect and then read nothing.
const stalled = 10

func followers(c Config) Section {
	const alone = "writer that nobody follows"
	section := Section{
		Name: "followers",
		About: fmt.Sprintf("The same %s lines as server-sent events to clients on the same machine, from the start until every client "+
			"has the last line; a single one that is lost, repeated or out of order fails the measurement. The floor is `net/http` in a process "+
			"of its own, which sends events that were encoded before, %d per flush. slotd is the real binary, and runs the process that writes "+
			"them meanwhile; its followers are connected before it starts. The writer's own rate, from its start to its end, shows that it waits "+
			"for nobody: what followers cost it is the share of the machine that their reading takes, and those that do not read cost nothing.",
			number(float64(c.Lines)), perFlush),
	}
	writer := func(name string) Metric { return Metric{Name: name, Unit: "lines/s", Floor: alone} }
	for _, n := range c.Followers {
		floor := fmt.Sprintf("bare SSE server, %d followers", n)
		section.Probes = append(section.Probes, Probe{
			Metrics: []Metric{{Name: floor, Unit: "events/s"}},
			Measure: func(ctx context.Context) ([]float64, error) {
				took, err := bareFollowers(ctx, c, n)
				return []float64{PerSecond(n*c.Lines, took)}, err
			},
		}, Probe{
			Metrics: []Metric{
				{Name: fmt.Sprintf("slotd, %d followers", n), Unit: "events/s", Floor: floor, Bound: Bound{OfFloor: 0.5}},
				writer(fmt.Sprintf("writer beside %d followers", n)),
			},
			Measure: func(ctx context.Context) ([]float64, error) {
				took, ran, err := slotdFollowers(ctx, c, n)
				return []float64{PerSecond(n*c.Lines, took), PerSecond(c.Lines, ran)}, err
			},
		})
	}
	still := writer(fmt.Sprintf("writer beside %d followers that do not read", stalled))
	still.Bound.OfFloor = 0.5
	section.Probes = append(section.Probes, Probe{
		Metrics: []Metric{{Name: alone, Unit: "lines/s"}},
		Measure: func(ctx context.Context) ([]float64, error) { return writerRate(ctx, c, 0) },
	}, Probe{
		Metrics: []Metric{still},
		Measure: func(ctx context.Context) ([]float64, error) { return writerRate(ctx, c, stalled) },
	})
	return section
}

// slotdFollowers lets n clients follow a task that writes the lines. It returns how long it took until all had the last
// line, and how long the process ran.
func slotdFollowers(ctx context.Context, c Config, n int) (took, ran time.Duration, err error) {
	w, err := c.holdWriter(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	var start time.Time
	last, err := FollowAll(ctx, w.daemon.url(w.log()), n, c.Lines, func() error {
		start = time.Now()
		return w.release()
	})
	if err != nil {
		return 0, 0, err
	}
	ran, err = w.ran()
	return last.Sub(start), ran, err
}

// writerRate returns how many lines a second the process writes beside a number of followers that do not read.
func writerRate(ctx context.Context, c Config, idle int) (rate []float64, err error) {
	w, err := c.holdWriter(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	for range idle {
		follower, err := w.daemon.dial(ctx)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, follower.close()) }()
		if err := follower.narrow(); err != nil {
			return nil, err
		}
		if err := follower.send(http.MethodGet, w.log(), nil); err != nil {
			return nil, err
		}
		if _, err := follower.in.ReadByte(); err != nil { // the answer has begun
			return nil, err
		}
	}
	if err := w.release(); err != nil {
		return nil, err
	}
	ran, err := w.ran()
	return []float64{PerSecond(c.Lines, ran)}, err
}

// heldWriter is a task that will write the lines, in a queue behind another that holds the slot.
type heldWriter struct {
	daemon     *daemon
	client     *caller
	holder, id string
}

func (c Config) holdWriter(ctx context.Context) (_ *heldWriter, err error) {
	w := &heldWriter{}
	if w.daemon, err = c.serve(ctx); err != nil {
		return nil, err
	}
	if w.client, err = w.daemon.dial(ctx); err != nil {
		return nil, errors.Join(err, w.daemon.stop())
	}
	args := append(append([]string{}, c.Self[1:]...), childWrite, strconv.Itoa(c.Lines))
	writer := commandSpec("writer", c.Self[0], args...)
	writer.Admission = soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_QUEUE
	for _, task := range []struct {
		spec *soltiv1.CreateSpec
		id   *string
	}{{commandSpec("writer", "sleep", "3600"), &w.holder}, {writer, &w.id}} {
		body, err := encode(task.spec)
		if err == nil {
			*task.id, err = w.client.submit(body)
		}
		if err != nil {
			return nil, errors.Join(err, w.close())
		}
	}
	return w, nil
}

// log is the path of its log from the first line to the last.
func (w *heldWriter) log() string { return "/api/v1/tasks/" + w.id + "/logs?tail=all" }

// release ends the holder, so that the process starts.
func (w *heldWriter) release() error { return w.client.cancel(w.holder) }

// ran waits for the end of the process and returns how long it ran, to the millisecond.
func (w *heldWriter) ran() (time.Duration, error) {
	if err := w.client.await(w.id, "terminal", soltiv1.TaskStatus_TASK_STATUS_SUCCEEDED); err != nil {
		return 0, err
	}
	var answer struct {
		Runs []struct {
			StartedAt  int64 `json:",string"`
			FinishedAt int64 `json:",string"`
		}
	}
	if err := w.client.call(http.MethodGet, "/api/v1/tasks/"+w.id+"/runs", nil, http.StatusOK, &answer); err != nil {
		return 0, err
	}
	if len(answer.Runs) != 1 {
		return 0, fmt.Errorf("task %s has %d runs, want 1", w.id, len(answer.Runs))
	}
	return time.Duration(answer.Runs[0].FinishedAt-answer.Runs[0].StartedAt) * time.Millisecond, nil
}

func (w *heldWriter) close() error { return errors.Join(w.client.close(), w.daemon.stop()) }
