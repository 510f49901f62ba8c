package faults

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"slotd/gateway/client"
	soltiv1 "slotd/messages/solti/v1"
)

// settle lets the world come to rest in a last life.
func (w *world) settle() {
	w.t.Helper()
	l := w.start(plan{calm: true})
	l.await(w.t)
	w.rest(l)
}

// rest ends a life in peace, when no client is there any more: each task ends, by itself or, what would never, by a
// cancel. Then everything is looked at, and nothing may be left.
func (w *world) rest(l *life) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	w.buried(l)
	w.exhaust(ctx, l)
	w.inspect(ctx, l)
	if !within(burial, func() bool { return len(w.family()) == 0 }) {
		w.history.Report("", "everything has ended, and these live on:%s", describe(w.family()))
	}
	w.read()
	w.history.Settle()
	w.tidy()
	w.history.Stopping()
	if err := l.signal(syscall.SIGTERM); err != nil {
		w.t.Error(err)
	}
	w.finish(l)
	if code := l.state.ExitCode(); code != 0 {
		w.history.Report("", "a graceful stop ended with exit code %d:\n%s", code, tailOf(l.log.String()))
	}
	w.check()
}

// exhaust waits until every task is terminal. Only what is repeated for ever is canceled.
func (w *world) exhaust(ctx context.Context, l *life) {
	w.t.Helper()
	var left []*soltiv1.TaskData
	canceled := make(map[string]bool)
	var group sync.WaitGroup
	ctx, stop := context.WithCancel(ctx)
	defer func() { stop(); group.Wait() }()
	over := within(patience, func() bool {
		tasks, err := w.list(ctx, l)
		if err != nil {
			w.history.Report("", "list: %v", err)
			return true
		}
		left = nil
		for _, data := range tasks {
			if data.GetStatus().GetTerminal() {
				continue
			}
			left = append(left, data)
			id, spec := data.GetMetadata().GetId(), data.GetSpec()
			if endless := spec.GetRestart() == always || spec.GetRestart() == onFailure && spec.MaxRetries == nil; endless && !canceled[id] {
				canceled[id] = true
				w.history.Canceling(id)
				group.Go(func() {
					if _, err := l.client.Cancel(ctx, id); err != nil && ctx.Err() == nil {
						w.history.Report(id, "cancel: %v", err)
					}
				})
			}
		}
		return len(left) == 0
	})
	if !over {
		for _, data := range left {
			id := data.GetMetadata().GetId()
			w.history.Report(id, "it does not end: %v; its processes are%s", data.GetStatus(), describe(w.family()))
		}
	}
}

// inspect looks at every task and every slot.
func (w *world) inspect(ctx context.Context, l *life) {
	w.t.Helper()
	tasks, err := w.list(ctx, l)
	if err != nil {
		w.history.Report("", "list: %v", err)
	}
	ids := make(chan string)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for id := range ids {
				if err := w.examine(ctx, l, id); err != nil && !client.NotFound(err) {
					w.history.Report(id, "examine: %v", err)
				}
			}
		})
	}
	for _, data := range tasks {
		ids <- data.GetMetadata().GetId()
	}
	close(ids)
	group.Wait()
	slots, err := l.client.Slots(ctx)
	if err != nil || len(slots) > 0 {
		w.history.Report("", "slots that have nothing are in use: %v, %v", slots, err)
	}
}

// tidy checks what a daemon with nothing to do may have on the disk and in the control groups: its own directory, and
// no script, no note of an attempt, no group.
func (w *world) tidy() {
	w.t.Helper()
	runs, err := filepath.Glob(filepath.Join(w.data(), "run", "*"))
	if err != nil || len(runs) != 1 {
		w.history.Report("", "daemons have left the directories %v, %v", runs, err)
	}
	for _, run := range runs {
		files, err := filepath.Glob(filepath.Join(run, "*"))
		if err != nil {
			w.t.Error(err)
		}
		for _, file := range files {
			switch filepath.Base(file) {
			case "cgroup":
			case "lock":
				continue
			case "journal":
				if entries, err := os.ReadDir(file); err == nil && len(entries) == 0 {
					continue
				}
				fallthrough
			default:
				w.history.Report("", "left behind: %s", file)
				continue
			}
			group, err := os.ReadFile(file)
			if err != nil {
				w.t.Error(err)
			}
			leaves, err := filepath.Glob(filepath.Join(string(group), "*", "cgroup.procs"))
			if err != nil || len(leaves) > 0 {
				w.history.Report("", "groups are left: %v, %v", leaves, err)
			}
		}
	}
}

// check asks the offline check of the store, which is to find nothing.
func (w *world) check() {
	w.t.Helper()
	out, err := exec.CommandContext(context.Background(), w.binary, "store", "check", "--data", w.data()).CombinedOutput()
	if err != nil {
		w.history.Report("", "store check: %v\n%s", err, strings.TrimSpace(string(out)))
	}
}
