package rpc

import (
	"context"
	"fmt"
	"time"
)

// How a server that ends looks whether only streams are left, and how long these are given to end by themselves.
const (
	streamGrace = time.Second
	lookPeriod  = 10 * time.Millisecond
)

// Drain begins a graceful stop: submissions are UNAVAILABLE and the health is NOT_SERVING from now on; everything else
// goes on.
func (s *Server) Drain() { s.draining.Store(true) }

// Shutdown drains, ends streams, lets waits answer with the present state, closes the listeners and returns when every
// simple call has been answered. Streams that have not ended a second later, because their client does not read or has
// more to ask, are cut off without an error. When ctx is done first, it cuts the calls that are left and returns an error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.Drain()
	s.health.Shutdown()
	s.end()
	s.once.Do(func() {}) // a Serve that comes late starts nothing
	s.follow.Wait()
	dismissal := time.AfterFunc(greetingPatience, s.fresh.dismiss)
	defer dismissal.Stop()
	finished := make(chan struct{})
	go func() {
		s.grpc.GracefulStop()
		close(finished)
	}()
	answered := s.awaitAnswers(ctx, finished)
	s.grpc.Stop()
	<-finished
	if !answered {
		return fmt.Errorf("grpc: calls were cut off: %w", ctx.Err())
	}
	return nil
}

// awaitAnswers returns true when finished is, or when for streamGrace there was no simple call that had no answer; false
// when ctx is done before.
func (s *Server) awaitAnswers(ctx context.Context, finished <-chan struct{}) bool {
	look := time.NewTicker(lookPeriod)
	defer look.Stop()
	quiet := time.Now()
	for time.Since(quiet) < streamGrace {
		select {
		case <-finished:
			return true
		case <-ctx.Done():
			return s.unanswered.Load() == 0
		case <-look.C:
		}
		if s.unanswered.Load() > 0 {
			quiet = time.Now()
		}
	}
	return true
}
