package sim

import (
	"flag"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

var (
	oneSeed = flag.Uint64("seed", 0, "run this one seed only")
	seeds   = flag.Int("seeds", 500, "how many seeds to run")
	first   = flag.Uint64("first", 0, "the first seed; 0 = by the clock")
	shown   = flag.Bool("trace", false, "print the history of every seed")
)

const (
	// stuckAfter is real time; a seed needs less than a second.
	stuckAfter = 2 * time.Minute
	// enough seeds let everything happen that can.
	enough = 300
)

// whatHappens must have happened somewhere in so many worlds, or rules are kept by nobody's having tried to break them.
var whatHappens = []string{
	"crash disk/taken", "crash disk/synced", "crash fork/before", "crash fork/after", "crash process/dying",
	"crash process/dead", "crash any time", "stopped", "settled", "panics", "failed", "deleted", "printed",
	"end Completed", "end NonZeroExit", "end Signaled", "end SpawnFailed", "end RetriesExhausted", "end TimedOut",
	"end Canceled", "end Replaced", "end Superseded", "end Shutdown", "end NodeLost",
	"run Completed", "run NonZeroExit", "run Signaled", "run OutOfMemory", "run SpawnFailed", "run RunnerUnavailable",
	"run NodeLost", "run TimedOut", "run Canceled", "run Replaced", "run Shutdown",
	"answer ", "answer SlotBusy", "answer QueueFull", "answer Unavailable", "answer IdempotencyKeyReused", "answer TaskNotFound",
}

func TestNodeKeepsItsPromises(t *testing.T) {
	t.Parallel()
	from, count := *first, *seeds
	if from == 0 {
		from = uint64(time.Now().UnixMicro())
	}
	if *oneSeed != 0 {
		from, count = *oneSeed, 1
	}
	t.Logf("seeds %d to %d", from, from+uint64(count)-1)
	seen := &tally{counts: map[string]int{}}
	t.Cleanup(func() {
		t.Logf("what happened:\n%v", seen)
		if missing := seen.missing(whatHappens...); count >= enough && len(missing) > 0 {
			t.Errorf("in %d worlds this has never happened: %q", count, missing)
		}
	})
	for n := range uint64(count) {
		seed := from + n
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			stuck := time.AfterFunc(stuckAfter, func() { panic(fmt.Sprintf("seed %d is stuck", seed)) })
			defer stuck.Stop()
			synctest.Test(t, func(t *testing.T) { judge(t, seed, seen) })
		})
	}
}

// judge lets one world happen and says what was wrong in it, with all that happened in the slots concerned.
func judge(t *testing.T, seed uint64, seen *tally) {
	h := run(t, seed)
	seen.add(h)
	if *shown {
		t.Log("\n" + h.trace(""))
	}
	wrong := check(h)
	traced := map[string]bool{}
	for i, v := range wrong {
		if i == 10 {
			t.Errorf("and %d more", len(wrong)-i)
			break
		}
		t.Error(v)
		if !traced[v.slot] {
			traced[v.slot] = true
			t.Log("\n" + h.trace(v.slot))
		}
	}
	if t.Failed() {
		t.Logf("replay: GOMAXPROCS=1 go test -race ./test/sim -run TestNodeKeepsItsPromises -seed=%d", seed)
	}
}
