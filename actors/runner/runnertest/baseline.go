package runnertest

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

// Eventually waits until a condition holds.
func Eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline, look := time.NewTimer(Patience), time.NewTicker(2*time.Millisecond)
	defer deadline.Stop()
	defer look.Stop()
	for !holds() {
		select {
		case <-look.C:
		case <-deadline.C:
			t.Fatalf("in vain waited until %s", what)
		}
	}
}

// pid reads the pid that the program prints after a word.
func (f fixture) pid(t *testing.T, a attempt, word string) int {
	t.Helper()
	pid, err := strconv.Atoi(a.out.Await(t, word+" "))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// alive says whether a process runs; a zombie does not.
func alive(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	state := bytes.TrimSpace(text[bytes.LastIndexByte(text, ')')+1:])[0]
	return state != 'Z' && state != 'X'
}

func wantDead(t *testing.T, pid int) {
	t.Helper()
	if alive(pid) {
		t.Errorf("process %d lives", pid)
	}
}

// baseline is what there was before.
type baseline struct {
	goroutines  goleak.Option
	descriptors []string
	things      []string
}

func (f fixture) left(t *testing.T) baseline {
	t.Helper()
	return baseline{goroutines: goleak.IgnoreCurrent(), descriptors: descriptors(t), things: f.things()}
}

func (f fixture) things() []string {
	if f.Left == nil {
		return nil
	}
	return f.Left()
}

// compare fails the test when there is more now.
func (b baseline) compare(t *testing.T, f fixture) {
	t.Helper()
	if diff := cmp.Diff(b.things, f.things()); diff != "" {
		t.Errorf("things left behind (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(b.descriptors, descriptors(t)); diff != "" {
		t.Errorf("descriptors left behind (-before +after):\n%s", diff)
	}
	if err := goleak.Find(b.goroutines); err != nil {
		t.Error(err)
	}
}

// descriptors lists what the open descriptors refer to, sorted, without the one it takes to find out.
func descriptors(t *testing.T) []string {
	t.Helper()
	const dir = "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		if target, err := os.Readlink(dir + "/" + e.Name()); err == nil {
			all = append(all, target)
		}
	}
	slices.Sort(all)
	return all
}
