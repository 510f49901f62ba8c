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
	const parent, group, session, start = 1, 2, 3, 19 // counted from the state
	if len(fields) <= start {
		return stat{}, fmt.Errorf("stat of process %d has %d fields", pid, len(fields))
	}
	s := stat{pid: pid, state: fields[0][0]}
	for at, field := range map[int]*int{parent: &s.parent, group: &s.group, session: &s.session} {
		n, err := strconv.Atoi(string(fields[at]))
		if err != nil {
			return stat{}, fmt.Errorf("stat of process %d: %w", pid, err)
		}
		*field = n
	}
	var err error
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
