package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

var markers atomic.Int64

// marker returns a word that no other process of this machine has in its arguments. What still has it after the test
// is killed, so that a failure leaves nothing behind.
func marker(t testing.TB) string {
	t.Helper()
	word := fmt.Sprintf("e2e-mark-%d-%d", os.Getpid(), markers.Add(1))
	t.Cleanup(func() {
		for _, pid := range marked(t, word) {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				t.Errorf("kill %d: %v", pid, err)
			}
		}
	})
	return word
}

// marked are the living processes with the word among their arguments, but for the binary's own. A zombie is dead.
func marked(t testing.TB, word string) []int {
	t.Helper()
	return living(t, "cmdline", func(args [][]byte) bool {
		for _, arg := range args {
			if string(arg) == word {
				return true
			}
		}
		return false
	})
}

// ofNode are the living processes that the node of that name started.
func ofNode(t testing.TB, node string) []int {
	t.Helper()
	want := []byte("SLOTD_NODE=" + node)
	return living(t, "environ", func(env [][]byte) bool {
		for _, pair := range env {
			if bytes.Equal(pair, want) {
				return true
			}
		}
		return false
	})
}

func living(t testing.TB, file string, matches func(fields [][]byte) bool) []int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		dir := filepath.Join("/proc", entry.Name())
		data, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil || !matches(bytes.Split(data, []byte{0})) {
			continue // gone, or another user's
		}
		if exe, err := os.Readlink(filepath.Join(dir, "exe")); err == nil && exe == slotd {
			continue
		}
		if !isDead(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// isDead says whether the process is gone or a zombie.
func isDead(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, rest, ok := strings.Cut(string(stat[max(0, bytes.LastIndexByte(stat, ')')):]), " ")
	return !ok || rest[0] == 'Z' || rest[0] == 'X'
}

// statusKiB reads a size from /proc/<pid>/status, such as VmHWM, the most memory that was ever resident.
func statusKiB(t testing.TB, pid int, name string) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			n, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("status of %d has no %s", pid, name)
	return 0
}

// countFDs is how many descriptors the process has open.
func countFDs(t testing.TB, pid int) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
