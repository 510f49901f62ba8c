package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// verb is a command line of slotd that is under way.
type verb struct {
	t      testing.TB
	cmd    *exec.Cmd
	stdout *text
	stderr *text
	over   chan struct{}
}

// start begins a command line against the daemon; nil is none.
func start(t testing.TB, d *daemon, args ...string) *verb {
	t.Helper()
	v := &verb{t: t, cmd: exec.CommandContext(context.WithoutCancel(t.Context()), slotd, args...), stdout: new(text), stderr: new(text), over: make(chan struct{})}
	v.cmd.Env = append(os.Environ(), goRace())
	if d != nil {
		v.cmd.Env = append(v.cmd.Env, "SLOTD_ADDR=http://"+d.http)
	}
	v.cmd.Stdout, v.cmd.Stderr = v.stdout, v.stderr
	if err := v.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(v.over)
		// The exit code is read from ProcessState; Wait's error says the same.
		_ = v.cmd.Wait()
	}()
	t.Cleanup(func() {
		select {
		case <-v.over:
		default:
			if err := v.cmd.Process.Kill(); err != nil {
				t.Errorf("kill slotd %v: %v", args, err)
			}
			<-v.over
		}
	})
	return v
}

// interrupt is Ctrl-C.
func (v *verb) interrupt() {
	v.t.Helper()
	if err := v.cmd.Process.Signal(syscall.SIGINT); err != nil {
		v.t.Fatal(err)
	}
}

// says waits until the verb has written the text to stdout.
func (v *verb) says(what string) {
	v.t.Helper()
	eventually(v.t, fmt.Sprintf("stdout has %q", what), func() bool { return strings.Contains(v.stdout.String(), what) })
}

// exits waits for the end with one of these codes.
func (v *verb) exits(codes ...int) {
	v.t.Helper()
	select {
	case <-v.over:
	case <-time.After(patience):
		v.t.Fatalf("slotd %v has not ended; it says\n%s", v.cmd.Args[1:], v.stderr)
	}
	if got := v.cmd.ProcessState.ExitCode(); !slices.Contains(codes, got) {
		v.t.Errorf("slotd %v ended with %d, want %v; it says\n%s", v.cmd.Args[1:], got, codes, v.stderr)
	}
}

func TestInterruptsOfRun(t *testing.T) {
	t.Parallel()
	d := serve(t)
	t.Run("the first cancels and waits", func(t *testing.T) {
		t.Parallel()
		d := d.in(t)
		mark := marker(t)
		v := start(t, d, "run", "--slot", "polite", "--grace", "30s", "--", "bash", "-c", `trap "echo tidied; exit 0" TERM; echo ready; while :; do sleep 0.05; done`, mark)
		v.says("ready")
		v.interrupt()
		v.exits(143)
		mustBeDead(t, "when run has ended", mark)
		if !strings.Contains(v.stdout.String(), "tidied") {
			t.Errorf("stdout %q lacks what was written after the cancel", v.stdout)
		}
		if got := d.list("slot=polite").Tasks[0].ended(); got != "CANCELED Canceled" {
			t.Errorf("the task is %s", got)
		}
	})
	t.Run("the second kills", func(t *testing.T) {
		t.Parallel()
		d := d.in(t)
		mark := marker(t)
		v := start(t, d, "run", "--slot", "deaf", "--grace", "1h", "--", "bash", "-c", `trap "echo asked" TERM; echo ready; while :; do sleep 0.05; done`, mark)
		v.says("ready")
		v.interrupt()
		v.says("asked")
		v.interrupt()
		v.exits(143)
		mustBeDead(t, "when run has ended", mark)
	})
	t.Run("logs -f detaches", func(t *testing.T) {
		t.Parallel()
		d := d.in(t)
		id := d.submit(shell("followed", "echo ready; sleep 100000"))
		v := start(t, d, "logs", "-f", id)
		v.says("ready")
		v.interrupt()
		v.exits(130)
		if got := d.task(id).phase(); got != "RUNNING" {
			t.Errorf("the task is %s", got)
		}
	})
	t.Run("a reader that goes away cancels", func(t *testing.T) {
		t.Parallel()
		d := d.in(t)
		mark := marker(t)
		pipeline := exec.CommandContext(t.Context(), "bash", "-c", `"$0" run --slot piped --grace 1s -- bash -c 'while :; do echo line; done' `+mark+` | head -n 1`, slotd)
		pipeline.Env = append(os.Environ(), goRace(), "SLOTD_ADDR=http://"+d.http)
		if out, err := pipeline.Output(); err != nil || string(out) != "line\n" {
			t.Errorf("the pipe says %q, %v", out, err)
		}
		eventually(t, "the task is canceled", func() bool { return len(marked(t, mark)) == 0 })
	})
	t.Run("a server that stops", func(t *testing.T) {
		t.Parallel()
		other := serve(t)
		v := start(t, other, "run", "--", "bash", "-c", "echo ready; sleep 100000")
		v.says("ready")
		if code := other.stop(syscall.SIGTERM); code != 0 {
			t.Errorf("the daemon ended with %d", code)
		}
		// It has either seen that the task was stopped, or lost its server before.
		v.exits(143, 125)
	})
	t.Run("a server that dies", func(t *testing.T) {
		t.Parallel()
		other := serve(t)
		v := start(t, other, "run", "--", "bash", "-c", "echo ready; sleep 1000")
		v.says("ready")
		other.stop(syscall.SIGKILL)
		v.exits(125)
		launch{data: other.data}.serve(t) // sweeps
	})
}

func TestInterruptOfALocalRun(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	for count, trap := range []string{"exit 0", "echo asked"} {
		mark := marker(t)
		v := start(t, nil, "run", "--local", "--grace", "1h", "--", "bash", "-c", `trap "`+trap+`" TERM; echo ready; while :; do sleep 0.05; done`, mark)
		v.says("ready")
		v.interrupt()
		if count == 1 {
			v.says("asked")
			v.interrupt()
		}
		v.exits(143)
		mustBeDead(t, "when run has ended", mark)
		if left, err := filepath.Glob(filepath.Join(tmp, "*")); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}
}
