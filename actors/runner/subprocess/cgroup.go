package subprocess

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

// groups keeps each attempt in a leaf of one control group of this daemon. A process is born into its leaf
// (CLONE_INTO_CGROUP), so there is no moment at which it could fork away.
type groups struct {
	top  *group
	heir bool // orphans become children of this process
	tty  bool // this process has a terminal, which attempts must not reach
	log  hclog.Logger
}

// newGroups makes the daemon's group below base and proves that a process can be born there. Its path is noted in the home
// before it exists, for the sweep of a later daemon that lives elsewhere in the hierarchy.
func newGroups(base string, self identity, home string, log hclog.Logger) (*groups, error) {
	var dir string
	err := numbered(filepath.Join(base, self.String()), func(path string) error {
		dir = path
		if err := os.WriteFile(filepath.Join(home, groupNote), []byte(path), 0o600); err != nil {
			return err
		}
		return os.Mkdir(path, 0o755)
	})
	if err != nil {
		return nil, err
	}
	own, err := readStat(self.pid)
	g := &groups{top: openGroup(dir), heir: inheritsOrphans(), tty: own.tty != 0, log: log}
	if err == nil {
		err = g.probe()
	}
	if err != nil {
		return nil, errors.Join(err, g.close())
	}
	return g, nil
}

// probe lets a child be born in a leaf, with nothing to execute. Any complaint but that one means that the kernel, a
// sandbox or the rights of this user forbid it.
func (g *groups) probe() error {
	nothing := filepath.Join(g.top.dir, "nothing")
	_, err := g.start("probe", func(sys *syscall.SysProcAttr) (int, error) {
		return syscall.ForkExec(nothing, []string{nothing}, &syscall.ProcAttr{Sys: sys})
	})
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return fmt.Errorf("start a process in %s: %w", g.top.dir, err)
}

func (g *groups) start(name string, fork func(*syscall.SysProcAttr) (int, error)) (tree, error) {
	l := &leaf{group: group{dir: filepath.Join(g.top.dir, name), killer: g.top.killer}, groups: g}
	if err := unix.Mkdir(l.dir, 0o755); err != nil {
		return nil, &os.PathError{Op: "mkdir", Path: l.dir, Err: err}
	}
	fd, err := unix.Open(l.dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, errors.Join(&os.PathError{Op: "open", Path: l.dir, Err: err}, l.remove())
	}
	defer closeFD(fd)
	// A session is what keeps a terminal away: a process that asks for a password there would else be suspended for ever.
	// Without a terminal a process group does, and is cheaper: each session may get a scheduler group (autogroup).
	sys := &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: fd, Setsid: g.tty, Setpgid: !g.tty}
	if l.leader, err = fork(sys); err != nil {
		if removeErr := l.remove(); removeErr != nil {
			g.log.Error("control group stays behind", "attempt", name, "error", removeErr)
		}
		return nil, err
	}
	return l, nil
}

// close kills what still runs.
func (g *groups) close() error { return g.top.clear() }

// leaf is the control group of one attempt. removed belongs to the goroutine that waits.
type leaf struct {
	group
	groups  *groups
	leader  int
	removed bool
}

func (l *leaf) strayed() bool {
	holds, err := l.holds(l.leader)
	return err == nil && !holds
}

// settled tries to remove the leaf: that works exactly when no live process and no further group is in it, and in the
// common case it is all there is to do.
func (l *leaf) settled() bool {
	err := unix.Rmdir(l.dir)
	l.removed = err == nil
	return l.removed
}

// settle does not take "cannot watch" for an answer: a slot may not be freed before its processes are dead.
func (l *leaf) settle() {
	for pause := firstPause; ; pause = min(2*pause, idlePause) {
		err := l.await(time.Time{})
		if err == nil {
			return
		}
		l.groups.log.Error("control group cannot be watched", "attempt", filepath.Base(l.dir), "error", err)
		time.Sleep(pause)
		if l.dying.Load() {
			_ = l.strike() // what it missed, the next one meets
		}
	}
}

func (l *leaf) release() {
	if l.groups.heir {
		l.reapOrphans()
	}
	if l.removed {
		return
	}
	if err := l.remove(); err != nil {
		l.groups.log.Error("control group stays behind", "attempt", filepath.Base(l.dir), "error", err)
	}
}

// reapOrphans takes the exit status of dead processes that this process inherited from the attempt: only those that are
// listed in this very leaf, so never another attempt's leader or a child of somebody else in this program. The parent of
// such a process may be on its last steps still, out of the group but not out of the process table, hence the rounds.
func (l *leaf) reapOrphans() {
	for pause := time.Millisecond; pause < reapLimit && anyDeadChild(); pause *= 2 {
		waiting, err := l.reapRound()
		if err != nil {
			l.groups.log.Error("orphans cannot be listed", "attempt", filepath.Base(l.dir), "error", err)
		}
		if waiting == 0 || err != nil {
			return
		}
		time.Sleep(pause)
	}
}

// reapLimit bounds the last pause of reapOrphans. A zombie whose parent got out of the leaf is that parent's business.
const reapLimit = 500 * time.Millisecond

// reapRound says how many processes of the leaf are left.
func (l *leaf) reapRound() (waiting int, err error) {
	all, err := pids()
	if err != nil {
		return 0, err
	}
	for _, pid := range all {
		if holds, err := l.holds(pid); pid == l.leader || err != nil || !holds {
			continue
		}
		if s, err := readStat(pid); err == nil && s.parent == os.Getpid() && s.dead() {
			reapOrphan(pid)
		} else if err == nil {
			waiting++
		}
	}
	return waiting, nil
}

// holds says whether a process, dead or alive, is in the leaf, which may itself be removed already. The name of the
// daemon's group occurs once in the hierarchy.
func (l *leaf) holds(pid int) (bool, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		return false, err
	}
	name := "/" + filepath.Base(l.groups.top.dir) + "/" + filepath.Base(l.dir)
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), " (deleted)")
		if strings.HasPrefix(line, "0::") && strings.Contains(line+"/", name+"/") {
			return true, nil
		}
	}
	return false, nil
}
