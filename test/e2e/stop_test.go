package e2e

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestIdleDaemonStopsAtOnce(t *testing.T) {
	t.Parallel()
	d := serve(t)
	d.end(d.submit(command("lane", "true")))
	begun := time.Now()
	if code := d.stop(syscall.SIGTERM); code != 0 || time.Since(begun) > 5*time.Second {
		t.Errorf("the stop took %v and ended with %d", time.Since(begun), code)
	}
}

// A stopping daemon asks, waits no longer than its grace, kills, and tells meanwhile what it waits for. Nothing new is
// admitted; reads, cancels and streams still work. What is queued, and what is repeated, goes on in the next life.
func TestGracefulStop(t *testing.T) {
	t.Parallel()
	d := serve(t, "--shutdown-grace", "6s")
	mark := marker(t)
	id := d.submit(shell("deaf", wild+`trap "echo asked" TERM; while :; do sleep 0.05; done`, mark).with("stopGraceMs", 3_600_000))
	polite := d.submit(shell("polite", `trap "echo tidied; exit 0" TERM; echo ready; while :; do sleep 0.05; done`))
	queued := d.submit(shell("deaf", "echo at last").with("admission", queue))
	again := d.submit(shell("again", `echo attempt $SLOTD_ATTEMPT; [ $SLOTD_ATTEMPT = 2 ] || sleep 100000`).with("restart", "RESTART_STRATEGY_ON_FAILURE").with("maxRetries", 0))
	d.open(again, "tail=all").line("attempt 1")
	canceled := d.submit(shell("canceled", `trap "" TERM; echo ready; while :; do sleep 0.05; done`))
	follower := d.open(id, "tail=all")
	follower.line("wild")
	d.open(polite, "tail=all").line("ready")
	d.open(canceled, "tail=all").line("ready")
	waited := make(chan answer, 1)
	go func() {
		a, err := d.try(http.MethodGet, "/api/v1/tasks/"+queued+"?wait=5m", "")
		if err != nil {
			t.Errorf("wait: %v", err)
		}
		waited <- a
	}()

	begun := time.Now()
	d.signal(syscall.SIGTERM)
	follower.line("asked")
	a := d.post(command("new", "true"))
	if a.status != http.StatusServiceUnavailable || a.label() != "Unavailable" || a.header.Get("Retry-After") == "" {
		t.Errorf("a submission: %v, want 503", a)
	}
	if a := d.get("/readyz"); a.status != http.StatusServiceUnavailable {
		t.Errorf("readyz: %v, want 503", a)
	}
	if a := d.get("/healthz"); a.status != http.StatusOK {
		t.Errorf("healthz: %v", a)
	}
	d.do(http.MethodPost, "/api/v1/tasks/"+canceled+"/cancel?grace=0s", "")
	if k := d.end(polite); k.ended() != "CANCELED Shutdown" {
		t.Errorf("the polite one ended %s", k.ended())
	}
	d.logged("waiting for an attempt to end: task_id=" + id)
	if got := d.await(); got != 0 {
		t.Errorf("exit code %d", got)
	}
	if took := time.Since(begun); took < 5*time.Second || took > 30*time.Second {
		t.Errorf("the stop took %v with a grace of 6s", took)
	}
	mustBeDead(t, "when the daemon has ended", mark)
	if got := outline(follower.rest()); got[len(got)-1] != "-1" {
		t.Errorf("the follower's last events are %v", got)
	}
	if k := d.taskOf(<-waited); k.phase() != "PENDING" || k.Status.Terminal {
		t.Errorf("the wait was answered with %s", k.ended())
	}
	if log := d.log.String(); !strings.Contains(log, "stopped") {
		t.Errorf("the log does not say that it stopped")
	}

	next := launch{data: d.data}.serve(t)
	for task, want := range map[string]string{
		id: "CANCELED Shutdown", polite: "CANCELED Shutdown", canceled: "CANCELED Canceled",
		queued: "SUCCEEDED Completed", again: "SUCCEEDED Completed",
	} {
		if got := next.end(task).ended(); got != want {
			t.Errorf("%s ended %s, want %s", task, got, want)
		}
	}
	if runs := next.runs(again); len(runs) != 2 || runs[0].Reason != "Shutdown" {
		t.Errorf("the attempts of a task that was interrupted: %+v", runs)
	}
}

func TestSecondSignalKillsAtOnce(t *testing.T) {
	t.Parallel()
	d := serve(t, "--shutdown-grace", "10m")
	mark := marker(t)
	id := d.submit(shell("deaf", wild+`trap "echo asked" TERM; while :; do sleep 0.05; done`, mark).with("stopGraceMs", 3_600_000))
	follower := d.open(id, "tail=all")
	follower.line("wild")
	begun := time.Now()
	d.signal(syscall.SIGTERM)
	follower.line("asked")
	if code := d.stop(syscall.SIGINT); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if took := time.Since(begun); took > 30*time.Second {
		t.Errorf("the stop took %v", took)
	}
	mustBeDead(t, "when the daemon has ended", mark)
}
