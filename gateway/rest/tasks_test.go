package rest_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"slotd/gateway/rest"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

const (
	pending   = soltiv1.TaskStatus_TASK_STATUS_PENDING
	running   = soltiv1.TaskStatus_TASK_STATUS_RUNNING
	succeeded = soltiv1.TaskStatus_TASK_STATUS_SUCCEEDED
)

const goodSpec = `{"slot":"a","timeoutMs":1000,"kind":{"subprocess":{"command":{"command":"true"}}}}`

func TestSubmitAnswersWithTheIDAndItsPlace(t *testing.T) {
	n := start(t, rest.Config{})
	got := n.do("POST", "/api/v1/tasks", `{"spec":`+goodSpec+`}`, "Content-Type: application/json; charset=utf-8")
	got.is(t, http.StatusCreated, `{"taskId":"tsk_new"}`)
	if location := got.header.Get("Location"); location != "/api/v1/tasks/tsk_new" {
		t.Errorf("Location = %q", location)
	}
	submit, _ := n.sent()[0].(*slotdv1.Submit)
	if submit.GetSpec().GetStopGraceMs() != messages.DefaultStopGraceMs || submit.GetIdempotencyKey() != "" {
		t.Errorf("sent %v, want a spec with defaults and no key", submit)
	}
}

func TestSubmitRefusesBadBodies(t *testing.T) {
	n := start(t, rest.Config{})
	for body, says := range map[string]string{
		``:                         "the body is empty",
		`null`:                     "found null",
		`[]`:                       "found an array",
		`{`:                        "malformed JSON at byte 2",
		`{"spec":{}} trailing`:     "expected nothing after the JSON object",
		`{}`:                       "missing spec",
		`{"spec":null}`:            "missing spec",
		`{"spec":{"slot":" "}}`:    "slot cannot be empty",
		`{"spec":{"slot":7}}`:      "spec.slot: expected a string, found a number",
		`{"spec":{},"x":1}`:        `unknown field \"x\"`,
		`{"spec":{"slot":"a"}}`:    "missing task kind",
		`{"spec":{"restart":9}}`:   "spec.restart: unknown or unspecified restart strategy 9",
		`{"spec":{"timeoutMs":x}}`: "malformed JSON",
		`{"spec":` + strings.Replace(goodSpec, "1000", "0", 1) + `}`:                                                         "timeout_ms cannot be zero",
		`{"spec":` + strings.Replace(goodSpec, `"kind"`, `"backoff":{"firstMs":1,"maxMs":1,"factor":"NaN"},"kind"`, 1) + `}`: "factor",
	} {
		n.do("POST", "/api/v1/tasks", body, asJSON).refuses(t, http.StatusBadRequest, "InvalidRequest", says)
	}
	n.do("POST", "/api/v1/tasks?slot=a", `{"spec":`+goodSpec+`}`, asJSON).refuses(t, http.StatusBadRequest, "InvalidRequest", "unknown parameter")
	if sent := n.sent(); len(sent) != 0 {
		t.Errorf("the registry was sent %v", sent)
	}
}

func TestSubmitTakesJSONOnly(t *testing.T) {
	n := start(t, rest.Config{})
	for _, headers := range [][]string{nil, {"Content-Type: text/plain"}, {"Content-Type: application/x-www-form-urlencoded"}, {"Content-Type: ;"}} {
		for _, path := range []string{"/api/v1/tasks", "/api/v1/tasks/batch"} {
			n.do("POST", path, `{}`, headers...).refuses(t, http.StatusUnsupportedMediaType, "UnsupportedMediaType", "application/json")
		}
	}
}

func TestIdempotencyKeyComesFromHeaderOrBody(t *testing.T) {
	n := start(t, rest.Config{})
	with := func(field string) string { return `{"spec":` + goodSpec + field + `}` }
	for _, c := range []struct{ field, header string }{
		{"", "Idempotency-Key: k"},
		{`,"idempotencyKey":"k"`, "X-Other: 1"},
		{`,"idempotency_key":"k"`, "Idempotency-Key: k"},
	} {
		n.do("POST", "/api/v1/tasks", with(c.field), asJSON, c.header).is(t, http.StatusCreated, `{"taskId":"tsk_new"}`)
	}
	for _, command := range n.sent() {
		if submit, _ := command.(*slotdv1.Submit); submit.GetIdempotencyKey() != "k" {
			t.Errorf("sent %v, want the key k", command)
		}
	}
	long := strings.Repeat("k", 256)
	for name, r := range map[string]reply{
		"differ":       n.do("POST", "/api/v1/tasks", with(`,"idempotencyKey":"k"`), asJSON, "Idempotency-Key: l"),
		"two headers":  n.do("POST", "/api/v1/tasks", with(""), asJSON, "Idempotency-Key: l", "Idempotency-Key: k"),
		"empty header": n.do("POST", "/api/v1/tasks", with(""), asJSON, "Idempotency-Key: "),
		"empty field":  n.do("POST", "/api/v1/tasks", with(`,"idempotencyKey":""`), asJSON),
		"long header":  n.do("POST", "/api/v1/tasks", with(""), asJSON, "Idempotency-Key: "+long),
		"long field":   n.do("POST", "/api/v1/tasks", with(`,"idempotencyKey":"`+long+`"`), asJSON),
	} {
		t.Run(name, func(t *testing.T) { r.refuses(t, http.StatusBadRequest, "InvalidRequest", "idempotency_key") })
	}
}

func TestEveryLabelHasItsStatus(t *testing.T) {
	n := start(t, rest.Config{})
	n.undescribed = true
	for label, status := range map[string]int{
		"InvalidRequest": 400, "Unauthenticated": 401, "PermissionDenied": 403, "TaskNotFound": 404, "NotFound": 404,
		"MethodNotAllowed": 405, "SlotBusy": 409, "PreconditionFailed": 412, "PayloadTooLarge": 413, "UnsupportedMediaType": 415,
		"NoRunner": 422, "Unenforceable": 422, "IdempotencyKeyReused": 422, "QueueFull": 429, "TooManyTasks": 429,
		"Internal": 500, "Unavailable": 503,
	} {
		n.answers(messages.Reject(label, "because", 1500*1000*1000))
		got := n.do("POST", "/api/v1/tasks", `{"spec":`+goodSpec+`}`, asJSON)
		got.is(t, status, `{"error":"`+label+`","message":"because"}`)
		want := ""
		if status == 429 || status == 503 {
			want = "2"
		}
		if retry := got.header.Get("Retry-After"); retry != want {
			t.Errorf("%s: Retry-After = %q, want %q", label, retry, want)
		}
	}
	n.answers(messages.Reject(messages.LabelUnavailable, "because", 0))
	if retry := n.do("POST", "/api/v1/tasks", `{"spec":`+goodSpec+`}`, asJSON).header.Get("Retry-After"); retry != "1" {
		t.Errorf("Retry-After = %q, want at least 1", retry)
	}
	n.answers(messages.Reject("NoSuchLabel", "because", 0))
	n.do("POST", "/api/v1/tasks", `{"spec":`+goodSpec+`}`, asJSON).refuses(t, 500, "Internal", "something inside slotd failed")
}

func TestBatchAnswersEachSpecInOrder(t *testing.T) {
	n := start(t, rest.Config{})
	n.answer = func(command proto.Message) proto.Message {
		if submit, _ := command.(*slotdv1.Submit); submit.GetSpec().GetSlot() == "busy" {
			return messages.Reject(messages.LabelSlotBusy, "held by tsk_9", 0)
		}
		return &slotdv1.Submitted{TaskId: "tsk_new"}
	}
	got := n.do("POST", "/api/v1/tasks/batch", `{"specs":[`+goodSpec+`,{"slot":"x"},`+strings.Replace(goodSpec, `"a"`, `"busy"`, 1)+`]}`, asJSON)
	if got.status != http.StatusOK || !strings.HasPrefix(got.body, `{"results":[{"taskId":"tsk_new"},{"error":"InvalidRequest","message":"spec.kind: missing task kind`) ||
		!strings.HasSuffix(got.body, `,{"error":"SlotBusy","message":"held by tsk_9"}]}`) {
		t.Errorf("got %d %s", got.status, got.body)
	}
	many := `{"specs":[` + strings.Repeat(`{},`, 1000) + `{}]}`
	n.do("POST", "/api/v1/tasks/batch", many, asJSON).refuses(t, 400, "InvalidRequest", "at most 1000")
	n.do("POST", "/api/v1/tasks/batch", `{"specs":[]}`, asJSON).refuses(t, 400, "InvalidRequest", "1 to 1000")
	n.do("POST", "/api/v1/tasks/batch", `{}`, asJSON).refuses(t, 400, "InvalidRequest", "1 to 1000")
	n.do("POST", "/api/v1/tasks/batch", `{"specs":[{"slot":1}]}`, asJSON).refuses(t, 400, "InvalidRequest", "specs[0].slot")
	n.do("POST", "/api/v1/tasks/batch", `{"specs":[`+goodSpec+`]}`, asJSON, "Idempotency-Key: k").refuses(t, 400, "InvalidRequest", "Idempotency-Key")
}

func TestGetShowsTheTaskAndItsVersion(t *testing.T) {
	n := start(t, rest.Config{})
	n.set(task("tsk_1", running, 7))
	got := n.do("GET", "/api/v1/tasks/tsk_1", "")
	if got.status != http.StatusOK || got.header.Get("ETag") != `"7"` {
		t.Fatalf("got %d, ETag %q", got.status, got.header.Get("ETag"))
	}
	for _, part := range []string{`{"task":{"metadata":{"id":"tsk_1","createdAt":"1"`, `"visible"`, `"phase":"TASK_STATUS_RUNNING"`, `"***"`} {
		if !strings.Contains(got.body, part) {
			t.Errorf("%s has no %s", got.body, part)
		}
	}
	if strings.Contains(got.body, "hunter2") {
		t.Errorf("%s shows a secret", got.body)
	}
	for match, status := range map[string]int{`"7"`: 304, `W/"7"`: 304, `"6", "7"`: 304, `*`: 304, `"6"`: 200, `7`: 200, ``: 200} {
		got := n.do("GET", "/api/v1/tasks/tsk_1", "", "If-None-Match: "+match)
		if got.status != status || got.header.Get("ETag") != `"7"` || (status == 304) != (got.body == "") {
			t.Errorf("If-None-Match %s: got %d %q", match, got.status, got.body)
		}
	}
}

func TestListShowsNoValuesAndEveryFilterArrives(t *testing.T) {
	n := start(t, rest.Config{})
	n.do("GET", "/api/v1/tasks", "").is(t, 200, `{"tasks":[],"total":0}`)
	n.set(task("tsk_1", running, 1))
	n.set(task("tsk_2", succeeded, 1))
	got := n.do("GET", "/api/v1/tasks", "")
	if got.status != 200 || strings.Contains(got.body, "visible") || strings.Contains(got.body, "hunter2") || strings.Count(got.body, `"***"`) != 4 || !strings.HasSuffix(got.body, `],"total":2}`) {
		t.Errorf("got %d %s", got.status, got.body)
	}
	n.do("GET", "/api/v1/tasks?slot=b&phase=Running&label=a%3Db&label=c&id=tsk_&terminal=false&limit=5000&offset=3&newest=true", "")
	selector, err := messages.ParseSelector("a=b,c")
	if err != nil {
		t.Fatal(err)
	}
	want := messages.Query{Slot: "b", Status: running, Selector: selector, IDPrefix: "tsk_", Terminal: new(false), Limit: 1000, Offset: 3, Newest: true}
	if diff := cmp.Diff(n.query, want, cmp.Comparer(func(a, b messages.Selector) bool { return a.String() == b.String() })); diff != "" {
		t.Errorf("query (-got +want):\n%s", diff)
	}
	for _, status := range []string{"pending", "RUNNING", "task_status_failed"} {
		if got := n.do("GET", "/api/v1/tasks?status="+status, ""); got.status != 200 {
			t.Errorf("status %s: got %d %s", status, got.status, got.body)
		}
	}
	for query, says := range map[string]string{
		"slot=":                         "slot cannot be empty",
		"slot=%20":                      "slot cannot be empty",
		"slot=a%2Fb":                    "slot",
		"status=":                       "invalid status",
		"status=nope":                   "invalid status",
		"phase=unspecified":             "invalid status",
		"status=running&phase=running":  "status and phase",
		"status=running&status=running": "status is given more than once",
		"limit=x":                       "limit: expected a number",
		"limit=":                        "limit: expected a number",
		"limit=-1":                      "limit: expected a number",
		"limit=1.5":                     "limit: expected a number",
		"offset=x":                      "offset: expected a number",
		"terminal=yes":                  "terminal: expected true or false",
		"newest=1":                      "newest: expected true or false",
		"label=%3D%3D":                  "label",
		"stauts=running":                `unknown parameter \"stauts\"`,
		"limit=%zz":                     "the query is malformed",
	} {
		n.do("GET", "/api/v1/tasks?"+query, "").refuses(t, 400, "InvalidRequest", says)
	}
	got = n.do("GET", "/api/v1/tasks?limit=x&offset=y", "")
	got.refuses(t, 400, "InvalidRequest", "limit: ")
	got.refuses(t, 400, "InvalidRequest", "offset: ")
}

func TestAPageLargerThanABufferIsWhole(t *testing.T) {
	n := start(t, rest.Config{})
	for _, id := range []string{"tsk_1", "tsk_2", "tsk_3"} {
		big := task(id, running, 1)
		big.Spec.Labels = map[string]string{"big": strings.Repeat("x", 1<<20)}
		n.set(big)
	}
	got := n.do("GET", "/api/v1/tasks", "")
	if got.status != 200 || len(got.body) < 3<<20 || !strings.HasSuffix(got.body, `],"total":3}`) || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("got %d, %d bytes, type %s", got.status, len(got.body), got.header.Get("Content-Type"))
	}
}

func TestUnknownAndBlankIDs(t *testing.T) {
	n := start(t, rest.Config{})
	n.answers(messages.Reject(messages.LabelTaskNotFound, "there is no such task", 0))
	for _, request := range []string{"GET /api/v1/tasks/%s", "GET /api/v1/tasks/%s/runs", "GET /api/v1/tasks/%s/logs", "POST /api/v1/tasks/%s/cancel"} {
		method, path, _ := strings.Cut(request, " ")
		for _, id := range []string{"tsk_404", "a%2Fb", "..", "%00", "%FF"} {
			n.do(method, strings.Replace(path, "%s", id, 1), "").refuses(t, 404, "TaskNotFound", "no")
		}
		n.do(method, strings.Replace(path, "%s", "%20", 1), "").refuses(t, 400, "InvalidRequest", "task_id cannot be empty")
	}
	n.do("DELETE", "/api/v1/tasks/%20", "").refuses(t, 400, "InvalidRequest", "task_id cannot be empty")
	n.do("DELETE", "/api/v1/tasks/", "").refuses(t, 400, "InvalidRequest", "task_id cannot be empty")
	n.do("GET", "/api/v1/tasks/", "").refuses(t, 400, "InvalidRequest", "task_id cannot be empty")
	n.do("GET", "/api/v1/tasks//runs", "").refuses(t, 400, "InvalidRequest", "task_id cannot be empty")
}

func TestRunsAreListed(t *testing.T) {
	n := start(t, rest.Config{})
	n.set(task("tsk_1", running, 1))
	n.do("GET", "/api/v1/tasks/tsk_1/runs", "").is(t, 200, `{"runs":[{"attempt":1,"status":"TASK_STATUS_RUNNING","startedAt":"5"}]}`)
	n.do("GET", "/api/v1/tasks/tsk_1/runs?limit=1", "").refuses(t, 400, "InvalidRequest", "unknown parameter")
}

func TestAFaultOfOursIsLoggedAndNotShown(t *testing.T) {
	n := start(t, rest.Config{})
	n.set(task("broken", running, 1))
	got := n.do("GET", "/api/v1/tasks/broken/runs", "", "X-Request-Id: r-1")
	got.refuses(t, 500, "Internal", "something inside slotd failed")
	n.log.await(t, "request failed", "secret cause", "r-1")
	n.mu.Lock()
	n.panics = true
	n.mu.Unlock()
	got = n.do("GET", "/api/v1/tasks/tsk_1", "", "X-Request-Id: r-2")
	got.refuses(t, 500, "Internal", "something inside slotd failed")
	if strings.Contains(got.body, "secret") || strings.Contains(got.body, "goroutine") {
		t.Errorf("%s leaks the cause", got.body)
	}
	n.log.await(t, "request panicked", "secret cause", "r-2", "tasks.go")
}

func TestReadinessSaysWhy(t *testing.T) {
	n := start(t, rest.Config{})
	n.do("GET", "/readyz", "").is(t, 200, `{"status":"ok"}`)
	n.mu.Lock()
	n.ready = errors.New("the store cannot write")
	n.mu.Unlock()
	got := n.do("GET", "/readyz", "")
	got.refuses(t, 503, "Unavailable", "the store cannot write")
	if got.header.Get("Retry-After") != "1" {
		t.Errorf("Retry-After = %q", got.header.Get("Retry-After"))
	}
	n.do("GET", "/healthz?probe=1", "").is(t, 200, `{"status":"ok"}`)
	n.do("GET", "/version", "").is(t, 200, `{"version":"1.2.3","commit":"abc","go":"go1.26","api":"v1"}`)
}
