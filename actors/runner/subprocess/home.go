package subprocess

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// home is the directory of one daemon, named after its identity. It holds a note of where the daemon's control group is,
// a journal of its attempts, and the scripts of those that have one.
//
// The daemon keeps it locked. The lock ends with the daemon, but a child that it forked and that has not executed
// anything yet shares it: while such a child lives, nothing tells it from the daemon, and what it will be is not to be
// seen. So a home can be judged once its lock is free.
type home struct {
	dir  string
	lock int
}

// What a home holds, beside one directory per script.
const (
	lockFile   = "lock"
	groupNote  = "cgroup"  // the path of the control group
	journalDir = "journal" // one file per attempt; see journal
)

// makeHome makes a home for this process below dir, which it makes when it is missing.
func makeHome(dir string, self identity) (home, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return home{}, err
	}
	var h home
	err := numbered(filepath.Join(dir, self.String()), func(path string) error {
		h.dir = path
		return os.Mkdir(path, 0o700)
	})
	if err != nil {
		return home{}, err
	}
	if h.lock, err = takeLock(h.dir, unix.O_CREAT); err != nil {
		return home{}, errors.Join(err, os.RemoveAll(h.dir))
	}
	return h, nil
}

// remove takes the home away with everything in it.
func (h home) remove() error {
	err := os.RemoveAll(h.dir)
	closeFD(h.lock) // last: a home without a lock is a dead daemon's
	return err
}

// takeLock locks a home, or fails with EWOULDBLOCK when somebody else has. Its daemon makes the file with O_CREAT.
func takeLock(home string, flags int) (fd int, err error) {
	path := filepath.Join(home, lockFile)
	if fd, err = unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|flags, 0o600); err != nil {
		return -1, &os.PathError{Op: "open", Path: path, Err: err}
	}
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		closeFD(fd)
		return -1, &os.PathError{Op: "lock", Path: path, Err: err}
	}
	return fd, nil
}

// takeOver locks the home of another daemon. One that died while it made or removed its home may have left no lock: then
// fd is -1.
func takeOver(home string) (fd int, err error) {
	fd, err = takeLock(home, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return -1, nil
	}
	return fd, err
}

// awaitLock locks the home of a dead daemon, once no child of it is on its way from fork to exec any more.
func awaitLock(home string, deadline time.Time) (fd int, err error) {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		if fd, err = takeOver(home); !errors.Is(err, unix.EWOULDBLOCK) {
			return fd, err
		}
		if time.Now().After(deadline) {
			return -1, fmt.Errorf("a process that an earlier daemon forked is stuck before exec: %w", err)
		}
		time.Sleep(pause)
	}
}

// numbered calls take with path.0, then with the next numbers, until that does not exist already.
func numbered(path string, take func(path string) error) error {
	for n := 0; ; n++ {
		if err := take(fmt.Sprintf("%s.%d", path, n)); !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
}
