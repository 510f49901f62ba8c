// Package subprocess runs attempts as processes of this machine.
//
// It decides how one attempt becomes a process (argv, script file, environment, working directory), how everything that
// the process starts is found again, and how all of it is ended. It decides nothing about restarts, timeouts or grace:
// the executor does, and calls Start, Wait, Stop and Kill as package runner describes.
//
// An attempt is a process group of its own, and never shares this process's terminal. Its tree is found in one of two
// ways, see [Tree]: by a control group per attempt or, where none can be made, by scanning the descendants of this process.
//
// Before an attempt's process exists, something names the attempt that outlives this process: its control group, or an
// entry in a journal. [New] finds by it what a daemon that was killed has left, and kills all of it before it returns, so
// that nothing starts beside an earlier attempt. It takes whatever is in those groups; whatever has the attempt's task id
// and number in its environment; the leader, by pid, start time and boot; and all that descends from these. It fails,
// naming process and attempt, when something survives SIGKILL.
//
// Known limits. Once a daemon was killed that scanned, nothing leads to a process that has wiped its environment, and
// whose parents and whose session's first process are dead or wiped theirs too and left. A process with the right to
// move into another control group leaves the attempt when it does: the leader is still stopped and killed there, another
// process is found by the next daemon only, by its environment and only if the attempt had not ended before.
//
// Concurrency: every method is safe from any goroutine. An attempt costs two goroutines (one per stream), three
// descriptors and no thread: the end of the leader, of the tree and of the output all come through the runtime's poller.
//
// It holds invariants 2 (Wait returns when the whole tree is dead and reaped), 8 (nothing is left of an attempt) and 10 (a
// signal goes only to a process proven ours: pidfd first, proof second, signal third).
package subprocess

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"slotd/actors/runner"
)

// Tree is a way to find and kill everything an attempt started.
type Tree string

// The ways to find a tree.
const (
	// TreeAuto takes control groups where they can be made, else the scan.
	TreeAuto Tree = ""

	// TreeCgroup gives each attempt a leaf of its own in the cgroup2 hierarchy. No controller is needed.
	TreeCgroup Tree = "cgroup"

	// TreeScan makes this process a child subreaper and scans its descendants. No other part of the process may start
	// children in sessions of their own while attempts run: they could be taken for something an attempt left behind.
	TreeScan Tree = "scan"
)

// Config describes a runner. The zero value lacks only Dir.
type Config struct {
	Name   string            // label runner=<name>; default "subprocess"
	Labels map[string]string // further labels
	Env    map[string]string // set in every attempt; wins over the spec's
	Dir    string            // absolute; scripts are kept below it, with mode 0700; made when missing
	Tree   Tree
}

// Validate says what is wrong with the configuration, all of it at once.
func (c Config) Validate() error {
	var problems []error
	if !filepath.IsAbs(c.Dir) {
		problems = append(problems, fmt.Errorf("dir %q is not an absolute path", c.Dir))
	}
	switch c.Tree {
	case TreeAuto, TreeCgroup, TreeScan:
	default:
		problems = append(problems, fmt.Errorf("tree %q is neither cgroup nor scan", c.Tree))
	}
	for key, value := range c.Env {
		if key == "" || strings.ContainsAny(key, "=\x00") || strings.Contains(value, "\x00") {
			problems = append(problems, fmt.Errorf("env %q cannot be an environment variable", key))
		}
	}
	return errors.Join(problems...)
}

// Runner starts attempts as processes. Make one with [New].
type Runner struct {
	info    runner.Info
	env     environment
	home    home
	null    *os.File
	tracker tracker
	log     hclog.Logger
}

// tracker keeps the trees of running attempts.
type tracker interface {
	// start calls fork, with the attributes that make the new process findable, and returns its tree. When fork fails,
	// its error is returned as it is and nothing is left.
	start(name string, fork func(*syscall.SysProcAttr) (pid int, err error)) (tree, error)

	// close kills what still runs and frees everything held.
	close() error
}

// tree is every process of one attempt. terminate and kill may come from any goroutine, also after release.
type tree interface {
	// terminate asks every process of the tree to end. An error says that some may not have heard it.
	terminate() error

	// kill ends every process of the tree. It does not wait for them. An error says that some may have been missed; once
	// the leader is dead, settle sees to those.
	kill() error

	// strayed says that terminate and kill do not reach the leader: it has moved to where this tree does not look.
	strayed() bool

	// settled says whether the tree is dead already. It is called once the leader is dead, and is cheap.
	settled() bool

	// settle returns once the tree is dead.
	settle()

	// release reaps what this process inherited of the tree, and forgets the tree. The leader has been reaped before.
	release()
}

// New makes a runner, after it has killed and removed what daemons that no longer live have left below cfg.Dir and
// beside its own control group. The runner must be closed.
func New(cfg Config, log hclog.Logger) (*Runner, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("subprocess runner: %w", err)
	}
	if err := probePidfd(); err != nil {
		return nil, fmt.Errorf("subprocess runner: process handles (Linux 5.4 or newer) are needed: %w", err)
	}
	// What this process was handed when it was started is not for attempts; everything it opens itself is safe already.
	if err := unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		log.Warn("attempts inherit the descriptors this process was started with", "error", err) // before Linux 5.11
	}
	self, err := selfIdentity()
	if err != nil {
		return nil, fmt.Errorf("subprocess runner: %w", err)
	}
	base, cgroupErr := ownGroup()
	if err := newSweep(cfg.Dir, base, self, log).run(); err != nil {
		return nil, fmt.Errorf("what an earlier daemon left cannot be cleared away, and nothing may start before: %w", err)
	}

	r := &Runner{env: newEnvironment(cfg.Env), log: log}
	if r.home, err = makeHome(cfg.Dir, self); err != nil {
		return nil, fmt.Errorf("subprocess runner: %w", err)
	}
	if r.null, err = os.Open(os.DevNull); err != nil {
		return nil, errors.Join(err, r.home.remove())
	}
	kind := TreeScan
	if cfg.Tree != TreeScan {
		if cgroupErr == nil {
			r.tracker, cgroupErr = newGroups(base, self, r.home.dir, log)
		}
		switch {
		case cgroupErr == nil:
			kind = TreeCgroup
		case cfg.Tree == TreeCgroup:
			return nil, errors.Join(fmt.Errorf("control groups: %w", cgroupErr), r.null.Close(), r.home.remove())
		default:
			log.Warn("no control groups: finding process trees by scanning", "error", cgroupErr)
		}
	}
	if kind == TreeScan {
		if r.tracker, err = newScan(r.home.dir, log); err != nil {
			return nil, errors.Join(err, r.null.Close(), r.home.remove())
		}
	}
	r.info = cfg.info(kind)
	return r, nil
}

func (c Config) info(kind Tree) runner.Info {
	name := c.Name
	if name == "" {
		name = "subprocess"
	}
	labels := maps.Clone(c.Labels)
	if labels == nil {
		labels = make(map[string]string, 1)
	}
	labels["runner"] = name
	return runner.Info{Name: name, Kind: "subprocess", Labels: labels, Tree: string(kind)}
}

// Info says what this runner is.
func (r *Runner) Info() runner.Info { return r.info }

// Start begins one attempt.
func (r *Runner) Start(ctx context.Context, a runner.Attempt) (runner.Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	name := nameOf(a.TaskID, strconv.FormatUint(uint64(a.Number), 10))
	if strings.ContainsAny(name, "/\x00") {
		return nil, fmt.Errorf("task id %q cannot name a file", a.TaskID)
	}
	cmd, err := r.command(a, filepath.Join(r.home.dir, name))
	if err != nil {
		return nil, err
	}
	p, err := r.spawn(name, cmd, a)
	if err != nil {
		return nil, errors.Join(err, cmd.discard())
	}
	return p, nil
}

// Close kills what still runs and removes everything the runner made. Nothing may be started afterwards.
func (r *Runner) Close() error {
	return errors.Join(r.tracker.close(), r.null.Close(), r.home.remove())
}
