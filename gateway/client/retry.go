package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"
)

// How often, and after which pauses, a request that may be repeated is sent again on a broken connection.
const (
	resendLimit = 2
	resendPause = 100 * time.Millisecond
)

// The pauses after a refusal that does not say when to come back: they double from the first to the last, and are
// shortened at random by up to a half, so that clients refused together do not come back together.
const (
	refusedFirst = 100 * time.Millisecond
	refusedLast  = 5 * time.Second
)

// repeats decides whether and when one call is sent again.
type repeats struct {
	allowed  bool      // it may be sent twice without harm
	until    time.Time // refusals are repeated as long as the next attempt begins before; zero = never
	resent   int
	refusals int
}

// after returns the pause before the next attempt, or that there is none.
func (r *repeats) after(ctx context.Context, err error, now time.Time) (time.Duration, bool) {
	switch {
	case !r.allowed:
		return 0, false
	case broken(err):
		r.resent++
		return resendPause << (r.resent - 1), r.resent <= resendLimit
	}
	wait, temporary := comeBack(err)
	if !temporary || r.until.IsZero() {
		return 0, false
	}
	if wait == 0 {
		wait = min(refusedFirst<<min(r.refusals, 10), refusedLast)
		wait -= rand.N(wait / 2)
	}
	r.refusals++
	next := now.Add(wait)
	if deadline, ok := ctx.Deadline(); ok && !next.Before(deadline) {
		return 0, false
	}
	return wait, next.Before(r.until)
}

// comeBack says whether err is a refusal that time may heal, and when the daemon wants to be asked again; 0 = it did
// not say.
func comeBack(err error) (wait time.Duration, temporary bool) {
	var e *Error
	if !errors.As(err, &e) || e.Status != http.StatusServiceUnavailable && e.Status != http.StatusTooManyRequests {
		return 0, false
	}
	return e.RetryAfter, true
}
