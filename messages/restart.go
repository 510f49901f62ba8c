package messages

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// MinRestartInterval is the least time between two starts of a task that is repeated after success.
const MinRestartInterval = 100 * time.Millisecond

// Verdict is what an attempt's end means: how its run is shown, and what the restart policy may make of it.
type Verdict struct {
	Status   soltiv1.TaskStatus
	Reason   Reason
	Error    string // empty for a success
	ExitCode *int32
	Signal   *int32
	Fatal    bool // no attempt can ever succeed here
	Free     bool // does not use up the retry budget
}

// Failed says that the policy must treat the attempt as a failure.
func (v Verdict) Failed() bool { return v.Status != soltiv1.TaskStatus_TASK_STATUS_SUCCEEDED }

// Judge reads an exit that nobody asked for.
func Judge(spec *soltiv1.CreateSpec, exit *slotdv1.AttemptExited) Verdict {
	failed := Verdict{Status: soltiv1.TaskStatus_TASK_STATUS_FAILED}
	switch exit.GetKind() {
	case slotdv1.ExitKind_EXIT_KIND_EXITED:
		code := exit.GetExitCode()
		if code == 0 || !failOnNonZero(spec) {
			return Verdict{Status: soltiv1.TaskStatus_TASK_STATUS_SUCCEEDED, Reason: ReasonCompleted, ExitCode: &code}
		}
		failed.Reason, failed.ExitCode = ReasonNonZeroExit, &code
		failed.Error = fmt.Sprintf("exited with code %d", code)
	case slotdv1.ExitKind_EXIT_KIND_SIGNALED:
		signal := exit.GetSignal()
		failed.Reason, failed.Signal = ReasonSignaled, &signal
		failed.Error = "killed by " + SignalName(signal)
	case slotdv1.ExitKind_EXIT_KIND_SPAWN_FAILED:
		code := exit.GetExitCode()
		failed.Reason, failed.ExitCode, failed.Error, failed.Fatal = ReasonSpawnFailed, &code, exit.GetError(), true
	case slotdv1.ExitKind_EXIT_KIND_UNAVAILABLE:
		failed.Reason, failed.Error = ReasonRunnerUnavailable, exit.GetError()
	default:
		failed.Reason, failed.Error, failed.Free = ReasonNodeLost, "the daemon ended while the attempt ran", true
	}
	if exit.GetOutOfMemory() {
		failed.Reason = ReasonOutOfMemory
		failed.Error = "out of memory: " + failed.Error
	}
	return failed
}

// JudgeStopped reads the end of an attempt that was stopped for the given cause: the code it ended with, if any, was
// not its own word.
func JudgeStopped(spec *soltiv1.CreateSpec, cause Reason) Verdict {
	if cause == ReasonTimedOut {
		after := time.Duration(spec.GetTimeoutMs()) * time.Millisecond
		return Verdict{
			Status: soltiv1.TaskStatus_TASK_STATUS_TIMEOUT,
			Reason: ReasonTimedOut,
			Error:  fmt.Sprintf("timed out after %v", after),
		}
	}
	return Verdict{Status: soltiv1.TaskStatus_TASK_STATUS_CANCELED, Reason: cause}
}

// Restart is the policy that decides whether an attempt is followed by another.
type Restart struct {
	Strategy   soltiv1.RestartStrategy
	Interval   time.Duration // ALWAYS: between the end of a success and the next start
	MaxRetries *uint32       // retries in a row after the first failure; nil = unlimited
}

// RestartOf reads the policy of a spec.
func RestartOf(spec *soltiv1.CreateSpec) Restart {
	return Restart{
		Strategy:   spec.GetRestart(),
		Interval:   time.Duration(spec.GetRestartIntervalMs()) * time.Millisecond,
		MaxRetries: spec.MaxRetries,
	}
}

// Next is what follows an attempt.
type Next uint8

// An attempt is followed by the task's end as the verdict says, by its end with the retry budget used up, by a retry
// after the backoff, or by a repetition after the interval.
const (
	End Next = iota
	EndExhausted
	Retry
	Repeat
)

// After decides what follows an attempt that ended with v; failures counts the failures in a row, this one included
// unless it was free of charge.
func (r Restart) After(v Verdict, failures uint32) Next {
	switch {
	case v.Fatal:
		return End
	case !v.Failed():
		if r.Strategy == soltiv1.RestartStrategy_RESTART_STRATEGY_ALWAYS {
			return Repeat
		}
		return End
	case r.Strategy != soltiv1.RestartStrategy_RESTART_STRATEGY_ALWAYS && r.Strategy != soltiv1.RestartStrategy_RESTART_STRATEGY_ON_FAILURE:
		return End
	case !v.Free && r.MaxRetries != nil && failures > *r.MaxRetries:
		return EndExhausted
	default:
		return Retry
	}
}

// RepeatAt is when a task that succeeded starts again: Interval after its end, but never less than
// [MinRestartInterval] after its previous start.
func (r Restart) RepeatAt(started, ended time.Time) time.Time {
	at, floor := ended.Add(r.Interval), started.Add(MinRestartInterval)
	if at.Before(floor) {
		return floor
	}
	return at
}

// SignalName spells a signal number as "signal SIGSEGV (11)".
func SignalName(signal int32) string {
	if name := unix.SignalName(unix.Signal(signal)); name != "" {
		return fmt.Sprintf("signal %s (%d)", name, signal)
	}
	return fmt.Sprintf("signal %d", signal)
}

// failOnNonZero: only a subprocess can choose that any exit code is a success.
func failOnNonZero(spec *soltiv1.CreateSpec) bool {
	sub := spec.GetKind().GetSubprocess()
	return sub == nil || sub.FailOnNonZero == nil || sub.GetFailOnNonZero()
}
