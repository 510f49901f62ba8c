package bench

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// gauge is how fast calls were answered, and how long each took.
type gauge struct {
	rate     float64 // calls/s of all clients together
	p50, p99 float64 // µs
}

// request is one call of a client, its n-th.
type request func(n int) error

// measureCalls lets every client make one call after the other for some time. The first calls of each do not count.
func measureCalls(clients []request, span time.Duration) (gauge, error) {
	for _, call := range clients {
		begun := time.Now()
		for n := 0; n < rehearsal && time.Since(begun) < span; n++ { // others wait, and a daemon ends what is silent for long
			if err := call(n); err != nil {
				return gauge{}, err
			}
		}
	}
	took := make([][]time.Duration, len(clients))
	var group errgroup.Group
	start := time.Now()
	for i, call := range clients {
		group.Go(func() error {
			for n := rehearsal; ; n++ {
				begun := time.Now()
				if begun.Sub(start) >= span && len(took[i]) > 0 {
					return nil
				}
				if err := call(n); err != nil {
					return err
				}
				took[i] = append(took[i], time.Since(begun))
			}
		})
	}
	err := group.Wait()
	whole := time.Since(start)
	all := slices.Concat(took...)
	slices.Sort(all)
	if err != nil || len(all) == 0 {
		return gauge{}, errors.Join(err, errNoCalls)
	}
	return gauge{
		rate: PerSecond(len(all), whole),
		p50:  microseconds(all[len(all)/2]),
		p99:  microseconds(all[len(all)*99/100]),
	}, nil
}

var errNoCalls = errors.New("no call was answered")

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// gaugeMetrics are the metrics of a gauge; rate is held against the floor's.
func gaugeMetrics(name, floor string, bound Bound) []Metric {
	beside := func(what string) string {
		if floor == "" {
			return ""
		}
		return floor + ", " + what
	}
	return []Metric{
		{Name: name + ", rate", Unit: "calls/s", Floor: beside("rate"), Bound: bound},
		{Name: name + ", p50", Unit: "µs", Floor: beside("p50")},
		{Name: name + ", p99", Unit: "µs", Floor: beside("p99")},
	}
}

func (g gauge) values() []float64 { return []float64{g.rate, g.p50, g.p99} }

// gaugeHTTP measures GETs of so many clients, each with a connection that stays open. path names what the n-th call of a
// client asks for.
func gaugeHTTP(ctx context.Context, addr string, clients int, span time.Duration, path func(client, n int) string) (g gauge, err error) {
	callers := make([]*caller, 0, clients)
	defer func() {
		for _, c := range callers {
			err = errors.Join(err, c.close())
		}
	}()
	asks := make([]request, clients)
	for i := range clients {
		c, err := dial(ctx, addr)
		if err != nil {
			return gauge{}, err
		}
		callers = append(callers, c)
		asks[i] = func(n int) error { return c.fetch(path(i, n)) }
	}
	return measureCalls(asks, span)
}
