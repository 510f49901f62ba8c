package e2e

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"slotd/gateway/cert/certtest"
	"slotd/test/need"
)

// newToken adds a token to a file.
func newToken(t testing.TB, file, role string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), slotd, "token", "create", "-q", "--role", role, "--file", file, "--name", role+"-token")
	cmd.Env = append(os.Environ(), goRace())
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("token create: %v", err)
	}
	return strings.TrimSuffix(string(out), "\n")
}

// as are the headers of whoever has the token.
func as(token string) []string { return []string{"Authorization", "Bearer " + token} }

func TestTokensDecideWhoMayWhat(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "tokens")
	read, submit := newToken(t, file, "read"), newToken(t, file, "submit")
	d := launch{args: []string{"--auth-tokens", file, "--log-level", "trace"}, noisy: true}.serve(t)
	if strings.Contains(d.log.String(), "without authentication") {
		t.Error("it warns as if everybody could use it")
	}
	if a := d.post(command("lane", "true")); a.status != http.StatusUnauthorized || a.label() != "Unauthenticated" || !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer") {
		t.Errorf("no token: %v, WWW-Authenticate %q", a, a.header.Get("WWW-Authenticate"))
	}
	if a := d.post(command("lane", "true"), as(read)...); a.status != http.StatusForbidden || a.label() != "PermissionDenied" || !strings.Contains(a.message(), "role submit") {
		t.Errorf("role read: %v", a)
	}
	d.submit(command("lane", "true"), as(submit)...)
	if a := d.get("/api/v1/tasks", as(read)...); a.status != http.StatusOK {
		t.Errorf("a list: %v", a)
	}
	if a := d.get("/readyz"); a.status != http.StatusOK {
		t.Errorf("readiness: %v", a)
	}

	sound, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	replaceFile(t, file, append(sound, "oops\n"...))
	d.signal(syscall.SIGHUP)
	d.logged("line 3: must be")
	if a := d.get("/api/v1/tasks", as(read)...); a.status != http.StatusOK {
		t.Errorf("after a broken file: %v", a)
	}
	admin := newTokenIn(t, file, sound, "admin")
	d.signal(syscall.SIGHUP)
	d.logged("were read again")
	if a := d.get("/api/v1/tasks", as(admin)...); a.status != http.StatusOK {
		t.Errorf("a new token: %v", a)
	}
	if a := d.get("/api/v1/tasks", as(read)...); a.status != http.StatusUnauthorized {
		t.Errorf("a token that is gone: %v", a)
	}
	for _, token := range []string{read, submit, admin} {
		if strings.Contains(d.log.String(), token) {
			t.Error("a token is in the log")
		}
	}
}

// newTokenIn puts the file right, takes its first line away and adds a token.
func newTokenIn(t testing.TB, file string, sound []byte, role string) string {
	t.Helper()
	_, rest, _ := bytes.Cut(sound, []byte("\n"))
	replaceFile(t, file, rest)
	return newToken(t, file, role)
}

func replaceFile(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// beyond is an address of this machine that is not loopback.
func beyond(t testing.TB) net.IP {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range addrs {
		if n, ok := addr.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			return n.IP
		}
	}
	need.That(t, false, "an IPv4 address that is not loopback")
	return nil
}

// secure makes d's client one of TLS.
func (d *daemon) secure(config *tls.Config) {
	d.http = strings.TrimPrefix(d.http, "https://")
	d.client.CloseIdleConnections()
	d.client = &http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}}
}

// securely sends a GET over TLS.
func (d *daemon) securely(path string, headers ...string) (int, error) {
	req, err := http.NewRequestWithContext(d.t.Context(), http.MethodGet, "https://"+d.http+path, nil)
	if err != nil {
		return 0, err
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, errors.Join(err, resp.Body.Close())
}

func TestOnTheNetworkWithTLSAndTokens(t *testing.T) {
	t.Parallel()
	ip := beyond(t)
	ca := certtest.NewAuthority(t)
	pair := ca.Issue(t, "server", ip)
	file := filepath.Join(t.TempDir(), "tokens")
	read := newToken(t, file, "read")
	d := serve(t, "--http", ip.String()+":0", "--auth-tokens", file, "--tls-cert", pair.Cert, "--tls-key", pair.Key)
	if !strings.HasPrefix(d.http, "https://"+ip.String()) || !strings.HasPrefix(d.grpc, "https://127.0.0.1") {
		t.Errorf("ready at %s and %s", d.http, d.grpc)
	}
	if strings.Contains(d.log.String(), "clear text") {
		t.Error("it warns of clear text")
	}
	d.secure(&tls.Config{RootCAs: ca.Pool})
	for token, want := range map[string]int{"": http.StatusUnauthorized, read: http.StatusOK} {
		if got, err := d.securely("/api/v1/slots", as(token)...); err != nil || got != want {
			t.Errorf("got %d, %v; want %d", got, err, want)
		}
	}
	ca2 := certtest.NewAuthority(t)
	ca2.Issue(t, "server", ip).Replace(t, pair)
	d.signal(syscall.SIGHUP)
	d.logged("were read again")
	d.secure(&tls.Config{RootCAs: ca2.Pool})
	if got, err := d.securely("/healthz"); err != nil || got != http.StatusOK {
		t.Errorf("with the new certificate: %d, %v", got, err)
	}
}

func TestClientCertificatesAreEnough(t *testing.T) {
	t.Parallel()
	ca, other := certtest.NewAuthority(t), certtest.NewAuthority(t)
	pair := ca.Issue(t, "server")
	d := serve(t, "--tls-cert", pair.Cert, "--tls-key", pair.Key, "--tls-client-ca", ca.File)
	for name, c := range map[string]struct {
		certs []tls.Certificate
		let   bool
	}{"none": {nil, false}, "foreign": {[]tls.Certificate{other.Issue(t, "eve").TLS}, false}, "its own": {[]tls.Certificate{ca.Issue(t, "ci").TLS}, true}} {
		d.secure(&tls.Config{RootCAs: ca.Pool, Certificates: c.certs})
		if got, err := d.securely("/api/v1/slots"); c.let != (err == nil && got == http.StatusOK) {
			t.Errorf("%s: %d, %v", name, got, err)
		}
	}
}

func TestAnotherUsersSocketConnectionNeedsAToken(t *testing.T) {
	t.Parallel()
	need.That(t, os.Geteuid() == 0, "root, to be another user")
	curl := need.Tool(t, "curl")
	dir, err := os.MkdirTemp("", "slotd-e2e-socket-") //nolint:usetesting // the directories of a test are closed to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	socket, file := filepath.Join(dir, "s"), filepath.Join(t.TempDir(), "tokens")
	read := newToken(t, file, "read")
	serve(t, "--unix", socket, "--auth-tokens", file)
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chmod(socket, 0o666)); err != nil { // an operator lets others in
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		uid   uint32
		token string
		want  string
	}{
		"the owner":               {0, "", "200"},
		"the owner, a bad token":  {0, "nonsense", "401"},
		"a stranger":              {12345, "", "403"},
		"a stranger with a token": {12345, read, "200"},
	} {
		args := []string{"-s", "-o", "/dev/null", "-w", "%{http_code}", "--unix-socket", socket, "http://slotd/api/v1/slots"}
		if c.token != "" {
			args = append(args, "-H", "Authorization: Bearer "+c.token)
		}
		cmd := exec.CommandContext(t.Context(), curl, args...)
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: c.uid, Gid: c.uid, NoSetGroups: true}}
		if out, err := cmd.Output(); err != nil || string(out) != c.want {
			t.Errorf("%s: got %s, %v; want %s", name, out, err, c.want)
		}
	}
}

func TestOneAddressCannotTakeEveryConnection(t *testing.T) {
	t.Parallel()
	ip := beyond(t)
	d := serve(t, "--http", ip.String()+":0", "--insecure", "--max-conns-per-addr", "4")
	silent := make([]net.Conn, 8)
	for i := range silent {
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", d.http)
		if err != nil {
			t.Fatal(err)
		}
		defer closed(t, c)
		if _, err := io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost:"); err != nil {
			t.Fatal(err)
		}
		silent[i] = c
	}
	for range 3 {
		if a := d.get("/healthz"); a.status != http.StatusOK {
			t.Errorf("behind them: %v", a)
		}
		d.client.CloseIdleConnections()
	}
	for _, c := range silent[:4] { // the oldest are closed long before their headers are late
		if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("one of the oldest is still open: %v", err)
		}
	}
	d.logged("an address has too many connections")
}

// The daemon runs with a mask that takes nothing away, so that each mode is its own doing.
func TestWhatTheDaemonMakesIsForItsUserAlone(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	socket, file := filepath.Join(t.TempDir(), "s"), filepath.Join(t.TempDir(), "tokens")
	d := launch{data: dir, args: []string{"--unix", socket}, mask: true}.serve(t)
	create := exec.CommandContext(t.Context(), "sh", "-c", `umask 0; exec "$0" token create -q --role read --file "$1"`, slotd, file)
	create.Env = append(os.Environ(), goRace())
	if out, err := create.CombinedOutput(); err != nil {
		t.Fatalf("token create: %v: %s", err, out)
	}
	id := d.submit(subprocess("lane", object{"script": object{"wellKnown": "SCRIPT_RUNTIME_BASH", "body": "ZWNobyBoaTsgc2xlZXAgMTAwMDAw"}}))
	d.running(id)
	eventually(t, "its output is kept", func() bool { return len(files(t, filepath.Join(dir, "logs"), id)) > 0 })
	eventually(t, "its script is there", func() bool { return len(files(t, filepath.Join(dir, "run"), "")) > 0 })
	seen := 0
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed meanwhile
		}
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		seen++
		want := fs.FileMode(0o600)
		if entry.IsDir() {
			want = 0o700
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %04o, want %04o", path, got, want)
		}
		return nil
	})
	if err != nil || seen < 10 {
		t.Errorf("%d files and folders, %v", seen, err)
	}
	for _, path := range []string{socket, file} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	d.cancel(id)
}

// Whoever only listens costs little, and holds up nobody who acts.
func TestThousandsOfIdleStreamsHoldUpNobody(t *testing.T) {
	t.Parallel()
	const streams = 2000
	d := serve(t)
	id := d.submit(forever("lane", drop))
	d.running(id)
	before := number(t, d.introspect().Goroutines)
	for range streams {
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", d.http)
		if err != nil {
			t.Fatal(err)
		}
		defer closed(t, c)
		if _, err := io.WriteString(c, "GET /api/v1/tasks/"+id+"/logs HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all of them listen", func() bool { return d.introspect().Logs.Subscribers == itoa(streams) })
	if got := number(t, d.introspect().Goroutines) - before; got > 3*streams {
		t.Errorf("%d goroutines for %d streams", got, streams)
	}
	for range 20 {
		if got := d.end(d.submit(command("other", "true"))).ended(); got != "SUCCEEDED Completed" {
			t.Errorf("meanwhile a task ended %s", got)
		}
	}
	d.cancel(id) // ends all of them
	eventually(t, "nobody listens", func() bool { return d.introspect().Logs.Subscribers == "0" })
}
