package messages

import (
	"math"
	"math/rand/v2"
	"time"

	soltiv1 "slotd/messages/solti/v1"
)

// Backoff says how long to wait after a failure: capped exponential growth, spread by jitter so that tasks that failed
// together do not come back together. The four jitters and their names are those of Marc Brooker, "Exponential Backoff
// And Jitter", AWS Architecture Blog, 2015; growth with a cap is that of wait.Backoff in k8s.io/apimachinery.
//
// First and Max are > 0 with First ≤ Max, and Factor is finite and ≥ 1 when they come from a validated spec; no other
// value makes a delay negative or longer than Max.
type Backoff struct {
	First, Max time.Duration
	Factor     float64
	Jitter     soltiv1.JitterStrategy
}

// BackoffOf reads the backoff of a spec, with the defaults for what it leaves out.
func BackoffOf(spec *soltiv1.CreateSpec) Backoff {
	b := Backoff{
		First:  millis(DefaultBackoffFirstMs),
		Max:    millis(DefaultBackoffMaxMs),
		Factor: DefaultBackoffFactor,
		Jitter: spec.GetBackoff().GetJitter(),
	}
	if given := spec.GetBackoff(); given != nil {
		b.First, b.Max, b.Factor = millis(given.GetFirstMs()), millis(given.GetMaxMs()), given.GetFactor()
	}
	if b.Jitter == soltiv1.JitterStrategy_JITTER_STRATEGY_UNSPECIFIED {
		b.Jitter = soltiv1.JitterStrategy_JITTER_STRATEGY_FULL
	}
	return b
}

// Base is the delay before jitter, min(First · Factorⁿ, Max), where n counts the failures in a row before this one: 0
// after the first. A product too large for a duration is Max.
func (b Backoff) Base(n uint32) time.Duration {
	most := max(b.Max, 0)
	least := min(max(b.First, 0), most)
	growth := math.Pow(b.Factor, float64(n))
	if growth <= 1 {
		return least // exact, which a float64 is only up to 104 days of nanoseconds
	}
	grown := float64(least) * growth
	if !(grown < float64(most)) { // also when it is NaN
		return most
	}
	return max(least, time.Duration(grown))
}

// Delay is the time to wait after the failure n, n as in [Backoff.Base]. The ranges include both ends:
//
//	NONE          base
//	FULL          [0, base]
//	EQUAL         [base/2, base]
//	DECORRELATED  [first, min(3·base, max)]
//
// The article's decorrelated jitter grows from the previous delay; this one grows from the base, so that it needs no
// memory and is the same after a restart.
func (b Backoff) Delay(n uint32, r *rand.Rand) time.Duration {
	base := b.Base(n)
	switch b.Jitter {
	case soltiv1.JitterStrategy_JITTER_STRATEGY_NONE:
		return base
	case soltiv1.JitterStrategy_JITTER_STRATEGY_EQUAL:
		return uniform(r, base/2, base)
	case soltiv1.JitterStrategy_JITTER_STRATEGY_DECORRELATED:
		high := max(b.Max, 0)
		if base < high/3 { // else 3·base may be too large for a duration
			high = 3 * base
		}
		return uniform(r, min(max(b.First, 0), high), high)
	default:
		return uniform(r, 0, base)
	}
}

// uniform draws from [low, high], 0 ≤ low ≤ high.
func uniform(r *rand.Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(r.Uint64N(uint64(high-low)+1))
}
