package messages

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

const (
	never     = soltiv1.RestartStrategy_RESTART_STRATEGY_NEVER
	onFailure = soltiv1.RestartStrategy_RESTART_STRATEGY_ON_FAILURE
	always    = soltiv1.RestartStrategy_RESTART_STRATEGY_ALWAYS

	succeeded = soltiv1.TaskStatus_TASK_STATUS_SUCCEEDED
	failed    = soltiv1.TaskStatus_TASK_STATUS_FAILED
	timeout   = soltiv1.TaskStatus_TASK_STATUS_TIMEOUT
	canceled  = soltiv1.TaskStatus_TASK_STATUS_CANCELED
)

func TestJudge(t *testing.T) {
	const (
		exited      = slotdv1.ExitKind_EXIT_KIND_EXITED
		signaled    = slotdv1.ExitKind_EXIT_KIND_SIGNALED
		spawnFailed = slotdv1.ExitKind_EXIT_KIND_SPAWN_FAILED
		unavailable = slotdv1.ExitKind_EXIT_KIND_UNAVAILABLE
		lost        = slotdv1.ExitKind_EXIT_KIND_LOST
	)
	strict, lenient := commandSpec(), commandSpec()
	strict.GetKind().GetSubprocess().FailOnNonZero = new(true)
	lenient.GetKind().GetSubprocess().FailOnNonZero = new(false)
	tests := []struct {
		name string
		spec *soltiv1.CreateSpec
		exit *slotdv1.AttemptExited
		want Verdict
	}{
		{
			"exit 0", strict, &slotdv1.AttemptExited{Kind: exited},
			Verdict{Status: succeeded, Reason: ReasonCompleted, ExitCode: new(int32(0))},
		},
		{
			"exit 3", strict, &slotdv1.AttemptExited{Kind: exited, ExitCode: 3},
			Verdict{Status: failed, Reason: ReasonNonZeroExit, ExitCode: new(int32(3)), Error: "exited with code 3"},
		},
		{
			"exit 3, left out means a failure", commandSpec(), &slotdv1.AttemptExited{Kind: exited, ExitCode: 3},
			Verdict{Status: failed, Reason: ReasonNonZeroExit, ExitCode: new(int32(3)), Error: "exited with code 3"},
		},
		{
			"exit 3 of a module", wasmSpec(&soltiv1.WasmTask{}), &slotdv1.AttemptExited{Kind: exited, ExitCode: 3},
			Verdict{Status: failed, Reason: ReasonNonZeroExit, ExitCode: new(int32(3)), Error: "exited with code 3"},
		},
		{
			"exit 3 is allowed", lenient, &slotdv1.AttemptExited{Kind: exited, ExitCode: 3},
			Verdict{Status: succeeded, Reason: ReasonCompleted, ExitCode: new(int32(3))},
		},
		{
			"signal", lenient, &slotdv1.AttemptExited{Kind: signaled, Signal: 11},
			Verdict{Status: failed, Reason: ReasonSignaled, Signal: new(int32(11)), Error: "killed by signal SIGSEGV (11)"},
		},
		{
			"killed for memory", strict, &slotdv1.AttemptExited{Kind: signaled, Signal: 9, OutOfMemory: true},
			Verdict{Status: failed, Reason: ReasonOutOfMemory, Signal: new(int32(9)), Error: "out of memory: killed by signal SIGKILL (9)"},
		},
		{
			"a child was killed for memory and the leader failed", strict, &slotdv1.AttemptExited{Kind: exited, ExitCode: 1, OutOfMemory: true},
			Verdict{Status: failed, Reason: ReasonOutOfMemory, ExitCode: new(int32(1)), Error: "out of memory: exited with code 1"},
		},
		{
			"a child was killed for memory and the leader did not mind", strict, &slotdv1.AttemptExited{Kind: exited, OutOfMemory: true},
			Verdict{Status: succeeded, Reason: ReasonCompleted, ExitCode: new(int32(0))},
		},
		{
			"not found", strict, &slotdv1.AttemptExited{Kind: spawnFailed, ExitCode: 127, Error: "/x: not found"},
			Verdict{Status: failed, Reason: ReasonSpawnFailed, ExitCode: new(int32(127)), Error: "/x: not found", Fatal: true},
		},
		{
			"no processes left", strict, &slotdv1.AttemptExited{Kind: unavailable, Error: "fork: try again"},
			Verdict{Status: failed, Reason: ReasonRunnerUnavailable, Error: "fork: try again"},
		},
		{
			"lost", strict, &slotdv1.AttemptExited{Kind: lost},
			Verdict{Status: failed, Reason: ReasonNodeLost, Error: "the daemon ended while the attempt ran", Free: true},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(Judge(tt.spec, tt.exit), tt.want); diff != "" {
				t.Errorf("verdict (-got +want):\n%s", diff)
			}
		})
	}
}

func TestJudgeStopped(t *testing.T) {
	spec := &soltiv1.CreateSpec{TimeoutMs: 1500}
	tests := map[Reason]Verdict{
		ReasonTimedOut: {Status: timeout, Reason: ReasonTimedOut, Error: "timed out after 1.5s"},
		ReasonCanceled: {Status: canceled, Reason: ReasonCanceled},
		ReasonReplaced: {Status: canceled, Reason: ReasonReplaced},
		ReasonShutdown: {Status: canceled, Reason: ReasonShutdown},
	}
	for cause, want := range tests {
		if diff := cmp.Diff(JudgeStopped(spec, cause), want); diff != "" {
			t.Errorf("%s: verdict (-got +want):\n%s", cause, diff)
		}
	}
}

func TestWhatFollowsAnAttempt(t *testing.T) {
	var (
		success = Verdict{Status: succeeded, Reason: ReasonCompleted}
		failure = Verdict{Status: failed, Reason: ReasonNonZeroExit}
		late    = Verdict{Status: timeout, Reason: ReasonTimedOut}
		lost    = Verdict{Status: failed, Reason: ReasonNodeLost, Free: true}
		fatal   = Verdict{Status: failed, Reason: ReasonSpawnFailed, Fatal: true}
	)
	two, zero := new(uint32(2)), new(uint32(0))
	tests := []struct {
		name     string
		policy   Restart
		verdict  Verdict
		failures uint32
		want     Next
	}{
		{"never, success", Restart{Strategy: never}, success, 0, End},
		{"never, failure", Restart{Strategy: never}, failure, 1, End},
		{"never, failure with a budget", Restart{Strategy: never, MaxRetries: two}, failure, 1, End},
		{"never, lost", Restart{Strategy: never}, lost, 0, End},
		{"on failure, success", Restart{Strategy: onFailure}, success, 0, End},
		{"on failure, failure", Restart{Strategy: onFailure}, failure, 1, Retry},
		{"on failure, timeout", Restart{Strategy: onFailure}, late, 1, Retry},
		{"on failure, no limit", Restart{Strategy: onFailure}, failure, 1_000_000, Retry},
		{"on failure, last retry", Restart{Strategy: onFailure, MaxRetries: two}, failure, 2, Retry},
		{"on failure, used up", Restart{Strategy: onFailure, MaxRetries: two}, failure, 3, EndExhausted},
		{"on failure, used up by a timeout", Restart{Strategy: onFailure, MaxRetries: two}, late, 3, EndExhausted},
		{"on failure, no budget at all", Restart{Strategy: onFailure, MaxRetries: zero}, failure, 1, EndExhausted},
		{"on failure, lost costs nothing", Restart{Strategy: onFailure, MaxRetries: zero}, lost, 0, Retry},
		{"on failure, fatal", Restart{Strategy: onFailure}, fatal, 1, End},
		{"always, success", Restart{Strategy: always}, success, 0, Repeat},
		{"always, success without budget", Restart{Strategy: always, MaxRetries: zero}, success, 0, Repeat},
		{"always, failure", Restart{Strategy: always}, failure, 1, Retry},
		{"always, used up", Restart{Strategy: always, MaxRetries: two}, failure, 3, EndExhausted},
		{"always, lost", Restart{Strategy: always, MaxRetries: zero}, lost, 0, Retry},
		{"always, fatal", Restart{Strategy: always}, fatal, 1, End},
	}
	for _, tt := range tests {
		if got := tt.policy.After(tt.verdict, tt.failures); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestRestartOfASpec(t *testing.T) {
	got := RestartOf(&soltiv1.CreateSpec{Restart: always, RestartIntervalMs: new(uint64(250)), MaxRetries: new(uint32(2))})
	want := Restart{Strategy: always, Interval: 250 * time.Millisecond, MaxRetries: new(uint32(2))}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("policy (-got +want):\n%s", diff)
	}
	if got := RestartOf(&soltiv1.CreateSpec{}); got != (Restart{}) {
		t.Errorf("got %+v for nothing, want nothing", got)
	}
}

func TestRepeatsKeepTheirDistance(t *testing.T) {
	tests := []struct {
		name     string
		interval time.Duration
		ran      time.Duration
		want     time.Duration // after the start
	}{
		{"a short run", 0, time.Millisecond, 100 * time.Millisecond},
		{"a run of the least time", 0, 100 * time.Millisecond, 100 * time.Millisecond},
		{"a long run", 0, time.Second, time.Second},
		{"a short run and a short interval", 10 * time.Millisecond, time.Millisecond, 100 * time.Millisecond},
		{"a short run and a long interval", time.Second, time.Millisecond, 1001 * time.Millisecond},
		{"the clock went back", 0, -time.Hour, 100 * time.Millisecond},
	}
	for _, tt := range tests {
		got := Restart{Strategy: always, Interval: tt.interval}.RepeatAt(noon, noon.Add(tt.ran))
		if got := got.Sub(noon); got != tt.want {
			t.Errorf("%s: got %v after the start, want %v", tt.name, got, tt.want)
		}
	}
}

func TestSignalsHaveNames(t *testing.T) {
	for signal, want := range map[int32]string{9: "signal SIGKILL (9)", 15: "signal SIGTERM (15)", 40: "signal 40"} {
		if got := SignalName(signal); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
