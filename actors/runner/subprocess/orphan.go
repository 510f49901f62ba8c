package subprocess

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// inheritsOrphans says whether the kernel makes orphaned descendants children of this process.
func inheritsOrphans() bool { return os.Getpid() == 1 || isSubreaper() }

func isSubreaper() bool {
	var set int32
	_, _, errno := unix.RawSyscall6(unix.SYS_PRCTL, unix.PR_GET_CHILD_SUBREAPER, uintptr(unsafe.Pointer(&set)), 0, 0, 0, 0)
	return errno == 0 && set != 0
}

func setSubreaper(on bool) error {
	var flag uintptr
	if on {
		flag = 1
	}
	return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, flag, 0, 0, 0)
}

// anyDeadChild says whether some child waits to be reaped. It reaps none: its status may be another attempt's.
func anyDeadChild() bool {
	var info unix.Siginfo
	for {
		err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err == nil && info.Signo != 0
		}
	}
}

// reapOrphan takes an adopted child out of the process table, if it is dead. Its status interests nobody.
func reapOrphan(pid int) { _, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil) }
