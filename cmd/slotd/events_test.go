package main

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// endless answers with events, ids e0, e1, …, and stays until the client leaves.
func endless(events ...string) http.HandlerFunc {
	give := frames(events...)
	return func(w http.ResponseWriter, r *http.Request) {
		give(w, r)
		_ = http.NewResponseController(w).Flush() // the client's end shows a failure
		<-r.Context().Done()
	}
}

var exampleEvents = []string{
	`{"type":"task","slot":"build","taskId":"` + idA + `","phase":"TASK_STATUS_PENDING","attempt":0,"time":1772600767000,"terminal":false,"resourceVersion":1,"deleted":false}`,
	`{"type":"slot","slot":"build","taskId":"` + idA + `","phase":"occupied","attempt":0,"time":1772600767000,"queued":0}`,
	`{"type":"task","slot":"build","taskId":"` + idA + `","phase":"TASK_STATUS_RUNNING","attempt":1,"time":1772600767001,"terminal":false,"resourceVersion":2,"node":"n1","deleted":false}`,
	`{"type":"task","slot":"build","taskId":"` + idA + `","phase":"TASK_STATUS_FAILED","reason":"NonZeroExit","attempt":1,"time":1772600768000,"terminal":false,"resourceVersion":3,"exitCode":2,"nextAttemptAt":1772600769500,"node":"n1","deleted":false}`,
	`{"type":"slot","slot":"build","taskId":"` + idA + `","phase":"retiring","reason":"Replaced","attempt":2,"time":1772600770000,"replacement":"` + idB + `","queued":3}`,
	`{"type":"gap","skipped":42,"time":1772600770000}`,
	`{"type":"task","slot":"a-very-long-name-of-a-slot","taskId":"` + idA + `","phase":"TASK_STATUS_FAILED","reason":"Signaled","attempt":2,"time":1772600771000,"terminal":true,"resourceVersion":4,"signal":9,"node":"n1","deleted":false}`,
	`{"type":"task","slot":"build","taskId":"` + idA + `","phase":"TASK_STATUS_FAILED","reason":"Signaled","attempt":2,"time":1772600772000,"terminal":true,"resourceVersion":4,"signal":9,"node":"n1","deleted":true}`,
	`{"type":"slot","slot":"build","phase":"idle","attempt":0,"time":1772600773000,"queued":0}`,
	`{"type":"gap","skipped":0,"time":1772600773000}`,
}

func TestEventsFormats(t *testing.T) {
	for _, format := range []string{"table", "wide", "json", "jsonl"} {
		w := daemon(t, routes{"GET /api/v1/events": endless(exampleEvents...)})
		ended := make(chan int)
		go func() { ended <- w.execute(t.Context(), []string{"events", "-o", format}) }()
		eventually(t, "everything is printed", func() bool {
			if format == "table" || format == "wide" {
				return strings.Count(w.talk.String(), "\n") == 2
			}
			return strings.Count(w.out.String(), "\n") == len(exampleEvents)
		})
		w.signals <- syscall.SIGINT
		if code := <-ended; code != 130 {
			t.Errorf("exit %d: %s", code, w.talk.String())
		}
		golden(t, "events-"+strings.TrimSuffix(format, "l"), w.out.String())
		if said := w.talk.String(); strings.Contains(said, "missing") != (format == "table" || format == "wide") {
			t.Errorf("%s: said %q", format, said)
		}
	}
}

func TestEventsAskForWhatIsWanted(t *testing.T) {
	asked := make(chan string, 1)
	w := daemon(t, routes{"GET /api/v1/events": func(rw http.ResponseWriter, r *http.Request) {
		asked <- r.URL.RawQuery + " after " + r.Header.Get("Last-Event-ID")
		endless()(rw, r)
	}})
	ended := make(chan int)
	go func() {
		ended <- w.execute(t.Context(), []string{"events", "--slot", "s", "--task", idA, "-l", "app=web", "--after", "e-5"})
	}()
	if got, want := <-asked, "label=app%3Dweb&slot=s&task="+idA+" after e-5"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	w.signals <- syscall.SIGTERM
	if code := <-ended; code != 143 {
		t.Errorf("exit %d", code)
	}
}

func TestEventsMistakes(t *testing.T) {
	for args, says := range map[string]string{
		"-o yaml":    "events are text",
		"-o name":    "events are text",
		"--slot ..":  "slot",
		"-l =":       "label_selector",
		"--after=":   "--after cannot be empty",
		"tsk_1":      "unknown command",
		"--follow":   "unknown flag",
		"--slot a b": "unknown command",
	} {
		w := newWorld(t)
		if code := w.run(t, append([]string{"events"}, strings.Fields(args)...)...); code != 2 || !strings.Contains(w.talk.String(), says) {
			t.Errorf("%s: exit %d, said %q, want %q", args, code, w.talk.String(), says)
		}
	}
	w := daemon(t, routes{"GET /api/v1/events": refuse(400, "InvalidRequest", "after: not an event id")})
	if code := w.run(t, "events", "--after", "x"); code != 2 || !strings.Contains(w.talk.String(), "not an event id") {
		t.Errorf("exit %d, said %q", code, w.talk.String())
	}
	w = daemon(t, routes{"GET /api/v1/tasks": jsonAnswer(t, &soltiv1.ListTasksResponse{})})
	if code := w.run(t, "events", "--task", "tsk_01"); code != 3 {
		t.Errorf("an id that nothing begins with: exit %d, said %q", code, w.talk.String())
	}
}

func TestNodesFormats(t *testing.T) {
	nodes := &slotdv1.ListNodesResponse{Nodes: []*slotdv1.NodeView{
		{
			Name: "n1", Self: true, Ready: true, Version: "1.2.3", StartedAt: ago(3 * time.Hour), Labels: map[string]string{"zone": "a", "disk": "ssd"},
			Kinds: []string{"subprocess", "wasm"}, AttemptsRunning: 4, TasksActive: 17,
		},
		{Name: "n2", Problem: "recovery is under way", Version: "1.2.3", StartedAt: ago(time.Second)},
	}}
	for _, format := range formatNames() {
		w := daemon(t, routes{"GET /api/v1/nodes": jsonAnswer(t, nodes)})
		if code := w.run(t, "nodes", "-o", format); code != 0 || w.talk.String() != "" {
			t.Errorf("exit %d, said %q", code, w.talk.String())
		}
		golden(t, "nodes-"+format, w.out.String())
	}
}
