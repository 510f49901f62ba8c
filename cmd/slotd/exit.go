package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"slotd/gateway/client"
	"slotd/messages"
	soltiv1 "slotd/messages/solti/v1"
)

// Exit codes of every verb but run, which answers [exitOwn] for all of these and otherwise exits as its task.
const (
	exitOK              = 0
	exitError           = 1
	exitUsage           = 2
	exitNotFound        = 3
	exitRejected        = 4 // by admission
	exitWaitTimeout     = 5
	exitUnauthenticated = 6
	exitNoServer        = 7
)

// Exit codes of run and wait for the outcome of a task that has no code of its own.
const (
	exitTimeout    = 124
	exitOwn        = 125 // everything of slotd's own: usage, refused, no server, node lost
	exitCanceled   = 143 // as after SIGTERM
	exitSignalBase = 128 // + signal
	exitMax        = 255
)

// usageError is a mistake in the command line or in the environment.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{err: fmt.Errorf(format, args...)}
}

// codeError ends the program with a code of its own; with no err there is nothing left to say.
type codeError struct {
	code int
	err  error
}

func (e *codeError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *codeError) Unwrap() error { return e.err }

// signaledError says that a signal ended a verb.
type signaledError struct{ signal syscall.Signal }

func (e *signaledError) Error() string { return e.signal.String() }

func signaled(s os.Signal) error {
	number, ok := s.(syscall.Signal)
	if !ok {
		number = syscall.SIGTERM
	}
	return &signaledError{signal: number}
}

// exitOf is the exit code for the way a verb ended.
func exitOf(err error) int {
	var (
		code        *codeError
		usage       *usageError
		invalid     *messages.InvalidError
		refused     *client.Error
		unreachable *client.UnreachableError
		bySignal    *signaledError
	)
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &code):
		return code.code
	case errors.As(err, &usage), errors.As(err, &invalid):
		return exitUsage
	case errors.As(err, &bySignal):
		return exitSignalBase + int(bySignal.signal)
	case errors.As(err, &unreachable):
		return exitNoServer
	case errors.As(err, &refused):
		return exitOfLabel(refused.Label)
	default:
		return exitError
	}
}

func exitOfLabel(label string) int {
	switch label {
	case messages.LabelInvalidRequest, messages.LabelPayloadTooLarge:
		return exitUsage
	case messages.LabelTaskNotFound:
		return exitNotFound
	case messages.LabelSlotBusy, messages.LabelQueueFull, messages.LabelTooManyTasks,
		messages.LabelNoRunner, messages.LabelUnenforceable, messages.LabelIdempotencyKeyReused:
		return exitRejected
	case messages.LabelUnauthenticated, messages.LabelPermissionDenied:
		return exitUnauthenticated
	default:
		return exitError
	}
}

// exitOfTask is the exit code for a terminal task. Last is its last run, which tells an exhausted task's last attempt
// that timed out from one that was lost; nil when it is not known.
func exitOfTask(status *soltiv1.TaskStatusInfo, last *soltiv1.TaskRunInfo) int {
	switch {
	case status.GetPhase() == soltiv1.TaskStatus_TASK_STATUS_TIMEOUT:
		return exitTimeout
	case status.GetPhase() == soltiv1.TaskStatus_TASK_STATUS_CANCELED:
		return exitCanceled
	case status.Signal != nil:
		return min(exitSignalBase+int(status.GetSignal()), exitMax)
	case status.ExitCode != nil:
		return clampCode(status.GetExitCode())
	case status.GetPhase() == soltiv1.TaskStatus_TASK_STATUS_SUCCEEDED:
		return exitOK
	case last.GetStatus() == soltiv1.TaskStatus_TASK_STATUS_TIMEOUT:
		return exitTimeout
	default:
		return exitOwn
	}
}

// clampCode keeps a code that does not fit into a byte from turning into success.
func clampCode(code int32) int {
	if code < 0 || code > exitMax {
		return exitMax
	}
	return int(code)
}
