package sim

import (
	"math/rand/v2"
	"sync"
	"time"
)

// dice makes one subject's choices: the same seed and stream, the same choices, in the order in which it is asked. It is
// safe from any goroutine.
type dice struct {
	mu   sync.Mutex
	rand *rand.Rand
}

func newDice(seed, stream uint64) *dice { return &dice{rand: rand.New(rand.NewPCG(seed, stream))} }

// n is one of 0 … most-1.
func (d *dice) n(most int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rand.IntN(most)
}

// one in so many times it is true.
func (d *dice) one(in int) bool { return d.n(in) == 0 }

// upTo is a time between nothing and most.
func (d *dice) upTo(most time.Duration) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return time.Duration(d.rand.Int64N(int64(most) + 1))
}

// mostly is up to most, but now and then ten times as long.
func (d *dice) mostly(most time.Duration) time.Duration {
	if d.one(40) {
		most *= 10
	}
	return d.upTo(most)
}

// stream is one of 2⁶⁴, for the dice of someone new.
func (d *dice) stream() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rand.Uint64()
}

// pick is one of the values.
func pick[T any](d *dice, values ...T) T { return values[d.n(len(values))] }
