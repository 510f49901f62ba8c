package faults

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/wal"
)

// A store with a flipped bit, or with less than was acknowledged, either starts with all that was acknowledged, because
// the damage met nothing of worth, or refuses to: with exit code 1, with a message that names the directory and a file,
// and without touching anything.
func TestDamageIsNeverSilentLoss(t *testing.T) {
	t.Parallel()
	w, store := restingWorld(t)
	whole := readTree(t, store)
	r := rand.New(rand.NewPCG(seed, 0))
	refused := 0
	for range 30 {
		what, damaged := damage(r, whole)
		writeTree(t, store, damaged)
		l := w.start(plan{calm: true})
		select {
		case <-l.ready:
			if _, err := w.list(t.Context(), l); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			w.signal(l, os.Kill)
			w.finish(l)
		case <-l.over:
			l.unwell.Store(true)
			w.finish(l)
			refused++
			w.refusal(l, what, store, damaged)
		case <-time.After(patience):
			t.Fatalf("%s: it neither starts nor ends:\n%s", what, tailOf(l.log.String()))
		}
		if t.Failed() || w.broken() {
			t.Fatalf("after: %s", what)
		}
	}
	if refused == 0 {
		t.Error("no damage at all was refused")
	}
	writeTree(t, store, whole)
	w.settle()
}

// What a crash cuts off at the end of a log was never acknowledged: the daemon starts, says that it discards it, and has
// all that was.
func TestATornTailIsDiscardedAndTold(t *testing.T) {
	t.Parallel()
	w, store := restingWorld(t)
	whole := readTree(t, store)
	name := newestLog(t, whole)
	end := endOfLog(t, store, name)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 6 {
		torn := cloneTree(whole)
		// The beginning of a write, of which the rest did not reach the disk: what is there looks like the last one did.
		log := torn[name]
		part := log[end:end]
		for len(bytes.Trim(part, "\x00")) == 0 { // zeros would be no write at all
			part = log[end-min(end, 6+r.IntN(200)):][:1+r.IntN(6)]
		}
		copy(log[end:], part)
		writeTree(t, store, torn)
		l := w.start(plan{calm: true})
		l.await(t)
		if _, err := w.list(t.Context(), l); err != nil {
			t.Error(err)
		}
		if !strings.Contains(l.log.String(), "discarded") || !strings.Contains(l.log.String(), name) {
			t.Errorf("its log does not tell of what it has discarded:\n%s", tailOf(l.log.String()))
		}
		w.signal(l, os.Kill)
		w.finish(l)
	}
	w.settle()
}

// restingWorld is one with a store that was killed when all of its tasks had ended: no process runs again when its store
// is put back to that state.
func restingWorld(t *testing.T) (w *world, store string) {
	t.Helper()
	w = newWorld(t, must(t, plainSlotd), seed)
	for range 2 {
		l := w.start(plan{calm: true})
		l.await(t)
		load := w.load(4, 0)
		w.open(l)
		pass(time.Second)
		load.end()
		w.exhaust(t.Context(), l)
		w.signal(l, os.Kill)
		w.finish(l)
		w.read()
	}
	return w, filepath.Join(w.data(), "store")
}

// refusal checks how the daemon has refused to start.
func (w *world) refusal(l *life, what, store string, before map[string][]byte) {
	w.t.Helper()
	said := l.log.String()
	if code := l.state.ExitCode(); code != 1 {
		w.t.Errorf("%s: exit code %d, want 1:\n%s", what, code, tailOf(said))
	}
	if !strings.Contains(said, store) {
		w.t.Errorf("%s: the refusal does not name the directory %s:\n%s", what, store, tailOf(said))
	}
	named := false
	for name := range before {
		named = named || strings.Contains(said, name)
	}
	if !named {
		w.t.Errorf("%s: the refusal names no file:\n%s", what, tailOf(said))
	}
	after := readTree(w.t, store)
	for name, data := range before {
		if !bytes.Equal(after[name], data) {
			w.t.Errorf("%s: the refusal has touched %s", what, name)
		}
	}
	if len(after) != len(before) {
		w.t.Errorf("%s: before the refusal there were %d files, now %d", what, len(before), len(after))
	}
}

// damage flips a bit of some file, or cuts off the end of one; not of the zeros that a log is filled with, most of the
// time.
func damage(r *rand.Rand, whole map[string][]byte) (what string, damaged map[string][]byte) {
	damaged = cloneTree(whole)
	var names []string
	for name, data := range whole {
		if len(data) > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	name := names[r.IntN(len(names))]
	data := damaged[name]
	size := len(data)
	if r.IntN(8) > 0 {
		size = max(1, len(bytes.TrimRight(data, "\x00")))
	}
	if r.IntN(4) == 0 {
		keep := r.IntN(size)
		damaged[name] = data[:keep]
		return fmt.Sprintf("%s cut from %d bytes to %d", name, len(data), keep), damaged
	}
	at, bit := r.IntN(size), r.IntN(8)
	data[at] ^= 1 << bit
	return fmt.Sprintf("bit %d of byte %d of %d of %s flipped", bit, at, len(data), name), damaged
}

func newestLog(t *testing.T, tree map[string][]byte) (name string) {
	t.Helper()
	for other := range tree {
		if strings.HasSuffix(other, ".log") && len(tree[other]) > 0 {
			name = max(name, other)
		}
	}
	if name == "" {
		t.Fatal("the store has no log")
	}
	return name
}

// endOfLog is how far a log has been written. Zeros follow.
func endOfLog(t *testing.T, store, name string) int {
	t.Helper()
	logs, err := wal.Scan(wal.Dir{FS: vfs.Default, Dirname: store})
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.ParseUint(strings.TrimSuffix(name, ".log"), 10, 64)
	log, ok := logs.Get(wal.NumWAL(number))
	if err != nil || !ok {
		t.Fatalf("%s is no log: %v", name, err)
	}
	reader := log.OpenForRead()
	defer func() {
		if err := reader.Close(); err != nil {
			t.Error(err)
		}
	}()
	for {
		record, at, err := reader.NextRecord()
		if err != nil {
			return int(at.Physical)
		}
		if _, err := io.Copy(io.Discard, record); err != nil {
			t.Fatal(err)
		}
	}
}

// readTree reads all files below dir.
func readTree(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	tree := make(map[string][]byte)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		tree[name], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// writeTree makes dir hold these files and no other.
func writeTree(t *testing.T, dir string, tree map[string][]byte) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	for name, data := range tree {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func cloneTree(tree map[string][]byte) map[string][]byte {
	clone := make(map[string][]byte, len(tree))
	for name, data := range tree {
		clone[name] = slices.Clone(data)
	}
	return clone
}
