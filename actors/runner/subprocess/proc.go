package subprocess

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// stat is what /proc/<pid>/stat says of a process that interests us.
type stat struct {
	pid     int
	state   byte
	parent  int
	group   int
	session int
	tty     int    // device number of the controlling terminal, or 0
	start   uint64 // clock ticks since boot; with the pid it names a process for good
}

// dead says that nothing of the process runs any more, whether or not somebody has reaped it.
func (s stat) dead() bool { return s.state == 'Z' || s.state == 'X' || s.state == 'x' }

func readStat(pid int) (stat, error) {
	var buf [1024]byte
	text, err := readInto(buf[:], "/proc/"+strconv.Itoa(pid)+"/stat")
	if err != nil {
		return stat{}, err
	}
	return parseStat(pid, text)
}

// parseStat reads the fields after the command name, which may itself contain blanks and parentheses (proc(5)).
func parseStat(pid int, text []byte) (stat, error) {
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	const start = 19 // counted from the state, like the others
	if len(fields) <= start {
		return stat{}, fmt.Errorf("stat of process %d has %d fields", pid, len(fields))
	}
	s := stat{pid: pid, state: fields[0][0]}
	var err error
	for i, field := range []*int{&s.parent, &s.group, &s.session, &s.tty} {
		if *field, err = strconv.Atoi(string(fields[i+1])); err != nil {
			return stat{}, fmt.Errorf("stat of process %d: %w", pid, err)
		}
	}
	if s.start, err = strconv.ParseUint(string(fields[start]), 10, 64); err != nil {
		return stat{}, fmt.Errorf("stat of process %d: %w", pid, err)
	}
	return s, nil
}

// readInto reads a small file of /proc or cgroupfs in three system calls; what does not fit is cut off.
func readInto(buf []byte, path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer closeFD(fd)
	n, err := unix.Read(fd, buf)
	if err != nil {
		return nil, &os.PathError{Op: "read", Path: path, Err: err}
	}
	return buf[:n], nil
}

// life names the process for good.
func (s stat) life() life { return life{s.pid, s.start} }

// describe tells a person about a process of an attempt.
func (s stat) describe(attempt string) string {
	name, err := os.ReadFile("/proc/" + strconv.Itoa(s.pid) + "/comm")
	if err != nil {
		name = []byte("?")
	}
	return fmt.Sprintf("process %d (%s, state %c) of attempt %s", s.pid, bytes.TrimSpace(name), s.state, attempt)
}

// readTable reads the stat of every process.
func readTable() (map[int]stat, error) {
	all, err := pids()
	if err != nil {
		return nil, err
	}
	table := make(map[int]stat, len(all))
	for _, pid := range all {
		s, err := readStat(pid)
		switch {
		case err == nil:
			table[pid] = s
		case !vanished(err):
			return nil, err
		}
	}
	return table, nil
}

// pids lists every process of this pid namespace.
func pids() ([]int, error) {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer proc.Close() //nolint:errcheck // only read
	names, err := proc.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var all []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			all = append(all, pid)
		}
	}
	return all, nil
}
