package verify_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/protobuf/proto"

	"slotd/actors/store/pebble/layout"
	"slotd/actors/store/pebble/verify"
	slotdv1 "slotd/messages/slotd/v1"
)

const storeDir = "/data/store"

// quiet is Pebble's logger in these tests. What would end the process panics.
type quiet struct{}

func (quiet) Infof(string, ...any) {}

func (quiet) Errorf(string, ...any) {}

func (quiet) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// options make tables and logs small, so that a little store has many.
func options(disk vfs.FS) *pebble.Options {
	o := &pebble.Options{
		FS:                    disk,
		FormatMajorVersion:    pebble.FormatWALSyncChunks,
		MemTableSize:          64 << 10,
		CacheSize:             1 << 20,
		L0CompactionThreshold: 2,
		LBaseMaxBytes:         64 << 10,
		Logger:                quiet{},
	}
	for i := range o.TargetFileSizes {
		o.TargetFileSizes[i] = 16 << 10
	}
	return o
}

// world is a store that is being written to, and what it must hold.
type world struct {
	mem     *vfs.MemFS
	disk    vfs.FS // mem, perhaps with somebody who watches
	db      *pebble.DB
	witness *verify.Witness
	random  *rand.Rand
	commits uint64
	model   map[string]string // what is acknowledged
}

func newWorld(t testing.TB, seed uint64) *world {
	t.Helper()
	mem := vfs.NewCrashableMem()
	return newWorldOn(t, mem, mem, seed)
}

func newWorldOn(t testing.TB, mem *vfs.MemFS, disk vfs.FS, seed uint64) *world {
	t.Helper()
	w := &world{mem: mem, disk: disk, random: rand.New(rand.NewPCG(seed, 1)), model: map[string]string{}}
	w.open(t)
	format, err := proto.Marshal(&slotdv1.StoreFormat{Version: layout.FormatVersion, CreatedBy: "test"})
	if err != nil {
		t.Fatal(err)
	}
	w.write(t, map[string]string{layout.FormatKey: string(format)})
	return w
}

func (w *world) open(t testing.TB) {
	t.Helper()
	var err error
	if w.db, err = pebble.Open(storeDir, options(w.disk)); err != nil {
		t.Fatal(err)
	}
	if w.witness, err = verify.OpenWitness(w.disk, storeDir); err != nil {
		t.Fatal(err)
	}
}

// write commits one group, durably, and notes it.
func (w *world) write(t testing.TB, pairs map[string]string) {
	t.Helper()
	b := w.group(t, pairs)
	if err := b.Commit(pebble.Sync); err != nil {
		t.Fatal(err)
	}
	w.witness.Note(w.commits)
}

// group makes the next group; the model holds it at once.
func (w *world) group(t testing.TB, pairs map[string]string) *pebble.Batch {
	t.Helper()
	w.commits++
	b := w.db.NewBatch()
	pairs[layout.CommitsKey] = string(binary.BigEndian.AppendUint64(nil, w.commits))
	for key, value := range pairs {
		w.model[key] = value
		if err := b.Set([]byte(key), []byte(value), nil); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// some makes the records of a few tasks.
func (w *world) some() map[string]string {
	pairs := map[string]string{}
	for range 1 + w.random.IntN(5) {
		id := fmt.Sprintf("tsk_%04d", w.random.IntN(400))
		value := make([]byte, 20+w.random.IntN(300))
		for i := range value {
			value[i] = byte(w.random.Uint32())
		}
		pairs[string(layout.TaskKey(id))] = string(value)
	}
	return pairs
}

// much makes a record that is longer than a page of the disk.
func (w *world) much() map[string]string {
	value := make([]byte, 4<<10+w.random.IntN(16<<10))
	for i := range value {
		value[i] = byte(w.random.Uint32())
	}
	return map[string]string{string(layout.TaskKey(fmt.Sprintf("tsk_%04d", w.random.IntN(400)))): string(value)}
}

func (w *world) close(t testing.TB) {
	t.Helper()
	if err := errors.Join(w.db.Close(), w.witness.Close()); err != nil {
		t.Fatal(err)
	}
}

// killed is the directory as a process leaves it that is killed now.
func (w *world) killed(t testing.TB) image {
	t.Helper()
	return take(t, w.crashed(100))
}

// crashed is the disk as a machine leaves it that crashes now, when so much of what was not synced is there.
func (w *world) crashed(percent int) vfs.FS {
	return w.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: w.random})
}

// image is a store's directory at one moment.
type image map[string][]byte

// take reads every file of a store nobody writes to.
func take(t testing.TB, disk vfs.FS) image {
	t.Helper()
	names, err := disk.List(storeDir)
	if err != nil {
		t.Fatal(err)
	}
	files := image{}
	for _, name := range names {
		f, err := disk.Open(disk.PathJoin(storeDir, name))
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(f)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		files[name] = data
	}
	return files
}

func (files image) names() []string {
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (files image) with(name string, data []byte) image {
	other := maps.Clone(files)
	other[name] = data
	return other
}

func (files image) without(name string) image {
	other := files.with(name, nil)
	delete(other, name)
	return other
}

// put writes an image to a new disk in memory.
func (files image) put(t testing.TB) vfs.FS {
	t.Helper()
	disk := vfs.NewMem()
	if err := disk.MkdirAll(storeDir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, data := range files {
		f, err := disk.Create(disk.PathJoin(storeDir, name), vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.Write(slices.Clone(data))
		if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return disk
}

// read opens a store for good and returns what it holds.
func read(disk vfs.FS) (got map[string]string, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	o := options(disk)
	o.DisableAutomaticCompactions = true
	db, err := pebble.Open(storeDir, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	iter, err := db.NewIter(nil)
	if err != nil {
		return nil, err
	}
	got = map[string]string{}
	for iter.First(); iter.Valid(); iter.Next() {
		got[string(iter.Key())] = string(iter.Value())
	}
	return got, iter.Close()
}
