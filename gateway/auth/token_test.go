package auth_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"

	"slotd/gateway/auth"
	"slotd/test/need"
)

// line is an entry for a token, as a person could write it.
func line(role, token, name string) string {
	return fmt.Sprintf("%s sha256:%x %s\n", role, sha256.Sum256([]byte(token)), name)
}

// file writes a token file in a directory of its own.
func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t *testing.T, text string) *auth.File {
	t.Helper()
	f, err := auth.OpenFile(file(t, text), hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestATokenIsItsRoleAndName(t *testing.T) {
	f := open(t, "# those who look\n\n"+line("read", "one", "")+"   "+line("submit", "two", "ci@example.org")+"\t# and\n"+strings.ToLower(line("admin", "three", "ops")))
	tokens := f.Tokens()
	for token, want := range map[string]auth.Identity{
		"one": {Role: auth.Read}, "two": {Name: "ci@example.org", Role: auth.Submit}, "three": {Name: "ops", Role: auth.Admin},
	} {
		if got, ok := tokens.Identify(token); !ok || got != want {
			t.Errorf("%s: got %v, %v; want %v", token, got, ok, want)
		}
	}
	hash := sha256.Sum256([]byte("three"))
	for _, token := range []string{"", "four", "on", "one ", hex.EncodeToString(hash[:]), strings.Repeat("x", 1<<20)} {
		if got, ok := tokens.Identify(token); ok || got.Role != auth.None {
			t.Errorf("%.20q is %v, %v; want nobody", token, got, ok)
		}
	}
	if tokens.Len() != 3 {
		t.Errorf("%d tokens, want 3", tokens.Len())
	}
}

func TestABrokenFileIsNamedWithItsLineAndNeverItsText(t *testing.T) {
	good := line("read", "one", "")
	for name, c := range map[string]struct{ text, says string }{
		"empty":      {"", "has no token, so nobody could use it; `slotd token create --role admin --file "},
		"comments":   {"# nothing\n\n", "has no token"},
		"role":       {good + "root sha256:" + strings.Repeat("0", 64), "line 2: the role must be one of read, submit, admin"},
		"none":       {"none sha256:" + strings.Repeat("0", 64), "line 1: the role must be"},
		"bare token": {"\n\nadmin slotd_hush", "line 3: the hash must be sha256: and 64 hex digits"},
		"token only": {"slotd_hush", "line 1: must be `ROLE sha256:HASH [NAME]`"},
		"short hash": {"admin sha256:00ff", "line 1: the hash must be"},
		"not hex":    {"admin sha256:" + strings.Repeat("z", 64), "line 1: the hash must be"},
		"name":       {strings.TrimSpace(good) + " a/hush", "line 1: the name must be 1 to 64 of"},
		"long name":  {strings.TrimSpace(good) + " " + strings.Repeat("a", 65), "line 1: the name must be"},
		"four words": {strings.TrimSpace(good) + " a hush", "line 1: must be `ROLE"},
		"twice":      {good + "#\n" + strings.Replace(good, "read", "admin", 1), "line 3: the same token as in line 1"},
		"huge":       {strings.Repeat("#"+strings.Repeat("x", 1023)+"\n", 1025), "has more than 1048576 bytes"},
	} {
		path := file(t, c.text)
		_, err := auth.OpenFile(path, hclog.NewNullLogger())
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
	if _, err := auth.OpenFile(filepath.Join(t.TempDir(), "gone"), hclog.NewNullLogger()); err == nil || !strings.Contains(err.Error(), "token file: open ") {
		t.Errorf("a missing file: %v", err)
	}
	var many strings.Builder
	for i := range 4097 {
		many.WriteString(line("read", fmt.Sprint(i), ""))
	}
	if _, err := auth.OpenFile(file(t, many.String()), hclog.NewNullLogger()); err == nil || !strings.Contains(err.Error(), "line 4097: more than 4096 tokens") {
		t.Errorf("too many tokens: %v", err)
	}
}

func TestAFileThatOthersCanChangeIsRefused(t *testing.T) {
	for mode, says := range map[os.FileMode]string{
		0o600: "", 0o400: "", 0o640: "may read", 0o604: "may read", 0o620: "lets other users change it", 0o602: "lets other users change it", 0o666: "lets other users change it",
	} {
		path := file(t, line("read", "one", ""))
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		_, err := auth.OpenFile(path, hclog.New(&hclog.LoggerOptions{Output: &log}))
		refused := strings.Contains(says, "change")
		if refused != (err != nil) || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("mode %04o: %v, want %q", mode, err, says)
		}
		if warned := strings.Contains(log.String(), "other users may read the token file"); warned != strings.Contains(says, "read") {
			t.Errorf("mode %04o: warned %v", mode, warned)
		}
		if refused {
			if _, err := auth.Create(path, auth.Admin, ""); err == nil {
				t.Errorf("mode %04o: a token was added", mode)
			}
		}
	}
	path := file(t, line("read", "one", ""))
	if err := os.Chmod(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := auth.OpenFile(path, hclog.NewNullLogger()); err == nil || !strings.Contains(err.Error(), "every user may replace files of its directory") {
		t.Errorf("an open directory: %v", err)
	}
	if err := os.Chmod(filepath.Dir(path), 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	if _, err := auth.OpenFile(path, hclog.NewNullLogger()); err != nil {
		t.Errorf("a directory as /tmp: %v", err)
	}
	if _, err := auth.OpenFile(t.TempDir(), hclog.NewNullLogger()); err == nil || !strings.Contains(err.Error(), "is no regular file") {
		t.Errorf("a directory: %v", err)
	}
}

func TestAFileOfSomebodyElseIsRefused(t *testing.T) {
	need.That(t, os.Geteuid() == 0, "root, to give a file away")
	path := file(t, line("read", "one", ""))
	if err := os.Chown(path, 12345, -1); err != nil {
		t.Fatal(err)
	}
	if _, err := auth.OpenFile(path, hclog.NewNullLogger()); err == nil || !strings.Contains(err.Error(), "belongs to user 12345, who could make himself admin") {
		t.Errorf("got %v", err)
	}
}

func TestAFileThatBreaksKeepsTheTokensThatHeld(t *testing.T) {
	path := file(t, line("read", "one", ""))
	f, err := auth.OpenFile(path, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	for _, broken := range []string{"", "admin slotd_hush\n", line("submit", "two", "") + "oops\n"} {
		if err := os.WriteFile(path, []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := f.Reload(); err == nil {
			t.Errorf("%q was taken", broken)
		}
		if _, ok := f.Tokens().Identify("one"); !ok {
			t.Errorf("after %q the old token holds no more", broken)
		}
	}
	if err := os.WriteFile(path, []byte(line("submit", "two", "")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Reload(); err != nil {
		t.Fatal(err)
	}
	if _, ok := f.Tokens().Identify("one"); ok {
		t.Error("a token whose line is gone still holds")
	}
	if id, ok := f.Tokens().Identify("two"); !ok || id.Role != auth.Submit {
		t.Errorf("the new token: %v, %v", id, ok)
	}
}

func TestCreateMakesTokensThatHold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	first, err := auth.Create(path, auth.Read, "")
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v", info, err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.TrimSpace(text), 0o600); err != nil { // as some editors leave it
		t.Fatal(err)
	}
	second, err := auth.Create(path, auth.Submit, "ci")
	if err != nil {
		t.Fatal(err)
	}
	f, err := auth.OpenFile(path, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	for token, want := range map[string]auth.Identity{first: {Role: auth.Read}, second: {Name: "ci", Role: auth.Submit}} {
		if got, ok := f.Tokens().Identify(token); !ok || got != want || len(token) != len("slotd_")+43 {
			t.Errorf("%d bytes of token: got %v, %v; want %v", len(token), got, ok, want)
		}
	}
	if err := os.WriteFile(path, []byte("oops\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if token, err := auth.Create(path, auth.Read, ""); err == nil || token != "" {
		t.Errorf("a token was added to a broken file: %v", err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "oops\n" {
		t.Errorf("a broken file was changed: %q, %v", text, err)
	}
}

func TestTokensMadeAtOnceAreAllThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	var all sync.Map
	var making sync.WaitGroup
	for range 16 {
		making.Go(func() {
			token, err := auth.Create(path, auth.Read, "")
			if err != nil {
				t.Error(err)
			}
			all.Store(token, true)
		})
	}
	making.Wait()
	f, err := auth.OpenFile(path, hclog.NewNullLogger())
	if err != nil || f.Tokens().Len() != 16 {
		t.Fatalf("got %v, %v; want 16 tokens", f.Tokens(), err)
	}
	for token := range all.Range {
		if _, ok := f.Tokens().Identify(token.(string)); !ok { //nolint:errcheck // only strings are stored
			t.Error("a token is not in the file")
		}
	}
}
