package cert_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"slotd/gateway/cert"
	"slotd/gateway/cert/certtest"
)

// server is a keeper with a clock that the test moves.
type server struct {
	*cert.Keeper

	t      *testing.T
	config *tls.Config
	now    time.Time
	log    bytes.Buffer
}

func open(t *testing.T, files cert.Files) *server {
	t.Helper()
	s := &server{t: t, now: time.Now()}
	var err error
	s.Keeper, err = cert.Open(files, func() time.Time { return s.now }, hclog.New(&hclog.LoggerOptions{Output: &s.log}))
	if err != nil {
		t.Fatal(err)
	}
	s.config = s.Config("h2", "http/1.1")
	return s
}

// greet makes a handshake and returns what the client knows of it then, and what the server does.
func (s *server) greet(client *tls.Config) (state tls.ConnectionState, clientErr, serverErr error) {
	s.t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(s.t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	near, err := new(net.Dialer).DialContext(s.t.Context(), "tcp", l.Addr().String())
	if err != nil {
		s.t.Fatal(err)
	}
	far, err := l.Accept()
	if err = errors.Join(err, l.Close(), near.SetDeadline(time.Now().Add(10*time.Second))); err != nil {
		s.t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() {
		conn := tls.Server(far, s.config)
		err := conn.HandshakeContext(s.t.Context())
		if err == nil {
			_, err = conn.Write([]byte{1}) // with TLS 1.3 a client learns only now whether its certificate was taken
		}
		served <- err
		_ = far.Close() // both ends go down together
	}()
	conn := tls.Client(near, client)
	clientErr = conn.HandshakeContext(s.t.Context())
	if clientErr == nil {
		_, clientErr = conn.Read(make([]byte, 1))
	}
	state = conn.ConnectionState()
	_ = near.Close() // as above
	return state, clientErr, <-served
}

// shows returns the serial number of the certificate that a client is shown.
func (s *server) shows(client *tls.Config) string {
	s.t.Helper()
	state, err, _ := s.greet(client)
	if err != nil {
		s.t.Fatal(err)
	}
	return state.PeerCertificates[0].SerialNumber.String()
}

func serialOf(t *testing.T, p certtest.Pair) string {
	t.Helper()
	c, err := x509.ParseCertificate(p.TLS.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return c.SerialNumber.String()
}

func TestVersionsAndProtocols(t *testing.T) {
	ca := certtest.NewAuthority(t)
	pair := ca.Issue(t, "server")
	s := open(t, cert.Files{Cert: pair.Cert, Key: pair.Key})
	for _, c := range []struct {
		most uint16
		want uint16
	}{{0, tls.VersionTLS13}, {tls.VersionTLS12, tls.VersionTLS12}, {tls.VersionTLS11, 0}} {
		state, err, _ := s.greet(&tls.Config{RootCAs: ca.Pool, ServerName: "localhost", MinVersion: tls.VersionTLS10, MaxVersion: c.most, NextProtos: []string{"h2"}})
		if (err == nil) != (c.want != 0) || err == nil && (state.Version != c.want || state.NegotiatedProtocol != "h2") {
			t.Errorf("at most %x: got %x %q, %v; want %x", c.most, state.Version, state.NegotiatedProtocol, err, c.want)
		}
	}
}

func TestNewFilesAreSeenWithinASecondAndNotBefore(t *testing.T) {
	ca := certtest.NewAuthority(t)
	first, second := ca.Issue(t, "server"), ca.Issue(t, "server")
	old, renewed := serialOf(t, first), serialOf(t, second)
	s := open(t, cert.Files{Cert: first.Cert, Key: first.Key})
	client := &tls.Config{RootCAs: ca.Pool, ServerName: "localhost"}
	if got := s.shows(client); got != old {
		t.Fatalf("shows %s, want %s", got, old)
	}
	second.Replace(t, first)
	s.now = s.now.Add(time.Second - 1)
	if got := s.shows(client); got != old {
		t.Error("every handshake looks at the files")
	}
	s.now = s.now.Add(1)
	if got := s.shows(client); got != renewed {
		t.Errorf("shows %s, want the new one, %s", got, renewed)
	}
	if !strings.Contains(s.log.String(), "the certificate was read again") {
		t.Errorf("log: %s", &s.log)
	}
}

func TestABrokenCertificateKeepsTheOldOne(t *testing.T) {
	ca := certtest.NewAuthority(t)
	first, second := ca.Issue(t, "server"), ca.Issue(t, "server")
	old := serialOf(t, first)
	s := open(t, cert.Files{Cert: first.Cert, Key: first.Key})
	client := &tls.Config{RootCAs: ca.Pool, ServerName: "localhost"}
	if err := os.Rename(second.Cert, first.Cert); err != nil { // its key has not come yet
		t.Fatal(err)
	}
	for range 3 {
		s.now = s.now.Add(time.Second)
		if got := s.shows(client); got != old {
			t.Errorf("shows %s, want the old one", got)
		}
	}
	if n := strings.Count(s.log.String(), "[ERROR] the new certificate is not usable, the old one stays in use"); n != 1 {
		t.Errorf("told %d times, want once: %s", n, &s.log)
	}
	if err := s.Reload(); err == nil || !strings.Contains(err.Error(), first.Cert) {
		t.Errorf("reload: %v", err)
	}
	if err := os.Rename(second.Key, first.Key); err != nil {
		t.Fatal(err)
	}
	s.now = s.now.Add(time.Second)
	if got, want := s.shows(client), serialOf(t, second); got != want {
		t.Errorf("shows %s, want the new one, %s", got, want)
	}
	if err := os.Remove(first.Key); err != nil {
		t.Fatal(err)
	}
	s.now = s.now.Add(time.Second)
	if got, want := s.shows(client), serialOf(t, second); got != want || s.Reload() == nil {
		t.Errorf("without a key: shows %s, want %s and an error", got, want)
	}
}

func TestClientsNeedACertificateOfTheirAuthority(t *testing.T) {
	ca, other := certtest.NewAuthority(t), certtest.NewAuthority(t)
	pair := ca.Issue(t, "server")
	s := open(t, cert.Files{Cert: pair.Cert, Key: pair.Key, CA: ca.File})
	for name, c := range map[string]struct {
		certs []tls.Certificate
		let   bool
	}{
		"none":      {nil, false},
		"a foreign": {[]tls.Certificate{other.Issue(t, "eve").TLS}, false},
		"its own":   {[]tls.Certificate{ca.Issue(t, "ci").TLS}, true},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			client := &tls.Config{RootCAs: ca.Pool, ServerName: "localhost", MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(8)}
			client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if len(c.certs) == 0 {
					return &tls.Certificate{}, nil
				}
				return &c.certs[0], nil
			}
			_, clientErr, serverErr := s.greet(client)
			if c.let != (clientErr == nil) || c.let != (serverErr == nil) {
				t.Errorf("%s, TLS %x: %v, %v; let in: %v", name, version, clientErr, serverErr, c.let)
			}
			if state, err, _ := s.greet(client); c.let && (err != nil || state.DidResume) {
				t.Errorf("%s, TLS %x: a session went on by its ticket: %v, %v", name, version, state.DidResume, err)
			}
		}
	}
	if data, err := os.ReadFile(other.File); err != nil || os.WriteFile(ca.File, data, 0o600) != nil || s.Reload() != nil {
		t.Fatal(err)
	}
	if _, _, err := s.greet(&tls.Config{RootCAs: ca.Pool, ServerName: "localhost", Certificates: []tls.Certificate{ca.Issue(t, "ci").TLS}}); err == nil {
		t.Error("the authority is gone, and its client was let in")
	}
}

func TestFilesThatMakeNoSenseAreNamed(t *testing.T) {
	ca := certtest.NewAuthority(t)
	a, b := ca.Issue(t, "server"), ca.Issue(t, "server")
	for want, files := range map[string]cert.Files{
		"certificate: open /nowhere/c: no such file":    {Cert: "/nowhere/c", Key: a.Key},
		"certificate: open /nowhere/k: no such file":    {Cert: a.Cert, Key: "/nowhere/k"},
		"private key does not match":                    {Cert: a.Cert, Key: b.Key},
		"certificate " + a.Key + " with key ":           {Cert: a.Key, Key: a.Key},
		"client authorities: open /nowhere/a: no such":  {Cert: a.Cert, Key: a.Key, CA: "/nowhere/a"},
		"client authorities " + a.Key + ": no certific": {Cert: a.Cert, Key: a.Key, CA: a.Key},
	} {
		if _, err := cert.Open(files, time.Now, hclog.NewNullLogger()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if err := os.Chmod(a.Key, 0o644); err != nil {
		t.Fatal(err)
	}
	if s := open(t, cert.Files{Cert: a.Cert, Key: a.Key}); !strings.Contains(s.log.String(), "every user may read the private key") {
		t.Errorf("log: %s", &s.log)
	}
}
