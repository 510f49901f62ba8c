package subprocess

import (
	"errors"
	"os"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"slotd/actors/runner"
)

// leader is the process that an attempt began with. Until reap it stays, if need be as a zombie: so its pid, which is
// also its session and its process group, names nobody else while the tree is searched.
type leader struct {
	pid int
	fd  int // pidfd
}

// await returns once the leader is dead. It parks the goroutine in the poller, where os.Process would hold a thread.
func (l *leader) await() {
	dead := func(fd uintptr) bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return n == 1 && err == nil
	}
	if unix.SetNonblock(l.fd, true) == nil { // what makes os.NewFile use the poller
		handle := os.NewFile(uintptr(l.fd), "pidfd")
		conn, err := handle.SyscallConn()
		if err == nil {
			err = conn.Read(dead)
		}
		if err == nil {
			_ = handle.Close() // closes the pidfd, which has nothing to lose
			return
		}
	}
	// The poller is full (max_user_watches): a thread it is.
	for !dead(uintptr(l.fd)) {
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(l.fd), Events: unix.POLLIN}}, -1)
	}
	closeFD(l.fd)
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
