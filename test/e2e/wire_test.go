package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// answer is an HTTP response, read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) String() string { return fmt.Sprintf("%d %s", a.status, tailOf(string(a.body), 2000)) }

// label is the error's name, and message its sentence; both are empty when the body is no error.
func (a answer) label() string   { return a.refusal().Error }
func (a answer) message() string { return a.refusal().Message }

type refusal struct{ Error, Message string }

func (a answer) refusal() (r refusal) {
	if json.Unmarshal(a.body, &r) != nil {
		return refusal{}
	}
	return r
}

// do sends one request. Headers come in pairs of name and value.
func (d *daemon) do(method, path, body string, headers ...string) answer {
	d.t.Helper()
	a, err := d.try(method, path, body, headers...)
	if err != nil {
		d.t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

// try is do for a goroutine that must not end the test.
func (d *daemon) try(method, path, body string, headers ...string) (answer, error) {
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(contextOf(d.t), method, "http://"+d.http+path, reader)
	if err != nil {
		return answer{}, err
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
			continue
		}
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer closed(d.t, resp.Body)
	all, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, all}, err
}

func (d *daemon) get(path string, headers ...string) answer {
	d.t.Helper()
	return d.do(http.MethodGet, path, "", headers...)
}

// into decodes a JSON body that must have come with this status.
func (a answer) into(t testing.TB, status int, v any) {
	t.Helper()
	if a.status != status {
		t.Fatalf("answer %v, want status %d", a, status)
	}
	if err := json.Unmarshal(a.body, v); err != nil {
		t.Fatalf("answer %v: %v", a, err)
	}
}

// object is a JSON object that a test builds.
type object map[string]any

// with returns a copy with one field set.
func (o object) with(name string, value any) object {
	c := maps.Clone(o)
	c[name] = value
	return c
}

func (o object) String() string {
	data, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	return string(data)
}

// command is the spec of a task that runs argv.
func command(slot string, argv ...string) object {
	return subprocess(slot, object{"command": object{"command": argv[0], "args": argv[1:]}})
}

// shell is the spec of a task that runs a line of bash; the words are its $0, $1, ….
func shell(slot, line string, words ...string) object {
	return command(slot, append([]string{"bash", "-c", line}, words...)...)
}

func subprocess(slot string, fields object) object {
	return object{"slot": slot, "timeoutMs": 600_000, "kind": object{"subprocess": fields}}
}

const (
	drop    = "ADMISSION_STRATEGY_DROP_IF_RUNNING"
	replace = "ADMISSION_STRATEGY_REPLACE"
	queue   = "ADMISSION_STRATEGY_QUEUE"
)

// post submits a spec, whatever comes of it.
func (d *daemon) post(spec object, headers ...string) answer {
	d.t.Helper()
	return d.do(http.MethodPost, "/api/v1/tasks", object{"spec": spec}.String(), append(headers, "Content-Type", "application/json")...)
}

// submit submits a spec that must be admitted, and returns the task's id.
func (d *daemon) submit(spec object, headers ...string) string {
	d.t.Helper()
	var out struct{ TaskID string }
	d.post(spec, headers...).into(d.t, http.StatusCreated, &out)
	return out.TaskID
}

// task is a task as a client sees it. 64-bit integers are strings in this JSON.
type task struct {
	Metadata struct {
		ID                                    string
		CreatedAt, UpdatedAt, ResourceVersion string
	}
	Spec   map[string]any
	Status struct {
		Phase         string
		Attempt       int
		Error         string
		ExitCode      *int
		Signal        *int
		Reason        string
		NextAttemptAt *string
		Terminal      bool
		Node          string
		QueuePosition *int
	}
}

// is says whether the task has ended with that phase and reason, as in "FAILED NonZeroExit".
func (k task) ended() string {
	if !k.Status.Terminal {
		return "not terminal: " + k.phase()
	}
	return k.phase() + " " + k.Status.Reason
}

func (k task) phase() string { return strings.TrimPrefix(k.Status.Phase, "TASK_STATUS_") }

func (d *daemon) task(id string) task {
	d.t.Helper()
	return d.taskOf(d.get("/api/v1/tasks/" + id))
}

func (d *daemon) taskOf(a answer) task {
	d.t.Helper()
	var out struct{ Task task }
	a.into(d.t, http.StatusOK, &out)
	return out.Task
}

// end waits until the task is terminal.
func (d *daemon) end(id string) task {
	d.t.Helper()
	k := d.taskOf(d.get("/api/v1/tasks/" + id + "?wait=2m"))
	if !k.Status.Terminal {
		d.t.Fatalf("task %s has not ended: %+v", id, k.Status)
	}
	return k
}

// running waits until the task runs.
func (d *daemon) running(id string) task {
	d.t.Helper()
	k := d.taskOf(d.get("/api/v1/tasks/" + id + "?wait=1m&for=running"))
	if k.phase() != "RUNNING" {
		d.t.Fatalf("task %s does not run: %+v", id, k.Status)
	}
	return k
}

func (d *daemon) cancel(id string) task {
	d.t.Helper()
	return d.taskOf(d.do(http.MethodPost, "/api/v1/tasks/"+id+"/cancel", ""))
}

func (d *daemon) remove(id string, headers ...string) {
	d.t.Helper()
	if a := d.do(http.MethodDelete, "/api/v1/tasks/"+id, "", headers...); a.status != http.StatusNoContent || len(a.body) > 0 {
		d.t.Fatalf("delete %s: %v", id, a)
	}
}

// attempt is the record of one attempt.
type attempt struct {
	Attempt               int
	Status, Error, Reason string
	StartedAt             string
	FinishedAt            *string
	ExitCode, Signal      *int
	Node                  string
}

func (d *daemon) runs(id string) []attempt {
	d.t.Helper()
	var out struct{ Runs []attempt }
	d.get("/api/v1/tasks/"+id+"/runs").into(d.t, http.StatusOK, &out)
	return out.Runs
}

type page struct {
	Tasks []task
	Total int
}

func (d *daemon) list(query string) page {
	d.t.Helper()
	var out page
	d.get("/api/v1/tasks?"+query).into(d.t, http.StatusOK, &out)
	return out
}

func (p page) ids() []string {
	ids := []string{}
	for _, k := range p.Tasks {
		ids = append(ids, k.Metadata.ID)
	}
	return ids
}

type slotView struct {
	Slot, Phase         string
	Holder, Replacement string
	Queue               []string
	Counters            map[string]string
}

func (d *daemon) slot(name string) slotView {
	d.t.Helper()
	var out struct{ Slot slotView }
	d.get("/api/v1/slots/"+name).into(d.t, http.StatusOK, &out)
	return out.Slot
}

// figures is the part of the introspection that tests look at.
type figures struct {
	Goroutines, OpenFds, TasksActive, AttemptsRunning, AttemptsWaiting, AttemptsStarted, Actors, DeadLetters string
	Tasks                                                                                                    map[string]string
	Logs                                                                                                     struct{ Hubs, Subscribers, Bytes, Segments string }
	Runners                                                                                                  []struct{ Kind, Tree string }
	Events                                                                                                   struct{ Subscribers, Published string }
}

func (d *daemon) introspect() figures {
	d.t.Helper()
	var out figures
	d.get("/api/v1/introspection").into(d.t, http.StatusOK, &out)
	return out
}

// number reads a 64-bit integer, which is a string in this JSON.
func number(t testing.TB, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
