package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestListFilters(t *testing.T) {
	t.Parallel()
	d := serve(t)
	a := d.submit(command("a", "true").with("labels", object{"app": "web", "tier": "front"}))
	b := d.submit(shell("b", "exit 3").with("labels", object{"app": "web"}))
	c := d.submit(forever("c", drop))
	q := d.submit(forever("c", queue))
	d.end(a)
	d.end(b)
	d.running(c)
	for query, want := range map[string][]string{
		"":                                   {a, b, c, q},
		"slot=c":                             {c, q},
		"slot=unused":                        {},
		"status=SUCCEEDED":                   {a},
		"status=failed":                      {b},
		"status=TASK_STATUS_RUNNING":         {c},
		"phase=Pending":                      {q},
		"terminal=true":                      {a, b},
		"terminal=false":                     {c, q},
		"label=app=web":                      {a, b},
		"label=app%3Dweb,tier%21%3Dfront":    {b},
		"label=app&label=tier":               {a},
		"label=!app":                         {c, q},
		"label=tier+in+(front,back)":         {a},
		"id=" + b:                            {b},
		"id=tsk_":                            {a, b, c, q},
		"slot=c&terminal=false&label=%21app": {c, q},
		"slot=a&terminal=false":              {},
	} {
		p := d.list(query)
		if got := strings.Join(p.ids(), " "); got != strings.Join(want, " ") || p.Total != len(want) {
			t.Errorf("%q: %d of %d tasks %s, want %v", query, len(p.Tasks), p.Total, got, want)
		}
	}
	for query, want := range map[string][]string{
		"limit=2": {a, b}, "limit=2&offset=1": {b, c}, "offset=3": {q}, "offset=4": {}, "offset=99999999999": {},
		"limit=0": {a, b, c, q}, "limit=5000": {a, b, c, q},
	} {
		p := d.list(query)
		if got := strings.Join(p.ids(), " "); got != strings.Join(want, " ") || p.Total != 4 {
			t.Errorf("%q: total %d, tasks %s, want %v of 4", query, p.Total, got, want)
		}
	}
	for _, query := range []string{
		"slot=", "slot=%20", "slot=a/b", "status=", "status=sleeping", "status=0", "limit=x", "limit=-1", "limit=1.5", "limit=", "offset=x",
		"offset=-1", "terminal=maybe", "label=a+in", "nonsense=1", "limit=1&limit=2", "status=failed&phase=failed", "slot=%zz",
	} {
		if a := d.get("/api/v1/tasks?" + query); a.status != http.StatusBadRequest || a.label() != "InvalidRequest" || a.message() == "" {
			t.Errorf("%q: %v, want 400 InvalidRequest", query, a)
		}
	}
	if a := d.get("/api/v1/tasks?status=sleeping"); !strings.Contains(a.message(), "invalid status") {
		t.Errorf("message %q", a.message())
	}
}

func TestWaitAnswersAsSoonAsItHolds(t *testing.T) {
	t.Parallel()
	d := serve(t)
	holder := d.submit(forever("lane", drop))
	queued := d.submit(command("lane", "true").with("admission", queue))
	if got := d.running(holder).phase(); got != "RUNNING" {
		t.Errorf("the holder is %s", got)
	}
	begin := time.Now()
	if k := d.taskOf(d.get("/api/v1/tasks/" + queued + "?wait=300ms")); k.phase() != "PENDING" || time.Since(begin) < 300*time.Millisecond {
		t.Errorf("after %v the queued task is %s", time.Since(begin), k.phase())
	}
	answered := make(chan answer, 1)
	failed := make(chan error, 1)
	go func() {
		a, err := d.try(http.MethodGet, "/api/v1/tasks/"+queued+"?wait=1m&for=terminal", "")
		if err != nil {
			failed <- err
			return
		}
		answered <- a
	}()
	d.cancel(holder)
	select {
	case a := <-answered:
		if k := d.taskOf(a); k.ended() != "SUCCEEDED Completed" {
			t.Errorf("ended %s", k.ended())
		}
	case err := <-failed:
		t.Fatal(err)
	case <-time.After(patience):
		t.Fatal("the wait was not answered")
	}
	// What has ended holds both; what is deleted meanwhile is not found.
	d.taskOf(d.get("/api/v1/tasks/" + queued + "?wait=1m&for=running"))
	gone := d.submit(forever("lane", drop))
	status := make(chan int, 1)
	go func() {
		a, err := d.try(http.MethodGet, "/api/v1/tasks/"+gone+"?wait=1m", "")
		if err != nil {
			t.Errorf("wait: %v", err)
		}
		status <- a.status
	}()
	d.running(gone)
	d.remove(gone)
	if got := <-status; got != http.StatusNotFound && got != http.StatusOK {
		t.Errorf("a wait for a deleted task: %d, want 404", got)
	}
	if a := d.get("/api/v1/tasks/" + gone + "?wait=1m"); a.status != http.StatusNotFound {
		t.Errorf("a wait after the deletion: %v, want 404", a)
	}
	for _, query := range []string{"wait=x", "wait=-1s", "wait=6m", "wait=1s&for=ever", "for=", "what=1"} {
		if a := d.get("/api/v1/tasks/" + queued + "?" + query); a.status != http.StatusBadRequest {
			t.Errorf("%q: %v, want 400", query, a)
		}
	}
}

func TestVersionsOfATask(t *testing.T) {
	t.Parallel()
	d := serve(t)
	id := d.submit(forever("lane", drop))
	d.running(id)
	path := "/api/v1/tasks/" + id
	a := d.get(path)
	tag := a.header.Get("ETag")
	if want := `"` + d.taskOf(a).Metadata.ResourceVersion + `"`; tag != want {
		t.Fatalf("ETag %s, want %s", tag, want)
	}
	for _, match := range []string{tag, "W/" + tag, `"0", ` + tag, "*"} {
		if a := d.get(path, "If-None-Match", match); a.status != http.StatusNotModified || len(a.body) > 0 || a.header.Get("ETag") != tag {
			t.Errorf("If-None-Match %s: %v", match, a)
		}
	}
	if a := d.get(path, "If-None-Match", `"0"`); a.status != http.StatusOK {
		t.Errorf("another version: %v", a)
	}
	for _, match := range []string{`"0"`, "W/" + tag, "nonsense"} {
		if a := d.do(http.MethodDelete, path, "", "If-Match", match); a.status != http.StatusPreconditionFailed || a.label() != "PreconditionFailed" {
			t.Errorf("If-Match %s: %v, want 412", match, a)
		}
	}
	if d.task(id).phase() != "RUNNING" {
		t.Fatal("a refused delete has stopped the task")
	}
	before := d.task(id)
	d.cancel(id)
	if a := d.get(path, "If-None-Match", tag); a.status != http.StatusOK {
		t.Errorf("after a change: %v, want 200", a)
	}
	if a := d.do(http.MethodDelete, path, "", "If-Match", tag); a.status != http.StatusPreconditionFailed {
		t.Errorf("with the version before the cancel (%s): %v, want 412", before.Metadata.ResourceVersion, a)
	}
	d.remove(id, "If-Match", d.get(path).header.Get("ETag"))
	if a := d.get(path); a.status != http.StatusNotFound || a.label() != "TaskNotFound" {
		t.Errorf("after the delete: %v", a)
	}
	d.remove(id)
	d.remove("tsk_00000000000000000000000000")
}

func TestCancelKeepsTheRecordAndDeletePurgesIt(t *testing.T) {
	t.Parallel()
	d := serve(t)
	id := d.submit(shell("lane", "echo said; sleep 100000"))
	d.open(id, "tail=all").line("said")
	k := d.cancel(id)
	if k.ended() != "CANCELED Canceled" || k.Status.ExitCode != nil {
		t.Errorf("canceled: %s, code %v", k.ended(), k.Status.ExitCode)
	}
	version := k.Metadata.ResourceVersion
	if again := d.cancel(id); again.Metadata.ResourceVersion != version {
		t.Errorf("a second cancel made version %s of %s", again.Metadata.ResourceVersion, version)
	}
	if runs := d.runs(id); len(runs) != 1 || runs[0].Status != "TASK_STATUS_CANCELED" || runs[0].FinishedAt == nil || runs[0].Node != d.node {
		t.Errorf("runs %+v", runs)
	}
	if got := outline(d.kept(id, "tail=all")); strings.Join(got, " ") != "+1 said -1" {
		t.Errorf("log %v", got)
	}
	d.remove(id)
	for _, path := range []string{"", "/runs", "/logs"} {
		if a := d.get("/api/v1/tasks/" + id + path); a.status != http.StatusNotFound || a.label() != "TaskNotFound" {
			t.Errorf("%s after the delete: %v", path, a)
		}
	}
	if a := d.do(http.MethodPost, "/api/v1/tasks/"+id+"/cancel", ""); a.status != http.StatusNotFound {
		t.Errorf("cancel after the delete: %v", a)
	}
	if p := d.list(""); p.Total != 0 {
		t.Errorf("%d tasks are listed", p.Total)
	}
}

func TestHealthVersionAndIntrospection(t *testing.T) {
	t.Parallel()
	d := serve(t)
	for _, path := range []string{"/healthz", "/readyz", "/version", "/healthz?probe=1"} {
		if a := d.get(path); a.status != http.StatusOK || !strings.HasPrefix(a.header.Get("Content-Type"), "application/json") {
			t.Errorf("%s: %v, %s", path, a, a.header.Get("Content-Type"))
		}
	}
	var version struct{ API string }
	d.get("/version").into(t, http.StatusOK, &version)
	if version.API != "solti.v1" {
		t.Errorf("the API is %q", version.API)
	}
	d.end(d.submit(command("lane", "true")))
	f := d.introspect()
	if f.AttemptsStarted != "1" || f.TasksActive != "0" || f.DeadLetters != "0" || len(f.Runners) != 1 || f.Runners[0].Kind != "subprocess" {
		t.Errorf("introspection %+v", f)
	}
}
