package faults

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// worlds is how many of them are killed side by side: while one waits, another uses the machine.
const worlds = 4

// A daemon that is killed at any instant loses nothing that was answered, runs nothing twice at once, leaves no process
// and no task stuck, and goes on where it was.
func TestNothingIsLostOrDoubled(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	passed, kills := make(map[string]int), 0
	begun := time.Now()
	t.Cleanup(func() {
		t.Logf("seed %d: %d kills in %v, points %v", seed, kills, time.Since(begun).Round(time.Second), passed)
		if t.Failed() {
			return
		}
		for _, p := range points {
			if passed[p.name] == 0 && kills >= 10*len(points) {
				t.Errorf("the point %s has killed nobody: is it still there?", p.name)
			}
		}
	})
	for i := range worlds {
		t.Run(fmt.Sprintf("World%d", i), func(t *testing.T) {
			t.Parallel()
			binary := plainSlotd
			if i%2 == 0 {
				binary = racedSlotd
			}
			path, stop := must(t, binary), begun.Add(soak)
			for round := uint64(0); round == 0 || time.Now().Before(stop) && !t.Failed(); round++ {
				t.Run(fmt.Sprintf("Round%d", round), func(t *testing.T) {
					w := newWorld(t, path, seed+uint64(i)+worlds*round, flavour(i)...)
					if i == worlds-1 {
						w.history.Forgetful()
					}
					load := w.load(3, 2)
					w.lead(t.Context(), (*killFlag+worlds-1)/worlds)
					load.end()
					if !w.broken() {
						w.settle()
					}
					mu.Lock()
					defer mu.Unlock()
					kills += w.kills
					for name, n := range w.passed {
						passed[name] += n
					}
				})
			}
		})
	}
}

// flavour is how the daemons of a world differ from those of others.
func flavour(i int) []string {
	switch i {
	case 1:
		return []string{"--max-running", "3"}
	case worlds - 1:
		return []string{"--retain-tasks", "40"} // the oldest that have ended are dropped
	default:
		return nil
	}
}
