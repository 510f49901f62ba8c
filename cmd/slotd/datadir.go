package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// dataDir is a data directory that belongs to this process alone until it is closed.
type dataDir struct {
	path string
	lock *os.File
	wide bool // others than the owner may enter it
}

// lockFile holds the pid of the daemon that uses the directory. The lock is on the open file: it ends with the process.
const lockFile = "slotd.lock"

// inUseError says that a daemon has the directory.
type inUseError struct {
	path string
	pid  string // with a blank before it; empty when it is not known
}

func (e *inUseError) Error() string {
	return fmt.Sprintf("data directory %s is used by another slotd%s; --data tells another one", e.path, e.pid)
}

// openDataDir makes the directory, with mode 0700, when it is missing, and takes it for this process. The mode of one
// that exists is left alone.
func openDataDir(path string) (*dataDir, error) {
	if err := makeDir(path); err != nil {
		return nil, fmt.Errorf("data directory: %w; --data tells another one", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(path, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data directory is not writable: %w; --data tells another one", err)
	}
	if err := takeLock(lock); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = &inUseError{path: path, pid: pidIn(lock)}
		} else {
			err = fmt.Errorf("lock data directory %s: %w", path, err)
		}
		return nil, errors.Join(err, lock.Close())
	}
	d := &dataDir{path: path, lock: lock, wide: info.Mode().Perm()&0o077 != 0}
	if err := d.sign(); err != nil {
		return nil, errors.Join(fmt.Errorf("data directory is not writable: %w", err), lock.Close())
	}
	return d, nil
}

// lockPatience is how long a directory may stay locked whose daemon is dead: a child of it that was about to become
// another program may hold the lock for a moment longer.
const (
	lockPatience = 2 * time.Second
	lockPause    = 20 * time.Millisecond
)

func takeLock(lock *os.File) error {
	for late := time.Now().Add(lockPatience); ; time.Sleep(lockPause) {
		err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) || time.Now().After(late) || alive(pidOf(lock)) {
			return err
		}
	}
}

// alive says whether there is a process, or nobody knows.
func alive(pid int) bool { return pid <= 0 || !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

// makeDir makes a directory with all above it, and sees to it that a power cut does not take it away again.
func makeDir(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := makeDir(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	dir, err := os.Open(parent)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func (d *dataDir) sign() error {
	if err := d.lock.Truncate(0); err != nil {
		return err
	}
	_, err := d.lock.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	return err
}

func pidIn(lock io.ReaderAt) string {
	if pid := pidOf(lock); pid > 0 {
		return fmt.Sprintf(" (pid %d)", pid)
	}
	return ""
}

// pidOf is who has locked the directory; 0 when that is not known.
func pidOf(lock io.ReaderAt) int {
	text, err := io.ReadAll(io.NewSectionReader(lock, 0, 32))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	return pid
}

// close gives the directory up.
func (d *dataDir) close() error { return d.lock.Close() }
