// Package runner is the contract between the executor, which keeps attempts, and what can run one kind of task.
//
// A runner starts processes and ends them; it knows nothing of slots, restarts, timeouts or the store. The executor
// calls Start from a goroutine of the attempt's own, then Wait on that same goroutine; Stop and Kill may come from
// any goroutine at any time after Start returned, also after the end.
//
// Package runnertest holds the suite that every runner passes.
package runner

import (
	"context"
	"fmt"
	"io"

	soltiv1 "slotd/messages/solti/v1"
)

// Runner starts attempts.
type Runner interface {
	// Info says what this runner is. It never changes.
	Info() Info

	// Start begins one attempt. When it returns a Process, the attempt runs; when it returns an error, nothing of it is
	// left behind. A *SpawnError means that the attempt can never work here; any other error, that it could not be
	// started now and may be tried again. Cancelling ctx gives up a start that is still under way.
	Start(ctx context.Context, a Attempt) (Process, error)
}

// Info describes a runner to the router and to introspection.
type Info struct {
	Name   string
	Kind   string            // subprocess, wasm, container, embedded
	Labels map[string]string // runner=<name> and the node's labels
	Tree   string            // how a process tree is found and killed: cgroup, scan, engine, …
	Limits []string          // what it can enforce: memory, cpu, pids, open_files
}

// Attempt is one run to be started. Spec is shared: it must not be changed.
type Attempt struct {
	TaskID string
	Number uint32 // 1, 2, 3… over the task's whole life
	Slot   string
	Node   string
	Spec   *soltiv1.CreateSpec

	// Where output goes. Both are safe for use by one goroutine each, never block on a reader, implement io.ReaderFrom,
	// and never return an error that should end the copying. The runner has written everything before Wait returns.
	Stdout, Stderr io.Writer
}

// Process is one running attempt.
type Process interface {
	// Wait returns once the attempt's whole process tree is dead and reaped, its output has been written and nothing of
	// it is left on this machine. It is called exactly once.
	//
	// After an exit that nobody asked for, what is left of the tree is killed at once; after Stop, the tree is given
	// until Kill. Pipes that a survivor of another attempt holds open are given up after 5 s.
	Wait() Exit

	// Stop asks the whole tree to end (SIGTERM where there are signals). It returns at once and may be repeated.
	Stop()

	// Kill ends the whole tree (SIGKILL). It returns at once and may be repeated.
	Kill()
}

// Exit is how an attempt ended, as seen from outside; why it was stopped is not a runner's business.
type Exit struct {
	Code        int  // exit code of the leader, when Signal is 0
	Signal      int  // signal that killed the leader, or 0
	OutOfMemory bool // the kernel killed a process of the attempt for memory
}

// SpawnError says that an attempt can never work here.
type SpawnError struct {
	Code int    // 127: not found; 126: anything else
	Path string // the command, interpreter, script, directory, module or image in question
	Err  error
}

func (e *SpawnError) Error() string { return fmt.Sprintf("%s: %v", e.Path, e.Err) }

func (e *SpawnError) Unwrap() error { return e.Err }
