package messages

import (
	"math"
	"testing"
	"time"
)

func TestReject(t *testing.T) {
	tests := []struct {
		after time.Duration
		want  uint64
	}{
		{0, 0},
		{-time.Second, 0},
		{1, 1},
		{time.Millisecond, 1},
		{time.Millisecond + 1, 2},
		{2 * time.Second, 2000},
		{math.MaxInt64, math.MaxInt64/1_000_000 + 1},
	}
	for _, tt := range tests {
		r := Reject(LabelQueueFull, "the queue is full", tt.after)
		if r.GetLabel() != "QueueFull" || r.GetMessage() != "the queue is full" || r.GetRetryAfterMs() != tt.want {
			t.Errorf("%v: got %v, want %d ms", tt.after, r, tt.want)
		}
	}
}

func TestRejectionAsAnError(t *testing.T) {
	err := &RejectionError{Rejection: Reject(LabelUnavailable, "the daemon is stopping", 1500*time.Millisecond)}
	if got, want := err.Error(), "Unavailable: the daemon is stopping"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := err.RetryAfter(), 1500*time.Millisecond; got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}
