package subprocess

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"slotd/test/need"
)

// estate is the directory of a dead daemon that found its trees by scanning.
type estate struct {
	dir  string // where the next daemon lives
	home string
	log  journal
	task string // a task id that no other process of this machine has
}

func newEstate(t *testing.T, owner identity) estate {
	t.Helper()
	e := estate{dir: t.TempDir(), task: fmt.Sprintf("tsk_%s_%d", t.Name(), os.Getpid())}
	e.home = filepath.Join(e.dir, owner.String()+".0")
	if err := os.Mkdir(e.home, 0o700); err != nil {
		t.Fatal(err)
	}
	var err error
	if e.log, err = openJournal(e.home); err != nil {
		t.Fatal(err)
	}
	return e
}

// note writes an entry; the leader is 0 when the daemon died before it knew.
func (e estate) note(t *testing.T, number string, leader life) {
	t.Helper()
	record, err := e.log.begin(nameOf(e.task, number))
	if err != nil {
		t.Fatal(err)
	}
	if leader.pid == 0 {
		record.close()
	} else if err := record.complete(leader); err != nil {
		t.Fatal(err)
	}
}

func (e estate) sweep(t *testing.T) *sweep {
	t.Helper()
	self, err := selfIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return newSweep(e.dir, "", self, hclog.New(&hclog.LoggerOptions{Output: t.Output(), Level: hclog.Debug}))
}

// launch runs a script in a session of its own, and returns the pid that it prints. An environment without a task id is
// that of a process which has nothing to do with us, or has wiped its own.
func launch(t *testing.T, script string, env ...string) (leader *exec.Cmd, printed int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if printed, err = strconv.Atoi(strings.TrimSpace(line)); err != nil {
		t.Fatal(err)
	}
	child := lifeOf(t, printed)
	t.Cleanup(func() {
		if cmd.ProcessState == nil { // not reaped, so the number is still that of its group
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // the test may have done so
			_ = cmd.Wait()                                      // with the error of that kill
		}
		if s, err := readStat(printed); err == nil && s.life() == child {
			_ = syscall.Kill(printed, syscall.SIGKILL) // it may just have died
		}
	})
	return cmd, printed
}

func lifeOf(t *testing.T, pid int) life {
	t.Helper()
	s, err := readStat(pid)
	if err != nil {
		t.Fatal(err)
	}
	return s.life()
}

// In these scripts a child prints its own pid once it is what it shall be.
const (
	stays    = `sh -c 'trap "" TERM HUP; echo $$; exec sleep 1000' & wait`
	unmarked = `env -i sh -c 'trap "" TERM HUP; echo $$; exec sleep 1000' & wait`
	apart    = `setsid sh -c 'trap "" TERM HUP; echo $$; exec sleep 1000' & wait`
)

func TestTheJournalLeadsToEveryProcessThatIsProven(t *testing.T) {
	e := newEstate(t, corpse(t))
	marks := func(number string) []string { return []string{envTask + "=" + e.task, envAttempt + "=" + number} }
	pid := func(cmd *exec.Cmd) int { return cmd.Process.Pid }
	end := func(leader *exec.Cmd) {
		if err := leader.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = leader.Wait() // with the error of the kill
	}
	var killed, spared []int

	leader, child := launch(t, unmarked)
	e.note(t, "1", lifeOf(t, pid(leader)))
	killed = append(killed, pid(leader), child) // the recorded leader, and by descent a child without a mark

	leader, child = launch(t, apart, marks("2")...)
	e.note(t, "2", life{})
	killed = append(killed, pid(leader), child) // by the environment alone

	// The leader is dead; in its session live a child with a mark and, by the number of the session, one without.
	leader, child = launch(t, `sh -c 'env -i sleep 1000 & echo $!; exec sleep 1000' & wait`, marks("3")...)
	e.note(t, "3", lifeOf(t, pid(leader)))
	end(leader)
	killed = append(killed, child)

	_, child = launch(t, stays, marks("4")...)
	spared = append(spared, child) // nobody has noted this attempt

	leader, child = launch(t, unmarked)
	recycled := lifeOf(t, pid(leader))
	recycled.start--
	e.note(t, "5", recycled)
	spared = append(spared, pid(leader), child) // the pid of the leader belongs to somebody else now

	leader, child = launch(t, unmarked)
	e.note(t, "6", lifeOf(t, pid(leader)))
	if err := leader.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = leader.Wait()              // with the error of the kill
	spared = append(spared, child) // the number of a session alone is no proof

	if err := e.sweep(t).run(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range killed {
		wantGone(t, pid)
	}
	for _, pid := range spared {
		wantAlive(t, pid)
	}
	if left := glob(t, e.dir+"/*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestProofFollowsParentsAndSessions(t *testing.T) {
	const far = 1 << 30 // beyond any pid, so that no environment interferes
	const attempt, other = "tsk_1-1", "tsk_2-1"
	e := newEvidence()
	e.name(attempt)
	e.name(other)
	e.lead(attempt, life{far + 1, 100})
	e.proven[life{far + 2, 200}] = other // by its environment; its leader is not recorded
	e.proven[life{far + 3, 300}] = attempt
	table := make(map[int]stat)
	want := make(map[int]string)
	for _, p := range []struct {
		name            string
		pid             int
		start           uint64
		parent, session int
		want            string
	}{
		{"init", far + 10, 1, 0, 0, ""},
		{"proven, of the session from outside", far + 2, 200, far + 10, 0, other},
		{"of the same session from outside", far + 11, 201, far + 10, 0, ""},
		{"its child", far + 12, 202, far + 2, 0, other},
		{"leads a session", far + 13, 203, far + 12, far + 13, other},
		{"in that session", far + 14, 204, far + 10, far + 13, other},
		{"its child in another", far + 15, 205, far + 14, far + 99, other},
		{"proven, in the session of a dead leader", far + 3, 300, far + 10, far + 1, attempt},
		{"in that session too", far + 16, 301, far + 10, far + 1, attempt},
		{"in a session that nobody proven is in", far + 17, 302, far + 10, far + 98, ""},
		{"in the session of its child", far + 18, 303, far + 10, far + 99, ""},
	} {
		table[p.pid] = stat{pid: p.pid, state: 'S', start: p.start, parent: p.parent, session: p.session}
		if p.want != "" {
			want[p.pid] = p.want
		}
	}
	e.judge(table)
	if diff := cmp.Diff(want, e.whose); diff != "" {
		t.Errorf("proven (-want +got):\n%s", diff)
	}
	table[far+16] = stat{pid: far + 16, state: 'S', start: 999, parent: far + 10, session: far + 97}
	delete(want, far+16)
	e.judge(table)
	if diff := cmp.Diff(want, e.whose); diff != "" {
		t.Errorf("after a pid was given anew (-want +got):\n%s", diff)
	}
}

func TestEvidenceOfAnEarlierBootProvesNothing(t *testing.T) {
	owner := corpse(t)
	owner.boot = strings.Repeat("0", bootDigits)
	e := newEstate(t, owner)
	leader, child := launch(t, stays, envTask+"="+e.task, envAttempt+"=1")
	e.note(t, "1", lifeOf(t, leader.Process.Pid))
	if err := e.sweep(t).run(); err != nil {
		t.Fatal(err)
	}
	wantAlive(t, leader.Process.Pid)
	wantAlive(t, child)
	if left := glob(t, e.dir+"/*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// An attempt that left its leaf is known by the name of the leaf, which stays until the attempt is dead.
func TestLeavesNameTheAttemptsToLookFor(t *testing.T) {
	base, err := ownGroup()
	need.That(t, err == nil, "a writable cgroup2 tree")
	owner := corpse(t)
	e := newEstate(t, owner)
	dir := filepath.Join(base, owner.String()+".0")
	need.That(t, os.MkdirAll(filepath.Join(dir, nameOf(e.task, "1")), 0o755) == nil, "a writable cgroup2 tree")
	if err := os.WriteFile(filepath.Join(e.home, groupNote), []byte(dir), 0o600); err != nil {
		t.Fatal(err)
	}
	leader, child := launch(t, apart, envTask+"="+e.task, envAttempt+"=1")
	if err := e.sweep(t).run(); err != nil {
		t.Fatal(err)
	}
	wantGone(t, leader.Process.Pid)
	wantGone(t, child)
	if exists(t, dir) {
		t.Errorf("%s is still there", dir)
	}
}

func TestASweepDoesNotKillItsOwnProcess(t *testing.T) {
	e := newEstate(t, corpse(t))
	e.note(t, "1", lifeOf(t, os.Getpid()))
	leader, _ := launch(t, stays, envTask+"="+e.task, envAttempt+"=1")
	err := e.sweep(t).run()
	if err == nil || !strings.Contains(err.Error(), "started by attempt "+nameOf(e.task, "1")) {
		t.Errorf("got %v", err)
	}
	wantAlive(t, leader.Process.Pid)
	if !exists(t, e.home) {
		t.Error("the evidence is gone")
	}
}

// A child of the dead daemon that is about to execute something has no mark yet, and shares the lock.
func TestASweepWaitsForForksThatAreUnderWay(t *testing.T) {
	e := newEstate(t, corpse(t))
	e.note(t, "1", life{})
	lock, err := takeLock(e.home, unix.O_CREAT)
	if err != nil {
		t.Fatal(err)
	}
	s := e.sweep(t)
	s.end = time.Now()
	if err := s.run(); err == nil || !strings.Contains(err.Error(), "before exec") {
		t.Errorf("got %v, want a complaint about a fork", err)
	}
	if !exists(t, e.home) {
		t.Fatal("the evidence is gone")
	}
	closeFD(lock)
	if err := e.sweep(t).run(); err != nil {
		t.Error(err)
	}
}

// freeze puts a process where no signal reaches it, as a dead disk does.
func freeze(t *testing.T, pid int) (thaw func()) {
	t.Helper()
	dir := filepath.Join("/sys/fs/cgroup/freezer", fmt.Sprintf("slotd-test-%d", os.Getpid()))
	need.That(t, os.Mkdir(dir, 0o755) == nil, "a writable cgroup1 freezer")
	set := func(file, value string) {
		if err := writeTo(filepath.Join(dir, file), value); err != nil {
			t.Error(err)
		}
	}
	set("cgroup.procs", strconv.Itoa(pid))
	set("freezer.state", "FROZEN")
	thaw = func() { set("freezer.state", "THAWED") }
	t.Cleanup(func() {
		thaw()
		if err := (&group{dir: dir}).remove(); err != nil {
			t.Error(err)
		}
	})
	return thaw
}

func TestWhatSurvivesTheKillIsNamedAndKept(t *testing.T) {
	wantSurvivor := func(t *testing.T, e estate, pid int, err error) {
		t.Helper()
		for _, text := range []string{"survive SIGKILL", fmt.Sprintf("process %d (", pid), "state D", nameOf(e.task, "1")} {
			if err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("got %v, want %q", err, text)
			}
		}
		if !exists(t, e.home) {
			t.Fatal("the evidence is gone")
		}
	}
	impatient := func(e estate) error {
		s := e.sweep(t)
		s.end = time.Now().Add(50 * time.Millisecond)
		return s.run()
	}
	t.Run("scan", func(t *testing.T) {
		e := newEstate(t, corpse(t))
		e.task = "tsk_frozen_" + strconv.Itoa(os.Getpid())
		_, child := launch(t, stays, envTask+"="+e.task, envAttempt+"=1")
		e.note(t, "1", life{})
		thaw := freeze(t, child)
		wantSurvivor(t, e, child, impatient(e))
		thaw()
		if err := e.sweep(t).run(); err != nil {
			t.Error(err)
		}
		wantGone(t, child)
	})
	t.Run("cgroup", func(t *testing.T) {
		base, err := ownGroup()
		need.That(t, err == nil, "a writable cgroup2 tree")
		owner := corpse(t)
		e := newEstate(t, owner)
		e.task = "tsk_frozen_group_" + strconv.Itoa(os.Getpid())
		dir := filepath.Join(base, owner.String()+".0")
		leaf := filepath.Join(dir, nameOf(e.task, "1"))
		need.That(t, os.MkdirAll(leaf, 0o755) == nil, "a writable cgroup2 tree")
		if err := os.WriteFile(filepath.Join(e.home, groupNote), []byte(dir), 0o600); err != nil {
			t.Fatal(err)
		}
		child := sleeper(t, nil).Process.Pid
		if err := writeTo(filepath.Join(leaf, "cgroup.procs"), strconv.Itoa(child)); err != nil {
			t.Fatal(err)
		}
		thaw := freeze(t, child)
		wantSurvivor(t, e, child, impatient(e))
		thaw()
		if err := e.sweep(t).run(); err != nil {
			t.Error(err)
		}
		wantGone(t, child)
		if exists(t, dir) {
			t.Errorf("%s is still there", dir)
		}
	})
}

// Whatever of a home a daemon that died had made, or had not yet removed, is no obstacle.
func TestHalfMadeHomesAreCleared(t *testing.T) {
	base := t.TempDir() // stands for a hierarchy
	for name, build := range map[string]func(home string) error{
		"empty":       func(string) error { return nil },
		"locked only": func(home string) error { return os.WriteFile(home+"/lock", nil, 0o600) },
		"empty note":  func(home string) error { return os.WriteFile(home+"/cgroup", nil, 0o600) },
		"note without a group": func(home string) error {
			return os.WriteFile(home+"/cgroup", []byte(base+"/"+filepath.Base(home)), 0o600)
		},
		"note of a stranger": func(home string) error { return os.WriteFile(home+"/cgroup", []byte(base), 0o600) },
		"empty journal":      func(home string) error { return os.Mkdir(home+"/journal", 0o700) },
		"empty entry": func(home string) error {
			return errors.Join(os.Mkdir(home+"/journal", 0o700), os.WriteFile(home+"/journal/tsk_none-1", nil, 0o600))
		},
		"empty script directory": func(home string) error { return os.Mkdir(home+"/tsk_none-1", 0o700) },
	} {
		t.Run(name, func(t *testing.T) {
			owner := corpse(t)
			dir := t.TempDir()
			home := filepath.Join(dir, owner.String()+".0")
			if err := errors.Join(os.Mkdir(home, 0o700), build(home)); err != nil {
				t.Fatal(err)
			}
			if err := (estate{dir: dir}).sweep(t).run(); err != nil {
				t.Error(err)
			}
			if left := glob(t, dir+"/*"); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			if !exists(t, base) {
				t.Fatal("what is not ours was removed")
			}
		})
	}
}

// The pid of a daemon that lives no more may be the number of a thread by now.
func TestDaemonWhosePidIsAThreadIsDead(t *testing.T) {
	self, err := selfIdentity()
	if err != nil {
		t.Fatal(err)
	}
	numbers, stop := make(chan int), make(chan struct{})
	defer close(stop)
	for range 2 { // one of them may be the first thread, whose number is the pid
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			numbers <- unix.Gettid()
			<-stop
		}()
	}
	for range 2 {
		old := self
		old.pid, old.start = <-numbers, 1
		if old.pid != self.pid && !old.dead(self) {
			t.Errorf("thread %d counts as a daemon that lives", old.pid)
		}
	}
}
