package pebble_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"slotd/actors/store"
	"slotd/actors/store/pebble"
	"slotd/actors/store/pebble/verify"
	slotdv1 "slotd/messages/slotd/v1"
	"slotd/test/need"
)

// smallDisk mounts a file system of a few megabytes.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size)
	need.That(t, err == nil, "the right to mount a tmpfs")
	t.Cleanup(func() {
		// An engine that was given up in the midst of a rotation keeps its files open for as long as the process lives.
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// fill takes all the room there is.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 1<<20)
	for len(block) > 0 {
		if _, err := f.Write(block); err != nil {
			block = block[:len(block)/2]
		}
	}
	if err := f.Close(); err != nil && !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
}

func TestFullDiskIsSurvivedAndHeals(t *testing.T) {
	mount := smallDisk(t, "8m")
	filler := filepath.Join(mount, "filler")
	dir := filepath.Join(mount, "store")
	s := open(t, pebble.Hasty(pebble.Config{Dir: dir}))
	h := &history{}
	for range 20 {
		h.commit(s, 1000)
	}
	for range 3 {
		fill(t, filler)
		full := func() bool {
			h.commit(s, 1000)
			return !s.Stats().Writable && s.Stats().Oldest == 0
		}
		if !await(full) {
			t.Fatalf("a full disk goes unnoticed: %+v", s.Stats())
		}
		if problem := s.Stats().Problem.Error(); !strings.Contains(problem, dir) {
			t.Errorf("Problem = %q, want it to name %s", problem, dir)
		}
		answer := make(chan error, 1)
		s.Commit(&store.Batch{Tasks: []*slotdv1.TaskRecord{{Id: "tsk_refused"}}}, func(err error) { answer <- err })
		if err := <-answer; !errors.Is(err, unix.ENOSPC) && !strings.Contains(err.Error(), "bytes are free") {
			t.Errorf("Commit with a full disk: %v, want that there is no space", err)
		}
		if _, err := s.Task(context.Background(), "tsk_000000a"); err != nil {
			t.Errorf("Task with a full disk: %v", err)
		}
		if err := h.check(s, h.answered()); err != nil {
			t.Errorf("with a full disk: %v", err)
		}
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		if !await(func() bool { return s.Stats().Writable }) {
			t.Fatalf("does not heal: %+v", s.Stats())
		}
		for range 20 {
			h.commit(s, 1000)
		}
		commit(t, s, &store.Batch{})
		if err := h.check(s, h.answered()); err != nil {
			t.Errorf("healed: %v", err)
		}
	}
}

func TestFilesBelongToTheirUserAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data", "store")
	s := open(t, pebble.Hasty(pebble.Config{Dir: dir}))
	h := &history{}
	for range 200 { // more than one log, and tables
		h.commit(s, 1000)
	}
	commit(t, s, &store.Batch{})
	for _, parent := range []string{filepath.Dir(dir), dir} {
		info, err := os.Stat(parent)
		if err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v, want it closed to others", parent, info.Mode(), err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed by the engine meanwhile
		}
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 && entry.Name() != "LOCK" {
			t.Errorf("%s has mode %v, want it closed to others", entry.Name(), info.Mode())
		}
	}
	if got := s.Stats().Bytes; got <= 0 {
		t.Errorf("Stats().Bytes = %d with files in %s", got, dir)
	}
}

func TestNewerStoreIsLeftAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s, err := pebble.Open(pebble.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	value, err := proto.Marshal(&slotdv1.StoreFormat{Version: pebble.FormatVersion + 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := pebble.Overwrite(s, "mformat", value); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	before := listing(t, dir)
	_, err = pebble.Open(pebble.Config{Dir: dir})
	if _, newer := errors.AsType[*verify.NewerError](err); !newer || !strings.Contains(err.Error(), dir) {
		t.Errorf("Open of a newer store: %v, want a NewerError that names %s", err, dir)
	}
	if after := listing(t, dir); after != before {
		t.Errorf("files were\n%s\nand are\n%s", before, after)
	}
}

// listing is what a directory holds, with times.
func listing(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		if entry.Name() != "LOCK" {
			b.WriteString(info.Name() + " " + info.ModTime().Format(time.RFC3339Nano) + "\n")
		}
	}
	return b.String()
}
