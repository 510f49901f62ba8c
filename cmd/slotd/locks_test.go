package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/go-hclog"
)

func TestAuthenticationIsEnoughForTheNetwork(t *testing.T) {
	for name, args := range map[string][]string{
		"tokens":              {"--auth-tokens", "t"},
		"client certificates": {"--tls-cert", "c", "--tls-key", "k", "--tls-client-ca", "a"},
	} {
		c, _, err := load(t, newWorld(t), append(args, "--http", "0.0.0.0:1", "--grpc", "[::]:1", "--data", "/d")...)
		if err == nil {
			err = c.validate()
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestServeWarnsOfWhatIsOpen(t *testing.T) {
	const (
		root    = "every local user can run commands as root"
		beyond  = "everybody who reaches it can run commands here"
		legible = "tokens cross the network in clear text"
	)
	for name, c := range map[string]struct {
		uid  int
		node NodeConfig
		says string
	}{
		"a user on loopback":        {1000, NodeConfig{HTTP: "127.0.0.1:1"}, ""},
		"root on loopback":          {0, NodeConfig{GRPC: "localhost:1"}, root},
		"root on a socket":          {0, NodeConfig{Unix: "/s"}, ""},
		"root with tokens":          {0, NodeConfig{HTTP: "127.0.0.1:1", AuthTokens: "t"}, ""},
		"root with certificates":    {0, NodeConfig{HTTP: "127.0.0.1:1", TLSCert: "c", TLSClientCA: "a"}, ""},
		"the network":               {0, NodeConfig{HTTP: "127.0.0.1:1", GRPC: ":1"}, beyond},
		"the network, tokens":       {0, NodeConfig{HTTP: ":1", AuthTokens: "t"}, legible},
		"the network, tokens, TLS":  {0, NodeConfig{HTTP: ":1", AuthTokens: "t", TLSCert: "c"}, ""},
		"the network, certificates": {0, NodeConfig{HTTP: ":1", TLSCert: "c", TLSClientCA: "a"}, ""},
	} {
		var log bytes.Buffer
		Config{Node: c.node}.warn(c.uid, hclog.New(&hclog.LoggerOptions{Output: &log}))
		if said := log.String(); !strings.Contains(said, c.says) || said != "" && c.says == "" || strings.Count(said, "\n") > 1 {
			t.Errorf("%s: said %q, want %q", name, said, c.says)
		}
	}
}

func TestAHangUpReadsTokensAndCertificatesAgain(t *testing.T) {
	n := &fakeNode{reloads: make(chan error, 1)}
	w := serving(t, n)
	exit := begin(t, w, filepath.Join(t.TempDir(), "d"))
	n.ready <- nil
	for _, c := range []struct {
		err  error
		says string
	}{
		{nil, "tokens and certificates were read again"},
		{errors.New("line 3 is wrong"), "those that held still hold: error=\"line 3 is wrong\""},
	} {
		n.reloads <- c.err
		w.signals <- syscall.SIGHUP
		eventually(t, c.says, func() bool { return strings.Contains(w.talk.String(), c.says) })
	}
	w.signals <- syscall.SIGTERM
	if code := <-exit; code != 0 {
		t.Errorf("exit %d, said %s", code, w.talk.String())
	}
}

func TestTokenCreatePrintsTheTokenAlone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	tokens := map[string]bool{}
	for _, args := range [][]string{{"--role", "read"}, {"--role", "admin", "--name", "ops"}} {
		w := newWorld(t)
		if code := w.run(t, append([]string{"token", "create", "--file", file}, args...)...); code != 0 {
			t.Fatalf("%v: exit %d, said %s", args, code, w.talk.String())
		}
		token := strings.TrimSuffix(w.out.String(), "\n")
		if !strings.HasPrefix(token, "slotd_") || strings.ContainsAny(token, " \n") || strings.Contains(w.talk.String(), token) {
			t.Errorf("printed %q, said %q", w.out.String(), w.talk.String())
		}
		tokens[token] = true
	}
	text, err := os.ReadFile(file)
	if err != nil || len(tokens) != 2 || strings.Count(string(text), "\n") != 2 {
		t.Fatalf("%v, %d tokens, file %q", err, len(tokens), text)
	}
	for token := range tokens {
		if strings.Contains(string(text), strings.TrimPrefix(token, "slotd_")) {
			t.Error("the file has the token itself")
		}
	}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--file", file}, exitUsage, `"role" not set`},
		{[]string{"--role", "read"}, exitUsage, `"file" not set`},
		{[]string{"--role", "root", "--file", file}, exitUsage, "must be one of read, submit, admin"},
		{[]string{"--role", "read", "--file", file, "--name", "a b"}, exitUsage, "--name: the name must be"},
		{[]string{"--role", "read", "--file", filepath.Join(file, "below")}, exitError, "token file: open"},
	} {
		w := newWorld(t)
		if code := w.run(t, append([]string{"token", "create"}, c.args...)...); code != c.code || w.out.String() != "" || !strings.Contains(w.talk.String(), c.says) {
			t.Errorf("%v: exit %d, printed %q, said %q; want %d and %q", c.args, code, w.out.String(), w.talk.String(), c.code, c.says)
		}
	}
}

func TestAddressesOfTLSSaySo(t *testing.T) {
	plain := addresses{http: "127.0.0.1:1", grpc: "127.0.0.1:2", unix: "/s"}
	l, err := openLocks(NodeConfig{}, hclog.NewNullLogger())
	if err != nil || l.addresses(plain) != plain {
		t.Errorf("got %v, %v", l.addresses(plain), err)
	}
	if read, err := l.reload(); read || err != nil {
		t.Errorf("reload without files: %v, %v", read, err)
	}
	if _, err := openLocks(NodeConfig{TLSCert: "/nowhere/c", TLSKey: "/nowhere/k"}, hclog.NewNullLogger()); err == nil || !strings.Contains(err.Error(), "certificate: open /nowhere/c") {
		t.Errorf("a certificate that is missing: %v", err)
	}
}
