package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	soltiv1 "slotd/messages/solti/v1"
)

const (
	// warmUp is how many tasks a daemon runs before it is looked at, because it keeps a few goroutines once it had them.
	warmUp = 200
	// settleWithin is how long it may take to let go of what ended tasks needed: an idle slot stays for a second.
	settleWithin = 20 * time.Second
	// settled is how long its holdings have not changed when they count as those of rest.
	settled = 2500 * time.Millisecond
)

func leftovers(c Config) Section {
	left := func(what string) Metric {
		return Metric{Name: what + " more than before", Unit: what, Bound: Bound{Below: 1}}
	}
	return Section{
		Name: "leftovers",
		About: fmt.Sprintf("What a daemon at rest holds beyond what it held before, once %s times `/bin/true` went through HTTP and %s more tasks "+
			"wrote a line and were deleted. The store's own files do not count: what they keep are those tasks. There is nothing to compare with: the promise is none.",
			number(float64(c.Leftovers)), number(float64(c.Latencies))),
		Probes: []Probe{{
			Metrics: []Metric{left("goroutines"), left("descriptors"), left("control groups"), left("files"), left("processes")},
			Measure: func(ctx context.Context) ([]float64, error) { return slotdLeftovers(ctx, c) },
		}},
	}
}

// holdings is what a daemon has at one moment, in the order of the section's metrics.
type holdings [5]int

func slotdLeftovers(ctx context.Context, c Config) (more []float64, err error) {
	d, err := c.serve(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	observer, err := d.dial(ctx) // stays connected, so that it is in both counts
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(observer.close(), err) }()
	if _, err := d.runTasks(ctx, "warm", warmUp); err != nil {
		return nil, err
	}
	before, err := d.rest(ctx, observer)
	if err != nil {
		return nil, err
	}
	if _, err := d.runTasks(ctx, "slot", c.Leftovers); err != nil {
		return nil, err
	}
	if err := d.writeAndDelete(ctx, c.Latencies); err != nil {
		return nil, err
	}
	after, err := d.rest(ctx, observer)
	if err != nil {
		return nil, err
	}
	for i := range after {
		more = append(more, float64(max(0, after[i]-before[i])))
	}
	return more, nil
}

// rest returns what the daemon holds once that does not change any more.
func (d *daemon) rest(ctx context.Context, observer *caller) (h holdings, err error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	begun := time.Now()
	for since := begun; time.Since(since) < settled; {
		now, err := d.holdings(observer)
		if err != nil {
			return h, err
		}
		if now != h {
			h, since = now, time.Now()
		}
		if since.Sub(begun) > settleWithin {
			return h, fmt.Errorf("the daemon does not come to rest: %+v", h)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return h, ctx.Err()
		}
	}
	return h, nil
}

// writeAndDelete runs n tasks that have a log, which exists until they are deleted.
func (d *daemon) writeAndDelete(ctx context.Context, n int) (err error) {
	client, err := d.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.close()) }()
	files, err := d.files()
	if err != nil {
		return err
	}
	body, err := encode(commandSpec("echo", "echo", "a line"))
	if err != nil {
		return err
	}
	ids := make([]string, n)
	for i := range ids {
		if ids[i], err = client.submit(body); err != nil {
			return err
		}
		if err := client.await(ids[i], "terminal", soltiv1.TaskStatus_TASK_STATUS_SUCCEEDED); err != nil {
			return err
		}
	}
	if now, err := d.files(); err != nil || now < files+n {
		return errors.Join(err, fmt.Errorf("%d tasks wrote a line each, and there are %d files where %d were", n, now, files))
	}
	for _, id := range ids {
		if err := client.remove(id); err != nil {
			return err
		}
	}
	return nil
}

func (d *daemon) holdings(observer *caller) (h holdings, err error) {
	var view struct {
		Goroutines int `json:",string"`
	}
	if err := observer.call(http.MethodGet, "/api/v1/introspection", nil, http.StatusOK, &view); err != nil {
		return h, err
	}
	pid := strconv.Itoa(d.cmd.Process.Pid)
	descriptors, err := d.descriptors(filepath.Join("/proc", pid, "fd"))
	if err != nil {
		return h, err
	}
	groups, err := d.groups()
	if err != nil {
		return h, err
	}
	files, err := d.files()
	if err != nil {
		return h, err
	}
	processes, err := d.processes()
	return holdings{view.Goroutines, descriptors, groups, files, len(processes)}, err
}

// descriptors counts the open files but for those of the store, which opens and closes them as it sees fit.
func (d *daemon) descriptors(dir string) (n int, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	for _, entry := range entries {
		target, err := os.Readlink(filepath.Join(dir, entry.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // closed meanwhile
		}
		if err != nil {
			return 0, err
		}
		if !strings.HasPrefix(target, d.state()+string(filepath.Separator)) {
			n++
		}
	}
	return n, nil
}

// files counts what is below the data directory, folders too, but for the files of the store.
func (d *daemon) files() (n int, err error) { return below(d.data(), d.state()) }

// groups counts the control groups below the daemon's own, whose path it keeps beside its scripts; none where it makes
// none.
func (d *daemon) groups() (n int, err error) {
	notes, err := filepath.Glob(filepath.Join(d.data(), "run", "*", "cgroup"))
	if err != nil {
		return 0, err
	}
	for _, note := range notes {
		dir, err := os.ReadFile(note)
		if err != nil {
			return 0, err
		}
		more, err := below(string(dir), "")
		if err != nil {
			return 0, err
		}
		n += more
	}
	return n, nil
}

// below counts a folder and what is in it, all but one folder.
func below(dir, except string) (n int, err error) {
	err = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if path == except {
			return fs.SkipDir
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it went meanwhile
		}
		n++
		return err
	})
	return n, err
}

// processes lists the living processes that the daemon's tasks started.
func (d *daemon) processes() (pids []int, err error) {
	mark := []byte("\x00SLOTD_NODE=" + d.node + "\x00")
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue // not a process
		}
		environ, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "environ"))
		if err != nil {
			continue // gone, or another user's
		}
		if bytes.Contains(append([]byte{0}, environ...), mark) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
