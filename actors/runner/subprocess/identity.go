package subprocess

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// identity names a daemon for good: a pid comes again, a pid with its start time does not until the machine is booted
// anew, and a process of another pid namespace is never mistaken for one of ours.
type identity struct {
	pid   int
	start uint64 // clock ticks since boot
	space uint64 // inode of the pid namespace
	boot  string // boot id without its dashes; empty: not known, as in names of the former format
}

// life names one process of this boot and pid namespace for good.
type life struct {
	pid   int
	start uint64 // clock ticks since boot
}

func selfIdentity() (identity, error) {
	s, err := readStat(os.Getpid())
	if err != nil {
		return identity{}, err
	}
	const namespace = "/proc/self/ns/pid"
	var space unix.Stat_t
	if err := unix.Stat(namespace, &space); err != nil {
		return identity{}, &os.PathError{Op: "stat", Path: namespace, Err: err}
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return identity{}, err
	}
	return identity{
		pid: s.pid, start: s.start, space: space.Ino,
		boot: strings.ReplaceAll(strings.TrimSpace(string(boot)), "-", ""),
	}, nil
}

// String is the name of what belongs to the daemon, in cgroupfs and below its directory.
func (i identity) String() string {
	name := fmt.Sprintf("slotd-%d-%d-%d", i.pid, i.start, i.space)
	if i.boot != "" {
		name += "-" + i.boot
	}
	return name
}

// parseIdentity reads a name that String made, with the number that makeNumbered appended.
func parseIdentity(name string) (identity, bool) {
	var i identity
	base, number, _ := strings.Cut(name, ".")
	if fields := strings.SplitN(base, "-", 5); len(fields) == 5 {
		if i.boot = fields[4]; len(i.boot) != bootDigits || strings.Trim(i.boot, "0123456789abcdef") != "" {
			return identity{}, false
		}
	}
	if _, err := fmt.Sscanf(base, "slotd-%d-%d-%d", &i.pid, &i.start, &i.space); err != nil {
		return identity{}, false
	}
	return i, i.String() == base && number != ""
}

// bootDigits is the length of a boot id without its dashes.
const bootDigits = 32

// sameLives says whether a pid with a start time means the same process for both.
func (i identity) sameLives(other identity) bool {
	return i.space == other.space && (i.boot == other.boot || i.boot == "")
}

// dead says that the daemon certainly lives no more, as far as the process table of this machine tells. What cannot be
// known counts as alive.
func (i identity) dead(self identity) bool {
	if !i.sameLives(self) {
		return false
	}
	fd, err := unix.PidfdOpen(i.pid, 0)
	if err != nil {
		// ENOENT, before Linux 6.15 EINVAL: the number is that of another process's thread by now.
		return errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL)
	}
	defer closeFD(fd)
	s, err := readStat(i.pid)
	return vanished(err) || err == nil && (s.start != i.start || s.dead())
}
