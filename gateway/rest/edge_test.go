package rest_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"slotd/gateway/rest"
	slotdv1 "slotd/messages/slotd/v1"
)

func TestUnknownRoutesAndMethods(t *testing.T) {
	n := start(t, rest.Config{})
	for _, path := range []string{"/", "/docs", "/openapi.json", "/api/v1", "/api/v2/tasks", "/api/v1/tasks/a/b", "/api/v1/tasks/a/runs/", "/healthz/", "/%2e%2e/etc", "/" + strings.Repeat("x", 500)} {
		n.do("GET", path, "").refuses(t, 404, "NotFound", "there is nothing at /")
	}
	for request, allow := range map[string]string{
		"PUT /api/v1/tasks": "GET, HEAD, POST", "PATCH /api/v1/tasks/x": "DELETE, GET, HEAD", "GET /api/v1/tasks/x/cancel": "POST",
		"POST /api/v1/slots": "GET, HEAD", "DELETE /healthz": "GET, HEAD", "OPTIONS /api/v1/tasks": "GET, HEAD, POST", "BREW /version": "GET, HEAD",
	} {
		method, path, _ := strings.Cut(request, " ")
		got := n.do(method, path, "")
		got.refuses(t, 405, "MethodNotAllowed", "use one of")
		for want := range strings.SplitSeq(allow, ", ") {
			if !strings.Contains(got.header.Get("Allow"), want) {
				t.Errorf("%s: Allow = %q, want %q", request, got.header.Get("Allow"), allow)
			}
		}
	}
	if got := n.do("HEAD", "/api/v1/tasks", ""); got.status != 200 || got.body != "" {
		t.Errorf("HEAD: got %d %q", got.status, got.body)
	}
}

func TestTheServerAsAWholeIsNoRoute(t *testing.T) {
	n := start(t, rest.Config{})
	for host, want := range map[string]int{"localhost": 404, "evil.example": 403} {
		c := dial(t, n, "OPTIONS * HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")
		response, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		readOff(t, response)
		if response.StatusCode != want || response.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: got %d %v, want %d in JSON", host, response.StatusCode, response.Header, want)
		}
	}
}

func TestEveryAnswerCarriesARequestID(t *testing.T) {
	n := start(t, rest.Config{})
	for given, echoed := range map[string]bool{"abc-1.2_3:4/5+6=": true, strings.Repeat("a", 128): true, strings.Repeat("a", 129): false, "a b": false, `a"b`: false, "ä": false, "": false} {
		got := n.do("GET", "/nowhere", "", "X-Request-Id: "+given)
		id := got.header.Get("X-Request-Id")
		if (id == given) != echoed || id == "" {
			t.Errorf("given %q, got %q", given, id)
		}
		if got.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Error("no X-Content-Type-Options")
		}
		for name := range got.header {
			if strings.HasPrefix(name, "Access-Control") {
				t.Errorf("%s is set", name)
			}
		}
	}
}

func TestTheAccessLogNamesPatternsOnly(t *testing.T) {
	n := start(t, rest.Config{})
	n.set(task("tsk_1", running, 1))
	n.do("GET", "/api/v1/tasks/tsk_1?wait=0s", "", "X-Request-Id: r-1", "Authorization: Bearer hunter2")
	line := n.log.await(t, "http request", "r-1")
	for _, part := range []string{`"@level":"debug"`, `"method":"GET"`, `"route":"/api/v1/tasks/:id"`, `"status":200`, `"bytes":`, `"duration":`, `"remote":"127.0.0.1:`} {
		if !strings.Contains(line, part) {
			t.Errorf("%s has no %s", line, part)
		}
	}
	for _, part := range []string{"tsk_1", "wait", "hunter2", "visible"} {
		if strings.Contains(line, part) {
			t.Errorf("%s shows %s", line, part)
		}
	}
	n.do("GET", "/secret-path", "", "X-Request-Id: r-2")
	if line := n.log.await(t, "http request", "r-2"); !strings.Contains(line, `"route":"none"`) || strings.Contains(line, "secret-path") {
		t.Errorf("got %s", line)
	}
}

func TestOnlyThisServersNamesAndOrigins(t *testing.T) {
	n := start(t, rest.Config{AllowedHosts: []string{"slotd.example", "10.1.2.3"}, Hostnames: []string{"Box.lan"}})
	port := n.url[strings.LastIndex(n.url, ":"):]
	for host, ok := range map[string]bool{
		"127.0.0.1" + port: true, "127.0.0.1": true, "localhost": true, "LocalHost.:99": true, "[::1]:1": true, "127.9.9.9": true, "[::ffff:127.0.0.1]": true,
		"box.lan": true, "slotd.example:443": true, "10.1.2.3": true,
		"evil.example": false, "evil.example" + port: false, "localhost.evil.example": false, "10.1.2.4": false, "8.8.8.8": false, "127.0.0.1.evil.example": false, "slotd.example.evil": false,
	} {
		got := n.do("GET", "/healthz", "", "Host: "+host)
		if !ok {
			got.refuses(t, 403, "PermissionDenied", "--allowed-host")
		} else if got.status != 200 {
			t.Errorf("Host %s: got %d %s", host, got.status, got.body)
		}
	}
	for origin, ok := range map[string]bool{
		"http://127.0.0.1" + port: true, "https://slotd.example": true, "http://SLOTD.example": true,
		"http://127.0.0.1": false, "http://localhost" + port: false, "http://127.0.0.1:1": false, "https://evil.example": false, "null": false, "": false, "http://": false,
		"https://slotd.example:8443": false, "ftp://127.0.0.1" + port: false, "http://evil@127.0.0.1:1": false,
	} {
		got := n.do("GET", "/healthz", "", "Origin: "+origin)
		if !ok {
			got.refuses(t, 403, "PermissionDenied", "foreign")
		} else if got.status != 200 {
			t.Errorf("Origin %s: got %d %s", origin, got.status, got.body)
		}
	}
	if got := n.do("GET", "/healthz", "", "Host: localhost", "Origin: http://localhost:80"); got.status != 200 {
		t.Errorf("the scheme's own port: got %d", got.status)
	}
	if got := n.do("GET", "/healthz", "", "Origin: http://127.0.0.1"+port, "Origin: https://evil.example"); got.status != 403 {
		t.Errorf("a second, foreign origin: got %d", got.status)
	}
	// HTTP/1.0 may leave Host out; no browser does.
	c := dial(t, n, "GET /healthz HTTP/1.0\r\n\r\n")
	if status := readStatus(t, c); status != 403 {
		t.Errorf("no Host: got %d", status)
	}
}

func TestAUnixSocketHasNoHost(t *testing.T) {
	n := start(t, rest.Config{})
	path := filepath.Join(t.TempDir(), "s")
	n.serve("unix", path)
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}}}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://whatever/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Origin", "https://elsewhere.example")
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if readOff(t, response); response.StatusCode != http.StatusOK {
		t.Errorf("got %d", response.StatusCode)
	}
}

func TestABodyOverTheLimitSeesTheAnswer(t *testing.T) {
	n := start(t, rest.Config{})
	for name, size := range map[string]int{"one byte over": rest.MaxBody + 1, "nearly a megabyte over": rest.MaxBody + 1<<20 - 1} {
		for _, path := range []string{"/api/v1/tasks", "/api/v1/tasks/batch", "/api/v1/tasks/tsk_1/cancel"} {
			t.Run(name+path, func(t *testing.T) {
				n.do("POST", path, strings.Repeat(" ", size), asJSON).refuses(t, 413, "PayloadTooLarge", "exceeds 4194304 bytes")
			})
		}
	}
	// Without a length in advance.
	response := n.begin(t.Context(), "POST", "/api/v1/tasks", io.MultiReader(strings.NewReader(strings.Repeat(" ", rest.MaxBody+2))), asJSON)
	if readOff(t, response); response.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("chunked: got %d", response.StatusCode)
	}
	n.do("POST", "/api/v1/tasks", strings.Repeat(" ", rest.MaxBody), asJSON).refuses(t, 400, "InvalidRequest", "the body is empty")
	// Other refusals of a large body are seen, too.
	n.do("POST", "/api/v1/tasks", strings.Repeat(" ", rest.MaxBody)).refuses(t, 415, "UnsupportedMediaType", "the request has no Content-Type")
	n.do("POST", "/nowhere", strings.Repeat(" ", rest.MaxBody)).refuses(t, 404, "NotFound", "/nowhere")
}

func TestAClientThatReadsOnlyAfterSendingSeesTheAnswer(t *testing.T) {
	n := start(t, rest.Config{})
	for _, c := range []struct {
		head   string
		size   int
		status int
	}{
		{"POST /api/v1/tasks HTTP/1.1\r\nContent-Type: application/json", rest.MaxBody + 1<<20, http.StatusRequestEntityTooLarge},
		{"POST /api/v1/tasks HTTP/1.1", rest.MaxBody, http.StatusUnsupportedMediaType},
		{"PUT /api/v1/tasks HTTP/1.1", rest.MaxBody, http.StatusMethodNotAllowed},
	} {
		head := fmt.Sprintf("%s\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", c.head, c.size)
		conn := dial(t, n, "")
		if tcp, ok := conn.(*net.TCPConn); ok {
			if err := tcp.SetWriteBuffer(256 << 10); err != nil { // the kernel would hold the whole body otherwise
				t.Fatal(err)
			}
		}
		if _, err := io.WriteString(conn, head+strings.Repeat(" ", c.size)); err != nil {
			t.Fatalf("%s: send: %v", c.head, err)
		}
		if status := readStatus(t, conn); status != c.status {
			t.Errorf("%s: got %d, want %d", c.head, status, c.status)
		}
	}
}

func TestAClientThatAsksFirstIsNotMadeToSend(t *testing.T) {
	n := start(t, rest.Config{})
	c := dial(t, n, fmt.Sprintf("POST /api/v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", rest.MaxBody+1))
	if status := readStatus(t, c); status != 413 {
		t.Errorf("got %d, want 413 before the body", status)
	}
}

func TestABodyThatDoesNotArriveIsGivenUp(t *testing.T) {
	n := start(t, rest.Config{BodyTimeout: 50 * time.Millisecond})
	for _, request := range []string{
		"POST /api/v1/tasks HTTP/1.1\r\nContent-Type: application/json", "POST /api/v1/tasks HTTP/1.1", "POST /api/v1/tasks/tsk_1/cancel HTTP/1.1",
		"GET /healthz HTTP/1.1", "GET /nowhere HTTP/1.1", "PUT /healthz HTTP/1.1",
	} {
		c := dial(t, n, request+"\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{\"")
		if status := readStatus(t, c); status < 400 {
			t.Errorf("%s: got %d", request, status)
		}
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Errorf("%s: the connection is still in use", request)
		}
	}
}

func TestAClientThatHangsUpInItsBodyLeavesNothing(t *testing.T) {
	n := start(t, rest.Config{})
	c := dial(t, n, "POST /api/v1/tasks HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: hung\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"spec\":")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	n.log.await(t, "http request", "hung", `"status":400`)
	if sent := n.sent(); len(sent) != 0 {
		t.Errorf("sent %v", sent)
	}
}

func TestABodyDoesNotLimitTheRequestAfterIt(t *testing.T) {
	n := start(t, rest.Config{BodyTimeout: 50 * time.Millisecond})
	n.set(task("tsk_1", pending, 1))
	c := dial(t, n, "GET /api/v1/tasks/tsk_1?wait=5m HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}")
	receive(t, n.waiting, "waiting")
	time.AfterFunc(100*time.Millisecond, func() { n.set(task("tsk_1", succeeded, 2)) })
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if readOff(t, response); response.Header.Get("ETag") != `"2"` {
		t.Errorf("answered before the task ended: %d, ETag %s", response.StatusCode, response.Header.Get("ETag"))
	}
}

func TestSlowHeadersAndSilentConnectionsAreCut(t *testing.T) {
	n := start(t, rest.Config{HeaderTimeout: 50 * time.Millisecond, IdleTimeout: 50 * time.Millisecond})
	slow := dial(t, n, "GET /healthz HTTP/1.1\r\nHost: local")
	if _, err := slow.Read(make([]byte, 1)); errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
		t.Errorf("slow headers: %v, want the end of the connection", err)
	}
	idle := dial(t, n, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if status := readStatus(t, idle); status != 200 {
		t.Errorf("got %d", status)
	}
	if _, err := idle.Read(make([]byte, 1)); isTimeout(err) {
		t.Errorf("idle: %v, want the end of the connection", err)
	}
	large := dial(t, n, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: "+strings.Repeat("x", 128<<10)+"\r\n\r\n")
	if status := readStatus(t, large); status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("headers of 128 KiB: got %d", status)
	}
}

func TestAKeptConnectionOutlivesItsLastDeadline(t *testing.T) {
	n := start(t, rest.Config{WriteTimeout: 200 * time.Millisecond})
	n.answers(&slotdv1.TaskEnded{})
	c := dial(t, n, "")
	reader := bufio.NewReader(c)
	for _, request := range []string{"GET /healthz", "DELETE /api/v1/tasks/x", "GET /nowhere"} {
		if _, err := io.WriteString(c, request+" HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatalf("%s: %v", request, err)
		}
		readOff(t, response)
		<-time.After(250 * time.Millisecond) // longer than the deadline of the answer before
	}
}

func TestConfigRefusesNonsense(t *testing.T) {
	for name, config := range map[string]rest.Config{
		"negative": {BodyTimeout: -1}, "url": {AllowedHosts: []string{"http://x"}}, "port": {AllowedHosts: []string{"x:80"}}, "empty": {AllowedHosts: []string{""}}, "wildcard": {AllowedHosts: []string{"*.x"}},
	} {
		if _, err := rest.New(config, rest.Deps{}); err == nil || strings.Contains(err.Error(), "required") {
			t.Errorf("%s: %v, want a complaint about the value", name, err)
		}
	}
	if err := (rest.Config{AllowedHosts: []string{"::1", "[::1]", "10.0.0.1", "a.example"}}).Validate(); err != nil {
		t.Error(err)
	}
	if _, err := rest.New(rest.Config{}, rest.Deps{}); err == nil {
		t.Error("a server without anything to ask was made")
	}
}

func readStatus(t *testing.T, c net.Conn) int {
	t.Helper()
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatalf("read the answer: %v", err)
	}
	readOff(t, response)
	return response.StatusCode
}

func isTimeout(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}
