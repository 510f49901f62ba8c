package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

var slotd string

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "slotd-demo-test-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	slotd = filepath.Join(dir, "slotd")
	if out, err := exec.CommandContext(context.Background(), "go", "build", "-o", slotd, "slotd/cmd/slotd").CombinedOutput(); err != nil {
		return 1, fmt.Errorf("build slotd: %w\n%s", err, out)
	}
	return m.Run(), nil
}

// patience is how long the tour may take on a busy machine. On an idle one it takes a few seconds.
const patience = 2 * time.Minute

// tour prepares the script, with a folder for everything that it makes.
func tour(t *testing.T) (cmd *exec.Cmd, scratch string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	scratch = t.TempDir()
	cmd = exec.CommandContext(ctx, "sh", "tour.sh", slotd)
	cmd.Env = append(os.Environ(), "TMPDIR="+scratch, "SLOTD_ADDR=http://127.0.0.1:1")
	return cmd, scratch
}

// wantNothingLeft looks for files of the tour, and for processes that know its folder or run its binary.
func wantNothingLeft(t *testing.T, scratch string) {
	t.Helper()
	if left, err := os.ReadDir(scratch); err != nil || len(left) > 0 {
		t.Errorf("files left behind: %v (%v)", left, err)
	}
	environs, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range environs {
		environ, err := os.ReadFile(path)
		if err != nil {
			continue // gone, or another user's
		}
		if bytes.Contains(environ, []byte("TMPDIR="+scratch+"\x00")) {
			t.Errorf("%s is left behind", filepath.Dir(path))
		}
	}
}

func TestTheTourShowsWhatItPromisesAndLeavesNothing(t *testing.T) {
	cmd, scratch := tour(t)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		"slotd ready http=127.0.0.1:", "(exit code 3)", "line 3", "attempt 3", "(exit code 124)", "is busy", "queue #1", "Replaced",
		"my turn", "(exit code 143)", "waiting for an attempt to end",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the tour does not show %q:\n%s", want, out)
		}
	}
	wantNothingLeft(t, scratch)
}

func TestAnInterruptedTourLeavesNothing(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			cmd, scratch := tour(t)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			shown := &trigger{at: []byte("echo refused\n"), reached: make(chan struct{})}
			cmd.Stdout, cmd.Stderr = shown, shown
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			select {
			case <-shown.reached:
			case <-time.After(patience):
				t.Error("the tour did not come to the refused task")
			}
			// As a terminal does: to everything in the foreground.
			if err := syscall.Kill(-cmd.Process.Pid, sig); err != nil {
				t.Error(err)
			}
			exit, ok := errors.AsType[*exec.ExitError](cmd.Wait())
			if !ok || exit.ExitCode() != 128+int(sig) {
				t.Errorf("the tour ended with %v, want exit code %d:\n%s", exit, 128+int(sig), &shown.all)
			}
			wantNothingLeft(t, scratch)
		})
	}
}

// trigger keeps what is written, and tells when some text has come. One goroutine writes.
type trigger struct {
	all     bytes.Buffer
	at      []byte
	reached chan struct{}
	told    bool
}

func (w *trigger) Write(p []byte) (int, error) {
	n, err := w.all.Write(p)
	if !w.told && bytes.Contains(w.all.Bytes(), w.at) {
		w.told = true
		close(w.reached)
	}
	return n, err
}
