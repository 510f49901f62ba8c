package e2e

import (
	"context"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// A daemon that was killed leaves processes behind. The next one on the same data directory ends them before it is
// ready, and nothing that is not theirs.
func TestLeftoversOfAKilledDaemonAreSwept(t *testing.T) {
	t.Parallel()
	mark, strange := marker(t), marker(t)
	bystander := exec.CommandContext(context.WithoutCancel(t.Context()), "bash", "-c", "while :; do sleep 0.1; done", strange)
	if err := bystander.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bystander.Process.Kill(); err != nil {
			t.Errorf("the bystander was killed: %v", err)
		}
		if err := bystander.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Errorf("the bystander ended: %v", err)
		}
	})
	neighbour := serve(t)
	kept := neighbour.submit(shell("kept", "echo ready; sleep 100000"))
	neighbour.running(kept)

	var first *daemon
	var id string
	cgroup := neighbour.introspect().Runners[0].Tree == "cgroup"
	for attempts := 1; ; attempts++ {
		first = serve(t)
		id = first.submit(shell("lane", wild+"while :; do sleep 0.1; done", mark))
		first.open(id, "tail=all").line("wild")
		awaitWild(t, mark)
		if code := first.stop(syscall.SIGKILL); code != -1 {
			t.Fatalf("the daemon ended with %d", code)
		}
		if !cgroup || len(marked(t, mark)) == wildProcesses {
			break
		}
		// Any daemon that starts on this machine at that moment, of another test, ends what a dead one has left.
		if attempts == 10 {
			t.Fatalf("of the tree %v are alive after the kill, so there is nothing to sweep", marked(t, mark))
		}
		eventually(t, "the rest of the tree is dead", func() bool { return len(marked(t, mark)) == 0 })
	}

	second := launch{data: first.data}.serve(t)
	if cgroup {
		mustBeDead(t, "when the next daemon is ready", mark)
	}
	if isDead(bystander.Process.Pid) {
		t.Error("the next daemon has killed a process of somebody else")
	}
	if got := neighbour.task(kept).phase(); got != "RUNNING" {
		t.Errorf("the task of another daemon is %s", got)
	}
	if got := second.end(second.submit(shell("lane", "exit 0"))).ended(); got != "SUCCEEDED Completed" {
		t.Errorf("after the crash a task ended %s", got)
	}
	if got := second.end(id).ended(); got != "FAILED NodeLost" {
		t.Errorf("the task of the killed daemon ended %s", got)
	}
	second.open(id, "tail=all&follow=false").line("wild")
	second.remove(id)
	if left := files(t, first.data, id); len(left) > 0 {
		t.Errorf("of a task that was deleted: %v", left)
	}
}

// Two daemons never share a data directory, not for a moment.
func TestDataDirectoryHasOneOwner(t *testing.T) {
	t.Parallel()
	d := serve(t)
	second, ready := launch{data: d.data}.start(t)
	if ready || second.code != 1 || !strings.Contains(second.log.String(), "used by another slotd") {
		t.Errorf("a second daemon: ready %v, exit code %d, says %s", ready, second.code, second.log)
	}
	if got := d.end(d.submit(command("lane", "true"))).ended(); got != "SUCCEEDED Completed" {
		t.Errorf("a task ended %s", got)
	}
}
