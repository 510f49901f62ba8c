package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// forever is a task that runs until it is stopped.
func forever(slot, admission string) object {
	return command(slot, "sleep", "100000").with("admission", admission).with("stopGraceMs", 2000)
}

func TestAdmissionIsDecidedBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	d := serve(t, "--slot-queue", "2")

	t.Run("an idle slot takes any policy", func(t *testing.T) {
		t.Parallel()
		d := d.in(t)
		for _, policy := range []string{drop, replace, queue} {
			a := d.post(command("idle", "true").with("admission", policy))
			var out struct{ TaskID string }
			a.into(t, http.StatusCreated, &out)
			if want := "/api/v1/tasks/" + out.TaskID; a.header.Get("Location") != want {
				t.Errorf("Location %q, want %q", a.header.Get("Location"), want)
			}
			if got := d.end(out.TaskID).ended(); got != "SUCCEEDED Completed" {
				t.Errorf("ended %s", got)
			}
		}
	})

	t.Run("drop is refused by name and nothing is stored", func(t *testing.T) {
		t.Parallel()
		d := d.in(t)
		holder := d.submit(forever("drop", drop))
		a := d.post(command("drop", "true"))
		if a.status != http.StatusConflict || a.label() != "SlotBusy" || !strings.Contains(a.message(), holder) {
			t.Errorf("answer %v, want 409 SlotBusy naming %s", a, holder)
		}
		if p := d.list("slot=drop"); p.Total != 1 {
			t.Errorf("the slot has %d tasks, want the holder alone", p.Total)
		}
		if got := d.slot("drop").Counters["dropped"]; got != "1" {
			t.Errorf("dropped %s times, want 1", got)
		}
		d.cancel(holder)
		if a := d.post(command("drop", "true")); a.status != http.StatusCreated {
			t.Errorf("after the cancel: %v, want 201", a)
		}
	})

	t.Run("queued tasks run in the order of their submission", func(t *testing.T) {
		t.Parallel()
		d := d.in(t)
		holder := d.submit(forever("queue", queue))
		first := d.submit(shell("queue", "echo first").with("admission", queue))
		second := d.submit(shell("queue", "echo second").with("admission", queue))
		for i, id := range []string{first, second} {
			k := d.task(id)
			if k.phase() != "PENDING" || k.Status.QueuePosition == nil || *k.Status.QueuePosition != i+1 {
				t.Errorf("%s is %s at %v, want PENDING at %d", id, k.phase(), k.Status.QueuePosition, i+1)
			}
		}
		a := d.post(command("queue", "true").with("admission", queue))
		if a.status != http.StatusTooManyRequests || a.label() != "QueueFull" || a.header.Get("Retry-After") == "" {
			t.Errorf("a full queue: %v, Retry-After %q", a, a.header.Get("Retry-After"))
		}
		view := d.slot("queue")
		if view.Phase != "occupied" || view.Holder != holder || strings.Join(view.Queue, " ") != first+" "+second {
			t.Errorf("the slot shows %+v", view)
		}
		d.cancel(holder)
		one, two := d.end(first), d.end(second)
		if one.ended() != "SUCCEEDED Completed" || two.ended() != "SUCCEEDED Completed" {
			t.Errorf("ended %s and %s", one.ended(), two.ended())
		}
		if a, b := *d.runs(first)[0].FinishedAt, d.runs(second)[0].StartedAt; a > b {
			t.Errorf("the first ended at %s, after the second began at %s", a, b)
		}
	})

	t.Run("a replacement begins when the holder is dead", func(t *testing.T) {
		t.Parallel()
		d := d.in(t)
		mark := marker(t)
		holder := d.submit(shell("replace", `trap "sleep 0.3; exit 0" TERM; echo ready; while :; do sleep 0.05; done`, mark))
		d.open(holder, "tail=all").line("ready")
		waiting := d.submit(command("replace", "true").with("admission", queue))
		superseded := d.submit(forever("replace", replace))
		next := d.submit(shell("replace", `pgrep -f "sleep 0.3; exit 0.* `+"$1"+`$" | grep -v $$ || echo alone`, "next", mark).with("admission", replace))
		if got := d.end(superseded).ended(); got != "CANCELED Superseded" {
			t.Errorf("the superseded one ended %s", got)
		}
		if runs := d.runs(superseded); len(runs) != 0 {
			t.Errorf("the superseded one has run: %+v", runs)
		}
		k := d.end(holder)
		if k.ended() != "CANCELED Replaced" || k.Status.ExitCode != nil {
			t.Errorf("the holder ended %s with code %v", k.ended(), k.Status.ExitCode)
		}
		if got := d.end(next).ended(); got != "SUCCEEDED Completed" {
			t.Errorf("the replacement ended %s", got)
		}
		if a, b := *d.runs(holder)[0].FinishedAt, d.runs(next)[0].StartedAt; a > b {
			t.Errorf("the holder ended at %s, after its replacement began at %s", a, b)
		}
		if got := d.end(waiting).ended(); got != "SUCCEEDED Completed" {
			t.Errorf("the queued one ended %s", got)
		}
		if a, b := *d.runs(next)[0].FinishedAt, d.runs(waiting)[0].StartedAt; a > b {
			t.Errorf("the queued one began at %s, before the replacement ended at %s", b, a)
		}
	})

	t.Run("purge cancels what waits, and the holder on request", func(t *testing.T) {
		t.Parallel()
		d := d.in(t)
		holder := d.submit(forever("purge", drop))
		one := d.submit(forever("purge", queue))
		two := d.submit(forever("purge", queue))
		var out struct{ TaskIDs []string }
		d.do(http.MethodPost, "/api/v1/slots/purge/purge", "").into(t, http.StatusOK, &out)
		if strings.Join(out.TaskIDs, " ") != one+" "+two {
			t.Errorf("purged %v, want %s and %s", out.TaskIDs, one, two)
		}
		for _, id := range []string{one, two} {
			if got := d.task(id).ended(); got != "CANCELED Canceled" {
				t.Errorf("%s: %s", id, got)
			}
		}
		if d.task(holder).Status.Terminal {
			t.Error("the holder was purged too")
		}
		d.do(http.MethodPost, "/api/v1/slots/purge/purge?holder=true", "").into(t, http.StatusOK, &out)
		if strings.Join(out.TaskIDs, " ") != holder || d.task(holder).ended() != "CANCELED Canceled" {
			t.Errorf("purged %v: the holder is %s", out.TaskIDs, d.task(holder).ended())
		}
		if view := d.slot("purge"); view.Phase != "idle" || view.Holder != "" {
			t.Errorf("the slot shows %+v", view)
		}
	})
}

func TestOfConcurrentSubmittersOneGetsTheSlot(t *testing.T) {
	t.Parallel()
	d := serve(t)
	const clients = 24
	answers := make([]answer, clients)
	errs := make([]error, clients)
	var group sync.WaitGroup
	for i := range clients {
		group.Go(func() {
			answers[i], errs[i] = d.try(http.MethodPost, "/api/v1/tasks", object{"spec": forever("one", drop)}.String(), "Content-Type", "application/json")
		})
	}
	group.Wait()
	var winner string
	for i, a := range answers {
		if errs[i] != nil {
			t.Fatal(errs[i])
		}
		if a.status == http.StatusCreated {
			if winner != "" {
				t.Fatal("two submissions were admitted")
			}
			winner = strings.TrimPrefix(a.header.Get("Location"), "/api/v1/tasks/")
		}
	}
	for _, a := range answers {
		if a.status != http.StatusCreated && (a.status != http.StatusConflict || !strings.Contains(a.message(), winner)) {
			t.Errorf("answer %v, want 409 naming %s", a, winner)
		}
	}
	if p := d.list("slot=one"); p.Total != 1 {
		t.Errorf("%d tasks are stored, want 1", p.Total)
	}
}

func TestIdempotencyKeys(t *testing.T) {
	t.Parallel()
	d := serve(t)
	const header = "Idempotency-Key"
	spec := forever("lane", drop)

	id := d.submit(spec, header, "k")
	if again := d.submit(spec, header, "k"); again != id {
		t.Errorf("the repeat is %s, want %s", again, id)
	}
	// Defaults that are written out make no other spec, and the body may carry the key as well.
	if again := d.submit(spec.with("restart", "RESTART_STRATEGY_NEVER").with("timeoutMs", "600000"), header, "k"); again != id {
		t.Errorf("the repeat with defaults is %s, want %s", again, id)
	}
	body := object{"spec": spec, "idempotencyKey": "k"}.String()
	a := d.do(http.MethodPost, "/api/v1/tasks", body, "Content-Type", "application/json")
	if a.status != http.StatusCreated || !strings.Contains(string(a.body), id) {
		t.Errorf("by the field: %v, want 201 with %s", a, id)
	}
	if a := d.post(spec.with("timeoutMs", 1), header, "k"); a.status != http.StatusUnprocessableEntity || a.label() != "IdempotencyKeyReused" {
		t.Errorf("another spec: %v, want 422 IdempotencyKeyReused", a)
	}
	// A refusal is not remembered; the key belongs to its slot.
	if a := d.post(spec, header, "other"); a.status != http.StatusConflict {
		t.Errorf("another key: %v, want 409", a)
	}
	if elsewhere := d.submit(forever("elsewhere", drop), header, "k"); elsewhere == id {
		t.Error("the key of one slot answers for another")
	}
	d.cancel(id)
	if again := d.submit(spec, header, "k"); again != id {
		t.Errorf("after its end the repeat is %s, want %s", again, id)
	}
	d.remove(id)
	if again := d.submit(spec, header, "k"); again != id {
		t.Errorf("after its deletion the repeat is %s, want %s", again, id)
	}
	if next := d.submit(spec, header, "other"); next == id {
		t.Error("the refused key was remembered")
	}
	for _, bad := range []string{"", strings.Repeat("x", 256)} {
		if a := d.post(spec, header, bad); a.status != http.StatusBadRequest || a.label() != "InvalidRequest" {
			t.Errorf("a key of %d bytes: %v, want 400", len(bad), a)
		}
	}
	if a := d.do(http.MethodPost, "/api/v1/tasks", body, "Content-Type", "application/json", header, "different"); a.status != http.StatusBadRequest {
		t.Errorf("two keys: %v, want 400", a)
	}
	if a := d.do(http.MethodPost, "/api/v1/tasks/batch", object{"specs": []object{spec}}.String(), "Content-Type", "application/json", header, "k"); a.status != http.StatusBadRequest {
		t.Errorf("a batch with a key: %v, want 400", a)
	}
	if longest := strings.Repeat("x", 255); d.post(forever("longest", drop), header, longest).status != http.StatusCreated {
		t.Error("a key of 255 bytes was refused")
	}
}

func TestConcurrentTwinsWithOneKeyAreOneTask(t *testing.T) {
	t.Parallel()
	d := serve(t)
	for _, policy := range []string{drop, queue, replace} {
		const twins = 12
		ids := make([]string, twins)
		var group sync.WaitGroup
		for i := range twins {
			group.Go(func() {
				a, err := d.try(http.MethodPost, "/api/v1/tasks", object{"spec": forever("twins-"+policy, policy)}.String(),
					"Content-Type", "application/json", "Idempotency-Key", "twin")
				ids[i] = fmt.Sprint(a.status, strings.TrimPrefix(a.header.Get("Location"), "/api/v1/tasks/"), err)
			})
		}
		group.Wait()
		for _, id := range ids {
			if id != ids[0] || !strings.HasPrefix(id, "201") {
				t.Errorf("%s: twins got %s and %s", policy, ids[0], id)
			}
		}
		if p := d.list("slot=twins-" + policy); p.Total != 1 {
			t.Errorf("%s: %d tasks, want 1", policy, p.Total)
		}
	}
}

func TestBatchDecidesEachSpecAsIfAlone(t *testing.T) {
	t.Parallel()
	d := serve(t)
	specs := []object{command("a", "true"), forever("b", drop), command("b", "true"), {"slot": ""}, command("b", "true").with("admission", queue)}
	var out struct {
		Results []struct{ TaskID, Error, Message string }
	}
	d.do(http.MethodPost, "/api/v1/tasks/batch", object{"specs": specs}.String(), "Content-Type", "application/json").into(t, http.StatusOK, &out)
	want := []string{"", "", "SlotBusy", "InvalidRequest", ""}
	if len(out.Results) != len(want) {
		t.Fatalf("%d results, want %d", len(out.Results), len(want))
	}
	for i, r := range out.Results {
		if r.Error != want[i] || (r.Error == "") != (r.TaskID != "") {
			t.Errorf("result %d is %+v, want error %q", i, r, want[i])
		}
	}
	for name, body := range map[string]string{
		"no specs": `{"specs":[]}`, "too many": object{"specs": make([]object, 1001)}.String(), "not a list": `{"specs":{}}`, "nothing": `{}`,
	} {
		if a := d.do(http.MethodPost, "/api/v1/tasks/batch", body, "Content-Type", "application/json"); a.status != http.StatusBadRequest {
			t.Errorf("%s: %v, want 400", name, a)
		}
	}
}
