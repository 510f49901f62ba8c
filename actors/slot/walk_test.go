package slot

import (
	"cmp"
	"flag"
	"testing"
	"time"
)

const (
	walks     = 400
	walkSteps = 300
	walkLimit = 3
)

var walkSeed = flag.Uint64("seed", 0, "repeat the random walks of this seed; 0 = new ones")

// TestRandomWalk puts the core into a world whose store fails at random, whose holders end when they like, whose
// clients cancel, purge and replace without mercy, and whose actor crashes. Invariants 1 to 4 are checked after every
// step; then the world is left in peace and must come to rest with everybody answered.
func TestRandomWalk(t *testing.T) {
	seed := cmp.Or(*walkSeed, uint64(time.Now().UnixNano()))
	t.Logf("seed %d, %d steps", seed, walks*walkSteps)
	seen := make(map[string]int)
	for n := range uint64(walks) {
		w := newWorld(t, seed, n)
		w.seen = seen
		w.step(Resumed{})
		for range walkSteps {
			w.move()
			w.check()
		}
		w.settle()
	}
	for _, what := range []string{
		"kept", "refused", "finished", "cancel", "purge", "clear", "drain", "died", "crash", "busy", "full", "draining",
		"parked", "asleep",
		"refused holder", "refused in chain", "restored", "retried",
	} {
		if seen[what] == 0 {
			t.Errorf("no walk ever met %q: the world has become too tame", what)
		}
	}
}
