package e2e

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The program in the README's section on the SDK is built as a module of its own, which depends on this one as the
// section says, and does what it seems to do.
func TestTheProgramOfTheReadmeWorksOutsideThisModule(t *testing.T) {
	t.Parallel()
	checkout, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	module := t.TempDir()
	put := func(name string, text []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(module, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	get := func(name string) []byte {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(checkout, name))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	_, section, found := strings.Cut(string(get("README.md")), "\n## Go SDK\n")
	_, program, opened := strings.Cut(section, "\n```go\n")
	program, _, closed := strings.Cut(program, "\n```\n")
	if !found || !opened || !closed {
		t.Fatal("the README has no program in a section Go SDK")
	}
	put("main.go", []byte(program+"\n"))
	// What `go mod tidy` would find out on the network is what this module has found out already.
	put("go.mod", bytes.Replace(get("go.mod"), []byte("module slotd\n"), []byte("module example.com/outside\n"), 1))
	put("go.sum", get("go.sum"))
	run := func(argv ...string) string {
		t.Helper()
		cmd := exec.CommandContext(context.WithoutCancel(t.Context()), argv[0], argv[1:]...)
		cmd.Dir = module
		cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off")
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %v\n%s", argv, err, stderr.String())
		}
		return string(out)
	}
	run("go", "mod", "edit", "-require", "slotd@v0.0.0", "-replace", "slotd="+checkout)
	run("go", "build", "-o", "outside", ".")

	d := serve(t)
	got := run("env", "SLOTD_ADDR=http://"+d.http, filepath.Join(module, "outside"))
	if want := "hello\nCompleted\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
