package main

import (
	"encoding/json"
	"encoding/pem"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	soltiv1 "slotd/messages/solti/v1"
)

// home is a world with a home of its own.
func home(t *testing.T) (w func(env ...string) *world, dir string) {
	t.Helper()
	dir = t.TempDir()
	return func(env ...string) *world {
		return newWorld(t, append([]string{"HOME=" + dir}, env...)...)
	}, dir
}

// must runs a command line that works, and returns its stdout.
func (w *world) must(t *testing.T, args ...string) string {
	t.Helper()
	if code := w.run(t, args...); code != 0 {
		t.Fatalf("%v: exit %d, said %q", args, code, w.talk.String())
	}
	return w.out.String()
}

// shows reads config show as key → value and origin.
func (w *world) shows(t *testing.T, args ...string) map[string]shownSetting {
	t.Helper()
	var got struct {
		Settings []shownSetting `json:"settings"`
	}
	text := w.must(t, append([]string{"config", "show", "-o", "json", "--data", "/d"}, args...)...)
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	byKey := make(map[string]shownSetting)
	for _, s := range got.Settings {
		byKey[s.Key] = s
	}
	return byKey
}

func TestContextsAreKeptPrivately(t *testing.T) {
	w, dir := home(t)
	w().must(t, "config", "set-context", "prod", "--addr", "https://prod:1", "--token-file", "/t", "--ca", "/ca")
	w().must(t, "config", "set-context", "dev", "--addr", "unix:///s")
	w().must(t, "config", "use", "prod")
	if got, want := w().must(t, "config", "contexts"), "CURRENT  NAME  ADDR            TOKEN-FILE  CA   CLIENT-CERT  SERVER-NAME\n"+
		"-        dev   unix:///s       -           -    -            -\n"+
		"*        prod  https://prod:1  /t          /ca  -            -\n"; got != want {
		t.Errorf("got\n%s", got)
	}
	if got := w().must(t, "config", "contexts", "-o", "name"); got != "dev\nprod\n" {
		t.Errorf("got %q", got)
	}
	if got := w().must(t, "config", "contexts", "-o", "jsonl"); got != `{"name":"dev","current":false,"addr":"unix:///s"}`+"\n"+
		`{"name":"prod","current":true,"addr":"https://prod:1","token-file":"/t","ca":"/ca"}`+"\n" {
		t.Errorf("got %q", got)
	}
	file := filepath.Join(dir, ".config", "slotd", "config.yaml")
	for path, want := range map[string]fs.FileMode{file: 0o600, filepath.Dir(file): 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: got %v, %v", path, info.Mode(), err)
		}
	}
	if left, err := os.ReadDir(filepath.Dir(file)); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	// A change leaves the rest alone; an empty value forgets one.
	w().must(t, "config", "set-context", "prod", "--server-name", "p", "--ca", "")
	if got := w().shows(t); got["ca"].Value != "" || got["server-name"].Value != "p" || got["token-file"].Value != "/t" {
		t.Errorf("got %v", got)
	}
	w().must(t, "config", "delete-context", "prod")
	if got := w().must(t, "config", "contexts", "-o", "json"); !strings.Contains(got, `"current": false`) || strings.Contains(got, "prod") {
		t.Errorf("got %s", got)
	}
	if got := w().shows(t)["context"]; got.Value != "" {
		t.Errorf("a context that is gone is still used: %v", got)
	}
}

func TestTheStrongerWordNamesTheDaemonAndItsCredentials(t *testing.T) {
	w, dir := home(t)
	w().must(t, "config", "set-context", "one", "--addr", "https://one:1", "--token-file", "/one", "--client-cert", "/c", "--client-key", "/k")
	w().must(t, "config", "set-context", "two", "--addr", "https://two:1")
	w().must(t, "config", "use", "one")
	file := filepath.Join(dir, ".config", "slotd", "config.yaml")
	for name, tc := range map[string]struct {
		env  []string
		args []string
		want []shownSetting
	}{
		"the current one":     {nil, nil, []shownSetting{{"context", "one", file}, {"addr", "https://one:1", "context one"}, {"token-file", "/one", "context one"}, {"client-cert", "/c", "context one"}}},
		"a variable":          {[]string{"SLOTD_CONTEXT=two"}, nil, []shownSetting{{"context", "two", "SLOTD_CONTEXT"}, {"addr", "https://two:1", "context two"}, {"token-file", "", "default"}}},
		"a flag":              {[]string{"SLOTD_CONTEXT=two"}, []string{"--context", "one"}, []shownSetting{{"context", "one", "--context"}, {"addr", "https://one:1", "context one"}}},
		"an address":          {[]string{"SLOTD_ADDR=https://x:1"}, nil, []shownSetting{{"context", "", "default"}, {"addr", "https://x:1", "SLOTD_ADDR"}, {"token-file", "", "default"}, {"client-key", "", "default"}}},
		"an address's flag":   {[]string{"SLOTD_CONTEXT=one"}, []string{"--addr", "https://x:1"}, []shownSetting{{"addr", "https://x:1", "--addr"}, {"token-file", "", "default"}}},
		"the context's flag":  {[]string{"SLOTD_ADDR=https://x:1"}, []string{"--context", "one"}, []shownSetting{{"addr", "https://one:1", "context one"}, {"token-file", "/one", "context one"}}},
		"both as strong":      {nil, []string{"--context", "one", "--addr", "https://tunnel:1"}, []shownSetting{{"addr", "https://tunnel:1", "--addr"}, {"token-file", "/one", "context one"}}},
		"a value over it":     {[]string{"SLOTD_TOKEN_FILE=/e", "SLOTD_CLIENT_CERT=/ec"}, []string{"--client-key", "/fk"}, []shownSetting{{"token-file", "/e", "SLOTD_TOKEN_FILE"}, {"client-cert", "/ec", "SLOTD_CLIENT_CERT"}, {"client-key", "/fk", "--client-key"}}},
		"a token":             {[]string{"SLOTD_TOKEN=hush", "SLOTD_TOKEN_FILE=/e"}, nil, []shownSetting{{"token", "***", "SLOTD_TOKEN"}, {"token-file", "", "default"}}},
		"a token file's flag": {[]string{"SLOTD_TOKEN=hush"}, []string{"--token-file", "/f"}, []shownSetting{{"token", "", "default"}, {"token-file", "/f", "--token-file"}}},
		"consent":             {[]string{"SLOTD_PLAINTEXT_TOKEN=1"}, nil, []shownSetting{{"plaintext-token", "true", "SLOTD_PLAINTEXT_TOKEN"}}},
	} {
		got := w(tc.env...).shows(t, tc.args...)
		for _, want := range tc.want {
			if got[want.Key] != want {
				t.Errorf("%s: got %v, want %v", name, got[want.Key], want)
			}
		}
	}
}

func TestMistakesInContextsAreTold(t *testing.T) {
	w, dir := home(t)
	file := filepath.Join(dir, ".config", "slotd", "config.yaml")
	if code := w().run(t, "config", "use", "prod"); code != exitUsage {
		t.Errorf("exit %d", code)
	}
	w().must(t, "config", "set-context", "prod", "--addr", "https://prod:1")
	for _, tc := range []struct {
		env  []string
		args []string
		code int
		says string
	}{
		{nil, []string{"config", "use", "prd"}, 2, `use "prd": no such context; there are prod; did you mean prod?`},
		{nil, []string{"config", "delete-context", "x"}, 2, "no such context"},
		{nil, []string{"--context", "x", "ls"}, 2, `--context "x": no such context`},
		{[]string{"SLOTD_CONTEXT=x"}, []string{"ls"}, 2, `SLOTD_CONTEXT "x": no such context`},
		{nil, []string{"--context", "x", "run", "--", "true"}, 125, "no such context"},
		{nil, []string{"config", "set-context", "a/b", "--addr", "x:1"}, 2, `context "a/b": must be`},
		{nil, []string{"config", "set-context", "a", "--addr", "ftp://x"}, 2, "must be http://host:port"},
		{nil, []string{"config", "set-context", "a", "--ca", "/x"}, 2, "needs an address"},
		{nil, []string{"config", "set-context", "a"}, 2, "nothing to keep"},
		{nil, []string{"config", "set-context"}, 2, "takes the name of one context"},
		{[]string{"SLOTD_PLAINTEXT_TOKEN=perhaps"}, []string{"ls"}, 2, "must be true or false"},
	} {
		w := w(tc.env...)
		if code := w.run(t, tc.args...); code != tc.code || !strings.Contains(w.talk.String(), tc.says) {
			t.Errorf("%v: exit %d, want %d; said %q, want %q", tc.args, code, tc.code, w.talk.String(), tc.says)
		}
	}
	for text, says := range map[string]string{
		"contexts:\n  prod:\n    adr: x\n":        `unknown field "adr"`,
		"current: prod\n":                         `unknown field "current"`,
		"contexts: [":                             "yaml",
		"contexts:\n  prod: {addr: x, addr: y}\n": "already set",
		"current-context: gone\ncontexts: {prod: {addr: 'http://x'}}": "current-context in " + file + ` "gone": no such context`,
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		one := w()
		if code := one.run(t, "ls"); code == 0 || !strings.Contains(one.talk.String(), says) || !strings.Contains(one.talk.String(), file) {
			t.Errorf("%q: exit %d, said %q", text, code, one.talk.String())
		}
		// Who says where the daemon is needs no contexts.
		one = w("SLOTD_ADDR=unix:///nowhere")
		if code := one.run(t, "ls"); code != exitNoServer {
			t.Errorf("%q: exit %d, said %q", text, code, one.talk.String())
		}
	}
}

func TestALinkToTheContextsStaysALink(t *testing.T) {
	w, dir := home(t)
	file := filepath.Join(dir, ".config", "slotd", "config.yaml")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "dotfile"), []byte("contexts: {a: {addr: 'http://a'}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "dotfile"), file); err != nil {
		t.Fatal(err)
	}
	w().must(t, "config", "set-context", "b", "--addr", "http://b")
	if info, err := os.Lstat(file); err != nil || info.Mode().Type() != fs.ModeSymlink {
		t.Errorf("got %v, %v", info, err)
	}
	if got := w().must(t, "config", "contexts", "-o", "name"); got != "a\nb\n" {
		t.Errorf("got %q", got)
	}
}

func TestTheDaemonsCertificateIsLookedAt(t *testing.T) {
	server := httptest.NewUnstartedServer(jsonAnswer(t, &soltiv1.ListTasksResponse{}))
	server.Config.ErrorLog = hclog.NewNullLogger().StandardLogger(nil) // refused handshakes are what the test is about
	server.StartTLS()
	t.Cleanup(server.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		env  []string
		args []string
		code int
		says string
	}{
		{nil, []string{"ls"}, 7, "slotd: if that certificate is the daemon's, name its authority with --ca"},
		{nil, []string{"ls", "--ca", ca}, 0, "no tasks"},
		{[]string{"SLOTD_CA=" + ca}, []string{"ls"}, 0, "no tasks"},
		{nil, []string{"ls", "--ca", ca, "--server-name", "another.example"}, 7, "another.example"},
		{[]string{"SLOTD_CA=" + ca, "SLOTD_SERVER_NAME=example.com"}, []string{"ls"}, 0, "no tasks"},
	} {
		w := newWorld(t, append([]string{"SLOTD_ADDR=" + server.URL}, tc.env...)...)
		if code := w.run(t, tc.args...); code != tc.code || !strings.Contains(w.talk.String(), tc.says) {
			t.Errorf("%v %v: exit %d, want %d; said %q", tc.env, tc.args, code, tc.code, w.talk.String())
		}
	}
}

func TestTokensReachTheDaemonAndNothingElse(t *testing.T) {
	const hush = "hush-token"
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer "+hush {
			jsonAnswer(t, &soltiv1.ListTasksResponse{})(rw, r)
			return
		}
		refuse(401, "Unauthenticated", "a token is needed")(rw, r)
	}))
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(hush+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		env  []string
		args []string
		code int
		says string
	}{
		{nil, []string{"ls"}, 6, "a token is needed\nslotd: give a token with --token-file, SLOTD_TOKEN_FILE or SLOTD_TOKEN"},
		{[]string{"SLOTD_TOKEN=" + hush}, []string{"ls"}, 0, ""},
		{[]string{"SLOTD_TOKEN_FILE=" + file}, []string{"ls"}, 0, ""},
		{nil, []string{"ls", "--token-file", file}, 0, ""},
		{[]string{"SLOTD_TOKEN=wrong"}, []string{"ls"}, 6, "the token came from SLOTD_TOKEN"},
		{[]string{"SLOTD_TOKEN=wrong"}, []string{"run", "--", "true"}, 125, "the token came from SLOTD_TOKEN"},
		{[]string{"SLOTD_TOKEN=wrong"}, []string{"wait", idA}, 6, "the token came from SLOTD_TOKEN"},
		{nil, []string{"ls", "--token-file", "/does/not/exist"}, 1, "token file: open /does/not/exist"},
		{[]string{"SLOTD_TOKEN=" + hush}, []string{"ls", "--addr", "http://192.0.2.1:1"}, 2, "--addr: address \"http://192.0.2.1:1\": a token is not sent over plain http"},
	} {
		w := newWorld(t, append([]string{"SLOTD_ADDR=" + server.URL}, tc.env...)...)
		code := w.run(t, tc.args...)
		if said := w.talk.String(); code != tc.code || !strings.Contains(said, tc.says) || strings.Contains(said, hush) || strings.Contains(said, "wrong") {
			t.Errorf("%v %v: exit %d, want %d; said %q", tc.env, tc.args, code, tc.code, said)
		}
	}
}
