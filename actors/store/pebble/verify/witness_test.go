package verify_test

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"slotd/actors/store/pebble/verify"
)

func witnessDir(t *testing.T) vfs.FS {
	t.Helper()
	disk := vfs.NewMem()
	if err := disk.MkdirAll(storeDir, 0o700); err != nil {
		t.Fatal(err)
	}
	return disk
}

func openWitness(t *testing.T, disk vfs.FS) *verify.Witness {
	t.Helper()
	w, err := verify.OpenWitness(disk, storeDir)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// told is what a reader finds.
func told(t *testing.T, disk vfs.FS) (uint64, verify.WitnessState) {
	t.Helper()
	r, _ := verify.Check(disk, storeDir) // that commits are missing is no surprise here
	return r.Acknowledged, r.Witness
}

func TestAWitnessSaysTheGreatestNote(t *testing.T) {
	t.Parallel()
	disk := witnessDir(t)
	if n, state := told(t, disk); n != 0 || state != verify.WitnessAbsent {
		t.Errorf("got %d, %s, want none", n, state)
	}
	w := openWitness(t, disk)
	for _, note := range []struct{ n, want uint64 }{{1, 1}, {2, 2}, {2, 2}, {1, 2}, {1 << 60, 1 << 60}, {7, 1 << 60}} {
		w.Note(note.n)
		if n, state := told(t, disk); n != note.want || state != verify.WitnessPresent || w.Noted() != note.want {
			t.Errorf("after %d: got %d, %s, want %d", note.n, n, state, note.want)
		}
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if w = openWitness(t, disk); w.Noted() != 1<<60 {
		t.Errorf("opened again: got %d", w.Noted())
	}
	w.Note(1<<60 + 1)
	if n, _ := told(t, disk); n != 1<<60+1 {
		t.Errorf("got %d after one more note", n)
	}
	if err := errors.Join(w.Err(), w.Close()); err != nil {
		t.Error(err)
	}
}

// A note that is cut off, or any damage to one slot, leaves the other one: at most the last note is forgotten.
func TestHalfAWitnessSaysTheNoteBefore(t *testing.T) {
	t.Parallel()
	disk := witnessDir(t)
	w := openWitness(t, disk)
	for n := range uint64(9) {
		w.Note(n + 1)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	files := take(t, disk)
	whole := files[verify.WitnessFile]
	r := rand.New(rand.NewPCG(1, 1))
	for at := range whole {
		data := slices.Clone(whole)
		data[at] ^= byte(1 + r.IntN(255))
		n, state := told(t, files.with(verify.WitnessFile, data).put(t))
		if n != 8 && n != 9 || n == 8 != (state == verify.WitnessDamaged) && state != verify.WitnessDamaged {
			t.Fatalf("byte %d: got %d, %s, want 8 or 9", at, n, state)
		}
	}
	for cut := range whole {
		n, state := told(t, files.with(verify.WitnessFile, whole[:cut]).put(t))
		if n != 0 && n != 8 && n != 9 || n == 0 != (state == verify.WitnessUnusable) {
			t.Fatalf("cut at %d: got %d, %s", cut, n, state)
		}
	}
}

func TestAnUnusableWitnessIsMadeAnew(t *testing.T) {
	t.Parallel()
	disk := image{verify.WitnessFile: []byte("what?")}.put(t)
	w := openWitness(t, disk)
	w.Note(3)
	if n, state := told(t, disk); n != 3 || state != verify.WitnessPresent {
		t.Errorf("got %d, %s", n, state)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

func TestANoteThatFailsIsToldLaterAndForgottenByTheNext(t *testing.T) {
	t.Parallel()
	var broken errorfs.Toggle
	broken.Injector = errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileWriteAt {
			return &fs.PathError{Op: "write", Path: op.Path, Err: syscall.ENOSPC}
		}
		return nil
	})
	disk := witnessDir(t)
	w := openWitness(t, errorfs.Wrap(disk, &broken))
	w.Note(1)
	broken.On()
	w.Note(2)
	if n, _ := told(t, disk); n != 1 || !errors.Is(w.Err(), syscall.ENOSPC) {
		t.Errorf("got %d, %v, want 1 and what the disk said", n, w.Err())
	}
	broken.Off()
	w.Note(3)
	if n, state := told(t, disk); n != 3 || state != verify.WitnessPresent {
		t.Errorf("got %d, %s, want 3", n, state)
	}
	if err := w.Close(); err != nil {
		t.Errorf("Close: %v, though the last note was written", err)
	}
}

func TestWitnessesAreNotedSideBySide(t *testing.T) {
	t.Parallel()
	disk := witnessDir(t)
	w := openWitness(t, disk)
	var all sync.WaitGroup
	for n := range uint64(100) {
		all.Go(func() { w.Note(n + 1) })
	}
	all.Wait()
	if n, _ := told(t, disk); n != 100 {
		t.Errorf("got %d, want 100", n)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

// FuzzWitness: no bytes make a reader panic or believe a number that no slot holds.
func FuzzWitness(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte(strings.Repeat("\x00", 1024)))
	disk := vfs.NewMem()
	if err := disk.MkdirAll(storeDir, 0o700); err != nil {
		f.Fatal(err)
	}
	w, err := verify.OpenWitness(disk, storeDir)
	if err != nil {
		f.Fatal(err)
	}
	w.Note(1 << 40)
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	file, err := disk.Open(disk.PathJoin(storeDir, verify.WitnessFile))
	if err != nil {
		f.Fatal(err)
	}
	data := make([]byte, 1024)
	_, err = file.ReadAt(data, 0)
	if err := errors.Join(err, file.Close()); err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		disk := image{verify.WitnessFile: data}.put(t)
		n, state := told(t, disk)
		if state == verify.WitnessUnusable && n != 0 || state == verify.WitnessAbsent {
			t.Errorf("got %d, %s", n, state)
		}
		w := openWitness(t, disk)
		if w.Noted() != n {
			t.Errorf("opened with %d, read as %d", w.Noted(), n)
		}
		if n < 1<<63 {
			w.Note(n + 1)
			if again, _ := told(t, disk); again != n+1 {
				t.Errorf("got %d after a note of %d", again, n+1)
			}
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
}
