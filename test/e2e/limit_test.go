package e2e

import (
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSoManyUnfinishedTasksAndNoMore(t *testing.T) {
	t.Parallel()
	d := serve(t, "--max-tasks", "3")
	first := d.submit(forever("a", drop))
	d.submit(forever("b", drop))
	d.submit(forever("b", queue))
	a := d.post(command("c", "true"))
	if a.status != http.StatusTooManyRequests || a.label() != "TooManyTasks" || a.header.Get("Retry-After") == "" {
		t.Errorf("a fourth: %v, Retry-After %q; want 429 TooManyTasks", a, a.header.Get("Retry-After"))
	}
	d.cancel(first)
	for range 5 { // terminal tasks do not count
		d.end(d.submit(command("c", "true")))
	}
}

// With --max-running n at most n attempts have a process at a time. Those that wait hold their slot, are shown as
// pending, and can be cancelled.
func TestSoManyAttemptsAtATimeAndNoMore(t *testing.T) {
	t.Parallel()
	d := serve(t, "--max-running", "3")
	dir := t.TempDir()
	marks := filepath.Join(dir, "marks")
	const tasks = 20
	ids := make([]string, tasks)
	for i := range ids {
		ids[i] = d.submit(shell(fmt.Sprintf("s%d", i), `echo + >> "$0"; sleep 0.1; echo - >> "$0"`, marks))
	}
	for _, id := range ids {
		if got := d.end(id).ended(); got != "SUCCEEDED Completed" {
			t.Errorf("%s ended %s", id, got)
		}
	}
	data, err := os.ReadFile(marks)
	if err != nil {
		t.Fatal(err)
	}
	running, most := 0, 0
	for mark := range strings.FieldsSeq(string(data)) {
		running += map[string]int{"+": 1, "-": -1}[mark]
		most = max(most, running)
	}
	if most > 3 || most < 2 || running != 0 {
		t.Errorf("%d ran at a time, %d are left over; want at most 3 and none", most, running)
	}
	holders := []string{d.submit(forever("h1", drop)), d.submit(forever("h2", drop)), d.submit(forever("h3", drop))}
	for _, id := range holders {
		d.running(id)
	}
	waiting := d.submit(forever("waiting", drop))
	next := d.submit(command("next", "true"))
	eventually(t, "two attempts wait", func() bool { return d.introspect().AttemptsWaiting == "2" })
	if k := d.task(waiting); k.phase() != "PENDING" || k.Status.Terminal {
		t.Errorf("the waiting one is %s", k.phase())
	}
	if a := d.post(command("waiting", "true")); a.status != http.StatusConflict {
		t.Errorf("its slot: %v, want 409", a)
	}
	if got := d.cancel(waiting).ended(); got != "CANCELED Canceled" {
		t.Errorf("the waiting one ended %s", got)
	}
	d.cancel(holders[1])
	if got := d.end(next).ended(); got != "SUCCEEDED Completed" {
		t.Errorf("the next one ended %s", got)
	}
}

func TestRetentionForgetsTheOldest(t *testing.T) {
	t.Parallel()
	d := serve(t, "--retain-tasks", "3")
	active := d.submit(forever("active", drop))
	ids := make([]string, 8)
	for i := range ids {
		ids[i] = d.submit(shell("lane", "echo said"))
		d.end(ids[i])
	}
	eventually(t, "three terminal tasks are left", func() bool { return d.list("terminal=true").Total == 3 })
	if got, want := strings.Join(d.list("").ids(), " "), active+" "+strings.Join(ids[5:], " "); got != want {
		t.Errorf("kept are %s, want %s", got, want)
	}
	if a := d.get("/api/v1/tasks/" + ids[0] + "/logs"); a.status != http.StatusNotFound {
		t.Errorf("the log of a forgotten task: %v", a)
	}
}

func TestRetentionForgetsAfterItsTime(t *testing.T) {
	t.Parallel()
	d := serve(t, "--retain", "1s")
	active := d.submit(shell("active", "echo said; sleep 100000"))
	id := d.submit(shell("lane", "echo said"))
	d.end(id)
	eventually(t, "the terminal task is forgotten", func() bool { return d.get("/api/v1/tasks/"+id).status == http.StatusNotFound })
	eventually(t, "its log is removed", func() bool { return len(files(t, d.data, id)) == 0 })
	if got := d.list("").ids(); len(got) != 1 || got[0] != active {
		t.Errorf("kept are %v, want %s", got, active)
	}
	d.remove(active)
	eventually(t, "no log is left", func() bool { return len(files(t, filepath.Join(d.data, "logs"), active)) == 0 })
}

// files are the files below dir whose path contains the text.
func files(t testing.TB, dir, text string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil // removed meanwhile
		}
		if err == nil && !entry.IsDir() && strings.Contains(path, text) {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
