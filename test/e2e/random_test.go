package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"slotd/test/need"
)

// tenant runs in a slot. It takes a lock that belongs to the slot without waiting: whoever finds it taken has met a
// process of another task, even one that has been killed or forked away, for all that it started hold the lock too.
const tenant = `exec 9>>"$0/$SLOTD_SLOT.lock"
flock -n 9 || echo "meets $SLOTD_SLOT $SLOTD_TASK_ID" >>"$0/marks"
trap 'echo "end $SLOTD_SLOT $SLOTD_TASK_ID" >>"$0/marks"; exit 1' TERM
echo "begin $SLOTD_SLOT $SLOTD_TASK_ID" >>"$0/marks"
case $1 in
child) setsid sleep 1000 & ;;
deaf) trap "" TERM ;;
esac
sleep "0.0$((RANDOM % 10))" & wait $!
echo "end $SLOTD_SLOT $SLOTD_TASK_ID" >>"$0/marks"
exit $((RANDOM % 2))`

// However clients submit, cancel, delete and purge: in no slot two tasks run at a time, and every task comes to one end.
func TestASlotNeverHasTwoTasksAtATime(t *testing.T) {
	t.Parallel()
	need.Tool(t, "flock")
	d := serve(t)
	dir := t.TempDir()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	const clients, each, slots = 6, 80, 6
	var (
		group sync.WaitGroup
		mu    sync.Mutex
		ids   []string
	)
	for client := range clients {
		r := rand.New(rand.NewPCG(seed, uint64(client)))
		group.Go(func() {
			for range each {
				slot := fmt.Sprintf("s%d", r.IntN(slots))
				spec := shell(slot, tenant, dir, []string{"plain", "child", "deaf"}[r.IntN(3)]).
					with("admission", []string{drop, replace, queue}[r.IntN(3)]).with("stopGraceMs", r.IntN(300)).
					with("restart", []string{"RESTART_STRATEGY_NEVER", "RESTART_STRATEGY_ON_FAILURE"}[r.IntN(2)]).
					with("maxRetries", r.IntN(2)).with("backoff", object{"firstMs": 1, "maxMs": 5, "factor": 1}).with("timeoutMs", 30+r.IntN(3000))
				a, err := d.try(http.MethodPost, "/api/v1/tasks", object{"spec": spec}.String(), "Content-Type", "application/json")
				if err != nil {
					t.Error(err)
					return
				}
				if a.status == http.StatusConflict || a.status == http.StatusTooManyRequests {
					continue
				}
				if a.status != http.StatusCreated {
					t.Errorf("submit: %v", a)
					continue
				}
				path := a.header.Get("Location")
				mu.Lock()
				ids = append(ids, strings.TrimPrefix(path, "/api/v1/tasks/"))
				victim := ids[r.IntN(len(ids))]
				mu.Unlock()
				switch r.IntN(16) {
				case 0:
					a, err = d.try(http.MethodPost, "/api/v1/tasks/"+victim+"/cancel", "")
				case 1:
					a, err = d.try(http.MethodDelete, "/api/v1/tasks/"+victim, "")
				case 2:
					a, err = d.try(http.MethodPost, "/api/v1/slots/"+slot+"/purge?holder=true", "")
				case 3, 4, 5, 6, 7, 8:
					a, err = d.try(http.MethodGet, path+"?wait=2s", "")
				}
				if err != nil || a.status >= 400 && a.status != http.StatusNotFound {
					t.Errorf("answer %v, %v", a, err)
				}
			}
		})
	}
	group.Wait()
	ended := 0
	for _, id := range ids {
		a := d.get("/api/v1/tasks/" + id + "?wait=1m")
		if a.status == http.StatusNotFound {
			continue
		}
		k := d.taskOf(a)
		if !k.Status.Terminal {
			t.Errorf("%s has not ended: %+v", id, k.Status)
			continue
		}
		ended++
		checkLife(t, d, k)
	}
	if ended < 50 {
		t.Errorf("only %d tasks have come to an end", ended)
	}
	if left := ofNode(t, d.node); len(left) > 0 {
		t.Errorf("the processes %v are left", left)
	}
	checkMarks(t, filepath.Join(dir, "marks"))
}

// checkLife: the runs of a task follow one another, each with one begin and one end in the log.
func checkLife(t *testing.T, d *daemon, k task) {
	t.Helper()
	id := k.Metadata.ID
	runs := d.runs(id)
	if len(runs) != k.Status.Attempt {
		t.Errorf("%s: %d runs, %d attempts", id, len(runs), k.Status.Attempt)
	}
	var want []string
	for i, r := range runs {
		if r.Attempt != i+1 || r.FinishedAt == nil || *r.FinishedAt < r.StartedAt || i > 0 && r.StartedAt < *runs[i-1].FinishedAt {
			t.Errorf("%s: run %d is %+v", id, i+1, r)
		}
		want = append(want, "+"+itoa(i+1), "-"+itoa(i+1))
	}
	var got []string
	for _, line := range outline(d.kept(id, "tail=all")) {
		if strings.HasPrefix(line, "+") || strings.HasPrefix(line, "-") {
			got = append(got, line)
		}
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("%s: the log has %v, want %v", id, got, want)
	}
}

// checkMarks reads what the tasks wrote in the order in which they wrote it: in each slot, what begins after a task has
// begun and not ended is that task's successor, so nothing of the former may follow.
func checkMarks(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	holder, past := map[string]string{}, map[string]bool{}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	for _, line := range lines {
		f := strings.Fields(line)
		if len(f) != 3 || f[0] == "meets" {
			t.Errorf("mark %q", line)
			continue
		}
		kind, slot, id := f[0], f[1], f[2]
		if past[slot+id] {
			t.Errorf("mark %q comes after %s has taken the slot", line, holder[slot])
		}
		if kind == "begin" && holder[slot] != id {
			past[slot+holder[slot]] = true
			holder[slot] = id
		}
	}
	if len(lines) < 100 {
		t.Errorf("only %d marks were left: too little happened", len(lines))
	}
}
