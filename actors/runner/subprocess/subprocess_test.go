package subprocess

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"slotd/actors/runner"
	"slotd/actors/runner/runnertest"
	soltiv1 "slotd/messages/solti/v1"
	"slotd/test/need"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A child that has forked twice, has a session of its own, holds no output and ignores SIGTERM.
const deserter = `child=$(setsid sh -c 'trap "" TERM; echo $$; exec sleep 1000 >/dev/null 2>&1' &); echo child $child; `

// A shell that forks while it traps SIGTERM may lose the signal in the child, so sleeps are started before traps are set.
var programs = map[runnertest.Program]string{
	runnertest.Exit:     `exit "$1"`,
	runnertest.Signal:   `kill -"$1" $$`,
	runnertest.Count:    `i=0; while [ $i -lt $1 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done`,
	runnertest.Raw:      `printf '` + octal() + `'`,
	runnertest.Environ:  `exec env -0`,
	runnertest.Obey:     `sleep 1000 & trap 'trap "" TERM; echo bye; exit 3' TERM; echo ready; wait`,
	runnertest.Stubborn: `trap '' TERM; echo ready; while :; do sleep 1000; done`,
	// The trap runs when SIGCONT lets it.
	runnertest.Suspended: `trap 'exit 3' TERM; echo ready; kill -STOP $$; while :; do :; done`,
	runnertest.Forked:    deserter + `echo leader $$; echo ready; sleep 1000 & wait`,
	runnertest.Hidden:    strings.Replace(deserter, "setsid", "setsid env -i", 1) + `echo leader $$; echo ready; sleep 1000 & wait`,
	runnertest.Deserted:  deserter,
	runnertest.Late: `trap 'exit 3' TERM; sh -c 'sleep 1000 & trap : TERM; echo ready; wait;
		while read -r _ _ state _ </proc/$0/stat && [ "$state" != Z ]; do :; done; echo late' $$ & wait`,
	runnertest.Mute:    `exec >&- 2>&-; while [ ! -e "$1" ]; do sleep 0.01; done; exit 7`,
	runnertest.Holding: `sleep 1000 & exit 0`,
}

func octal() string {
	var all strings.Builder
	for i := range 256 {
		fmt.Fprintf(&all, `\%03o`, i)
	}
	return all.String()
}

func express(p runnertest.Program, args ...string) *soltiv1.CreateSpec {
	switch p {
	case runnertest.Missing:
		return commandSpec("/no/such/program")
	case runnertest.Unusable:
		return commandSpec("/etc/hostname")
	default:
		return commandSpec("sh", append([]string{"-c", programs[p], "sh"}, args...)...)
	}
}

func commandSpec(name string, args ...string) *soltiv1.CreateSpec {
	return spec(&soltiv1.SubprocessTask{Mode: &soltiv1.SubprocessTask_Command{
		Command: &soltiv1.CommandMode{Command: name, Args: args},
	}})
}

func spec(task *soltiv1.SubprocessTask) *soltiv1.CreateSpec {
	return &soltiv1.CreateSpec{Kind: &soltiv1.TaskKind{Kind: &soltiv1.TaskKind_Subprocess{Subprocess: task}}}
}

// eachTree runs a test with every way of finding trees that this machine has.
func eachTree(t *testing.T, test func(t *testing.T, open func(*testing.T, Config) *Runner)) {
	for _, tree := range []Tree{TreeCgroup, TreeScan} {
		t.Run(string(tree), func(t *testing.T) {
			if _, err := ownGroup(); tree == TreeCgroup {
				need.That(t, err == nil, "a writable cgroup2 tree")
			}
			test(t, func(t *testing.T, cfg Config) *Runner {
				t.Helper()
				cfg.Tree = tree
				return open(t, cfg)
			})
		})
	}
}

func open(t *testing.T, cfg Config) *Runner {
	t.Helper()
	cfg.Dir = t.TempDir()
	r, err := New(cfg, hclog.New(&hclog.LoggerOptions{Output: t.Output(), Level: hclog.Debug}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if left := glob(t, filepath.Join(cfg.Dir, "*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
	return r
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	all, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestSubprocessKeepsTheRunnerContract(t *testing.T) {
	eachTree(t, func(t *testing.T, open func(*testing.T, Config) *Runner) {
		var current *Runner
		subject := runnertest.Subject{
			Spec:     express,
			HostPids: true,
			Left: func() []string {
				left := glob(t, current.dir+"/*")
				if g, ok := current.tracker.(*groups); ok {
					left = append(left, glob(t, g.top.dir+"/*/cgroup.procs")...)
				}
				return left
			},
		}
		runnertest.Run(t, subject, func(t *testing.T) runner.Runner {
			current = open(t, Config{})
			return current
		})
	})
}
