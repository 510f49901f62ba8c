package subprocess

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"slotd/actors/runner"
	soltiv1 "slotd/messages/solti/v1"
	"slotd/test/need"
)

// holdings is what a runner has at rest.
func holdings(t *testing.T, r *Runner) []string {
	t.Helper()
	all := append(glob(t, r.home.dir+"/*"), glob(t, r.home.dir+"/*/*")...)
	if g, ok := r.tracker.(*groups); ok {
		all = append(all, glob(t, g.top.dir+"/*/cgroup.procs")...)
	}
	if anyDeadChild() {
		all = append(all, "a zombie")
	}
	return append(all, fmt.Sprintf("%d descriptors", len(glob(t, "/proc/self/fd/*"))))
}

// startScript runs an attempt that needs everything an attempt can need. It fails the test unless that works, or fails
// in a way that may be over soon.
func startScript(t *testing.T, r *Runner, number uint32) error {
	t.Helper()
	p, err := r.Start(t.Context(), runner.Attempt{
		TaskID: "tsk_1", Number: number, Spec: spec(scriptTask(soltiv1.ScriptRuntime_SCRIPT_RUNTIME_BASH, "exit 3")),
		Stdout: io.Discard, Stderr: io.Discard,
	})
	if _, never := errors.AsType[*runner.SpawnError](err); never {
		t.Errorf("start: %v, which is for ever", err)
	}
	if err == nil {
		if got, want := p.Wait(), (runner.Exit{Code: 3}); got != want {
			t.Errorf("exit %+v, want %+v", got, want)
		}
	}
	return err
}

func wantHoldings(t *testing.T, r *Runner, before []string, after error) {
	t.Helper()
	if diff := cmp.Diff(before, holdings(t, r)); diff != "" {
		t.Errorf("left behind by %v (-before +after):\n%s", after, diff)
	}
}

// The limit rises one by one, so that every descriptor of a start is once the one that cannot be had.
func TestAStartThatLacksADescriptorLeavesNothing(t *testing.T) {
	need.Tool(t, "bash")
	eachTree(t, func(t *testing.T, open func(*testing.T, Config) *Runner) {
		r := open(t, Config{})
		if err := startScript(t, r, 0); err != nil {
			t.Fatal(err)
		}
		before := holdings(t, r)
		failures := make(map[string]bool)
		for limit := uint64(3); ; limit++ {
			restore := limitDescriptors(t, limit)
			err := startScript(t, r, uint32(limit))
			restore()
			wantHoldings(t, r, before, err)
			if err == nil {
				break
			}
			if !errors.Is(err, unix.EMFILE) {
				t.Fatalf("start with %d descriptors: %v", limit, err)
			}
			failures[err.Error()] = true
		}
		if len(failures) < 3 {
			t.Errorf("it failed in only these ways: %v", failures)
		}
	})
}

func TestAStartOnAFullDiskLeavesNothing(t *testing.T) {
	need.Tool(t, "bash")
	eachTree(t, func(t *testing.T, open func(*testing.T, Config) *Runner) {
		dir := t.TempDir()
		need.That(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k") == nil, "the right to mount a small disk")
		t.Cleanup(func() {
			if err := unix.Unmount(dir, 0); err != nil {
				t.Error(err)
			}
		})
		r := openIn(t, Config{Dir: dir, Tree: Tree(open(t, Config{}).Info().Tree)})
		ballast := filepath.Join(dir, "ballast")
		if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
			t.Fatalf("the disk does not fill: %v", err)
		}
		before := holdings(t, r)
		err := startScript(t, r, 1)
		if !errors.Is(err, unix.ENOSPC) {
			t.Errorf("start: %v, want %v", err, unix.ENOSPC)
		}
		wantHoldings(t, r, before, err)
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		if err := startScript(t, r, 2); err != nil {
			t.Error(err)
		}
	})
}

func TestAForkThatIsRefusedLeavesNothing(t *testing.T) {
	need.Tool(t, "bash")
	dir := filepath.Join("/sys/fs/cgroup/pids", fmt.Sprintf("slotd-test-%d", os.Getpid()))
	need.That(t, os.Mkdir(dir, 0o755) == nil, "a writable cgroup1 pids controller")
	t.Cleanup(func() {
		if err := (&group{dir: dir}).remove(); err != nil {
			t.Error(err)
		}
	})
	if err := writeTo(filepath.Join(dir, "pids.max"), "1"); err != nil {
		t.Fatal(err)
	}
	move := func(dir string) {
		if err := writeTo(filepath.Join(dir, "tasks"), strconv.Itoa(unix.Gettid())); err != nil {
			t.Error(err)
		}
	}
	// confine lets the thread that forks, and no other, be the only one it may have.
	confine := func(r *Runner) (free func()) {
		in := func(*forest) { runtime.LockOSThread(); move(dir) }
		out := func(*forest) { move(filepath.Dir(dir)); runtime.UnlockOSThread() }
		if s, ok := r.tracker.(*scan); ok {
			s.do(false, in)
			return func() { s.do(false, out) }
		}
		in(nil)
		return func() { out(nil) }
	}
	eachTree(t, func(t *testing.T, open func(*testing.T, Config) *Runner) {
		r := open(t, Config{})
		before := holdings(t, r)
		free := confine(r)
		err := startScript(t, r, 1)
		free()
		if !errors.Is(err, unix.EAGAIN) {
			t.Errorf("start: %v, want %v", err, unix.EAGAIN)
		}
		wantHoldings(t, r, before, err)
		if err := startScript(t, r, 2); err != nil {
			t.Error(err)
		}
	})
}

func TestErrorsOfTheMachinePass(t *testing.T) {
	for _, errno := range []unix.Errno{
		unix.EAGAIN, unix.ENOMEM, unix.EMFILE, unix.ENFILE, unix.ENOSPC, unix.EDQUOT, unix.EIO, unix.ETXTBSY, unix.ESTALE,
	} {
		c := &command{path: "/no/such"}
		err := c.diagnose(&os.PathError{Op: "fork/exec", Path: c.path, Err: errno})
		if _, never := errors.AsType[*runner.SpawnError](err); never || !errors.Is(err, errno) {
			t.Errorf("%v became %v", errno, err)
		}
	}
}
