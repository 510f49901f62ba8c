package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// leaves counts the control groups of a daemon's attempts; 0 where there are none at all.
func leaves(t testing.TB, d *daemon) int {
	t.Helper()
	notes, err := filepath.Glob(filepath.Join(d.data, "run", "*", "cgroup"))
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, note := range notes {
		group, err := os.ReadFile(note)
		if err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(strings.TrimSpace(string(group)))
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			if entry.IsDir() {
				count++
			}
		}
	}
	return count
}

// usage is what a daemon holds.
type usage struct{ goroutines, fds, seen, actors, leaves, files, children int }

func (d *daemon) usage() usage {
	d.t.Helper()
	d.client.CloseIdleConnections()
	f := d.introspect()
	return usage{
		goroutines: number(d.t, f.Goroutines), fds: number(d.t, f.OpenFds), seen: countFDs(d.t, d.process.Pid), actors: number(d.t, f.Actors),
		leaves: leaves(d.t, d), files: d.leftovers(), children: len(ofNode(d.t, d.node)),
	}
}

// leftovers counts the files of the data directory that belong to tasks: the store's own come and go as it likes.
func (d *daemon) leftovers() int {
	own := filepath.Join(d.data, "store") + string(filepath.Separator)
	return len(slices.DeleteFunc(files(d.t, d.data, ""), func(path string) bool { return strings.HasPrefix(path, own) }))
}

func TestNothingIsLeftOfAThousandTasks(t *testing.T) {
	t.Parallel()
	d := serve(t, "--retain", "1s")
	d.end(d.submit(shell("warm", "echo up")))
	eventually(t, "the first task is forgotten", func() bool { return d.list("").Total == 0 })
	before := d.usage()
	const clients, each = 8, 125
	var group sync.WaitGroup
	errs := make(chan error, clients*each)
	for client := range clients {
		group.Go(func() {
			for i := range each {
				spec := command(fmt.Sprintf("s%d-%d", client, i), "true")
				switch i % 25 {
				case 0:
					spec = shell(fmt.Sprintf("s%d-%d", client, i), "echo said; setsid sleep 1000 &")
				case 1:
					spec = command(fmt.Sprintf("s%d-%d", client, i), "no-such-command-anywhere")
				case 2:
					spec = shell(fmt.Sprintf("s%d-%d", client, i), "echo said; exit 1").with("restart", "RESTART_STRATEGY_ON_FAILURE").
						with("maxRetries", 1).with("backoff", object{"firstMs": 1, "maxMs": 1, "factor": 1})
				}
				a, err := d.try(http.MethodPost, "/api/v1/tasks", object{"spec": spec}.String(), "Content-Type", "application/json")
				if err == nil && a.status == http.StatusCreated {
					a, err = d.try(http.MethodGet, a.header.Get("Location")+"?wait=2m", "")
				}
				if err == nil && a.status != http.StatusOK && a.status != http.StatusNotFound { // it may be forgotten already
					err = fmt.Errorf("answer %v", a)
				}
				if err != nil {
					errs <- err
				}
			}
		})
	}
	group.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	eventually(t, "all tasks are forgotten", func() bool { return d.list("").Total == 0 })
	var after usage
	if !within(func() bool {
		after = d.usage()
		return after.goroutines <= before.goroutines+2 && after.fds <= before.fds+1 && after.seen <= before.seen+1 && after.actors <= before.actors &&
			after.leaves <= before.leaves && after.files <= before.files && after.children == 0
	}) {
		t.Errorf("the daemon holds %+v, before it held %+v", after, before)
	}
	if dead := d.introspect().DeadLetters; dead != "0" {
		t.Errorf("%s messages had no receiver", dead)
	}
}
