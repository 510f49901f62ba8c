package faults

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"slotd/test/faults/mark"
)

// family are the living processes that belong to tasks of this world: by their environment, or by what their arguments
// tell of the directory of marks. The daemon itself has neither.
func (w *world) family() []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		w.history.Report("", "%v", err)
	}
	node, dir := []byte("SLOTD_NODE="+w.node), []byte(w.dir)
	var pids []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		// Who is gone meanwhile has neither.
		environ, _ := os.ReadFile(filepath.Join("/proc", entry.Name(), "environ"))
		args, _ := os.ReadFile(filepath.Join("/proc", entry.Name(), "cmdline"))
		ours := hasField(environ, node) || hasField(args, dir)
		if born, err := mark.Born(pid); ours && err == nil && mark.Alive(pid, born) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func hasField(text, want []byte) bool {
	for field := range bytes.SplitSeq(text, []byte{0}) {
		if bytes.Equal(field, want) {
			return true
		}
	}
	return false
}

// killAll ends what is left of this world.
func (w *world) killAll() {
	for _, pid := range w.family() {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
			w.t.Errorf("kill %d: %v", pid, err)
		}
	}
}

// describe is what a process is, for a message.
func describe(pids []int) string {
	var text string
	for _, pid := range pids {
		args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		text += fmt.Sprintf("\n%d: %s", pid, bytes.ReplaceAll(args, []byte{0}, []byte(" ")))
	}
	return text
}
