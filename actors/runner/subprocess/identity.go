package subprocess

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// identity names a daemon for good: a pid comes again, a pid with its start time does not, and a process of another pid
// namespace is never mistaken for one of ours.
type identity struct {
	pid   int
	start uint64 // clock ticks since boot
	space uint64 // inode of the pid namespace
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
	return identity{pid: s.pid, start: s.start, space: space.Ino}, nil
}

// String is the name of what belongs to the daemon, in cgroupfs and below its directory.
func (i identity) String() string { return fmt.Sprintf("slotd-%d-%d-%d", i.pid, i.start, i.space) }

// parseIdentity reads a name that String made, with the number that makeNumbered appended.
func parseIdentity(name string) (identity, bool) {
	var i identity
	base, number, _ := strings.Cut(name, ".")
	if _, err := fmt.Sscanf(base, "slotd-%d-%d-%d", &i.pid, &i.start, &i.space); err != nil {
		return identity{}, false
	}
	return i, i.String() == base && number != ""
}

// dead says that the daemon certainly lives no more. What cannot be known counts as alive.
func (i identity) dead(self identity) bool {
	if i.space != self.space {
		return false
	}
	fd, err := unix.PidfdOpen(i.pid, 0)
	if err != nil {
		return errors.Is(err, unix.ESRCH)
	}
	defer closeFD(fd)
	s, err := readStat(i.pid)
	return err == nil && (s.start != i.start || s.dead())
}
