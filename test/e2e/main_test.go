// Package e2e drives the real binary as a stranger would: by its command line (testdata/script, readable as
// documentation), over HTTP with nothing but net/http, and by signals.
//
// TestMain builds the binary once, with the race detector when the tests have it. Every daemon gets a private data
// directory, free ports and a node name of its own; when its test is over it is stopped as an operator would stop it,
// and must leave with exit code 0, without an error in its log and without a process of any task (see daemon_test.go).
// A race that any process of the binary reports fails the run, and so does an answer over HTTP that the OpenAPI document
// does not describe.
//
// Reading order: daemon_test.go, wire_test.go and script_test.go, then any file; each holds one topic.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"slotd/test/openapi"
)

// slotd is the path of the binary, and raceLog the prefix of the files in which its processes report races.
var slotd, raceLog string

// described is the document that every HTTP exchange is checked against.
var described *openapi.Document

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	if described, err = openapi.Load("../../gateway/rest/openapi.yaml"); err != nil {
		return 1, err
	}
	dir, err := os.MkdirTemp("", "slotd-e2e-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	slotd, raceLog = filepath.Join(dir, "bin", "slotd"), filepath.Join(dir, "race")
	args := []string{"build", "-o", slotd}
	if raced {
		args = append(args, "-race")
	}
	build := exec.CommandContext(context.Background(), "go", append(args, "slotd/cmd/slotd")...)
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("build slotd: %w\n%s", err, out)
	}
	code = m.Run()
	return code, errors.Join(goleak.Find(), races())
}

// goRace is the variable that sends reports of races to files. Without it, each process would also linger for a second
// before it ends.
func goRace() string { return "GORACE=atexit_sleep_ms=0 log_path=" + raceLog }

// races returns what the race detector has reported.
func races() error {
	reports, err := filepath.Glob(raceLog + ".*")
	if err != nil {
		return err
	}
	var texts []error
	for _, path := range reports {
		text, err := os.ReadFile(path)
		texts = append(texts, err, errors.New(strings.TrimSpace(string(text))))
	}
	return errors.Join(texts...)
}
