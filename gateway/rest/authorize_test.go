package rest_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"slotd/gateway/auth"
	"slotd/gateway/cert"
	"slotd/gateway/cert/certtest"
	"slotd/gateway/quota"
	"slotd/gateway/rest"
	slotdv1 "slotd/messages/slotd/v1"
)

// tokens returns a file with a token for each role, called as the role.
func tokens(t *testing.T) *auth.File {
	t.Helper()
	var text strings.Builder
	for _, role := range []string{"read", "submit", "admin"} {
		fmt.Fprintf(&text, "%s sha256:%x %s-token\n", role, sha256.Sum256([]byte(role)), role)
	}
	path := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := auth.OpenFile(path, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func bearer(token string) string { return "Authorization: Bearer " + token }

func TestEachRoleMayWhatItSays(t *testing.T) {
	n := startBehind(t, auth.NewGate(tokens(t), false), rest.Config{})
	n.answers(&slotdv1.SlotPurged{})
	n.set(task("tsk_1", succeeded, 1))
	roles := []string{"", "read", "submit", "admin"}
	for _, c := range []struct {
		method, path string
		needs        int
	}{
		{"GET", "/healthz", 0},
		{"GET", "/readyz", 0},
		{"HEAD", "/version", 0},
		{"GET", "/nowhere", 0},
		{"PUT", "/api/v1/tasks", 0},
		{"GET", "/api/v1/tasks", 1},
		{"HEAD", "/api/v1/tasks/tsk_1", 1},
		{"GET", "/api/v1/tasks/tsk_1/runs", 1},
		{"GET", "/api/v1/slots", 1},
		{"GET", "/api/v1/introspection", 1},
		{"POST", "/api/v1/tasks", 2},
		{"POST", "/api/v1/tasks/batch", 2},
		{"POST", "/api/v1/tasks/tsk_1/cancel", 2},
		{"DELETE", "/api/v1/tasks/tsk_1", 2},
		{"POST", "/api/v1/slots/a/purge", 2},
	} {
		for has, role := range roles {
			var headers []string
			if role != "" {
				headers = []string{bearer(role)}
			}
			before := len(n.sent())
			got := n.do(c.method, c.path, "", headers...)
			refused := got.status == http.StatusUnauthorized || got.status == http.StatusForbidden
			if refused == (has >= c.needs) {
				t.Errorf("%s %s as %q: got %d", c.method, c.path, role, got.status)
			}
			if refused && len(n.sent()) != before {
				t.Errorf("%s %s as %q was refused and done", c.method, c.path, role)
			}
		}
	}
	got := n.do("GET", "/api/v1/tasks", "")
	got.refuses(t, 401, "Unauthenticated", "send Authorization: Bearer TOKEN")
	if challenge := got.header.Get("WWW-Authenticate"); challenge != `Bearer realm="slotd"` {
		t.Errorf("WWW-Authenticate = %q", challenge)
	}
	got = n.do("POST", "/api/v1/tasks", "{}", bearer("read"), asJSON)
	got.refuses(t, 403, "PermissionDenied", `this needs the role submit, and \"read-token\" has read`)
	if challenge := got.header.Get("WWW-Authenticate"); challenge != "" {
		t.Errorf("WWW-Authenticate = %q with a token that is known", challenge)
	}
	n.do("GET", "/api/v1/tasks", "", bearer("hush")).refuses(t, 401, "Unauthenticated", "does not know the token")
	if log := n.log.String(); strings.Contains(log, "hush") || !strings.Contains(log, `"client":"read-token"`) {
		t.Errorf("the log has the token, or not its name: %s", log)
	}
}

func TestValuesAreForThoseWhoMaySubmit(t *testing.T) {
	secretive := task("tsk_1", succeeded, 1)
	n := startBehind(t, auth.NewGate(tokens(t), false), rest.Config{})
	n.set(secretive)
	for role, sees := range map[string]bool{"read": false, "submit": true, "admin": true} {
		got := n.do("GET", "/api/v1/tasks/tsk_1", "", bearer(role))
		if got.status != 200 || strings.Contains(got.body, "visible") != sees || strings.Contains(got.body, "hunter2") {
			t.Errorf("%s: got %d %s", role, got.status, got.body)
		}
	}
	open := start(t, rest.Config{})
	open.set(secretive)
	if got := open.do("GET", "/api/v1/tasks/tsk_1", ""); !strings.Contains(got.body, "visible") || strings.Contains(got.body, "hunter2") {
		t.Errorf("without authentication: got %s", got.body)
	}
}

func TestTheOwnUsersSocketNeedsNoToken(t *testing.T) {
	n := startBehind(t, auth.NewGate(tokens(t), false), rest.Config{})
	path := filepath.Join(t.TempDir(), "s")
	n.serve("unix", path)
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}
	defer transport.CloseIdleConnections()
	for _, c := range []struct {
		token string
		want  int
	}{{"", 200}, {"read", 200}, {"hush", 401}, {"", 200}} {
		if got := get(t, transport, "http://x/api/v1/slots", c.token); got.status != c.want {
			t.Errorf("token %q: got %d, want %d", c.token, got.status, c.want)
		}
	}
}

// got is the status of an answer, and the version of HTTP that it came by.
type got struct{ status, major int }

// get sends a request and reads the answer off.
func get(t *testing.T, transport *http.Transport, url, token string, headers ...string) got {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		request.Header.Set(name, value)
		if name == "Host" {
			request.Host = value
		}
	}
	response, err := (&http.Client{Transport: transport, Timeout: patience}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	readOff(t, response)
	return got{response.StatusCode, response.ProtoMajor}
}

// secure adds a listener with TLS to n, and returns its address and what a client needs.
func (n *node) secure(t *testing.T, clients bool) (addr string, ca *certtest.Authority) {
	t.Helper()
	ca = certtest.NewAuthority(t)
	pair := ca.Issue(t, "server")
	files := cert.Files{Cert: pair.Cert, Key: pair.Key}
	if clients {
		files.CA = ca.File
	}
	keeper, err := cert.Open(files, time.Now, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- n.server.Serve(tls.NewListener(l, keeper.Config("h2", "http/1.1"))) }()
	n.served = append(n.served, done)
	return l.Addr().String(), ca
}

func TestTLSSpeaksBothVersionsOfHTTP(t *testing.T) {
	n := startBehind(t, auth.NewGate(tokens(t), false), rest.Config{})
	addr, ca := n.secure(t, false)
	for major := 1; major <= 2; major++ {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool}, ForceAttemptHTTP2: major == 2}
		for token, want := range map[string]int{"": 401, "read": 200} {
			if got := get(t, transport, "https://"+addr+"/api/v1/slots", token); got.status != want || got.major != major {
				t.Errorf("HTTP/%d, token %q: got %v, want %d", major, token, got, want)
			}
		}
		for header, want := range map[string]int{
			"Host: evil.example": 403, "Origin: https://evil.example": 403, "Origin: http://" + addr: 403, "Origin: https://" + addr: 200, "Host: 127.0.0.1": 200,
		} {
			if got := get(t, transport, "https://"+addr+"/api/v1/slots", "read", header); got.status != want {
				t.Errorf("HTTP/%d, %s: got %d, want %d", major, header, got.status, want)
			}
		}
		transport.CloseIdleConnections()
	}
	// Where the default ports make them look alike, too.
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool}}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+addr+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = "localhost"
	request.Header.Set("Origin", "http://localhost")
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	if readOff(t, response); response.StatusCode != http.StatusForbidden {
		t.Errorf("a page of http, seen from https: got %d, want 403", response.StatusCode)
	}
}

func TestAVerifiedCertificateIsAdminUnlessTokensDecide(t *testing.T) {
	for _, c := range []struct {
		gate  *auth.Gate
		token string
		want  int
	}{
		{auth.NewGate(nil, true), "", 200},
		{auth.NewGate(tokens(t), true), "", 401},
		{auth.NewGate(tokens(t), true), "read", 403},
		{auth.NewGate(tokens(t), true), "submit", 200},
	} {
		n := startBehind(t, c.gate, rest.Config{})
		n.answers(&slotdv1.SlotPurged{})
		addr, ca := n.secure(t, true)
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool, Certificates: []tls.Certificate{ca.Issue(t, "ci").TLS}}}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+addr+"/api/v1/slots/a/purge", nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.token != "" {
			request.Header.Set("Authorization", "Bearer "+c.token)
		}
		response, err := transport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		if readOff(t, response); response.StatusCode != c.want {
			t.Errorf("token %q: got %d, want %d", c.token, response.StatusCode, c.want)
		}
		transport.CloseIdleConnections()
		// The same server in clear text has no certificate to go by.
		n.do("POST", "/api/v1/slots/a/purge", "").refuses(t, 401, "Unauthenticated", "this server wants a")
	}
}

func TestAHandshakeThatStopsIsCut(t *testing.T) {
	n := start(t, rest.Config{HeaderTimeout: 50 * time.Millisecond})
	addr, _ := n.secure(t, false)
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte{22, 3, 1, 2, 0, 1}); err != nil { // the beginning of a hello
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, c); isTimeout(err) {
		t.Error("the connection is still open")
	}
}

func TestABodyThatDoesNotArriveIsGivenUpOverHTTP2Too(t *testing.T) {
	n := start(t, rest.Config{BodyTimeout: 50 * time.Millisecond})
	addr, ca := n.secure(t, false)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	body, sender := io.Pipe()
	defer func() {
		if err := sender.Close(); err != nil {
			t.Error(err)
		}
	}()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+addr+"/api/v1/tasks", body)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	if readOff(t, response); response.StatusCode != http.StatusBadRequest || response.ProtoMajor != 2 {
		t.Errorf("got %s %d, want 400", response.Proto, response.StatusCode)
	}
}

func TestAStoppedReaderIsDroppedOverHTTP2Too(t *testing.T) {
	n := start(t, rest.Config{WriteTimeout: 500 * time.Millisecond})
	addr, ca := n.secure(t, false)
	n.set(task("tsk_1", running, 1))
	f := n.follow()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+addr+"/api/v1/tasks/tsk_1/logs", nil)
	if err != nil {
		t.Fatal(err)
	}
	stopped, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	batch := []byte(strings.Repeat("x", 1<<20))
	for open := true; open; {
		select {
		case f.batches <- batch:
		case <-f.closed:
			open = false
		case <-time.After(patience):
			t.Fatal("the stopped reader was not dropped")
		}
	}
	// Its connection goes on: other requests share it.
	if got := get(t, transport, "https://"+addr+"/healthz", ""); got.status != http.StatusOK || got.major != 2 {
		t.Errorf("another request: %v", got)
	}
	if err := stopped.Body.Close(); err != nil {
		t.Error(err)
	}
}

// far is a listener whose connections come from another machine, as far as anybody can tell.
type far struct{ net.Listener }

func (l far) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return farConn{c}, err
}

type farConn struct{ net.Conn }

func (farConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1} }

func TestAConnectionThatSaysNothingMakesRoomAndOneThatIsAnsweredDoesNot(t *testing.T) {
	n := start(t, rest.Config{})
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- n.server.Serve(quota.New(2, hclog.NewNullLogger()).Limit(far{l})) }()
	n.served = append(n.served, done)
	n.url = "http://" + l.Addr().String()
	n.set(task("tsk_1", running, 1))
	n.follow()
	streaming := dial(t, n, "GET /api/v1/tasks/tsk_1/logs HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if _, err := io.ReadFull(streaming, make([]byte, 12)); err != nil {
		t.Fatal(err)
	}
	silent := dial(t, n, "GET /healthz HTTP/1.1\r\n")
	for range 3 {
		next := dial(t, n, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if status := readStatus(t, next); status != 200 {
			t.Errorf("got %d", status)
		}
		if _, err := silent.Read(make([]byte, 1)); isTimeout(err) {
			t.Error("the one that says nothing keeps its place")
		}
		silent = next // kept for another request, it makes room in its turn
	}
	if err := streaming.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, streaming); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the stream was cut: %v", err)
	}
}
