package faults

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	soltiv1 "slotd/messages/solti/v1"
	"slotd/test/faults/history"
)

const (
	drop    = soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_DROP_IF_RUNNING
	replace = soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_REPLACE
	queue   = soltiv1.AdmissionStrategy_ADMISSION_STRATEGY_QUEUE

	never     = soltiv1.RestartStrategy_RESTART_STRATEGY_NEVER
	onFailure = soltiv1.RestartStrategy_RESTART_STRATEGY_ON_FAILURE
	always    = soltiv1.RestartStrategy_RESTART_STRATEGY_ALWAYS
)

// role says what a puppet does: the flags of its program.
type role struct {
	run   time.Duration
	exit  int
	until int // from this attempt on it exits with 0
	lines int
	tree  string
	deaf  bool
}

func (w *world) argv(r role) []string {
	args := []string{"-marks", w.dir, "-run", r.run.String()}
	flag := func(name string, value int) {
		if value != 0 {
			args = append(args, name, strconv.Itoa(value))
		}
	}
	flag("-exit", r.exit)
	flag("-until", r.until)
	flag("-lines", r.lines)
	if r.tree != "" {
		args = append(args, "-tree", r.tree)
	}
	if r.deaf {
		args = append(args, "-deaf")
	}
	return args
}

// command is the kind of task that plays the role.
func (w *world) command(r role) *soltiv1.TaskKind {
	return kindOf(&soltiv1.SubprocessTask{Mode: &soltiv1.SubprocessTask_Command{
		Command: &soltiv1.CommandMode{Command: w.puppet, Args: w.argv(r)},
	}})
}

// script is the same by way of a file that the daemon makes.
func (w *world) script(r role) *soltiv1.TaskKind {
	body := "exec " + w.puppet + " " + strings.Join(w.argv(r), " ")
	return kindOf(&soltiv1.SubprocessTask{Mode: &soltiv1.SubprocessTask_Script{Script: &soltiv1.ScriptMode{
		Runtime: &soltiv1.ScriptMode_WellKnown{WellKnown: soltiv1.ScriptRuntime_SCRIPT_RUNTIME_BASH},
		Body:    base64.StdEncoding.EncodeToString([]byte(body)),
	}}})
}

func kindOf(s *soltiv1.SubprocessTask) *soltiv1.TaskKind {
	return &soltiv1.TaskKind{Kind: &soltiv1.TaskKind_Subprocess{Subprocess: s}}
}

// spec is a task in a slot, with a label of its own.
func spec(slot, label string, kind *soltiv1.TaskKind) *soltiv1.CreateSpec {
	return &soltiv1.CreateSpec{
		Slot: slot, Kind: kind, TimeoutMs: 60_000, Labels: map[string]string{history.Label: label}, StopGraceMs: new(uint64(2_000)),
	}
}

// anySpec draws a task: short and long, failing and slow, with and without a tree, of every policy.
func (w *world) anySpec(r *rand.Rand, label string) *soltiv1.CreateSpec {
	milliseconds := func(low, high int) time.Duration { return time.Duration(low+r.IntN(high-low)) * time.Millisecond }
	chance := func(percent int) bool { return r.IntN(100) < percent }
	var act role
	switch n := r.IntN(100); {
	case n < 60:
		act.run = milliseconds(1, 60)
	case n < 88:
		act.run = milliseconds(60, 500)
	default:
		act.run = milliseconds(500, 3000)
	}
	if chance(40) {
		act.exit = 1 + r.IntN(5)
		if chance(60) {
			act.until = 2 + r.IntN(3)
		}
	}
	if chance(50) {
		act.lines = 1 + r.IntN(60)
	}
	if chance(30) {
		act.tree = []string{"child", "double", "bare", "zombie"}[r.IntN(4)]
	}
	act.deaf = chance(8)
	kind := w.command(act)
	switch {
	case chance(4):
		kind = w.script(act)
	case chance(3):
		kind = kindOf(&soltiv1.SubprocessTask{Mode: &soltiv1.SubprocessTask_Command{Command: &soltiv1.CommandMode{Command: "no-such-command"}}})
	}
	s := spec(fmt.Sprintf("s%d", r.IntN(w.slots)), label, kind)
	s.TimeoutMs = 30_000
	if chance(15) {
		s.TimeoutMs = uint64(50 + r.IntN(400))
	}
	s.StopGraceMs = new(uint64(100 + r.IntN(700)))
	s.Admission = []soltiv1.AdmissionStrategy{queue, queue, queue, queue, drop, drop, replace}[r.IntN(7)]
	s.Restart = []soltiv1.RestartStrategy{never, never, onFailure, onFailure, always}[r.IntN(5)]
	if s.Restart == always && chance(50) {
		s.RestartIntervalMs = new(uint64(r.IntN(300)))
	}
	if s.Restart == onFailure || chance(50) {
		s.MaxRetries = new(uint32(r.IntN(4)))
	}
	if chance(90) {
		first := uint64(1 + r.IntN(150))
		s.Backoff = &soltiv1.BackoffStrategy{
			Jitter: soltiv1.JitterStrategy(r.IntN(5)), FirstMs: first, MaxMs: first * uint64(1+r.IntN(5)), Factor: 1 + 2*r.Float64(),
		}
	}
	return s
}
