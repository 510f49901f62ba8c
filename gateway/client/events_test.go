package client_test

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slotd/gateway/client"
	slotdv1 "slotd/messages/slotd/v1"
)

// transitions are frames as daemons send them.
var transitions = []string{
	`{"type":"task","slot":"s","taskId":"tsk_1","phase":"TASK_STATUS_RUNNING","attempt":1,"time":1712750400000,"terminal":false,"resourceVersion":2,"node":"n1","deleted":false}`,
	`{"type":"task","slot":"s","taskId":"tsk_1","phase":"TASK_STATUS_FAILED","reason":"NonZeroExit","attempt":1,"time":5,"terminal":false,"resourceVersion":3,"exitCode":0,"nextAttemptAt":7,"deleted":false}`,
	`{"type":"task","slot":"s","taskId":"tsk_1","phase":"TASK_STATUS_FAILED","reason":"Signaled","attempt":2,"time":8,"terminal":true,"resourceVersion":4,"signal":9,"deleted":true}`,
	`{"type":"slot","slot":"s","taskId":"tsk_1","phase":"retiring","reason":"Replaced","attempt":2,"time":9,"replacement":"tsk_2","queued":3}`,
	`{"type":"slot","slot":"s","phase":"idle","attempt":0,"time":10,"queued":0}`,
	`{"type":"gap","time":11,"skipped":4}`,
}

func transition(id, data string) string { return "event: any\nid: " + id + "\ndata: " + data + "\n\n" }

// follow collects events, each as JSON, until so many have come or the stream ends.
func follow(t *testing.T, c *client.Client, opt client.EventOptions, most int) (got []string, failure error) {
	t.Helper()
	for event, err := range c.Events(t.Context(), opt) {
		if err != nil {
			return got, err
		}
		data, err := client.MarshalTransition(event)
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, string(data)); len(got) == most {
			break
		}
	}
	return got, nil
}

func TestEventsAreDecodedAndWrittenAsTheyCame(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		pieces := []string{"id: e0\n\n", transition("e", `{"type":"ofTheFuture"}`)}
		for i, data := range transitions {
			pieces = append(pieces, ": keep-alive\nid: k\n\n", transition(string(rune('a'+i)), data))
		}
		stream(t, w, pieces...)
	})
	got, err := follow(t, c, client.EventOptions{}, len(transitions))
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for i, data := range transitions {
		want = append(want, `{"id":"`+string(rune('a'+i))+`",`+strings.TrimPrefix(data, "{"))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := client.MarshalTransition(&slotdv1.Event{Id: "x"}); err == nil {
		t.Error("an event without a kind was written")
	}
}

func TestEventsSendTheirOptions(t *testing.T) {
	for _, tc := range []struct {
		opt         client.EventOptions
		query, last string
	}{
		{client.EventOptions{}, "", ""},
		{client.EventOptions{Slot: "s", Task: "tsk_1", Selector: "app=web,!old", After: "x"}, "label=app%3Dweb%2C%21old&slot=s&task=tsk_1", "x"},
	} {
		c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/api/v1/events" || r.URL.RawQuery != tc.query || r.Header.Get("Last-Event-ID") != tc.last {
				t.Errorf("got %s after %q, want %s after %q", r.URL, r.Header.Get("Last-Event-ID"), tc.query, tc.last)
			}
			stream(t, w, transition("a", transitions[0]))
		})
		if got, err := follow(t, c, tc.opt, 1); err != nil || len(got) != 1 {
			t.Errorf("got %v, %v", got, err)
		}
	}
}

// Also a daemon that ends the stream properly, because it stops, may be back soon.
func TestEventsAreResumedAfterTheLastPlaceTheyTold(t *testing.T) {
	var (
		mu    sync.Mutex
		after []string
	)
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		after = append(after, r.Header.Get("Last-Event-ID"))
		switch len(after) {
		case 1:
			stream(t, w, "id: place\n\n") // and not one event
			cutOff(t, w)
		case 2:
			stream(t, w, "id: place\n\n", transition("a", transitions[0]), "id: torn\nda")
			cutOff(t, w)
		case 3:
			stream(t, w, "id: a\n\n", transition("b", transitions[1]), ": keep-alive\nid: c\n\n")
		case 4:
			stream(t, w, transition("d", transitions[5]))
		}
	})
	got, err := follow(t, c, client.EventOptions{}, 3)
	if err != nil || len(got) != 3 || !strings.Contains(got[2], "gap") {
		t.Fatalf("got %v, %v", got, err)
	}
	mu.Lock()
	defer mu.Unlock()
	if diff := cmp.Diff([]string{"", "place", "a", "c"}, after); diff != "" {
		t.Error(diff)
	}
}

func TestEventsThatAreRefusedEndAtOnce(t *testing.T) {
	calls := 0
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		calls++
		w.WriteHeader(http.StatusBadRequest)
		write(t, w, `{"error":"InvalidRequest","message":"after: no event id"}`)
	})
	var refused *client.Error
	if _, err := follow(t, c, client.EventOptions{After: "x"}, 1); !errors.As(err, &refused) || refused.Status != 400 || calls != 1 {
		t.Errorf("got %v after %d calls", err, calls)
	}
	var unreachable *client.UnreachableError
	if _, err := follow(t, dial(t, "http://"+freePort(t)), client.EventOptions{}, 1); !errors.As(err, &unreachable) {
		t.Errorf("without a daemon: %v", err)
	}
	odd := serve(t, func(w http.ResponseWriter, _ *http.Request) { stream(t, w, transition("a", "{")) })
	if _, err := follow(t, odd, client.EventOptions{}, 1); err == nil || !strings.Contains(err.Error(), `event "a"`) {
		t.Errorf("of what is no event: %v", err)
	}
}

func TestTheNewestEventHasAnID(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodHead || r.URL.Path != "/api/v1/events" {
			t.Errorf("got %s %s", r.Method, r.URL)
		}
		w.Header().Set("Last-Event-ID", "e-5")
	})
	if id, err := c.LastEvent(t.Context()); err != nil || id != "e-5" {
		t.Errorf("got %q, %v", id, err)
	}
	older := serve(t, func(http.ResponseWriter, *http.Request) {})
	if id, err := older.LastEvent(t.Context()); err == nil {
		t.Errorf("got %q of a server that has none", id)
	}
}

func TestNodes(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/nodes" {
			t.Errorf("got %s", r.URL)
		}
		reply(t, w, &slotdv1.ListNodesResponse{Nodes: []*slotdv1.NodeView{{Name: "n1", Self: true, Kinds: []string{"subprocess"}}}})
	})
	nodes, err := c.Nodes(t.Context())
	if err != nil || len(nodes) != 1 || nodes[0].GetName() != "n1" || !nodes[0].GetSelf() {
		t.Errorf("got %v, %v", nodes, err)
	}
}
