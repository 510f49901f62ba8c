package e2e

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func script(runtime, body string) object {
	return subprocess("a", object{"script": object{"wellKnown": runtime, "body": body}})
}

// Each invalid spec is answered with a sentence that names the field in proto form and the rule.
func TestInvalidSpecsAreExplained(t *testing.T) {
	t.Parallel()
	d := serve(t)
	ok := command("lane", "true")
	kind := func(k object) object { return ok.with("kind", k) }
	sub := func(fields object) object { return kind(object{"subprocess": fields}) }
	cmd := object{"command": "true"}
	backoff := func(first, most, factor any) object {
		return ok.with("backoff", object{"firstMs": first, "maxMs": most, "factor": factor})
	}
	selector := func(e object) object { return ok.with("runnerSelector", object{"matchExpressions": []object{e}}) }
	for name, c := range map[string]struct {
		spec object
		want string
	}{
		"blank slot":          {ok.with("slot", " "), "slot cannot be empty"},
		"no slot":             {ok.with("slot", ""), "slot cannot be empty"},
		"long slot":           {ok.with("slot", strings.Repeat("a", 65)), "slot"},
		"slot with slash":     {ok.with("slot", "a/b"), "slot"},
		"slot of dots":        {ok.with("slot", ".."), "slot"},
		"slot with umlaut":    {ok.with("slot", "ä"), "slot"},
		"no kind":             {object{"slot": "a", "timeoutMs": 1}, "missing task kind"},
		"empty kind":          {kind(object{}), "missing task kind variant"},
		"no time limit":       {ok.with("timeoutMs", 0), "timeout_ms cannot be zero"},
		"endless time limit":  {ok.with("timeoutMs", "3153600000001"), "timeout_ms"},
		"endless interval":    {ok.with("restartIntervalMs", "3153600000001"), "restart_interval_ms"},
		"endless grace":       {ok.with("stopGraceMs", 3_600_001), "stop_grace_ms"},
		"no first":            {backoff(0, 1, 2), "first_ms"},
		"no max":              {backoff(1, 0, 2), "max_ms"},
		"max below first":     {backoff(2, 1, 2), "max_ms"},
		"factor below 1":      {backoff(1, 1, 0.5), "factor"},
		"factor NaN":          {backoff(1, 1, "NaN"), "factor"},
		"factor infinite":     {backoff(1, 1, "Infinity"), "factor"},
		"no mode":             {sub(object{}), "missing subprocess mode"},
		"blank command":       {sub(object{"command": object{"command": " "}}), "command cannot be empty"},
		"NUL in an argument":  {command("a", "true", "a\x00b"), "args"},
		"no runtime":          {sub(object{"script": object{"body": b64("true")}}), "missing script runtime"},
		"unspecified runtime": {script("SCRIPT_RUNTIME_UNSPECIFIED", b64("true")), "unknown or unspecified script runtime"},
		"empty body":          {script("SCRIPT_RUNTIME_BASH", ""), "body cannot be empty"},
		"no base64":           {script("SCRIPT_RUNTIME_BASH", "***"), "invalid base64"},
		"no UTF-8":            {script("SCRIPT_RUNTIME_BASH", b64("echo \xff")), "not valid UTF-8"},
		"large body":          {script("SCRIPT_RUNTIME_BASH", b64(strings.Repeat("#", 2097153))), "2097152"},
		"custom without flag": {sub(object{"script": object{"custom": object{"command": "sh"}, "body": b64("true")}}), "custom runtime"},
		"env without key":     {sub(object{"command": cmd, "env": []object{{"key": "", "value": "x"}}}), "env[0].key"},
		"env with =":          {sub(object{"command": cmd, "env": []object{{"key": "a=b"}}}), "env[0].key"},
		"env with NUL":        {sub(object{"command": cmd, "env": []object{{"key": "a", "value": "\x00"}}}), "env[0].value"},
		"wasm without module": {kind(object{"wasm": object{}}), "wasm module path is empty"},
		"no image":            {kind(object{"container": object{}}), "container image is empty"},
		"wrong pull":          {kind(object{"container": object{"image": "x", "pull": "maybe"}}), "pull"},
		"wrong network":       {kind(object{"container": object{"image": "x", "network": "lan"}}), "network"},
		"selector IN":         {selector(object{"key": "a", "operator": "SELECTOR_OPERATOR_IN"}), "values"},
		"selector EXISTS":     {selector(object{"key": "a", "operator": "SELECTOR_OPERATOR_EXISTS", "values": []string{"b"}}), "values"},
		"selector key":        {selector(object{"key": "", "operator": "SELECTOR_OPERATOR_EXISTS"}), "key"},
		"label key":           {ok.with("labels", object{"a b": "c"}), "labels"},
		"label value":         {ok.with("labels", object{"a": "-"}), "labels"},
		"memory":              {ok.with("limits", object{"memoryBytes": 0}), "limits.memory_bytes"},
	} {
		if a := d.post(c.spec); a.status != http.StatusBadRequest || a.label() != "InvalidRequest" || !strings.Contains(a.message(), c.want) {
			t.Errorf("%s: %v, want 400 with %q", name, a, c.want)
		}
	}
	a := d.post(object{"slot": "", "timeoutMs": 0, "kind": object{"subprocess": object{"command": object{"command": ""}}}, "backoff": object{}})
	for _, want := range []string{"slot cannot be empty", "timeout_ms cannot be zero", "command cannot be empty", "first_ms", "factor"} {
		if !strings.Contains(a.message(), want) {
			t.Errorf("%q lacks %q", a.message(), want)
		}
	}
	for name, c := range map[string]struct {
		spec  object
		label string
	}{
		"no runner for wasm":       {kind(object{"wasm": object{"module": "/m.wasm"}}), "NoRunner"},
		"no runner for containers": {kind(object{"container": object{"image": "x"}}), "NoRunner"},
		"no runner so labelled":    {ok.with("runnerSelector", object{"matchLabels": object{"gpu": "yes"}}), "NoRunner"},
	} {
		if a := d.post(c.spec); a.status != http.StatusUnprocessableEntity || a.label() != c.label {
			t.Errorf("%s: %v, want 422 %s", name, a, c.label)
		}
	}
	if p := d.list(""); p.Total != 0 {
		t.Errorf("%d refused tasks are stored", p.Total)
	}
}

func TestMalformedBodiesAreRefused(t *testing.T) {
	t.Parallel()
	d := serve(t)
	spec := command("lane", "true").String()
	wrap := func(fields string) string { return `{"spec":` + strings.TrimSuffix(spec, "}") + "," + fields + "}}" }
	for name, body := range map[string]string{
		"nothing":             "",
		"no JSON":             "spec",
		"half of it":          `{"spec":` + spec,
		"too much":            `{"spec":` + spec + `}}`,
		"two values":          `{"spec":` + spec + `} {}`,
		"a list":              `[` + spec + `]`,
		"null":                `null`,
		"no spec":             `{}`,
		"spec is a text":      `{"spec":"x"}`,
		"unknown field":       `{"spec":` + spec + `,"priority":1}`,
		"unknown inner field": wrap(`"priority":1`),
		"field twice":         wrap(`"slot":"other"`),
		"both names":          wrap(`"timeout_ms":5`),
		"text for a number":   wrap(`"maxRetries":"many"`),
		"fraction":            wrap(`"maxRetries":1.5`),
		"negative":            wrap(`"maxRetries":-1`),
		"too large":           wrap(`"maxRetries":4294967296`),
		"enum by bad name":    wrap(`"restart":"SOMETIMES"`),
		"enum off the table":  wrap(`"restart":99`),
		"number for labels":   wrap(`"labels":{"a":1}`),
		"two modes":           `{"spec":{"slot":"a","timeoutMs":1,"kind":{"subprocess":{"command":{"command":"true"},"script":{"wellKnown":1,"body":"dHJ1ZQ=="}}}}}`,
		"two kinds":           `{"spec":{"slot":"a","timeoutMs":1,"kind":{"subprocess":{"command":{"command":"true"}},"wasm":{"module":"x"}}}}`,
		"invalid UTF-8":       `{"spec":{"slot":"` + "\xff" + `"}}`,
		"embedded":            `{"spec":{"slot":"a","timeoutMs":1,"kind":{"embedded":{"name":"f"}}}}`,
		"deep":                strings.Repeat(`{"spec":`, 20000) + strings.Repeat(`}`, 20000),
	} {
		a := d.do(http.MethodPost, "/api/v1/tasks", body, "Content-Type", "application/json")
		if a.status != http.StatusBadRequest || a.label() != "InvalidRequest" || a.message() == "" {
			t.Errorf("%s: %v, want 400 InvalidRequest", name, a)
		}
	}
	if a := d.do(http.MethodPost, "/api/v1/tasks", "{}", "Content-Type", "application/json"); !strings.Contains(a.message(), "missing spec") {
		t.Errorf("no spec: %q", a.message())
	}
	// Both spellings of names, integers as texts, enums by number.
	snake := `{"spec":{"slot":"snake","timeout_ms":"60000","restart":1,"fail":null,"kind":{"subprocess":{"command":{"command":"true"},"fail_on_non_zero":false}}}}`
	if a := d.do(http.MethodPost, "/api/v1/tasks", strings.Replace(snake, `"fail":null,`, "", 1), "Content-Type", "application/json; charset=utf-8"); a.status != http.StatusCreated {
		t.Errorf("snake case: %v, want 201", a)
	}
	for _, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded", "application/jsonx", ";"} {
		if a := d.do(http.MethodPost, "/api/v1/tasks", `{"spec":`+spec+`}`, "Content-Type", kind); a.status != http.StatusUnsupportedMediaType || a.label() != "UnsupportedMediaType" {
			t.Errorf("Content-Type %q: %v, want 415", kind, a)
		}
	}
	large := d.do(http.MethodPost, "/api/v1/tasks", `{"spec":"`+strings.Repeat("x", 4<<20)+`"}`, "Content-Type", "application/json")
	if large.status != http.StatusRequestEntityTooLarge || large.label() != "PayloadTooLarge" || !strings.Contains(large.message(), "exceeds") {
		t.Errorf("a large body: %v, want 413", large)
	}
	if got := d.list("").Total; got != 1 {
		t.Errorf("%d tasks, want 1", got)
	}
}

func TestWrongPathsAndMethods(t *testing.T) {
	t.Parallel()
	d := serve(t)
	const unknown = "/api/v1/tasks/tsk_00000000000000000000000000"
	for _, c := range []struct {
		method, path string
		status       int
		label        string
	}{
		{"GET", unknown, 404, "TaskNotFound"},
		{"GET", unknown + "/runs", 404, "TaskNotFound"},
		{"GET", unknown + "/logs", 404, "TaskNotFound"},
		{"POST", unknown + "/cancel", 404, "TaskNotFound"},
		{"GET", "/api/v1/tasks/nonsense", 404, "TaskNotFound"},
		{"GET", "/api/v1/tasks/..%2fx", 404, "TaskNotFound"},
		{"GET", "/api/v1/tasks/", 400, "InvalidRequest"},
		{"GET", "/api/v1/tasks/%20", 400, "InvalidRequest"},
		{"GET", "/api/v1/tasks/%20/runs", 400, "InvalidRequest"},
		{"GET", "/api/v1/tasks/%20/logs", 400, "InvalidRequest"},
		{"POST", "/api/v1/tasks/%20/cancel", 400, "InvalidRequest"},
		{"DELETE", "/api/v1/tasks/%20", 400, "InvalidRequest"},
		{"DELETE", "/api/v1/tasks/", 400, "InvalidRequest"},
		{"GET", "/api/v1/slots/a%2fb", 400, "InvalidRequest"},
		{"POST", "/api/v1/slots/%20/purge", 400, "InvalidRequest"},
		{"POST", "/api/v1/slots/a/purge?holder=maybe", 400, "InvalidRequest"},
		{"GET", "/nowhere", 404, "NotFound"},
		{"GET", "/api/v2/tasks", 404, "NotFound"},
		{"POST", "/nowhere", 404, "NotFound"},
		{"GET", unknown + "/other", 404, "NotFound"},
		{"PUT", "/api/v1/tasks", 405, "MethodNotAllowed"},
		{"DELETE", "/api/v1/tasks", 405, "MethodNotAllowed"},
		{"POST", unknown, 405, "MethodNotAllowed"},
		{"GET", unknown + "/cancel", 405, "MethodNotAllowed"},
		{"POST", "/healthz", 405, "MethodNotAllowed"},
		{"OPTIONS", "/api/v1/tasks", 405, "MethodNotAllowed"},
	} {
		a := d.do(c.method, c.path, "")
		if a.status != c.status || a.label() != c.label {
			t.Errorf("%s %s: %v, want %d %s", c.method, c.path, a, c.status, c.label)
		}
		if allow := a.header.Get("Allow"); (c.status == http.StatusMethodNotAllowed) != (allow != "") {
			t.Errorf("%s %s: Allow %q", c.method, c.path, allow)
		}
	}
	if a := d.get("/api/v1/tasks/%20"); !strings.Contains(a.message(), "task_id cannot be empty") {
		t.Errorf("blank id: %q", a.message())
	}
	d.remove("nonsense")
	if a := d.get("/healthz", "X-Request-Id", "mine-1"); a.header.Get("X-Request-Id") != "mine-1" {
		t.Errorf("X-Request-Id %q", a.header.Get("X-Request-Id"))
	}
	if a := d.get("/healthz"); a.header.Get("X-Request-Id") == "" {
		t.Error("no X-Request-Id was made")
	}
}

func TestForeignHostsAndOriginsAreKeptOut(t *testing.T) {
	t.Parallel()
	d := serve(t, "--allowed-host", "slotd.example")
	port := d.http[strings.LastIndexByte(d.http, ':'):]
	for _, c := range []struct {
		name, value string
		status      int
	}{
		{"Host", "evil.example", 403},
		{"Host", "evil.example" + port, 403},
		{"Host", "127.0.0.1.evil.example", 403},
		{"Host", "8.8.8.8", 403},
		{"Host", "localhost" + port, 200},
		{"Host", "slotd.example", 200},
		{"Host", d.http, 200},
		{"Origin", "http://evil.example", 403},
		{"Origin", "null", 403},
		{"Origin", "http://127.0.0.1:1", 403},
		{"Origin", "http://" + d.http, 200},
	} {
		a := d.get("/api/v1/tasks", c.name, c.value)
		if a.status != c.status || c.status == 403 && a.label() != "PermissionDenied" {
			t.Errorf("%s %s: %v, want %d", c.name, c.value, a, c.status)
		}
		if a.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s %s: the answer opens itself to other origins", c.name, c.value)
		}
		if a := d.do(http.MethodPost, "/api/v1/tasks", object{"spec": command("x", "true")}.String(), "Content-Type", "application/json", c.name, c.value); (a.status == 403) != (c.status == 403) {
			t.Errorf("submit with %s %s: %v", c.name, c.value, a)
		}
	}
}

// dial opens a bare connection to the daemon.
func (d *daemon) dial() net.Conn {
	d.t.Helper()
	conn, err := new(net.Dialer).DialContext(contextOf(d.t), "tcp", d.http)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		if err := conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			d.t.Errorf("close: %v", err)
		}
	})
	return conn
}

// hangUp sends a request, or a part of one, and goes away.
func (d *daemon) hangUp(request string) {
	d.t.Helper()
	conn := d.dial()
	if _, err := io.WriteString(conn, request); err != nil {
		d.t.Fatal(err)
	}
	closed(d.t, conn)
}

// closed closes what is not needed any more.
func closed(t testing.TB, c io.Closer) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func TestClientsThatHangUpCostNothing(t *testing.T) {
	t.Parallel()
	d := serve(t)
	d.end(d.submit(command("warm", "true")))
	id := d.submit(shell("lane", "echo ready; sleep 100000"))
	d.open(id, "tail=all").line("ready")
	goroutines := d.introspect().Goroutines
	fds := countFDs(t, d.process.Pid)
	stream := fmt.Sprintf("GET /api/v1/tasks/%s/logs?tail=all HTTP/1.1\r\nHost: %s\r\n\r\n", id, d.http)
	for range 20 {
		d.hangUp("POST /api/v1/tasks HTTP/1.1\r\nHost: " + d.http + "\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"spec\":")
		d.hangUp("GET /api/v1/tasks HTTP/1.1\r\nHost:")
		d.hangUp(stream)
		d.hangUp(fmt.Sprintf("GET /api/v1/tasks/%s?wait=5m HTTP/1.1\r\nHost: %s\r\n\r\n", id, d.http))
		conn := d.dial() // and in the midst of a stream
		if _, err := io.WriteString(conn, stream); err != nil {
			t.Fatal(err)
		}
		if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		closed(t, conn)
	}
	eventually(t, "the daemon has let go of what hung up", func() bool {
		d.client.CloseIdleConnections()
		f := d.introspect()
		return number(t, f.Goroutines) <= number(t, goroutines)+4 && countFDs(t, d.process.Pid) <= fds+2
	})
	if d.task(id).phase() != "RUNNING" {
		t.Error("the task was stopped")
	}
}

// A client that hangs up does not undo a cancel.
func TestCancelGoesOnWithoutItsClient(t *testing.T) {
	t.Parallel()
	d := serve(t)
	id := d.submit(shell("lane", `trap "" TERM; echo ready; while :; do sleep 0.1; done`).with("stopGraceMs", 500))
	d.open(id, "tail=all").line("ready")
	d.hangUp(fmt.Sprintf("POST /api/v1/tasks/%s/cancel HTTP/1.1\r\nHost: %s\r\nContent-Length: 0\r\n\r\n", id, d.http))
	if got := d.end(id).ended(); got != "CANCELED Canceled" {
		t.Errorf("ended %s", got)
	}
}

// An answer is seen even by a client that is still sending.
func TestAnswerToALargeBodyIsSeen(t *testing.T) {
	t.Parallel()
	d := serve(t)
	conn := d.dial()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	const size = 4<<20 + 512<<10
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(conn, fmt.Sprintf("POST /api/v1/tasks HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", d.http, size)+strings.Repeat("x", size))
		sent <- err
	}()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, resp.Body)
	var r refusal
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Errorf("send: %v", err)
	}
	if resp.StatusCode != http.StatusRequestEntityTooLarge || r.Error != "PayloadTooLarge" {
		t.Errorf("answer %d %+v, want 413", resp.StatusCode, r)
	}
}
