// Package need says what a test cannot do without, and what its absence means.
//
// On a newcomer's machine a test whose tool is absent is skipped, and the reason is kept so that it can be shown after
// the run: go test hides the reasons of skips in packages that pass. Where everything is promised (SLOTD_CI=1), the
// same absence fails the test. No other package of the project skips a test, which package arch holds.
//
// The functions are safe from any goroutine that runs a test, and are called before anything that needs cleaning up.
package need

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

const (
	// promised is the variable that turns a skip into a failure when it is "1".
	promised = "SLOTD_CI"
	// skips is the variable that names a file (an absolute path) to which the reasons of skips are appended.
	skips = "SLOTD_SKIPS"
)

// Tool returns the path of the program of that name. Without it the test is skipped, or fails where it is promised.
func Tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	That(t, err == nil, "the program "+name)
	return path
}

// That skips the test unless the condition holds, or fails it where everything is promised. The text says what is
// needed, as a noun: "a writable cgroup2 tree".
func That(t testing.TB, holds bool, what string) {
	t.Helper()
	if holds {
		return
	}
	if os.Getenv(promised) == "1" {
		t.Fatalf("needs %s, which is promised here (%s=1)", what, promised)
	}
	if path := os.Getenv(skips); path != "" {
		if err := note(path, fmt.Sprintf("%s needs %s\n", t.Name(), what)); err != nil {
			t.Fatalf("note the skip: %v", err)
		}
	}
	t.Skipf("SKIPPED: needs %s", what)
}

// note appends one line. Test binaries of several packages write at once, so each line is a single appending write.
func note(path, line string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(line); err != nil {
		return fmt.Errorf("%w (close: %w)", err, f.Close())
	}
	return f.Close()
}
