package task

import (
	"cmp"
	"flag"
	"testing"
	"time"
)

const (
	atLeast   = 120_000 // steps
	walkSteps = 150     // of one walk, if the task lives that long
)

var walkSeed = flag.Uint64("seed", 0, "repeat the random walks of this seed; 0 = new ones")

// TestRandomWalk puts the core into a world whose store fails, whose executor answers late, twice and for attempts long
// gone, whose timers fire after they were stopped, and whose actor and machine crash. Invariants 1, 3, 4 and 5 are
// checked after every step; then the world is left in peace and the task must come to its one end.
func TestRandomWalk(t *testing.T) {
	seed := cmp.Or(*walkSeed, uint64(time.Now().UnixNano()))
	t.Logf("seed %d", seed)
	seen := make(map[string]int)
	for n := uint64(0); seen["step"] < atLeast; n++ {
		w := newWorld(t, seed, n)
		w.seen = seen
		w.step(Resumed{})
		for i := 0; i < walkSteps && w.outcome == nil; i++ {
			w.saw("step")
			w.move()
		}
		w.settle()
	}
	t.Logf("met %v", seen)
	for _, what := range []string{
		"rebuilt", "rebooted", "retried", "stale", "twice", "start withheld", "lost", "killed", "hastened", "parked",
		"Completed", "NonZeroExit", "SpawnFailed", "RetriesExhausted", "Canceled", "Replaced", "Shutdown", "TimedOut",
	} {
		if seen[what] == 0 {
			t.Errorf("no walk ever met %q: the world has become too tame", what)
		}
	}
}
