package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// transition is one event of the stream of transitions.
type transition struct {
	id string

	Type, Slot, TaskID, Phase, Reason, Replacement string
	Attempt, Queued, Skipped, ResourceVersion      int
	ExitCode                                       *int
	Time                                           int64
	Terminal, Deleted                              bool
}

// String is the event in short, as in "task lane tsk_… RUNNING 1".
func (e transition) String() string {
	words := []string{e.Type}
	add := func(name, value string) {
		if value != "" && value != "0" && value != "false" {
			words = append(words, name+value)
		}
	}
	add("", e.Slot)
	add("", e.TaskID)
	add("", strings.TrimPrefix(e.Phase, "TASK_STATUS_"))
	add("", itoa(e.Attempt))
	add("", e.Reason)
	if e.ExitCode != nil {
		add("exit=", fmt.Sprintf("%02d", *e.ExitCode))
	}
	add("replacement=", e.Replacement)
	add("queued=", itoa(e.Queued))
	add("skipped=", itoa(e.Skipped))
	add("terminal=", fmt.Sprint(e.Terminal))
	add("deleted=", fmt.Sprint(e.Deleted))
	return strings.Join(words, " ")
}

// watch opens the stream of transitions.
func (d *daemon) watch(query string, headers ...string) *stream {
	d.t.Helper()
	req, err := http.NewRequestWithContext(contextOf(d.t), http.MethodGet, "http://"+d.http+"/api/v1/events?"+query, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := d.client.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { closed(d.t, resp.Body) })
	if kind := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || kind != "text/event-stream" {
		body, err := io.ReadAll(resp.Body)
		d.t.Fatalf("events: %d %s %s %v", resp.StatusCode, kind, body, err)
	}
	return &stream{t: d.t, body: resp.Body, events: bufio.NewReaderSize(resp.Body, 1<<20)}
}

// transition reads the next one.
func (s *stream) transition() transition {
	s.t.Helper()
	frame, ok := s.next()
	if !ok {
		s.t.Fatal("the stream has ended")
	}
	e := transition{id: frame.id}
	_, data, _ := strings.Cut(frame.raw, "data: ")
	if err := json.Unmarshal([]byte(data), &e); err != nil {
		s.t.Fatalf("event %q: %v", data, err)
	}
	if e.Type != frame.name || e.id == "" || e.Time == 0 {
		s.t.Errorf("got %q", frame.raw)
	}
	return e
}

// story reads up to the last of a story, whose ids stand for names.
func (s *stream) story(last string, names map[string]string) []string {
	s.t.Helper()
	var lines []string
	for {
		line := s.transition().String()
		for id, name := range names {
			line = strings.ReplaceAll(line, id, name)
		}
		if lines = append(lines, line); line == last {
			return lines
		}
	}
}

func alike(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestTransitionsAreToldInTheirOrder(t *testing.T) {
	t.Parallel()
	d := serve(t)
	all, lane := d.watch(""), d.watch("slot=lane")
	first := d.submit(shell("lane", "sleep 1000"))
	waits := d.submit(shell("lane", "exit 3").with("admission", queue))
	second := d.submit(shell("lane", "sleep 1000").with("admission", replace))
	d.running(second)
	d.cancel(second)
	d.end(waits)
	d.remove(waits)
	names := map[string]string{first: "first", waits: "waits", second: "second"}
	want := []string{
		"task lane first RUNNING 1",
		"slot lane first occupied 1",
		"task lane waits PENDING",
		"task lane second PENDING",
		"slot lane first retiring 1 Replaced replacement=second queued=1",
		"task lane first RUNNING 1", // and is being stopped
		"task lane first CANCELED 1 Replaced terminal=true",
		"task lane second RUNNING 1",
		"slot lane second occupied 1 queued=1",
		"task lane second RUNNING 1",
		"slot lane second retiring 1 Canceled queued=1",
		"task lane second CANCELED 1 Canceled terminal=true",
		"task lane waits RUNNING 1",
		"slot lane waits occupied 1",
		"task lane waits FAILED 1 NonZeroExit exit=03 terminal=true",
		"slot lane idle",
		"task lane waits FAILED 1 NonZeroExit exit=03 terminal=true deleted=true",
	}
	got := lane.story("task lane waits FAILED 1 NonZeroExit exit=03 terminal=true deleted=true", names)
	alike(t, "the lane", got, want)
	alike(t, "all", all.story("task lane waits FAILED 1 NonZeroExit exit=03 terminal=true deleted=true", names), got)
}

// Who comes back with the id it had last gets the rest, each event once.
func TestEventsAreResumedWithoutLossOrRepeat(t *testing.T) {
	t.Parallel()
	d := serve(t)
	whole, torn := d.watch(""), d.watch("")
	var tasks []string
	for n := range 5 {
		tasks = append(tasks, d.submit(shell(fmt.Sprintf("lane-%d", n), "true")))
	}
	var ids []string
	for range 4 {
		ids = append(ids, torn.transition().id)
	}
	closed(t, torn.body)
	for _, id := range tasks {
		d.end(id)
	}
	d.remove(tasks[4])
	for last := ""; last != "-"+tasks[4]; {
		resumed := d.watch("", "Last-Event-ID", ids[len(ids)-1])
		for range 3 {
			e := resumed.transition()
			ids = append(ids, e.id)
			if last = e.TaskID; e.Deleted {
				last = "-" + last
				break
			}
		}
		closed(t, resumed.body)
	}
	for i, id := range ids {
		if e := whole.transition(); e.id != id {
			t.Fatalf("event %d has the id %s, the torn stream had %s", i, e.id, id)
		}
	}
	for after, says := range map[string]string{"x": "is not an event id", ids[0] + "0000000": "has not happened yet"} {
		if a := d.get("/api/v1/events", "Last-Event-ID", after); a.status != http.StatusBadRequest || !strings.Contains(a.message(), says) {
			t.Errorf("after %s: %v", after, a)
		}
	}
}

// A client that opens the stream and then reads the state knows everything: each task as it was listed or as an event
// told, whichever is newer, is as it is in the end.
func TestAListAndTheEventsAfterItAreTheWholeTruth(t *testing.T) {
	t.Parallel()
	d := serve(t)
	var load sync.WaitGroup
	defer load.Wait()
	load.Go(func() {
		for n := range 300 {
			spec := shell(fmt.Sprintf("lane-%d", n%8), "true").with("admission", queue)
			a, err := d.try(http.MethodPost, "/api/v1/tasks", object{"spec": spec}.String(), "Content-Type", "application/json")
			if err != nil || a.status != http.StatusCreated {
				t.Errorf("submit: %v %v", a, err)
				return
			}
		}
	})
	type state struct {
		version int
		phase   string
	}
	for range 10 {
		at := d.do(http.MethodHead, "/api/v1/events", "").header.Get("Last-Event-ID")
		known := map[string]state{}
		for _, k := range d.list("limit=1000").Tasks {
			known[k.Metadata.ID] = state{number(t, k.Metadata.ResourceVersion), k.Status.Phase}
		}
		mark := d.submit(shell("mark", "true").with("admission", queue))
		events := d.watch("", "Last-Event-ID", at)
		for {
			e := events.transition()
			if e.Type == "task" && e.ResourceVersion > known[e.TaskID].version {
				if e.ResourceVersion != known[e.TaskID].version+1 {
					t.Fatalf("of task %s version %d is known, and %d is told next", e.TaskID, known[e.TaskID].version, e.ResourceVersion)
				}
				known[e.TaskID] = state{e.ResourceVersion, e.Phase}
			}
			if e.Terminal && !d.task(e.TaskID).Status.Terminal {
				t.Fatalf("task %s was told to be terminal, and is not", e.TaskID)
			}
			if e.TaskID == mark && e.Terminal {
				break
			}
		}
		closed(t, events.body)
	}
}

// A daemon that was killed has forgotten its events: who comes back is told so, and gets what has happened since.
func TestAfterACrashTheStreamBeginsWithAGap(t *testing.T) {
	t.Parallel()
	d := serve(t)
	events := d.watch("")
	id := d.submit(shell("lane", "sleep 1000"))
	last := events.transition()
	if code := d.stop(syscall.SIGKILL); code != -1 {
		t.Fatalf("the daemon ended with %d", code)
	}
	d = launch{data: d.data}.serve(t)
	d.end(id)
	events = d.watch("slot=lane", "Last-Event-ID", last.id)
	gap := events.transition()
	alike(t, "after the crash", []string{gap.String(), events.transition().String(), events.transition().String()}, []string{
		"gap", "task lane " + id + " FAILED 1 NodeLost terminal=true", "slot lane idle",
	})
	again := d.watch("slot=lane", "Last-Event-ID", gap.id)
	if e := again.transition(); e.Type != "task" {
		t.Errorf("after the id of the gap: %v", e)
	}
}

func TestEventsAreChosen(t *testing.T) {
	t.Parallel()
	d := serve(t)
	web := d.submit(shell("a", "true").with("labels", object{"app": "web"}))
	d.end(web)
	db := d.submit(shell("a", "true").with("labels", object{"app": "db"}))
	d.end(db)
	other := d.submit(shell("b", "true").with("labels", object{"app": "web"}))
	d.end(other)
	for _, id := range []string{web, db, other} {
		d.remove(id)
	}
	d.end(d.submit(shell("mark", "true")))
	first := d.do(http.MethodHead, "/api/v1/events", "").header.Get("Last-Event-ID")
	start := first[:strings.LastIndex(first, "-")] + "-0"
	names := map[string]string{web: "web", db: "db", other: "other"}
	for query, tt := range map[string]struct {
		want []string
		none string // what is not wanted
	}{
		"slot=a":           {[]string{"web", "-web", "db", "-db"}, "other"},
		"task=" + db:       {[]string{"db", "-db"}, "web other slot"},
		"label=app%3Dweb":  {[]string{"web", "-web", "other", "-other"}, "db slot"},
		"label=app&slot=b": {[]string{"other", "-other"}, "web db slot"},
	} {
		events, left := d.watch(query, "Last-Event-ID", start), map[string]bool{}
		for _, name := range tt.want {
			left[name] = true
		}
		for len(left) > 0 {
			e := events.transition()
			name := names[e.TaskID]
			if e.Type == "slot" {
				name = "slot"
			}
			if slices.Contains(strings.Fields(tt.none), name) {
				t.Errorf("%s: got %v", query, e)
			}
			if e.Deleted {
				name = "-" + name
			}
			delete(left, name)
		}
		closed(t, events.body)
	}
}

// A reader that does not read holds up nobody, and finds everything when it does.
func TestAReaderThatStandsStillHoldsUpNothing(t *testing.T) {
	t.Parallel()
	d := serve(t)
	var dial net.Dialer
	connection, err := dial.DialContext(t.Context(), "tcp", d.http)
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, connection)
	if _, err := io.WriteString(connection, "GET /api/v1/events HTTP/1.0\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the reader is there", func() bool { return number(t, d.introspect().Events.Subscribers) == 1 })
	const lanes, rounds = 10, 3
	specs := make([]object, 0, 100*lanes)
	for n := range lanes {
		d.running(d.submit(shell(fmt.Sprintf("lane-%d", n), "sleep 1000")))
		for range 100 {
			specs = append(specs, shell(fmt.Sprintf("lane-%d", n), "true").with("admission", queue))
		}
	}
	batch := object{"specs": specs}.String()
	for range rounds {
		var out struct {
			Results []struct{ TaskID, Message string }
		}
		d.do(http.MethodPost, "/api/v1/tasks/batch", batch, "Content-Type", "application/json").into(t, http.StatusOK, &out)
		for _, r := range out.Results {
			if r.TaskID == "" {
				t.Fatal(r.Message)
			}
		}
		for n := range lanes {
			if a := d.do(http.MethodPost, fmt.Sprintf("/api/v1/slots/lane-%d/purge", n), ""); a.status != http.StatusOK {
				t.Fatal(a)
			}
		}
	}
	last := d.do(http.MethodHead, "/api/v1/events", "").header.Get("Last-Event-ID")
	events := &stream{t: t, events: bufio.NewReaderSize(connection, 1<<20)}
	for line := ""; line != "\r\n"; { // the head of the answer
		if line, err = events.events.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	epoch, _, _ := strings.Cut(last, "-")
	for n := 1; ; n++ {
		e := events.transition()
		if want := fmt.Sprintf("%s-%d", epoch, n); e.id != want {
			t.Fatalf("got %s, want %s", e.id, want)
		}
		if e.id == last {
			if n < 2*100*lanes*rounds {
				t.Errorf("only %d events", n)
			}
			break
		}
	}
}
