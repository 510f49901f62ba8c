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
//
// An error says that somebody may not have been reached, for want of descriptors or memory.
func signalAll(members func() ([]int, error), sigs ...unix.Signal) error {
	told := make(map[int]bool)
	for range signalRounds {
		fresh, err := signalFresh(members, told, sigs)
		if err != nil || !fresh {
			return err
		}
	}
	return nil
}

// signalFresh is one round: it signals the members that were not told before, and says whether there were any.
func signalFresh(members func() ([]int, error), told map[int]bool, sigs []unix.Signal) (fresh bool, err error) {
	handles := make(map[int]int)
	defer func() {
		for _, fd := range handles {
			closeFD(fd)
		}
	}()
	listed, err := members()
	if err != nil {
		return false, err
	}
	var missed error
	for _, pid := range listed {
		if told[pid] {
			continue
		}
		fd, err := unix.PidfdOpen(pid, 0)
		switch {
		case err == nil:
			handles[pid] = fd
		case !errors.Is(err, unix.ESRCH):
			missed = fmt.Errorf("pidfd_open: %w", err)
		}
	}
	if len(handles) == 0 {
		return false, missed
	}
	if listed, err = members(); err != nil {
		return false, err
	}
	for _, pid := range listed {
		if fd, ours := handles[pid]; ours {
			for _, sig := range sigs {
				_ = unix.PidfdSendSignal(fd, sig, nil, 0) // it may have died, or become another user's
			}
			told[pid] = true
		}
	}
	return true, missed
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
