package subprocess

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ownGroup returns the directory of the control group (version 2) in which this process lives.
func ownGroup() (string, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	position, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	dir, err := locateGroup(string(mounts), string(position))
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err != nil {
		return "", err
	}
	return dir, nil
}

// locateGroup finds the position, as /proc/self/cgroup tells it, below one of the mounts, as /proc/self/mountinfo lists
// them: of pure cgroup2 hosts, of hybrid ones (where version 2 is mounted beside the controllers of version 1), and of
// containers that see only a part of the hierarchy.
func locateGroup(mounts, position string) (string, error) {
	var own string
	for line := range strings.Lines(position) {
		if path, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::"); ok {
			own = path
		}
	}
	if own == "" {
		return "", errors.New("this process has no place in a cgroup2 hierarchy")
	}
	for line := range strings.Lines(mounts) {
		// id parent major:minor root mountpoint options [tags…] - type source super
		mount, filesystem, _ := strings.Cut(line, " - ")
		fields := strings.Fields(mount)
		if !strings.HasPrefix(filesystem, "cgroup2 ") || len(fields) < 6 {
			continue
		}
		if below, err := filepath.Rel(unescape(fields[3]), own); err == nil && filepath.IsLocal(below) {
			return filepath.Join(unescape(fields[4]), below), nil
		}
	}
	return "", fmt.Errorf("no cgroup2 mount shows %s", own)
}

// unescape undoes the octal escapes that the kernel uses for blanks in mountinfo.
func unescape(s string) string {
	for from := 0; ; {
		at := strings.IndexByte(s[from:], '\\')
		if at < 0 || from+at+4 > len(s) {
			return s
		}
		at += from
		if c, err := strconv.ParseUint(s[at+1:at+4], 8, 8); err == nil {
			s = s[:at] + string([]byte{byte(c)}) + s[at+4:]
		}
		from = at + 1
	}
}
