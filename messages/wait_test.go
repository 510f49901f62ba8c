package messages

import (
	"math"
	"testing"
	"time"

	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

func TestWaitOf(t *testing.T) {
	for name, c := range map[string]struct {
		request *soltiv1.GetTaskStatusRequest
		want    Wait
		problem string
	}{
		"nothing":      {&soltiv1.GetTaskStatusRequest{}, Wait{}, ""},
		"for terminal": {&soltiv1.GetTaskStatusRequest{WaitMs: new(uint64(1)), WaitFor: new("terminal")}, Wait{Most: time.Millisecond}, ""},
		"for running":  {&soltiv1.GetTaskStatusRequest{WaitMs: new(uint64(300_000)), WaitFor: new("running")}, Wait{Most: MaxWait, Running: true}, ""},
		"too long":     {&soltiv1.GetTaskStatusRequest{WaitMs: new(uint64(300_001))}, Wait{}, "wait_ms must be ≤ 300000, not 300001"},
		"overflow":     {&soltiv1.GetTaskStatusRequest{WaitMs: new(uint64(math.MaxUint64))}, Wait{}, "wait_ms must be ≤ 300000, not 18446744073709551615"},
		"for nothing":  {&soltiv1.GetTaskStatusRequest{WaitFor: new("")}, Wait{}, `wait_for: expected running or terminal, found ""`},
		"for more":     {&soltiv1.GetTaskStatusRequest{WaitFor: new("Running")}, Wait{}, `wait_for: expected running or terminal, found "Running"`},
	} {
		got, err := WaitOf(c.request)
		if c.problem == "" && (err != nil || got != c.want) {
			t.Errorf("%s: got %+v, %v; want %+v", name, got, err, c.want)
		}
		if c.problem != "" && (err == nil || err.Error() != c.problem) {
			t.Errorf("%s: got %v, want %s", name, err, c.problem)
		}
	}
}

func TestGraceOf(t *testing.T) {
	if got, err := GraceOf(&slotdv1.CancelTaskRequest{}); got != nil || err != nil {
		t.Errorf("nothing: got %v, %v; want the spec's", got, err)
	}
	for ms, want := range map[uint64]time.Duration{0: 0, 1: time.Millisecond, MaxStopGraceMs: time.Hour} {
		if got, err := GraceOf(&slotdv1.CancelTaskRequest{GraceMs: &ms}); err != nil || got == nil || *got != want {
			t.Errorf("%d: got %v, %v; want %v", ms, got, err, want)
		}
	}
	const most = "grace_ms must be ≤ 3600000, not 3600001"
	if _, err := GraceOf(&slotdv1.CancelTaskRequest{GraceMs: new(uint64(MaxStopGraceMs + 1))}); err == nil || err.Error() != most {
		t.Errorf("too long: got %v, want %s", err, most)
	}
}
