package auth_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"slotd/gateway/auth"
	"slotd/messages"
)

// A token file is read line by line. Whatever stands in it, nothing of it is repeated in an error, what is sound says the
// same without its comments, and who can change nothing else can add a token to it.
func FuzzTokenFile(f *testing.F) {
	good := line("read", "one", "eve")
	for _, text := range []string{
		"", "\n", good, "# a\n\n" + good + line("admin", "two", ""), good + good, strings.TrimSuffix(good, "\n"), "\r\n" + strings.ReplaceAll(good, "\n", "\r\n"),
		"slotd_hunter2hunter2", "admin slotd_hunter2hunter2 ops", "admin sha256:hunter2", "hunter2 " + good, good[:40],
		"read sha256:" + strings.Repeat("0", 64) + " hunter2\x1b[2J", "READ SHA256:" + strings.Repeat("0", 64), "read\u00a0sha256:" + strings.Repeat("A", 64),
	} {
		f.Add([]byte(text), true)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte, add bool) {
		path := filepath.Join(dir, "tokens")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		before, err := auth.OpenFile(path, hclog.NewNullLogger())
		held := 0
		if err != nil {
			about := strings.ReplaceAll(err.Error(), path, "")
			for word := range strings.FieldsSeq(string(text)) {
				if len(word) >= 12 && strings.Contains(about, word) {
					t.Fatalf("%q: the error repeats %q: %v", text, word, err)
				}
			}
		} else if held = before.Tokens().Len(); held == 0 || held > strings.Count(string(text), "\n")+1 {
			t.Fatalf("%q has %d tokens", text, held)
		}
		if !add {
			return // the disk makes it slow
		}
		token, err := auth.Create(path, auth.Submit, "ops")
		if err != nil {
			if now, readErr := os.ReadFile(path); readErr != nil || string(now) != string(text) || token != "" {
				t.Fatalf("%q: a refusal left %q and the token %q, %v", text, now, token, readErr)
			}
			return
		}
		after, err := auth.OpenFile(path, hclog.NewNullLogger())
		if err != nil || after.Tokens().Len() != held+1 {
			t.Fatalf("%q: with a token more it is %v", text, err)
		}
		if id, ok := after.Tokens().Identify(token); !ok || id != (auth.Identity{Name: "ops", Role: auth.Submit}) {
			t.Fatalf("%q: the new token is %v, %v", text, id, ok)
		}
	})
}

// FuzzAuthorization: nobody is let in by anything but the token itself, and no refusal repeats what was sent.
func FuzzAuthorization(f *testing.F) {
	for _, c := range [][2]string{
		{"Bearer opensesame", ""},
		{"bearer  opensesame ", ""},
		{"Bearer opensesame", "Bearer opensesame"},
		{"Bearer\topensesame", ""},
		{"Basic opensesame", ""},
		{"Bearer", ""},
		{"Bearer opensesame\x00", ""},
		{"", ""},
		{"Bearer opensesame, Bearer x", ""},
		{"Bearer " + strings.Repeat("x", 1<<16), ""},
		{"BEARER \u00a0opensesame", ""},
		{"Bearer OPENSESAME", ""},
	} {
		f.Add(c[0], c[1])
	}
	path := filepath.Join(f.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte(line("read", "opensesame", "eve")), 0o600); err != nil {
		f.Fatal(err)
	}
	tokens, err := auth.OpenFile(path, hclog.NewNullLogger())
	if err != nil {
		f.Fatal(err)
	}
	gate := auth.NewGate(tokens, false)
	f.Fuzz(func(t *testing.T, first, second string) {
		headers := []string{first}
		if second != "" {
			headers = append(headers, second)
		}
		scheme, rest, spaced := strings.Cut(first, " ")
		right := second == "" && spaced && strings.EqualFold(scheme, "bearer") && strings.TrimSpace(rest) == "opensesame"
		id, err := gate.Identify(auth.Peer{}, headers)
		if (err == nil) != right {
			t.Fatalf("%q: %v, %v", headers, id, err)
		}
		if err == nil {
			if id != (auth.Identity{Name: "eve", Role: auth.Read}) {
				t.Fatalf("%q is %v", headers, id)
			}
			return
		}
		label, message := refusal(t, err)
		if label != messages.LabelUnauthenticated || id != (auth.Identity{}) {
			t.Fatalf("%q: %s, and %v", headers, label, id)
		}
		if word := strings.TrimSpace(rest); len(word) > 8 && !strings.Contains("Bearer TOKEN", word) && strings.Contains(message, word) {
			t.Fatalf("%q: the refusal repeats it: %s", headers, message)
		}
	})
}
