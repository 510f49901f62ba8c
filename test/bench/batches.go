package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"

	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

const (
	// batchSize is how many specs come together.
	batchSize = 500
	// batchers is how many clients send batches at the same time.
	batchers = 4
)

// batches submits many tasks with each request.
func batches(c Config) Section {
	return Section{
		Name: "batches",
		About: fmt.Sprintf("The submissions of submits, %d with each request, by %d clients, each for a slot of its own, for %v. Each request is one commit. What is "+
			"counted is submissions that were answered, and as many tasks must be queued.", batchSize, batchers, c.Submitting),
		Probes: []Probe{
			{
				Metrics: []Metric{{Name: "slotd over HTTP, batches", Unit: "submits/s", Bound: Bound{Min: 30_000}}},
				Measure: func(ctx context.Context) ([]float64, error) {
					rate, err := slotdBatches(ctx, c, postBatches)
					return []float64{rate}, err
				},
			},
			{
				Metrics: []Metric{{Name: "slotd over gRPC, batches", Unit: "submits/s", Bound: Bound{Min: 30_000}}},
				Measure: func(ctx context.Context) ([]float64, error) {
					rate, err := slotdBatches(ctx, c, callBatches)
					return []float64{rate}, err
				},
			},
		},
	}
}

// batcher connects a client that sends the batch each time it is called.
type batcher func(ctx context.Context, d *daemon, specs []*soltiv1.CreateSpec) (send func() error, hangUp func() error, err error)

// slotdBatches returns how many submissions a second were admitted.
func slotdBatches(ctx context.Context, c Config, connect batcher) (rate float64, err error) {
	d, err := c.serve(ctx, "--slot-queue", strconv.Itoa(room), "--max-tasks", strconv.Itoa(4*room), "--grpc", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	observer, err := d.dial(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(observer.close(), err) }()
	var (
		group    errgroup.Group
		answered atomic.Int64
		sends    []func() error
	)
	for i := range batchers {
		slot := slotName(i)
		holder, err := encode(commandSpec(slot, "sleep", "3600"))
		if err != nil {
			return 0, err
		}
		if _, err := observer.submit(holder); err != nil {
			return 0, err
		}
		specs := make([]*soltiv1.CreateSpec, batchSize)
		for n := range specs {
			specs[n] = queued()
			specs[n].Slot = slot
		}
		send, hangUp, err := connect(ctx, d, specs)
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, hangUp()) }()
		sends = append(sends, send)
	}
	start := time.Now()
	for _, send := range sends {
		group.Go(func() error {
			for time.Since(start) < c.Submitting {
				if err := send(); err != nil {
					return err
				}
				answered.Add(batchSize)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return 0, err
	}
	took := time.Since(start)
	var view struct {
		Queued int64 `json:",string"`
	}
	if err := observer.call(http.MethodGet, "/api/v1/introspection", nil, http.StatusOK, &view); err != nil {
		return 0, err
	}
	if view.Queued != answered.Load() {
		return 0, fmt.Errorf("%d tasks are queued, %d were answered", view.Queued, answered.Load())
	}
	return PerSecond(int(answered.Load()), took), nil
}

// postBatches sends them over HTTP.
func postBatches(ctx context.Context, d *daemon, specs []*soltiv1.CreateSpec) (send, hangUp func() error, err error) {
	parts := make([]string, len(specs))
	for i, spec := range specs {
		text, err := protojson.Marshal(spec)
		if err != nil {
			return nil, nil, err
		}
		parts[i] = string(text)
	}
	body := []byte(`{"specs":[` + strings.Join(parts, ",") + `]}`)
	client, err := d.dial(ctx)
	if err != nil {
		return nil, nil, err
	}
	return func() error {
		if err := client.send(http.MethodPost, "/api/v1/tasks/batch", body); err != nil {
			return err
		}
		response, err := http.ReadResponse(client.in, nil)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(response.Body)
		if err = errors.Join(err, response.Body.Close()); err != nil {
			return err
		}
		if got := strings.Count(string(text), `"taskId"`); got != len(specs) {
			return fmt.Errorf("%d of %d were admitted: %.500s", got, len(specs), text)
		}
		return nil
	}, client.close, nil
}

// callBatches sends them over gRPC.
func callBatches(ctx context.Context, d *daemon, specs []*soltiv1.CreateSpec) (send, hangUp func() error, err error) {
	conn, err := dialGRPC(d.grpc)
	if err != nil {
		return nil, nil, err
	}
	api, request := slotdv1.NewSupervisorClient(conn), &slotdv1.SubmitTasksRequest{Specs: specs}
	return func() error {
		answer, err := api.SubmitTasks(ctx, request, grpc.WaitForReady(true))
		if err != nil {
			return err
		}
		for _, result := range answer.GetResults() {
			if result.GetTaskId() == "" {
				return fmt.Errorf("one of %d was refused: %s", len(specs), result.GetMessage())
			}
		}
		return nil
	}, conn.Close, nil
}

// idleStreams is how many event streams are held open that have nothing to tell.
const idleStreams = 1000

// streams weighs connections that only wait.
func streams(c Config) Section {
	const floor = "bare gin, an idle event stream"
	return Section{
		Name: "streams",
		About: fmt.Sprintf("Resident memory that %s idle event streams take, each over a connection of its own, divided by their number. The floor is "+
			"gin with a handler that flushes its header and waits.", number(idleStreams)),
		Probes: []Probe{
			{
				Metrics: []Metric{{Name: floor, Unit: "bytes"}},
				Measure: func(ctx context.Context) ([]float64, error) {
					each, err := bareStreams(ctx, c)
					return []float64{each}, err
				},
			},
			{
				Metrics: []Metric{{Name: "slotd, an idle event stream", Unit: "bytes", Floor: floor}},
				Measure: func(ctx context.Context) (_ []float64, err error) {
					d, err := c.serve(ctx)
					if err != nil {
						return nil, err
					}
					defer func() { err = errors.Join(err, d.stop()) }()
					each, err := weighStreams(ctx, d.addr, d.cmd.Process.Pid)
					return []float64{each}, err
				},
			},
		},
	}
}

func bareStreams(ctx context.Context, c Config) (each float64, err error) {
	dir, err := os.MkdirTemp(c.Dir, "constants-*")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	for _, name := range []string{getAnswer, listAnswer} {
		if err := os.WriteFile(dir+"/"+name, nil, 0o600); err != nil {
			return 0, err
		}
	}
	s, stop, err := startConstants(ctx, c, dir)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	return weighStreams(ctx, s.http, s.pid)
}

// weighStreams opens the streams and returns what the process has grown by for each.
func weighStreams(ctx context.Context, addr string, pid int) (each float64, err error) {
	var callers []*caller
	defer func() {
		for _, client := range callers {
			err = errors.Join(err, client.close())
		}
	}()
	open := func(n int) error {
		for range n {
			client, err := dial(ctx, addr)
			if err != nil {
				return err
			}
			callers = append(callers, client)
			if err := client.send(http.MethodGet, "/api/v1/events", nil); err != nil {
				return err
			}
			response, err := http.ReadResponse(client.in, nil) //nolint:bodyclose // it goes with its connection
			if err != nil {
				return err
			}
			if response.StatusCode != http.StatusOK {
				return fmt.Errorf("event stream: %s", response.Status)
			}
		}
		return nil
	}
	if err := open(10); err != nil { // what the first of all costs
		return 0, err
	}
	before, err := resident(pid)
	if err != nil {
		return 0, err
	}
	if err := open(idleStreams); err != nil {
		return 0, err
	}
	after, err := resident(pid)
	return float64(max(after-before, 1)) / idleStreams, err
}

// resident is how many bytes of memory a process has.
func resident(pid int) (bytes int, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	var whole, pages int
	if _, err := fmt.Sscan(string(text), &whole, &pages); err != nil {
		return 0, err
	}
	return pages * os.Getpagesize(), nil
}
