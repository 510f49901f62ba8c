package rest_test

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"slotd/gateway/rest"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
)

func TestCancelAnswersWithTheTask(t *testing.T) {
	n := start(t, rest.Config{})
	n.set(task("tsk_1", succeeded, 4))
	n.answers(&slotdv1.TaskEnded{TaskId: "tsk_1"})
	for query, grace := range map[string]*uint64{"": nil, "?grace=0s": new(uint64(0)), "?grace=2s": new(uint64(2000))} {
		got := n.do("POST", "/api/v1/tasks/tsk_1/cancel"+query, "", "Content-Type: text/plain")
		if got.status != 200 || got.body[:27] != `{"task":{"metadata":{"id":"` {
			t.Errorf("%s: got %d %s", query, got.status, got.body)
		}
		sent := n.sent()
		cancel, _ := sent[len(sent)-1].(*slotdv1.Cancel)
		if want := (&slotdv1.Cancel{TaskId: "tsk_1", GraceMs: grace}); !proto.Equal(cancel, want) {
			t.Errorf("%s: sent %v, want %v", query, cancel, want)
		}
	}
	for _, grace := range []string{"", "5", "-1s", "2h", "x"} {
		n.do("POST", "/api/v1/tasks/tsk_1/cancel?grace="+grace, "").refuses(t, 400, "InvalidRequest", "grace: ")
	}
	n.do("POST", "/api/v1/tasks/gone/cancel", "").refuses(t, 404, "TaskNotFound", "gone")
}

func TestDeleteHonoursIfMatch(t *testing.T) {
	n := start(t, rest.Config{})
	n.set(task("tsk_1", running, 7))
	n.answers(&slotdv1.TaskEnded{})
	for match, version := range map[string]*uint64{
		`*`: nil, `"7"`: new(uint64(7)), `"8"`: new(uint64(8)), `"6", "7"`: new(uint64(7)), `"6", "5"`: new(uint64(6)), `W/"7", "3"`: new(uint64(3)),
	} {
		got := n.do("DELETE", "/api/v1/tasks/tsk_1", "", "If-Match: "+match)
		got.is(t, http.StatusNoContent, "")
		sent := n.sent()
		remove, _ := sent[len(sent)-1].(*slotdv1.Delete)
		if want := (&slotdv1.Delete{TaskId: "tsk_1", ResourceVersion: version}); !proto.Equal(remove, want) {
			t.Errorf("If-Match %s: sent %v, want %v", match, remove, want)
		}
	}
	n.do("DELETE", "/api/v1/tasks/unknown", "").is(t, http.StatusNoContent, "")
	before := len(n.sent())
	for _, match := range []string{`W/"7"`, `7`, `"x"`, `"07"`, ``, `"`} {
		n.do("DELETE", "/api/v1/tasks/tsk_1", "", "If-Match: "+match).refuses(t, 412, "PreconditionFailed", "nothing was deleted")
	}
	if after := len(n.sent()); after != before {
		t.Errorf("%d commands were sent for conditions that can not hold", after-before)
	}
	n.answers(messages.Reject(messages.LabelPreconditionFailed, "changed", 0))
	n.do("DELETE", "/api/v1/tasks/tsk_1", "", `If-Match: "7"`).refuses(t, 412, "PreconditionFailed", "changed")
}

func TestSlotsAreShownAndPurged(t *testing.T) {
	n := start(t, rest.Config{})
	counters := func(admitted string) string {
		return `"counters":{"admitted":"` + admitted + `","queued":"0","replaced":"0","superseded":"0","dropped":"0","queueFull":"0","repeated":"0"}`
	}
	n.do("GET", "/api/v1/slots", "").is(t, 200, `{"slots":[{"slot":"a","phase":"occupied","holder":"tsk_1","holderKind":"subprocess","queue":["tsk_2"],`+counters("1")+`}]}`)
	n.do("GET", "/api/v1/slots/a.b-c", "").is(t, 200, `{"slot":{"slot":"a.b-c","phase":"idle","queue":[],`+counters("0")+`}}`)
	n.answers(&slotdv1.SlotPurged{TaskIds: []string{"tsk_2"}})
	n.do("POST", "/api/v1/slots/a/purge?holder=true", "").is(t, 200, `{"taskIds":["tsk_2"]}`)
	if purge, _ := n.sent()[0].(*slotdv1.PurgeSlot); !proto.Equal(purge, &slotdv1.PurgeSlot{Slot: "a", Holder: true}) {
		t.Errorf("sent %v", purge)
	}
	n.answers(&slotdv1.SlotPurged{})
	n.do("POST", "/api/v1/slots/a/purge", "").is(t, 200, `{"taskIds":[]}`)
	n.do("POST", "/api/v1/slots/a/purge?holder=x", "").refuses(t, 400, "InvalidRequest", "holder: ")
	for _, name := range []string{"%20", "a%2Fb", "%2E%2E", "a+b", "%C3%A4"} {
		n.do("GET", "/api/v1/slots/"+name, "").refuses(t, 400, "InvalidRequest", "slot")
		n.do("POST", "/api/v1/slots/"+name+"/purge", "").refuses(t, 400, "InvalidRequest", "slot")
	}
	if got := n.do("GET", "/api/v1/introspection", ""); got.status != 200 || got.body[:15] != `{"node":"here",` {
		t.Errorf("introspection: got %d %s", got.status, got.body)
	}
}

func TestWaitAnswersWhenItHolds(t *testing.T) {
	n := start(t, rest.Config{})
	n.set(task("tsk_1", pending, 1))
	for _, c := range []struct {
		query string
		next  uint64
	}{{"?wait=1m&for=running", 2}, {"?wait=1m", 3}, {"?wait=1m&for=running", 0}} {
		got := make(chan reply, 1)
		go func() { got <- n.do("GET", "/api/v1/tasks/tsk_1"+c.query, "") }()
		switch c.next {
		case 2:
			receive(t, n.waiting, "waiting")
			n.set(task("tsk_1", running, 2))
		case 3:
			receive(t, n.waiting, "waiting")
			n.set(task("tsk_1", succeeded, 3))
		}
		if r := receive(t, got, "the answer"); r.status != 200 || (c.next > 0 && r.header.Get("ETag") != `"`+string('0'+rune(c.next))+`"`) {
			t.Errorf("%s: got %d, ETag %s", c.query, r.status, r.header.Get("ETag"))
		}
	}
	n.set(task("tsk_2", pending, 5))
	if r := n.do("GET", "/api/v1/tasks/tsk_2?wait=1ms", ""); r.status != 200 || r.header.Get("ETag") != `"5"` {
		t.Errorf("after the time: got %d %s", r.status, r.body)
	}
	n.do("GET", "/api/v1/tasks/none?wait=1ms", "").refuses(t, 404, "TaskNotFound", "none")
	for query, says := range map[string]string{
		"wait=x": "wait: ", "wait=30": "wait: ", "wait=-1s": "wait: ", "wait=5m1s": "wait: must be at most 5m", "for=done": "for: ", "wait=1s&wait=1s": "wait is given more than once", "w=1": "unknown parameter",
	} {
		n.do("GET", "/api/v1/tasks/tsk_2?"+query, "").refuses(t, 400, "InvalidRequest", says)
	}
}

func TestAClientThatHangsUpUndoesNothing(t *testing.T) {
	n := start(t, rest.Config{})
	n.set(task("tsk_1", running, 1))
	asked := make(chan struct{}, 2)
	n.answer = func(proto.Message) proto.Message { asked <- struct{}{}; return nil }
	for _, request := range [][2]string{{"POST", "/api/v1/tasks/tsk_1/cancel"}, {"DELETE", "/api/v1/tasks/tsk_1"}} {
		ctx, cancel := context.WithCancel(t.Context())
		r, err := http.NewRequestWithContext(ctx, request[0], n.url+request[1], nil)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() {
			response, err := http.DefaultClient.Do(r)
			if err == nil {
				err = response.Body.Close()
			}
			done <- err
		}()
		receive(t, asked, "the command")
		cancel()
		if err := receive(t, done, "the client's end"); err == nil {
			t.Error("the request was answered")
		}
		n.log.await(t, "http request", `"status":499`, request[0])
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestDrainRefusesSubmissionsOnly(t *testing.T) {
	n := start(t, rest.Config{})
	n.set(task("tsk_1", succeeded, 1))
	n.answers(&slotdv1.TaskEnded{})
	n.server.Drain()
	for path, body := range map[string]string{"/api/v1/tasks": `{"spec":` + goodSpec + `}`, "/api/v1/tasks/batch": `{"specs":[` + goodSpec + `]}`} {
		got := n.do("POST", path, body, asJSON)
		got.refuses(t, 503, "Unavailable", "stopping")
		if got.header.Get("Retry-After") == "" {
			t.Error("503 without Retry-After")
		}
	}
	n.do("GET", "/readyz", "").refuses(t, 503, "Unavailable", "stopping")
	for _, request := range [][2]string{{"GET", "/healthz"}, {"GET", "/api/v1/tasks"}, {"GET", "/api/v1/tasks/tsk_1"}, {"POST", "/api/v1/tasks/tsk_1/cancel"}} {
		if got := n.do(request[0], request[1], ""); got.status != 200 {
			t.Errorf("%v: got %d %s", request, got.status, got.body)
		}
	}
	n.do("DELETE", "/api/v1/tasks/tsk_1", "").is(t, 204, "")
}

func TestShutdownLetsWaitsAnswerAndEndsStreams(t *testing.T) {
	n := start(t, rest.Config{})
	n.set(task("tsk_1", running, 1))
	f := n.follow()
	stream := n.begin(t.Context(), "GET", "/api/v1/tasks/tsk_1/logs", nil) //nolint:bodyclose // readOff closes it
	waited := make(chan reply, 1)
	go func() { waited <- n.do("GET", "/api/v1/tasks/tsk_1?wait=5m", "") }()
	receive(t, n.waiting, "waiting")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := n.server.Shutdown(ctx); err != nil {
		t.Fatalf("shutdown: %v", err)
	}
	if r := receive(t, waited, "the answer"); r.status != 200 {
		t.Errorf("wait: got %d %s", r.status, r.body)
	}
	receive(t, f.closed, "the end of the cursor")
	readOff(t, stream)
}

// Browsers and HTTP libraries open connections that they may need later.
func TestShutdownDoesNotWaitForConnectionsThatHaveSaidNothing(t *testing.T) {
	n := start(t, rest.Config{})
	silent, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(n.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	n.do("GET", "/healthz", "")                                    // so it has been accepted
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second) // net/http waits for 5
	defer cancel()
	if err := n.server.Shutdown(ctx); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	if _, err := silent.Read(make([]byte, 1)); err == nil {
		t.Error("the silent connection was sent something")
	}
	if err := silent.Close(); err != nil {
		t.Error(err)
	}
}

func TestShutdownCutsWhatDoesNotEnd(t *testing.T) {
	n := start(t, rest.Config{})
	n.set(task("tsk_1", running, 1))
	asked := make(chan struct{}, 1)
	n.answer = func(proto.Message) proto.Message { asked <- struct{}{}; return nil }
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, n.url+"/api/v1/tasks/tsk_1/cancel", nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		response, err := (&http.Client{Transport: &http.Transport{}}).Do(request)
		if err == nil {
			err = response.Body.Close()
		}
		done <- err
	}()
	receive(t, asked, "the command")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := n.server.Shutdown(ctx); err == nil {
		t.Error("shutdown cut a request off and said nothing")
	}
	if err := receive(t, done, "the client's end"); err == nil {
		t.Error("the request was answered")
	}
}
