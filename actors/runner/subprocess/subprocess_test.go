package subprocess

import (
	"fmt"
	"os"
	"os/exec"
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

// Where these are set, this program is no test but the daemon that a test kills.
const (
	placeOfDaemon = "SLOTD_TEST_PLACE"
	treeOfDaemon  = "SLOTD_TEST_TREE"
)

func TestMain(m *testing.M) {
	if place := os.Getenv(placeOfDaemon); place != "" {
		err := runnertest.Serve(subject(Tree(os.Getenv(treeOfDaemon))), func() (runner.Runner, error) {
			return New(Config{Dir: place, Tree: Tree(os.Getenv(treeOfDaemon))}, hclog.NewNullLogger())
		})
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

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

var trees = []Tree{TreeCgroup, TreeScan}

// eachTree runs a test with every way of finding trees that this machine has.
func eachTree(t *testing.T, test func(t *testing.T, open func(*testing.T, Config) *Runner)) {
	for _, tree := range trees {
		t.Run(string(tree), func(t *testing.T) {
			needTree(t, tree)
			test(t, func(t *testing.T, cfg Config) *Runner {
				t.Helper()
				cfg.Tree = tree
				return open(t, cfg)
			})
		})
	}
}

func needTree(t *testing.T, tree Tree) {
	t.Helper()
	if _, err := ownGroup(); tree == TreeCgroup {
		need.That(t, err == nil, "a writable cgroup2 tree")
	}
}

func open(t *testing.T, cfg Config) *Runner {
	t.Helper()
	cfg.Dir = t.TempDir()
	return openIn(t, cfg)
}

func openIn(t *testing.T, cfg Config) *Runner {
	t.Helper()
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

// subject is what the suite has to know of a runner that finds trees this way.
func subject(tree Tree) runnertest.Subject {
	s := runnertest.Subject{
		Spec:     express,
		HostPids: true,
		Daemon: func(t *testing.T, place string) *exec.Cmd {
			t.Helper()
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			daemon := exec.CommandContext(t.Context(), self)
			daemon.Env = append(os.Environ(), placeOfDaemon+"="+place, treeOfDaemon+"="+string(tree))
			return daemon
		},
		Anew: func(t *testing.T, place string) runner.Runner {
			t.Helper()
			return openIn(t, Config{Dir: place, Tree: tree})
		},
	}
	if tree == TreeScan {
		s.Unprovable = []runnertest.Program{runnertest.Hidden}
	}
	return s
}

func TestSubprocessKeepsTheRunnerContract(t *testing.T) {
	for _, tree := range trees {
		t.Run(string(tree), func(t *testing.T) {
			needTree(t, tree)
			var current *Runner
			tested := subject(tree)
			tested.Left = func() []string {
				left := append(glob(t, current.home.dir+"/*"), glob(t, current.home.dir+"/*/*")...)
				if g, ok := current.tracker.(*groups); ok {
					left = append(left, glob(t, g.top.dir+"/*/cgroup.procs")...)
				}
				return left
			}
			runnertest.Run(t, tested, func(t *testing.T) runner.Runner {
				current = open(t, Config{Tree: tree})
				return current
			})
		})
	}
}
