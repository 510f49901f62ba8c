package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// room is how many submissions there is room for: more than are made.
	room = 1_000_000
	// rehearsal is how many each client makes before they count.
	rehearsal = 50
)

func submits(c Config) Section {
	section := Section{
		Name: "submits",
		About: fmt.Sprintf("Submissions through HTTP that are answered once a crash cannot take them back: tasks queued in one busy slot, so that no "+
			"process starts, for %v. The floor is a process of its own with gin, protojson and Pebble, which decodes the same body, mints an id and "+
			"writes the spec with one synced write per request. The clients are the same, each with a connection that stays open; both sides must "+
			"have kept as many tasks as were answered.", c.Submitting),
	}
	for _, n := range c.Clients {
		floor := fmt.Sprintf("bare server over Pebble, %d clients", n)
		section.Probes = append(section.Probes, Probe{
			Metrics: []Metric{{Name: floor, Unit: "submits/s"}},
			Measure: func(ctx context.Context) ([]float64, error) {
				rate, err := bareSubmits(ctx, c, n)
				return []float64{rate}, err
			},
		}, Probe{
			Metrics: []Metric{{Name: fmt.Sprintf("slotd, %d clients", n), Unit: "submits/s", Floor: floor, Bound: Bound{OfFloor: 0.7}}},
			Measure: func(ctx context.Context) ([]float64, error) {
				rate, err := slotdSubmits(ctx, c, n)
				return []float64{rate}, err
			},
		})
	}
	return section
}

// slotdSubmits lets n clients queue tasks behind one that holds the slot, and returns how many a second were admitted.
func slotdSubmits(ctx context.Context, c Config, n int) (rate float64, err error) {
	d, err := c.serve(ctx, "--slot-queue", strconv.Itoa(room))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	observer, err := d.dial(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(observer.close(), err) }()
	holder, err := encode(commandSpec(queued().GetSlot(), "sleep", "3600"))
	if err != nil {
		return 0, err
	}
	if _, err := observer.submit(holder); err != nil {
		return 0, err
	}
	rate, answered, err := submitAll(ctx, d.addr, n, c.Submitting)
	if err != nil {
		return 0, err
	}
	var view struct {
		Queued int `json:",string"`
	}
	if err := observer.call(http.MethodGet, "/api/v1/introspection", nil, http.StatusOK, &view); err != nil {
		return 0, err
	}
	if view.Queued != answered {
		return 0, fmt.Errorf("%d tasks are queued, %d were answered", view.Queued, answered)
	}
	return rate, nil
}

// bareSubmits lets n clients submit to the bare server.
func bareSubmits(ctx context.Context, c Config, n int) (rate float64, err error) {
	dir, err := os.MkdirTemp(c.Dir, "admit-*")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cmd := c.child(ctx, childAdmit, room)
	cmd.Dir = dir
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return 0, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	said := bufio.NewReader(stdout)
	addr, err := said.ReadString('\n')
	answered := 0
	if err == nil {
		rate, answered, err = submitAll(ctx, strings.TrimSpace(addr), n, c.Submitting)
	}
	err = errors.Join(err, stdin.Close())
	kept, readErr := io.ReadAll(said)
	if err := errors.Join(err, readErr, cmd.Wait()); err != nil {
		return 0, err
	}
	if got := strings.TrimSpace(string(kept)); got != strconv.Itoa(answered) {
		return 0, fmt.Errorf("the bare server kept %q tasks, %d were answered", got, answered)
	}
	return rate, nil
}

// submitAll lets n clients submit one task after the other for some time. It returns how many a second were answered,
// and how many altogether, which is more: each begins with a few that do not count.
func submitAll(ctx context.Context, addr string, n int, span time.Duration) (rate float64, answered int, err error) {
	body, err := encode(queued())
	if err != nil {
		return 0, 0, err
	}
	callers := make([]*caller, 0, n)
	defer func() {
		for _, client := range callers {
			err = errors.Join(err, client.close())
		}
	}()
	for range n {
		client, err := dial(ctx, addr)
		if err != nil {
			return 0, 0, err
		}
		callers = append(callers, client)
	}
	if err := together(callers, body, func(made int) bool { return made < rehearsal }, nil); err != nil {
		return 0, 0, err
	}
	made := make([]int, n)
	start := time.Now()
	err = together(callers, body, func(int) bool { return time.Since(start) < span }, made)
	took := time.Since(start)
	counted := 0
	for _, m := range made {
		counted += m
	}
	return PerSecond(counted, took), counted + n*rehearsal, err
}

// together lets every client submit the body again and again while more says so, and notes how often each did.
func together(callers []*caller, body []byte, more func(made int) bool, made []int) error {
	var group errgroup.Group
	for i, client := range callers {
		group.Go(func() error {
			n := 0
			for ; more(n); n++ {
				if _, err := client.submit(body); err != nil {
					return err
				}
			}
			if made != nil {
				made[i] = n
			}
			return nil
		})
	}
	return group.Wait()
}
