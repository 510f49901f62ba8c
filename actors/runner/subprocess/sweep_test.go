package subprocess

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"slotd/test/need"
)

// sleeper starts a process that stays until the test ends.
func sleeper(t *testing.T, sys *syscall.SysProcAttr) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sleep", "1000")
	cmd.SysProcAttr = sys
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have been killed already
		_ = cmd.Wait()         // with the error of that kill
	})
	return cmd
}

// identityOf names a process as if it were a daemon.
func identityOf(t *testing.T, pid int) identity {
	t.Helper()
	self, err := selfIdentity()
	if err != nil {
		t.Fatal(err)
	}
	s, err := readStat(pid)
	if err != nil {
		t.Fatal(err)
	}
	return identity{pid: pid, start: s.start, space: self.space, boot: self.boot}
}

// leftover makes a control group with a process in a nested group, as a daemon leaves it.
func leftover(t *testing.T, base string, owner identity) (dir string, process *exec.Cmd) {
	t.Helper()
	dir = filepath.Join(base, owner.String()+".0")
	leaf := filepath.Join(dir, "tsk_1-1", "nested")
	need.That(t, os.MkdirAll(leaf, 0o755) == nil, "a writable cgroup2 tree")
	t.Cleanup(func() {
		if err := openGroup(dir).clear(); err != nil {
			t.Error(err)
		}
	})
	fd, err := unix.Open(leaf, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer closeFD(fd)
	return dir, sleeper(t, &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: fd})
}

func exists(t *testing.T, path string) bool {
	t.Helper()
	_, err := os.Stat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

// corpse is the identity of a daemon that has died.
func corpse(t *testing.T) identity {
	t.Helper()
	daemon := sleeper(t, nil)
	id := identityOf(t, daemon.Process.Pid)
	if err := daemon.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := daemon.Wait(); err == nil {
		t.Fatal("the daemon was not killed")
	}
	return id
}

func TestNewKillsWhatDeadDaemonsLeft(t *testing.T) {
	base, err := ownGroup()
	need.That(t, err == nil, "a writable cgroup2 tree")
	elsewhere := filepath.Join(base, "slotd-test-elsewhere")
	need.That(t, os.Mkdir(elsewhere, 0o755) == nil, "a writable cgroup2 tree")
	t.Cleanup(func() {
		if err := openGroup(elsewhere).clear(); err != nil {
			t.Error(err)
		}
	})
	dead, alive := corpse(t), identityOf(t, sleeper(t, nil).Process.Pid)
	recycled := alive
	recycled.start--
	foreign := dead
	foreign.space++
	former, formerForeign := corpse(t), foreign
	former.boot, formerForeign.boot = "", ""
	rebooted := alive
	rebooted.boot = strings.Repeat("0", bootDigits)
	lockedForeign := foreign
	lockedForeign.pid++

	var gone, kept []string
	var killed, spared []*exec.Cmd
	dir := t.TempDir()
	for _, left := range []struct {
		name   string
		base   string
		owner  identity
		locked bool
		gone   bool
	}{
		{"dead", base, dead, false, true},
		{"recycled pid", base, recycled, false, true},
		{"alive", base, alive, true, false},
		{"another pid namespace", base, foreign, false, true},
		{"another pid namespace, alive", base, lockedForeign, true, false},
		{"former format", base, former, false, true},
		{"former format, another pid namespace", base, formerForeign, false, false},
		{"before the boot", base, rebooted, false, true},
		{"elsewhere in the hierarchy", elsewhere, dead, false, true},
	} {
		group, process := leftover(t, left.base, left.owner)
		scripts := filepath.Join(dir, left.owner.String()+".0")
		if left.base == elsewhere {
			scripts = filepath.Join(dir, left.owner.String()+".1")
		}
		if err := os.MkdirAll(filepath.Join(scripts, "tsk_1-1"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(scripts, groupNote), []byte(group), 0o600); err != nil {
			t.Fatal(err)
		}
		if left.locked {
			lock, err := takeLock(scripts, unix.O_CREAT)
			if err != nil {
				t.Fatal(err)
			}
			defer closeFD(lock)
		}
		if left.gone {
			gone, killed = append(gone, group, scripts), append(killed, process)
		} else {
			kept, spared = append(kept, group, scripts), append(spared, process)
		}
	}
	for _, name := range []string{"slotd-notes", "slotd-1-2-3-backup.0"} {
		other := filepath.Join(dir, name)
		if err := os.Mkdir(other, 0o700); err != nil {
			t.Fatal(err)
		}
		kept = append(kept, other)
	}

	r, err := New(Config{Dir: dir, Tree: TreeCgroup}, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range gone {
		if exists(t, path) {
			t.Errorf("%s is still there", path)
		}
	}
	for _, path := range kept {
		if !exists(t, path) {
			t.Errorf("%s is gone", path)
		}
	}
	for _, process := range killed {
		wantGone(t, process.Process.Pid)
	}
	for _, process := range spared {
		wantAlive(t, process.Process.Pid)
	}
}

func wantAlive(t *testing.T, pid int) {
	t.Helper()
	if s, err := readStat(pid); err != nil || s.dead() {
		t.Errorf("process %d is dead", pid)
	}
}

func TestAZombieDaemonIsDead(t *testing.T) {
	self, err := selfIdentity()
	if err != nil {
		t.Fatal(err)
	}
	daemon := sleeper(t, nil)
	id := identityOf(t, daemon.Process.Pid)
	if id.dead(self) {
		t.Error("a living daemon counts as dead")
	}
	if err := daemon.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_PID, daemon.Process.Pid, &info, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	if !id.dead(self) {
		t.Error("a dead daemon that nobody has reaped counts as living")
	}
}

func TestIdentitiesAreReadBackExactly(t *testing.T) {
	boot := strings.Repeat("0123456789abcdef", 2)
	for _, want := range []identity{
		{pid: 12, start: 34567, space: 4026531836, boot: boot},
		{pid: 12, start: 34567, space: 4026531836},
	} {
		if got, ok := parseIdentity(want.String() + ".0"); !ok || got != want {
			t.Errorf("got %+v, %v, want %+v", got, ok, want)
		}
	}
	for _, name := range []string{
		"", "slotd", "slotd-12-34567-4026531836", "slotd-12-34567.0", "slotd-012-34567-4026531836.0",
		"slotd-12-34567-4026531836x.0", "slotd--12-34567-4026531836.", "xslotd-12-34567-4026531836.0",
		"slotd-12-34567-4026531836-.0", "slotd-12-34567-4026531836-backup.0", "slotd-12-34567-4026531836-" + boot,
		"slotd-12-34567-4026531836-" + boot + "0.0",
	} {
		if id, ok := parseIdentity(name); ok {
			t.Errorf("%q was read as %+v", name, id)
		}
	}
}
