package subprocess

import (
	"errors"
	"syscall"
	"testing"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

// Between the removal of a dead branch and the reap of its leader, the leader is a dead child without a branch, as an
// orphan is. A count for another attempt that comes then must not take its exit status.
func TestACountLeavesTheStatusOfADeadLeaderAlone(t *testing.T) {
	s, err := newScan(t.TempDir(), hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	launch := func(name, script string) (pid int, b tree) {
		t.Helper()
		b, err := s.start(name, func(attr *syscall.SysProcAttr) (int, error) {
			var err error
			pid, err = syscall.ForkExec("/bin/sh", []string{"sh", "-c", script}, &syscall.ProcAttr{Sys: attr})
			return pid, err
		})
		if err != nil {
			t.Fatal(err)
		}
		return pid, b
	}
	other, _ := launch("other-1", "exec sleep 60")
	pid, b := launch("task-1", "exit 5")
	for err = unix.EINTR; errors.Is(err, unix.EINTR); {
		err = unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
	}
	if err != nil || !b.settled() {
		t.Fatalf("the attempt is not settled: %v", err)
	}
	s.do(true, func(*forest) {}) // for the other attempt
	if got := (&leader{pid: pid}).reap(hclog.NewNullLogger()); got.Code != 5 {
		t.Errorf("got %+v, want code 5", got)
	}
	b.release()
	s.do(false, func(f *forest) {
		if len(f.leaving) > 0 {
			t.Errorf("leaders still remembered: %v", f.leaving)
		}
	})
	if err := s.close(); err != nil {
		t.Error(err)
	}
	if got := (&leader{pid: other}).reap(hclog.NewNullLogger()); got.Signal != int(unix.SIGKILL) {
		t.Errorf("the other ended with %+v", got)
	}
}
