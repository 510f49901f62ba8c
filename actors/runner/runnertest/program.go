package runnertest

import (
	"os/exec"
	"testing"

	"slotd/actors/runner"
	soltiv1 "slotd/messages/solti/v1"
)

// Program is something an attempt can be told to do, so that the suite can speak of it to every kind of runner.
type Program string

// The programs. "Prints" means a line on standard output.
const (
	// Exit ends with the code args[0].
	Exit Program = "exit"

	// Signal kills itself with the signal numbered args[0].
	Signal Program = "signal"

	// Count writes "out 0" to "out n-1" to standard output and "err 0" to "err n-1" to standard error, n being args[0].
	Count Program = "count"

	// Raw writes every byte from 0 to 255, in order, without a newline.
	Raw Program = "raw"

	// Environ writes its environment, each variable ended by NUL.
	Environ Program = "environ"

	// Obey prints "ready" and runs until SIGTERM; then it prints "bye" and exits with 3.
	Obey Program = "obey"

	// Stubborn ignores SIGTERM, prints "ready" and runs on.
	Stubborn Program = "stubborn"

	// Suspended prints "ready", suspends itself (SIGSTOP), and exits with 3 on SIGTERM.
	Suspended Program = "suspended"

	// Forked leaves a process behind that has forked twice, has a session of its own, holds no output and ignores
	// SIGTERM. It prints "child <pid>" and "leader <pid>" and "ready" and runs until SIGTERM, which it does not catch.
	Forked Program = "forked"

	// Hidden is Forked, with a child whose environment is empty.
	Hidden Program = "hidden"

	// Cleared ignores SIGTERM, has a child that does and whose environment is empty, and runs on.
	Cleared Program = "cleared"

	// Deserted leaves such a child behind, prints "child <pid>" and exits with 0.
	Deserted Program = "deserted"

	// Late exits with 3 on SIGTERM. Its child prints "ready", waits after SIGTERM until the leader is dead, prints "late"
	// and exits.
	Late Program = "late"

	// Mute closes its output, and exits with 7 once the file args[0] exists.
	Mute Program = "mute"

	// Holding leaves a child that holds its output open and exits with 0.
	Holding Program = "holding"

	// Missing is not there.
	Missing Program = "missing"

	// Unusable is there and can never run.
	Unusable Program = "unusable"
)

// Subject is a kind of runner under test.
type Subject struct {
	// Spec says how the kind expresses a program, or nil when it cannot: the tests that need it are left out. It is
	// also asked without arguments, to find that out.
	Spec func(p Program, args ...string) *soltiv1.CreateSpec

	// Left lists what attempts have left on the machine: control groups, files, containers. Nil: nothing could be.
	Left func() []string

	// Daemon is the command of a process that makes a runner with everything it keeps below place, and hands it to Serve.
	// Nil: nothing of this kind outlives a daemon that was killed.
	Daemon func(t *testing.T, place string) *exec.Cmd

	// Anew makes a runner in this process as Daemon does in its own.
	Anew func(t *testing.T, place string) runner.Runner

	// Unprovable lists the programs that leave what nobody can find once the daemon was killed.
	Unprovable []Program

	// HostPids says that the pids which programs print are those of this machine.
	HostPids bool
}
