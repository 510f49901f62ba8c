package subprocess

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// signalAll sends sigs to every process that members lists, and to those that appear meanwhile; a process gets each
// signal once. members is asked again between the opening of a handle and its use: a process that is listed after it was
// opened is the one the handle means (or that one is dead, and the signal goes nowhere), so no recycled pid is hit.
func signalAll(members func() []int, sigs ...unix.Signal) {
	told := make(map[int]bool)
	for range signalRounds {
		handles := make(map[int]int)
		for _, pid := range members() {
			if told[pid] {
				continue
			}
			if fd, err := unix.PidfdOpen(pid, 0); err == nil {
				handles[pid] = fd
			}
		}
		if len(handles) == 0 {
			return
		}
		for _, pid := range members() {
			if fd, ours := handles[pid]; ours {
				for _, sig := range sigs {
					_ = unix.PidfdSendSignal(fd, sig, nil, 0) // it may have died, or become another user's
				}
				told[pid] = true
			}
		}
		for _, fd := range handles {
			closeFD(fd)
		}
	}
}

// signalRounds bounds the chase after processes that fork as fast as they are signalled.
const signalRounds = 16

// stopSignals ask a process to end. One that is suspended would not hear the first without the second.
var stopSignals = []unix.Signal{unix.SIGTERM, unix.SIGCONT}

// probePidfd says whether the kernel knows process handles, and how to wait for them.
func probePidfd() error {
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return fmt.Errorf("pidfd_open: %w", err)
	}
	defer closeFD(fd)
	if err := unix.PidfdSendSignal(fd, 0, nil, 0); err != nil {
		return fmt.Errorf("pidfd_send_signal: %w", err)
	}
	// This process is not its own child: a kernel that knows P_PIDFD says ECHILD.
	if err := unix.Waitid(unix.P_PIDFD, fd, nil, unix.WEXITED|unix.WNOHANG, nil); !errors.Is(err, unix.ECHILD) {
		return fmt.Errorf("waitid on a process handle: %w", err)
	}
	return nil
}
