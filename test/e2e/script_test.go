package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// Scripts use, besides the usual commands of testscript:
//
//	daemon [FLAGS]        start slotd serve; SLOTD_ADDR, HTTP, GRPC and DATA tell where it is
//	halt SIGNAL CODE      signal that daemon and wait for its end with that exit code
//	logged REGEXP         wait until the daemon's log matches
//	exits CODE CMD…       run a command that must end with exactly this exit code
//	until REGEXP CMD…     run a command until its stdout matches
//	keep NAME             keep what the last command wrote to stdout, trimmed, as a variable
//
// Every other command must be known to testscript; programs are started with exec or one of the above.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.RunT(scripts{t}, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", filepath.Dir(slotd)+string(os.PathListSeparator)+env.Getenv("PATH"))
			name, value, _ := strings.Cut(goRace(), "=")
			env.Setenv(name, value)
			env.Setenv("HOME", env.WorkDir)
			// Nothing of a machine's own daemon may matter.
			env.Setenv("SLOTD_ADDR", "http://127.0.0.1:1")
			env.Setenv("XDG_CONFIG_HOME", "")
			t, ok := env.T().(scripts)
			if !ok {
				return fmt.Errorf("the script belongs to a %T", env.T())
			}
			env.Values[stageKey{}] = &stage{t: t.T}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"daemon": scriptDaemon,
			"halt":   scriptHalt,
			"logged": scriptLogged,
			"exits":  scriptExits,
			"until":  scriptUntil,
			"keep":   scriptKeep,
		},
	})
}

// stage is what the commands of one script share.
type stage struct {
	t      *testing.T
	daemon *daemon // the last that was started
}

type stageKey struct{}

func stageOf(ts *testscript.TestScript) *stage {
	s, ok := ts.Value(stageKey{}).(*stage)
	if !ok {
		ts.Fatalf("the script has no stage")
	}
	return s
}

// scripts is a test whose subtests are scripts.
type scripts struct{ *testing.T }

func (s scripts) Run(name string, f func(testscript.T)) {
	s.T.Run(name, func(t *testing.T) { f(scripts{t}) })
}

func (scripts) Verbose() bool { return testing.Verbose() }

// scripted is a script as the test that its daemon belongs to.
type scripted struct {
	*testing.T

	script *testscript.TestScript
}

func (s scripted) Fatalf(format string, args ...any) { s.script.Fatalf(format, args...) }
func (s scripted) Fatal(args ...any)                 { s.script.Fatalf("%v", args) }
func (s scripted) Cleanup(f func())                  { s.script.Defer(f) }

func scriptDaemon(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("usage: daemon [FLAGS]")
	}
	s := stageOf(ts)
	t := scripted{T: s.t, script: ts}
	data := ts.MkAbs("data")
	d := launch{data: data, args: args}.serve(t)
	s.daemon = d
	ts.Setenv("SLOTD_ADDR", "http://"+d.http)
	ts.Setenv("HTTP", d.http)
	ts.Setenv("GRPC", d.grpc)
	ts.Setenv("DATA", data)
	ts.Setenv("NODE", d.node)
}

func daemonOf(ts *testscript.TestScript) *daemon {
	d := stageOf(ts).daemon
	if d == nil {
		ts.Fatalf("the script has no daemon yet")
	}
	return d
}

func scriptHalt(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP, "KILL": syscall.SIGKILL}
	if neg || len(args) != 2 || signals[args[0]] == 0 {
		ts.Fatalf("usage: halt SIGNAL CODE")
	}
	if code := daemonOf(ts).stop(signals[args[0]]); strconv.Itoa(code) != args[1] {
		ts.Fatalf("the daemon ended with exit code %d, want %s", code, args[1])
	}
}

func scriptLogged(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: logged REGEXP")
	}
	d, want := daemonOf(ts), regexp.MustCompile("(?m)"+args[0])
	if !within(func() bool { return want.MatchString(d.log.String()) }) {
		ts.Fatalf("the daemon's log does not match %s:\n%s", want, d.log)
	}
}

func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE CMD…")
	}
	code, ok := run1(ts, args[1:])
	if !ok || strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// run1 runs a command; its output is what the script's stdout and stderr commands look at.
func run1(ts *testscript.TestScript, argv []string) (code int, ok bool) {
	err := ts.Exec(argv[0], argv[1:]...)
	var ended *exec.ExitError
	switch {
	case err == nil:
		return 0, true
	case errors.As(err, &ended):
		return ended.ExitCode(), true
	default:
		ts.Logf("%v", err)
		return 0, false
	}
}

func scriptUntil(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until REGEXP CMD…")
	}
	want := regexp.MustCompile("(?m)" + args[0])
	if !within(func() bool {
		_, ok := run1(ts, args[1:])
		return ok && want.MatchString(ts.ReadFile("stdout"))
	}) {
		ts.Fatalf("stdout never matched %s", want)
	}
}

func scriptKeep(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: keep NAME")
	}
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile("stdout")))
}
