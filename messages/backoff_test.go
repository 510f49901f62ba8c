package messages

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	soltiv1 "slotd/messages/solti/v1"
)

const (
	none         = soltiv1.JitterStrategy_JITTER_STRATEGY_NONE
	full         = soltiv1.JitterStrategy_JITTER_STRATEGY_FULL
	equal        = soltiv1.JitterStrategy_JITTER_STRATEGY_EQUAL
	decorrelated = soltiv1.JitterStrategy_JITTER_STRATEGY_DECORRELATED
)

const century = MaxMillis * time.Millisecond

func TestBackoffOfASpec(t *testing.T) {
	defaults := Backoff{First: time.Second, Max: 30 * time.Second, Factor: 2, Jitter: full}
	given := &soltiv1.CreateSpec{Backoff: &soltiv1.BackoffStrategy{Jitter: decorrelated, FirstMs: 1, MaxMs: MaxMillis, Factor: 1.5}}
	tests := []struct {
		name string
		spec *soltiv1.CreateSpec
		want Backoff
	}{
		{"no spec", nil, defaults},
		{"left out", &soltiv1.CreateSpec{}, defaults},
		{"given", given, Backoff{First: time.Millisecond, Max: century, Factor: 1.5, Jitter: decorrelated}},
		{"without jitter", &soltiv1.CreateSpec{Backoff: &soltiv1.BackoffStrategy{FirstMs: 2, MaxMs: 3, Factor: 1}}, Backoff{First: 2 * time.Millisecond, Max: 3 * time.Millisecond, Factor: 1, Jitter: full}},
		{"beyond a duration", &soltiv1.CreateSpec{Backoff: &soltiv1.BackoffStrategy{Jitter: none, FirstMs: math.MaxUint64, MaxMs: math.MaxUint64, Factor: 1}}, Backoff{First: century, Max: century, Factor: 1, Jitter: none}},
	}
	for _, tt := range tests {
		if got := BackoffOf(tt.spec); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
	spec := &soltiv1.CreateSpec{}
	Defaults(spec)
	if got := BackoffOf(spec); got != defaults {
		t.Errorf("with the defaults spelled out: got %+v, want %+v", got, defaults)
	}
}

func TestBase(t *testing.T) {
	b := Backoff{First: time.Second, Max: 30 * time.Second, Factor: 2}
	steep := Backoff{First: time.Millisecond, Max: century, Factor: math.MaxFloat64}
	flat := Backoff{First: century - 1, Max: century, Factor: 1}
	tests := []struct {
		name string
		b    Backoff
		n    uint32
		want time.Duration
	}{
		{"first", b, 0, time.Second},
		{"doubled", b, 1, 2 * time.Second},
		{"last below max", b, 4, 16 * time.Second},
		{"capped", b, 5, 30 * time.Second},
		{"far beyond", b, math.MaxUint32, 30 * time.Second},
		{"fraction", Backoff{First: 10 * time.Millisecond, Max: time.Second, Factor: 1.5}, 3, 33750 * time.Microsecond},
		{"steep, first", steep, 0, time.Millisecond},
		{"steep, product overflows", steep, 1, century},
		{"steep, power overflows", steep, 2, century},
		{"flat keeps every nanosecond", flat, math.MaxUint32, century - 1},
		{"max below first", Backoff{First: 2, Max: 1, Factor: 2}, 0, 1},
		{"nothing set", Backoff{}, 3, 0},
		{"all negative", Backoff{First: -2, Max: -1, Factor: -1}, 3, 0},
		{"no number", Backoff{First: 1, Max: 5, Factor: math.NaN()}, 1, 5},
	}
	for _, tt := range tests {
		if got := tt.b.Base(tt.n); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

// anyBackoff draws what a validated spec can hold.
func anyBackoff(t *rapid.T) Backoff {
	first := rapid.Uint64Range(1, MaxMillis).Draw(t, "first")
	return BackoffOf(&soltiv1.CreateSpec{Backoff: &soltiv1.BackoffStrategy{
		FirstMs: first,
		MaxMs:   rapid.Uint64Range(first, MaxMillis).Draw(t, "max"),
		Factor:  rapid.Float64Range(1, math.MaxFloat64).Draw(t, "factor"),
		Jitter:  rapid.SampledFrom([]soltiv1.JitterStrategy{none, full, equal, decorrelated}).Draw(t, "jitter"),
	}})
}

func TestBaseGrowsFromFirstToMax(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := anyBackoff(t)
		n := rapid.Uint32Range(0, math.MaxUint32-1).Draw(t, "n")
		this, next := b.Base(n), b.Base(n+1)
		if b.Base(0) != b.First || this < b.First || this > next || next > b.Max {
			t.Fatalf("%+v: got base(0) = %d, base(%d) = %d, base(+1) = %d", b, b.Base(0), n, this, next)
		}
	})
}

// bounds are the ranges of the four jitters, in arithmetic that cannot overflow.
func bounds(b Backoff, n uint32) (low, high time.Duration) {
	base := b.Base(n)
	switch b.Jitter {
	case none:
		return base, base
	case full:
		return 0, base
	case equal:
		return base / 2, base
	default:
		return b.First, time.Duration(min(3*uint64(base), uint64(b.Max)))
	}
}

func TestDelayKeepsItsRange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := anyBackoff(t)
		n := rapid.Uint32().Draw(t, "n")
		low, high := bounds(b, n)
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		for range 20 {
			if got := b.Delay(n, r); got < low || got > high {
				t.Fatalf("%+v, n = %d: got %d, want %d to %d", b, n, got, low, high)
			}
		}
	})
}

func TestDelayReachesBothEndsAndSpreadsEvenly(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, jitter := range []soltiv1.JitterStrategy{full, equal, decorrelated, 0} {
		b := Backoff{First: 4, Max: 100, Factor: 2, Jitter: jitter}
		low, high := bounds(b, 1)
		if jitter == 0 {
			low, high = 0, 8 // as FULL
		}
		const draws = 100_000
		seen := map[time.Duration]int{}
		for range draws {
			seen[b.Delay(1, r)]++
		}
		values := int(high-low) + 1
		for d := low; d <= high; d++ {
			if got, want := seen[d], draws/values; math.Abs(float64(got-want)) > 0.1*float64(want) {
				t.Errorf("%v: got %v %d times of %d, want about %d", jitter, d, got, draws, want)
			}
		}
		if len(seen) != values {
			t.Errorf("%v: got %d values, want %d", jitter, len(seen), values)
		}
	}
}

func TestDelayOfASpecNobodyValidatedIsNeverNegative(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := Backoff{
			First:  time.Duration(rapid.Int64().Draw(t, "first")),
			Max:    time.Duration(rapid.Int64().Draw(t, "max")),
			Factor: rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), math.Inf(-1), -1, 0, 0.5, 1, 2, math.MaxFloat64}).Draw(t, "factor"),
			Jitter: soltiv1.JitterStrategy(rapid.Int32Range(-1, 6).Draw(t, "jitter")),
		}
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		n := rapid.Uint32().Draw(t, "n")
		if got := b.Delay(n, r); got < 0 || got > max(b.Max, 0) {
			t.Fatalf("%+v, n = %d: got %d", b, n, got)
		}
	})
}

func TestOneSeedGivesOneSequence(t *testing.T) {
	b := Backoff{First: time.Second, Max: time.Hour, Factor: 2, Jitter: full}
	one, other := rand.New(rand.NewPCG(7, 7)), rand.New(rand.NewPCG(7, 7))
	for n := range uint32(20) {
		if got, want := b.Delay(n, one), b.Delay(n, other); got != want {
			t.Fatalf("n = %d: got %v, want %v", n, got, want)
		}
	}
}
