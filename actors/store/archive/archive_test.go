package archive_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"slotd/actors/store"
	"slotd/actors/store/archive"
	"slotd/actors/store/memory"
	"slotd/messages"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

var options = archive.Options{At: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC), Version: "1.2.3"}

func open(t *testing.T) *memory.Store {
	t.Helper()
	s := memory.New(memory.Config{})
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func commit(t *testing.T, s store.Store, b *store.Batch) {
	t.Helper()
	done := make(chan error, 1)
	s.Commit(b, func(err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// generator makes stores that a daemon could have written.
type generator struct {
	*rand.Rand

	minter *messages.Minter
}

func newGenerator(seed uint64) generator {
	return generator{rand.New(rand.NewPCG(seed, 5)), messages.NewMinter("")}
}

func (g generator) text() string {
	b := make([]rune, g.IntN(30))
	for i := range b {
		b[i] = rune(g.IntN(0x300))
	}
	return string(b)
}

func (g generator) maybe() *string {
	if g.IntN(2) == 0 {
		return nil
	}
	return new(g.text())
}

func (g generator) number() *int32 {
	if g.IntN(2) == 0 {
		return nil
	}
	return new(int32(g.Uint32()))
}

// task makes a task that is over, with its runs.
func (g generator) task() *store.Batch {
	slot := fmt.Sprintf("slot-%d", g.IntN(5))
	id := g.minter.Mint(options.At.Add(time.Duration(g.IntN(1e9))), slot)
	task := &slotdv1.TaskRecord{
		Id: id, Slot: slot, Role: slotdv1.Role_ROLE_NONE, Phase: slotdv1.Phase_PHASE_FINISHED,
		Status:    soltiv1.TaskStatus(1 + g.IntN(7)),
		CreatedAt: g.Int64(), UpdatedAt: -g.Int64(), ResourceVersion: g.Uint64(), Attempt: g.Uint32(), Failures: g.Uint32(),
		Until: g.Int64(), Cause: g.text(), Reason: g.text(), Error: g.maybe(), ExitCode: g.number(), Signal: g.number(), Node: g.text(),
	}
	spec := &slotdv1.SpecRecord{TaskId: id, Spec: &soltiv1.CreateSpec{
		Slot: slot, TimeoutMs: g.Uint64(), Labels: map[string]string{g.text(): g.text(), "a": "b"},
		Backoff: &soltiv1.BackoffStrategy{Factor: g.Float64() * 10},
		Kind: &soltiv1.TaskKind{Kind: &soltiv1.TaskKind_Subprocess{Subprocess: &soltiv1.SubprocessTask{
			Env:           []*soltiv1.KeyValue{{Key: "K", Value: g.text(), Secret: true}},
			FailOnNonZero: new(g.IntN(2) == 0),
			Mode:          &soltiv1.SubprocessTask_Command{Command: &soltiv1.CommandMode{Command: "true", Args: []string{g.text()}}},
		}}},
	}}
	b := &store.Batch{Tasks: []*slotdv1.TaskRecord{task}, Specs: []*slotdv1.SpecRecord{spec}}
	for n := range g.IntN(4) {
		b.Runs = append(b.Runs, &slotdv1.RunRecord{
			TaskId: id, Attempt: uint32(n*2 + 1), Status: soltiv1.TaskStatus(1 + g.IntN(7)), StartedAt: g.Int64(),
			FinishedAt: g.Int64(), Error: g.maybe(), ExitCode: g.number(), Signal: g.number(),
		})
	}
	return b
}

func (g generator) key() *slotdv1.KeyRecord {
	hash := make([]byte, 32)
	for i := range hash {
		hash[i] = byte(g.Uint32())
	}
	return &slotdv1.KeyRecord{
		Slot: "slot", Key: fmt.Sprintf("key %d", g.Uint32()), TaskId: g.minter.Mint(options.At, "slot"), SpecHash: hash, ExpiresAt: g.Int64(),
	}
}

func (g generator) fill(t *testing.T, s store.Store, tasks, keys int) archive.Counts {
	t.Helper()
	all, counts := &store.Batch{}, archive.Counts{Tasks: uint64(tasks), Keys: uint64(keys)}
	for range tasks {
		b := g.task()
		all.Tasks, all.Specs, all.Runs = append(all.Tasks, b.Tasks...), append(all.Specs, b.Specs...), append(all.Runs, b.Runs...)
		counts.Runs += uint64(len(b.Runs))
	}
	for range keys {
		all.Keys = append(all.Keys, g.key())
	}
	commit(t, s, all)
	return counts
}

// contents is everything in a store.
type contents struct {
	Tasks []*slotdv1.TaskRecord
	Specs []*slotdv1.SpecRecord
	Runs  []*slotdv1.RunRecord
	Keys  []*slotdv1.KeyRecord
}

func read(t *testing.T, s store.Store) contents {
	t.Helper()
	var all contents
	err := s.Load(t.Context(), func(e store.Entry) error {
		if e.Key != nil {
			all.Keys = append(all.Keys, e.Key)
			return nil
		}
		spec, err := e.DecodedSpec()
		if err != nil {
			return err
		}
		runs, err := s.Runs(t.Context(), e.Task.GetId())
		all.Tasks, all.Specs, all.Runs = append(all.Tasks, e.Task), append(all.Specs, spec), append(all.Runs, runs...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(all.Keys, func(a, b *slotdv1.KeyRecord) int { return strings.Compare(a.GetKey(), b.GetKey()) })
	return all
}

// export returns an archive whose keys come behind its tasks, which not every store sees to.
func export(t *testing.T, s store.Store) string {
	t.Helper()
	var b bytes.Buffer
	if _, err := archive.Export(t.Context(), s, &b, options); err != nil {
		t.Fatal(err)
	}
	lines := slices.Collect(strings.Lines(b.String()))
	slices.SortStableFunc(lines[1:len(lines)-1], func(a, b string) int {
		return -strings.Compare(a[:6], b[:6])
	})
	return strings.Join(lines, "")
}

func TestWhatIsExportedComesBackAsItWas(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	g := newGenerator(seed)
	for n := range 15 {
		from, to := open(t), open(t)
		want := g.fill(t, from, n*n, g.IntN(20))
		var b bytes.Buffer
		counts, err := archive.Export(t.Context(), from, &b, options)
		if err != nil || counts != want {
			t.Fatalf("Export = %+v, %v, want %+v", counts, err, want)
		}
		if counts, err = archive.Import(t.Context(), bytes.NewReader(b.Bytes()), to); err != nil || counts != want {
			t.Fatalf("Import = %+v, %v, want %+v", counts, err, want)
		}
		if diff := cmp.Diff(read(t, to), read(t, from), protocmp.Transform()); diff != "" {
			t.Fatal(diff)
		}
	}
}

func TestAnArchiveIsAnObjectALine(t *testing.T) {
	s := open(t)
	commit(t, s, &store.Batch{
		Tasks: []*slotdv1.TaskRecord{{Id: "tsk_1", Slot: "s", Error: new("line\nbreak")}},
		Specs: []*slotdv1.SpecRecord{{TaskId: "tsk_1", Spec: &soltiv1.CreateSpec{Slot: "s", TimeoutMs: 5}}},
		Runs:  []*slotdv1.RunRecord{{TaskId: "tsk_1", Attempt: 1}, {TaskId: "tsk_1", Attempt: 2}},
		Keys:  []*slotdv1.KeyRecord{{Slot: "s", Key: "k", SpecHash: []byte{255}}},
	})
	want := `{"format":"slotd-store","version":1,"created_at":"2026-03-04T05:06:07Z","created_by":"1.2.3"}
{"task":{"id":"tsk_1","slot":"s","error":"line\nbreak"},"spec":{"task_id":"tsk_1","spec":{"slot":"s","timeout_ms":"5"}},"runs":[{"task_id":"tsk_1","attempt":1},{"task_id":"tsk_1","attempt":2}]}
{"key":{"slot":"s","key":"k","spec_hash":"/w=="}}
{"end":{"tasks":1,"runs":2,"keys":1}}
`
	if diff := cmp.Diff(export(t, s), want); diff != "" {
		t.Error(diff)
	}
}

func TestOnlyAnEmptyStoreIsImportedInto(t *testing.T) {
	g := newGenerator(1)
	for name, b := range map[string]*store.Batch{"a task": g.task(), "a key": {Keys: []*slotdv1.KeyRecord{g.key()}}} {
		s := open(t)
		commit(t, s, b)
		before := read(t, s)
		if _, err := archive.Import(t.Context(), strings.NewReader(""), s); !errors.Is(err, archive.ErrNotEmpty) {
			t.Errorf("%s: %v, want ErrNotEmpty", name, err)
		}
		if diff := cmp.Diff(read(t, s), before, protocmp.Transform()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestWhatIsNotUnderstoodIsRefusedWithItsLine(t *testing.T) {
	s := open(t)
	newGenerator(2).fill(t, s, 3, 1)
	lines := strings.SplitAfter(export(t, s), "\n")
	lines = lines[:len(lines)-1] // header, three tasks, a key, the end
	edit := func(n int, old, text string) []string {
		edited := slices.Clone(lines)
		if edited[n] = strings.Replace(edited[n], old, text, 1); edited[n] == lines[n] {
			t.Fatalf("line %d has no %q: %s", n+1, old, lines[n])
		}
		return edited
	}
	for name, tc := range map[string]struct {
		lines []string
		line  int
		says  string
	}{
		"nothing":           {nil, 1, "cut off"},
		"another file":      {[]string{"{}\n"}, 1, "not an archive"},
		"no JSON":           {[]string{"hello\n"}, 1, "not an archive"},
		"newer version":     {edit(0, `"version":1,`, `"version":2,"new":1,`), 1, "version 2"},
		"field of header":   {edit(0, `"version":1,`, `"version":1,"new":1,`), 1, `unknown field "new"`},
		"field of line":     {edit(2, `{"task":`, `{"more":1,"task":`), 3, `unknown field "more"`},
		"field of task":     {edit(2, `{"task":{`, `{"task":{"color":"red",`), 3, `unknown field "color"`},
		"field of spec":     {edit(3, `"spec":{"slot"`, `"spec":{"colour":1,"slot"`), 4, `unknown field "colour"`},
		"field of key":      {edit(4, `"key":{`, `"key":{"colour":1,`), 5, `unknown field "colour"`},
		"field of end":      {edit(5, `"tasks":3`, `"tasks":3,"x":1`), 6, `unknown field "x"`},
		"two objects":       {edit(2, "\n", "{}\n"), 3, "more than one object"},
		"nothing in it":     {edit(2, lines[2], "{}\n"), 3, "neither a task nor a key"},
		"two in one":        {edit(4, `{"key":`, `{"end":{"tasks":3,"runs":0,"keys":0},"key":`), 5, "neither a task nor a key"},
		"cut off in a line": {append(slices.Clone(lines[:2]), lines[2][:20]), 3, "cut off"},
		"cut off":           {lines[:5], 6, "cut off"},
		"a line is missing": {append(slices.Clone(lines[:3]), lines[4:]...), 5, "the lines before it are"},
		"more lines":        {append(slices.Clone(lines), "\n"), 7, "after the end"},
		"a task twice":      {[]string{lines[0], lines[1], lines[1]}, 3, "comes after"},
		"a spec of another": {edit(1, `"spec":{"task_id":"tsk_`, `"spec":{"task_id":"tsk-`), 2, "has the spec of"},
		"no spec":           {edit(1, lines[1][strings.Index(lines[1], `,"spec":{"task_id"`):], "}\n"), 2, "no spec"},
	} {
		to := open(t)
		_, err := archive.Import(t.Context(), strings.NewReader(strings.Join(tc.lines, "")), to)
		at, ok := errors.AsType[*archive.LineError](err)
		if !ok || at.Line != tc.line || !strings.Contains(strings.ReplaceAll(err.Error(), "\u00a0", " "), tc.says) {
			t.Errorf("%s: %v, want line %d and %q", name, err, tc.line, tc.says)
		}
	}
}

func TestRunsAreRefusedOutOfPlace(t *testing.T) {
	g, s := newGenerator(3), open(t)
	b := g.task()
	id := b.Tasks[0].GetId()
	b.Runs = []*slotdv1.RunRecord{{TaskId: id, Attempt: 7}, {TaskId: id, Attempt: 8}}
	commit(t, s, b)
	good := export(t, s)
	for name, tc := range map[string]struct{ old, text, says string }{
		"of another task": {`"runs":[{"task_id":"tsk_`, `"runs":[{"task_id":"tsk-`, "has a run of"},
		"out of order":    {`"attempt":8}`, `"attempt":7}`, "run 7 after run 7"},
	} {
		bad := strings.Replace(good, tc.old, tc.text, 1)
		if bad == good {
			t.Fatalf("%s: nothing to replace in %s", name, good)
		}
		_, err := archive.Import(t.Context(), strings.NewReader(bad), open(t))
		if at, ok := errors.AsType[*archive.LineError](err); !ok || at.Line != 2 || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want %q", name, err, tc.says)
		}
	}
}

// broken fails while it is read.
type broken struct {
	*memory.Store

	after int
}

var errBroken = errors.New("broken")

func (b broken) Load(ctx context.Context, yield func(store.Entry) error) error {
	n := 0
	return b.Store.Load(ctx, func(e store.Entry) error {
		if n++; n > b.after {
			return errBroken
		}
		return yield(e)
	})
}

func TestWhatIsSalvagedCanBeImported(t *testing.T) {
	from, g := open(t), newGenerator(4)
	g.fill(t, from, 10, 0)
	var whole, part bytes.Buffer
	if _, err := archive.Export(t.Context(), broken{from, 4}, &whole, options); !errors.Is(err, errBroken) {
		t.Errorf("Export: %v, want what is broken", err)
	}
	if _, err := archive.Import(t.Context(), &whole, open(t)); err == nil {
		t.Error("an archive without an end was imported")
	}
	salvage := options
	salvage.Salvage = true
	if counts, err := archive.Export(t.Context(), broken{from, 4}, &part, salvage); !errors.Is(err, errBroken) || counts.Tasks != 4 {
		t.Errorf("Export = %+v, %v, want 4 tasks and what is broken", counts, err)
	}
	if counts, err := archive.Import(t.Context(), &part, open(t)); err != nil || counts.Tasks != 4 {
		t.Errorf("Import = %+v, %v, want 4 tasks", counts, err)
	}
}

// full takes some bytes.
type full struct{ room int }

func (f *full) Write(p []byte) (int, error) {
	if f.room -= len(p); f.room < 0 {
		return 0, io.ErrShortWrite
	}
	return len(p), nil
}

func TestAStreamThatFailsIsTold(t *testing.T) {
	from := open(t)
	newGenerator(5).fill(t, from, 400, 0)
	size := len(export(t, from))
	for _, salvage := range []bool{false, true} {
		for _, room := range []int{0, size / 2, size - 1} {
			o := options
			o.Salvage = salvage
			if _, err := archive.Export(t.Context(), from, &full{room}, o); !errors.Is(err, io.ErrShortWrite) {
				t.Errorf("room for %d of %d bytes: %v", room, size, err)
			}
		}
	}
}

// refusing takes only so many batches.
type refusing struct {
	*memory.Store

	left int
}

func (r *refusing) Commit(b *store.Batch, done func(error)) {
	if r.left--; r.left < 0 {
		done(errBroken)
		return
	}
	r.Store.Commit(b, done)
}

func TestAStoreThatFailsIsToldWithoutALine(t *testing.T) {
	from := open(t)
	newGenerator(6).fill(t, from, 2600, 0)
	text := export(t, from)
	for _, left := range []int{0, 1, 5, 9} {
		_, err := archive.Import(t.Context(), strings.NewReader(text), &refusing{open(t), left})
		if _, ok := errors.AsType[*archive.LineError](err); ok || !errors.Is(err, errBroken) {
			t.Errorf("%d batches taken: %v, want what the store said", left, err)
		}
	}
}

func FuzzImport(f *testing.F) {
	f.Add(`{"format":"slotd-store","version":1,"created_at":"","created_by":""}` + "\n" + `{"end":{"tasks":0,"runs":0,"keys":0}}` + "\n")
	f.Add(`{"format":"slotd-store","version":1,"created_at":"","created_by":""}` + "\n" + `{"task":{"id":"tsk_1"},"runs":[{}]}` + "\n")
	f.Fuzz(func(t *testing.T, text string) {
		s := open(t)
		counts, err := archive.Import(t.Context(), strings.NewReader(text), s)
		if err != nil {
			return
		}
		if got := uint64(len(read(t, s).Tasks)); got != counts.Tasks {
			t.Errorf("%d tasks in the store, %d counted", got, counts.Tasks)
		}
	})
}
