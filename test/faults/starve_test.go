package faults

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slotd/messages"
	soltiv1 "slotd/messages/solti/v1"
	"slotd/test/need"
)

// Where no process can be started, attempts fail with the reason RunnerUnavailable and are repeated by their policy; the
// daemon serves on, and when there is room for processes again, they run.
func TestNoProcessesFailAttemptsNotTheDaemon(t *testing.T) {
	t.Parallel()
	const room = "/sys/fs/cgroup/pids"
	_, err := os.Stat(filepath.Join(room, "cgroup.procs"))
	need.That(t, err == nil && os.Geteuid() == 0, "the pids controller of the first version of control groups, and root")
	group := filepath.Join(room, fmt.Sprintf("slotd-faults-%d-%d", os.Getpid(), seed))
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		eventually(t, "the group is empty", func() bool { err := os.Remove(group); return err == nil || errors.Is(err, fs.ErrNotExist) })
	})
	w := newWorld(t, must(t, plainSlotd), seed)
	w.history.Excuse(string(messages.ReasonRunnerUnavailable))
	l := w.start(plan{calm: true})
	l.await(t)
	write(t, filepath.Join(group, "cgroup.procs"), strconv.Itoa(l.process.Pid))
	warm := w.load(4, 1) // its threads are there before there is no room for any
	w.open(l)
	pass(time.Second)
	warm.end()
	w.open(nil)

	// What is let in is not enough for one process with the threads that a puppet has.
	write(t, filepath.Join(group, "pids.max"), "1")
	w.history.Note("", "no process can be started")
	once := w.submit(l, spec("once", "once", w.command(role{})))
	if s := w.ended(l, once).GetStatus(); s.GetReason() != string(messages.ReasonRunnerUnavailable) || s.GetPhase() != soltiv1.TaskStatus_TASK_STATUS_FAILED {
		t.Errorf("a task that is never repeated: %v, want RunnerUnavailable", s)
	}
	again := spec("again", "again", w.command(role{run: 10 * time.Millisecond, lines: 3}))
	again.Restart, again.Backoff = onFailure, backoffOf(50*time.Millisecond)
	id := w.submit(l, again)
	eventually(t, "it was tried again", func() bool { return w.get(l, id).GetStatus().GetAttempt() >= 3 })
	if status, body := w.readyz(l); status != http.StatusOK {
		t.Errorf("the daemon is not ready: %d %s", status, body)
	}
	write(t, filepath.Join(group, "pids.max"), "max")
	w.history.Note("", "processes can be started again")
	if s := w.ended(l, id).GetStatus(); s.GetReason() != string(messages.ReasonCompleted) {
		t.Errorf("a task that is repeated: %v, want it to have run", s)
	}
	w.rest(l)
}

// A daemon that may open nothing more answers nobody new and starts nothing, and goes on where it was when it may again.
func TestNoDescriptorsHeal(t *testing.T) {
	t.Parallel()
	w := newWorld(t, must(t, racedSlotd), seed)
	w.history.Excuse(string(messages.ReasonRunnerUnavailable))
	l := w.start(plan{calm: true})
	l.await(t)
	load := w.load(4, 2)
	w.open(l)
	running := w.submit(l, spec("running", load.label(), w.command(role{run: 3 * time.Second, lines: 20})))
	eventually(t, "it runs", func() bool { return w.begun(running, 1) })
	l.unwell.Store(true)
	for range 3 {
		old := limitFiles(t, l.process.Pid, uint64(8+w.rand.IntN(30)))
		w.history.Note("", "it may open nothing more")
		pass(700 * time.Millisecond)
		limitFiles(t, l.process.Pid, old)
		w.history.Note("", "it may open files again")
		eventually(t, "it is ready", func() bool { status, _ := w.readyz(l); return status == http.StatusOK })
		pass(300 * time.Millisecond)
	}
	load.end()
	if s := w.ended(l, running).GetStatus(); s.GetReason() != string(messages.ReasonCompleted) {
		t.Errorf("the attempt that ran meanwhile: %v", s)
	}
	if !w.broken() {
		w.rest(l)
	}
}

// limitFiles sets the number from which on the process gets no descriptor, and returns what it was.
func limitFiles(t *testing.T, pid int, to uint64) (old uint64) {
	t.Helper()
	var before unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &before); err != nil {
		t.Fatal(err)
	}
	after := unix.Rlimit{Cur: to, Max: before.Max}
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &after, nil); err != nil {
		t.Fatal(err)
	}
	return before.Cur
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
