package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
)

const (
	onFailure = "RESTART_STRATEGY_ON_FAILURE"
	always    = "RESTART_STRATEGY_ALWAYS"
)

// Between attempts a task shows how the last one ended and when the next is due; it keeps its slot and can be stopped.
func TestBetweenAttempts(t *testing.T) {
	t.Parallel()
	d := serve(t)
	id := d.submit(shell("lane", "exit 7").with("restart", onFailure).with("backoff", object{"firstMs": 3_600_000, "maxMs": 3_600_000, "factor": 1, "jitter": "JITTER_STRATEGY_NONE"}))
	var k task
	eventually(t, "it waits for its next attempt", func() bool { k = d.task(id); return k.Status.NextAttemptAt != nil })
	if k.phase() != "FAILED" || k.Status.Terminal || !same(k.Status.ExitCode, new(7)) || k.Status.Attempt != 1 {
		t.Errorf("it shows %+v", k.Status)
	}
	finished := number(t, *d.runs(id)[0].FinishedAt)
	if due := number(t, *k.Status.NextAttemptAt); due < finished+3_600_000 || due > finished+3_660_000 {
		t.Errorf("the next attempt is due %d ms after the end of the last, want an hour", due-finished)
	}
	if a := d.post(command("lane", "true")); a.status != http.StatusConflict {
		t.Errorf("its slot: %v, want 409", a)
	}
	if got := d.cancel(id).ended(); got != "CANCELED Canceled" {
		t.Errorf("ended %s", got)
	}
	if a := d.post(command("lane", "true")); a.status != http.StatusCreated {
		t.Errorf("its slot: %v, want 201", a)
	}
}

// A task that is always restarted is started again after its interval, and not more often than ten times a second.
func TestAlwaysMeansAgain(t *testing.T) {
	t.Parallel()
	d := serve(t)
	busy := d.submit(command("busy", "true").with("restart", always))
	slow := d.submit(command("slow", "true").with("restart", always).with("restartIntervalMs", 400))
	for id, n := range map[string]int{busy: 6, slow: 3} {
		eventually(t, fmt.Sprintf("%d attempts", n), func() bool { return d.task(id).Status.Attempt >= n })
		if k := d.cancel(id); k.ended() != "CANCELED Canceled" {
			t.Errorf("ended %s", k.ended())
		}
	}
	check := func(id string, least int, since func(attempt) string) {
		runs := d.runs(id)
		for i, r := range runs[1:] {
			if gap := number(t, r.StartedAt) - number(t, since(runs[i])); gap < least {
				t.Errorf("attempt %d began %d ms after the one before, want %d at least", r.Attempt, gap, least)
			}
		}
	}
	check(busy, 99, func(r attempt) string { return r.StartedAt }) // times are cut to whole milliseconds
	check(slow, 399, func(r attempt) string { return *r.FinishedAt })
}

// Backoff grows as it was told, and a success resets it.
func TestBackoffGrows(t *testing.T) {
	t.Parallel()
	d := serve(t)
	id := d.submit(shell("lane", "exit 1").with("restart", onFailure).with("maxRetries", 3).
		with("backoff", object{"firstMs": 100, "maxMs": 300, "factor": 2, "jitter": "JITTER_STRATEGY_NONE"}))
	d.end(id)
	runs := d.runs(id)
	for i, least := range []int{100, 200, 300} {
		if gap := number(t, runs[i+1].StartedAt) - number(t, *runs[i].FinishedAt); gap < least-1 {
			t.Errorf("attempt %d began %d ms after the one before, want %d at least", i+2, gap, least)
		}
	}
}

// Readers of one log, early and late, fast and slow, all get every line once and in order.
func TestManyReadersGetEveryLine(t *testing.T) {
	t.Parallel()
	d := serve(t)
	const lines, readers = 20_000, 16
	id := d.submit(shell("lane", fmt.Sprintf(`read -t 0.5 <> <(:); seq 1 %d; seq 1 %d >&2`, lines, lines)))
	var group sync.WaitGroup
	for reader := range readers {
		if reader == readers/2 {
			d.end(id)
		}
		s := d.open(id, "tail=all")
		group.Go(func() {
			next := map[string]int{}
			for {
				e, ok := s.next()
				if !ok {
					break
				}
				if e.name == "lagged" {
					t.Errorf("reader %d: %d lines are missing", reader, e.data.Skipped)
				}
				if e.name != "chunk" {
					continue
				}
				n := next[e.data.Stream]
				if e.data.Line != strconv.Itoa(n+1) || *e.data.Seq != n {
					t.Errorf("reader %d: line %d of %s is %q with seq %d", reader, n, e.data.Stream, e.data.Line, *e.data.Seq)
					return
				}
				next[e.data.Stream]++
			}
			if next["stdout"] != lines || next["stderr"] != lines {
				t.Errorf("reader %d: got %v lines", reader, next)
			}
		})
	}
	group.Wait()
}

// What the host can enforce is enforced, all else is refused by name.
func TestLimitsAreEnforcedOrRefused(t *testing.T) {
	t.Parallel()
	d := serve(t)
	var out struct{ Runners []struct{ Limits []string } }
	d.get("/api/v1/introspection").into(t, http.StatusOK, &out)
	for name, field := range map[string]string{"memory": "memoryBytes", "cpu": "cpuMillis", "pids": "pids", "open_files": "openFiles"} {
		a := d.post(command("limit-"+name, "true").with("limits", object{field: 1 << 30}))
		switch enforced := slices.Contains(out.Runners[0].Limits, name); {
		case enforced && a.status != http.StatusCreated:
			t.Errorf("%s: %v, want 201", name, a)
		case !enforced && (a.status != http.StatusUnprocessableEntity || a.label() != "Unenforceable" || !strings.Contains(a.message(), strings.Split(name, "_")[0])):
			t.Errorf("%s: %v, want 422 Unenforceable naming it", name, a)
		}
	}
}

// The gRPC port answers health checks.
func TestHealthOverGRPC(t *testing.T) {
	t.Parallel()
	d := serve(t)
	conn, err := grpc.NewClient(d.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, conn)
	client := grpc_health_v1.NewHealthClient(conn)
	answer, err := client.Check(contextOf(t), &grpc_health_v1.HealthCheckRequest{})
	if err != nil || answer.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Errorf("health: %v, %v", answer, err)
	}
}

// Requests that are under way at once do not hold up one another: a hundred waits and streams, and a task still runs.
func TestManyOpenRequests(t *testing.T) {
	t.Parallel()
	d := serve(t)
	id := d.submit(shell("held", "echo ready; sleep 100000"))
	d.open(id, "tail=all").line("ready")
	var group sync.WaitGroup
	for range 100 {
		group.Go(func() {
			a, err := d.try(http.MethodGet, "/api/v1/tasks/"+id+"?wait=1m", "")
			if err != nil || a.status != http.StatusOK || !strings.Contains(string(a.body), `"Canceled"`) {
				t.Errorf("wait: %v, %v", a, err)
			}
		})
		d.open(id, "").next()
	}
	begun := time.Now()
	if got := d.end(d.submit(command("free", "true"))).ended(); got != "SUCCEEDED Completed" || time.Since(begun) > 20*time.Second {
		t.Errorf("a task ended %s after %v", got, time.Since(begun))
	}
	d.cancel(id)
	group.Wait()
}
