package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// What an interrupt cuts off fails in many ways; none of them is news to whoever has pressed the keys.
func TestAnInterruptEndsABenchWithoutAWord(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	page := filepath.Join(t.TempDir(), "page.md")
	w := newWorld(t)
	w.signals <- syscall.SIGINT
	if code := w.run(t, "bench", "^noop$", "--write", page); code != exitSignalBase+int(syscall.SIGINT) {
		t.Errorf("exit %d, said %q", code, w.talk.String())
	}
	if w.out.String() != "" {
		t.Errorf("a table: %s", w.out.String())
	}
	if _, err := os.Stat(page); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty page is left: %v", err)
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
		t.Errorf("left in the scratch folder: %v, %v", left, err)
	}
}
