package subprocess

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// group is one control group with everything in and below it.
type group struct {
	dir    string
	killer bool        // cgroup.kill exists (Linux 5.14)
	dying  atomic.Bool // kill was called
}

func openGroup(dir string) *group {
	_, err := os.Stat(filepath.Join(dir, "cgroup.kill"))
	return &group{dir: dir, killer: err == nil}
}

func (g *group) terminate() error { return signalAll(g.members, stopSignals...) }

func (g *group) kill() error {
	g.dying.Store(true)
	return g.strike()
}

// strike kills what is in the group now. With cgroup.kill that is complete; without it, await repeats the blow.
func (g *group) strike() error {
	if g.killer {
		err := writeTo(filepath.Join(g.dir, "cgroup.kill"), "1")
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	return signalAll(g.members, unix.SIGKILL)
}

// await returns once no live process is in the group, or with an error: when it cannot watch, or after the deadline (zero:
// none). It sleeps until the kernel says that the group has emptied.
func (g *group) await(deadline time.Time) error {
	path := filepath.Join(g.dir, "cgroup.events")
	events, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer events.Close() //nolint:errcheck // only read
	conn, err := events.SyscallConn()
	if err != nil {
		return err
	}
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		empty := false
		check := func(fd uintptr) bool {
			empty = !populated(int(fd))
			return empty
		}
		if err := events.SetReadDeadline(g.nextLook(time.Now(), pause, deadline)); err != nil {
			return fmt.Errorf("watch %s: %w", path, err)
		}
		if err := conn.Read(check); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("watch %s: %w", path, err)
		}
		if empty {
			return nil
		}
		if !deadline.IsZero() && time.Now().After(deadline) {
			return fmt.Errorf("in %s survive SIGKILL: %s", g.dir, strings.Join(g.survivors(), ", "))
		}
		if g.dying.Load() {
			_ = g.strike() // what it missed, the next one meets
		}
	}
}

// Pauses between two looks at a group that must be struck again and again, and at one that need not be.
const (
	firstPause = time.Millisecond
	lastPause  = 50 * time.Millisecond
	idlePause  = time.Second
)

// nextLook is when to look again though the kernel is silent.
func (g *group) nextLook(now time.Time, pause time.Duration, deadline time.Time) time.Time {
	next := now.Add(pause)
	if g.killer {
		next = now.Add(idlePause)
	}
	if !deadline.IsZero() && deadline.Before(next) {
		return deadline
	}
	return next
}

// populated reads an open cgroup.events; reading it also arms the next notification.
func populated(events int) bool {
	var buf [256]byte
	n, err := unix.Pread(events, buf[:], 0)
	return err == nil && bytes.Contains(buf[:n], []byte("populated 1"))
}

// remove takes the group and those below it out of the hierarchy. Its processes are dead, but on their way out the
// kernel may still count them for a moment. It takes a descriptor only when there are groups below.
func (g *group) remove() error {
	for pause := firstPause; ; pause *= 2 {
		err := unix.Rmdir(g.dir)
		if err == nil || errors.Is(err, unix.ENOENT) {
			return nil
		}
		below, listErr := subgroups(g.dir)
		for _, dir := range below {
			_ = unix.Rmdir(dir) // what fails here makes the next removal fail too
		}
		if pause > removeLimit {
			return errors.Join(&os.PathError{Op: "rmdir", Path: g.dir, Err: err}, listErr)
		}
		if len(below) == 0 || pause > firstPause {
			time.Sleep(pause)
		}
	}
}

// clear kills everything in the group and removes it.
func (g *group) clear() error {
	if err := g.kill(); err != nil {
		return err
	}
	if err := g.await(time.Now().Add(clearLimit)); err != nil {
		return err
	}
	return g.remove()
}

const (
	removeLimit = time.Second
	clearLimit  = 10 * time.Second
)

// members lists the live processes in and below the group. A group that is gone has none.
func (g *group) members() ([]int, error) {
	below, err := subgroups(g.dir)
	if err != nil {
		return nil, err
	}
	var all []int
	for _, dir := range append(below, g.dir) {
		text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		switch {
		case vanished(err), errors.Is(err, unix.EOPNOTSUPP): // of a threaded group, listed above it
			continue
		case err != nil:
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			// 0 is a process that this pid namespace cannot name.
			if pid, err := strconv.Atoi(strings.TrimSpace(line)); err == nil && pid > 0 {
				all = append(all, pid)
			}
		}
	}
	return all, nil
}

// survivors describes the processes in the group. The groups below it are those of attempts.
func (g *group) survivors() []string {
	leaves, err := os.ReadDir(g.dir)
	if err != nil {
		return []string{err.Error()}
	}
	var all []string
	for _, e := range leaves {
		if !e.IsDir() {
			continue
		}
		leaf := group{dir: filepath.Join(g.dir, e.Name())}
		pids, err := leaf.members()
		if err != nil {
			all = append(all, err.Error())
		}
		for _, pid := range pids {
			if s, err := readStat(pid); err == nil {
				all = append(all, s.describe(e.Name()))
			}
		}
	}
	return all
}

// subgroups lists the groups below dir, deepest first.
func subgroups(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if vanished(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []string
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		path := filepath.Join(dir, e.Name())
		below, err := subgroups(path)
		if err != nil {
			return nil, err
		}
		all = append(append(all, below...), path)
	}
	return all, nil
}

// vanished says that a group, or a process, has gone while it was looked at.
func vanished(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ESRCH)
}

// writeTo writes a control file, which must exist.
func writeTo(path, value string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}
