package subprocess

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"slotd/actors/runner"
	"slotd/actors/runner/runnertest"
	"slotd/test/need"
)

// openGroups skips the test where no control groups can be made.
func openGroups(t *testing.T) (*Runner, *groups) {
	t.Helper()
	_, err := ownGroup()
	need.That(t, err == nil, "a writable cgroup2 tree")
	r := open(t, Config{Tree: TreeCgroup})
	g, ok := r.tracker.(*groups)
	if !ok {
		t.Fatalf("tracker is a %T", r.tracker)
	}
	return r, g
}

// pidOf reads the pid that an attempt prints after a word.
func pidOf(t *testing.T, out *runnertest.Sink, word string) int {
	t.Helper()
	pid, err := strconv.Atoi(out.Await(t, word+" "))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func wantGone(t *testing.T, pid int) {
	t.Helper()
	if s, err := readStat(pid); err == nil && !s.dead() {
		t.Errorf("process %d lives", pid)
	}
}

func TestKernelsWithoutCgroupKillAreServed(t *testing.T) {
	r, g := openGroups(t)
	g.top.killer = false
	for _, script := range []string{
		deserter + `echo leader $$; sleep 1000 & wait`, // killed at work
		deserter,                                // ended by itself
		deserter + `echo leader $$; kill -9 $$`, // killed by itself
	} {
		p, out, _, err := begin(t, r, commandTask("sh", "-c", script))
		if err != nil {
			t.Fatal(err)
		}
		child := pidOf(t, out, "child")
		p.Stop()
		p.Kill()
		p.Wait()
		wantGone(t, child)
	}
}

func TestKillOutrunsWhatForksAway(t *testing.T) {
	need.Tool(t, "python3")
	// Each process starts the next and ends, so that no list of pids is ever complete.
	const runaway = `
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
if os.fork():
    signal.pause()
while True:
    if os.fork():
        os._exit(0)
    os.setsid()
`
	r, _ := openGroups(t)
	p, out, _, err := begin(t, r, commandTask("python3", "-c", runaway))
	if err != nil {
		t.Fatal(err)
	}
	out.Await(t, "ready")
	p.Stop()
	p.Kill()
	if got, want := p.Wait(), (runner.Exit{Signal: 9}); got != want {
		t.Errorf("exit %+v, want %+v", got, want)
	}
}

func TestGroupsThatAttemptsMadeGoWithThem(t *testing.T) {
	r, g := openGroups(t)
	const nest = `mkdir -p "$1/a/b" && (echo 0 >"$1/a/b/cgroup.procs"; ` + deserter + `); echo ready`
	script := nest + `; sleep 1000 & wait`
	for name, script := range map[string]string{"killed": script, "ended": nest} {
		p, out, errs, err := begin(t, r, commandTask("sh", "-c", script, "sh", filepath.Join(g.top.dir, "tsk_1-7")))
		if err != nil {
			t.Fatal(err)
		}
		child := pidOf(t, out, "child")
		if name == "killed" {
			p.Kill()
		}
		p.Wait()
		wantGone(t, child)
		if left := glob(t, g.top.dir+"/tsk_*"); len(left) > 0 {
			t.Errorf("%s: left behind: %v; errors %q", name, left, errs.Bytes())
		}
	}
}

func TestAGroupThatCannotBeMadeIsAPassingError(t *testing.T) {
	r, g := openGroups(t)
	if err := writeTo(g.top.dir+"/cgroup.max.descendants", "0"); err != nil {
		t.Fatal(err)
	}
	_, _, _, err := begin(t, r, commandTask("true"))
	if _, spawn := errors.AsType[*runner.SpawnError](err); spawn || !errors.Is(err, unix.EAGAIN) {
		t.Errorf("start: %v, want a passing error with %v", err, unix.EAGAIN)
	}
}

// becomeHeir makes orphans children of this process, as they are of PID 1 in a container.
func becomeHeir(t *testing.T) {
	t.Helper()
	if err := setSubreaper(true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := setSubreaper(false); err != nil {
			t.Error(err)
		}
	})
}

func TestAnHeirReapsTheOrphansOfItsAttemptsOnly(t *testing.T) {
	becomeHeir(t)
	r, _ := openGroups(t)
	other := exec.CommandContext(t.Context(), "setsid", "sh", "-c", "exit 9") // somebody else's child
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		p, out, _, err := begin(t, r, commandTask("sh", "-c", deserter))
		if err != nil {
			t.Fatal(err)
		}
		p.Wait()
		if s, err := readStat(pidOf(t, out, "child")); err == nil {
			t.Fatalf("an orphan is left in state %c", s.state)
		}
	}
	if exit, ok := errors.AsType[*exec.ExitError](other.Wait()); !ok || exit.ExitCode() != 9 {
		t.Errorf("the other child's status was lost: %v", exit)
	}
}

func TestAScanReapsTheOrphansOfItsAttemptsOnly(t *testing.T) {
	r := open(t, Config{Tree: TreeScan})
	other := exec.CommandContext(t.Context(), "sh", "-c", "exit 9")
	other.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		p, out, _, err := begin(t, r, commandTask("sh", "-c", deserter))
		if err != nil {
			t.Fatal(err)
		}
		p.Wait()
		if s, err := readStat(pidOf(t, out, "child")); err == nil {
			t.Fatalf("an orphan is left in state %c", s.state)
		}
	}
	if exit, ok := errors.AsType[*exec.ExitError](other.Wait()); !ok || exit.ExitCode() != 9 {
		t.Errorf("the other child's status was lost: %v", exit)
	}
}

func TestAttemptsDoNotTouchOneAnother(t *testing.T) {
	eachTree(t, func(t *testing.T, open func(*testing.T, Config) *Runner) {
		r := open(t, Config{})
		start := func(number uint32) (runner.Process, *runnertest.Sink) {
			out := runnertest.NewSink()
			p, err := r.Start(t.Context(), runner.Attempt{
				TaskID: "tsk_1", Number: number, Stdout: out, Stderr: runnertest.NewSink(),
				Spec: commandSpec("sh", "-c", deserter+`echo leader $$; sleep 1000 & wait`),
			})
			if err != nil {
				t.Fatal(err)
			}
			return p, out
		}
		one, oneOut := start(1)
		two, twoOut := start(2)
		children := []int{pidOf(t, oneOut, "child"), pidOf(t, twoOut, "child")}
		pidOf(t, oneOut, "leader")
		leader := pidOf(t, twoOut, "leader")
		one.Kill()
		one.Wait()
		wantGone(t, children[0])
		for _, pid := range []int{children[1], leader} {
			if s, err := readStat(pid); err != nil || s.dead() {
				t.Errorf("process %d of the other attempt is dead", pid)
			}
		}
		two.Kill()
		two.Wait()
		wantGone(t, children[1])
	})
}

func TestAnUnmarkedProcessIsKilledByTheLastThatMayOwnIt(t *testing.T) {
	r := open(t, Config{Tree: TreeScan})
	hidden := programs[runnertest.Hidden]
	var ps []runner.Process
	var children []int
	for number := range uint32(2) {
		out := runnertest.NewSink()
		p, err := r.Start(t.Context(), runner.Attempt{
			TaskID: "tsk_1", Number: number, Spec: commandSpec("sh", "-c", hidden), Stdout: out, Stderr: runnertest.NewSink(),
		})
		if err != nil {
			t.Fatal(err)
		}
		out.Await(t, "ready")
		ps, children = append(ps, p), append(children, pidOf(t, out, "child"))
	}
	for _, p := range ps {
		p.Kill()
		p.Wait()
	}
	for _, pid := range children {
		wantGone(t, pid)
	}
}

func TestCloseKillsWhatRuns(t *testing.T) {
	eachTree(t, func(t *testing.T, open func(*testing.T, Config) *Runner) {
		dir := t.TempDir()
		r := open(t, Config{})
		again, err := New(Config{Dir: dir, Tree: Tree(r.Info().Tree)}, hclog.NewNullLogger())
		if err != nil {
			t.Fatal(err)
		}
		p, out, _, err := begin(t, again, commandTask("sh", "-c", deserter+`echo leader $$; sleep 1000 & wait`))
		if err != nil {
			t.Fatal(err)
		}
		child := pidOf(t, out, "child")
		if err := again.Close(); err != nil {
			t.Error(err)
		}
		wantGone(t, child)
		if got, want := p.Wait(), (runner.Exit{Signal: 9}); got != want {
			t.Errorf("exit %+v, want %+v", got, want)
		}
	})
}

func TestOutputHeldElsewhereIsGivenUp(t *testing.T) {
	r := open(t, Config{})
	p, out, _, err := begin(t, r, commandTask("sh", "-c", "echo leader $$; read -r _ <&- || exec sleep 1000"))
	if err != nil {
		t.Fatal(err)
	}
	held, err := os.OpenFile(fmt.Sprintf("/proc/%d/fd/1", pidOf(t, out, "leader")), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close() //nolint:errcheck // nothing was written
	p.Kill()
	begun := time.Now()
	p.Wait()
	if took := time.Since(begun); took < drainLimit || took > drainLimit+5*time.Second {
		t.Errorf("took %v, want a little over %v", took, drainLimit)
	}
}

func TestKillSucceedsOnceDescriptorsAreFreeAgain(t *testing.T) {
	eachTree(t, func(t *testing.T, open func(*testing.T, Config) *Runner) {
		r := open(t, Config{})
		p, out, _, err := begin(t, r, commandTask("sh", "-c", deserter+`echo leader $$; sleep 1000 & wait`))
		if err != nil {
			t.Fatal(err)
		}
		child := pidOf(t, out, "child")
		leader := pidOf(t, out, "leader")
		exits := make(chan runner.Exit, 1)
		go func() { exits <- p.Wait() }()
		handle, err := unix.PidfdOpen(leader, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer closeFD(handle)
		restore := exhaustDescriptors(t)
		p.Kill()
		reached := ended(handle, 100*time.Millisecond)
		restore()
		if reached {
			t.Fatal("the kill reached the leader: descriptors were not exhausted")
		}
		if got, want := <-exits, (runner.Exit{Signal: 9}); got != want {
			t.Errorf("exit %+v, want %+v", got, want)
		}
		wantGone(t, child)
	})
}

func TestRunningAttemptsHoldNoThreads(t *testing.T) {
	r := open(t, Config{})
	const attempts = 200
	exits := make(chan runner.Exit, attempts)
	var all []runner.Process
	for number := range uint32(attempts) {
		p, err := r.Start(t.Context(), runner.Attempt{
			TaskID: "tsk_1", Number: number, Spec: commandSpec("sleep", "1000"),
			Stdout: runnertest.NewSink(), Stderr: runnertest.NewSink(),
		})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
		go func() { exits <- p.Wait() }()
	}
	if threads := len(glob(t, "/proc/self/task/*")); threads > attempts/4 {
		t.Errorf("%d threads for %d attempts", threads, attempts)
	}
	for _, p := range all {
		p.Kill()
	}
	for range all {
		if got, want := <-exits, (runner.Exit{Signal: 9}); got != want {
			t.Errorf("exit %+v, want %+v", got, want)
		}
	}
}

// An attempt with the rights for it may leave its leaf, as systemd-run --scope does.
func TestALeaderThatLeftItsLeafIsStoppedAndKilled(t *testing.T) {
	r, g := openGroups(t)
	elsewhere := filepath.Join(g.top.dir, "elsewhere")
	if err := os.Mkdir(elsewhere, 0o755); err != nil {
		t.Fatal(err)
	}
	const move = `echo $$ >"$1/cgroup.procs"; echo ready; `
	for _, test := range []struct {
		script string
		kill   bool
		want   runner.Exit
	}{
		{`trap 'exit 3' TERM; ` + move + `while :; do sleep 0.01; done`, false, runner.Exit{Code: 3}},
		{`trap '' TERM; ` + move + `while :; do sleep 0.01; done`, true, runner.Exit{Signal: 9}},
	} {
		p, out, _, err := begin(t, r, commandTask("sh", "-c", test.script, "sh", elsewhere))
		if err != nil {
			t.Fatal(err)
		}
		out.Await(t, "ready")
		p.Stop()
		if test.kill {
			p.Kill()
		}
		exits := make(chan runner.Exit, 1)
		go func() { exits <- p.Wait() }()
		select {
		case got := <-exits:
			if got != test.want {
				t.Errorf("exit %+v, want %+v", got, test.want)
			}
		case <-time.After(runnertest.Patience):
			if err := (&group{dir: elsewhere}).clear(); err != nil {
				t.Error(err)
			}
			t.Fatalf("no end; the leader was not reached (killed: %v)", test.kill)
		}
	}
}
