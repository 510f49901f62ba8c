package subprocess

import (
	"errors"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"slotd/actors/runner"
)

// leader is the process that an attempt began with. Until reap it stays, if need be as a zombie: so its pid, which is
// also its process group, names nobody else while the tree is searched.
type leader struct {
	pid    int
	fd     int      // pidfd, filled in by the fork
	handle *os.File // owns fd from adopt to the end of await
}

// adopt puts the pidfd into the poller, so that waiting parks a goroutine where os.Process would hold a thread.
func (l *leader) adopt(log hclog.Logger) {
	if err := unix.SetNonblock(l.fd, true); err != nil { // what makes os.NewFile use the poller
		log.Warn("waiting for a process takes a thread", "error", err)
	}
	l.handle = os.NewFile(uintptr(l.fd), "pidfd")
}

// await returns true once the leader is dead, or false when nudge asked for attention, or for want of a poller now and
// then.
func (l *leader) await() bool {
	conn, err := l.handle.SyscallConn()
	if err == nil {
		err = conn.Read(func(fd uintptr) bool { return ended(int(fd), 0) })
	}
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && !ended(l.fd, time.Second) {
		return false
	}
	if !ended(l.fd, 0) {
		return false
	}
	_ = l.handle.Close() // a pidfd has nothing to lose
	return true
}

// nudge makes await return at that time, at once if it has passed.
func (l *leader) nudge(at time.Time) {
	_ = l.handle.SetReadDeadline(at) // without a poller await comes back by itself, and after the end nobody waits
}

// signal sends sigs to the leader, wherever it is. After its end that does nothing.
func (l *leader) signal(sigs ...unix.Signal) {
	conn, err := l.handle.SyscallConn()
	if err != nil {
		return // await has closed the handle: it is dead
	}
	_ = conn.Control(func(fd uintptr) {
		for _, sig := range sigs {
			_ = unix.PidfdSendSignal(int(fd), sig, nil, 0) // it may have died, or become another user's
		}
	})
}

// ended asks a pidfd whether its process is dead, for at most so long.
func ended(pidfd int, patience time.Duration) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, int(patience.Milliseconds()))
	return n == 1 && err == nil
}

// reap takes the exit status of the dead leader.
func (l *leader) reap(log hclog.Logger) runner.Exit {
	var status unix.WaitStatus
	var err error
	for {
		if _, err = unix.Wait4(l.pid, &status, 0, nil); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	switch {
	case err != nil:
		log.Error("exit status was taken by somebody else", "pid", l.pid, "error", err)
		return runner.Exit{Code: codeLost}
	case status.Signaled():
		return runner.Exit{Signal: int(status.Signal())}
	default:
		return runner.Exit{Code: status.ExitStatus()}
	}
}

// codeLost stands for an exit status that could not be learned: it must not look like success.
const codeLost = 255
