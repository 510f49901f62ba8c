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

func TestNodeKeepsItsPromises(t *testing.T) {
	from, count := *first, *seeds
	if from == 0 {
		from = uint64(time.Now().UnixMicro())
	}
	if *oneSeed != 0 {
		from, count = *oneSeed, 1
	}
	t.Logf("seeds %d to %d", from, from+uint64(count)-1)
	for n := range uint64(count) {
		seed := from + n
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { judge(t, seed) })
		})
	}
}

func judge(t *testing.T, seed uint64) {
	h := run(t, seed)
	if *shown {
		t.Log("\n" + h.trace(""))
	}
}
