package openapi_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slotd/test/openapi"
)

const file = "../../gateway/rest/openapi.yaml"

// notes is a test that only keeps what was reported.
type notes struct {
	testing.TB

	reported []string
}

func (n *notes) Errorf(format string, args ...any) {
	n.reported = append(n.reported, fmt.Sprintf(format, args...))
}

// canned answers every request with the same answer.
type canned struct {
	status int
	header http.Header
	body   string
}

func (c canned) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: c.status, Header: c.header, Body: io.NopCloser(strings.NewReader(c.body)), Request: r}, nil
}

const (
	spec  = `{"slot":"a","timeoutMs":1,"kind":{"subprocess":{"command":{"command":"true"}}}}`
	slots = `{"slots":[]}`
	run   = `{"attempt":1,"status":"TASK_STATUS_RUNNING","startedAt":"5"}`
	plain = "application/json"
	sse   = "text/event-stream"
)

func TestWhateverTheDocumentDoesNotDescribeIsReported(t *testing.T) {
	document, err := openapi.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	frame := func(event, data string) string { return "event: " + event + "\nid: 1\ndata: " + data + "\n\n" }
	started := frame("run-started", `{"type":"runStarted","attempt":1,"startedAt":5}`)
	refused := func(label string) string { return `{"error":"` + label + `","message":"because"}` }
	for name, c := range map[string]struct {
		request string // method, path and, after a line end, body
		sent    string // headers, as "Name: value"
		status  int
		kind    string
		headers string // further ones; -Name takes one away
		body    string
		want    string // part of the only report; empty = none
	}{
		"all is well":        {request: "GET /api/v1/slots", status: 200, kind: plain, body: slots},
		"a status":           {request: "GET /api/v1/slots", status: 204, want: "status 204 is not declared"},
		"a header":           {request: "GET /api/v1/slots", status: 200, kind: plain, headers: "X-Other: 1", body: slots, want: "header X-Other is not declared"},
		"a missing header":   {request: "GET /api/v1/slots", status: 200, kind: plain, headers: "-X-Request-Id", body: slots, want: "header X-Request-Id is missing"},
		"a wrong header":     {request: "GET /api/v1/slots", status: 503, kind: plain, headers: "Retry-After: soon", body: refused("Unavailable"), want: "header Retry-After"},
		"a header of all":    {request: "GET /api/v1/slots", status: 200, kind: plain, headers: "-Cache-Control", body: slots, want: "header Cache-Control"},
		"a content type":     {request: "GET /api/v1/slots", status: 200, kind: "text/plain", body: slots, want: "content type text/plain is not declared"},
		"no content type":    {request: "GET /api/v1/slots", status: 200, body: slots, want: "content type"},
		"content of none":    {request: "DELETE /api/v1/tasks/x", status: 204, kind: plain, body: "{}", want: "want no content"},
		"a field":            {request: "GET /api/v1/slots", status: 200, kind: plain, body: `{"slots":[],"more":1}`, want: "more"},
		"an inner field":     {request: "GET /api/v1/tasks/x/runs", status: 200, kind: plain, body: `{"runs":[` + strings.Replace(run, "{", `{"more":1,`, 1) + `]}`, want: "more"},
		"a missing field":    {request: "GET /api/v1/slots", status: 200, kind: plain, body: `{}`, want: "slots"},
		"a type":             {request: "GET /api/v1/tasks/x/runs", status: 200, kind: plain, body: `{"runs":[` + strings.Replace(run, `"5"`, `5`, 1) + `]}`, want: "startedAt"},
		"an enum":            {request: "GET /api/v1/tasks/x/runs", status: 200, kind: plain, body: `{"runs":[` + strings.Replace(run, `RUNNING`, `WALKING`, 1) + `]}`, want: "status"},
		"a label":            {request: "GET /api/v1/slots", status: 400, kind: plain, body: refused("Nonsense"), want: "error"},
		"a label elsewhere":  {request: "GET /api/v1/slots", status: 400, kind: plain, body: refused("SlotBusy"), want: "error"},
		"no JSON":            {request: "GET /api/v1/slots", status: 200, kind: plain, body: `{`, want: "is no JSON"},
		"an unknown path":    {request: "GET /nowhere", status: 404, kind: plain, body: refused("NotFound")},
		"a path that is new": {request: "GET /nowhere", status: 200, kind: plain, body: `{}`, want: "status 200 is not declared"},
		"another method":     {request: "PUT /api/v1/slots", status: 405, kind: plain, headers: "Allow: GET", body: refused("MethodNotAllowed")},
		"no Allow":           {request: "PUT /api/v1/slots", status: 405, kind: plain, body: refused("MethodNotAllowed"), want: "header Allow is missing"},
		"HEAD":               {request: "HEAD /api/v1/slots", status: 200, kind: plain},

		"a parameter":          {request: "GET /api/v1/slots?x=1", status: 200, kind: plain, body: slots, want: "query parameter x is not declared"},
		"a wrong parameter":    {request: "GET /api/v1/tasks?limit=many", status: 200, kind: plain, body: `{"tasks":[],"total":0}`, want: "query parameter limit"},
		"a parameter twice":    {request: "GET /api/v1/tasks?limit=1&limit=1", status: 200, kind: plain, body: `{"tasks":[],"total":0}`, want: "more than once"},
		"a list":               {request: "GET /api/v1/tasks?label=a&label=b&limit=1&terminal=true", status: 200, kind: plain, body: `{"tasks":[],"total":0}`},
		"a wrong path":         {request: "POST /api/v1/slots/a%20b/purge", status: 200, kind: plain, body: `{"taskIds":[]}`, want: "path parameter slot"},
		"a refused parameter":  {request: "GET /api/v1/tasks?limit=many", status: 400, kind: plain, body: refused("InvalidRequest")},
		"a probe's parameter":  {request: "GET /healthz?probe=1", status: 200, kind: plain, body: `{"status":"ok"}`},
		"a submission":         {request: "POST /api/v1/tasks\n" + `{"spec":` + spec + `}`, sent: plain, status: 201, kind: plain, headers: "Location: /api/v1/tasks/x", body: `{"taskId":"x"}`},
		"another spelling":     {request: "POST /api/v1/tasks\n" + `{"spec":` + strings.Replace(spec, "timeoutMs", "timeout_ms", 1) + `}`, sent: plain, status: 201, kind: plain, headers: "Location: /api/v1/tasks/x", body: `{"taskId":"x"}`},
		"no Location":          {request: "POST /api/v1/tasks\n" + `{"spec":` + spec + `}`, sent: plain, status: 201, kind: plain, body: `{"taskId":"x"}`, want: "header Location is missing"},
		"an unknown field":     {request: "POST /api/v1/tasks\n" + `{"spec":` + strings.Replace(spec, "{", `{"more":1,`, 1) + `}`, sent: plain, status: 201, kind: plain, headers: "Location: /api/v1/tasks/x", body: `{"taskId":"x"}`, want: "more"},
		"two modes":            {request: "POST /api/v1/tasks\n" + `{"spec":` + strings.Replace(spec, `"command":{"c`, `"script":{"wellKnown":"SCRIPT_RUNTIME_BASH","body":"YQ=="},"command":{"c`, 1) + `}`, sent: plain, status: 201, kind: plain, headers: "Location: /api/v1/tasks/x", body: `{"taskId":"x"}`, want: "subprocess"},
		"no mode":              {request: "POST /api/v1/tasks\n" + `{"spec":` + strings.Replace(spec, `{"command":{"command":"true"}}`, `{}`, 1) + `}`, sent: plain, status: 201, kind: plain, headers: "Location: /api/v1/tasks/x", body: `{"taskId":"x"}`, want: "command"},
		"a busy slot":          {request: "POST /api/v1/tasks\n{}", sent: plain, status: 409, kind: plain, body: refused("SlotBusy"), want: "spec"},
		"a batch":              {request: "POST /api/v1/tasks/batch\n" + `{"specs":[{}]}`, sent: plain, status: 200, kind: plain, body: `{"results":[{"taskId":"x"}]}`, want: "specs/0"},
		"a batch with bad":     {request: "POST /api/v1/tasks/batch\n" + `{"specs":[{}]}`, sent: plain, status: 200, kind: plain, body: `{"results":[` + refused("InvalidRequest") + `]}`},
		"a result of both":     {request: "POST /api/v1/tasks/batch\n" + `{"specs":[` + spec + `]}`, sent: plain, status: 200, kind: plain, body: `{"results":[{"taskId":"x","error":"SlotBusy","message":"y"}]}`, want: "results/0"},
		"a result of neither":  {request: "POST /api/v1/tasks/batch\n" + `{"specs":[` + spec + `]}`, sent: plain, status: 200, kind: plain, body: `{"results":[{}]}`, want: "taskId"},
		"events":               {request: "GET /api/v1/tasks/x/logs", status: 200, kind: sse, headers: "X-Accel-Buffering: no", body: ": comment\n\n" + started + started},
		"a cut event":          {request: "GET /api/v1/tasks/x/logs", status: 200, kind: sse, headers: "X-Accel-Buffering: no", body: started + "event: nonsen"},
		"an event":             {request: "GET /api/v1/tasks/x/logs", status: 200, kind: sse, headers: "X-Accel-Buffering: no", body: started + frame("other", "{}"), want: `event "other" is not declared`},
		"an event's data":      {request: "GET /api/v1/tasks/x/logs", status: 200, kind: sse, headers: "X-Accel-Buffering: no", body: strings.Replace(started, "5", `"5"`, 1), want: "startedAt"},
		"an event without id":  {request: "GET /api/v1/tasks/x/logs", status: 200, kind: sse, headers: "X-Accel-Buffering: no", body: strings.Replace(started, "id: 1\n", "", 1), want: "has no id"},
		"a line of no event":   {request: "GET /api/v1/tasks/x/logs", status: 200, kind: sse, headers: "X-Accel-Buffering: no", body: "nonsense\n", want: "is no field"},
		"a frame of an id":     {request: "GET /api/v1/tasks/x/logs", status: 200, kind: sse, headers: "X-Accel-Buffering: no", body: "id: 1\n\n", want: `event "" is not declared`},
		"the way of a stream":  {request: "HEAD /api/v1/events", status: 200, kind: sse, headers: "Last-Event-ID: 1"},
		"a stream's beginning": {request: "GET /api/v1/events", status: 200, kind: sse, headers: "Last-Event-ID: 1", body: "id: 1\n\n", want: "header X-Accel-Buffering is missing"},
		"of another stream":    {request: "HEAD /api/v1/tasks/x/logs", status: 405, kind: plain, headers: "Allow: GET"},
	} {
		t.Run(name, func(t *testing.T) {
			header := http.Header{"X-Request-Id": {"r"}, "Cache-Control": {"no-cache"}, "X-Content-Type-Options": {"nosniff"}}
			if c.kind != "" {
				header.Set("Content-Type", c.kind)
			}
			if gone, ok := strings.CutPrefix(c.headers, "-"); ok {
				header.Del(gone)
			} else if key, value, ok := strings.Cut(c.headers, ": "); ok {
				header.Set(key, value)
			}
			line, body, _ := strings.Cut(c.request, "\n")
			method, path, _ := strings.Cut(line, " ")
			request, err := http.NewRequestWithContext(t.Context(), method, "http://localhost"+path, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			if c.sent != "" {
				request.Header.Set("Content-Type", c.sent)
			}
			n := &notes{TB: t}
			response, err := document.Transport(n, canned{c.status, header, c.body}).RoundTrip(request)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, response.Body); err != nil {
				t.Fatal(err)
			}
			if err := response.Body.Close(); err != nil {
				t.Fatal(err)
			}
			switch {
			case c.want == "" && len(n.reported) > 0:
				t.Errorf("reported %q, want nothing", n.reported)
			case c.want != "" && (len(n.reported) != 1 || !strings.Contains(n.reported[0], c.want)):
				t.Errorf("reported %q, want one report with %q", n.reported, c.want)
			}
		})
	}
}

func TestADocumentThatIsNotValidIsRefused(t *testing.T) {
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string][2]string{
		"another version":   {"openapi: 3.1.1", "openapi: 3.0.3"},
		"a lost reference":  {"/schemas/CreateSpec\"", "/schemas/NoSpec\""},
		"a wrong example":   {"slot: nightly", "slot: a/b"},
		"a lost parameter":  {"      name: slot\n      in: path", "      name: lane\n      in: path"},
		"a name used twice": {"operationId: listTasks\n", "operationId: submitTask\n"},
		"a wrong type":      {"type: object", "type: thing"},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(string(whole), change[0]) {
				t.Fatalf("the document has no %q", change[0])
			}
			path := filepath.Join(t.TempDir(), "openapi.yaml")
			if err := os.WriteFile(path, []byte(strings.Replace(string(whole), change[0], change[1], 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := openapi.Load(path); err == nil {
				t.Error("it was taken")
			}
		})
	}
}
