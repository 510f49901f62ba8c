package e2e

import (
	"sync"
	"testing"
	"time"
)

// patience is how long anything that must happen may take on a loaded machine.
const patience = 60 * time.Second

// eventually waits until the condition holds, and fails the test when it does not in time.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	if !within(holds) {
		t.Fatalf("after %v still not: %s", patience, what)
	}
}

// within says whether the condition came to hold in time.
func within(holds func() bool) bool {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline.C:
			return holds()
		case <-tick.C:
		}
	}
	return true
}

// text is what a process writes, readable while it writes.
type text struct {
	mu  sync.Mutex
	all []byte
}

func (x *text) Write(p []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.all = append(x.all, p...)
	return len(p), nil
}

func (x *text) String() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return string(x.all)
}
