package client_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"slotd/gateway/client"
	slotdv1 "slotd/messages/slotd/v1"
)

const hush = "hush-hush-token"

// bearer serves the version to everybody and tells which Authorization each request had.
func bearer(t *testing.T, seen *[]string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		*seen = append(*seen, r.Header.Get("Authorization"))
		reply(t, w, &slotdv1.VersionResponse{Version: "v1"})
	}
}

func newClient(t *testing.T, cfg client.Config) *client.Client {
	t.Helper()
	c, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestTokensComeFromWhereverTheyAreKept(t *testing.T) {
	var seen []string
	server := httptest.NewServer(bearer(t, &seen))
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "token")
	put(t, file, "first\n")
	calls := 0
	fresh := func(context.Context) (string, error) {
		calls++
		return strings.Repeat("x", calls), nil
	}
	for _, tc := range []struct {
		token client.TokenSource
		between,
		want string
	}{
		{nil, "", ","},
		{client.Token(""), "", ","},
		{client.Token("t"), "", "Bearer t,Bearer t"},
		{client.TokenFile(file), "other", "Bearer first,Bearer other"},
		{fresh, "", "Bearer x,Bearer xx"},
	} {
		seen = nil
		c := newClient(t, client.Config{Addr: server.URL, Token: tc.token})
		for range 2 {
			if _, err := c.Version(t.Context()); err != nil {
				t.Fatal(err)
			}
			put(t, file, " "+tc.between+"\r\n")
		}
		if got := strings.Join(seen, ","); got != tc.want {
			t.Errorf("got %q, want %q", got, tc.want)
		}
		put(t, file, "first\n")
	}
}

func TestLogStreamsCarryTheToken(t *testing.T) {
	var seen []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Get("Authorization"))
		stream(t, w, chunk("a", 0, "hi"))
	}))
	t.Cleanup(server.Close)
	c := newClient(t, client.Config{Addr: server.URL, Token: client.Token(hush)})
	if events, err := read(t, c, client.LogOptions{}); err != nil || len(events) != 1 {
		t.Errorf("got %v, %v", events, err)
	}
	if len(seen) != 1 || seen[0] != "Bearer "+hush {
		t.Errorf("got %q", seen)
	}
}

func TestBadTokensAreNamedWithoutTheirValue(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "empty"), " \n")
	put(t, filepath.Join(dir, "long"), strings.Repeat(hush, 1000))
	put(t, filepath.Join(dir, "two"), hush+"\n"+hush)
	why := errors.New("no token today")
	c := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a request was sent") })
	for _, tc := range []struct {
		token client.TokenSource
		says  string
	}{
		{client.TokenFile(filepath.Join(dir, "none")), "token file: open " + dir},
		{client.TokenFile(filepath.Join(dir, "empty")), "is empty"},
		{client.TokenFile(filepath.Join(dir, "long")), "is longer than 8192 bytes"},
		{client.TokenFile(filepath.Join(dir, "two")), "has a blank or another character"},
		{client.Token(hush + "\r\nX-Evil: 1"), "has a blank or another character"},
		{func(context.Context) (string, error) { return hush, why }, why.Error()},
	} {
		_, err := newClient(t, client.Config{Addr: c.Addr(), Token: tc.token}).Version(t.Context())
		if err == nil || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), hush) {
			t.Errorf("want %q, got %v", tc.says, err)
		}
	}
}

func TestATokenNeverCrossesANetworkInTheClear(t *testing.T) {
	for addr, refused := range map[string]bool{
		"http://192.0.2.1:8085":         true,
		"192.0.2.1:8085":                true,
		"http://localhost.example:8085": true,
		"http://127.0.0.1.example:8085": true,
		"http://[2001:db8::1]:8085":     true,
		"http://127.0.0.1:8085":         false,
		"http://127.8.9.1:8085":         false,
		"http://LOCALHOST:8085":         false,
		"http://[::1]:8085":             false,
		"https://192.0.2.1:8085":        false,
		"unix:///run/slotd.sock":        false,
	} {
		c, err := client.New(client.Config{Addr: addr, Token: client.Token(hush)})
		if errors.Is(err, client.ErrPlaintextToken) != refused || refused != (err != nil) {
			t.Errorf("%s: got %v, want a refusal: %v", addr, err, refused)
		}
		if c != nil {
			c.Close()
		}
		for _, cfg := range []client.Config{{Addr: addr}, {Addr: addr, Token: client.Token(hush), PlaintextToken: true}} {
			c, err := client.New(cfg)
			if err != nil {
				t.Errorf("%s: %v", addr, err)
				continue
			}
			c.Close()
		}
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		elsewhere.Add(1)
		t.Errorf("somebody else got %q", r.Header.Get("Authorization"))
	}))
	t.Cleanup(other.Close)
	for _, status := range []int{301, 302, 303, 307, 308} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, status)
		}))
		t.Cleanup(server.Close)
		c := newClient(t, client.Config{Addr: server.URL, Token: client.Token(hush)})
		_, err := c.Version(t.Context())
		if err == nil || !strings.Contains(err.Error(), "redirects to "+other.URL+" are not followed") || elsewhere.Load() != 0 {
			t.Errorf("%d: got %v", status, err)
		}
	}
}

// identity makes a certificate that signs itself, as files, for a server and a client.
func identity(t *testing.T, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	put(t, cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	put(t, key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})))
	return cert, key
}

// secure starts a TLS server with the given certificate, which asks for one of the client's when it knows any.
func secure(t *testing.T, cert, key, clients string, h http.HandlerFunc) string {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(h)
	server.Config.ErrorLog = hclog.NewNullLogger().StandardLogger(nil) // refused handshakes are what the tests are about
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	if clients != "" {
		text, err := os.ReadFile(clients)
		if err != nil {
			t.Fatal(err)
		}
		server.TLS.ClientAuth, server.TLS.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		server.TLS.ClientCAs.AppendCertsFromPEM(text)
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL
}

func TestTLSTrustsOnlyWhomItIsToldTo(t *testing.T) {
	cert, key := identity(t, "slotd.test")
	mine, myKey := identity(t, "me")
	stranger, strangerKey := identity(t, "slotd.test")
	var seen []string
	open := secure(t, cert, key, "", bearer(t, &seen))
	closed := secure(t, cert, key, mine, bearer(t, &seen))
	for name, tc := range map[string]struct {
		addr string
		tls  client.TLS
		says string // "" = it works
	}{
		"an unknown authority":          {open, client.TLS{ServerName: "slotd.test"}, "certificate signed by unknown authority"},
		"the authority":                 {open, client.TLS{CAFile: cert, ServerName: "slotd.test"}, ""},
		"another authority":             {open, client.TLS{CAFile: stranger, ServerName: "slotd.test"}, "x509:"},
		"another name":                  {open, client.TLS{CAFile: cert}, "127.0.0.1"},
		"everybody":                     {open, client.TLS{InsecureSkipVerify: true}, ""},
		"no certificate of the client":  {closed, client.TLS{CAFile: cert, ServerName: "slotd.test"}, "certificate required"},
		"a certificate of the client":   {closed, client.TLS{CAFile: cert, ServerName: "slotd.test", CertFile: mine, KeyFile: myKey}, ""},
		"a certificate of nobody known": {closed, client.TLS{CAFile: cert, ServerName: "slotd.test", CertFile: stranger, KeyFile: strangerKey}, "TLS handshake"},
	} {
		seen = nil
		c := newClient(t, client.Config{Addr: tc.addr, TLS: tc.tls, Token: client.Token(hush)})
		_, err := c.Version(t.Context())
		if tc.says == "" {
			if err != nil || len(seen) != 1 {
				t.Errorf("%s: got %v after %d requests", name, err, len(seen))
			}
			continue
		}
		var unreachable *client.UnreachableError
		if !errors.As(err, &unreachable) || !strings.Contains(err.Error(), tc.says) || len(seen) != 0 {
			t.Errorf("%s: got %v after %d requests, want %q", name, err, len(seen), tc.says)
		}
	}
}

func TestMixedUpSchemesAreTold(t *testing.T) {
	cert, key := identity(t, "slotd.test")
	plain := serve(t, func(http.ResponseWriter, *http.Request) {})
	if _, err := dial(t, strings.Replace(plain.Addr(), "http:", "https:", 1)).Version(t.Context()); err == nil || !strings.Contains(err.Error(), "it speaks plain http, not https") {
		t.Errorf("https to http: got %v", err)
	}
	addr := secure(t, cert, key, "", func(http.ResponseWriter, *http.Request) {})
	if _, err := dial(t, strings.Replace(addr, "https:", "http:", 1)).Version(t.Context()); err == nil || !strings.Contains(err.Error(), "HTTP request to an HTTPS server") {
		t.Errorf("http to https: got %v", err)
	}
}

func TestFilesOfTLSAreReadBeforeAnythingIsSent(t *testing.T) {
	cert, key := identity(t, "me")
	for says, cfg := range map[string]client.TLS{
		"CA file: open":      {CAFile: filepath.Join(t.TempDir(), "none")},
		"has no certificate": {CAFile: key},
		"belong together":    {CertFile: cert},
		"give both files":    {KeyFile: key},
		"client certificate": {CertFile: key, KeyFile: key},
	} {
		if _, err := client.New(client.Config{Addr: "https://h:1", TLS: cfg}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("want %q, got %v", says, err)
		}
	}
}

func TestAClientCertificateMayBeReplaced(t *testing.T) {
	cert, key := identity(t, "slotd.test")
	first, firstKey := identity(t, "me")
	second, secondKey := identity(t, "me, later")
	addr := secure(t, cert, key, second, func(w http.ResponseWriter, _ *http.Request) { reply(t, w, &slotdv1.VersionResponse{}) })
	c := newClient(t, client.Config{Addr: addr, TLS: client.TLS{CAFile: cert, ServerName: "slotd.test", CertFile: first, KeyFile: firstKey}})
	if _, err := c.Version(t.Context()); err == nil {
		t.Fatal("the first certificate is not known, yet it was accepted")
	}
	for from, to := range map[string]string{second: first, secondKey: firstKey} {
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		put(t, to, string(text))
	}
	if _, err := c.Version(t.Context()); err != nil {
		t.Error(err)
	}
}
