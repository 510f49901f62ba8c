package verify_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"slotd/actors/store/pebble/layout"
	"slotd/actors/store/pebble/verify"
	slotdv1 "slotd/messages/slotd/v1"
)

func TestReportTellsWhatThereIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	for range 300 {
		w.write(t, w.some())
	}
	files, commits := w.killed(t), w.commits
	w.close(t)
	r, err := verify.Check(files.put(t), storeDir)
	if err != nil {
		t.Fatal(err)
	}
	if r.Dir != storeDir || r.Empty || r.Commits != commits || r.Acknowledged != commits || r.Witness != verify.WitnessPresent ||
		r.Format.GetVersion() != layout.FormatVersion || r.Engine != uint64(pebble.FormatWALSyncChunks) || len(r.Torn) != 0 {
		t.Errorf("got %+v, want the %d commits of a store at rest", r, commits)
	}
	if r.Tables == 0 || r.Entries == 0 || r.TableBytes == 0 || r.Logs == 0 || r.LogBytes == 0 || r.Groups == 0 ||
		r.Bytes() != r.TableBytes+r.LogBytes || r.Manifest == "" {
		t.Errorf("got %+v, want tables and logs", r)
	}
}

func TestNothingIsAnEmptyStore(t *testing.T) {
	t.Parallel()
	disk := vfs.NewMem()
	for _, prepare := range []func() error{
		func() error { return nil },
		func() error { return disk.MkdirAll(storeDir, 0o700) },
	} {
		if err := prepare(); err != nil {
			t.Fatal(err)
		}
		r, err := verify.Check(disk, storeDir)
		if err != nil || !r.Empty || r.Witness != verify.WitnessAbsent {
			t.Errorf("got %+v, %v, want an empty store", r, err)
		}
	}
}

func TestWhatIsNewerIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	format, err := proto.Marshal(&slotdv1.StoreFormat{Version: layout.FormatVersion + 1, CreatedBy: "9.0"})
	if err != nil {
		t.Fatal(err)
	}
	w.write(t, map[string]string{layout.FormatKey: string(format)})
	inLog := w.killed(t)
	if err := w.db.Flush(); err != nil {
		t.Fatal(err)
	}
	inTable := w.killed(t)
	w.close(t)
	engine := image{}
	for name, data := range inLog {
		before, _, ok := strings.Cut(name, ".0")
		if ok && before == "marker.format-version" {
			name = "marker.format-version.000099.999"
		}
		engine[name] = data
	}
	for name, tc := range map[string]struct {
		files image
		want  verify.NewerError
	}{
		"format in a log":   {inLog, verify.NewerError{Dir: storeDir, What: "format", Version: layout.FormatVersion + 1, Known: layout.FormatVersion, By: "9.0"}},
		"format in a table": {inTable, verify.NewerError{Dir: storeDir, What: "format", Version: layout.FormatVersion + 1, Known: layout.FormatVersion, By: "9.0"}},
		"engine":            {engine, verify.NewerError{Dir: storeDir, What: "Pebble's format major version", Version: 999, Known: uint64(pebble.FormatNewest)}},
	} {
		_, err := verify.Check(tc.files.put(t), storeDir)
		newer, ok := errors.AsType[*verify.NewerError](err)
		if !ok {
			t.Errorf("%s: %v, want a NewerError", name, err)
			continue
		}
		if diff := cmp.Diff(*newer, tc.want); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if text := err.Error(); !strings.Contains(text, storeDir) || !strings.Contains(text, "slotd store export") {
			t.Errorf("%s: %q names neither the directory nor what to do", name, text)
		}
	}
}

func TestDamageIsToldWithFileAndRemedy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4)
	for range 100 {
		w.write(t, w.some())
	}
	files, commits := w.killed(t), w.commits
	w.close(t)
	_, err := verify.Check(files.without(kinds(files)["marker"][1]).put(t), storeDir)
	corrupt, ok := errors.AsType[*verify.CorruptError](err)
	if !ok || corrupt.Dir != storeDir || len(corrupt.Damage) == 0 || corrupt.Damage[0].File != "marker.manifest…" {
		t.Errorf("without the manifest's marker: %v", err)
	}
	for _, want := range []string{storeDir, "marker.manifest", "Nothing was changed", "slotd store export", "move the directory away"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	_, err = verify.Check(files.without(lastLog(files)).put(t), storeDir)
	if want := fmt.Sprintf("to %d are missing (ACKED)", commits); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("without the last log: %v, want %q", err, want)
	}
}

// Pebble would take the version of the last record before the damage, however many follow.
func TestAManifestIsReadToItsEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 9)
	for range 3 {
		w.write(t, w.some())
		if err := w.db.Flush(); err != nil { // a record each
			t.Fatal(err)
		}
	}
	files := w.killed(t)
	w.close(t)
	manifests := kinds(files)["manifest"]
	name := manifests[len(manifests)-1]
	for _, at := range []int{0, 6, 20, len(files[name]) / 2} {
		data := slices.Clone(files[name])
		data[at] ^= 1
		_, err := verify.Check(files.with(name, data).put(t), storeDir)
		corrupt, ok := errors.AsType[*verify.CorruptError](err)
		if !ok || corrupt.Damage[0].File != name || !strings.Contains(corrupt.Damage[0].What, "later records are whole") {
			t.Errorf("damage at %d of %s: %v", at, name, err)
		}
	}
}

// Without a witness, later groups are what tells damage from a torn end.
func TestDamageBeforeManyGroupsIsFoundWithoutAWitness(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 8)
	ends := []int{}
	for range layout.InFlight + 20 {
		w.write(t, map[string]string{string(layout.TaskKey(fmt.Sprint(w.commits))): "value"})
		files := w.killed(t)
		ends = append(ends, len(strings.TrimRight(string(files[lastLog(files)]), "\x00")))
	}
	files := w.killed(t)
	w.close(t)
	log := lastLog(files)
	for group, end := range ends {
		data := slices.Clone(files[log])
		data[end-1] ^= 1 // in the group's value, or its last key
		_, err := verify.Check(files.without(verify.WitnessFile).with(log, data).put(t), storeDir)
		_, corrupt := errors.AsType[*verify.CorruptError](err)
		if found := len(ends)-1-group > layout.InFlight; found && !corrupt {
			t.Errorf("damage in group %d of %d: %v", group, len(ends), err)
		}
	}
}

func lastLog(files image) string {
	logs := kinds(files)["log"]
	return logs[len(logs)-1]
}

// A disk that gives errors is no damage: it is told as what it is.
func TestUnreadableIsNotCorrupt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5)
	for range 200 {
		w.write(t, w.some())
	}
	files := w.killed(t)
	w.close(t)
	disk := files.put(t)
	for _, suffix := range []string{".sst", ".log", "ACKED", "MANIFEST", "OPTIONS"} {
		broken := errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsRead && strings.Contains(op.Path, suffix) {
				return &fs.PathError{Op: "read", Path: op.Path, Err: syscall.EIO}
			}
			return nil
		}))
		_, err := verify.Check(broken, storeDir)
		if _, corrupt := errors.AsType[*verify.CorruptError](err); err == nil || corrupt || !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: %v (%T), want the disk's error", suffix, err, err)
		}
	}
}

// What a crash leaves at any moment is no damage, and holds what was acknowledged before it.
func TestCrashesAreNoDamage(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	torn := 0
	for n := uint64(0); n < 20 || torn == 0 && n < 500; n++ {
		torn += crashSometime(t, seed+n)
	}
	if torn == 0 {
		t.Error("no crash has torn anything: the test proves too little")
	}
}

// crashSometime crashes the machine at some writing operation of a store's life, from before its beginning.
func crashSometime(t *testing.T, seed uint64) (torn int) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 3))
	models := []map[string]string{{}}
	w := newWorld(t, seed)
	models = append(models, maps.Clone(w.model))
	for range 3 + r.IntN(60) {
		for range r.IntN(4) { // groups that nobody waits for
			if err := w.db.Apply(w.group(t, w.much()), pebble.NoSync); err != nil {
				t.Fatal(err)
			}
			models = append(models, maps.Clone(w.model))
		}
		if r.IntN(2) == 0 {
			w.write(t, w.some())
			models = append(models, maps.Clone(w.model))
		}
	}
	acked, disk := w.witness.Noted(), w.crashed(r.IntN(100))
	report, err := verify.Check(disk, storeDir)
	w.close(t)
	if err != nil {
		t.Errorf("seed %d: %v", seed, err)
		return 0
	}
	if report.Commits < acked || report.Acknowledged > acked {
		t.Errorf("seed %d: %d commits, %d of them acknowledged, after %d were", seed, report.Commits, report.Acknowledged, acked)
	}
	got, err := read(disk)
	if err != nil {
		t.Errorf("seed %d: %v", seed, err)
	} else if want := models[report.Commits]; !maps.Equal(got, want) {
		t.Errorf("seed %d: %d records, want the %d of commit %d", seed, len(got), len(want), report.Commits)
	}
	return len(report.Torn)
}

// From the first operation of its first life on a store is found in order, whenever its process is killed.
func TestAKillAtAnyOperationIsNoDamage(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	type moment struct {
		op    errorfs.Op
		disk  vfs.FS
		acked uint64
	}
	var (
		mu      sync.Mutex // Pebble writes in the background, too
		moments []moment
		r       = rand.New(rand.NewPCG(seed, 4))
		rare    = 1
		acked   atomic.Uint64
		mem     = vfs.NewCrashableMem()
	)
	watched := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && r.IntN(rare) == 0 {
			n := acked.Load()
			moments = append(moments, moment{op, mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: r}), n})
		}
		return nil
	}))
	w := newWorldOn(t, mem, watched, seed)
	mu.Lock()
	rare = 40
	mu.Unlock()
	for n := range 200 {
		w.write(t, w.some())
		acked.Store(w.commits)
		if n%70 == 69 {
			w.close(t)
			w.open(t)
		}
	}
	w.close(t)
	for i, m := range moments {
		report, err := verify.Check(m.disk, storeDir)
		if err != nil || report.Commits < m.acked {
			t.Errorf("moment %d, before %v: %v, with %d commits of %d", i, m.op, err, report.Commits, m.acked)
			continue
		}
		if _, err := read(m.disk); err != nil {
			t.Errorf("moment %d, before %v: %v", i, m.op, err)
		}
	}
	if len(moments) < 50 {
		t.Errorf("%d moments: the test proves too little", len(moments))
	}
}

// Not a byte, not a name and not a time of a directory changes.
func TestCheckOnlyReads(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 6)
	for range 100 {
		w.write(t, w.some())
	}
	files := w.killed(t)
	w.close(t)
	log, dir := lastLog(files), t.TempDir()
	for name, files := range map[string]image{"whole": files, "damaged": files.with(log, files[log][:100])} {
		at := filepath.Join(dir, name)
		if err := os.Mkdir(at, 0o700); err != nil {
			t.Fatal(err)
		}
		for name, data := range files {
			if err := os.WriteFile(filepath.Join(at, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		before := state(t, at)
		watched := errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
				t.Errorf("%s: %v", name, op)
			}
			return nil
		}))
		if _, err := verify.Check(watched, at); (err != nil) != (name == "damaged") {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(before, state(t, at)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// state is what there is to know about a directory.
func state(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		var data []byte
		if !d.IsDir() {
			data, err = os.ReadFile(path)
		}
		all[path] = fmt.Sprintf("%v %v %x", info.Mode(), info.ModTime(), data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestReadOnlyRefusesEveryChange(t *testing.T) {
	t.Parallel()
	disk := vfs.NewMem()
	f, err := disk.Create("a", vfs.WriteCategoryUnspecified)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	ro := verify.ReadOnly(disk)
	errOf := func(_ vfs.File, err error) error { return err }
	for what, err := range map[string]error{
		"create":     errOf(ro.Create("b", vfs.WriteCategoryUnspecified)),
		"read-write": errOf(ro.OpenReadWrite("b", vfs.WriteCategoryUnspecified)),
		"reuse":      errOf(ro.ReuseForWrite("a", "b", vfs.WriteCategoryUnspecified)),
		"link":       ro.Link("a", "b"),
		"rename":     ro.Rename("a", "b"),
		"remove":     ro.Remove("a"),
		"remove all": ro.RemoveAll("a"),
		"mkdir":      ro.MkdirAll("b", 0o700),
	} {
		if !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s: %v, want ErrPermission", what, err)
		}
	}
	lock, err := ro.Lock("LOCK")
	if err := errors.Join(err, lock.Close()); err != nil {
		t.Error(err)
	}
	names, err := disk.List("/")
	if err != nil || !slices.Equal(names, []string{"a"}) {
		t.Errorf("got %v, %v, want a alone", names, err)
	}
}
