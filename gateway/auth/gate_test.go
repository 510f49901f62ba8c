package auth_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slotd/gateway/auth"
	"slotd/messages"
)

// refusal is the label and the sentence of a refusal.
func refusal(t *testing.T, err error) (label, message string) {
	t.Helper()
	var rejection *messages.RejectionError
	if !errors.As(err, &rejection) {
		t.Fatalf("got %v, want a refusal", err)
	}
	return rejection.Rejection.GetLabel(), rejection.Rejection.GetMessage()
}

func TestWhoSendsARequest(t *testing.T) {
	own := os.Geteuid()
	stranger := own + 1
	var (
		tcp       = auth.Peer{}
		certified = auth.Peer{Certificate: &x509.Certificate{Subject: pkix.Name{CommonName: "ci"}, SerialNumber: big.NewInt(1)}}
		socket    = func(uid int) auth.Peer { return auth.Peer{Unix: true, UID: uid} }
		nobody    *auth.Gate
		tokens    = auth.NewGate(open(t, line("read", "one", "eve")), false)
		certs     = auth.NewGate(nil, true)
		both      = auth.NewGate(open(t, line("read", "one", "eve")), true)
		eve       = auth.Identity{Name: "eve", Role: auth.Read}
		bearer    = []string{"Bearer one"}
	)
	const unauthenticated, denied = messages.LabelUnauthenticated, messages.LabelPermissionDenied
	for name, c := range map[string]struct {
		gate   *auth.Gate
		peer   auth.Peer
		header []string
		want   auth.Identity
		label  string
	}{
		"open":                            {nobody, tcp, nil, auth.Identity{Role: auth.Admin}, ""},
		"open, a header for somebody":     {nobody, tcp, []string{"Basic eA=="}, auth.Identity{Role: auth.Admin}, ""},
		"open, a socket of a stranger":    {nobody, socket(stranger), nil, auth.Identity{}, denied},
		"open, a token of a stranger":     {nobody, socket(stranger), bearer, auth.Identity{}, denied},
		"tokens, none":                    {tokens, tcp, nil, auth.Identity{}, unauthenticated},
		"tokens, one":                     {tokens, tcp, bearer, eve, ""},
		"tokens, lower case":              {tokens, tcp, []string{"bearer  one"}, eve, ""},
		"tokens, unknown":                 {tokens, tcp, []string{"Bearer two"}, auth.Identity{}, unauthenticated},
		"tokens, empty":                   {tokens, tcp, []string{""}, auth.Identity{}, unauthenticated},
		"tokens, no token":                {tokens, tcp, []string{"Bearer"}, auth.Identity{}, unauthenticated},
		"tokens, another scheme":          {tokens, tcp, []string{"Basic one"}, auth.Identity{}, unauthenticated},
		"tokens, bare":                    {tokens, tcp, []string{"one"}, auth.Identity{}, unauthenticated},
		"tokens, two":                     {tokens, tcp, []string{"Bearer one", "Bearer one"}, auth.Identity{}, unauthenticated},
		"tokens, a certificate":           {tokens, certified, nil, auth.Identity{}, unauthenticated},
		"tokens, own socket":              {tokens, socket(own), nil, auth.Identity{Name: "uid-" + itoa(own), Role: auth.Admin}, ""},
		"tokens, root's socket":           {tokens, socket(0), nil, auth.Identity{Name: "uid-0", Role: auth.Admin}, ""},
		"tokens, own socket, a token":     {tokens, socket(own), bearer, eve, ""},
		"tokens, own socket, unknown":     {tokens, socket(own), []string{"Bearer two"}, auth.Identity{}, unauthenticated},
		"tokens, a stranger":              {tokens, socket(stranger), nil, auth.Identity{}, denied},
		"tokens, a stranger with a token": {tokens, socket(stranger), bearer, eve, ""},
		"tokens, the kernel says nothing": {tokens, socket(-1), nil, auth.Identity{}, denied},
		"certificates, none":              {certs, tcp, nil, auth.Identity{}, unauthenticated},
		"certificates, one":               {certs, certified, nil, auth.Identity{Name: "ci", Role: auth.Admin}, ""},
		"certificates, a token":           {certs, certified, bearer, auth.Identity{Name: "ci", Role: auth.Admin}, ""},
		"both, a certificate alone":       {both, certified, nil, auth.Identity{}, unauthenticated},
		"both, both":                      {both, certified, bearer, eve, ""},
	} {
		got, err := c.gate.Identify(c.peer, c.header)
		if got != c.want || (err != nil) != (c.label != "") {
			t.Errorf("%s: got %v, %v; want %v", name, got, err, c.want)
			continue
		}
		if err == nil {
			continue
		}
		if label, message := refusal(t, err); label != c.label || strings.Contains(message, "two") {
			t.Errorf("%s: refused with %s: %s; want %s", name, label, message, c.label)
		}
	}
	if !nobody.Open() || tokens.Open() || certs.Open() || both.Open() {
		t.Error("a gate does not know whether it is open")
	}
}

func itoa(n int) string { return big.NewInt(int64(n)).String() }

func TestACertificateHasANameForTheLog(t *testing.T) {
	gate := auth.NewGate(nil, true)
	for want, c := range map[string]*x509.Certificate{
		"ci":             {Subject: pkix.Name{CommonName: "ci"}, SerialNumber: big.NewInt(1)},
		"host.example":   {Subject: pkix.Name{CommonName: "a\nforged line"}, DNSNames: []string{"host.example"}, SerialNumber: big.NewInt(1)},
		"certificate-ff": {SerialNumber: big.NewInt(255)},
	} {
		if got, err := gate.Identify(auth.Peer{Certificate: c}, nil); err != nil || got.Name != want {
			t.Errorf("got %v, %v; want %s", got, err, want)
		}
	}
}

func TestEachRoleMayWhatTheOnesBeforeItMay(t *testing.T) {
	roles := []auth.Role{auth.None, auth.Read, auth.Submit, auth.Admin}
	for i, has := range roles {
		for j, needed := range roles {
			err := auth.Check(auth.Identity{Name: "eve", Role: has}, needed)
			if i >= j != (err == nil) {
				t.Errorf("%v needs %v: %v", has, needed, err)
			}
			if err == nil {
				continue
			}
			label, message := refusal(t, err)
			if label != messages.LabelPermissionDenied || !strings.Contains(message, "needs the role "+needed.String()+`, and "eve" has `+has.String()) {
				t.Errorf("refused with %s: %s", label, message)
			}
		}
	}
}

func TestTheKernelTellsWhoConnected(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	client, err := new(net.Dialer).DialContext(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := auth.PeerOf(conn), (auth.Peer{Unix: true, UID: os.Geteuid()}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, c := range []interface{ Close() error }{client, conn, l} {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if got := auth.PeerOf(conn); !got.Unix || got.UID != -1 {
		t.Errorf("a connection that is gone: %v, want nobody", got)
	}
	if got := auth.PeerOf(&net.TCPConn{}); got.Unix {
		t.Errorf("TCP: %v", got)
	}
}
