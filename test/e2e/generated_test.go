package e2e

import (
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"slotd/test/openapi/client"
)

// generated returns a client that a generator has made from the OpenAPI document alone.
func (d *daemon) generated() *client.ClientWithResponses {
	d.t.Helper()
	c, err := client.NewClientWithResponses("http://"+d.http, client.WithHTTPClient(d.client))
	if err != nil {
		d.t.Fatal(err)
	}
	return c
}

// lane is the spec of a task that runs argv in the slot of that name, for the generated client.
func lane(argv ...string) client.CreateSpec {
	args := argv[1:]
	return client.CreateSpec{
		Slot: "lane", TimeoutMs: "600000",
		Kind: client.TaskKind{Subprocess: &client.SubprocessTask{Command: &client.CommandMode{Command: argv[0], Args: &args}}},
	}
}

// got returns the body of an answer by its status, which the generated client has set if that was the status.
func got[T any](t testing.TB, what string, answer *T, body []byte) T {
	t.Helper()
	if answer == nil {
		t.Fatalf("%s: another answer than was expected: %s", what, body)
	}
	return *answer
}

// submitted submits a spec that must be admitted, and returns the task's id.
func submitted(t testing.TB, c *client.ClientWithResponses, spec client.CreateSpec) string {
	t.Helper()
	a, err := c.SubmitTaskWithResponse(t.Context(), nil, client.SubmitTaskRequest{Spec: spec})
	if err != nil {
		t.Fatal(err)
	}
	return got(t, "submit", a.JSON201, a.Body).TaskID
}

func TestAGeneratedClientLivesThroughATask(t *testing.T) {
	t.Parallel()
	c, ctx := serve(t).generated(), t.Context()
	spec := lane("sh", "-c", "echo hello; exit 3")
	spec.Restart, spec.MaxRetries = new(client.RESTARTSTRATEGYONFAILURE), new(uint32(1))
	spec.Backoff = &client.BackoffStrategy{FirstMs: "1", MaxMs: "2", Factor: 1.5, Jitter: new(client.JITTERSTRATEGYNONE)}
	spec.Labels = &client.Labels{"made": "by-generator"}
	params := &client.SubmitTaskParams{IdempotencyKey: new("once")}
	first, err := c.SubmitTaskWithResponse(ctx, params, client.SubmitTaskRequest{Spec: spec})
	if err != nil {
		t.Fatal(err)
	}
	id := got(t, "submit", first.JSON201, first.Body).TaskID
	if location := first.HTTPResponse.Header.Get("Location"); location != "/api/v1/tasks/"+id {
		t.Errorf("Location %q", location)
	}
	again, err := c.SubmitTaskWithResponse(ctx, params, client.SubmitTaskRequest{Spec: spec})
	if err != nil {
		t.Fatal(err)
	}
	if same := got(t, "submit again", again.JSON201, again.Body).TaskID; same != id {
		t.Errorf("the same key made the task %s, want %s", same, id)
	}

	ended, err := c.GetTaskWithResponse(ctx, id, &client.GetTaskParams{Wait: new("2m"), For: new(client.Terminal)})
	if err != nil {
		t.Fatal(err)
	}
	task := got(t, "wait", ended.JSON200, ended.Body).Task
	if s := task.Status; !s.Terminal || s.Phase != client.TASKSTATUSEXHAUSTED || s.Reason == nil || *s.Reason != client.RetriesExhausted || s.ExitCode == nil || *s.ExitCode != 3 {
		t.Errorf("status %+v", s)
	}
	if s := task.Spec; s.TimeoutMs != "600000" || s.Admission != client.ADMISSIONSTRATEGYDROPIFRUNNING || s.StopGraceMs != "5000" || s.Backoff.Factor != 1.5 || s.Labels["made"] != "by-generator" {
		t.Errorf("spec %+v", s)
	}
	etag := ended.HTTPResponse.Header.Get("ETag")
	known, err := c.GetTaskWithResponse(ctx, id, &client.GetTaskParams{IfNoneMatch: &etag})
	if err != nil || known.StatusCode() != http.StatusNotModified {
		t.Errorf("If-None-Match %s: %+v, %v", etag, known, err)
	}

	runs, err := c.ListTaskRunsWithResponse(ctx, id, nil)
	if err != nil {
		t.Fatal(err)
	}
	attempts := got(t, "runs", runs.JSON200, runs.Body).Runs
	if len(attempts) != 2 || attempts[1].Attempt != 2 || attempts[1].FinishedAt == nil || attempts[1].ExitCode == nil || *attempts[1].ExitCode != 3 {
		t.Errorf("runs %+v", attempts)
	}
	logs, err := c.StreamTaskLogsWithResponse(ctx, id, &client.StreamTaskLogsParams{Tail: new("all"), Follow: new(false)})
	if err != nil || logs.StatusCode() != http.StatusOK || strings.Count(string(logs.Body), `"line":"hello"`) != 2 {
		t.Errorf("logs: %+v, %v", logs, err)
	}

	listed, err := c.ListTasksWithResponse(ctx, &client.ListTasksParams{Slot: new("lane"), Status: new("exhausted"), Label: &client.Label{"made=by-generator"}, Terminal: new(true), Limit: new(5)})
	if err != nil {
		t.Fatal(err)
	}
	if page := got(t, "list", listed.JSON200, listed.Body); page.Total != 1 || len(page.Tasks) != 1 || page.Tasks[0].Metadata.ID != id {
		t.Errorf("list %+v", page)
	}

	refused, err := c.DeleteTaskWithResponse(ctx, id, &client.DeleteTaskParams{IfMatch: new(`"999"`)})
	if err != nil {
		t.Fatal(err)
	}
	if e := got(t, "delete another version", refused.JSON412, refused.Body); e.Error != client.ErrorLabelPreconditionFailed {
		t.Errorf("delete another version: %+v", e)
	}
	deleted, err := c.DeleteTaskWithResponse(ctx, id, &client.DeleteTaskParams{IfMatch: &etag})
	if err != nil || deleted.StatusCode() != http.StatusNoContent {
		t.Errorf("delete: %+v, %v", deleted, err)
	}
	gone, err := c.GetTaskWithResponse(ctx, id, nil)
	if err != nil {
		t.Fatal(err)
	}
	if e := got(t, "get what is gone", gone.JSON404, gone.Body); e.Error != client.ErrorLabelTaskNotFound || !strings.Contains(e.Message, id) {
		t.Errorf("get what is gone: %+v", e)
	}
}

func TestAGeneratedClientActsOnSlots(t *testing.T) {
	t.Parallel()
	d := serve(t)
	c, ctx := d.generated(), t.Context()
	holder := submitted(t, c, lane("sleep", "1000"))
	busy, err := c.SubmitTaskWithResponse(ctx, nil, client.SubmitTaskRequest{Spec: lane("true")})
	if err != nil {
		t.Fatal(err)
	}
	if e := got(t, "submit to a busy slot", busy.JSON409, busy.Body); e.Error != client.ErrorLabelSlotBusy || !strings.Contains(e.Message, holder) {
		t.Errorf("submit to a busy slot: %+v", e)
	}
	invalid, err := c.SubmitTaskWithResponse(ctx, nil, client.SubmitTaskRequest{Spec: lane("")})
	if err != nil {
		t.Fatal(err)
	}
	if e := got(t, "submit nonsense", invalid.JSON400, invalid.Body); e.Error != client.ErrorLabelInvalidRequest || !strings.Contains(e.Message, "command cannot be empty") {
		t.Errorf("submit nonsense: %+v", e)
	}

	queued := lane("true")
	queued.Admission = new(client.ADMISSIONSTRATEGYQUEUE)
	batch, err := c.SubmitTasksWithResponse(ctx, nil, client.SubmitTasksRequest{Specs: []client.CreateSpec{queued, lane("true"), queued}})
	if err != nil {
		t.Fatal(err)
	}
	results := got(t, "batch", batch.JSON200, batch.Body).Results
	if len(results) != 3 || results[0].TaskID == nil || results[1].Error == nil || *results[1].Error != client.ErrorLabelSlotBusy || results[2].TaskID == nil {
		t.Fatalf("batch %s", batch.Body)
	}
	waiting := []string{*results[0].TaskID, *results[2].TaskID}

	one, err := c.GetSlotWithResponse(ctx, "lane", nil)
	if err != nil {
		t.Fatal(err)
	}
	slot := got(t, "slot", one.JSON200, one.Body).Slot
	if slot.Phase != client.Occupied || slot.Holder == nil || *slot.Holder != holder || !reflect.DeepEqual(slot.Queue, waiting) || slot.Counters.Queued != "2" || slot.Counters.Dropped != "2" {
		t.Errorf("slot %s", one.Body)
	}
	all, err := c.ListSlotsWithResponse(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	if slots := got(t, "slots", all.JSON200, all.Body).Slots; len(slots) != 1 || !reflect.DeepEqual(slots[0], slot) {
		t.Errorf("slots %s, want one %s", all.Body, one.Body)
	}

	purged, err := c.PurgeSlotTasksWithResponse(ctx, "lane", &client.PurgeSlotTasksParams{Holder: new(false)})
	if err != nil {
		t.Fatal(err)
	}
	ids := got(t, "purge", purged.JSON200, purged.Body).TaskIds
	slices.Sort(ids)
	if !reflect.DeepEqual(ids, waiting) {
		t.Errorf("purged %v, want %v", ids, waiting)
	}
	stopped, err := c.CancelTaskWithResponse(ctx, holder, &client.CancelTaskParams{Grace: new("1s")})
	if err != nil {
		t.Fatal(err)
	}
	if s := got(t, "cancel", stopped.JSON200, stopped.Body).Task.Status; !s.Terminal || s.Phase != client.TASKSTATUSCANCELED || s.Reason == nil || *s.Reason != client.Canceled {
		t.Errorf("cancel: %+v", s)
	}
	unknown, err := c.CancelTaskWithResponse(ctx, "tsk_unknown", nil)
	if err != nil {
		t.Fatal(err)
	}
	if e := got(t, "cancel the unknown", unknown.JSON404, unknown.Body); e.Error != client.ErrorLabelTaskNotFound {
		t.Errorf("cancel the unknown: %+v", e)
	}
}

func TestAGeneratedClientSeesTheNode(t *testing.T) {
	t.Parallel()
	d := serve(t)
	c, ctx := d.generated(), t.Context()
	inside, err := c.IntrospectWithResponse(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	if view := got(t, "introspection", inside.JSON200, inside.Body); view.Node != d.node || !view.Store.Writable || len(view.Runners) == 0 {
		t.Errorf("introspection %s", inside.Body)
	}
	build, err := c.GetVersionWithResponse(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	if v := got(t, "version", build.JSON200, build.Body); v.API != "solti.v1" {
		t.Errorf("version %+v", v)
	}
	ready, err := c.ReadinessWithResponse(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s := got(t, "readiness", ready.JSON200, ready.Body).Status; s != "ok" {
		t.Errorf("readiness %s", s)
	}
}
