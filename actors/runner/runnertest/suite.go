// Package runnertest holds what every runner promises, as tests that a runner's own tests call.
//
// A kind says with a [Subject] how it expresses the programs that the suite needs; a test that needs what the kind cannot
// express is left out, and named. Specific to a kind, and so tested there: its spec, its environment, its errors' paths.
package runnertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"slotd/actors/runner"
	soltiv1 "slotd/messages/solti/v1"
)

// promise is one test of the suite. What it needs is asked of the [Subject] before it is run.
type promise struct {
	name  string
	run   func(*testing.T, fixture)
	needs []Program
	pids  bool // the pids that programs print must be those of this machine
	dies  bool // it is about runners in daemons that are killed, and has none of its own
}

var promises = []promise{
	{"ExitCodesAreReported", exitCodes, []Program{Exit}, false, false},
	{"SignalsAreReported", signals, []Program{Signal}, false, false},
	{"OutputIsCompleteAndInOrder", output, []Program{Count}, false, false},
	{"BytesPassUnchanged", raw, []Program{Raw}, false, false},
	{"EnvironmentIsClean", environ, []Program{Environ}, false, false},
	{"MissingProgramIs127", missing, []Program{Missing}, false, false},
	{"UnusableProgramIs126", unusable, []Program{Unusable}, false, false},
	{"CancelledStartStartsNothing", cancelled, []Program{Exit}, false, false},
	{"StopLetsTheProgramFinish", obey, []Program{Obey}, false, false},
	{"StopWakesTheSuspended", suspended, []Program{Suspended}, false, false},
	{"KillEndsWhatIgnoresStop", stubborn, []Program{Stubborn}, false, false},
	{"KillReachesDoubleForkedSessions", forked(Forked), []Program{Forked}, true, false},
	{"KillReachesUnmarkedProcesses", forked(Hidden), []Program{Hidden}, true, false},
	{"ExitEndsWhatIsLeftBehind", deserted, []Program{Deserted}, true, false},
	{"StopGrantsGraceToSurvivorsOfTheLeader", late, []Program{Late}, false, false},
	{"KillEndsSurvivorsOfTheLeader", survivors, []Program{Forked}, true, false},
	{"ClosedOutputIsNotTheEnd", mute, []Program{Mute}, false, false},
	{"OutputHeldOpenIsNotWaitedFor", holding, []Program{Holding}, false, false},
	{"StopAndKillAfterTheEndDoNothing", afterwards, []Program{Exit}, false, false},
	{"ManyInARowLeaveNothing", manyInARow, []Program{Exit}, false, false},
	{"ManyAtOnceLeaveNothing", manyAtOnce, []Program{Exit}, false, false},
	{"ARunnerMadeAnewLeavesNothingOfKilledDaemons", crashed, []Program{Exit, Forked, Deserted, Stubborn, Obey}, true, true},
}

// Run runs the suite. open returns a fresh runner whose end is a matter of t.Cleanup. The log names the tests that the
// kind leaves out.
func Run(t *testing.T, s Subject, open func(t *testing.T) runner.Runner) {
	for _, p := range promises {
		if why := p.beyond(s); why != "" {
			t.Logf("%s is left out: this kind has no %s", p.name, why)
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			f := fixture{Subject: s}
			if !p.dies {
				f.runner = open(t)
			}
			p.run(t, f)
		})
	}
}

// beyond names what a subject lacks for a test, or is empty.
func (p promise) beyond(s Subject) string {
	if p.pids && !s.HostPids {
		return "pids of this machine"
	}
	if p.dies && s.Daemon == nil {
		return "daemon that can be killed"
	}
	for _, program := range p.needs {
		if s.Spec(program) == nil {
			return fmt.Sprintf("program %q", program)
		}
	}
	return ""
}

// fixture is a subject with a runner of its own.
type fixture struct {
	Subject

	runner runner.Runner
}

// spec expresses a program that the test has named among its needs.
func (f fixture) spec(t *testing.T, p Program, args ...string) *soltiv1.CreateSpec {
	t.Helper()
	spec := f.Spec(p, args...)
	if spec == nil {
		t.Fatalf("%s cannot express %q", f.runner.Info().Kind, p)
	}
	return spec
}

// attempt is a started program with its output.
type attempt struct {
	runner.Process
	out, err *Sink
}

func (f fixture) start(t *testing.T, p Program, args ...string) attempt {
	t.Helper()
	a := attempt{out: NewSink(), err: NewSink()}
	var err error
	if a.Process, err = f.runner.Start(t.Context(), f.attempt(f.spec(t, p, args...), a, t.Name(), 1)); err != nil {
		t.Fatalf("start %s: %v", p, err)
	}
	return a
}

func (f fixture) attempt(spec *soltiv1.CreateSpec, a attempt, id string, number uint32) runner.Attempt {
	return runner.Attempt{
		TaskID: strings.ReplaceAll(id, "/", "."), Number: number, Slot: "build", Node: "n1",
		Spec: spec, Stdout: a.out, Stderr: a.err,
	}
}

// wait fails the test when the end does not come.
func (a attempt) wait(t *testing.T) runner.Exit {
	t.Helper()
	ended := make(chan runner.Exit, 1)
	go func() { ended <- a.Wait() }()
	select {
	case exit := <-ended:
		return exit
	case <-time.After(Patience):
		a.Kill()
		t.Fatalf("no end; output %q, errors %q", a.out.Bytes(), a.err.Bytes())
		return runner.Exit{}
	}
}

func wantExit(t *testing.T, got, want runner.Exit) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("exit (-want +got):\n%s", diff)
	}
}

func exitCodes(t *testing.T, f fixture) {
	for _, code := range []int{0, 1, 3, 126, 127, 255} {
		wantExit(t, f.start(t, Exit, strconv.Itoa(code)).wait(t), runner.Exit{Code: code})
	}
}

func signals(t *testing.T, f fixture) {
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGKILL, syscall.SIGSEGV} {
		wantExit(t, f.start(t, Signal, strconv.Itoa(int(sig))).wait(t), runner.Exit{Signal: int(sig)})
	}
}

func output(t *testing.T, f fixture) {
	const lines = 20000
	a := f.start(t, Count, strconv.Itoa(lines))
	wantExit(t, a.wait(t), runner.Exit{})
	for stream, sink := range map[string]*Sink{"out": a.out, "err": a.err} {
		var want strings.Builder
		for i := range lines {
			fmt.Fprintf(&want, "%s %d\n", stream, i)
		}
		if diff := cmp.Diff(want.String(), string(sink.Bytes())); diff != "" {
			t.Errorf("%s (-want +got):\n%s", stream, diff)
		}
	}
}

func raw(t *testing.T, f fixture) {
	a := f.start(t, Raw)
	wantExit(t, a.wait(t), runner.Exit{})
	want := make([]byte, 256)
	for i := range want {
		want[i] = byte(i)
	}
	if diff := cmp.Diff(want, a.out.Bytes()); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
}

func environ(t *testing.T, f fixture) {
	t.Setenv("NOT_FOR_TASKS", "secret")
	a := f.start(t, Environ)
	wantExit(t, a.wait(t), runner.Exit{})
	got := make(map[string]string)
	for entry := range strings.SplitSeq(strings.TrimSuffix(string(a.out.Bytes()), "\x00"), "\x00") {
		key, value, _ := strings.Cut(entry, "=")
		got[key] = value
	}
	if _, leaked := got["NOT_FOR_TASKS"]; leaked {
		t.Errorf("the daemon's environment leaks: %v", got)
	}
	id := strings.ReplaceAll(t.Name(), "/", ".")
	for key, want := range map[string]string{
		"SLOTD_TASK_ID": id, "SLOTD_ATTEMPT": "1", "SLOTD_SLOT": "build", "SLOTD_NODE": "n1",
	} {
		if got[key] != want {
			t.Errorf("%s = %q, want %q", key, got[key], want)
		}
	}
}

func missing(t *testing.T, f fixture) { wantSpawnError(t, f, Missing, 127) }

func unusable(t *testing.T, f fixture) { wantSpawnError(t, f, Unusable, 126) }

func wantSpawnError(t *testing.T, f fixture, p Program, code int) {
	t.Helper()
	spec := f.spec(t, p)
	before := f.left(t)
	a := attempt{out: NewSink(), err: NewSink()}
	_, err := f.runner.Start(t.Context(), f.attempt(spec, a, t.Name(), 1))
	spawn, ok := errors.AsType[*runner.SpawnError](err)
	if !ok {
		t.Fatalf("start: %v, want a SpawnError", err)
	}
	if spawn.Code != code || spawn.Path == "" {
		t.Errorf("code %d for %q, want %d and a path", spawn.Code, spawn.Path, code)
	}
	before.compare(t, f)
}

func cancelled(t *testing.T, f fixture) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	before := f.left(t)
	a := attempt{out: NewSink(), err: NewSink()}
	_, err := f.runner.Start(ctx, f.attempt(f.spec(t, Exit, "0"), a, t.Name(), 1))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("start: %v, want %v", err, context.Canceled)
	}
	before.compare(t, f)
}

func obey(t *testing.T, f fixture) {
	a := f.start(t, Obey)
	a.out.Await(t, "ready")
	a.Stop()
	a.Stop()
	wantExit(t, a.wait(t), runner.Exit{Code: 3})
	if got, want := string(a.out.Bytes()), "ready\nbye\n"; got != want {
		t.Errorf("output %q, want %q", got, want)
	}
}

func suspended(t *testing.T, f fixture) {
	a := f.start(t, Suspended)
	a.out.Await(t, "ready")
	a.Stop()
	wantExit(t, a.wait(t), runner.Exit{Code: 3})
}

func stubborn(t *testing.T, f fixture) {
	a := f.start(t, Stubborn)
	a.out.Await(t, "ready")
	a.Stop()
	a.Kill()
	a.Kill()
	wantExit(t, a.wait(t), runner.Exit{Signal: int(syscall.SIGKILL)})
}

func forked(p Program) func(*testing.T, fixture) {
	return func(t *testing.T, f fixture) {
		a := f.start(t, p)
		a.out.Await(t, "ready")
		child := f.pid(t, a, "child")
		if !alive(child) {
			t.Fatal("the child is dead before the kill")
		}
		a.Kill()
		wantExit(t, a.wait(t), runner.Exit{Signal: int(syscall.SIGKILL)})
		wantDead(t, child)
	}
}

func deserted(t *testing.T, f fixture) {
	a := f.start(t, Deserted)
	wantExit(t, a.wait(t), runner.Exit{})
	wantDead(t, f.pid(t, a, "child"))
}

func late(t *testing.T, f fixture) {
	a := f.start(t, Late)
	a.out.Await(t, "ready")
	a.Stop()
	wantExit(t, a.wait(t), runner.Exit{Code: 3})
	if got, want := string(a.out.Bytes()), "ready\nlate\n"; got != want {
		t.Errorf("output %q, want %q", got, want)
	}
}

// survivors stops a leader that obeys while a child of its does not, and kills the child once the leader is gone.
func survivors(t *testing.T, f fixture) {
	a := f.start(t, Forked)
	leader, child := f.pid(t, a, "leader"), f.pid(t, a, "child")
	ended := make(chan runner.Exit, 1)
	go func() { ended <- a.Wait() }()
	a.Stop()
	Eventually(t, "the leader dies", func() bool { return !alive(leader) })
	if !alive(child) {
		t.Error("the child was not given until Kill")
	}
	select {
	case exit := <-ended:
		t.Errorf("ended with %+v before its child", exit)
		ended <- exit
	default:
	}
	a.Kill()
	select {
	case exit := <-ended:
		wantExit(t, exit, runner.Exit{Signal: int(syscall.SIGTERM)})
	case <-time.After(Patience):
		t.Fatal("no end after Kill")
	}
	wantDead(t, child)
}

// mute ends with its own code only if it was let live after its output ended.
func mute(t *testing.T, f fixture) {
	flag := filepath.Join(t.TempDir(), "go")
	a := f.start(t, Mute, flag)
	ended := make(chan runner.Exit, 1)
	go func() { ended <- a.Wait() }()
	a.out.AwaitEnd(t)
	a.err.AwaitEnd(t)
	if err := os.WriteFile(flag, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	select {
	case exit := <-ended:
		wantExit(t, exit, runner.Exit{Code: 7})
	case <-time.After(Patience):
		a.Kill()
		t.Fatal("no end")
	}
}

func holding(t *testing.T, f fixture) {
	a := f.start(t, Holding)
	begun := time.Now()
	wantExit(t, a.wait(t), runner.Exit{})
	if took := time.Since(begun); took > 4*time.Second {
		t.Errorf("took %v: it waited for output that a dead process held", took)
	}
}

func afterwards(t *testing.T, f fixture) {
	a := f.start(t, Exit, "0")
	wantExit(t, a.wait(t), runner.Exit{})
	a.Stop()
	a.Kill()
}

func manyInARow(t *testing.T, f fixture) {
	f.many(t, 1, 1000)
}

func manyAtOnce(t *testing.T, f fixture) {
	f.many(t, 32, 1000)
}

// many runs count attempts, so many at a time, every tenth with a process left behind and every eleventh without a start.
func (f fixture) many(t *testing.T, atOnce, count int) {
	spec, missing, deserted := f.spec(t, Exit, "5"), f.Spec(Missing), f.Spec(Deserted)
	before := f.left(t)
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i := range count {
		group.Go(func() error {
			chosen, want := spec, runner.Exit{Code: 5}
			switch {
			case i%10 == 0 && deserted != nil:
				chosen, want = deserted, runner.Exit{}
			case i%11 == 0 && missing != nil:
				chosen = missing
			}
			a := attempt{out: NewSink(), err: NewSink()}
			p, err := f.runner.Start(t.Context(), f.attempt(chosen, a, t.Name(), uint32(i+1)))
			if _, failed := errors.AsType[*runner.SpawnError](err); failed && chosen == missing {
				return nil
			}
			if err != nil {
				return fmt.Errorf("attempt %d: %w", i+1, err)
			}
			if got := p.Wait(); got != want {
				return fmt.Errorf("attempt %d: %+v, want %+v; errors %q", i+1, got, want, a.err.Bytes())
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	before.compare(t, f)
}
